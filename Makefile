# Everything a person or a continuous integration needs. `make` alone lists the targets.
#
#   PYTHON   the Python (3.11 to 3.13) that makes .venv       make test PYTHON=python3.12
#   VENV     where the environment lives                      make demo VENV=/tmp/venv
#   JOBS     processes that pytest uses                       make test JOBS=4
#   TESTS    what pytest is given                             make test TESTS=tests/losses

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
TESTS ?= tests

BIN := $(VENV)/bin
EXAMPLES := $(notdir $(patsubst %/,%,$(dir $(wildcard examples/*/recipe.yaml examples/*/run.py))))
# Examples whose models come from timm or transformers need more than mmdistill[train].
WITH_BACKBONES := timm_mobilenet bert_bilstm clip_dual_encoder
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --editable
# Several test processes share the cores; each with its own thread pool would only wait for the others.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo test lint types unit example docs benchmarks clean

help:
	@echo "make install                         $(VENV) with mmdistill and all its extras, editable"
	@echo "make demo                            train, distil and report on the embedded sample"
	@echo "make test                            lint, types and tests"
	@echo "make example NAME=<folder> [VARIANT=<variant>]"
	@echo "                                     prepare and run an example: $(EXAMPLES)"
	@echo "make docs                            write the generated pages of docs/"
	@echo "make benchmarks                      run the benchmarks"
	@echo "make clean                           remove caches of the tools, never runs or data"

# The environment. A stamp says which extras it holds; a larger one stands for the smaller ones, so that `make demo`
# after `make install` has nothing to do. pip never removes what an extra does not name, so nothing shrinks.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "mmdistill needs Python 3.11 to 3.13, and '$(PYTHON)' is not one. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) && $@ -m pip --version > /dev/null || { \
	  rm -f $@; \
	  echo "'$(PYTHON) -m venv' made no environment with pip. On Debian and Ubuntu install the package python3-venv;" >&2; \
	  echo "elsewhere name a complete Python: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@rm -f $(VENV)/.mmdistill-*

$(VENV)/.mmdistill-train: pyproject.toml | $(BIN)/python
	@echo "Installing mmdistill[train] into $(VENV) (the first time takes minutes: it fetches PyTorch)"
	@$(PIP_INSTALL) '.[train]'
	@touch $@

$(VENV)/.mmdistill-all: pyproject.toml | $(BIN)/python
	@echo "Installing mmdistill[all] into $(VENV) (the first time takes minutes: it fetches PyTorch)"
	@$(PIP_INSTALL) '.[all]'
	@touch $(VENV)/.mmdistill-train $@

$(VENV)/.mmdistill-test: pyproject.toml | $(BIN)/python
	@echo "Installing mmdistill[test] into $(VENV) (the first time takes minutes: it fetches PyTorch)"
	@$(PIP_INSTALL) '.[test]'
	@touch $(VENV)/.mmdistill-train $(VENV)/.mmdistill-all $@

install: $(VENV)/.mmdistill-all
	@echo "Ready: $(BIN)/mmdistill"

demo: $(VENV)/.mmdistill-train
	@$(BIN)/mmdistill demo

test: lint types unit

lint: $(VENV)/.mmdistill-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.mmdistill-test
	@$(BIN)/mypy

unit: $(VENV)/.mmdistill-test
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) $(TESTS)

example: $(VENV)/.mmdistill-$(if $(filter $(NAME),$(WITH_BACKBONES)),all,train)
	@$(BIN)/python tools/run_example.py '$(NAME)' $(if $(VARIANT),--variant '$(VARIANT)')

docs: $(VENV)/.mmdistill-train
	@$(BIN)/python tools/make_docs.py

benchmarks: $(VENV)/.mmdistill-train
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find src tests tools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
