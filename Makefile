# Everything here needs Python 3.11 or later, make, and a package registry; the tests curl, too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What running needs is there before what development needs: a newcomer waits a third of the time.
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
# Modules are compiled when they are first imported: most never are, and a newcomer waits 12 s less.
PIP_INSTALL := $(BIN)/pip install -q --no-compile --disable-pip-version-check

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.PHONY: install
install: $(READY) ## Make .venv with everything that development needs.

$(RUNS): requirements/run.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(READY): $(RUNS) requirements/dev.txt pyproject.toml
	$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: run
run: $(RUNS) ## Show orders flowing, failing and recovering, in under a minute.
	@$(BIN)/python -m ordermill demo

.PHONY: test
test: $(READY) ## Run all tests, against SQLite and a real Postgres and Valkey that it starts itself.
	@$(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: promtool
promtool: $(READY) ## Let Prometheus' own tool check metrics, alerts and dashboard; it has to be installed.
	@$(BIN)/python -m pytest -m promtool tests/web/test_alerts.py

.PHONY: check
check: $(READY) ## Lint, format and types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: bench
bench: $(READY) ## Measure ours beside its peers and the floors, on a real Postgres and Valkey; then pricing alone.
	@$(BIN)/python -m benchmarks

.PHONY: soak
soak: $(READY) ## Kill, wipe and restart everything under 5,000 orders; then prove the books.
	@$(BIN)/python -m tests.chaos.soak

.PHONY: requirements
requirements: $(READY) ## Pin all dependencies anew, with hashes.
	@mkdir -p requirements
	@for extra in "" dev; do \
	    $(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	        --no-emit-find-links --no-header --allow-unsafe --upgrade $${extra:+--extra $$extra} \
	        -o requirements/$${extra:-run}.txt pyproject.toml; done
