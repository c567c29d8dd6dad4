# One command each: see README.md. Everything that is needed beyond cargo and Python 3.11 is installed here.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN    := .venv/bin
STAMPS := .build
CORE   := python/evanesce/_core.abi3.so
SERVICE := python/evanesce/bin/evanesce-reconstructor
RUST   := $(shell find rust -name '*.rs' -o -name 'Cargo.toml' -o -name '*.cedarschema' 2>/dev/null | grep -v '^rust/target/') rust/Cargo.lock
CARGO  := cargo

# Third-party vectors (installed packages) and our own (vectors/ under this folder).
export EVANESCE_VECTORS = $(CURDIR)/.venv/lib/vectors
export EVANESCE_SHARED  = $(CURDIR)

.NOTPARALLEL:
.PHONY: help prerequisites build demo test test-rust test-python simulate attempts faults lint bench fuzz residue clean

help:
	@echo "make demo      build, then watch a quorum mint, sign, lose agents, refuse and recover"
	@echo "make build     leave a working .venv/bin/evanesce"
	@echo "make test      everything that must hold, system packages included"
	@echo "make lint      formats, lints, types, licences"
	@echo "make bench     the models side by side, beside OpenBao and clevis; results in bench/results/"
	@echo "make simulate  schedules of faults in virtual time (SCHEDULES=100000; SEED= shows one)"
	@echo "make attempts  replays, stale approvals, widened grants, altered payloads and logs (ATTEMPTS=1000000)"
	@echo "make faults    real agents, a fault every few seconds (MINUTES=10; SEED= draws the same ones again)"
	@echo "make fuzz      every decoder under libFuzzer (SECONDS=60 each)"
	@echo "make residue   the long search for secrets left in memory and files (RUNS=20)"

prerequisites:
	@scripts/prerequisites "$(PYTHON)"

$(STAMPS)/venv-build: requirements/run.txt requirements/build.txt | prerequisites
	@mkdir -p $(STAMPS)
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/build.txt
	@touch $@

$(STAMPS)/venv-test: requirements/test.txt $(STAMPS)/venv-build
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/test.txt
	@mkdir -p .venv/lib && ln -sfn "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" .venv/lib/vectors
	@touch $@

$(STAMPS)/venv-bench: requirements/bench.txt $(STAMPS)/venv-test
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/bench.txt
	@touch $@

$(STAMPS)/system-test: scripts/system-packages
	@mkdir -p $(STAMPS)
	scripts/system-packages softhsm2 libnss3 libnss3-tools openssl procps
	@touch $@

$(STAMPS)/system-bench: scripts/system-packages
	@mkdir -p $(STAMPS)
	scripts/system-packages wrk openssl clevis tang
	@touch $@

$(CORE): $(RUST) pyproject.toml $(STAMPS)/venv-build
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --profile product --skip-install --quiet
	@test -f $(CORE) && touch $(CORE)

# A program of its own, of the same crates in the same profile: what it adds is its own link.
$(SERVICE): $(RUST) $(CORE)
	cd rust && $(CARGO) build --locked --quiet --profile product -p evanesce-service
	@mkdir -p $(@D) && cp rust/target/product/evanesce-reconstructor $@.new && mv $@.new $@

$(STAMPS)/installed: pyproject.toml $(CORE)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --profile product --quiet
	@touch $@

build: $(CORE) $(SERVICE) $(STAMPS)/installed
	@echo "built: .venv/bin/evanesce"

demo: build
	$(BIN)/evanesce quickstart

test: build $(STAMPS)/venv-test $(STAMPS)/system-test lint test-rust test-simulator test-python

test-rust: $(STAMPS)/venv-test $(STAMPS)/system-test
	cd rust && $(CARGO) test --locked --release --workspace --exclude evanesce-py --exclude evanesce-sim

# Apart from the rest: its time is tokio's test time, and its own test has faults built in for it to find.
.PHONY: test-simulator
test-simulator: | prerequisites
	cd rust && timeout 1200 $(CARGO) test --locked --release -p evanesce-sim --features planted
	$(MAKE) simulate SCHEDULES=10000

SCHEDULES ?= 100000
SEED ?=
simulate: | prerequisites
	@cd rust && $(CARGO) run --locked --quiet --release -p evanesce-sim --bin simulate -- $(if $(SEED),1 $(SEED),$(SCHEDULES))

test-python: build $(STAMPS)/venv-test $(STAMPS)/system-test audit
	$(BIN)/python -m mypy.stubtest evanesce._core
	# A process that has imported the package cannot raise its core limit again, which the residue tests need.
	$(BIN)/python -m pytest tests/residue
	$(BIN)/python -m pytest --ignore=tests/residue

lint: build $(STAMPS)/venv-test
	cd rust && $(CARGO) fmt --all --check
	cd rust && $(CARGO) clippy --locked --release --workspace --all-targets -- -D warnings
	# A workspace of its own, which nothing else here compiles.
	$(CARGO) check --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir rust/target/fuzz
	@# What is shipped has no planted faults, and verifies what it is shown.
	@cd rust && tree="$$($(CARGO) tree --locked -p evanesce-py -p evanesce-service -e features,normal)" \
	  && ! grep -E 'feature "(planted|memo)"' <<<"$$tree"
	$(BIN)/ruff check python tests bench examples
	$(BIN)/ruff format --check python tests bench examples
	$(BIN)/mypy
	scripts/licences $(BIN)

.PHONY: audit
audit: $(STAMPS)/audit/evanesce/_core.abi3.so

# The audit build: secrets on ordinary locked memory in a dumpable process, so that a scanner can see all of it.
$(STAMPS)/audit/evanesce/_core.abi3.so: $(CORE) $(SERVICE) $(shell find python -name '*.py')
	cd rust && $(CARGO) build --locked --release -p evanesce-py -p evanesce-service \
	  --features evanesce-py/audit,evanesce-service/audit
	rm -rf $(@D) && mkdir -p $(dir $(@D)) && cp -r python/evanesce $(@D)
	cp rust/target/release/evanesce-reconstructor $(@D)/bin/
	cp rust/target/release/lib_core.so $@

# What a module does by itself: see bench/side_by_side.py.
$(STAMPS)/raw_macs: rust/element/examples/raw_macs.rs $(CORE)
	cd rust && $(CARGO) build --locked --quiet --profile product -p evanesce-element --example raw_macs
	cp rust/target/product/examples/raw_macs $@

bench: build $(STAMPS)/venv-bench $(STAMPS)/system-bench $(STAMPS)/system-test $(STAMPS)/raw_macs
	$(BIN)/python -m bench

ATTEMPTS ?= 1000000
attempts: $(STAMPS)/venv-test
	cd rust && EVANESCE_ATTEMPTS=$(ATTEMPTS) EVANESCE_GRANTS=$(ATTEMPTS) EVANESCE_MUTATIONS=$$(($(ATTEMPTS) / 10)) \
	  $(CARGO) test --locked --release -p evanesce-agent -p evanesce-wire --lib -- --nocapture attempts grants grant:: mutations

MINUTES ?= 10
faults: build $(STAMPS)/venv-test
	MINUTES=$(MINUTES) SEED=$(SEED) $(BIN)/python -m pytest tests/faults

SECONDS ?= 60
fuzz: | prerequisites
	scripts/fuzz $(SECONDS)

RUNS ?= 20
residue: build $(STAMPS)/venv-test $(STAMPS)/system-test audit
	$(BIN)/python -m tests.residue --runs $(RUNS)

clean:
	rm -rf .venv .build $(CORE) $(dir $(SERVICE)) rust/target fuzz/target
