# `make demo` and `make test` need python 3.11 or newer with venv, make and a package registry.
# Another python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
INSTALLED := $(VENV)/.installed

# albumentations asks the network for updates at import, and warns where it gets no answer.
export NO_ALBUMENTATIONS_UPDATE := 1
# OpenMP's threads spin while they wait, which on a busy machine costs several times the work.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint bench
.DEFAULT_GOAL := demo

demo: $(INSTALLED)
	$(VENV)/bin/python scripts/demo.py

# The tests come last, so that the last line is pytest's own.
test: lint
	$(VENV)/bin/python -m pytest

# Speed, beside rivals and limits: about an hour, while nothing else should run.
bench: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --editable '.[cpu,dev,bench]'
	$(VENV)/bin/python -m benchmarks.run_all --out benchmarks/results

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# The stamp is younger than pyproject.toml once everything is installed; half an install has none.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'python 3.11 or newer is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --upgrade pip
	$(VENV)/bin/python -m pip install --editable '.[cpu,dev,fast,onnx]'
	@touch $(INSTALLED)
