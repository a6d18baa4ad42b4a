#!/bin/sh
# Runs every fuzz target for the given time or number of runs, one after the other: fuzz.sh 10s, fuzz.sh 500x.
# A number is what continuous integration takes: the go tool sometimes reports its own deadline as a failure.
set -eu
cd "$(dirname "$0")/.."

grep -rE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' . | sed -E 's#/[^/]*:func (Fuzz[A-Za-z0-9_]*).*# \1#' | sort |
	while read -r dir name; do
		echo "$dir $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" -fuzzminimizetime 20x "$dir" </dev/null
	done
