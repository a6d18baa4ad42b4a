#!/bin/sh
# An old worker and a new one on one database, turns running through the upgrade, none lost. The old worker is built from
# the newest tag; where there is none, it is this build on a database whose functions are said to be older.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/server.sh

start_server
prepare deepseek
new=$PWD/bin/worker old=$PWD/bin/worker
tag=$(git describe --tags --abbrev=0 2>/dev/null || true)
if [ -n "$tag" ]; then
	git archive --prefix=old/ "$tag" | tar -x -C "$dir"
	(cd "$dir/old" && CGO_ENABLED=0 go build -o "$dir/old-worker" ./cmd/worker)
	old=$dir/old-worker
fi
run_worker "$old"
if [ -z "$tag" ]; then
	admin -c 'update towpath.code set version = version - 1, min_reader = min_reader - 1' \
		-c 'drop function towpath.health' -c 'drop function towpath.submit_many'
fi
first=$node

# submit FROM TO: a turn each, some on the way while nodes change.
submit() {
	n=$1
	while [ "$n" -le "$2" ]; do
		admin -c "select towpath.submit('deepseek', '{\"text\": \"[[pace:50ms]] number $n of the turns that go through it\"}', 's$((n % 7))')" >/dev/null
		n=$((n + 1))
	done
}
submit 1 30
run_worker "$new"
[ "$(admin -c "select count(*) from pg_proc where pronamespace = 'towpath'::regnamespace and proname in ('health', 'submit_many')")" = 2 ] ||
	fail 'the new worker has not brought the functions up to date'
submit 31 60
kill -0 "$first" || fail 'the old worker did not stay'
kill "$first"
wait "$first" || fail 'the old worker did not stop cleanly'
submit 61 70
tries=0
until [ "$(admin -c 'select count(*) from towpath.processes where finalized_at is null')" = 0 ]; do
	tries=$((tries + 1))
	[ $tries -lt 3000 ] || fail 'turns do not end'
	sleep 0.1
done
found=$(admin -c "select count(*) filter (where p.status = 'completed') || ' ' || count(*) || ' ' || (select count(*) from towpath.receipt) || ' ' || (select count(*) from towpath.check())
	from towpath.processes p")
[ "$found" = '70 70 70 0' ] || fail "completed, turns, receipts, broken rules: $found; wanted: 70 70 70 0"
nodes=$(admin -c 'select count(distinct node_id) from towpath.attempt')
[ "$nodes" = 2 ] || fail "turns ran on $nodes nodes, not on both"
echo 'upgrade: 1 passed, 0 failed'
