"""How many neighbours two dimensions and one have in common, in the maximum metric, exactly.

For every sample of a slice: how far its k-th neighbour is in the plane, by the larger of the two
coordinates' differences, and how many samples are nearer than that in each coordinate alone. Points
are cut into strips by u, with equal counts, and sorted by v within a strip. The neighbours of a
point are looked for up and down its own strip, then up and down the strips beside it, each for as
long as a candidate could still be nearer than the k-th found.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .neighbors import sort_rows

__all__ = ["line_counts", "plane_counts"]

_compiled = njit(cache=True, nogil=True, error_model="numpy")


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
    distances = np.empty(u.shape)
    _plane_rows(u, v, u_order, v_order, k, distances)
    return line_counts(u_values, u_order, distances), line_counts(v_values, v_order, distances)


def line_counts(values, order, distances):
    """Samples nearer than a distance in one dimension, the sample itself among them.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `neighbors.sort_rows`.
    distances : array, shape (n_slices, n)
        A distance a sample, in the order of the samples.

    Returns
    -------
    array of int64, shape (n_slices, n)
        In the order of the samples.
    """
    counts = np.empty(values.shape, np.int64)
    _line_rows(values, order, distances, counts)
    return counts


@_compiled
def _line_rows(values, order, distances, counts):
    n = values.shape[1]
    for s in range(values.shape[0]):
        row = values[s]
        for i in range(n):
            distance = distances[s, order[s, i]]
            # Differences are compared, not sums: exact for the neighbour whose difference the
            # distance is.
            counts[s, order[s, i]] = (
                1 + _n_nearer(row, i, -1, i, distance) + _n_nearer(row, i, 1, n - 1 - i, distance)
            )


@_compiled
def _n_nearer(row, i, side, n_beside, distance):
    """How many of the values on one side of row[i] are nearer; halved without branching."""
    point = row[i]
    found, left = 0, n_beside + 1
    while left > 1:
        half = left >> 1
        found += half * (abs(row[i + side * (found + half)] - point) < distance)
        left -= half
    return found


@_compiled
def _plane_rows(u, v, u_order, v_order, k, distances):
    n_slices, n = u.shape
    n_strips = max(1, int(math.sqrt(n / (k + 3.0))))
    starts = np.empty(n_strips + 1, np.int64)
    for s in range(n_strips + 1):
        starts[s] = s * n // n_strips
    strip_of = np.empty(n, np.int64)
    filled = np.empty(n_strips, np.int64)
    strip_u, strip_v = np.empty(n), np.empty(n)
    members = np.empty(n, np.int64)
    for row in range(n_slices):
        for s in range(n_strips):
            filled[s] = starts[s]
            for i in range(starts[s], starts[s + 1]):
                strip_of[u_order[row, i]] = s
        # Dealt out in ascending v, each strip comes out sorted by v.
        for i in range(n):
            sample = v_order[row, i]
            place = filled[strip_of[sample]]
            filled[strip_of[sample]] += 1
            strip_u[place], strip_v[place] = u[row, sample], v[row, sample]
            members[place] = sample
        _search_strips(strip_u, strip_v, members, starts, k, distances[row])


@_compiled
def _search_strips(u, v, members, starts, k, distances):
    n_strips = len(starts) - 1
    u_min, u_max = np.empty(n_strips), np.empty(n_strips)
    for s in range(n_strips):
        u_min[s] = u[starts[s] : starts[s + 1]].min()
        u_max[s] = u[starts[s] : starts[s + 1]].max()
    nearest = np.empty(k)
    # Where a point's v would stand in each strip; points come in ascending v.
    cursor = np.empty(n_strips, np.int64)
    for strip in range(n_strips):
        cursor[:] = starts[:-1]
        for i in range(starts[strip], starts[strip + 1]):
            nearest[:] = np.inf
            _walk(u, v, i, i + 1, starts[strip + 1], 1, nearest)
            _walk(u, v, i, i - 1, starts[strip] - 1, -1, nearest)
            for side in (-1, 1):
                s = strip + side
                while 0 <= s < n_strips:
                    gap = u_min[s] - u[i] if side == 1 else u[i] - u_max[s]
                    if gap >= nearest[k - 1]:
                        break
                    while cursor[s] < starts[s + 1] and v[cursor[s]] < v[i]:
                        cursor[s] += 1
                    _walk(u, v, i, cursor[s], starts[s + 1], 1, nearest)
                    _walk(u, v, i, cursor[s] - 1, starts[s] - 1, -1, nearest)
                    s += side
            distances[members[i]] = nearest[k - 1]


@_compiled
def _walk(u, v, i, start, stop, step, nearest):
    """Offer points from `start` on to the list of the least distances from point i."""
    last = len(nearest) - 1
    for candidate in range(start, stop, step):
        dv = abs(v[candidate] - v[i])
        if dv >= nearest[last]:
            return
        distance = max(dv, abs(u[candidate] - u[i]))
        if distance < nearest[last]:
            place = last
            while place > 0 and nearest[place - 1] > distance:
                nearest[place] = nearest[place - 1]
                place -= 1
            nearest[place] = distance
