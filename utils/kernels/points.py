"""New points among the values of a row: neighbours of each class, counts, and tables of them.

Points come in ascending order, so that the window of a point's k nearest values only moves up.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled
from .side_by_side import TOGETHER, count_below_points

__all__ = ["add_interpolated", "class_distances_to_points", "counts_around_points"]

# Of the distance to a neighbour, which is not nearer than itself however it is rounded.
_STRICTLY_NEARER = 1.0 - 1e-12


def class_distances_to_points(
    values: np.ndarray,
    order: np.ndarray,
    codes: np.ndarray,
    sizes: np.ndarray,
    points: np.ndarray,
    rank: int,
) -> np.ndarray:
    """Distances from points to their neighbours among the values of each class.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `sort_rows`.
    codes : array of integers, shape (n,)
        The class of each sample, from 0.
    sizes : array of int64, shape (n_classes,)
        Samples per class, each at least `rank`.
    points : array, shape (n_slices, n_points)
        Ascending rows.
    rank : int
        Which neighbour: 1 is the nearest.

    Returns
    -------
    array, shape (n_slices, n_classes, n_points)
    """
    distances = np.empty((len(values), len(sizes), points.shape[1]))
    _distance_rows(values, order, codes, sizes, points, rank, distances)
    return distances


def counts_around_points(
    values: np.ndarray, points: np.ndarray, distances: np.ndarray
) -> np.ndarray:
    """How many values are nearer to each point than its distances.

    Parameters
    ----------
    values : array, shape (n_slices, n)
        Ascending rows.
    points : array, shape (n_slices, n_points)
    distances : array, shape (n_slices, n_classes, n_points)

    Returns
    -------
    array of int64, shape (n_slices, n_classes, n_points)
    """
    counts = np.empty(distances.shape, np.int64)
    _count_rows(values, points, distances, counts)
    return counts


@compiled
def _distance_rows(values, order, codes, sizes, points, rank, distances):
    n = values.shape[1]
    starts = np.cumsum(sizes) - sizes
    grouped = np.empty(n)
    for s in range(len(values)):
        ends = starts.copy()
        for i in range(n):
            code = codes[order[s, i]]
            grouped[ends[code]] = values[s, i]
            ends[code] += 1
        for code in range(len(sizes)):
            row = grouped[starts[code] : ends[code]]
            first = 0
            for i in range(points.shape[1]):
                point = points[s, i]
                while first + rank < len(row) and row[first + rank] - point < point - row[first]:
                    first += 1
                below, above = point - row[first], row[first + rank - 1] - point
                distances[s, code, i] = max(below, above)


@compiled
def _count_rows(values, points, distances, counts):
    n_slices, n_classes, n_points = distances.shape
    lower, upper = np.empty((2, TOGETHER))
    below, above = np.empty((2, TOGETHER), np.int64)
    for s in range(n_slices):
        for code in range(n_classes):
            for first in range(0, n_points, TOGETHER):
                for lane in range(TOGETHER):
                    # The last group is filled up with the last point.
                    i = min(first + lane, n_points - 1)
                    reach = _STRICTLY_NEARER * distances[s, code, i]
                    lower[lane], upper[lane] = points[s, i] - reach, points[s, i] + reach
                count_below_points(values[s], lower, below)
                count_below_points(values[s], upper, above)
                for lane in range(TOGETHER):
                    counts[s, code, min(first + lane, n_points - 1)] = above[lane] - below[lane]


@compiled
def add_interpolated(
    slices: np.ndarray, knots: np.ndarray, tables: np.ndarray, sums: np.ndarray
) -> None:
    """Add to `sums` what tables say of the values of slices, linear between their knots.

    Beyond the first and the last knot a table goes on as it ends.

    Parameters
    ----------
    slices : array, shape (n_slices, n)
    knots : array, shape (n_slices, n_knots)
        Ascending rows, without equal numbers.
    tables : array, shape (n_slices, n_knots, n_classes)
    sums : array, shape (n, n_classes)
    """
    n = slices.shape[1]
    below, shares = np.empty(n, np.int64), np.empty(n, np.float32)
    for s in range(len(slices)):
        _place_among_knots(slices[s], knots[s], below, shares)
        table = tables[s]
        for i in range(n):
            lower, upper = table[below[i]], table[below[i] + 1]
            for c in range(sums.shape[1]):
                sums[i, c] += lower[c] + shares[i] * (upper[c] - lower[c])


@compiled
def _place_among_knots(values, knots, below, shares):
    """The knot below each value, and how far it is to the next one, from 0 to 1."""
    n = len(values)
    found, points = np.empty(TOGETHER, np.int64), np.empty(TOGETHER)
    for first in range(0, n, TOGETHER):
        for lane in range(TOGETHER):
            # The last group is filled up with the last value.
            points[lane] = values[min(first + lane, n - 1)]
        count_below_points(knots[1:-1], points, found)
        for lane in range(TOGETHER):
            place, knot = min(first + lane, n - 1), knots[found[lane]]
            share = (points[lane] - knot) / (knots[found[lane] + 1] - knot)
            below[place] = found[lane]
            # Of the tables' own precision, so that vectors hold more of them.
            shares[place] = min(max(share, 0.0), 1.0)
