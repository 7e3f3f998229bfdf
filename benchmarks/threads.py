"""The same call on one core and on more."""

from __future__ import annotations

import os

import joblib

from utils import WKL, sliced_mutual_information
from utils.synthetic import CorrelatedNormal

from .timing import markdown, three_digits, wall_seconds

CASES = ((3_000, 10, 2000), (10_000, 100, 1000), (100_000, 10, 100))


def table():
    """Seconds of a whole `sliced_mutual_information`, projections included, and the speed-up."""
    # joblib reads the variable at every call; above the cores there are it has no effect.
    n_cores = joblib.cpu_count()
    counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= n_cores]
    rows = []
    for n, dim, n_projections in CASES:
        x, y = CorrelatedNormal(2.0, dim, dim, rng=0).sample(n, rng=1)
        row = [f"{n:,}", dim, n_projections]
        for count in counts:
            os.environ["LOKY_MAX_CPU_COUNT"] = str(count)
            seconds = wall_seconds(
                lambda x=x, y=y, n_projections=n_projections: sliced_mutual_information(
                    x, y, estimator=WKL(5), n_projections=n_projections, rng=0
                )
            )
            if count == 1:
                alone = seconds
            row.append(f"{three_digits(seconds)} s ({alone / seconds:.2f}x)")
        del os.environ["LOKY_MAX_CPU_COUNT"]
        rows.append(row)
    header = ["n", "dimensions", "projections", *(f"{count} threads" for count in counts)]
    return markdown(header, rows)
