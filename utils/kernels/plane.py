"""Distances to the nearest neighbours in the plane, exactly.

Points are cut into strips by u, with equal counts, and sorted by v within a strip; eight points
that follow each other there are a leaf. The points of a leaf are searched for together, as a group:
their neighbours lie in one common box, the group's own bounding box widened by a radius R. In each
strip that the box touches, the candidates are one run of points. Its ends are found in the ends of
the leaves, and then within the leaf, by comparing eight values at once and counting, since a loop
that stops after a few steps is mispredicted by the processor, which costs more than the steps.
Every candidate is compared with the eight points at once, one point per vector lane
(`plane_simd`). The points of the group are compared with each other by rotating the vector, so that
no point is compared with itself.

Few neighbours: every candidate is put in its place among the k smallest distances of each lane by a
sorting network, min and max all the way down, that lives in registers. Many neighbours: the
distances are kept, and the k-th smallest of each lane is found by counting how many are within a
bound, and narrowing the bound; a count tells the next larger distance too, so ties do no harm.

Why this is exact: a point's k-th distance is right if no point outside the box can be nearer, that
is if it is at most R plus the point's distance to the bounding box's nearest side. If it is more
for some of the eight, the same test says which R would have been enough for the distances found;
true distances are never more than those, so one more pass, over what the smaller box left out,
settles it. R decides the speed only: it follows the distances found in the group before, and
shrinks once the group's own strip has been searched. All this holds for the maximum metric as well.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, inlined, kernel, reduction
from .plane_simd import (
    ABOVE,
    BOUND,
    COUNT,
    FOUND,
    HIGH,
    HIGH_COUNT,
    LANES,
    LOW,
    LOW_COUNT,
    NEXT,
    SHORT_NETWORK,
    UNROLLED,
    compare_with_group,
    compare_within_group,
    count_below,
    count_within,
)
from .sorting import index_mask, sort_equal_keys, sort_key

__all__ = ["plane_distances"]

# Neighbours up to which a network in registers is faster than counting.
_LONGEST_NETWORK = 26
_LINEAR_STEPS = 3  # values between a bracket's lower end and the one looked for: one by one
_COUNTS_BEFORE_HALVING = 12  # five or six counts are usual
_LAST_KEY = np.uint64(2**64 - 1)
_ROUNDING = 2.3e-16
_PADDING = 1e150  # beyond all coordinates; its square is still a number


def plane_distances(
    u: np.ndarray,
    v: np.ndarray,
    u_order: np.ndarray,
    ranks: np.ndarray,
    *,
    chebyshev: bool = False,
) -> np.ndarray:
    """Squared distances to the nearest neighbours in two dimensions.

    Parameters
    ----------
    u, v : arrays, shape (n_slices, n)
        The coordinates.
    u_order : array of int64, shape (n_slices, n)
        From `sort_rows(u)`, or of anything that has the same order.
    ranks : array of int64, ascending
        Which neighbours: 1 is the nearest. Each less than `n`.
    chebyshev : bool
        Measure by the larger of the two coordinates' differences.

    Returns
    -------
    array, shape (len(ranks), n_slices, n)
        Squared distances, in the order of the samples.
    """
    n_slices, n = u.shape
    n_leaves = -(-n // LANES)
    per_strip = max(1, round(math.sqrt(n_leaves)))
    n_strips = -(-n_leaves // per_strip)
    keys = np.full((n_slices, n_strips, per_strip * LANES), _LAST_KEY)
    mask = index_mask(n)
    _pack_strips(v, u_order, mask, keys.reshape(n_slices, -1))
    keys.sort(axis=2)
    squares = np.empty((len(ranks), n_slices, n))
    k = int(ranks[-1])
    levels = (0,) * (k if k <= _LONGEST_NETWORK else 0)
    _plane_rows(
        u,
        v,
        u_order,
        keys.reshape(n_slices, -1),
        mask,
        per_strip,
        ranks,
        levels,
        chebyshev,
        squares,
    )
    return squares


@compiled
def _pack_strips(v, u_order, mask, keys):
    for s in range(v.shape[0]):
        for i in range(v.shape[1]):
            bits = np.float64(v[s, u_order[s, i]]).view(np.uint64)
            keys[s, i] = sort_key(bits, i, mask)


@compiled
def _plane_rows(u, v, u_order, keys, mask, per_strip, ranks, levels, chebyshev, squares):
    n_slices, n = u.shape
    n_padded = keys.shape[1]
    n_leaves = -(-n // LANES)
    n_strips = -(-n_leaves // per_strip)
    # Where the last leaf is not full, points that are nobody's neighbours fill it.
    strip_u = np.full(n_padded, _PADDING)
    strip_v = np.full(n_padded, _PADDING)
    leaf_low = np.full(n_leaves + LANES, np.inf)
    leaf_high = np.full(n_leaves + LANES, np.inf)
    u_min, u_max = np.empty(n_strips), np.empty(n_strips)
    window_from, window_to = np.empty(n_strips, np.int64), np.empty(n_strips, np.int64)
    strips = strip_u, strip_v, leaf_low, leaf_high, u_min, u_max, window_from, window_to
    members = np.empty(n, np.int64)
    kept = np.empty((len(levels) if len(levels) > 0 else n_padded + UNROLLED) * LANES)
    lanes = np.zeros(9 * LANES)
    found = np.empty((len(ranks), n_leaves * LANES))
    for s in range(n_slices):
        for i in range(n):
            members[i] = u_order[s, np.int64(keys[s, i] & mask)]
            strip_v[i] = v[s, members[i]]
        for strip in range(n_strips):
            start, stop = strip * per_strip * LANES, min((strip + 1) * per_strip * LANES, n)
            u_min[strip] = u[s, u_order[s, start]]
            u_max[strip] = u[s, u_order[s, stop - 1]]
            for i in range(start + 1, stop):
                if strip_v[i] < strip_v[i - 1]:
                    run = slice(start, stop)
                    sort_equal_keys(keys[s, run], mask, strip_v[run], members[run], i - start)
        for i in range(n):
            strip_u[i] = u[s, members[i]]
        _search_strips(strips, n, per_strip, ranks, levels, chebyshev, kept, lanes, found)
        for r in range(len(ranks)):
            for i in range(n):
                squares[r, s, members[i]] = found[r, i]


@kernel
def _search_strips(strips, n, per_strip, ranks, levels, chebyshev, kept, lanes, found):
    _, v, leaf_low, leaf_high, u_min, _, window_from, _ = strips
    n_leaves = -(-n // LANES)
    for leaf in range(n_leaves):
        leaf_low[leaf] = v[leaf * LANES]
        leaf_high[leaf] = v[leaf * LANES + LANES - 1]
    k = ranks[-1]
    radius = math.sqrt((k + 1) / n)
    # A radius somewhat above the last group's distances: wide enough to be right for most groups
    # at once, narrow enough to keep candidates few. Distances spread as 1 / sqrt(k).
    margin = 1.0 + 1.5 / math.sqrt(k)
    for strip in range(len(u_min)):
        for s in range(len(u_min)):
            window_from[s] = s * per_strip * LANES
        for leaf in range(strip * per_strip, min((strip + 1) * per_strip, n_leaves)):
            group = leaf * LANES
            n_seen = _search_group(
                strips, n, per_strip, strip, group, radius, k, levels, chebyshev, kept, lanes
            )
            radius = margin * math.sqrt(_mean_of(lanes, FOUND))
            for r in range(len(ranks) - 1, -1, -1):
                if ranks[r] < k:
                    _find(ranks[r], levels, n_seen, kept, lanes)
                # A rank's share of squared distance, as a guess of the next rank's.
                of_next = ranks[r - 1] / ranks[r]
                for lane in range(LANES):
                    found[r, group + lane] = lanes[FOUND + lane]
                    lanes[FOUND + lane] *= of_next


@inlined
def _find(rank, levels, n_seen, kept, lanes):
    """Put a group's distances of a rank into `FOUND`; what is there is a first guess of them."""
    if len(levels) > 0:
        for lane in range(LANES):
            lanes[FOUND + lane] = kept[(rank - 1) * LANES + lane]
    else:
        for lane in range(LANES):
            # A hair less: where the guess is right, the count then ends there.
            lanes[BOUND + lane] = lanes[FOUND + lane] * (1.0 - 1e-15)
        _select(kept, n_seen, rank, lanes)
        for lane in range(LANES):
            lanes[FOUND + lane] = lanes[NEXT + lane]


