# Two commands for a fresh machine: `make demo` and `make test`. They need Python 3.11 or newer, make and an index of
# Python packages.
PYTHON ?= python3
# Address of a CPU-only index that holds torch and torchvision; an environment keeps to the one it was made with.
TORCH_INDEX ?= $(shell cat .venv/.torch-index 2>/dev/null)
# Where the demo writes.
DEMO ?= demo
# Further arguments of pytest, e.g. make test ARGS="-k tile -x".
ARGS ?=

# OpenMP's threads spin while they wait; beside other work that made pre-training four times as long.
export OMP_WAIT_POLICY ?= PASSIVE

UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
UV_READY := $(VENV)/.uv-$(UV_VERSION)
READY := $(VENV)/.ready
# The object store that tests talk to is no part of the environment: its packages are its own.
SWIFT := $(VENV)/swift
LOCKS := requirements/base.txt requirements/torch.txt
EXTRAS := pipelines server bench demo dev
FLIGHTS := $(DEMO)/field/flight-1/campaign.yaml $(DEMO)/field/flight-2/campaign.yaml

# uv reads none of pip's settings: the index and the certificates that pip is set up with are handed on.
UV_ENV = export VIRTUAL_ENV="$(CURDIR)/$(VENV)"; \
	[ -z "$${PIP_CERT:-}" ] || export SSL_CERT_FILE="$${SSL_CERT_FILE:-$$PIP_CERT}"; \
	index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}}"; \
	[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"
SAY = say() { printf '== %s\n' "$$*"; }

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-services lint lock image

help:
	echo "make demo           simulate a field trial, train, explain, write the report"
	echo "make test           the tests that need Python only"
	echo "make test-services  the tests that need a browser, a server or much time"
	echo "make lint           ruff, mypy, import contract"
	echo "make image          the images of tasks and of MLflow, without a registry (as root; mmdebstrap, podman)"
	echo "make setup          the environment alone, in $(VENV); the others do it too"
	echo "make lock           resolve the dependencies; UPGRADE=1 takes newer versions"
	echo "Variables: PYTHON=$(PYTHON), TORCH_INDEX=<address of a CPU-only index of torch and torchvision>"

setup: $(READY)
	echo "== set-up: $(VENV) is ready; remove it to start anew"

$(UV_READY):
	$(SAY)
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; name another one: make PYTHON=python3.11")'
	say "set-up: making $(VENV) with $$($(PYTHON) --version) and uv $(UV_VERSION)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

# Bytecode is compiled here: each task of a pipeline is a process of its own, and would compile torch again where
# Python may not write beside its packages.
$(READY): pyproject.toml $(LOCKS) | $(UV_READY)
	$(SAY)
	$(UV_ENV)
	started=$$SECONDS
	if [ -z "$(TORCH_INDEX)" ]; then
		say "set-up: installing the locked packages (about 7 GB with torch's default build)"
		$(BIN)/uv pip sync --compile-bytecode --require-hashes $(LOCKS)
	else
		say "set-up: installing the locked packages, then torch and torchvision from TORCH_INDEX"
		$(BIN)/uv pip sync --compile-bytecode --require-hashes requirements/base.txt
		$(BIN)/uv pip install --compile-bytecode --no-deps --default-index "$(TORCH_INDEX)" $$(grep -oE '^torch(vision)?==[0-9.]+' requirements/torch.txt)
	fi
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	say "set-up: importing timm, which needs torch and torchvision of one build"
	$(BIN)/python -c "import timm"
	say "set-up: ready after $$((SECONDS - started)) s, $$(du -sh $(VENV) | cut -f1) in $(VENV)"
	echo "$(TORCH_INDEX)" > $(VENV)/.torch-index
	touch $@

demo: $(READY)
	$(SAY)
	started=$$SECONDS
	say "demo: simulating a field trial, two flights, in $(DEMO)/field"
	$(BIN)/focus simulate $(DEMO)/field --json $(DEMO)/simulate.json
	say "demo: running the pipelines; the log of each task follows"
	$(BIN)/python -m pipelines run $(FLIGHTS) --out $(DEMO)/run
	say "demo: the run took $$((SECONDS - started)) s; set-up is not in it"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not services" -n auto $(ARGS)

$(SWIFT)/.ready: requirements/swift.txt | $(UV_READY)
	$(UV_ENV)
	$(PYTHON) -m venv $(SWIFT)
	VIRTUAL_ENV="$(CURDIR)/$(SWIFT)" $(BIN)/uv pip sync --quiet --require-hashes requirements/swift.txt
	touch $@

# Status 5 says that no test was chosen.
test-services: $(READY) $(SWIFT)/.ready
	echo "Needs firefox-esr or chromium with its driver, and postgresql; what is absent is skipped, with the reason."
	PATH="$$PATH:$(CURDIR)/$(SWIFT)/bin" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m services $(ARGS) || [ $$? -eq 5 ]

lint: $(READY)
	$(SAY)
	say "ruff check"
	$(BIN)/ruff check
	say "ruff format"
	$(BIN)/ruff format --check
	say "mypy"
	$(BIN)/mypy
	say "import contract"
	$(BIN)/lint-imports

image:
	TORCH_INDEX="$(TORCH_INDEX)" infra/images/build_local.sh

# The locks that are there are kept to, so that one new dependency does not move the others.
lock: | $(UV_READY)
	$(UV_ENV)
	mkdir -p build requirements
	cat $(wildcard $(LOCKS)) /dev/null > build/lock.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > build/requires.in
	$(BIN)/uv pip compile pyproject.toml build/requires.in $(EXTRAS:%=--extra %) $(if $(UPGRADE),--upgrade) \
		--python-version 3.11 --universal --generate-hashes --no-annotate --no-header --quiet -o build/lock.txt
	awk '/^[^ ]/ { file = ($$1 ~ /^(torch|torchvision|triton|cuda-.*|nvidia-.*)==/) ? "torch" : "base" } \
		{ print > ("requirements/" file ".txt") }' build/lock.txt
	$(BIN)/uv pip compile requirements/swift.in $(if $(UPGRADE),--upgrade) \
		--python-version 3.11 --universal --generate-hashes --no-annotate --no-header --quiet -o requirements/swift.txt
	wc -l $(LOCKS) requirements/swift.txt
