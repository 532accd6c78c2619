# `make help` lists what there is. Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo demo-check test check bench format translations constraints clean

help: ## this list
	@grep -hE '^[a-z-]+%?:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## a whole installation on this machine, with a master and five mirrors; Ctrl-C ends it
	@$(BIN)/python -m utils.demo.run

demo-check: $(VENV)/.demo ## the same, asks the questions itself, and ends with 0 or 1
	@$(BIN)/python -m utils.demo.run --check

test: system-packages $(VENV)/.test $(VENV)/.wheels $(VENV)/.compiled check ## everything: style, types, imports, and the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
	@echo "Once more what the redirector's tests say, of the compiled one"
	PYTHONPATH=$(CURDIR)/$(VENV)/compiled $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup \
	    -o pythonpath="$(CURDIR)/$(VENV)/compiled ." tests/redirector

check: $(VENV)/.test ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: system-packages bench-packages $(VENV)/.compiled ## every benchmark in tests/bench
	@for file in tests/bench/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

bench-%: system-packages bench-packages $(VENV)/.compiled ## one benchmark, e.g. make bench-redirector
	@$(BIN)/python tests/bench/bench_$*.py

format: $(VENV)/.test ## write the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

translations: $(VENV)/.test ## bring the catalogues of the pages up to date with their texts
	$(BIN)/python -m utils.translations

constraints: ## lock the newest versions that setup.py allows into constraints.txt
	utils/setup/lock "$(PYTHON)"

clean: ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist demo-data artefacts *.egg-info

.PHONY: system-packages bench-packages
system-packages:
	@utils/setup/system-packages test

bench-packages:
	@utils/setup/system-packages bench

# The redirector as machine code, beside the source that runs everywhere else: for its benchmarks, and to be tested.
# All that it imports lies there as well, so all of it is looked at; what changes meanwhile is newer than the result.
COMPILED_FROM := $(shell find mm_redirector mm_lib alembic -name __pycache__ -prune -o -type f -print)
$(VENV)/.compiled: setup.py pyproject.toml utils/setup/compile $(COMPILED_FROM) $(VENV)/.test
	@touch $@.begun
	utils/setup/compile $(BIN)/python $(VENV)/compiled
	@mv $@.begun $@

$(VENV)/bin/python:
	@utils/setup/system-packages venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.test: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	@touch $@

# What the packaging test installs from, so that the test itself needs no network.
$(VENV)/.wheels: setup.py constraints.txt $(VENV)/.test
	rm -rf $(VENV)/wheels
	$(BIN)/pip download -q -d $(VENV)/wheels -c constraints.txt '.[redirector,admin]'
	rm -f $(VENV)/wheels/mirrormanager-*
	@touch $@
