SHELL       := /bin/sh
FUZZTIME    ?= 10s
SUITES      ?= turn

# The commit is stamped into the binary where git can be asked: not in a tarball, nor in a checkout of somebody else's.
STAMP := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
WASI  := GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go
ALONE := go run github.com/towpath/towpath/scripts/alone

.PHONY: help demo build test race live fuzz bench figures soak lint features mutate pooler codex languages clients pages stranger upgrade backup publish release generate verify check smoke postgres gcc

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: postgres ## Build everything and watch turns run on a private Postgres
	@scripts/demo.sh

build: ## Build bin/worker, a static binary, and the plugins in bin/plugins
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(STAMP) -o bin/worker ./cmd/worker
	@mkdir -p bin/plugins
	@set -e; for dir in $$($(WASI) list -f '{{if eq .Name "main"}}{{.Dir}}{{end}}' ./plugins/...); do \
		name=$$(basename $$dir); \
		echo "bin/plugins/$$name.wasm"; \
		$(WASI) build -trimpath -buildvcs=false -buildmode=c-shared -ldflags='-s -w' -o bin/plugins/$$name.wasm $$dir; \
		cp $$dir/$$name.toml bin/plugins/; \
	done

test: postgres ## Run all tests
	go test -timeout 20m ./...

# Left out: tests whose work is done in processes of their own or inside a large module, where the detector sees nothing
# and makes loading one take a minute. They run in test.
UNRACED := TestAttacksEndAsTheyShould|TestMutantsAreRefusedOrEnd|TestEqualHostsMakeEqualTraces|TestOurPluginsMakeEqualTraces|TestTheSeedDecidesWhatIsFrozen|TestAGoGuestBehavesTheSameWithoutItsTable|TestScripts/dropin|TestScripts/pinned

race: postgres gcc ## Run the tests with the race detector
	CGO_ENABLED=1 go test -race -short -timeout 40m -skip '$(UNRACED)' ./...

live: postgres ## Run one real turn with each provider whose key is set; costs tokens
	@scripts/live.sh

fuzz: postgres ## Run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh $(FUZZTIME)

bench: build postgres ## Measure the SUITES of "worker bench" beside their baselines
	@scripts/bench.sh $(SUITES)

figures: build postgres ## Run all suites, half an hour, and write their figures to docs/performance.md
	@scripts/bench.sh all soak --json >bin/figures.json
	go run ./scripts/figures bin/figures.json

soak: build postgres ## Run 200,000 turns with retention on, up to half an hour
	@scripts/bench.sh soak

lint: ## Look for mistakes with staticcheck, and for imports across layers
	@scripts/lint.sh

features: ## List which test shows which row of docs/features.md
	@go run ./scripts/features

mutate: postgres ## Break each SQL function on purpose and see that a test notices
	TOWPATH_MUTATE=1 go test -run TestEveryBreakageIsNoticed -timeout 45m ./store

pooler: postgres ## Run turns and a takeover through a real pgbouncer
	@scripts/pgbouncer.sh
	TOWPATH_TEST_POOLER=1 go test -run TestThroughAPooler -timeout 15m ./cmd/worker

codex: postgres ## Run turns with the real codex, where nothing but loopback can be reached
	@scripts/codex.sh >/dev/null
	TOWPATH_TEST_CODEX=1 go test -exec "$(ALONE)" -timeout 20m ./plugins/codex
	TOWPATH_TEST_CODEX=1 go test -exec "$(ALONE)" -run TestWithCodex -timeout 20m ./cmd/worker
	scripts/live.sh --standin

languages: postgres ## Build the plugins in C, Rust and AssemblyScript, and test them with the one in Go
	TOWPATH_TEST_LANGUAGES=1 go test -timeout 30m ./examples/02-languages
	TOWPATH_TEST_LANGUAGES=1 go test -timeout 20m -run TestATurnOfEveryLanguage ./worker/turn

clients: postgres ## Run the clients of examples in their languages, and compare what they print
	@scripts/clients.sh

pages: postgres ## Follow the quickstart and the plugin tutorial word by word
	@scripts/pages.sh

stranger: ## Follow the quickstart from a clean Debian root, as root; takes minutes
	@scripts/stranger.sh

upgrade: postgres ## Run turns through an upgrade from the newest tag
	@scripts/upgrade.sh

backup: postgres ## Restore a backup into a new server and run its turns there
	@scripts/backup.sh

publish: ## Record the functions and migrations of the database as published; from then on they stay
	go test -count=1 -run ^TestWhatIsPublishedStays$$ ./sql -publish

release: ## Write VERSION for each system to dist/
	@scripts/release.sh $(or $(VERSION),$(shell git describe --tags --always))

generate: ## Write generated files anew
	go generate ./...

verify: ## Fail when formatting, go.mod or generated files are not as the tools write them
	@scripts/verify.sh

smoke: postgres
	go test -run '^$$' -bench . -benchtime 1x -timeout 20m ./...

# What continuous integration runs, in this order.
check: ## Run everything: test build verify lint features race fuzz demo mutate pooler codex languages clients pages upgrade backup and each benchmark once
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory build
	$(MAKE) --no-print-directory verify
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory features
	$(MAKE) --no-print-directory race
	$(MAKE) --no-print-directory fuzz FUZZTIME=500x
	$(MAKE) --no-print-directory demo
	$(MAKE) --no-print-directory mutate
	$(MAKE) --no-print-directory pooler
	$(MAKE) --no-print-directory codex
	$(MAKE) --no-print-directory languages
	$(MAKE) --no-print-directory clients
	$(MAKE) --no-print-directory pages
	$(MAKE) --no-print-directory upgrade
	$(MAKE) --no-print-directory backup
	$(MAKE) --no-print-directory smoke

postgres:
	@scripts/postgres.sh

gcc:
	@scripts/gcc.sh
