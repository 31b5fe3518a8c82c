# Thin: each target is the command one would type.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test check docs bench audit clean

setup: .venv/.installed                ## .venv with the project, in the versions of constraints.txt

demo: .venv/.installed                 ## from nothing to a verdict, on the data set inside the package
	$(BIN)/tiebreak compare mlp cnn --seeds 4

test: .venv/.installed-dev             ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

check: .venv/.installed-dev docs       ## formatter, linter, types, import directions, docs, security
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/draw_rooms.py --check
	$(BIN)/python tools/check_docs.py
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src

docs: .venv/.installed-dev             ## the documents as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/.installed                ## what is fast on this machine, against what
	$(BIN)/tiebreak bench

audit: .venv/.installed-dev            ## known vulnerabilities of what is installed; needs the network
	$(BIN)/pip-audit

clean:
	rm -rf build src/tiebreak/kernels/*.so .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.installed: pyproject.toml constraints.txt setup.py $(wildcard src/tiebreak/kernels/*.?pp)
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) --editable '.[dev]'
	touch $@
