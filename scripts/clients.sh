#!/bin/sh
# Runs each client of examples/1*-* against a worker and the stand-in, as a user who may do nothing but be a client, and
# compares what it prints with its expected/output.txt: clients.sh, or clients.sh 12-node. Installs what is missing.
# BULK is how many turns the bulk submits make: 500, as in the expected output.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/server.sh

need() { # need COMMAND PACKAGE…
	command=$1
	shift
	! sh -c "$command" >/dev/null 2>&1 || return 0
	command -v apt-get >/dev/null || fail "The examples need $* and this system has no apt-get: install them and try again."
	become_root "$1"
	say "Installing $* with apt-get for the examples."
	apt update
	apt install "$@"
}

chosen=${*:-$(cd examples && ls -d 1[0-9]-*)}
for name in $chosen; do
	case $name in
	10-psql) need 'command -v psql' postgresql-client ;;
	11-python) need "python3 -c 'import psycopg, psycopg2, sqlalchemy' || /usr/bin/python3 -c 'import psycopg, psycopg2, sqlalchemy'" python3 python3-psycopg python3-psycopg2 python3-sqlalchemy ;;
	12-node) need 'command -v npm' nodejs npm ;;
	13-java)
		need 'command -v javac' default-jdk-headless
		need 'test -f "${JDBC_DRIVER:-/usr/share/java/postgresql.jar}"' libpostgresql-jdbc-java
		;;
	esac
done

start_server
start_worker deepseek
admin -c "create role app login" -c "grant towpath_client, towpath_enqueue to app" -c "grant select, insert, update (kind) on river_job to app"
export DATABASE_URL="postgres://app@127.0.0.1:$port/towpath" BULK="${BULK:-500}"
passed=0 failed=0
for name in $chosen; do
	say "examples/$name"
	began=$(date +%s)
	if timeout 600 examples/"$name"/run.sh >"$dir/$name.out" 2>"$dir/$name.err" </dev/null &&
		diff -u examples/"$name"/expected/output.txt "$dir/$name.out" >&2; then
		passed=$((passed + 1))
		say "examples/$name took $(($(date +%s) - began)) s"
	else
		cat "$dir/$name.err" >&2
		failed=$((failed + 1))
	fi
done
echo "examples: $passed passed, $failed failed"
[ $failed = 0 ]
