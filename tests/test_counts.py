"""The counts in the maximum metric are those of comparing all pairs."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from utils.kernels.counts import line_counts, plane_counts
from utils.kernels.sorting import sort_rows

ROWS = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
    "clusters": lambda rng, *shape: (
        rng.choice(rng.standard_normal(10), shape) + 1e-6 * rng.standard_normal(shape)
    ),
    "integers": lambda rng, *shape: rng.integers(-5, 6, shape).astype(float),
    "all equal": lambda rng, *shape: np.full(shape, 0.3),
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(
    ("n", "k"), [(2, 1), (6, 5), (9, 1), (33, 5), (100, 30), (500, 5), (500, 25)]
)
def test_counts_are_those_of_comparing_all_pairs(kind, n, k):
    rng = np.random.default_rng([n, k])
    u, v = ROWS[kind](rng, 3, n), ROWS[kind](rng, 3, n)
    v[1] = u[1] + 1e-3 * v[1]
    got = plane_counts(u, v, k)
    for s in range(3):
        expected = naive.chebyshev_counts([u[s][:, None], v[s][:, None]], k)
        np.testing.assert_array_equal(got[0][s], expected[0])
        np.testing.assert_array_equal(got[1][s], expected[1])


def test_a_value_at_the_very_distance_does_not_count():
    values, order = sort_rows(np.array([[3.0, 0.0, 1.0, 2.0]]))
    counts = line_counts(values, order, np.array([[1.0, 2.0, 1.5, 0.0]]))
    np.testing.assert_array_equal(counts, [[1, 2, 3, 1]])
