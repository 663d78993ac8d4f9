# Everything a developer, a newcomer and CI run. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help install run test test-all check format soak smoke wheel results search bench bench-quick large-file docs pictures clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.installed ## make .venv and install the pinned set

run: .venv/.installed ## train the COVID-19 regression to the end (real data if present, else the sample)
	$(BIN)/mlrun task=covid model=mlp

test: .venv/.installed ## the fast test suite
	$(PYTEST)

test-all: .venv/.installed ## every test; those marked data need MLRUN_DATA
	$(PYTEST) -m ""

check: .venv/.installed ## format, lint, layers, types, tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(PYTEST)

format: .venv/.installed ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: .venv/.installed ## every fault, the long way; writes docs/reliability.md
	$(PYTEST) -m "fault" --reliability=docs/reliability.md

smoke: .venv/.installed ## all three tasks, a few batches each
	$(BIN)/mlrun -m task=covid,phone_price,mnist debug=smoke

wheel: .venv/.installed ## build the wheel and try it in an environment and folder of its own
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

results: .venv/.installed ## train every row of the README's table on the real data (MLRUN_DATA)
	$(BIN)/python bench/results.py

search: .venv/.installed ## random search, TPE and halving compared on the real data (MLRUN_DATA; an hour)
	$(BIN)/python bench/search.py

.venv-bench/.installed: bench/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt -e .
	@touch $@

bench: .venv-bench/.installed ## race against other tools (over an hour, in a venv of its own); writes docs/benchmarks.md
	.venv-bench/bin/python bench/run.py

bench-quick: .venv-bench/.installed ## the covid part of it, one heat each
	.venv-bench/bin/python bench/run.py --only covid,kernel,whole --heats 1

large-file: .venv/.installed ## the memory and the time a CSV of a gigabyte takes
	$(BIN)/python bench/large_file.py

docs: .venv/.installed ## write docs/configuration.md anew from conf/
	$(BIN)/python bench/configuration.py

pictures: .venv/.installed ## redraw the pictures of the README
	$(BIN)/python bench/pictures.py

clean: ## remove what the targets above made (not your data or runs)
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
