# make figures                  run the four notebooks at small size; output in results/quick
# make figures PROFILE=paper    run them at full size; hours, resumes if interrupted; results/paper
# make notebooks                run the notebooks in place, as they are committed
# make lint                     check style and types
# make test                     run the tests that take seconds
# make test-long                run the tests that take longer
# make fuzz                     run the tests of bad input and of interruption at length; an hour
# make soak                     call all functions from threads and processes that are killed, for
#                               MINUTES=30; no wrong number, no leak, no hang
# make browser                  run the notebooks in JupyterLab in a real browser, and move the
#                               sliders; screenshots in results/browser; needs Chromium
# make bench                    compare time and memory with other libraries; benchmarks/results.md
# make audit                    look up known vulnerabilities of the installed packages; fails, and
#                               says so, if the database cannot be reached
# make help                     print this
#
# Every target installs what it needs into .venv. Options:
#   PYTHON=python3.12           the Python to make .venv with, 3.11 or newer
#   CHROMIUM=/path/to/chromium  the browser of `make browser`, if it is not found
#   TORCH_INDEX=URL             take PyTorch from this package index. PyTorch's CPU index (see
#                               pytorch.org/get-started) saves 5 GB where there is no NVIDIA card.

PYTHON ?= python3
PROFILE ?= quick
MINUTES ?= 30
TORCH_INDEX ?=
CHROMIUM ?=
NOTEBOOKS := $(wildcard $(addsuffix .ipynb, Synthetic_tests_SMI MNIST-SMI MNIST-AEMI Plotting_MI_SMI))
EXAMPLES := $(wildcard examples/*.ipynb)
BIN := .venv/bin
PIP := $(BIN)/pip install --disable-pip-version-check --quiet

.PHONY: figures notebooks lint test test-long fuzz soak browser bench audit help

figures: .venv/installed
	$(BIN)/python .ci/figures.py $(PROFILE) $(NOTEBOOKS)
	@echo "Figures and results are in results/$(PROFILE)"

notebooks: .venv/installed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace $(NOTEBOOKS) $(EXAMPLES)
	$(BIN)/python .ci/static_outputs.py $(NOTEBOOKS) $(EXAMPLES)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy utils

# One process per core, four at most, each with one thread for PyTorch and BLAS. A file stays in one
# process, which prepares what its tests share once. The cluster has the machine to itself.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile \
	    --ignore tests/test_cluster.py
	$(BIN)/python -m pytest tests/test_cluster.py

test-long: .venv/installed-dev
	$(BIN)/python -m pytest -m long

fuzz: .venv/installed-dev
	SMI_TESTS=long $(BIN)/python -m pytest -m "long or not long" \
	    tests/test_fuzz.py tests/test_hostile_files.py tests/test_interruption.py \
	    tests/test_repeating.py

soak: .venv/installed
	PYTHONPATH=. $(BIN)/python tests/soak.py --minutes $(MINUTES)

browser: .venv/installed-browser
	CHROMIUM=$(CHROMIUM) $(BIN)/python .ci/browser.py

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

audit: .venv/installed .venv/audit/installed
	$(BIN)/python .ci/audit.py .venv/audit/bin/pip-audit \
	    "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# With TORCH_INDEX, PyTorch comes first, and nothing that follows replaces it.
.venv/installed: requirements.txt | .venv/bin/python
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) $$(grep '^torch' requirements.txt))
	$(PIP) -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PIP) -r requirements-dev.txt
	touch $@

.venv/installed-browser: requirements-browser.txt .venv/installed
	$(PIP) -r requirements-browser.txt
	touch $@

# One at a time, so that those that cannot be installed do not stop the others.
.venv/installed-bench: requirements-bench.txt .venv/installed
	grep -v '^#' requirements-bench.txt | while read -r peer; do $(PIP) "$$peer" || true; done
	touch $@

# In an environment of its own, to keep what it needs apart from what it audits.
.venv/audit/installed: | .venv/bin/python
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/pip install --disable-pip-version-check --quiet 'pip-audit>=2.7,<3'
	touch $@
