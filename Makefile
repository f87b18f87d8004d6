# `make demo` and `make test` are all that a newcomer needs; each installs what it uses first.
PYTHON ?= python3
BIN := .venv/bin
UV := uv==0.13.9

.PHONY: help install demo test check browser trackers types notebooks evidence guarantees benchmarks clean

help:
	@echo "make demo        the table on scikit-learn's handwritten digits, into runs/demo/"
	@echo "make test        the fast tests"
	@echo "make check       ruff, mypy and import-linter"
	@echo "make browser     reports, looked at in headless Chromium"
	@echo "make trackers    runs that tell MLflow, TensorBoard and Weights & Biases"
	@echo "make types       a user's script, checked by mypy and basedpyright against the wheel"
	@echo "make notebooks   the notebook of examples/, executed"
	@echo "make evidence    the slow tests behind the published claims"
	@echo "make guarantees  docs/results/guarantees.md anew, from tests/claims/register.toml and what was measured"
	@echo "make benchmarks  the measurements in benchmarks/"

install: .venv/installed

# The outer pip installs uv, because a bare machine's python3 may lack ensurepip. Compiled once here, PyTorch and the
# others load in half the time in every process, also where Python may not write bytecode.
.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet $(UV)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.txt
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/redense run --out runs/demo

test: install
	$(BIN)/pytest -n 2 --dist loadgroup

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Debian's Chromium; elsewhere, any that is called so and on the path.
browser: install
	command -v chromium > /dev/null || (apt-get update --quiet && apt-get install --yes --quiet chromium)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet -r requirements-browser.txt
	$(BIN)/pytest -m browser tests/browser

trackers: install
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet -r requirements-trackers.txt
	$(BIN)/pytest -m trackers tests/experiment/test_tracking.py

types: install
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet -r requirements-types.txt
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/pytest -m types tests/test_types.py

notebooks: install
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet -r requirements-notebooks.txt
	$(BIN)/pytest -m notebooks tests/test_notebook.py

evidence: install
	$(BIN)/pytest -m evidence

guarantees: install
	cd tests && ../$(BIN)/python -m claims.register

benchmarks: install
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/bitmask.py
	$(BIN)/python benchmarks/smallest.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/table.py
	$(BIN)/python benchmarks/engines.py

clean:
	rm -rf .venv build dist
