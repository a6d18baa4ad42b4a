#!/bin/sh
# Fails when a file is not what the tools would write. It compares with the working tree as it was, committed or not.
set -eu
cd "$(dirname "$0")/.."

tree() { { git status --porcelain; git diff HEAD; } | git hash-object --stdin; }

unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted (run gofmt -w)" >&2; exit 1; }
go vet ./...
go mod tidy -diff
before=$(tree)
go generate ./...
[ "$before" = "$(tree)" ] || { git status --short; echo "go generate changed files: commit them" >&2; exit 1; }
