# Everything from a fresh clone, with Python >= 3.11, git and make:
#
#   make mine     set up, then mine the shipped zoo; ARGS="k=3 num_images=400" passes options on
#   make test     set up, then run the tests; ARGS="-m slow" passes options on
#   make docs     set up, then build the documentation: site/index.html
#   make newcomer set up, then what somebody does who has just found this, in a fresh environment
#   make check    lint, types and tests: what CI runs, beside docs and newcomer
#   make setup    the development environment alone, in .venv
#
# Another interpreter: make mine PYTHON=python3.12
# PyTorch's small CPU build instead of the CUDA one (when .venv is first made):
#   make mine PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install $(PIP_ARGS)

.PHONY: mine test docs newcomer check setup lint types system-packages

mine: $(VENV)/.run
	$(BIN)/python -m rosetta_lab.mine $(ARGS)

test: system-packages $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Material's note on the next MkDocs is not about this site.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

newcomer: $(VENV)/.test
	$(BIN)/python tools/newcomer.py

check: lint types test

setup: system-packages $(VENV)/.dev

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

system-packages:
	@sh .ci/system-packages

# The stamps make later calls instant and independent of the network; a larger set of packages
# stands for the smaller ones too.
$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	@touch $(VENV)/.run $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[test]'
	@touch $(VENV)/.run $(VENV)/.docs $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.run $(VENV)/.docs $(VENV)/.test $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "rosetta_lab needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }
