#!/bin/sh
# Runs suites of "worker bench" on a private Postgres that is thrown away: bench.sh turn …
set -eu
cd "$(dirname "$0")/.."

TOWPATH_DATA_DIR=$(mktemp -d /tmp/towpath-bench-XXXXXX)
export TOWPATH_DATA_DIR
trap 'rm -rf "$TOWPATH_DATA_DIR"' EXIT
chmod 755 "$TOWPATH_DATA_DIR" # root's Postgres runs as somebody else, who passes through
bin/worker bench "$@"
