# `make demo` and `make test` are all that a newcomer needs; each installs what it uses first.
PYTHON ?= python3
BIN := .venv/bin
PIP := pip==26.3
UV := uv==0.13.9

.PHONY: help install demo test check browser docs foreign trackers types notebooks evidence counts guarantees benchmarks clean

help:
	@echo "make demo        the table on scikit-learn's handwritten digits, a control and an audit, into runs/demo/"
	@echo "make test        the fast tests"
	@echo "make check       ruff, mypy and import-linter"
	@echo "make browser     reports, looked at in headless Chromium"
	@echo "make docs        the documentation, built strictly into site/"
	@echo "make foreign     DSD in the training loops of other packages, the guides to them, and TensorBoard"
	@echo "make trackers    runs that tell MLflow, TensorBoard and Weights & Biases"
	@echo "make types       a user's script, checked by mypy and basedpyright against the wheel"
	@echo "make notebooks   the notebook of examples/, executed"
	@echo "make evidence    the slow tests behind the published claims"
	@echo "make counts      what the fast tests of the claims count, where the slow ones have not counted yet"
	@echo "make guarantees  docs/results/guarantees.md anew, from tests/claims/register.toml and what was measured"
	@echo "make benchmarks  the measurements in benchmarks/"

# The outer pip installs pip and uv, because a bare machine's python3 may lack ensurepip. Compiled once here, PyTorch and the
# others load in half the time in every process, also where Python may not write bytecode.
UV_PIP := VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode

install: .venv/installed

# What `redense run` needs, and nothing else, at the pinned versions.
.venv/core: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "redense needs Python 3.11 or later; $(PYTHON) is " \
	+ sys.version.split()[0] + ": name another, such as make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet $(PIP) $(UV)
	$(UV_PIP) --constraint requirements.txt --build-constraint requirements.txt -e .
	touch $@

.venv/installed: .venv/core
	$(UV_PIP) -r requirements.txt
	touch $@

# One sparsity, a control of the same budget and four reference models: 25 phases of ten epochs.
demo: .venv/core
	$(BIN)/redense run --sparsities 0.5 --epochs 10 10 10 --controls longer --audit lira rmia --references 4 --out runs/demo
	@echo
	@echo "Look at: in the table, re-dense 50% against the control beside re-dense, which was trained as long without a mask;"
	@echo "         in the audit, how often the strongest attack on re-dense 50% is right: 50% would be guessing."
	@echo "Open:    runs/demo/report.html in a browser"
	@echo "Next:    .venv/bin/redense run --controls longer llr"
	@echo "         .venv/bin/redense --help"

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
	$(UV_PIP) -r requirements-browser.txt
	$(BIN)/pytest -m browser tests/browser

docs: install
	$(UV_PIP) -r requirements-docs.txt
	$(BIN)/zensical build --strict --clean
	$(BIN)/pytest -m docs tests/documents/test_site.py

foreign: install
	$(UV_PIP) -r requirements-foreign.txt
	$(BIN)/pytest -m foreign -n 2 --dist loadfile tests/foreign tests/experiment/test_tracking.py

trackers: install
	$(UV_PIP) -r requirements-trackers.txt
	$(BIN)/pytest -m trackers tests/experiment/test_tracking.py

types: install
	$(UV_PIP) -r requirements-types.txt
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/pytest -m types tests/test_types.py

notebooks: install
	$(UV_PIP) -r requirements-notebooks.txt
	$(BIN)/pytest -m notebooks tests/test_notebook.py

evidence: install
	$(UV_PIP) -r requirements-distribution.txt
	$(BIN)/pytest -m evidence

counts: install
	REDENSE_RECORD_QUICK=1 $(BIN)/pytest tests/claims tests/auditing/test_alike.py tests/auditing/test_checks.py

guarantees: install
	cd tests && ../$(BIN)/python -m claims.register

benchmarks: install
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/timeline.py
	$(BIN)/python benchmarks/bitmask.py
	$(BIN)/python benchmarks/smallest.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/table.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/stacks.py

clean:
	rm -rf .venv build dist
