#!/bin/sh
# Installs the pinned codex with npm into a cache folder outside the tree, and prints the path of the program. Silent
# otherwise when nothing is missing. npm takes it from whatever registry this machine is configured for.
#
# CODEX_CACHE names the folder; TOWPATH_CODEX names a program to use in its place.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
VERSION=0.169.0

# A program of another version speaks another protocol.
check() {
	said=$("$1" --version 2>/dev/null) || fail "$1 cannot be run: remove ${2:-it} and try again."
	[ "$said" = "codex-cli $VERSION" ] || fail "$1 is $said, codex-cli $VERSION is needed: npm install @openai/codex@$VERSION"
	echo "$1"
}

if [ -n "${TOWPATH_CODEX:-}" ]; then
	check "$TOWPATH_CODEX"
	exit
fi
cache=${CODEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/towpath}/codex-$VERSION
program() { find "$cache" -path '*/vendor/*/bin/codex' -type f 2>/dev/null | head -n 1; }

if [ ! -e "$cache/complete" ] && ! command -v npm >/dev/null; then
	command -v apt-get >/dev/null || fail "codex is installed with npm: install your system's package of npm and try again."
	become_root npm
	say "No npm found: installing the package npm with apt-get."
	apt update
	apt install npm
fi
npm_into "$cache" "@openai/codex@$VERSION" "170 MB"
found=$(program)
[ -n "$found" ] || fail "npm installed no codex for this machine into $cache: only some systems have one."
check "$found" "$cache"
