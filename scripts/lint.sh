#!/bin/sh
# Looks for mistakes with staticcheck, and for imports that the layers do not allow.
set -eu
cd "$(dirname "$0")/.."
STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Guests are compiled for two systems. U1000 does not know that go:wasmexport is a use.
guests='./hostabi/guest/... ./plugins/... ./examples/01-hello/... ./examples/02-languages/go/...'
# shellcheck disable=SC2086
inside=$(go list $guests)
# shellcheck disable=SC2046
go run $STATICCHECK $(go list ./... | grep -vxF "$inside")
# shellcheck disable=SC2086
go run $STATICCHECK -checks inherit,-U1000 -matrix $guests <<'EOT'
native:
wasip1: GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0
EOT

# only PACKAGES IMPORT: each dependency that could spread has one door.
only() {
	strangers=$(go list -f '{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... |
		awk -v door="^github.com/towpath/towpath/($1)( |\$)" -v path="$2" '$0 !~ door && index($0, " " path) { print $1 }')
	[ -z "$strangers" ] || { echo "only $1 may import $2, not: $strangers" >&2; exit 1; }
}
only 'queue(/[^ ]*)?|examples/15-river' github.com/riverqueue/
only 'hostabi/engine(/[^ ]*)?' github.com/tetratelabs/wazero
only 'hostabi/vocabulary' github.com/santhosh-tekuri/jsonschema/
only 'worker/(trace|turn)|cmd/worker' go.opentelemetry.io/
only 'worker/storage/pvc(/[^ ]*)?' k8s.io/
