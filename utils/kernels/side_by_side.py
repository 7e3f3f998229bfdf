"""Searches by halving, of several points side by side.

Each step of one search waits for the step before, so several at once take little longer than one.
The steps are the same for all, and none depends on a branch, which the processor would mispredict
half of the time.
"""

from __future__ import annotations

import numpy as np

from .compilation import inlined, kernel

__all__ = ["TOGETHER", "count_below_points", "step_if_negative"]

TOGETHER = 16  # points searched for side by side


@inlined
def step_if_negative(step, number):
    """`step` where the number is negative, 0 where it is not; without a branch."""
    return step & (np.float64(number).view(np.int64) >> 63)


@kernel
def count_below_points(values, points, counts):
    """How many of the values, ascending, are below each of `TOGETHER` points."""
    for lane in range(TOGETHER):
        counts[lane] = 0
    n_left = len(values) + 1
    while n_left > 1:
        half = n_left >> 1
        for lane in range(TOGETHER):
            gap = values[counts[lane] + half - 1] - points[lane]
            counts[lane] += step_if_negative(half, gap)
        n_left -= half
