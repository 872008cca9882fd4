# Python 3.11 to 3.13 with venv, make and a package registry are needed.
# Another python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
INSTALLED := $(VENV)/.installed

# albumentations asks the network for updates at import, and warns where it gets no answer.
export NO_ALBUMENTATIONS_UPDATE := 1
# OpenMP's threads spin while they wait, which on a busy machine costs several times the work.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test lint docs audit bench test-lowest release-check
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Install into .venv, draw a small atlas and do the whole job on it: a few minutes
	$(VENV)/bin/python scripts/demo.py

# The tests come last, so that the last line is pytest's own. They run in the order of tests/conftest.py.
test: lint docs audit ## Run lint, types, import rules, the site, the audit and all tests
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --maxfail 30

lint: $(INSTALLED) ## Run lint, types and import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(INSTALLED) ## Build the documentation site into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet

audit: $(INSTALLED) ## Look for known vulnerabilities of what is installed, where the service answers
	@$(VENV)/bin/python -m tests.packaging.vulnerabilities

release-check: $(INSTALLED) ## Build the source archive and the wheel into dist/ and check them for PyPI
	$(VENV)/bin/python -m pip install --quiet --editable '.[cpu,dev,release]'
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist .
	$(VENV)/bin/python -m twine check --strict dist/*

bench: $(INSTALLED) ## Measure speed beside rivals and limits: half an hour, while nothing else should run
	$(VENV)/bin/python -m pip install --quiet --editable '.[cpu,dev,bench]'
	$(VENV)/bin/python -m benchmarks.run_all --out benchmarks/results

# Old releases warn of what newer ones of their dependencies have deprecated, which is no error here.
test-lowest: $(LOWEST)/.installed ## Run all tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -W default

# The stamp is younger than pyproject.toml once everything is installed; half an install has none.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'python 3.11 or newer is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --upgrade pip
	$(VENV)/bin/python -m pip install --editable '.[cpu,dev,fast,onnx]'
	@touch $(INSTALLED)

$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) -m tests.packaging.lowest_versions > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --upgrade pip
	$(LOWEST)/bin/python -m pip install --constraint $(LOWEST)/constraints.txt \
		--editable '.[cpu,fast,onnx,test]'
	@touch $@
