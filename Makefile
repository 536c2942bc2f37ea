# "make" alone tells what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# What DEMO="..." gives is passed on to the demo; see "bin/demo --help".
DEMO ?=
FUZZTIME ?= 30s
# The PostgreSQLs of "test-postgres".
VERSIONS ?= 14 18
# How often "bench-schema" measures, and what else to tell it:
# SCHEMA="-schema-long", SCHEMA="-schema-only trigger,latency".
ROUNDS ?= 3
SCHEMA ?=
# How many rollouts each row of "bench-judge" plays, and what else to tell it:
# JUDGE="-picture $(CURDIR)/docs/judge.svg", JUDGE="-rows canary".
ROLLOUTS ?= 10000
JUDGE ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)

# "testdata" is never part of a "..." before it.
PACKAGES := ./... ./testdata/apps/...

# What starts no goroutine gains nothing by the race detector and takes ten
# times as long under it.
PURE := ./internal/rollout ./internal/document ./internal/config ./internal/grammar ./internal/lint \
	./internal/change ./internal/verdict ./internal/plan ./internal/report ./internal/scaffold
# These run both ways: whole without it, and thinner (-short) with it.
BOTH := ./internal/phase ./internal/store/artifact

# Every operation on a real server, through processes of its own: what it drives
# has tests under the race detector.
LIVES := ./internal/lifecycletest

# What is tested on a real Kubernetes.
ON_KUBERNETES := ./internal/kubetest ./internal/meter/kubernetes ./internal/meter/prometheus ./internal/platform/kubernetes

# A new version of the linter: change this number, run "make lint".
GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

ACTIONLINT_VERSION := v1.7.12
ACTIONLINT := bin/actionlint-$(ACTIONLINT_VERSION)
ACT_VERSION := v0.2.89
ACT := bin/act-$(ACT_VERSION)

# The image that the action runs in. GO_IMAGE is what it is built with: without
# one, an image made of Debian's packages and this machine's Go.
IMAGE ?= gapless:$(VERSION)
GO_IMAGE ?=

.PHONY: help
help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-all
# The flags of "build", so that what both need is compiled once.
demo demo-all: export CGO_ENABLED := 0
demo demo-all: export GOFLAGS := -trimpath -buildvcs=false
demo: build ## release the example on this machine, under load; DEMO="--fault bad-errors" and the like
	@go build -o bin/demo ./cmd/demo
	@bin/demo --gapless bin/gapless $(DEMO)

demo-all: build ## run the demo by every strategy with every fault, one line each; takes about half an hour
	@go build -o bin/demo ./cmd/demo
	@bin/demo --gapless bin/gapless --rows 20000 --all $(DEMO)

.PHONY: test
test: ## vet, then run all tests, with the race detector where it tells something and there is a C compiler
	go vet $(PACKAGES)
	go run ./scripts/downloads
	@scripts/need systemd-analyze=systemd || echo "test: the systemd units and a real activated socket are not tried" >&2
	@scripts/need pgbouncer=pgbouncer || echo "test: a real pooler is not tried" >&2
	@scripts/need prometheus=prometheus || echo "test: a real Prometheus is not tried" >&2
	go test -timeout 8m $(PURE) $(BOTH)
	go test -short -timeout 8m $(LIVES)
	race=$$(scripts/race) && rest=$$(go list $(PACKAGES) | grep -vxF "$$(go list $(PURE) $(LIVES))") && \
		go test $$race -short -timeout 8m $$rest

.PHONY: test-postgres test-postgres-all
test-postgres: ## every operation on every kind of table, on PostgreSQL VERSIONS="14 18"
	FLAGS='$(FLAGS)' scripts/test-postgres $(VERSIONS)

test-postgres-all: VERSIONS := 14 15 16 17 18
test-postgres-all: test-postgres ## the same on PostgreSQL 14 to 18

.PHONY: test-kubernetes
test-kubernetes: ## on a real one-node Kubernetes, as root; builds it at the first time (minutes)
	@go build -o bin/cluster ./scripts/cluster
	@scripts/need prometheus=prometheus || echo "test: a real Prometheus is not tried" >&2
	FLAGS='$(FLAGS)' scripts/test-kubernetes bin/cluster $(ON_KUBERNETES)

.PHONY: lint
lint: $(GOLANGCI) $(ACTIONLINT) ## run golangci-lint and actionlint (downloaded and built at the first time)
	$(GOLANGCI) config verify
	$(GOLANGCI) run $(PACKAGES)
	$(ACTIONLINT) .github/workflows/*.yml workflows-examples/*.yml

.PHONY: build
build: ## build the static binary bin/gapless
	CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false' go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/gapless ./cmd/gapless

.PHONY: image
image: ## build the action's image; GO_IMAGE=golang:1.26-bookworm takes a registry's Go
	VERSION=$(VERSION) GO_IMAGE=$(GO_IMAGE) scripts/docker scripts/image $(IMAGE)

.PHONY: test-act
test-act: $(ACT) ## run the example workflows by act, the action as a container, against a fake GitHub
	GAPLESS_TEST_ACT=$(CURDIR)/$(ACT) scripts/docker --or-skip go test -count 1 -v -timeout 20m ./internal/acttest

.PHONY: generate
generate: ## write the JSON Schemas, action.yml with its tables, and the example workflows
	go run ./scripts/generate .

.PHONY: bench
bench: ## run the benchmarks, beside nginx
	scripts/need nginx=nginx-light
	go test -run '^$$' -bench . -benchmem -timeout 30m $(PACKAGES)

.PHONY: bench-judge
bench-judge: ## play 10,000 rollouts a row against the judge, Kayenta's rule and plain thresholds (up to an hour)
	@go -C internal/verdict test -run '^TestComparison$$' -timeout 0 -rollouts $(ROLLOUTS) $(JUDGE)

.PHONY: bench-schema
bench-schema: ## measure backfill, sync trigger and latency into docs/benchmarks.md, beside pgroll where there is one (half an hour)
	@go -C internal/database test -v -count 1 -run '^TestSchemaBenchmarks$$' -timeout 0 -schema-rounds $(ROUNDS) -schema-write $(CURDIR)/docs/benchmarks.md $(SCHEMA)

.PHONY: bench-image
bench-image: image ## measure "docker run" of the image beside one that does nothing
	scripts/docker go run ./scripts/benchimage $(IMAGE)

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME (30s)
	scripts/fuzz $(FUZZTIME) $(PACKAGES)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

# Tools are built apart from the module, so that its dependencies are not the
# product's. Each is there under its version.
$(GOLANGCI): MODULE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
$(ACTIONLINT): MODULE := github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
$(ACT): MODULE := github.com/nektos/act@$(ACT_VERSION)

$(GOLANGCI) $(ACTIONLINT) $(ACT):
	mkdir -p bin/tool
	GOBIN=$(CURDIR)/bin/tool GOFLAGS= go install $(MODULE)
	mv bin/tool/$(notdir $(firstword $(subst @, ,$(MODULE)))) $@
