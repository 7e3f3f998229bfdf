"""The same seed gives the same bits, wherever and however often it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import LONG
from elsewhere import measured

import utils.estimators
import utils.slicing
import utils.smi
from utils import WKL, SMICompressor, independence_test, sliced_mutual_information

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def expected():
    return measured()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_number_of_threads_changes_nothing(n_threads, expected, monkeypatch):
    monkeypatch.setattr(utils.smi.joblib, "cpu_count", lambda: n_threads)
    assert measured() == expected


@pytest.mark.parametrize("slices_in_block", [1, 5, 10**6])
def test_the_block_size_changes_nothing(slices_in_block, expected, monkeypatch):
    utils.smi._null_variances.cache_clear()
    for module in (utils.smi, utils.estimators):
        monkeypatch.setattr(module, "_BLOCK", 300 * slices_in_block)
    try:
        assert measured() == expected
    finally:
        utils.smi._null_variances.cache_clear()


class Looks:
    """An estimator that only notes how many threads a matrix product may take."""

    k = 1

    def __init__(self):
        self.seen = set()

    def slice_terms(self, x, y):
        pools = utils.slicing._thread_pools().select(user_api="blas").info()
        self.seen |= {pool["num_threads"] for pool in pools}
        return np.zeros((1, *x.shape))

    def by_rule(self, results):
        return results[0]


def test_a_matrix_product_takes_one_thread():
    # More of them may sum in another way, on some machines and for some shapes.
    x, y = np.random.default_rng(0).standard_normal((2, 50, 3))
    looks = Looks()
    with utils.slicing._thread_pools().limit(limits=3, user_api="blas"):
        independence_test(x, y, estimator=looks, n_projections=2, n_permutations=1, rng=0)
    assert looks.seen == {1}


def test_full_dimension_and_compressors_do_not_depend_on_the_threads_of_a_product():
    x, y = np.random.default_rng(0).standard_normal((2, 500, 30))
    seen = set()
    for n_threads in (1, 2, 3):
        with utils.slicing._thread_pools().limit(limits=n_threads, user_api="blas"):
            # These weights multiply what rounding leaves, and so show it.
            estimate = WKL(weights="mutinfo").mutual_information(x, y)
            slices = SMICompressor(30, 100, rng=0)(x)
        seen.add((estimate, slices.tobytes()))
    assert len(seen) == 1


FRESH = "import elsewhere; print(*elsewhere.measured())"


def in_a_fresh_process(command, **environment):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_many_fresh_processes_and_a_notebook_at_once_measure_the_same(expected, tmp_path):
    # In the long run they also compile, all at once and into one cache.
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if LONG else {}
    n_processes = 10 if LONG else 2
    processes = [
        in_a_fresh_process(["-c", FRESH], OPENBLAS_NUM_THREADS=str(1 + i % 2), **cache)
        for i in range(n_processes)
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FRESH)])
    nbformat.write(notebook, tmp_path / "given.ipynb")
    files = [str(tmp_path / name) for name in ("given.ipynb", "run.ipynb")]
    processes.append(in_a_fresh_process(["-m", "papermill", *files, "--kernel", "python3"]))
    said = []
    for process in processes:
        out, error = process.communicate(timeout=1800)
        assert process.returncode == 0, error[-3000:]
        said.append(out)
    said[-1] = nbformat.read(files[1], as_version=4).cells[-1].outputs[0].text
    assert [text.split() for text in said] == [expected] * len(processes)


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_many_calls_leave_the_memory_as_it_was():
    n_calls = 1000 if LONG else 100
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 2000, 3))
    labels = np.arange(2000) % 2
    after = []
    for i in range(n_calls + 20):
        discrete = i % 2 == 1
        sliced_mutual_information(
            x, labels if discrete else y, y_discrete=discrete, n_projections=10, rng=i
        )
        if i >= 20:
            after.append(resident_megabytes())
    # One call works on arrays of 160 kB. Left behind at every call, they would be 16 MB.
    assert after[-1] - after[0] < 8
