#!/bin/sh
# Runs suites of "worker bench" on a private Postgres that is thrown away: bench.sh turn …
set -eu
cd "$(dirname "$0")/.."

TOWPATH_DATA_DIR=$(mktemp -d /tmp/towpath-bench-XXXXXX)
export TOWPATH_DATA_DIR
trap 'rm -rf "$TOWPATH_DATA_DIR"' EXIT
chmod 755 "$TOWPATH_DATA_DIR" # root's Postgres runs as somebody else, who passes through
case " $* " in
*" stream "*|*" all "*) # what codex adds is measured where scripts/codex.sh has put it
	codex=$(find "${CODEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/towpath}" -path '*/vendor/*/bin/codex' -type f 2>/dev/null | head -n 1)
	[ -z "$codex" ] || set -- --codex "$codex" "$@" ;;
esac
bin/worker bench "$@"
