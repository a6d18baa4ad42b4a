# TOWPATH may name a checkout of Towpath to build against; empty: its newest version.
TOWPATH ?=

@NAME@.wasm: main.go go.mod
	$(if $(TOWPATH),go mod edit -replace github.com/towpath/towpath=$(TOWPATH) -require github.com/towpath/towpath@v0.0.0,go get github.com/towpath/towpath@latest)
	GOFLAGS=-mod=mod GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -buildmode=c-shared -ldflags="-s -w" -o $@ .
