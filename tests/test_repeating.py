"""The same seed gives the same bits, wherever and however often it is asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG

import utils.smi
from utils import WKL, sliced_mutual_information

ROOT = Path(__file__).resolve().parents[1]


def fingerprint(result):
    numbers = np.concatenate([[result.value, result.std_error], result.per_slice, result.pointwise])
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def measured():
    """Continuous data, labels, and data with ties; several blocks of slices each."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((700, 30))
    y = x[:, :4] + rng.standard_normal((700, 4))
    tied = x.copy()
    tied[:5] = x[0]  # fewer equal rows than there is a warning for
    options = {"n_projections": 250, "rng": 1, "estimator": WKL(5)}
    return [
        fingerprint(sliced_mutual_information(x, y, **options)),
        fingerprint(sliced_mutual_information(x, np.arange(700) % 3, y_discrete=True, **options)),
        fingerprint(sliced_mutual_information(tied, y, **options)),
    ]


@pytest.fixture(scope="module")
def expected():
    return measured()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_number_of_threads_changes_nothing(n_threads, expected, monkeypatch):
    monkeypatch.setattr(utils.smi.joblib, "cpu_count", lambda: n_threads)
    assert measured() == expected


def test_the_block_size_changes_nothing_but_the_order_of_sums(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 300, 5))
    results = []
    for block in (300, 7 * 300, 2**16):
        monkeypatch.setattr(utils.smi, "_BLOCK", block)
        results.append(sliced_mutual_information(x, y, n_projections=250, rng=1))
    for result in results[1:]:
        # A projection is a sum of 5 products, in an order that follows the block's shape: 1e-15 in
        # a distance, and no distance here is below 1e-6 of the spread.
        np.testing.assert_allclose(result.per_slice, results[0].per_slice, rtol=0, atol=1e-9)
        np.testing.assert_allclose(result.pointwise, results[0].pointwise, rtol=0, atol=1e-9)


FRESH = "import test_repeating; print(*test_repeating.measured())"


def fresh_process(**environment):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", FRESH],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_many_fresh_processes_at_once_measure_the_same(expected, tmp_path):
    # In the long run they also compile, all at once and into one cache.
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if LONG else {}
    n_processes = 10 if LONG else 4
    processes = [
        fresh_process(OPENBLAS_NUM_THREADS=str(1 + i % 2), **cache) for i in range(n_processes)
    ]
    for process in processes:
        out, error = process.communicate(timeout=1800)
        assert process.returncode == 0, error[-3000:]
        assert out.split() == expected


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_many_calls_leave_the_memory_as_it_was():
    n_calls = 1000 if LONG else 200
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 1000, 3))
    labels = np.arange(1000) % 2
    after = []
    for i in range(n_calls + 20):
        discrete = i % 2 == 1
        sliced_mutual_information(
            x, labels if discrete else y, y_discrete=discrete, n_projections=10, rng=i
        )
        if i >= 20:
            after.append(resident_megabytes())
    # One call works on arrays of 80 kB. Left behind at every call, they would be 16 MB.
    assert after[-1] - after[0] < 8
