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
