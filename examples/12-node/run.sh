#!/bin/sh
# pg is installed into a folder that is thrown away.
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp package.json ./*.mjs "$dir"
cd "$dir"
npm install --silent --no-audit --no-fund --no-package-lock >&2
node run.mjs
