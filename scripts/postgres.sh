#!/bin/sh
# Installs the Postgres server programs when this machine has none that are new enough. It starts no server and makes
# no cluster, so port 5432 stays free. Silent when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

found=$(go run ./scripts/pgversion)
[ "$found" = none ] || exit 0

if command -v brew >/dev/null; then
	say "No Postgres 15 or newer found: installing postgresql@17 with brew."
	brew install --quiet postgresql@17 </dev/null >&2
elif command -v apt-get >/dev/null; then
	become_root postgresql
	say "No Postgres 15 or newer found: installing the package postgresql with apt-get, without a cluster or a service."
	apt update
	offered=$(apt-cache policy postgresql | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p')
	[ "${offered:-0}" -ge 15 ] || fail "This release packages Postgres ${offered:-at no version}, 15 is needed:" \
		"set up the Postgres project's own packages, see https://www.postgresql.org/download, and try again."
	apt install postgresql-common
	conf=/etc/postgresql-common/createcluster.conf
	$root cp -p $conf $conf.towpath
	trap '$root mv $conf.towpath $conf' EXIT
	echo 'create_main_cluster = false' | $root tee -a $conf >/dev/null
	apt install postgresql
else
	fail "No Postgres 15 or newer found: install your system's package of the Postgres server" \
		"(postgresql-server on Fedora, RHEL and SUSE, postgresql17 on Alpine, postgresql on Arch) and try again."
fi

[ "$(go run ./scripts/pgversion)" != none ] || fail "The package is installed, but its programs were not found:" \
	"set TOWPATH_POSTGRES_BIN to the folder of postgres and initdb."
