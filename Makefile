# smsift: everything a checkout needs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
# The system's certificates, as pip does: behind a company's proxy its own are not enough.
UV := $(BIN)/uv --system-certs --quiet
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format lock bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(INSTALLED)  ## make .venv with the locked dependencies; does nothing when they are there

# Newer than both files means: installed what they say. uv resolves the set in seconds where pip does not finish.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("smsift needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

demo: setup  ## watch messages flow through Kafka, the model and ClickHouse, and check every one
	@$(BIN)/smsift demo $(ARGS)

test: setup  ## run all tests, those on the real broker too
	$(BIN)/pytest $(ARGS)

check: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure the pipeline beside the bare transactional loop
	$(BIN)/smsift bench pipeline

lock: setup  ## resolve the dependencies anew
	$(UV) pip compile --generate-hashes --no-emit-index-url --python-version 3.11 --all-extras pyproject.toml -o requirements.lock

clean:  ## remove what setup and the demo made
	rm -rf $(VENV) .smsift
