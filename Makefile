# `make train` and `make test` are all a newcomer needs: each sets up .venv (no root) and runs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: train test bench bench-compare bench-scaling bench-chart lint conformance clean

$(VENV)/.train: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .[cpu,vision]
	@touch $@

$(VENV)/.test: $(VENV)/.train
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .[cpu,vision,test]
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .[cpu,vision,test,dev]
	@touch $@

$(VENV)/.bench: $(VENV)/.train
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .[cpu,vision,bench] tinygrad
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	@touch $@

train: $(VENV)/.train
	$(BIN)/python examples/train_images.py $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

bench-compare: $(VENV)/.bench
	$(BIN)/python -m benchmarks.compare $(ARGS)

bench-scaling: $(VENV)/.bench
	$(BIN)/python -m benchmarks --scaling $(ARGS)

bench-chart: $(VENV)/.bench
	$(BIN)/python -m benchmarks.chart
	$(BIN)/python -m benchmarks.report --write

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

clean:
	rm -rf $(VENV) build dist *.egg-info
