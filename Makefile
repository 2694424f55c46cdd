# Every target does its own set-up: Python 3.11 or newer (with venv and pip) is all a machine needs.
# `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
CROSSDOCK := $(VENV)/bin/crossdock
PYTEST := $(VENV)/bin/pytest

# What the system's own environment says of virtual environments and AWS accounts is not meant for this project.
unexport VIRTUAL_ENV
unexport PYTHONHOME
unexport UV_PROJECT_ENVIRONMENT
export UV_PYTHON_DOWNLOADS := never
# Bytecode beside the packages, once, instead of in every process that starts.
export UV_COMPILE_BYTECODE := 1
export CDK_DISABLE_CLI_TELEMETRY := true

.PHONY: help setup demo test lint unit scenarios faults mutants soak bench bench-check up down doctor clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(VENV)/.ready node_modules/.ready ## virtual environment, Node and the CDK CLI, from the lock files

demo: setup ## the story of an order and of what can go wrong with it, from nothing
	@$(CROSSDOCK) demo

test: lint unit scenarios ## everything that must hold: rules, unit, infrastructure and scenario tests

lint: setup ## ruff, mypy --strict, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

unit: setup ## tests in-process, with the coverage gates
	@mkdir -p build
	$(PYTEST) tests/domain tests/flows tests/connectors tests/fuzz/test_mappings.py -q -n 2 --cov=crossdock --cov-branch --cov-report=
	$(VENV)/bin/coverage report --skip-covered --fail-under=100 \
	  --include='*/crossdock/domain/*,*/crossdock/flows/*,*/crossdock/connectors/*/mapping.py'
	$(PYTEST) tests --ignore=tests/scenarios --ignore=tests/faults --ignore=tests/domain --ignore=tests/flows --ignore=tests/connectors \
	  --ignore=tests/fuzz/test_mappings.py -q -n 2

scenarios: setup ## stories end to end: real deploy on the local engine, IAM enforced
	@mkdir -p build
	$(PYTEST) tests/scenarios -q

faults: setup ## 23 faults between functions and AWS and at every system, each survived; the ten invariants after each
	@mkdir -p build
	$(PYTEST) tests/faults -q -n 0 --tb=short

bench: $(VENV)/.ready-bench node_modules/.ready ## every figure of docs/benchmarks.md, measured again; single sections: .venv/bin/python -m local.bench run --sections NAME ...
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTHON) -m local.bench run

bench-check: setup ## what holds from run to run, against docs/benchmarks.json; fails when something got worse by a tenth
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTHON) -m local.bench check

mutants: setup ## sabotages of every promise, each of which a test must notice
	@mkdir -p build
	$(PYTHON) -m tests.mutants.run --json build/mutants.json

soak: setup ## what `make test` samples, whole: every cut call, every permutation, new stories each time
	$(PYTEST) tests -m soak -q -n 2
	CROSSDOCK_TESTS=soak $(PYTEST) tests/fuzz -q -n 2

up: setup ## engine, simulators and every tenant, deployed; stays up
	@$(CROSSDOCK) local up

down: setup ## ends what `make up` started
	@$(CROSSDOCK) local down

doctor: setup ## what this machine has and lacks
	@$(CROSSDOCK) doctor

clean: ## removes everything made here except the local run (`make down` first)
	rm -rf $(VENV) node_modules build cdk.out

# The newest Python that the Lambda runtime has too, else any from 3.11 on; pyenv's need not be on PATH.
define FIND_PYTHON
for candidate in python3.13 "$$HOME"/.pyenv/versions/3.13*/bin/python "$${PYENV_ROOT:-/nonexistent}"/versions/3.13*/bin/python \
    python3.14 python3.12 python3.11 python3 python "$$HOME"/.pyenv/versions/3.1[12]*/bin/python; do \
  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (4,))' >/dev/null 2>&1; then \
    python=$$("$$candidate" -c 'import sys; print(sys.executable)'); break; \
  fi; \
done; \
if [ -z "$$python" ]; then echo "Python 3.11 or newer (with venv) is needed and was not found: install it, then try again" >&2; exit 1; fi
endef

# A uv that works, or one of our own; pyenv's shim is on PATH also where no uv is behind it.
define FIND_UV
if uv --version >/dev/null 2>&1; then uv=uv; \
else \
  uv=build/uv/bin/uv; \
  if ! "$$uv" --version >/dev/null 2>&1; then \
    echo "uv is not here: installing it into build/uv"; \
    "$$python" -m venv build/uv && build/uv/bin/python -m pip install --quiet uv; \
  fi; \
fi
endef

$(VENV)/.ready: pyproject.toml uv.lock
	@set -e; python=; $(FIND_PYTHON); $(FIND_UV); \
	if [ -x $(PYTHON) ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$(PYTHON); fi; \
	echo "Python: $$python"; \
	"$$uv" sync --frozen --group dev --python "$$python"; \
	[ "$$uv" = uv ] || ln -sf ../../build/uv/bin/uv $(VENV)/bin/uv
	@touch $@

# The plots' packages are only for whoever draws them.
$(VENV)/.ready-bench: $(VENV)/.ready
	@set -e; python=$(CURDIR)/$(PYTHON); $(FIND_UV); "$$uv" sync --frozen --group dev --group bench --python "$$python"
	@touch $@

# The virtual environment brings its own Node; the system's may be too old. No package needs its install script.
node_modules/.ready: package.json package-lock.json $(VENV)/.ready
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