@inlined
def _search_group(strips, n, per_strip, strip, group, radius, k, levels, chebyshev, kept, lanes):
    """Find the k-th distances of a group, and keep what other ranks need.

    `window_from[s]..window_to[s]` are the candidates seen in strip s: for strips not yet searched
    those of the group before, from which this group's are a few steps away. Returns how many points
    the group has been compared with.
    """
    u, v, _, _, u_min, u_max, window_from, window_to = strips
    u0, u1 = _least_of(u, group), _largest_of(u, group)
    v0, v1 = v[group], v[group + LANES - 1]
    compare_within_group(u, v, group, levels, chebyshev, kept)
    n_seen = LANES - 1
    window_from[strip], window_to[strip] = group, group + LANES
    first, last = strip, strip + 1  # the strips searched
    while True:
        for step in (-1, 1):
            s = strip if step < 0 else strip + 1
            while 0 <= s < len(u_min) and u_max[s] >= u0 - radius and u_min[s] <= u1 + radius:
                is_seen = first <= s < last
                n_seen = _search_strip(
                    strips,
                    per_strip,
                    s,
                    is_seen,
                    group,
                    radius,
                    levels,
                    chebyshev,
                    n_seen,
                    kept,
                )
                if len(levels) > 0 and s == strip and last - first == 1:
                    radius = min(radius, math.sqrt(_largest_of(kept, (k - 1) * LANES)))
                first, last = min(first, s), max(last, s + 1)
                s += step
        if n_seen < k:
            # Also where radius is 0, in a heap of equal points.
            radius = max(4.0 * radius, 1.0 / n)
            continue
        _find(k, levels, n_seen, kept, lanes)
        enough = radius
        for lane in range(min(LANES, n - group), LANES):
            lanes[FOUND + lane] = 0.0
        if _largest_of(lanes, FOUND) > radius * radius:
            for lane in range(LANES):
                i = group + lane
                inside = min(min(u[i] - u0, u1 - u[i]), min(v[i] - v0, v1 - v[i]))
                enough = max(enough, math.sqrt(lanes[FOUND + lane]) - inside)
        if enough == radius:
            return n_seen
        # A hair more, so that rounding does not ask for a third pass.
        radius = enough * (1.0 + 1e-12)


