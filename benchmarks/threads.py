"""The same call on one core and on more."""

from __future__ import annotations

import os
from functools import partial
from statistics import median

import joblib

from utils import WKL, Copula, sliced_mutual_information
from utils.synthetic import CorrelatedNormal

from .rows import name_of
from .timing import markdown, three_digits, wall_seconds

COUNTS = (1, 2, 4, 8, 16, 32)
REPEATS = 11
CASES = ((3_000, 10, 2000), (3_000, 100, 2000), (10_000, 100, 1000), (100_000, 10, 100))


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
        calls = {
            name_of(estimator): partial(
                sliced_mutual_information,
                x,
                y,
                estimator=estimator,
                n_projections=n_projections,
                rng=0,
            )
            for estimator in (Copula(), WKL())
        }
        for call in calls.values():
            call()
        # In turns: a machine that others use is now faster and now slower.
        rounds = [
            [seconds_of(call, count) for call in calls.values() for count in counts]
            for _ in range(REPEATS)
        ]
        medians = iter([median(times) for times in zip(*rounds, strict=True)])
        for name in calls:
            seconds = [next(medians) for _ in counts]
            cells = [f"{three_digits(time)} s ({seconds[0] / time:.2f}x)" for time in seconds]
            rows.append([f"{n:,}", dim, n_projections, name, *cells])
    header = ["n", "dimensions", "projections", "estimator"]
    return markdown([*header, *(f"threads: {count}" for count in counts)], rows)
