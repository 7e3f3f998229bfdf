"""Sorted rows, with the place that every value came from.

Sorting numbers is several times cheaper than sorting positions (argsort). So a value is turned into
an unsigned integer of the same order, whose last bits, as many as it takes, hold the sample's
index: one sort of integers, which NumPy vectorises, gives both. Values that the remaining bits do
not tell apart may come out in the wrong order; a pass over the sorted row puts them right.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled

__all__ = ["index_mask", "sort_equal_keys", "sort_key", "sort_rows"]

_SIGN_BIT = np.uint64(1 << 63)


def sort_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row, and say where every value came from.

    Parameters
    ----------
    rows : array, shape (n_slices, n), float64

    Returns
    -------
    values : array, shape (n_slices, n)
        The rows in ascending order.
    order : array of int64, shape (n_slices, n)
        `values[s, i] == rows[s, order[s, i]]`.
    """
    rows = np.ascontiguousarray(rows, float)
    mask = index_mask(rows.shape[1])
    keys = np.empty(rows.shape, np.uint64)
    _pack(rows, mask, keys)
    keys.sort(axis=1)
    values = np.empty(rows.shape)
    order = np.empty(rows.shape, np.int64)
    _unpack(rows, keys, mask, values, order)
    return values, order


def index_mask(n: int) -> np.uint64:
    """The last bits of a key, as many as indices below `n` take."""
    return np.uint64((1 << (n - 1).bit_length()) - 1)


@compiled
def sort_key(bits, index, mask):
    """An integer in the order of the float64 with these bits, its last bits replaced by `index`."""
    # Negative numbers: all bits flipped; others: the sign bit set.
    flip = (np.uint64(0) - (bits >> np.uint64(63))) | _SIGN_BIT
    return ((bits ^ flip) & ~mask) | np.uint64(index)


@compiled
def _pack(rows, mask, keys):
    for s in range(rows.shape[0]):
        bits = rows[s].view(np.uint64)
        for i in range(rows.shape[1]):
            keys[s, i] = sort_key(bits[i], i, mask)


@compiled
def _unpack(rows, keys, mask, values, order):
    n = rows.shape[1]
    for s in range(rows.shape[0]):
        for i in range(n):
            index = np.int64(keys[s, i] & mask)
            order[s, i] = index
            values[s, i] = rows[s, index]
        for i in range(1, n):
            if values[s, i] < values[s, i - 1]:
                sort_equal_keys(keys[s], mask, values[s], order[s], i)


@compiled
def sort_equal_keys(keys, mask, values, order, inside):
    """Sort the run of values around `inside` whose keys differ in the index alone."""
    key = keys[inside] | mask
    start = inside
    while start > 0 and keys[start - 1] | mask == key:
        start -= 1
    stop = inside
    while stop < len(keys) and keys[stop] | mask == key:
        stop += 1
    permutation = np.argsort(values[start:stop], kind="mergesort")
    values[start:stop] = values[start:stop][permutation]
    order[start:stop] = order[start:stop][permutation]
