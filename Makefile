# Mulgil. `make` alone says what there is. Every target makes the environment it needs by itself.
#
#   VENV         folder of the environment                     (.venv)
#   CONSTRAINTS  versions that were tried together; point it elsewhere, or at /dev/null, to use others
#   MULGIL_DATA  folder of public data sets, optional          (../shared/data where that exists)

VENV ?= .venv
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
PIP = $(VENV)/bin/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS)
JOBS ?= 2

ifndef MULGIL_DATA
ifneq ($(wildcard ../shared/data/README.md),)
export MULGIL_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: help demo test check bench docs clean
.DEFAULT_GOAL := help

help:  ## show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

# torch first and alone: its version is pinned, so the build that is at hand is taken
$(VENV)/base: pyproject.toml $(CONSTRAINTS)
	@echo "making $(VENV) (about a minute, 2 GB)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

$(VENV)/dev: $(VENV)/base
	@echo "adding what tests and checks need"
	@$(PIP) -e ".[dev]"
	@touch $@

demo: $(VENV)/base  ## train three classifiers on the bundled sample, offline, and say where to look
	@HF_HUB_OFFLINE=1 $(VENV)/bin/mulgil demo

test: check  ## lint, types, floors, then every test that is not marked "real" (under 15 minutes)
	$(VENV)/bin/python -m pytest -n $(JOBS)

check: $(VENV)/dev  ## ruff, mypy --strict, import-linter
	$(VENV)/bin/ruff check src tests tools benchmarks
	$(VENV)/bin/ruff format --check src tests tools benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

bench: $(VENV)/dev  ## long measurements on real data: speed against peers, kills, resume, scores
	$(VENV)/bin/python -m pytest -m real -n 0
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/checkpoint_kill.py --kills 1000
	$(VENV)/bin/python benchmarks/resume.py --steps 60
	$(VENV)/bin/python benchmarks/training.py

docs: $(VENV)/dev  ## write the reference pages from the code
	$(VENV)/bin/python tools/make_docs.py

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
