#!/bin/sh
# From a clone to streamed tokens: builds, starts a private Postgres and a worker in a temporary folder, submits two
# turns by plain SQL, shows their events as they come, and stops everything. The provider is the stand-in of
# examples/standin, or the live one when DEEPSEEK_API_KEY is set. Fails unless the answers hold a word made up here.
set -eu
cd "$(dirname "$0")/.."

unset DATABASE_URL RIVER_SCHEMA TOWPATH_POOLED TOWPATH_QUEUES TOWPATH_NO_MIGRATE
dir=$(mktemp -d /tmp/towpath-demo-XXXXXX)
chmod 755 "$dir" # root's Postgres runs as somebody else, who passes through
export TOWPATH_DATA_DIR="$dir/data" TOWPATH_PLUGINS="$dir/plugins" TOWPATH_LOG_FORMAT=text TOWPATH_LOG_LEVEL=info
worker='' standin=''

finish() {
	code=$?
	trap - EXIT INT TERM
	for pid in $worker $standin; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[ $code = 0 ] || [ ! -f "$dir/worker.log" ] || { say 'The end of the log of the worker:'; tail -n 20 "$dir/worker.log" >&2; }
	rm -rf "$dir"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

say 'Building bin/worker and its plugins …'
"${MAKE:-make}" -s build
mkdir "$dir/plugins"
cp bin/plugins/deepseek.wasm "$dir/plugins/"
if [ -n "${DEEPSEEK_API_KEY:-}" ]; then
	cp plugins/deepseek/deepseek.toml "$dir/plugins/"
	provider='the live provider'
else
	go build -o "$dir/standin" ./examples/standin/cmd/standin
	mkfifo "$dir/url"
	"$dir/standin" -pace 40ms >"$dir/url" &
	standin=$!
	read -r url <"$dir/url" || fail 'the stand-in did not start'
	cat >"$dir/plugins/deepseek.toml" <<-TOML
		[[http]]
		host = "${url#http://}"
		methods = ["POST"]
		secrets = ["DEEPSEEK_API_KEY"]
		private = true

		[secrets.DEEPSEEK_API_KEY]
		env = "DEEPSEEK_API_KEY"

		[config]
		base_url = "$url"
	TOML
	export DEEPSEEK_API_KEY=for-the-stand-in-only
	provider="the stand-in at $url"
fi

say "Starting a worker with a private Postgres; it talks to $provider …"
bin/worker >"$dir/worker.log" 2>&1 &
worker=$!
tries=0
until grep -q 'msg=ready' "$dir/worker.log"; do
	kill -0 "$worker" 2>/dev/null || fail 'the worker did not start'
	tries=$((tries + 1))
	[ $tries -lt 3000 ] || fail 'the worker is not ready after five minutes'
	sleep 0.1
done
dsn=$(bin/worker --print-dsn)

# sql STATEMENT: the result as plain text. Without psql the demo goes through the command line of the worker.
sql() { psql -X -q -At -v ON_ERROR_STOP=1 -d "$dsn" -c "$1"; }

# stream ID: prints the text of a turn as it is stored, until the turn ends, and keeps it as $answer.
stream() {
	after=0 answer=''
	while :; do
		# First line: how far, and whether it has ended. Then the text; the dot keeps its line ends.
		rows=$(sql "select coalesce(max(seq), $after) || ' ' || coalesce(max(substr(type, 9)) filter
			(where type ~ '^process.(completed|failed|cancelled|abandoned)\$'), '-') || E'\n'
			|| coalesce(string_agg(data ->> 'text', '' order by seq) filter (where type = 'message.delta'), '') || '.'
			from towpath.events('$1', $after)")
		head=${rows%%"
"*}
		text=${rows#*"
"}
		printf '%s' "${text%.}"
		answer=$answer${text%.}
		after=${head% *}
		[ "${head#* }" = - ] || break
		sleep 0.1
	done
	printf '\n'
	[ "${head#* }" = completed ] || { bin/worker events "$1" >&2; fail "the turn ended as ${head#* }"; }
}

# expect TEXT: the word that the submitter made up must come back from the database.
expect() {
	case $1 in *"$nonce"*) ;; *) fail "the answer does not hold $nonce" ;; esac
}

nonce="towpath-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')"
prompt="Please repeat this word and nothing else, it was made up just now: $nonce"
input="{\"text\":\"$prompt\"}"
if command -v psql >/dev/null; then
	say "1. select towpath.submit('deepseek', '{\"text\": …}')"
	id=$(sql "select towpath.submit('deepseek', '$input', 'demo')")
	stream "$id"
	expect "$answer"

	say "2. insert into river_job (kind, args, queue) values ('turn', '{\"profile\": …}', 'turns')"
	job=$(sql "insert into river_job (kind, args, queue)
		values ('turn', '{\"profile\":\"deepseek\",\"session\":\"demo\",\"input\":$input}', 'turns') returning id")
	until id=$(sql "select metadata ->> 'process_id' from river_job where id = $job") && [ -n "$id" ]; do sleep 0.05; done
	stream "$id"
	expect "$answer"

	say 'The River rows, and the processes that they ran'
	psql -X -q -d "$dsn" -P footer=off -c "select id, state, kind, queue, coalesce(args ->> 'process_id', metadata ->> 'process_id') as process, attempt,
		finalized_at - created_at as took from river_job where kind = 'turn' order by id"
else
	say '1. worker submit (there is no psql here)'
	bin/worker submit --profile deepseek --session demo --follow "$prompt" | tee "$dir/answer"
	expect "$(cat "$dir/answer")"
	say 'The processes'
fi
bin/worker ps --all

say 'Try next, in this folder:'
cat <<'NEXT'
  DEEPSEEK_API_KEY=… bin/worker                                          a worker that stays, with its own Postgres
  bin/worker submit --profile deepseek --session s1 --follow "Hello"     from another terminal: talk to it
  psql "$(bin/worker --print-dsn)" -c 'table towpath.processes'          look at everything from SQL
NEXT
