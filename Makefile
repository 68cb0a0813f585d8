# make fit        train the distorted chip of the paper's figures on the breast cancer data
# make test       the whole test suite, with ruff and mypy
# make figures    every figure, drawn again from the results saved in analysis/results, with its table
# make notebooks  the notebooks of analysis, run again from their .py files, a minute or two
# make bench      speed, against named peers, in an environment of its own
# Each finds a Python >= 3.12 and makes its own environment when it is missing or older than pyproject.toml.

SHELL := /bin/bash
PYTHON := $(shell for p in python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && command -v $$p && break; done)
VENV := .venv
BENCH_VENV := .venv-bench
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: fit test figures notebooks bench lint clean python

fit: $(VENV)/.fit
	$(VENV)/bin/python -m bayes_snn.fit $(ARGS)

test: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

figures: $(VENV)/.sweep
	@for rows in analysis/results/*.parquet; do \
		$(VENV)/bin/python analysis/$$(basename $$rows .parquet).py || exit; echo; done

notebooks: $(VENV)/.dev
	$(VENV)/bin/python analysis/notebooks.py $(ARGS)

bench: $(BENCH_VENV)/.bench
	$(BENCH_VENV)/bin/python tests/benchmarks/run.py $(ARGS)

python:
	@test -n "$(PYTHON)" || { echo "No Python 3.12 or newer was found (tried python3, python3.12, python3.13 and python3.14): install one, for example with 'pyenv install 3.12', and run make again." >&2; exit 2; }

$(VENV)/.fit: pyproject.toml | python
	@echo "Setting up $(VENV) with $(PYTHON) (about a minute)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

$(VENV)/.sweep: $(VENV)/.fit
	@echo "Adding Dask and pyarrow to $(VENV)"
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) --editable '.[sweep]'
	@touch $@

$(VENV)/.dev: $(VENV)/.fit
	@echo "Adding the development tools and PyTorch to $(VENV) (a few minutes)"
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

$(BENCH_VENV)/.bench: pyproject.toml tests/benchmarks/requirements.txt | python
	@echo "Setting up $(BENCH_VENV) with $(PYTHON) (several minutes)"
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install $(PIP_FLAGS) --editable . --requirement tests/benchmarks/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV)
