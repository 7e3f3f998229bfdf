"""The same call on one core and on more."""

from __future__ import annotations

import os
from functools import partial
from statistics import median

import joblib

from utils import WKL, sliced_mutual_information
from utils.synthetic import CorrelatedNormal

from .timing import markdown, three_digits, wall_seconds

COUNTS = (1, 2, 4, 8, 16, 32)
REPEATS = 11
CASES = ((3_000, 10, 2000), (10_000, 100, 1000), (100_000, 10, 100))


def seconds_of(estimate, n_threads):
    # joblib reads the variable at every call; beyond the cores there are it has no effect.
    os.environ["LOKY_MAX_CPU_COUNT"] = str(n_threads)
    seconds = wall_seconds(estimate)
    del os.environ["LOKY_MAX_CPU_COUNT"]
    return seconds


def table():
    """Seconds of a whole `sliced_mutual_information`, projections included, and the speed-up."""
    counts = [count for count in COUNTS if count <= joblib.cpu_count()]
    rows = []
    for n, dim, n_projections in CASES:
        x, y = CorrelatedNormal(2.0, dim, dim, rng=0).sample(n, rng=1)
        estimate = partial(
            sliced_mutual_information, x, y, estimator=WKL(5), n_projections=n_projections, rng=0
        )
        estimate()
        # In turns: a machine that others use is now faster and now slower.
        rounds = [[seconds_of(estimate, count) for count in counts] for _ in range(REPEATS)]
        seconds = [median(times) for times in zip(*rounds, strict=True)]
        cells = [f"{three_digits(time)} s ({seconds[0] / time:.2f}x)" for time in seconds]
        rows.append([f"{n:,}", dim, n_projections, *cells])
    header = ["n", "dimensions", "projections", *(f"threads: {count}" for count in counts)]
    return markdown(header, rows)
