#!/bin/sh
# The whole life of turns through psql. Needs DATABASE_URL.
set -eu

sql() { psql -X -q -At -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }

# follow ID: prints the text as it comes; the last line of output is how the turn ended.
# psql shows notifications only with its next answer, so this asks again; \watch does the same by hand.
follow() {
	after=0 end=
	while [ -z "$end" ]; do
		rows=$(sql -v id="$1" -v after="$after" <<-'SQL'
			select seq, type, coalesce(data->>'text', '') from towpath.events(:'id', :after);
		SQL
		)
		[ -n "$rows" ] || { sleep 0.1; continue; }
		while IFS='|' read -r seq type text; do
			after=$seq
			case $type in
			message.delta) printf '%s' "$text" ;;
			process.completed | process.failed | process.cancelled | process.abandoned) end=${type#process.} ;;
			esac
		done <<-ROWS
			$rows
		ROWS
	done
	printf '\n%s\n' "$end"
}
ended() { follow "$1" | tail -n 1; }

# Variables are quoted by psql itself: :'name'. Never paste text into a statement.
submit() { sql -v input="$1" -v options="${2:-{\}}" -v key="${3:-}" <<-'SQL'
	select towpath.submit('deepseek', :'input'::jsonb, null, nullif(:'key', ''), :'options'::jsonb);
SQL
}

id=$(submit '{"text": "the towpath runs along the water"}')
printf 'said: '
follow "$id" >/tmp/towpath-said.$$
head -n 1 /tmp/towpath-said.$$
echo "ended: $(tail -n 1 /tmp/towpath-said.$$)"
rm -f /tmp/towpath-said.$$

key="order-$(date +%s)-$$"
one=$(submit '{"text": "once"}' '{}' "$key")
two=$(submit '{"text": "once"}' '{}' "$key")
[ "$one" = "$two" ] && echo 'the same request is the same turn: true'

id=$(submit '{"text": "later"}' "{\"scheduled_at\": \"$(sql -c "select to_json(now() + interval '1 day') #>> '{}'")\"}")
status=$(sql -v id="$id" <<-'SQL'
	select status from towpath.process(:'id');
SQL
)
echo "scheduled for tomorrow: $status, then $(sql -c "select towpath.cancel('$id', 'changed my mind')")"

# speaking ID: waits until the turn has said something.
speaking() { until [ -n "$(sql -c "select 1 from towpath.events('$1') where type = 'message.delta' limit 1")" ]; do sleep 0.05; done; }

id=$(submit '{"text": "[[pace:150ms]] one two three four five six"}')
speaking "$id"
sql -c "select towpath.steer('$id', '{\"text\": \"and mind the locks\"}')" >/dev/null
echo "steered while it spoke: $(ended "$id")"

id=$(submit '{"text": "[[pace:300ms]] one two three four five six seven eight nine ten"}')
speaking "$id"
sql -c "select towpath.cancel('$id', 'enough')" >/dev/null
echo "cancelled while it spoke: $(ended "$id")"

# A hundred thousand in one statement take a while; each is a turn of its own, here for next year.
count=$(sql -v n="${BULK:-100000}" <<-'SQL'
	select count(*) from towpath.submit_many((
	  select jsonb_agg(jsonb_build_object('profile', 'deepseek', 'input', jsonb_build_object('text', 'number ' || n),
	                                      'options', '{"scheduled_at": "2099-01-01T00:00:00Z"}'::jsonb))
	  from generate_series(1, :n) n));
SQL
)
echo "in one call: $count turns accepted"