@inlined
def _search_strip(strips, per_strip, s, is_seen, group, radius, levels, chebyshev, n_seen, kept):
    """Compare a group with the points of a strip that the box touches, but for those seen."""
    u, v, leaf_low, leaf_high, _, _, window_from, window_to = strips
    first = s * per_strip
    last = min(first + per_strip, len(leaf_low) - LANES)
    low, high = v[group] - radius, v[group + LANES - 1] + radius
    # The next number: where the sum was rounded down, a point at it is nearer than the radius.
    high += _ROUNDING * abs(high)
    leaf = _first_at_least(leaf_high, first, last, window_from[s] // LANES, low)
    after = _first_at_least(leaf_low, leaf, last, leaf, high)
    start, stop = leaf * LANES, after * LANES
    # To look closer takes longer than a short list takes to let a few more points pass.
    if not 0 < len(levels) <= SHORT_NETWORK and start < stop:
        start = min(start + count_below(v, start, low), stop)
        stop += count_below(v, stop - LANES, high) - LANES
    if is_seen:
        start, stop = min(start, window_from[s]), max(stop, window_to[s])
        compare_with_group(u, v, group, start, window_from[s], levels, chebyshev, n_seen, kept)
        n_seen += window_from[s] - start
        compare_with_group(u, v, group, window_to[s], stop, levels, chebyshev, n_seen, kept)
        n_seen += stop - window_to[s]
    else:
        compare_with_group(u, v, group, start, stop, levels, chebyshev, n_seen, kept)
        n_seen += stop - start
    window_from[s], window_to[s] = start, stop
    return n_seen


@reduction
def _least_of(values, start):
    least = values[start]
    for lane in range(1, LANES):
        least = min(least, values[start + lane])
    return least


@reduction
def _largest_of(values, start):
    largest = values[start]
    for lane in range(1, LANES):
        largest = max(largest, values[start + lane])
    return largest


@reduction
def _mean_of(values, start):
    total = 0.0
    for lane in range(LANES):
        total += values[start + lane]
    return total / LANES


@kernel
def _select(kept, n_seen, rank, lanes):
    """The rank-th smallest of each lane's values, by counting; first guesses in `BOUND`."""
    n_rows = -(-n_seen // UNROLLED) * UNROLLED
    for i in range(n_seen * LANES, n_rows * LANES):
        kept[i] = np.inf
    for lane in range(LANES):
        lanes[LOW + lane] = -1.0
        lanes[LOW_COUNT + lane] = 0.0
        lanes[NEXT + lane] = -1.0
        lanes[HIGH + lane] = np.inf
        lanes[HIGH_COUNT + lane] = n_seen
    n_passes = 0
    n_open = LANES
    while n_open > 0:
        count_within(kept, n_rows, lanes)
        n_open = _narrow(rank, lanes)
        n_passes += 1
        if n_passes > _COUNTS_BEFORE_HALVING:
            _halve(lanes)


@kernel
def _narrow(rank, lanes):
    """Narrow each lane's bracket by a count; returns how many lanes are not done."""
    n_open = 0
    for lane in range(LANES):
        bound, count = lanes[BOUND + lane], lanes[COUNT + lane]
        is_low = count < rank
        low = bound if is_low else lanes[LOW + lane]
        low_count = count if is_low else lanes[LOW_COUNT + lane]
        following = lanes[ABOVE + lane] if is_low else lanes[NEXT + lane]
        high = lanes[HIGH + lane] if is_low else bound
        high_count = lanes[HIGH_COUNT + lane] if is_low else count
        missing = rank - low_count
        is_done = (following >= 0.0) & ((missing <= 1.0) | (following == high))
        base = low if low > 0.0 else 0.0
        between = base + (high - base) * (missing - 1.0) / (high_count - low_count)
        guess = bound * (rank - 0.5) / (count + 0.5) if high == np.inf else between
        guess = (
            following
            if (missing <= _LINEAR_STEPS) | (guess < following) | (guess >= high)
            else guess
        )
        guess = low if is_done else guess
        lanes[BOUND + lane] = guess
        lanes[LOW + lane] = low
        lanes[LOW_COUNT + lane] = low_count
        lanes[NEXT + lane] = following
        lanes[HIGH + lane] = high
        lanes[HIGH_COUNT + lane] = high_count
        n_open += 0 if is_done else 1
    return n_open


@kernel
def _halve(lanes):
    """Halve brackets by the bits of their ends: where values lie over many scales."""
    bits = lanes.view(np.int64)
    for lane in range(LANES):
        if lanes[BOUND + lane] != lanes[LOW + lane]:
            low_bits = bits[LOW + lane] if lanes[LOW + lane] > 0.0 else 0
            # Their sum may be too large for an integer.
            bits[BOUND + lane] = low_bits + ((bits[HIGH + lane] - low_bits) >> 1)
            if lanes[BOUND + lane] <= lanes[NEXT + lane]:
                lanes[BOUND + lane] = lanes[NEXT + lane]


@inlined
def _first_at_least(values, start, stop, guess, least):
    """The first place in start..stop whose value is at least `least`; `stop` if there is none.

    Fast where it is a few steps from `guess`.
    """
    guess = max(guess, start)
    while guess > start and values[guess - 1] >= least:
        guess = max(guess - LANES, start)
    step = LANES
    while step == LANES and guess < stop:
        step = count_below(values, guess, least)
        guess += step
    return min(guess, stop)
