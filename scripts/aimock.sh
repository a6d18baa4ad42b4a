#!/bin/sh
# Installs the pinned aimock, a provider that others have made, with npm into a cache folder outside the tree, and prints
# the path of its program, for node. Silent otherwise when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
VERSION=1.43.0

command -v npm >/dev/null && command -v node >/dev/null || fail "aimock needs npm and node: scripts/codex.sh installs them."
cache=${CODEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/towpath}/aimock-$VERSION
npm_into "$cache" "@copilotkit/aimock@$VERSION" "12 MB"
echo "$cache/node_modules/@copilotkit/aimock/dist/cli.js"
