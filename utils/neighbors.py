"""Distances to nearest neighbours in one and two dimensions, for many slices at once, exactly.

The work comes as rows: `(n_slices, n)` arrays, one slice a row, of zero mean and unit variance.
Three ideas carry it.

**Sort packed keys.** Sorting numbers is several times cheaper than sorting positions (argsort).
So a value is rounded to float32, its bits are turned into an unsigned integer of the same order,
and the sample's index is packed behind it: one sort of 64-bit integers, which numpy vectorises,
gives both. Values that round to the same float32 may come out in the wrong order; a pass over the
sorted row finds these runs and puts them right in float64. From there on everything is float64.

**One dimension.** The j nearest neighbours of a point are j + 1 consecutive values of the sorted
row, the point among them. So the distance to the j-th is the least, over the j + 1 windows that
hold the point, of the distance to the window's farther end.

**Two dimensions.** Points are cut into strips by u, with equal counts, and sorted by v within a
strip. Eight points that follow each other in a strip are close to each other; their neighbours lie
in one common box, the eight points' own bounding box widened by a radius R. In each strip that the
box touches, the candidates are one run of points, a few steps from the run of the eight points
before; its ends are found by comparing eight values at once and counting, since a loop that stops
after a few steps is guessed wrong by the processor, which costs more than the steps. Every
candidate is compared with the eight points at once, one point a vector lane, and put in its place
among the k + 1 smallest distances kept for each (a point is its own neighbour at distance 0). The
sorting network that does this, min and max all the way down, lives in vector registers; written as
plain loops the compiler leaves it in memory, and it takes ten times as long.

Why this is exact: a point's k-th distance is right if no point outside the box can be nearer, that
is if it is at most R plus the point's distance to the bounding box's nearest side. If it is more
for some of the eight, the same test says which R would have been enough for the distances found;
true distances are never more than those, so one more pass, over what the smaller box left out,
settles it. R only decides the speed: it follows the distances found in the eight points before.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = ["class_distances", "line_distances", "plane_distances", "sort_rows"]

_LANES = 8
_SHORT_LIST = 10  # distances kept a point; see `_keep_nearest_vectors`
_INDEX_BITS = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)

_VECTOR = ir.VectorType(ir.DoubleType(), _LANES)

# Let go of the interpreter, so that threads run side by side; keep what was compiled on disk.
_compiled = njit(cache=True, nogil=True, error_model="numpy")


def sort_rows(rows):
    """Sort each row, and say where every value came from.

    Parameters
    ----------
    rows : array, shape (n_slices, n), float64
        Values within the range of float32.

    Returns
    -------
    values : array, shape (n_slices, n)
        The rows in ascending order.
    order : array of int64, shape (n_slices, n)
        `values[s, i] == rows[s, order[s, i]]`.
    """
    keys = np.empty(rows.shape, np.uint64)
    _pack(rows, rows.astype(np.float32).view(np.uint32), keys)
    keys.sort(axis=1)
    values = np.empty(rows.shape)
    order = np.empty(rows.shape, np.int64)
    _unpack(rows, keys, values, order)
    return values, order


def line_distances(values, order, ranks):
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


def class_distances(values, order, labels, class_sizes, ranks):
    """Distances to the nearest neighbours of the same class in one dimension.

    Parameters
    ----------
    values, order : arrays, shape (n_slices, n)
        From `sort_rows`.
    labels : array of int64, shape (n,)
        The class of each sample, from 0.
    class_sizes : array of int64
        Samples a class; each more than the largest rank.
    ranks : array of int64
        Which neighbours: 1 is the nearest.

    Returns
    -------
    array, shape (len(ranks), n_slices, n)
        In the order of the samples.
    """
    distances = np.empty((len(ranks), *values.shape))
    _class_rows(
        values, order, labels, np.concatenate([[0], np.cumsum(class_sizes)]), ranks, distances
    )
    return distances


def plane_distances(u, v, u_order, ranks):
    """Squared distances to the nearest neighbours in two dimensions.

    Parameters
    ----------
    u, v : arrays, shape (n_slices, n)
        The coordinates.
    u_order : array of int64, shape (n_slices, n)
        From `sort_rows(u)`, or of anything that has the same order.
    ranks : array of int64, ascending
        Which neighbours: 1 is the nearest. Each less than `n`.

    Returns
    -------
    array, shape (len(ranks), n_slices, n)
        Squared Euclidean distances, in the order of the samples.
    """
    _, v_order = sort_rows(v)
    squares = np.empty((len(ranks), *u.shape))
    levels = (0,) * (int(ranks[-1]) + 1)
    _plane_rows(u, v, u_order, v_order, ranks, levels, squares)
    return squares


@_compiled
def _pack(rows, bits, keys):
    for s in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            b = bits[s, i]
            # Negative numbers: all bits flipped; others: the sign bit set.
            mask = (np.uint32(0) - (b >> np.uint32(31))) | _SIGN
            keys[s, i] = (np.uint64(b ^ mask) << np.uint64(32)) | np.uint64(i)


@_compiled
def _unpack(rows, keys, values, order):
    n = rows.shape[1]
    for s in range(rows.shape[0]):
        for i in range(n):
            index = np.int64(keys[s, i] & _INDEX_BITS)
            order[s, i] = index
            values[s, i] = rows[s, index]
        for i in range(1, n):
            if values[s, i] < values[s, i - 1]:
                _sort_run(keys[s], values[s], order[s], i)


@_compiled
def _sort_run(keys, values, order, inside):
    """Sort the run of values around `inside` that rounded to one float32."""
    key = keys[inside] >> np.uint64(32)
    start = inside
    while start > 0 and keys[start - 1] >> np.uint64(32) == key:
        start -= 1
    stop = inside
    while stop < len(keys) and keys[stop] >> np.uint64(32) == key:
        stop += 1
    permutation = np.argsort(values[start:stop], kind="mergesort")
    values[start:stop] = values[start:stop][permutation]
    order[start:stop] = order[start:stop][permutation]


@_compiled
def _line(values, rank, nearest):
    nearest[:] = np.inf
    n_windows = len(values) - rank
    first, last = values[:n_windows], values[rank:]
    for below in range(rank + 1):
        point, best = values[below : below + n_windows], nearest[below : below + n_windows]
        for i in range(n_windows):
            down, up = point[i] - first[i], last[i] - point[i]
            farther = down if down > up else up
            best[i] = farther if farther < best[i] else best[i]


@_compiled
def _line_rows(values, order, ranks, distances):
    n = values.shape[1]
    nearest = np.empty(n)
    for s in range(values.shape[0]):
        for r in range(len(ranks)):
            _line(values[s], ranks[r], nearest)
            for i in range(n):
                distances[r, s, order[s, i]] = nearest[i]


@_compiled
def _class_rows(values, order, labels, starts, ranks, distances):
    n = values.shape[1]
    n_classes = len(starts) - 1
    filled = np.empty(n_classes, np.int64)
    grouped = np.empty(n)
    members = np.empty(n, np.int64)
    nearest = np.empty(n)
    for s in range(values.shape[0]):
        # Dealt out in ascending order, each class comes out sorted.
        filled[:] = starts[:-1]
        for i in range(n):
            label = labels[order[s, i]]
            grouped[filled[label]] = values[s, i]
            members[filled[label]] = order[s, i]
            filled[label] += 1
        for r in range(len(ranks)):
            for c in range(n_classes):
                a, b = starts[c], starts[c + 1]
                _line(grouped[a:b], ranks[r], nearest[a:b])
            for i in range(n):
                distances[r, s, members[i]] = nearest[i]


def _keep_nearest(u, v, group, start, stop, levels, nearest):
    """Offer points start..stop to the lists of least squared distances of a group's points.

    `nearest` holds `len(levels)` rows of `_LANES` ascending squared distances, flattened; lane l
    belongs to the point `group + l`.
    """
    for candidate in range(start, stop):
        for lane in range(_LANES):
            square = (u[candidate] - u[group + lane]) ** 2 + (v[candidate] - v[group + lane]) ** 2
            for level in range(len(levels)):
                at = level * _LANES + lane
                nearest[at], square = min(nearest[at], square), max(nearest[at], square)


def _count_below(values, start, bound):
    """How many of the next `_LANES` values are below `bound`, up to the first that is not.

    They may reach past the end of the row: there is padding.
    """
    for lane in range(_LANES):
        if values[start + lane] >= bound:
            return lane
    return _LANES


def _load_vector(builder, pointer):
    loaded = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
    loaded.align = 8
    return loaded


def _broadcast(builder, value):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    first = builder.insert_element(undefined, value, zeros.type.element(0))
    return builder.shuffle_vector(first, undefined, zeros)


@overload(_keep_nearest)
def _keep_nearest_compiled(u, v, group, start, stop, levels, nearest):
    def keep(u, v, group, start, stop, levels, nearest):
        return _keep_nearest_vectors(u, v, group, start, stop, levels, nearest)

    return keep


@intrinsic
def _keep_nearest_vectors(typing_context, u, v, group, start, stop, levels, nearest):
    """`_keep_nearest` in vector registers; LLVM lowers the vectors to what the machine has."""
    n_levels = len(levels)
    signature = types.void(u, v, group, start, stop, levels, nearest)

    def generate(context, builder, signature, arguments):
        def data(position):
            make = context.make_array(signature.args[position])
            return make(context, builder, arguments[position]).data

        def difference(coordinate, candidate, of_group):
            value = builder.load(builder.gep(coordinate, [candidate]))
            return builder.fsub(_broadcast(builder, value), of_group)

        u_data, v_data, kept = data(0), data(1), data(6)
        group, start, stop = arguments[2:5]
        integer = group.type
        u_group = _load_vector(builder, builder.gep(u_data, [group]))
        v_group = _load_vector(builder, builder.gep(v_data, [group]))
        slots = [builder.gep(kept, [integer(level * _LANES)]) for level in range(n_levels)]
        registers = [
            cgutils.alloca_once_value(builder, _load_vector(builder, slot)) for slot in slots
        ]
        with cgutils.for_range_slice(builder, start, stop, integer(1), integer) as (candidate, _):
            du = difference(u_data, candidate, u_group)
            dv = difference(v_data, candidate, v_group)
            square = builder.fadd(builder.fmul(du, du), builder.fmul(dv, dv))
            # Where the lists are long, most candidates are too far for all of the points: a look
            # first. Where they are short, looking costs more than it saves.
            if n_levels > _SHORT_LIST:
                nearer_lanes = builder.fcmp_ordered("<", square, builder.load(registers[-1]))
                mask = builder.bitcast(nearer_lanes, ir.IntType(_LANES))
                condition = builder.icmp_unsigned("!=", mask, mask.type(0))
            else:
                condition = ir.IntType(1)(1)
            with builder.if_then(condition):
                for register in registers:
                    held = builder.load(register)
                    nearer = builder.fcmp_ordered("<", held, square)
                    builder.store(builder.select(nearer, held, square), register)
                    square = builder.select(nearer, square, held)
        for slot, register in zip(slots, registers, strict=True):
            stored = builder.store(
                builder.load(register), builder.bitcast(slot, _VECTOR.as_pointer())
            )
            stored.align = 8
        return context.get_dummy_value()

    return signature, generate


@overload(_count_below)
def _count_below_compiled(values, start, bound):
    def count(values, start, bound):
        return _count_below_vectors(values, start, bound)

    return count


@intrinsic
def _count_below_vectors(typing_context, values, start, bound):
    """`_count_below` without a branch, which a processor would guess wrong half of the time."""
    signature = types.int64(values, start, types.float64)

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        loaded = _load_vector(builder, builder.gep(data, [arguments[1]]))
        reached = builder.fcmp_ordered(">=", loaded, _broadcast(builder, arguments[2]))
        mask = builder.zext(builder.bitcast(reached, ir.IntType(_LANES)), ir.IntType(64))
        all_below = ir.IntType(64)(1 << _LANES)
        return builder.cttz(builder.or_(mask, all_below), ir.IntType(1)(1))

    return signature, generate


@_compiled
def _plane_rows(u, v, u_order, v_order, ranks, levels, squares):
    n_slices, n = u.shape
    # Fewer points than lanes: filled up with points that are nobody's neighbours.
    n_padded = max(n, _LANES)
    n_strips = max(1, int(n_padded / math.sqrt(n_padded * _LANES)))
    starts = np.empty(n_strips + 1, np.int64)
    for s in range(n_strips + 1):
        starts[s] = s * n_padded // n_strips
    strip_u = np.full(n_padded + _LANES, 1e150)
    strip_v = np.full(n_padded + _LANES, 1e150)
    members = np.full(n_padded, -1, np.int64)
    for s in range(n_slices):
        _fill_strips(u[s], v[s], u_order[s], v_order[s], starts, strip_u, strip_v, members)
        _search_strips(strip_u, strip_v, members, starts, ranks, levels, squares[:, s])


@_compiled
def _fill_strips(u, v, u_order, v_order, starts, strip_u, strip_v, members):
    n = len(u)
    strip_of = np.empty(n, np.int64)
    for s in range(len(starts) - 1):
        for i in range(starts[s], min(starts[s + 1], n)):
            strip_of[u_order[i]] = s
    # Dealt out in ascending v, each strip comes out sorted by v.
    filled = starts[:-1].copy()
    for i in range(n):
        sample = v_order[i]
        place = filled[strip_of[sample]]
        filled[strip_of[sample]] += 1
        strip_u[place] = u[sample]
        strip_v[place] = v[sample]
        members[place] = sample


@_compiled
def _search_strips(u, v, members, starts, ranks, levels, squares):
    n_strips = len(starts) - 1
    k = len(levels) - 1
    u_min = np.empty(n_strips)
    u_max = np.empty(n_strips)
    for s in range(n_strips):
        u_min[s] = u[starts[s] : starts[s + 1]].min()
        u_max[s] = u[starts[s] : starts[s + 1]].max()
    nearest = np.empty((k + 1) * _LANES)
    window_from = np.empty(n_strips, np.int64)
    window_to = np.empty(n_strips, np.int64)
    radius = math.sqrt((k + 1) / len(members))
    # A radius somewhat above the last group's distances: wide enough to be right for most groups
    # at once, narrow enough to keep candidates few. Distances spread as 1 / sqrt(k).
    margin = 1.0 + 1.0 / math.sqrt(k)
    for s in range(n_strips):
        window_from[:] = starts[:-1]
        window_to[:] = starts[:-1]
        group = starts[s]
        while group < starts[s + 1]:
            # The last group of a strip overlaps the one before it.
            group = min(group, starts[s + 1] - _LANES)
            _search_group(
                u,
                v,
                starts,
                u_min,
                u_max,
                window_from,
                window_to,
                s,
                group,
                radius,
                levels,
                nearest,
            )
            mean_square = 0.0
            for lane in range(_LANES):
                mean_square += nearest[k * _LANES + lane] / _LANES
                if members[group + lane] >= 0:
                    for r in range(len(ranks)):
                        at = ranks[r] * _LANES + lane
                        squares[r, members[group + lane]] = nearest[at]
            radius = margin * math.sqrt(mean_square)
            group += _LANES


@_compiled
def _search_group(
    u, v, starts, u_min, u_max, window_from, window_to, strip, group, radius, levels, nearest
):
    """Fill `nearest` for the points of a group.

    `window_from[s]..window_to[s]` are the last group's candidates in strip s, from which this
    group's are a few steps away.
    """
    k = len(levels) - 1
    u0, u1 = u[group], u[group]
    for i in range(group + 1, group + _LANES):
        u0 = u[i] if u[i] < u0 else u0
        u1 = u[i] if u[i] > u1 else u1
    v0, v1 = v[group], v[group + _LANES - 1]
    nearest[:] = np.inf
    # Strips searched before with a smaller radius: only what that left out is new.
    searched_from = searched_to = strip
    while True:
        first = searched_from
        while first > 0 and u_max[first - 1] >= u0 - radius:
            first -= 1
        last = max(searched_to, strip + 1)
        while last < len(starts) - 1 and u_min[last] <= u1 + radius:
            last += 1
        found = 0
        for s in range(first, last):
            # Strict at both ends: a point at the box's edge is no nearer than what is kept.
            start = _first_at_least(v, starts[s], starts[s + 1], window_from[s], v0 - radius)
            stop = _first_at_least(v, start, starts[s + 1], window_to[s], v1 + radius)
            if searched_from <= s < searched_to:
                _keep_nearest(u, v, group, start, window_from[s], levels, nearest)
                _keep_nearest(u, v, group, window_to[s], stop, levels, nearest)
            else:
                _keep_nearest(u, v, group, start, stop, levels, nearest)
            window_from[s], window_to[s] = start, stop
            found += stop - start
        searched_from, searched_to = first, last
        if found <= k:
            # Also where radius is 0, in a heap of equal points.
            radius = max(2.0 * radius, 1.0 / starts[-1])
            continue
        enough = radius
        for lane in range(_LANES):
            i = group + lane
            inside = min(min(u[i] - u0, u1 - u[i]), min(v[i] - v0, v1 - v[i]))
            if nearest[k * _LANES + lane] > (radius + inside) ** 2:
                enough = max(enough, math.sqrt(nearest[k * _LANES + lane]) - inside)
        if enough == radius:
            return
        # A hair more, so that rounding does not ask for a third pass.
        radius = enough * (1.0 + 1e-12)


@njit(inline="always")
def _first_at_least(values, start, stop, guess, least):
    """The first place in start..stop whose value is at least `least`; `stop` if there is none.

    Fast where it is a few steps from `guess`.
    """
    guess = max(guess, start)
    while guess > start and values[guess - 1] >= least:
        guess = max(guess - _LANES, start)
    step = _LANES
    while step == _LANES and guess < stop:
        step = _count_below(values, guess, least)
        guess += step
    return min(guess, stop)
