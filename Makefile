# The two commands a newcomer needs: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DATA ?= sample
LIMIT ?= 300
RUN ?= runs/quickstart

.PHONY: help quickstart test test-fast check docs install install-dev clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Galenic needs Python 3.11 or newer; PYTHON=... names one")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt requirements-federated.txt | $(BIN)/python
	$(PIP) -e '.[train,bnb,auto-round,hub,dev]'
	$(PIP) --no-deps -r requirements-federated.txt
	@touch $@ $(VENV)/.base

install: $(VENV)/.base  ## environment and package, without PyTorch
install-dev: $(VENV)/.dev  ## the same with all that tests and training need

quickstart: install  ## install, evaluate the embedded model, write the report (DATA=DIR: the real sets)
	$(BIN)/galenic evaluate smollm2-135m --data $(DATA) $(if $(filter sample,$(DATA)),,--limit $(LIMIT)) --debias permutations -o $(RUN)-$(notdir $(DATA))
	$(BIN)/galenic report $(RUN)-$(notdir $(DATA))

test: install-dev  ## all tests, on real models and, where GALENIC_DATA or ../shared/data is there, real data
	$(BIN)/python -c 'from galenic.models.load import resolve_model; resolve_model("smollm2-135m")'
	$(BIN)/python -m pytest

test-fast: install-dev  ## tests without the slow ones
	$(BIN)/python -m pytest -m 'not slow'

check: install-dev  ## style and types
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install-dev  ## write docs/cli.md from the commands' own help
	$(BIN)/python -m typer galenic.cli.main utils docs --name galenic --title Commands --output docs/cli.md

clean:  ## remove the environment and caches of tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
