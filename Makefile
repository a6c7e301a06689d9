# Everything here needs Python 3.11 or later, make, and a package registry; the tests curl, too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What running needs is there before what development needs: a newcomer waits a third of the time.
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
# Modules are compiled when they are first imported: most never are, and a newcomer waits 12 s less.
# What is compiled is kept, or each process would compile it anew, which takes it 5 s.
unexport PYTHONDONTWRITEBYTECODE
# A pip of Python's own that can install elsewhere does: it takes 9 s to put another one into .venv.
HAS_PIP = $(shell $(PYTHON) -m pip --python "$$(command -v $(PYTHON))" --version 2> /dev/null)
PIP = $(if $(HAS_PIP),$(PYTHON) -m pip --python $(BIN)/python,$(BIN)/python -m pip)
PIP_INSTALL = $(PIP) install -q --no-compile --no-deps --disable-pip-version-check

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.PHONY: install
install: $(READY) ## Make .venv with everything that development needs.

$(RUNS): requirements/run.txt
	$(PYTHON) -m venv $(if $(HAS_PIP),--without-pip) $(VENV)
	$(PIP_INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(READY): $(RUNS) requirements/dev.txt pyproject.toml client/pyproject.toml
	$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	$(PIP_INSTALL) --no-build-isolation -e . -e client
	-@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib  # tests start hundreds of processes
	@touch $@

.PHONY: run
run: $(RUNS) ## Show orders flowing, failing and recovering, in under a minute.
	@$(BIN)/python -m ordermill demo

# SQLite, a real Postgres and Valkey: tests start them for themselves.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: test
test: $(READY) ## Prove every rule once, where it lives; what is SQL, a lock or a race, on both databases.
	@$(PYTEST) $(ARGS)

.PHONY: test-rest
test-rest: $(READY) ## What `make test` leaves out: the other database, long machines, schemathesis.
	@$(PYTEST) -m 'second and not long and not promtool' $(ARGS)

.PHONY: test-all
test-all: $(READY) ## Both in one.
	@$(PYTEST) -m 'not long and not promtool' $(ARGS)

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
soak: $(READY) ## Break everything for half an hour, under load; then prove the books. ARGS="--seconds 300 --embedded".
	@$(BIN)/python -m tests.chaos.soak $(ARGS)

.PHONY: requirements
requirements: $(READY) ## Pin all dependencies anew, with hashes.
	@mkdir -p requirements
	@for extra in "" dev; do \
	    $(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	        --no-emit-find-links --no-header --allow-unsafe --upgrade $${extra:+--extra $$extra} \
	        -o requirements/$${extra:-run}.txt pyproject.toml; done
