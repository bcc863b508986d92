# Everything runs in .venv, made on first use. Python 3.11 or newer and make are all that has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CONFIG ?= configs/luca.yaml
# Further options of the demo's run, such as OPTIONS='--set compose_loras.seeds=4'
OPTIONS ?=

.PHONY: help install demo test test-slow check format bench up schemas clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt requirements-lite.txt
	$(PYTHON) -c 'import sys; sys.exit("reel2lora needs Python 3.11 or newer; name one with PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first: anything looser pulls gigabytes of CUDA packages
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-lite.txt
	touch $(STAMP)

demo: $(STAMP)  ## the whole graph on the sample film; ends by printing where its report is
	$(BIN)/reel2lora run $(CONFIG) $(OPTIONS)

test: $(STAMP)  ## the tests, under 10 minutes
	$(BIN)/python -m pytest

test-slow: $(STAMP)  ## the tests that take a minute each: searches and suites that are killed, a run on a single checkpoint
	$(BIN)/python -m pytest -m slow

check: $(STAMP)  ## lint, format, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy flows tasks models data_contracts
	$(BIN)/lint-imports

format: $(STAMP)  ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measurements that take minutes, never part of the tests
	$(BIN)/python -m pytest tests/benchmarks --override-ini=python_files='bench_*.py' -s -n 0

up: $(STAMP)  ## Prefect's server and UI with all deployments, until Ctrl-C
	$(BIN)/reel2lora up $(CONFIG)

schemas: $(STAMP)  ## write the contracts' JSON Schemas anew
	$(BIN)/python -m data_contracts.json_schemas

clean:  ## remove the virtual environment and the demo's workspace
	rm -rf $(VENV) workspace
