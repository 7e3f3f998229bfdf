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

import utils.parallel
from utils import WKL, Gaussian, sliced_mutual_information

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def expected():
    return measured()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_number_of_threads_changes_nothing(n_threads, expected, monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: n_threads)
    assert measured() == expected


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


def test_a_fresh_process_measures_the_same(expected):
    process = in_a_fresh_process(["-c", FRESH], OPENBLAS_NUM_THREADS="2")
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error[-3000:]
    assert out.split() == expected


@pytest.mark.long
def test_many_fresh_processes_and_a_notebook_at_once_measure_the_same(expected, tmp_path):
    # With SMI_TESTS=long they also compile, all at once and into one cache.
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if LONG else {}
    n_processes = 10 if LONG else 3
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
            x,
            labels if discrete else y,
            estimator=WKL(5) if discrete else Gaussian(),
            y_discrete=discrete,
            n_projections=10,
            rng=i,
        )
        if i >= 20:
            after.append(resident_megabytes())
    # One call works on arrays of 160 kB. Left behind by every call, they would be 16 MB.
    assert after[-1] - after[0] < 8
