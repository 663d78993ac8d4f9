# Targets for users, developers and CI; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install run test test-slow test-all coverage check format soak smoke wheel results search bench bench-quick large-file tables-read audit dist docs pictures clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml constraints.txt
	@echo "Creating .venv and installing the pinned packages (about 2 minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.installed ## create .venv and install the pinned packages

run: .venv/.installed ## train the COVID-19 regression (on real data if present, otherwise on sample data)
	$(BIN)/mlrun task=covid model=mlp

test: .venv/.installed ## run the fast tests
	$(PYTEST)

test-slow: .venv/.installed ## run the slow tests except new random examples (make soak); SHARE=2/3 runs a third
	$(PYTEST) -m "slow and not data" -k "not soak" --deselect tests/test_wheel.py $(if $(SHARE),--share=$(SHARE))

test-all: .venv/.installed ## run all tests; those marked `data` need MLRUN_DATA
	$(PYTEST) -m ""

coverage: .venv/.installed ## run the fast tests and report which branches of src/mlrun they execute
	$(PYTEST) --cov

check: .venv/.installed ## run format check, linter, import rules, type checker, fast tests (CI runs this)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(PYTEST)

format: .venv/.installed ## format the code and fix lint errors
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: .venv/.installed ## run all fault tests, including the long ones; writes docs/reliability.md
	$(PYTEST) -m "fault" --reliability=docs/reliability.md

smoke: .venv/.installed ## train a few batches of all three tasks
	$(BIN)/mlrun -m task=covid,phone_price,mnist debug=smoke

wheel: .venv/.installed ## build the wheel and test it in a separate environment and folder
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

.venv-audit/.installed: constraints.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom pip-audit
	@touch $@

audit: .venv/.installed .venv-audit/.installed ## check that all packages are pinned, and look up their vulnerabilities
	$(BIN)/python bench/pins.py
	.venv-audit/bin/python bench/audit.py

dist: .venv/.installed .venv-audit/.installed ## build the wheel and its software bill of materials into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python bench/pins.py --list | .venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml \
	  --output-reproducible --output-file dist/mlrun_cli.cdx.json -

results: .venv/.installed ## train every row of the README's results table on the real data (MLRUN_DATA)
	$(BIN)/python bench/results.py

search: .venv/.installed ## compare random search, TPE and halving on the real data (MLRUN_DATA; one hour)
	$(BIN)/python bench/search.py

.venv-bench/.installed: bench/requirements.txt pyproject.toml
	@echo "Creating .venv-bench and installing the benchmark packages (several minutes) ..."
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt -e .
	@touch $@

bench: .venv-bench/.installed ## benchmark against other tools (over an hour, in .venv-bench); writes docs/benchmarks.md
	.venv-bench/bin/python bench/run.py

bench-quick: .venv-bench/.installed ## run the covid part of the benchmark once
	.venv-bench/bin/python bench/run.py --only covid,kernel,whole --heats 1

large-file: .venv/.installed ## measure memory and time for a CSV file of one gigabyte
	$(BIN)/python bench/large_file.py

tables-read: .venv/.installed ## train on every table of FOLDER (default: those of MLRUN_DATA) and check what comes out
	$(BIN)/python bench/tables_read.py $(FOLDER)

docs: .venv/.installed ## generate docs/configuration.md from conf/ and docs/architecture.md from src/
	$(BIN)/python bench/configuration.py
	$(BIN)/python bench/architecture.py

pictures: .venv/.installed ## generate the pictures in the README
	$(BIN)/python bench/pictures.py

clean: ## delete what the targets above created (not your data or runs)
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
