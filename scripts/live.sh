#!/bin/sh
# One real turn with each provider whose key is in the environment: DEEPSEEK_API_KEY, MINIMAX_API_KEY, OPENAI_API_KEY. It
# costs a few tokens. Each profile runs under the permit file it is shipped with, on a private Postgres that is thrown
# away. Fails unless every answer holds a word made up here. Not for continuous integration.
#
# live.sh --standin: the same with the stand-in in the providers' places, all three profiles, no key and no cost. The
# permits are the shipped ones but for where they lead.
set -eu
cd "$(dirname "$0")/.."

unset DATABASE_URL RIVER_SCHEMA TOWPATH_POOLED TOWPATH_QUEUES TOWPATH_NO_MIGRATE
say() { printf '%s\n' "$*" >&2; }

standin=''
[ "${1:-}" != --standin ] || {
	standin=yes
	export DEEPSEEK_API_KEY=for-the-stand-in MINIMAX_API_KEY=for-the-stand-in OPENAI_API_KEY=for-the-stand-in
	program=$(scripts/codex.sh)
	PATH=$(dirname "$program"):$PATH
}
profiles=''
[ -z "${DEEPSEEK_API_KEY:-}" ] || profiles="$profiles deepseek"
[ -z "${MINIMAX_API_KEY:-}" ] || profiles="$profiles minimax-m3"
[ -z "${OPENAI_API_KEY:-}" ] || profiles="$profiles codex"
[ -n "$profiles" ] || {
	say 'error: no key is set'
	say 'hint: set DEEPSEEK_API_KEY, MINIMAX_API_KEY or OPENAI_API_KEY; each runs one real turn'
	exit 2
}

dir=$(mktemp -d /tmp/towpath-live-XXXXXX)
chmod 755 "$dir" # root's Postgres runs as somebody else, who passes through
export TOWPATH_DATA_DIR="$dir/data" TOWPATH_PLUGINS="$dir/plugins"
worker='' played=''
finish() {
	code=$?
	trap - EXIT INT TERM
	for pid in $worker $played; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
	done
	[ $code = 0 ] || [ ! -f "$dir/worker.log" ] || tail -n 20 "$dir/worker.log" >&2
	rm -rf "$dir"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"${MAKE:-make}" -s build
mkdir "$dir/plugins"
for profile in $profiles; do
	cp "bin/plugins/$profile.wasm" "bin/plugins/$profile.toml" "$dir/plugins/"
done
if [ -n "$standin" ]; then
	go build -o "$dir/standin" ./examples/standin/cmd/standin
	mkfifo "$dir/url"
	"$dir/standin" >"$dir/url" &
	played=$!
	read -r url <"$dir/url"
	here="s|\"api[.][a-z.]*\"|\"${url#http://}\"\\nprivate = true|"
	sed -i -e "$here" -e "s|^\\[config\\]|&\\nbase_url = \"$url\"|" "$dir/plugins/deepseek.toml"
	sed -i -e "/api.minimaxi.com/!$here" -e "s|^\\[config\\]|&\\nbase_url = \"$url/minimax/v1\"|" "$dir/plugins/minimax-m3.toml"
	sed -i -e "$here" -e "s|https://api.openai.com|$url|" "$dir/plugins/codex.toml"
fi
bin/worker >"$dir/worker.log" 2>&1 &
worker=$!
until grep -q 'msg=ready' "$dir/worker.log"; do
	kill -0 "$worker" 2>/dev/null || { say 'error: the worker did not start'; exit 1; }
	sleep 0.2
done

word="towpath$(od -An -N3 -tx1 /dev/urandom | tr -d ' ')"
failed=0
for profile in $profiles; do
	if bin/worker submit --profile "$profile" --follow "Answer with this word and nothing else: $word" >"$dir/answer" && grep -q "$word" "$dir/answer"; then
		say "$profile: good"
	else
		say "$profile: FAILED, it said: $(head -c 500 "$dir/answer")"
		failed=1
	fi
done
bin/worker usage --by profile
exit $failed
