#!/bin/sh
# Installs pgbouncer, which the tests through a real pooler need. It starts no service. Silent when there is one.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

PATH=$PATH:/usr/sbin:/usr/local/sbin
! command -v pgbouncer >/dev/null || exit 0

if command -v brew >/dev/null; then
	say "No pgbouncer found: installing it with brew."
	brew install --quiet pgbouncer </dev/null >&2
elif command -v apt-get >/dev/null; then
	become_root pgbouncer
	say "No pgbouncer found: installing the package pgbouncer with apt-get, without starting its service."
	apt update
	RUNLEVEL=1 apt install pgbouncer
else
	fail "No pgbouncer found, which the tests through a pooler need: install it and try again."
fi
