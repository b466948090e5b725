BIN := $(CURDIR)/_build/otelcol-logcapture
# The tools have a go.mod of their own: what they depend on is no dependency of the receivers.
TOOL := go tool -modfile=internal/tools/go.mod
PACKAGES = $(shell go list ./... | grep -v /internal/e2e)
# Not from Go's cache of test results: that does not know the binary, nor the engine.
# Tests that run at the same time wait for containers most of the time.
TEST := go test -count=1 -parallel 4 -timeout 40m
SOAK ?= 20m
E2E := LOGCAPTURE_BIN="$(BIN)" $(TEST) ./internal/e2e/...
# A checkout that belongs to another user builds too: git would refuse to tell Go the revision.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

# OTEL_EXPORTER_OTLP_PROTOCOL decides; without it 4317, the port registered for OTLP over gRPC, does.
ifneq ($(OTEL_EXPORTER_OTLP_ENDPOINT),)
GRPC := $(or $(OTEL_EXPORTER_OTLP_PROTOCOL),$(if $(filter %:4317 %:4317/,$(OTEL_EXPORTER_OTLP_ENDPOINT)),grpc))
OTLP := --config testdata/config/run-otlp$(if $(filter grpc,$(GRPC)),-grpc).yaml
endif

.DEFAULT_GOAL := help
.PHONY: help build run test e2e race soak lint fmt generate check embed bench profile benchdocs benchtool stages clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-10s%s\n", $$1, $$2}' Makefile

build: ## compile the distribution: _build/otelcol-logcapture
	@test -x "$(BIN)" || echo "The first build compiles a whole collector: that takes some minutes."
	@$(TOOL) builder --config builder-config.yaml

run: build ## capture all containers and /var/log/**/*.log to the console and ./data (and OTEL_EXPORTER_OTLP_ENDPOINT)
	@mkdir -p data
	@exec "$(BIN)" --config testdata/config/run.yaml $(OTLP)

test: build ## all tests, the end-to-end ones on the built distribution included
	@go run .ci/engine.go || test "$$CI" != true
	$(TEST) $(PACKAGES)
	cd internal/bench && $(TEST) ./...
	$(E2E)

e2e: build ## the end-to-end tests only (they want a container engine)
	$(E2E)

race: ## the tests of the packages under the race detector (wants a C compiler)
	CGO_ENABLED=1 $(TEST) -race $(PACKAGES)

soak: build ## all that happens to sources, engine and endpoint for SOAK=20m: table and plot into docs/
	@mkdir -p docs
	LOGCAPTURE_BIN="$(BIN)" LOGCAPTURE_SOAK="$(SOAK)" LOGCAPTURE_SOAK_OUT="$(CURDIR)/docs" $(TEST) -timeout 0 -v -run '^TestSoak$$' ./internal/e2e

lint: ## golangci-lint, with the rules and reasons of .golangci.yml
	$(TOOL) golangci-lint run

fmt: ## format the code
	$(TOOL) golangci-lint fmt

# Through a link of the package's name: mdatagen names the root package like the folder, and a checkout may have any name.
generate: ## write what mdatagen makes of the metadata.yaml files
	@mkdir -p .build && ln -sfn "$(CURDIR)" .build/logcapture
	cd .build/logcapture && go generate ./...

check: ## is the generated code up to date, the code formatted, go.mod tidy?
	@.ci/unchanged $(MAKE) --no-print-directory generate
	$(TOOL) golangci-lint fmt --diff
	go mod tidy -diff
	go -C internal/tools mod tidy -diff
	go -C internal/bench mod tidy -diff
	go -C internal/e2e/kafka mod tidy -diff

embed: ## compile the example of a user's own distribution, with contrib's file_log beside our receivers
	@mkdir -p .build
	@$(TOOL) builder --config testdata/embed/builder-config.yaml
	.build/embed/otelcol-custom validate --config testdata/embed/config.yaml

# The collector with contrib's file_log and our receivers in it, and what runs and measures it.
benchtool:
	@mkdir -p .build/bench
	@$(TOOL) builder --config internal/bench/builder-config.yaml
	@go -C internal/bench build -o "$(CURDIR)/.build/bench/bench" .

bench: benchtool ## compare with contrib's file_log and with the floor (an hour; internal/bench/README.md has shorter forms)
	@.build/bench/bench run
	@cat .build/bench/out/bench.md

profile: benchtool ## leave CPU and heap profiles of a run in .build/bench/out (BENCH_SHAPES=cri, BENCH_PEER=file_log)
	@.build/bench/bench profile

stages: ## Go benchmarks of each stage, with allocations
	go test -run '^$$' -bench . -benchmem $(PACKAGES)

benchdocs: ## copy the table and the plot of the last `make bench` to docs/, for the README
	@mkdir -p docs && cp .build/bench/out/bench.md .build/bench/out/bench.svg docs/

clean: ## remove what was built (./data, with captured logs and positions, stays)
	rm -rf _build .build
