# Short verbs; each makes the environment it needs. PYTHON picks the interpreter, VENV where the environment goes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo install check test mutants lint types format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## meta-train Meta-SGD on 2D navigation and show what it learned
	rm -rf runs/demo
	$(BIN)/metarl train navigation-demo --run-dir runs/demo

install: $(VENV)/.installed  ## install into .venv

check: lint types  ## pass what is quick: style, types and the fast tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test: $(VENV)/.installed  ## pass all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

mutants: $(VENV)/.installed  ## see whether the tests notice deliberate faults
	$(BIN)/python -m tests.mutants.run

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

lint: $(VENV)/.dev  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## check types
	$(BIN)/mypy
	$(BIN)/mypy examples/*.py

format: $(VENV)/.dev  ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
