"""How long the first call takes: after the installation, and in a later process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .timing import markdown, three_digits

ROOT = Path(__file__).resolve().parents[1]
FIRST_CALLS = """
import time
start = time.perf_counter()
import numpy as np
from utils import WKL, Copula, sliced_mutual_information
times = [time.perf_counter() - start]
x = np.random.default_rng(0).standard_normal((3000, 5))
labels = np.arange(3000) % 10
for estimator, y in ((Copula(), x**2), (Copula(), labels), (WKL(25), x**2)):
    start = time.perf_counter()
    sliced_mutual_information(
        x, y, estimator=estimator, n_projections=100, y_discrete=y is labels, rng=0
    )
    times.append(time.perf_counter() - start)
print(*times)
"""


def first_calls(cache):
    """Seconds of the import and of the first call of each kind in a new process."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [f"{three_digits(float(seconds))} s" for seconds in finished.stdout.split()]


def table():
    """Seconds until the first results, with an empty cache and with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        rows = [["empty", *first_calls(cache)], ["full", *first_calls(cache)]]
    header = [
        "cache",
        "import utils",
        "first call",
        "first with labels",
        "first of WKL(25)",
    ]
    return markdown(header, rows)
