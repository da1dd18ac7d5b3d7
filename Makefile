# Needs Python 3.11 or newer with venv, and make. uv is used where it exists.
#
#   make test ARGS="-k login -x"       arguments for pytest; make run ARGS="--port 8080" for authapi serve
#   make test PYTHON=python3.13        another Python; the virtual environment is rebuilt with it
#   make lock ARGS=--upgrade           newer versions of everything

PYTHON ?= python3
ARGS ?=
UV := $(shell command -v uv 2>/dev/null)

VENV := .venv
BIN := $(VENV)/bin
# The stamps name the Python they were made with, so that another one rebuilds the environment.
RUN_STAMP := $(VENV)/.run-$(notdir $(PYTHON))
DEV_STAMP := $(VENV)/.dev-$(notdir $(PYTHON))

ifdef UV
# Unless a Python is named, uv takes one that pyproject.toml allows.
CREATE_VENV := uv venv --quiet $(if $(filter file,$(origin PYTHON)),,--python "$(PYTHON)") $(VENV)
INSTALL := uv pip install --quiet --python $(BIN)/python
else
CREATE_VENV := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
OLD_PYTHON := authapi needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...
CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(OLD_PYTHON)")'
endif

.DEFAULT_GOAL := help
.PHONY: help run test faults bench check format lock audit

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

# The dev lock holds the runtime lock's versions and more: whoever has it can also run the service.
run: $(if $(wildcard $(DEV_STAMP)),$(DEV_STAMP),$(RUN_STAMP)) ## serve on http://127.0.0.1:5001 with SQLite
	@$(BIN)/authapi serve $(ARGS)

test: $(DEV_STAMP) ## run all tests against SQLite, a real PostgreSQL and a real Redis
	@$(BIN)/pytest -n auto --maxprocesses 4 $(if $(CI),--reruns 2 --reruns-delay 1) $(ARGS)

faults: $(DEV_STAMP) ## break a served authapi in every way we know; docs/faults.md has the results (an hour)
	@$(BIN)/python -m tests.faults --write $(ARGS)

check: $(DEV_STAMP) ## lint, formatting, types and the rules on imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_STAMP) ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# A changed lock rebuilds the environment, so that nothing stays behind; a changed pyproject.toml only reinstalls
# authapi. The build backend is locked too, and used without isolation, which would fetch it without hashes.
define create
@$(CHECK_PYTHON)
@echo "Creating $(VENV) from $(1) ..."
@rm -rf $(VENV)
@$(CREATE_VENV)
@$(INSTALL) --require-hashes -r requirements-build.lock -r $(1)
endef

$(RUN_STAMP): requirements.lock requirements-build.lock pyproject.toml
	$(if $(filter %.lock,$?),$(call create,$<))
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

$(DEV_STAMP): requirements-dev.lock requirements-build.lock pyproject.toml
	$(if $(filter %.lock,$?),$(call create,$<))
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

# Universal locks: every platform and Python that pyproject.toml allows, no index addresses, installable by pip.
# The dev lock is held to the runtime lock's versions.
LOCK_UV := $(or $(UV),build/uv/bin/uv)
COMPILE = $(LOCK_UV) pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-strip-extras --annotation-style line --custom-compile-command "make lock" $(ARGS)

lock: $(if $(UV),,build/uv/bin/uv) ## renew the lock files after a change of the dependencies
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	printf 'hatchling>=1.27\neditables\n' | $(COMPILE) -c requirements-dev.lock - -o requirements-build.lock

audit: $(DEV_STAMP) build/audit/bin/pip-audit ## look for known vulnerabilities in what is locked; writes build/sbom.json
	@$(BIN)/python -m tests.support.audit build/audit/bin/pip-audit build/sbom.json

bench: $(DEV_STAMP) build/plots/bin/python ## measure against what the machine can do; plots into docs/performance/
	@mkdir -p build
	@$(BIN)/python -m benchmarks.run_all --json build/benchmarks.json $(ARGS); kept=$$?; \
		build/plots/bin/python benchmarks/plots.py build/benchmarks.json docs/performance && exit $$kept

build/plots/bin/python:
	@$(PYTHON) -m venv build/plots
	@build/plots/bin/python -m pip install --quiet --disable-pip-version-check matplotlib==3.11.2

build/audit/bin/pip-audit:
	@$(PYTHON) -m venv build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1

build/uv/bin/uv:
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
