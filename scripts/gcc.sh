#!/bin/sh
# Installs a C compiler, which the race detector needs. Silent when there is one.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

! command -v "$(go env CC)" >/dev/null || exit 0

if command -v apt-get >/dev/null; then
	become_root gcc
	say "No C compiler found: installing the packages gcc and libc6-dev with apt-get."
	apt update
	apt install gcc libc6-dev
else
	fail "No C compiler found, which the race detector needs: install gcc" \
		"(on macOS: xcode-select --install) and try again."
fi
