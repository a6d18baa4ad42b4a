#!/bin/sh
# Follows pages of docs word by word, each with a private Postgres in a temporary folder: pages.sh docs/quickstart.md; none: all.
set -eu
cd "$(dirname "$0")/.."

unset DATABASE_URL RIVER_SCHEMA TOWPATH_POOLED TOWPATH_QUEUES TOWPATH_NO_MIGRATE TOWPATH
trap 'rm -rf "${TOWPATH_DATA_DIR:-}" quickstart tutorial' EXIT
for page in ${*:-docs/quickstart.md docs/plugins.md}; do
	if [ "$page" = docs/plugins.md ]; then
		# Compilers where they are missing, under the names by which a project's Makefile looks for them.
		tools=$(scripts/languages.sh c rust assemblyscript)
		for tool in $tools; do
			case $tool in
			rustc=*) export RUSTC="${tool#*=}" ;;
			asc=*) export ASC="${tool#*=}" ;;
			esac
		done
	fi
	TOWPATH_DATA_DIR=$(mktemp -d /tmp/towpath-pages-XXXXXX)
	export TOWPATH_DATA_DIR
	chmod 755 "$TOWPATH_DATA_DIR" # root's Postgres runs as somebody else, who passes through
	go run ./scripts/pages "$page"
	rm -rf "$TOWPATH_DATA_DIR"
done
