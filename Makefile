# Everything a developer types. `make` alone prints this list.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := build/lowest

# One thread a process: the tests run $(JOBS) processes side by side, and one that is idle takes over from the other.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
SPREAD := --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow lowest browser lint type format docs site sdist bench clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install dynaflex with the versions of constraints.txt

# torch first, at its exact version, so that no later step can replace it with another build.
$(READY): pyproject.toml setup.py constraints.txt $(wildcard src/dynaflex/kernels/*.c src/dynaflex/kernels/*.h)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	@touch $@

demo: setup ## simulate particles, run the method on them, print before and after
	$(BIN)/python examples/demo.py

test: setup ## run the default test suite
	$(TEST_ENV) $(BIN)/python -m pytest -n $(JOBS) $(SPREAD)

slow: setup ## run the tests that take minutes: 200 kills, 1000 flipped bytes, races, a full disk
	$(TEST_ENV) $(BIN)/python -m pytest -n $(JOBS) $(SPREAD) -m slow

# torch stays as it is: docs/releasing.md says why.
lowest: ## run the tests with the lowest versions that pyproject.toml allows, torch apart
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable ".[dev]"
	$(TEST_ENV) $(LOWEST)/bin/python -m pytest -n $(JOBS) $(SPREAD)

browser: ## install Chromium, with which the tests of the explorer look at its page (Debian, Ubuntu)
	apt-get install --yes chromium || sudo apt-get install --yes chromium

lint: type ## check types, style, format, layers, spelling, and what a release would hold
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell .
	$(BIN)/check-manifest --quiet --no-build-isolation

type: setup ## check types (mypy --strict)
	$(BIN)/mypy

format: setup ## let ruff repair style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## write the pages that are made from the code
	$(BIN)/python docs/make_equations.py
	$(BIN)/python docs/make_errors.py
	$(BIN)/python docs/make_api.py

site: setup ## make a site of the pages, in site/; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

sdist: setup ## what a release is made from, in dist/
	$(BIN)/python -m build --sdist --no-isolation

# Those that time something and end within minutes. The others ask what is found: they train for an hour, or want runs.
BENCHMARKS := startup kernels epoch_cost solvers inference gpu

bench: setup ## run the benchmarks that fit a laptop, one JSON line each
	@set -e; for name in $(BENCHMARKS); do echo "# $$name" >&2; $(BIN)/python benchmarks/$$name.py; done

clean: ## remove what was built, the environment included
	rm -rf $(VENV) build dist site demo src/*.egg-info src/dynaflex/kernels/_native.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
