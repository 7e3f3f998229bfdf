"""Peak memory of a million samples, read from memory maps."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .timing import markdown, three_digits

ROOT = Path(__file__).resolve().parents[1]
N, DIM, N_PROJECTIONS = 1_000_000, 100, 64
N_THREADS = 2
ROWS = 10_000  # written at a time

MEASURE = """
import re, sys, time
from pathlib import Path
import numpy as np
from utils import WKL, sliced_mutual_information

def peak():  # not getrusage: that begins with the peak of the process that started this one
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search("VmHWM:[^0-9]*([0-9]+) kB", status)[1])

x_path, y_path, n, dim, n_projections = *sys.argv[1:3], *map(int, sys.argv[3:])
small = np.random.default_rng(0).standard_normal((2, 100, 3))
sliced_mutual_information(*small, estimator=WKL(5), n_projections=2)
before = peak()
x, y = (np.memmap(path, np.float32, "r", shape=(n, dim)) for path in (x_path, y_path))
start = time.perf_counter()
smi = sliced_mutual_information(x, y, estimator=WKL(5), n_projections=n_projections, rng=0)
print(peak() - before, time.perf_counter() - start, smi.value)
"""


def write_samples(x_path, y_path, n, dim, correlation=0.5):
    """Normal samples of correlated components, as raw float32, a few rows at a time."""
    rng = np.random.default_rng(0)
    with open(x_path, "wb") as x_file, open(y_path, "wb") as y_file:
        for start in range(0, n, ROWS):
            x, noise = rng.standard_normal((2, min(ROWS, n - start), dim), np.float32)
            x.tofile(x_file)
            (correlation * x + np.sqrt(1 - correlation**2, dtype=np.float32) * noise).tofile(y_file)


def peak_memory(n, dim, n_projections):
    """Bytes that a new process needs beyond what it has after a small call, and seconds.

    The pages of the inputs that were read count among them. Linux only.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("x", "y")]
        write_samples(*paths, n, dim)
        finished = subprocess.run(
            [sys.executable, "-c", MEASURE, *paths, str(n), str(dim), str(n_projections)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "LOKY_MAX_CPU_COUNT": str(N_THREADS)},
            capture_output=True,
            text=True,
            check=True,
        )
    peak, seconds, _ = map(float, finished.stdout.split())
    return peak, seconds


def table():
    """The peak in GB, the pages of the mapped inputs among it."""
    header = ["n", "dimensions", "projections", "inputs", "peak, inputs included", "time"]
    row = [f"{N:,}", DIM, N_PROJECTIONS, f"{2 * N * DIM * 4 / 1e9:.2f} GB"]
    if not Path("/proc/self/status").exists():
        return markdown(header, [[*row, "measured on Linux only", ""]])
    peak, seconds = peak_memory(N, DIM, N_PROJECTIONS)
    return markdown(header, [[*row, f"{peak / 1e9:.2f} GB", f"{three_digits(seconds)} s"]])
