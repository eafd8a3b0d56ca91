# make run, make test: the two commands of a newcomer. make help lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Tools that the tests start as real servers are built once and kept here.
export IMAGETIER_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imagetier-tools
VERSITYGW := v1.8.0
GOLANGCI_LINT := v2.15.0

.PHONY: help
help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.PHONY: deps
deps: ## install what is missing: libvips and its headers (Debian)
	@deploy/install-deps

.PHONY: tools
tools: $(IMAGETIER_TOOLS)/versitygw ## build the servers that tests start

$(IMAGETIER_TOOLS)/versitygw:
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

.PHONY: test
test: deps tools ## install what is missing and run every test
	go test ./...

.PHONY: race
race: deps tools ## every test under the race detector
	go test -race ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	@deploy/fuzz $(or $(FUZZTIME),5s)

.PHONY: lint
lint: deps $(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## format, vet, staticcheck and more (.golangci.yml)
	$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...

$(IMAGETIER_TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	mkdir -p $(@D)
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(@D)/golangci-lint $@
