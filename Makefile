# Start with make run and make test-short; make help lists the other targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Limits glibc to two malloc arenas in every program that decodes images, including tests and
# benchmarks: the fastest and smallest setting in make bench-allocators.
export MALLOC_ARENA_MAX ?= 2

# Pinned tools are built once and kept here.
export IMAGETIER_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imagetier-tools
VERSITYGW := v1.8.0
AXE := 4.14.1
GOLANGCI_LINT := v2.15.0
K6 := v1.8.1
PROTOC_GEN_GO := v1.36.12
NFPM := v2.45.2
CYCLONEDX := v1.10.0
HELM := v3.19.5
PROTOC_GEN_GO_GRPC := v1.6.2

# The newest tag without its v, and the commits after it: 0.1.0, 0.1.0+3.g1a2b3c4.
VERSION ?= $(or $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/'),0.0.0-dev)
LDFLAGS := -s -w -X github.com/novasocial/imagetier/internal/program.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

.PHONY: go
go: # explains how to install Go if it is missing or too old to fetch the toolchain of go.mod
	@command -v go >/dev/null || { echo 'Go is not installed: install Go 1.21 or newer from https://go.dev/dl/ (Debian 12: apt-get install golang-go/bookworm-backports)' >&2; exit 1; }
	@v=$$(cd / && go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/'); [ "$$v" -ge 21 ] || { echo "go is $$(cd / && go env GOVERSION): 1.21 or newer fetches the toolchain that go.mod names; get it from https://go.dev/dl/" >&2; exit 1; }

.PHONY: deps
deps: go ## install build dependencies: libvips and its headers (Debian)
	@deploy/install-deps

.PHONY: build
build: deps ## build bin/imagetier, bin/imagetier-gateway (static, no cgo) and bin/imagetier-resize (libvips)
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/imagetier
	CGO_ENABLED=1 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/imagetier-resize
	cd gateway && CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o ../bin/ ./cmd/imagetier-gateway

.PHONY: release
release: deps $(IMAGETIER_TOOLS)/nfpm-$(NFPM) $(IMAGETIER_TOOLS)/cyclonedx-gomod-$(CYCLONEDX) ## build archives, .deb packages, checksums, SBOMs and the gateway's image in dist/ (VERSION=0.1.0, PLATFORMS=linux/amd64)
	PLATFORMS='$(PLATFORMS)' NFPM=$(IMAGETIER_TOOLS)/nfpm-$(NFPM) CYCLONEDX=$(IMAGETIER_TOOLS)/cyclonedx-gomod-$(CYCLONEDX) \
		LDFLAGS='$(LDFLAGS)' deploy/packaging/release '$(VERSION)'

$(IMAGETIER_TOOLS)/nfpm-$(NFPM):
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM)
	mv $(@D)/nfpm $@

$(IMAGETIER_TOOLS)/cyclonedx-gomod-$(CYCLONEDX):
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX)
	mv $(@D)/cyclonedx-gomod $@

.PHONY: test-release
test-release: release $(IMAGETIER_TOOLS)/helm-$(HELM) ## install and start the packages of dist/ in a clean root, and check the chart
	cd deploy/packaging && HELM=$(IMAGETIER_TOOLS)/helm-$(HELM) DIST=$(CURDIR)/dist go test -count 1 ./...

$(IMAGETIER_TOOLS)/helm-$(HELM):
	mkdir -p $(@D)
	GOBIN=$(@D) go install helm.sh/helm/v3/cmd/helm@$(HELM)
	mv $(@D)/helm $@

.PHONY: run
run: build ## serve the sample photos on :8080 (PORT=) of this machine (ORIGIN= your directory, s3://… or https://…)
	@deploy/run

.PHONY: run-gateway
run-gateway: build ## run the gateway on :8070 (GATEWAY_PORT=) with fake services, the tier on :8090 (TIER_PORT=), and Redis if installed
	cd gateway && CGO_ENABLED=0 go build -trimpath -o ../bin/ ./cmd/fakebackends
	@deploy/run-gateway

.PHONY: tools
tools: $(IMAGETIER_TOOLS)/versitygw $(IMAGETIER_TOOLS)/axe.js ## get the S3 server and axe-core, which the tests use

$(IMAGETIER_TOOLS)/versitygw:
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

