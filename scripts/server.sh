# Sourced by scripts that need a server of their own on a TCP port of loopback, and a worker on it: $dir is their
# temporary folder, $port the server's. Everything is stopped and removed at the end.

dir=$(mktemp -d /tmp/towpath-XXXXXX)
chmod 755 "$dir" # root's Postgres runs as somebody else, who passes through
pids=''

finish() {
	code=$?
	trap - EXIT INT TERM
	for pid in $pids; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	for data in "$dir"/pg*/data; do
		[ ! -d "$data" ] || as_server pg_ctl -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
	done
	[ $code = 0 ] || [ ! -f "$dir/worker.log" ] || tail -n 30 "$dir/worker.log" >&2
	rm -rf "$dir"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The newest server programs, as the worker looks for them.
for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin "$(pg_config --bindir 2>/dev/null)" "${TOWPATH_POSTGRES_BIN:-}"; do
	[ ! -x "$bin/initdb" ] || PATH=$bin:$PATH
done

# as_server COMMAND…: root's servers run as postgres, since Postgres refuses root.
as_server() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups env PATH="$PATH" "$@")
	else
		"$@"
	fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_server [NAME]: an empty server with database towpath, superuser postgres, and no password on loopback.
start_server() {
	where=$dir/pg${1:-}
	port=$(free_port)
	mkdir "$where"
	[ "$(id -u)" != 0 ] || chown postgres "$where"
	as_server initdb -D "$where/data" -U postgres -A trust --no-sync >/dev/null
	as_server pg_ctl -D "$where/data" -l "$where/log" -w \
		-o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off" start >/dev/null
	psql -X -q "postgres://postgres@127.0.0.1:$port/postgres" -c 'create database towpath'
}

admin() { psql -X -q -At -v ON_ERROR_STOP=1 -d "postgres://postgres@127.0.0.1:$port/towpath" "$@"; }

# start_worker PROFILE…: bin/worker on that server.
start_worker() {
	prepare "$@"
	run_worker bin/worker
}

# prepare PROFILE…: builds a worker and its plugins; deepseek talks to the stand-in.
prepare() {
	if [ ! -x bin/worker ] || [ "${BUILT:-}" != 1 ]; then
		"${MAKE:-make}" -s build
	fi
	mkdir -p "$dir/plugins"
	for profile in "$@"; do
		cp "bin/plugins/$profile.wasm" "bin/plugins/$profile.toml" "$dir/plugins/"
	done
	go build -o "$dir/standin" ./examples/standin/cmd/standin
	mkfifo "$dir/url"
	"$dir/standin" >"$dir/url" &
	pids="$! $pids"
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
}

# run_worker PROGRAM [ARG…]: one more node on the server, ready when this returns.
run_worker() {
	DEEPSEEK_API_KEY=for-the-stand-in-only TOWPATH_PLUGINS="$dir/plugins" TOWPATH_LOG_FORMAT=text TOWPATH_LOG_LEVEL=info \
		DATABASE_URL="postgres://postgres@127.0.0.1:$port/towpath" "$@" >>"$dir/worker.log" 2>&1 &
	node=$!
	pids="$node $pids"
	before=$(grep -c 'msg=ready' "$dir/worker.log" 2>/dev/null || true)
	tries=0
	until [ "$(grep -c 'msg=ready' "$dir/worker.log" 2>/dev/null || true)" -gt "${before:-0}" ]; do
		kill -0 "$node" 2>/dev/null || fail 'the worker did not start'
		tries=$((tries + 1))
		[ $tries -lt 3000 ] || fail 'the worker is not ready after five minutes'
		sleep 0.1
	done
}
