"""Distances to the nearest neighbours in one dimension.

The j nearest neighbours of a point are j + 1 consecutive values of the sorted row, the point among
them. So the distance to the j-th is the least, over the j + 1 windows that hold the point, of the
distance to the window's farther end. For neighbours of the same class the sorted row is dealt out
to the classes, each of which comes out sorted; they lie one after the other in one row, separated
by infinities, and one pass finds the neighbours of all.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled

__all__ = ["class_distances", "class_ratios", "line_distances"]


def line_distances(values: np.ndarray, order: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Distances to the nearest neighbours in one dimension.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `sort_rows`.
    ranks : array of int64
        Which neighbours: 1 is the nearest. Each less than `n`.

    Returns
    -------
    array, shape (len(ranks), n_slices, n)
        In the order of the samples, not of the sorted row.
    """
    distances = np.empty((len(ranks), *values.shape))
    _line_rows(values, order, ranks, distances)
    return distances


def class_distances(
    values: np.ndarray,
    order: np.ndarray,
    labels: np.ndarray,
    class_sizes: np.ndarray,
    ranks: np.ndarray,
) -> np.ndarray:
    """Distances to the nearest neighbours of the same class in one dimension.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `sort_rows`.
    labels : array of integers, shape (n,)
        The class of each sample, from 0. They are read in random order: the fewer bytes each
        has, the faster.
    class_sizes : array of int64
        Samples per class; each more than the largest rank.
    ranks : array of int64
        Which neighbours: 1 is the nearest.

    Returns
    -------
    array, shape (len(ranks), n_slices, n)
        In the order of the samples.
    """
    distances = np.empty((len(ranks), *values.shape))
    _class_rows(values, order, labels, class_sizes, ranks, False, distances)
    return distances


def class_ratios(
    values: np.ndarray,
    order: np.ndarray,
    labels: np.ndarray,
    class_sizes: np.ndarray,
    ranks: np.ndarray,
) -> np.ndarray:
    """Distances to the nearest neighbours of any class, over those of the same class.

    Parameters and shape of the result as for `class_distances`.
    """
    ratios = np.empty((len(ranks), *values.shape))
    _class_rows(values, order, labels, class_sizes, ranks, True, ratios)
    return ratios


@compiled
def _line_rows(values, order, ranks, distances):
    nearest = np.empty(values.shape[1])
    for s in range(values.shape[0]):
        for r in range(len(ranks)):
            _line(values[s], ranks[r], nearest)
            for i in range(len(nearest)):
                distances[r, s, order[s, i]] = nearest[i]


@compiled
def _class_rows(values, order, labels, class_sizes, ranks, relative, found):
    n = values.shape[1]
    n_padding = ranks.max()
    ends = np.cumsum(n_padding + class_sizes)
    grouped = np.empty(ends[-1] + n_padding)
    grouped[:n_padding] = np.inf
    for end in ends:
        grouped[end : end + n_padding] = np.inf
    within = np.empty(len(grouped))
    nearest = np.empty(n)
    places = np.empty(n, np.int32)
    for s in range(values.shape[0]):
        _deal_to_classes(order[s], labels, ends - class_sizes, places)
        # Not in the loop that deals: there the next count could not be read before it is known
        # where this value goes, as far as the processor can tell.
        for i in range(n):
            grouped[places[i]] = values[s, i]
        for r in range(len(ranks)):
            _inner_line(grouped, ranks[r], within)
            if relative:
                _line(values[s], ranks[r], nearest)
                _scatter_ratios(nearest, within, places, order[s], found[r, s])
            else:
                for i in range(n):
                    found[r, s, order[s, i]] = within[places[i]]


@compiled
def _deal_to_classes(order, labels, starts, places):
    for i in range(len(order)):
        label = labels[order[i]]
        places[i] = starts[label]
        starts[label] += 1


@compiled
def _scatter_ratios(nearest, within, places, order, ratios):
    for i in range(len(order)):
        ratios[order[i]] = nearest[i] / within[places[i]]


@compiled
def _line(values, rank, nearest):
    n = len(values)
    _inner_line(values, rank, nearest)
    for end in range(2 * rank):
        i = end if end < rank else n + rank - 1 - end
        best = np.inf
        for first in range(max(0, i - rank), min(i, n - 1 - rank) + 1):
            best = min(best, max(values[i] - values[first], values[first + rank] - values[i]))
        nearest[i] = best


@compiled
def _inner_line(values, rank, nearest):
    """Distances of all but the first and last `rank` values."""
    n = len(values) - 2 * rank
    points, best = values[rank : rank + n], nearest[rank : rank + n]
    # Two windows a pass, the last one twice if their number is odd.
    for below in range(0, rank + 1, 2):
        other = min(below + 1, rank)
        first, last = values[rank - below :], values[2 * rank - below :]
        other_first, other_last = values[rank - other :], values[2 * rank - other :]
        for i in range(n):
            down, up = abs(points[i] - first[i]), last[i] - points[i]
            farther = down if down > up else up
            down, up = abs(points[i] - other_first[i]), other_last[i] - points[i]
            other_farther = down if down > up else up
            nearer = farther if farther < other_farther else other_farther
            best[i] = nearer if below == 0 or nearer < best[i] else best[i]
