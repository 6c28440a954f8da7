# Every command of the project; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv from PATH, or fetched from PyPI into a folder of its own.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

setup: $(BIN)/.ready ## Install everything into .venv (through uv, itself from PyPI if absent)

$(BIN)/.ready: pyproject.toml uv.lock scripts/foreign_protos.py
	@test -x "$$(command -v $(UV) 2>/dev/null)" || { $(PYTHON) -m venv .venv-uv && .venv-uv/bin/pip install --quiet 'uv>=0.9,<1'; }
	$(UV) sync --quiet --locked --python $(PYTHON) --extra all --extra dev
	@$(BIN)/python scripts/foreign_protos.py .foreign-protos
	@touch $@

demo: setup ## Deploy three versions of a real application and watch the third go back by itself
	@$(BIN)/python examples/demo.py

story-repository: setup ## Back up a tree; restic checks, restores and continues it; every byte and both speeds are compared
	@$(BIN)/python examples/story_repository.py

.PHONY: story-repository

check: setup ## Format, lint, types, import contracts, proto lint and breaking, stub freshness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf lint
	$(BIN)/buf breaking protos --against protos/baseline.binpb
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python scripts/openapi.py --check
	$(UV) lock --check --quiet
	$(BIN)/lint-imports
	$(BIN)/mypy

test: setup ## Every test that this machine can run; says loudly what it cannot
	$(BIN)/pytest -n auto --dist loadfile -m "not long"

test-long: setup ## The same and the full versions of the sampled suites (kill at every point, properties)
	$(BIN)/pytest -n auto --dist loadfile --timeout 7200

fmt: setup ## Format code and protos
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w protos

protos: setup ## Regenerate the stubs below libs/opsuite
	$(BIN)/python scripts/protos.py
	$(BIN)/python scripts/openapi.py

bench: setup ## Measure against floors and peers in one run
	$(BIN)/python -m bench

images: setup ## Build the container image of each service (BASE_IMAGE=python:3.13-slim)
	scripts/images.sh

story-rollout: setup ## Roll out a bad canary under load behind a real Envoy, and watch it go back by itself
	@$(BIN)/python examples/story_rollout.py

story-healer: setup ## See a healer mend a crash, a hang and a bad release under load
	@$(BIN)/python examples/story_healer.py

story-scaler: setup ## See a scaler through a rush hour and an outage of its metric, then rehearse three policies
	@$(BIN)/python examples/story_scaler.py

.PHONY: help setup demo story-healer story-rollout story-scaler check test test-long fmt protos bench images
