# Everything lives in .venv; a target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo run check format test soak clean
.DEFAULT_GOAL := help

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP)  ## Make .venv and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'cutover needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo 'Python has no venv module: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $(STAMP)

demo: setup  ## A whole cutover on this machine, in about a minute
	@$(BIN)/cutover demo

run: setup  ## The sidecar with config/cutover.yaml
	@$(BIN)/cutover run -c config/cutover.yaml

check: setup  ## Format, lint, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layering.py
	$(BIN)/cutover check config/cutover.yaml >/dev/null 2>&1
	$(BIN)/cutover check config/minimal.yaml >/dev/null

format: setup  ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup  ## All tests
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report --include='proxy/core/*' --fail-under=100

soak: setup  ## Five minutes at high load with random faults
	@$(BIN)/python bench/soak.py

clean:  ## Remove what was made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