$(IMAGETIER_TOOLS)/axe.js:
	@mkdir -p $(@D)
	@command -v npm >/dev/null || { echo 'npm is not installed: the accessibility test of the console cannot run' >&2; exit 0; }; \
	cd $(@D) && npm pack --silent axe-core@$(AXE) && tar -xzOf axe-core-$(AXE).tgz package/axe.min.js >axe.js.part && \
	rm axe-core-$(AXE).tgz && mv axe.js.part axe.js

.PHONY: k6
k6: $(IMAGETIER_TOOLS)/k6 ## build the k6 load tester (takes minutes)

$(IMAGETIER_TOOLS)/k6:
	mkdir -p $(@D)
	GOBIN=$(@D) go install go.k6.io/k6@$(K6)

.PHONY: proto
proto: go ## regenerate the Go code of gateway/proto
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

# One more package at once than cores: some packages mostly wait.
AT_ONCE = -p $$(($$(getconf _NPROCESSORS_ONLN) + 1))

.PHONY: test
test: deps-test ## install test dependencies and run all tests
	go test $(AT_ONCE) -timeout 20m ./...
	cd cmd/tierbench && go test ./...
	cd gateway && go test ./...

# Go links a program for each package: more than half of the CPU time of make test-short. So packages whose tests all skip with -short are left out.
# Packages that link libvips are left out if it is not installed.
SHORT_PACKAGES = $$(go list ./... | grep -vE '/(e2e|cdn|s3server|s3store)$$' | { pkg-config --exists vips 2>/dev/null && cat || grep -v -e /resize/vips$$ -e /imagetier-resize$$; })

.PHONY: test-short
test-short: go ## run the fast tests: without root, network or installed packages
	go test -vet=off $(AT_ONCE) -short $(SHORT_PACKAGES)
	cd cmd/tierbench && go test -vet=off $(AT_ONCE) -short ./...
	cd gateway && go test -vet=off $(AT_ONCE) -short $$(go list ./... | grep -v /e2e$$)

.PHONY: test-one
test-one: go ## run the tests of PKG that match RUN: make test-one PKG=./gateway/feed RUN=Likes
	@test -n '$(PKG)' || { echo 'usage: make test-one PKG=./internal/durable [RUN=regexp]' >&2; exit 2; }
	cd $(PKG) && go test -count 1 -v -run '$(or $(RUN),.)' .

.PHONY: docs
docs: ## build the documentation as a site in bin/_site, and check its links
	@deploy/install-deps docs
	go test ./docs
	mkdocs build --quiet --strict --config-file docs/mkdocs.yml --site-dir ../bin/_site
	@echo 'the site is in bin/_site; to read it while you write: mkdocs serve --config-file docs/mkdocs.yml'

.PHONY: fleet
fleet: deps-test ## run three nodes, three NATS servers, an S3 server and nginx until Ctrl-C
	@deploy/run-fleet

.PHONY: test-fleet
test-fleet: deps-test ## test a fleet while its nodes and NATS servers are killed, replaced and disconnected
	TEST_FLEET=full go test -count 1 -v -run TestFleet ./cmd/imagetier/e2e

.PHONY: simulate
simulate: go ## run SEEDS seeds of the fleet simulation (1000000)
	SEEDS=$(or $(SEEDS),1000000) go test -count 1 -timeout 0 -v -run TestSimulation ./internal/fleet

# Tests of the whole tier with many concurrent requests.
RACED := TestTier_(Events_Published|Serve_Coalesces|Purge|Mezzanine_Later|FaultyOrigin|Disk_Stays)

.PHONY: race
race: deps-test ## run tests with the race detector, except long ones of single-threaded code and most end-to-end tests
	go test $(AT_ONCE) -race -short ./imagecache/disktier ./imagecache/memtier ./resize # the rest of these has one goroutine
	go test $(AT_ONCE) -race -timeout 20m -skip 'TestPool_Conformance$$|TestConsole_Browser' $$(go list ./... | grep -vE '/(e2e|vips|disktier|memtier|imagetier/resize)$$')
	go test -race -timeout 20m -run '$(RACED)' ./cmd/imagetier/e2e
	cd gateway && go test -race $$(go list ./... | grep -v /e2e$$)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (5s)
	@deploy/fuzz $(or $(FUZZTIME),5s)
	@cd gateway && ../deploy/fuzz $(or $(FUZZTIME),5s)

.PHONY: corpus
corpus: build ## compare the resize program with other decoders on FILES (2100) generated files of every kind
	@deploy/install-deps corpus
	cd cmd/tierbench && go run . corpus --files $(or $(FILES),2100)

