"""How many neighbours two dimensions and one have in common, in the maximum metric, exactly.

For every sample of a slice: how far its k-th neighbour is in the plane, by the larger of the two
coordinates' differences, and how many samples are nearer than that in each coordinate alone.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled, kernel
from .plane import plane_distances
from .side_by_side import TOGETHER, step_if_negative
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
    # A search is less than 2 n places wide.
    padded = np.full(5 * n, np.inf)
    places, below, above = np.empty((3, TOGETHER), np.int64)
    points, reach = np.empty((2, TOGETHER))
    for s in range(values.shape[0]):
        padded[2 * n : 3 * n] = values[s]
        width_below = width_above = 1
        for first in range(0, n, TOGETHER):
            for lane in range(TOGETHER):
                # The last group is filled up with the last point.
                places[lane] = min(first + lane, n - 1)
                below[lane] = above[lane] = 2 * n + places[lane]
                points[lane] = values[s, places[lane]]
                reach[lane] = distances[s, order[s, places[lane]]]
            width_below = _find_farthest(padded, -1, points, reach, width_below, below)
            width_above = _find_farthest(padded, 1, points, reach, width_above, above)
            for lane in range(TOGETHER):
                counts[s, order[s, places[lane]]] = 1 + above[lane] - below[lane]


@kernel
def _find_farthest(row, side, points, distances, width, places):
    """Move each point's place to the farthest one on a side that is nearer than its distance.

    `width` is a guess of the largest move, a power of two; returns the guess for the next points.
    """
    n_beyond = 0
    while n_beyond < TOGETHER:
        width *= 2
        n_beyond = 0
        for lane in range(TOGETHER):
            gap = abs(row[places[lane] + side * width] - points[lane])
            n_beyond += gap >= distances[lane]
    next_width = max(1, width // 4)
    while width > 1:
        width //= 2
        for lane in range(TOGETHER):
            # Differences are compared, not sums: exact for the neighbour whose difference the
            # distance is.
            gap = abs(row[places[lane] + side * width] - points[lane]) - distances[lane]
            places[lane] += step_if_negative(side * width, gap)
    return next_width
