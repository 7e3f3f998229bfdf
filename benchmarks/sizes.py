"""One slice of more and more samples."""

from __future__ import annotations

import numpy as np

from .slices import ball_trees, correlated_slices, ours
from .timing import cpu_milliseconds, markdown, three_digits

SIZES = (3_000, 10_000, 100_000, 1_000_000)
NEIGHBORS = (1, 5, 25)
LARGEST_FOR_TREES = 100_000


def table():
    """Milliseconds a slice of ours, and how many times longer ball trees take."""
    rows = []
    for n in SIZES:
        x, y, _ = correlated_slices(n, n_slices=max(1, 100_000 // n))
        row = [f"{n:,}"]
        for k in NEIGHBORS:
            measure = ours(k)
            measure(x[:1], y[:1])
            milliseconds, values = cpu_milliseconds(lambda measure=measure: measure(x, y))
            milliseconds /= len(x)
            cell = three_digits(milliseconds)
            if n <= LARGEST_FOR_TREES:
                trees, same = cpu_milliseconds(lambda k=k: ball_trees(k)(x[:3], y[:3]), repeats=1)
                # An estimate that is fast and another one says nothing.
                np.testing.assert_allclose(values[:3], same, atol=1e-6)
                cell += f" ({three_digits(trees / len(same) / milliseconds)}x)"
            row.append(cell)
        rows.append(row)
    return markdown(["n", *(f"k = {k}" for k in NEIGHBORS)], rows)
