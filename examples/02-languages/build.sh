#!/bin/sh
# Builds the plugins of this folder: build.sh OUT [LANGUAGE…]. What is missing is installed first, see scripts/languages.sh.
set -eu
cd "$(dirname "$0")"
out=$1
shift
[ $# -gt 0 ] || set -- go c rust assemblyscript
tools=$(../../scripts/languages.sh "$@")
mkdir -p "$out"

for language; do
	case $language in
	go)
		for dir in ../01-hello go/stream go/calls; do
			name=$(basename "$dir")
			GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags='-s -w' \
				-o "$out/go-${name#01-}.wasm" "./$dir"
		done ;;
	c)
		for name in hello stream calls; do
			clang --target=wasm32 -O2 -Wall -Werror -nostdlib -Wl,--no-entry -Wl,--strip-all -o "$out/c-$name.wasm" "c/$name.c"
		done ;;
	rust)
		rustc=$(printf '%s\n' "$tools" | sed -n 's/^rustc=//p')
		for name in hello stream calls; do
			"$rustc" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib --crate-name "$name" -C opt-level=s -C lto=yes -C panic=abort \
				-C strip=symbols -o "$out/rust-$name.wasm" "rust/$name.rs"
		done ;;
	assemblyscript)
		asc=$(printf '%s\n' "$tools" | sed -n 's/^asc=//p')
		for name in hello stream calls; do
			"$asc" "assemblyscript/$name.ts" -O --runtime stub --exportStart _initialize --use abort= -o "$out/assemblyscript-$name.wasm"
		done ;;
	*)
		echo "no language $language: known are go, c, rust, assemblyscript" >&2
		exit 2 ;;
	esac
done
