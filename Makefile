# Everything lives in .venv; a target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := .venv-compiled
# What the compiled package is installed for. An interpreter built without profile-guided optimisation, as pyenv's are,
# costs a request a fifth more than a distribution's or the image's: make COMPILED_PYTHON=/usr/bin/python3 bench
COMPILED_PYTHON ?= $(PYTHON)

.PHONY: help setup demo run docs check format test compiled test-compiled image image-test sbom soak bench loadtest clean
.DEFAULT_GOAL := help

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP)  ## Make .venv and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'cutover needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo 'Python has no venv module: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev,docs,report]'
	@touch $(STAMP)

demo: setup  ## A whole cutover on this machine, in about a minute
	@$(BIN)/cutover demo --report build/demo-report

run: setup  ## The sidecar with config/cutover.yaml
	@$(BIN)/cutover run -c config/cutover.yaml

docs: setup  ## The documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'build/site/index.html (its search needs a web server: $(BIN)/mkdocs serve)'

check: setup  ## Format, lint, types, layering, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m pytest tests/test_layering.py
	$(BIN)/cutover check config/cutover.yaml >/dev/null 2>&1
	$(BIN)/cutover check config/minimal.yaml >/dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: setup  ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Those of pure decisions come first, under coverage, which slows a test and is asked of these parts only; last, alone,
# what measures. JOBS=2 runs the others two at a time: quicker, but some still miss a deadline on a busy machine.
JOBS ?= 0
PURE := tests/core tests/net tests/fuzz $(addprefix tests/rollout/test_,decision.py journal.py controller.py checks.py rehearsal.py)
test: setup  ## All tests
	$(BIN)/python -m coverage run -m pytest $(PURE)
	$(BIN)/python -m coverage report --include='proxy/core/*,proxy/rollout/decision.py,proxy/rollout/orders.py' --fail-under=100
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not serial' $(PURE:%=--ignore=%)
	$(BIN)/python -m pytest -m serial $(PURE:%=--ignore=%)

compiled: $(COMPILED)/.installed  ## The package as it is shipped, its hot modules compiled, in .venv-compiled

$(COMPILED)/.installed: setup.py pyproject.toml constraints.txt $(shell find proxy -name '*.py')
	test -d $(COMPILED) || $(COMPILED_PYTHON) -m venv $(COMPILED)
	PIP_CONSTRAINT=constraints.txt $(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	@touch $@

# In a directory without `proxy`, so that the installed one is tested; not what needs a checkout around it.
test-compiled: compiled  ## The tests of the data plane, with the compiled package
	rm -rf build/as-installed && mkdir -p build/as-installed && cp -r tests config pyproject.toml build/as-installed
	cd build/as-installed && ../../$(COMPILED)/bin/python -m pytest tests/core tests/net tests/conformance tests/telemetry tests/fuzz

image:  ## The container image, by docker, podman or buildah: cutover:VERSION (IMAGE, TAG, EXTRAS, BASE, SOURCE)
	@deploy/image/build.sh

image-test: setup  ## Build the image and run it as an orchestrator would; what is measured: build/image/measured.json
	CUTOVER_IMAGE_TEST=1 $(BIN)/python -m pytest -rs tests/deploy/test_image.py $(ARGS)

sbom: build/sbom.json  ## What `cutover run` consists of, in CycloneDX: build/sbom.json

build/sbom.json: pyproject.toml constraints.txt $(VENV)/.sbom
	rm -rf build/sbom-env && $(PYTHON) -m venv build/sbom-env
	CUTOVER_PURE=1 PIP_CONSTRAINT=constraints.txt build/sbom-env/bin/python -m pip install --quiet --disable-pip-version-check .
	build/sbom-env/bin/python -m pip uninstall --quiet --yes setuptools pip
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file $@ build/sbom-env/bin/python
	@rm -rf build/sbom-env
	@$(BIN)/python -c 'import json, pathlib as p, proxy; f = p.Path("$@"); b = json.loads(f.read_text()); b["metadata"]["component"]["version"] = proxy.__version__; f.write_text(json.dumps(b, indent=2) + "\n")'
	@echo $@

soak: setup  ## Five minutes at high load with random faults
	@$(BIN)/python bench/soak.py

$(VENV)/.bench $(VENV)/.loadtest $(VENV)/.sbom: $(VENV)/.%: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	@touch $@

bench: $(VENV)/.bench compiled  ## Beside nginx, HAProxy, Envoy and a plain aiohttp proxy (ARGS=--quick for a first look)
	@$(BIN)/python -m bench.compare $(ARGS)

loadtest: $(VENV)/.loadtest  ## Load a deployment and judge it: HOST=http://… ARGS='-u 100 -r 10 -t 5m'
	@$(BIN)/locust -f deploy/loadtest/locustfile.py --headless --only-summary --host '$(HOST)' $(ARGS)

clean:  ## Remove what was made
	rm -rf $(VENV) $(COMPILED) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