# Our C is instrumented. Of the libraries the address sanitizer sees malloc, free, memcpy and the like.
SANITIZE := -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# Directories of real files.
SAMPLES = $(wildcard resize/testdata/header ../shared/photos ../shared/cases/in)

.PHONY: asan
asan: deps ## run FILES (300) files and 20,000 damaged ones (MUTATIONS=) through a resize program with sanitizers
	@deploy/install-deps corpus
	@mkdir -p bin/asan
	CGO_ENABLED=1 CGO_CFLAGS='-g -O1 $(SANITIZE)' CGO_LDFLAGS='$(SANITIZE)' \
		go build -asan -trimpath -o bin/asan/ ./cmd/imagetier-resize
	cd cmd/tierbench && go run . corpus --program ../../bin/asan/imagetier-resize --sanitized \
		--files $(or $(FILES),300) --mutations $(or $(MUTATIONS),20000) $(SAMPLES:%=--samples ../../%)

.PHONY: lint
lint: deps $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## run the linters of .golangci.yml, and go vet for macOS
	go run ./deploy/checkwords
	$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	cd cmd/tierbench && $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	cd gateway && $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	cd deploy/packaging && $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...
	GOOS=darwin CGO_ENABLED=0 go vet ./cmd/imagetier
	cd gateway && GOOS=darwin CGO_ENABLED=0 go vet ./cmd/imagetier-gateway

$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(@D)/golangci-lint $@

.PHONY: bench
bench: deps ## benchmark requests, tiers and resizing (BENCH=regexp, BENCHTIME=2s)
	go test -timeout 60m -run '^$$' -bench '$(or $(BENCH),.)' -benchtime $(or $(BENCHTIME),2s) ./cmd/imagetier/e2e ./imagecache/... ./resize/vips ./internal/httpapi/images
	cd gateway && GOEXPERIMENT=jsonv2 go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime $(or $(BENCHTIME),2s) ./imagelink ./proxy ./graph ./feed ./pagecache

.PHONY: bench-decode
bench-decode: deps ## compare cost and quality of resizing a phone photo with bimg and libvips, and draw the chart
	@deploy/install-deps quality
	go test -timeout 30m -run '^$$' -bench OneDecode -benchtime 1x ./resize/vips -chart $(CURDIR)/docs/benchmarks/resizing.svg

.PHONY: bench-load
bench-load: deps ## measure fills during expensive jobs, hits during fills, and four times the capacity (8 min on an idle machine)
	TEST_LOAD=full go test -count 1 -v -timeout 30m -run TestLoad_ ./cmd/imagetier/e2e

.PHONY: soak
soak: deps ## watch memory use for SOAK (3m) and at least 10,000 images
	TEST_SOAK=$(or $(SOAK),3m) go test -count 1 -v -timeout 0 -run 'TestSoak$$' ./cmd/imagetier/e2e

.PHONY: bench-allocators
bench-allocators: ## compare glibc, jemalloc, tcmalloc and mimalloc in the resize process
	@deploy/install-deps allocators
	go test -timeout 30m -run '^$$' -bench Allocators -benchtime $(or $(BENCHTIME),20s) ./resize/workers

.PHONY: bench-replay
bench-replay: deps ## compare hit ratios with other caches on the traces of ../shared/traces, and draw the chart
	cd cmd/tierbench && go run . replay --svg ../../docs/benchmarks/hit-ratio.svg

.PHONY: bench-page
bench-page: build ## measure the load time of a feed page on a simulated phone, and draw the chart
	@deploy/load page --svg docs/benchmarks/page.svg

.PHONY: load
load: build k6 ## run k6 scenarios and faults under load (MINUTES=1 each, LOAD=full for full length, ONLY=spike,redis)
	@deploy/load load

.PHONY: bench-feed
bench-feed: build ## simulate a day of a social feed with and without pre-warming, 12 min (FEED='--pairs 1': flags of tierbench feed)
	cd gateway && CGO_ENABLED=0 go build -trimpath -o ../bin/ ./cmd/fakebackends
	cd cmd/tierbench && go run . feed $(FEED)

.PHONY: bench-peers
bench-peers: ## compare the cost of a hit, and of a page through the proxy, with nginx and other servers
	@deploy/bench-peers

.PHONY: bench-fill
bench-fill: build ## compare first sizes of new originals with lean libvips, or with IMGPROXY=path/to/binary
	@deploy/sample-photos
	go build -tags leanvips -o bin/ ./deploy/peers/leanvips
	cd cmd/tierbench && go run . fill --imgproxy '$(abspath $(IMGPROXY))'
