"""How many neighbours two dimensions and one have in common, in the maximum metric, exactly.

For every sample of a slice: how far its k-th neighbour is in the plane, by the larger of the two
coordinates' differences, and how many samples are nearer than that in each coordinate alone.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled
from .plane import plane_distances
from .sorting import sort_rows

__all__ = ["line_counts", "plane_counts"]


def plane_counts(u, v, k):
    """Samples nearer in u, and in v, than the k-th neighbour is in the plane.

    Parameters
    ----------
    u, v : arrays, shape (n_slices, n)
        The coordinates.
    k : int
        Less than `n`.

    Returns
    -------
    u_counts, v_counts : arrays of int64, shape (n_slices, n)
        With the sample itself, so at least 1. A difference equal to the distance does not count.
    """
    u_values, u_order = sort_rows(u)
    v_values, v_order = sort_rows(v)
    # The root of a rounded square is the number squared: no difference is lost or made.
    distances = np.sqrt(plane_distances(u, v, u_order, np.array([k]), chebyshev=True)[0])
    return line_counts(u_values, u_order, distances), line_counts(v_values, v_order, distances)


def line_counts(values, order, distances):
    """Samples nearer than a distance in one dimension, the sample itself among them.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `sort_rows`.
    distances : array, shape (n_slices, n)
        One distance per sample, in the order of the samples.

    Returns
    -------
    array of int64, shape (n_slices, n)
        In the order of the samples.
    """
    counts = np.empty(values.shape, np.int64)
    _line_rows(values, order, distances, counts)
    return counts


@compiled
def _line_rows(values, order, distances, counts):
    n = values.shape[1]
    for s in range(values.shape[0]):
        row = values[s]
        below = above = 1
        for i in range(n):
            distance = distances[s, order[s, i]]
            below = _n_nearer(row, i, -1, i, distance, below)
            above = _n_nearer(row, i, 1, n - 1 - i, distance, above)
            counts[s, order[s, i]] = 1 + below + above


@compiled
def _n_nearer(row, i, side, n_beside, distance, guess):
    """How many of the values on one side of row[i] are nearer; halved without branching.

    Seldom more than twice the guess: then the search is shorter.
    """
    point = row[i]
    likely = 2 * guess + 8
    if likely < n_beside and not abs(row[i + side * likely] - point) < distance:
        n_beside = likely
    found, left = 0, n_beside + 1
    while left > 1:
        half = left >> 1
        # Differences are compared, not sums: exact for the neighbour whose difference the
        # distance is.
        found += half * (abs(row[i + side * (found + half)] - point) < distance)
        left -= half
    return found
