# Sourced by the scripts that install what a step needs. Nothing here asks a question.

# say WHAT: tell people what is about to happen, or why it cannot.
say() { printf '%s\n' "$*" >&2; }

fail() {
	say "$@"
	exit 1
}

# become_root PACKAGE: sets $root to the prefix that runs a command as root, or ends with one sentence.
become_root() {
	if [ "$(id -u)" = 0 ]; then
		root='env'
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		root='sudo -n env'
	else
		fail "The package $1 is missing and only root can install it: run \"sudo apt-get install $1\" and try again."
	fi
}

apt() { $root DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null; }

# npm_into CACHE PACKAGE SIZE: installs a package with npm into a folder, unless it is there whole. It is made in a folder of
# its own first: two runs at once, or one that was ended, leave no half of it.
npm_into() {
	[ ! -e "$1/complete" ] || return 0
	say "Installing $2 with npm into $1 ($3)."
	mkdir -p "$(dirname "$1")"
	fresh=$(mktemp -d "$1.XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	npm install --prefix "$fresh" --no-audit --no-fund --ignore-scripts --loglevel=error "$2" </dev/null >&2
	chmod 755 "$fresh"
	touch "$fresh/complete"
	[ ! -e "$1" ] || [ -e "$1/complete" ] || rm -rf "$1"
	[ -e "$1/complete" ] || mv "$fresh" "$1"
}
