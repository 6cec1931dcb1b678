# Building needs Go, make and a C compiler. The tests of the JavaScript SDK need Node and
# browsers, which `make test` installs where it may. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.version=$(VERSION)

# Packages whose tests run whole processes or measure: the race detector would only slow the
# test down, since the code that runs is in another binary.
NORACE := ./cmd/meridian ./internal/bench/... ./internal/e2e/... ./internal/fault/...
TIMEOUT ?= 20m

.PHONY: build
build: ## bin/meridian
	go build -ldflags '$(LDFLAGS)' -o bin/meridian ./cmd/meridian

.PHONY: run
run: build ## build and start a relay on this machine; ARGS are its flags
	bin/meridian dev $(ARGS)

.PHONY: fleet
fleet: build ## NODES= EDGES=: build and run nodes and edges as processes; ARGS are further flags
	bin/meridian fleet --nodes $(or $(NODES),3) --edges $(or $(EDGES),1) $(ARGS)

.PHONY: check
check: format vet lint imports generated js test ## what CI runs: everything below, then the tests

.PHONY: format
format:
	@bad=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -s -l); \
	if [ -n "$$bad" ]; then echo "not formatted; run gofmt -s -w on:"; echo "$$bad"; exit 1; fi
	@echo "format: ok"

.PHONY: vet
vet:
	go vet ./...

.PHONY: lint
lint: bin/staticcheck
	bin/staticcheck ./...

bin/staticcheck: tools/go.mod tools/go.sum
	go -C tools build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

.PHONY: imports
imports: ## who may import whom, and how long a file may be
	go test -count=1 ./internal/house

.PHONY: generated
generated: ## generated code is what its source generates
	go -C tools run ./generate -check ../relay/wire wire.proto
	@echo "generated: ok"

.PHONY: generate
generate: ## write generated code anew
	go -C tools run ./generate ../relay/wire wire.proto
	@scripts/js generate

.PHONY: js
js: prerequisites ## the JavaScript SDK: types, the committed bundle and its size, the package
	@scripts/js check

.PHONY: test
test: prerequisites build ## all tests but campaigns, of which a short seeded slice runs
	@scripts/js unit
	go test -race -timeout $(TIMEOUT) $$(go list ./... | grep -vxF -f <(go list $(NORACE) 2>/dev/null))
	go test -tags planted -count=1 -timeout $(TIMEOUT) -run '^TestPlanted$$' ./core ./core/shard
	go test -timeout $(TIMEOUT) $(NORACE)
	@scripts/js e2e
	@scripts/left-out

# What a test needs beyond Go: browsers and Node. Installed where that is ours to do, else the
# tests that want them are named as left out.
.PHONY: prerequisites
prerequisites:
	@scripts/prerequisites

.PHONY: campaign
campaign: ## NAME= SEED= FOR=: run TestCampaignNAME for long; without NAME list them
	@scripts/campaign '$(NAME)' '$(SEED)' '$(FOR)'

.PHONY: bench-peers
bench-peers: build ## publish to NATS JetStream and to Meridian in turn; ARGS are its flags
	go -C bench/peers build -o ../../bin/bench-peers .
	bin/bench-peers --meridian bin/meridian $(ARGS)

.PHONY: clean
clean:
	rm -rf bin

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
