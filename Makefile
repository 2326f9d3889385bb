# What a newcomer needs: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DATA ?= sample
LIMIT ?= 300
RUN ?= runs/quickstart
MARK ?= not slow and not kills
# Files stay with the process that began them; one that has nothing left takes over from the other.
PYTEST = $(BIN)/python -m pytest -n logical --dist worksteal

.PHONY: help quickstart test test-fast test-durations test-slow fuzz mutants check docs site install install-dev clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Galenic needs Python 3.11 or newer; PYTHON=... names one")'
	$(PYTHON) -m venv $(VENV)

# Without compiling all bytecode at once, the installation takes half as long; what is used is compiled at its first use.
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --no-compile -e .
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

test: install-dev  ## all tests but the kill loops, on real models and, where GALENIC_DATA or ../shared/data is there, real data
	$(BIN)/python -c 'from galenic.models.load import resolve_model; resolve_model("smollm2-135m")'
	$(PYTEST) -m 'not kills'

test-fast: install-dev  ## tests without the slow ones
	$(PYTEST) -m 'not slow and not kills'

test-durations: install-dev  ## the 30 slowest tests of test-fast (MARK='not kills': of all)
	$(PYTEST) -m "$(MARK)" --durations 30

test-slow: install-dev  ## commands that are killed again and again and must go on to the same result
	$(PYTEST) -m kills

fuzz: install-dev  ## inputs of strangers, 20,000 of each kind (tests/fuzz), and 2,000 damaged ones (benchmarks/attack.py)
	GALENIC_FUZZ=20000 $(PYTEST) tests/fuzz
	nice $(BIN)/python benchmarks/attack.py --inputs 2000 --seed 1

mutants: install-dev  ## plant 300 small bugs in the pure modules: at least 90 % must be noticed
	$(BIN)/python tools/mutants.py

check: install-dev  ## style, types, and who imports whom
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

docs: install-dev  ## write docs/cli.md from the commands' own help
	$(BIN)/python -m typer galenic.cli.main utils docs --name galenic --title Commands --output docs/cli.md
	$(BIN)/python tools/house.py

site: install-dev  ## the documentation as a site, in site/; broken links are errors
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove the environment and caches of tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
