"""New points among the values of a row: neighbours of each class, counts, and tables of them.

Points come in ascending order, so that the window of a point's k nearest values only moves up.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled

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
    for s in range(n_slices):
        for code in range(n_classes):
            for i in range(n_points):
                reach = _STRICTLY_NEARER * distances[s, code, i]
                above = np.searchsorted(values[s], points[s, i] + reach, side="right")
                below = np.searchsorted(values[s], points[s, i] - reach, side="left")
                counts[s, code, i] = above - below


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
    n_knots = knots.shape[1]
    for s in range(len(slices)):
        row, table = knots[s], tables[s]
        for i in range(slices.shape[1]):
            value = slices[s, i]
            below, n_left = 0, n_knots - 1
            while n_left > 1:
                half = n_left >> 1
                below += half * (row[below + half] <= value)
                n_left -= half
            share = (value - row[below]) / (row[below + 1] - row[below])
            # Of the tables' own precision, so that vectors hold more of them.
            share = np.float32(min(max(share, 0.0), 1.0))
            for c in range(sums.shape[1]):
                lower = table[below, c]
                sums[i, c] += lower + share * (table[below + 1, c] - lower)
