#!/bin/sh
# Follows docs/quickstart.md word by word, with a private Postgres in a temporary folder.
set -eu
cd "$(dirname "$0")/.."

unset DATABASE_URL RIVER_SCHEMA TOWPATH_POOLED TOWPATH_QUEUES TOWPATH_NO_MIGRATE
TOWPATH_DATA_DIR=$(mktemp -d /tmp/towpath-quickstart-XXXXXX)
export TOWPATH_DATA_DIR
trap 'rm -rf "$TOWPATH_DATA_DIR" quickstart' EXIT
chmod 755 "$TOWPATH_DATA_DIR" # root's Postgres runs as somebody else, who passes through
go run ./scripts/pages docs/quickstart.md
