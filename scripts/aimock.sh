#!/bin/sh
# Installs the pinned aimock, a provider that others have made, with npm into a cache folder outside the tree, and prints
# the path of its program, for node. Silent otherwise when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
VERSION=1.43.0

command -v npm >/dev/null && command -v node >/dev/null || fail "aimock needs npm and node: scripts/codex.sh installs them."
cache=${CODEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/towpath}/aimock-$VERSION
if [ ! -e "$cache/complete" ]; then
	say "Installing @copilotkit/aimock@$VERSION with npm into $cache (12 MB)."
	mkdir -p "$(dirname "$cache")"
	fresh=$(mktemp -d "$cache.XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	npm install --prefix "$fresh" --no-audit --no-fund --ignore-scripts --loglevel=error "@copilotkit/aimock@$VERSION" </dev/null >&2
	chmod 755 "$fresh"
	touch "$fresh/complete"
	[ ! -e "$cache" ] || [ -e "$cache/complete" ] || rm -rf "$cache"
	[ -e "$cache/complete" ] || mv "$fresh" "$cache"
fi
echo "$cache/node_modules/@copilotkit/aimock/dist/cli.js"
