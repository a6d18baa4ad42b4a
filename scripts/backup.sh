#!/bin/sh
# Follows docs/backup.md from a server with turns in flight to a new one, and sees that all of them end there.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/server.sh

start_server
start_worker deepseek
# Two turns a session: one that speaks for a while, and one behind it. And one that has ended.
admin -c "select towpath.submit('deepseek', '{\"text\": \"done\"}', 's0', 'the key')" >/dev/null
until [ "$(admin -c "select count(*) from towpath.processes where status = 'completed'")" = 1 ]; do sleep 0.1; done
admin -c "select towpath.submit('deepseek', '{\"text\": \"[[pace:2s]] a b c d e f g h i j\"}', 's' || n),
	towpath.submit('deepseek', '{\"text\": \"after it\"}', 's' || n) from generate_series(1, 10) n" >/dev/null
tries=0
until [ "$(admin -c "select count(*) from towpath.processes where status = 'running'")" = 10 ]; do
	tries=$((tries + 1))
	[ $tries -lt 300 ] || fail 'ten turns do not run side by side'
	sleep 0.1
done

DSN="postgres://postgres@127.0.0.1:$port/towpath" DUMP="$dir/dump"
old=$port
stop_node() { kill -9 "$node"; wait "$node" 2>/dev/null || true; }
start_server new
NEW="postgres://postgres@127.0.0.1:$port/towpath"
[ "$old" != "$port" ]
export DSN DUMP NEW
go run ./scripts/pages docs/backup.md
stop_node # it belongs to the old database
run_worker bin/worker --lease-ttl 2s
tries=0
until [ "$(admin -c 'select count(*) from towpath.processes where finalized_at is null')" = 0 ]; do
	tries=$((tries + 1))
	[ $tries -lt 3000 ] || { admin -c 'table towpath.processes' >&2; fail 'turns do not end on the restored server'; }
	sleep 0.1
done
ended=$(admin -c "select count(*) from towpath.processes where status = 'completed'")
broken=$(admin -c 'select count(*) from towpath.check()')
same=$(admin -c "select towpath.submit('deepseek', '{\"text\": \"done\"}', 's0', 'the key') in (select id from towpath.processes where session = 's0')")
[ "$ended $broken $same" = '21 0 t' ] || fail "completed, broken rules, key known: $ended $broken $same; wanted: 21 0 t"
echo 'backup: 1 passed, 0 failed'
