# Every target makes its own virtual environment from what pyproject.toml names.
# It needs Python 3.11 or newer with pip on PATH; another one is chosen with make PYTHON=python3.13.

PYTHON ?= python3
PYTEST_ARGS ?=
# How many processes share the tests: a number, or auto for one a core, four at most.
PYTEST_WORKERS ?= auto
NOX_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin

.PHONY: help test demo lint format matrix browser clean

help:
	@echo "make test    run the tests on a real PostgreSQL (PYTEST_ARGS='-k name')"
	@echo "make demo    a live database, three dangerous changes, ours next to plain Django's"
	@echo "make lint    ruff and mypy"
	@echo "make format  let ruff rewrite the sources"
	@echo "make matrix  the tests over every Python, Django and PostgreSQL (NOX_ARGS=-l lists them)"
	@echo "make browser the report of a rehearsal in headless Chromium, which has to be installed"
	@echo "make clean   remove what these targets made"

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 4 $(PYTEST_ARGS)

demo: $(VENV)/.test
	$(BIN)/python -m testproject.demo

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

matrix: $(VENV)/.matrix
	$(BIN)/nox $(NOX_ARGS)

browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

clean:
	rm -rf .venv .nox .postgres .demo .mypy_cache .ruff_cache .pytest_cache

# Some systems ship Python without ensurepip: then the pip beside that Python fills the environment.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e . --group test
	@touch $@

$(VENV)/.browser: pyproject.toml | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group browser
	@touch $@

$(VENV)/.lint: pyproject.toml | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

$(VENV)/.matrix: pyproject.toml | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group matrix
	@touch $@
