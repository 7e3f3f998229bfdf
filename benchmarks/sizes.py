"""One slice of more and more samples."""

from __future__ import annotations

import numpy as np

from utils import WKL

from .slices import ball_trees, correlated_slices, ours
from .timing import cpu_milliseconds, markdown, three_digits

SIZES = (3_000, 10_000, 100_000, 1_000_000)
NEIGHBORS = (1, 5, 25)
LARGEST_FOR_TREES = 100_000


def cell(x, y, k):
    """Milliseconds per slice of ours, and in brackets how many times longer ball trees take."""
    measure = ours(WKL(k))
    measure(x[:1], y[:1])
    milliseconds, values = cpu_milliseconds(lambda: measure(x, y))
    milliseconds /= len(x)
    if x.shape[1] > LARGEST_FOR_TREES:
        return three_digits(milliseconds)
    trees, same = cpu_milliseconds(lambda: ball_trees(k)(x[:3], y[:3]), repeats=1)
    # Speed says nothing of another estimate.
    np.testing.assert_allclose(values[:3], same, atol=1e-6)
    return f"{three_digits(milliseconds)} ({three_digits(trees / len(same) / milliseconds)}x)"


def table():
    """A row for each number of samples, a column for each number of neighbours."""
    rows = []
    for n in SIZES:
        x, y, _ = correlated_slices(n, n_slices=max(1, 100_000 // n))
        rows.append([f"{n:,}", *(cell(x, y, k) for k in NEIGHBORS)])
    return markdown(["n", *(f"k = {k}" for k in NEIGHBORS)], rows)
