# make figures                  the four notebooks in the quick profile, into results/quick
# make figures PROFILE=paper    the full-size runs, into results/paper; hours, can be interrupted
# make test                     the tests
# make test-long                those that take long
# make bench                    times and memory against other libraries, into benchmarks/results.md
# make fuzz                     the same tests of bad input and of interruption, many more cases; an hour
# make lint                     style of code and notebooks
# make audit                    are the installed packages known to be vulnerable? An error too, and
#                               said, where the database of that cannot be reached
# make notebooks                run the notebooks in place, as they are committed

PYTHON ?= python3
PROFILE ?= quick
NOTEBOOKS := $(wildcard $(addsuffix .ipynb, Synthetic_tests_SMI MNIST-SMI MNIST-AEMI Plotting_MI_SMI))
BIN := .venv/bin

.PHONY: figures test test-long bench fuzz lint audit notebooks

figures: .venv/installed
	mkdir -p results/$(PROFILE)/notebooks
	set -e; for notebook in $(NOTEBOOKS); do \
	    $(BIN)/papermill --kernel python3 --cwd . -p PROFILE $(PROFILE) \
	        $$notebook results/$(PROFILE)/notebooks/$$notebook; \
	done
	@echo "Figures and results are in results/$(PROFILE)"

test: .venv/installed-dev
	$(BIN)/python -m pytest

test-long: .venv/installed-dev
	$(BIN)/python -m pytest -m long

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

fuzz: .venv/installed-dev
	SMI_TESTS=long $(BIN)/python -m pytest -m "long or not long" tests/test_fuzz.py tests/test_interruption.py tests/test_repeating.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

audit: .venv/installed .venv/audit/installed
	$(BIN)/python .ci/audit.py .venv/audit/bin/pip-audit \
	    "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

notebooks: .venv/installed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace $(NOTEBOOKS)

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt requirements.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check --quiet -r requirements-dev.txt
	touch $@

# One at a time, and going on: the tables say which of them is missing.
.venv/installed-bench: requirements-bench.txt .venv/installed
	grep -v '^#' requirements-bench.txt | while read -r peer; do \
	    $(BIN)/pip install --disable-pip-version-check --quiet "$$peer" || true; \
	done
	touch $@

# In a place of its own, so that what it needs is not mixed with what is audited.
.venv/audit/installed: | .venv/bin/python
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/pip install --disable-pip-version-check --quiet 'pip-audit>=2.7,<3'
	touch $@
