# make run, make test: the two commands of a newcomer. make help lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The allocator of the programs that decode, also where a test or a benchmark does it in its
# own process: glibc with two arenas was fastest and smallest (make bench-allocators).
export MALLOC_ARENA_MAX ?= 2

# Tools that the tests start as real servers are built once and kept here.
export IMAGETIER_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imagetier-tools
VERSITYGW := v1.8.0
GOLANGCI_LINT := v2.15.0
K6 := v1.8.1
PROTOC_GEN_GO := v1.36.12
PROTOC_GEN_GO_GRPC := v1.6.2

.PHONY: help
help: ## list what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.PHONY: go
go: # says what to do where Go is missing or too old to fetch the toolchain of go.mod
	@command -v go >/dev/null || { echo 'no Go here: install Go 1.21 or newer from https://go.dev/dl/ (Debian 12: apt-get install golang-go/bookworm-backports)' >&2; exit 1; }
	@v=$$(cd / && go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/'); [ "$$v" -ge 21 ] || { echo "go is $$(cd / && go env GOVERSION): 1.21 or newer fetches the toolchain that go.mod names; get it from https://go.dev/dl/" >&2; exit 1; }

.PHONY: deps
deps: go ## install what is missing: libvips and its headers (Debian)
	@deploy/install-deps

.PHONY: build
build: deps ## bin/imagetier and bin/imagetier-gateway (static, no C), and bin/imagetier-resize (libvips)
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/imagetier
	CGO_ENABLED=1 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/imagetier-resize
	cd gateway && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/ ./cmd/imagetier-gateway

.PHONY: run
run: build ## serve the sample photos (or ORIGIN=directory, s3://…, https://…) on this machine
	@deploy/run

.PHONY: run-gateway
run-gateway: build ## the gateway on :8080 before test services, with Redis if there is one and the tier on :8090
	cd gateway && CGO_ENABLED=0 go build -trimpath -o ../bin/ ./cmd/fakebackends
	@deploy/run-gateway

.PHONY: tools
tools: $(IMAGETIER_TOOLS)/versitygw ## build the servers that tests start

$(IMAGETIER_TOOLS)/versitygw:
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

.PHONY: k6
k6: $(IMAGETIER_TOOLS)/k6 ## build the load tester, which takes minutes

$(IMAGETIER_TOOLS)/k6:
	mkdir -p $(@D)
	GOBIN=$(@D) go install go.k6.io/k6@$(K6)

.PHONY: proto
proto: go ## make the Go code of gateway/proto anew, after its .proto files have changed
	@deploy/install-deps proto
	GOBIN=$(IMAGETIER_TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO)
	GOBIN=$(IMAGETIER_TOOLS) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC)
	cd gateway/proto && PATH="$(IMAGETIER_TOOLS):$$PATH" protoc \
		--go_out=. --go_opt=module=github.com/novasocial/imagetier/gateway/proto \
		--go-grpc_out=. --go-grpc_opt=module=github.com/novasocial/imagetier/gateway/proto *.proto
	cd gateway/proto && sha256sum *.proto >made-of.sha256

.PHONY: deps-test
deps-test: deps tools
	@deploy/install-deps test

.PHONY: test
test: deps-test ## install what is missing and run every test
	go test -timeout 20m ./...
	cd cmd/tierbench && go test ./...
	cd gateway && go test ./...

.PHONY: fleet
fleet: deps-test ## three nodes, three NATS servers, an S3 server and nginx on this machine, until Ctrl-C
	@TEST_FLEET=serve go test -count 1 -timeout 0 -run TestServeFleet ./cmd/imagetier/e2e

.PHONY: test-fleet
test-fleet: deps-test ## three nodes, three NATS servers, an S3 server and nginx: killed, replaced, cut off
	TEST_FLEET=full go test -count 1 -v -run TestAFleet ./cmd/imagetier/e2e

# What many goroutines of the whole tier do at once.
RACED := TestAPublishedPost|TestFiveHundred|TestAPurge|TestSizesAskedForLater|TestNothingThatAFaultyOrigin|TestTheDirectoryNeverTakes

.PHONY: race
race: deps-test ## tests under the race detector: of those from outside some, the tier under it too; not resize/vips, one goroutine around C
	go test -race -timeout 20m $$(go list ./... | grep -v -e /e2e$$ -e /resize/vips$$)
	go test -race -timeout 20m -run '$(RACED)' ./cmd/imagetier/e2e
	cd gateway && go test -race ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	@deploy/fuzz $(or $(FUZZTIME),5s)
	@cd gateway && ../deploy/fuzz $(or $(FUZZTIME),5s)

.PHONY: lint
lint: deps $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## format, vet, staticcheck and more (.golangci.yml)
	$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	cd cmd/tierbench && $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	cd gateway && $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...

$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(@D)/golangci-lint $@

.PHONY: bench
bench: deps ## what answers, tiers and resizes cost, side by side (BENCH=regexp, BENCHTIME=2s)
	go test -timeout 60m -run '^$$' -bench '$(or $(BENCH),.)' -benchtime $(or $(BENCHTIME),2s) ./cmd/imagetier/e2e ./imagecache/... ./resize/vips ./internal/httpapi/images
	cd gateway && GOEXPERIMENT=jsonv2 go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime $(or $(BENCHTIME),2s) ./imagelink ./proxy ./graph ./feed ./pagecache # beside encoding/json/jsontext and graph-gophers

.PHONY: bench-decode
bench-decode: deps ## what an image of a phone photo costs beside the floor, bimg and libvips, its quality, and their picture
	go test -timeout 30m -run '^$$' -bench OneDecode -benchtime 1x ./resize/vips -chart $(CURDIR)/deploy/docs/resizing.svg

.PHONY: bench-load
bench-load: deps ## fills beside dear jobs at half of the capacity, and four times the capacity (5 min on a quiet machine)
	TEST_LOAD=full go test -count 1 -v -timeout 30m -run TestLoadOf ./cmd/imagetier/e2e

.PHONY: soak
soak: deps ## memory of parent and children over SOAK (3m), and 10,000 mixed images at the least
	TEST_SOAK=$(or $(SOAK),3m) go test -count 1 -v -timeout 0 -run 'TestSoak$$' ./cmd/imagetier/e2e

.PHONY: bench-allocators
bench-allocators: ## CPU time and memory of a resize process under glibc, jemalloc, tcmalloc and mimalloc
	@deploy/install-deps allocators
	go test -timeout 30m -run '^$$' -bench Allocators -benchtime $(or $(BENCHTIME),20s) ./resize/workers

.PHONY: bench-replay
bench-replay: deps ## hit ratios of the memory tier and of others on ../shared/traces, and their picture
	cd cmd/tierbench && go run . replay --svg ../../deploy/docs/hit-ratio.svg

.PHONY: bench-page
bench-page: build ## how long a page of the feed takes on a phone, before and after, and its picture
	@deploy/load page --svg deploy/docs/page.svg

.PHONY: load
load: build k6 ## k6 scenarios and faults under load (MINUTES=1 each, LOAD=full as long as they should be, ONLY=spike,faults)
	@deploy/load load

.PHONY: bench-feed
bench-feed: build ## a day of a social feed with warming and without, in some twelve minutes (FEED='--pairs 1': flags of tierbench feed)
	cd cmd/tierbench && go run . feed $(FEED)

.PHONY: bench-peers
bench-peers: ## what a hit costs beside nginx and Varnish, in one run
	@deploy/bench-peers
