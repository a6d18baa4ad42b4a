#!/bin/sh
# Installs the compilers of the languages that are named, where they are missing, and prints where they are. Debian's
# packages for C and Rust, npm's for AssemblyScript; Go is there already.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

asc_version=0.28.8
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/towpath-languages

# need COMMAND-THAT-TELLS PACKAGE…: installs packages unless the command succeeds.
need() {
	tells=$1
	shift
	! eval "$tells" >/dev/null 2>&1 || return 0
	command -v apt-get >/dev/null || fail "Missing: $*. Install them and try again."
	become_root "$1"
	say "Installing $* with apt-get."
	apt update
	apt install "$@"
}

# A rustc that can build for wasm32: that of the PATH, or Debian's, which stands at a fixed place.
rust() {
	for candidate in rustc /usr/bin/rustc; do
		lib=$("$candidate" --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) || continue
		if ls "$lib"/libcore-*.rlib >/dev/null 2>&1; then
			echo "rustc=$(command -v "$candidate")"
			return 0
		fi
	done
	return 1
}

for language; do
	case $language in
	c) need 'command -v clang && command -v wasm-ld' clang lld ;;
	rust)
		need 'rust && command -v wasm-ld' rustc libstd-rust-dev-wasm32 lld
		rust ;;
	assemblyscript)
		need 'command -v npm' npm
		asc=$cache/$asc_version/node_modules/.bin/asc
		if [ ! -x "$asc" ]; then
			say "Installing assemblyscript $asc_version with npm."
			mkdir -p "$cache/$asc_version"
			npm install --silent --no-audit --no-fund --prefix "$cache/$asc_version" "assemblyscript@$asc_version" >/dev/null
		fi
		echo "asc=$asc" ;;
	esac
done
