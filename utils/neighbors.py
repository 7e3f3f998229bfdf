"""Distances to nearest neighbours in one and two dimensions, for many slices at once, exactly.

The work comes as rows: `(n_slices, n)` arrays, one slice a row; for two dimensions of zero mean and
unit variance.
Three ideas carry it.

**Sort packed keys.** Sorting numbers is several times cheaper than sorting positions (argsort).
So a value is turned into an unsigned integer of the same order, whose last bits, as many as it
takes, hold the sample's index: one sort of integers, which numpy vectorises, gives both. Values
that the other bits do not tell apart may come out in the wrong order; a pass over the sorted row
puts them right. Short rows do with integers of 32 bits, which take half the time: z / (1 + |z|),
with z the value in units of the row's spread, uses their range evenly, so that few values are out
of order, and by few places. Where there are more, as in tight clusters, and in long rows, integers
have 64 bits, the first ones of the float itself.

**One dimension.** The j nearest neighbours of a point are j + 1 consecutive values of the sorted
row, the point among them. So the distance to the j-th is the least, over the j + 1 windows that
hold the point, of the distance to the window's farther end. The sorted row is dealt out to the
classes, each of which so comes out sorted; they lie one after the other in one row, with infinities
between, and neighbours of the same class are found in one pass over it.

**Two dimensions.** Points are cut into strips by u, with equal counts, and sorted by v within a
strip; eight points that follow each other there are a leaf. The points of a leaf are searched for
together, as a group: their neighbours lie in one common box, the group's own bounding box widened
by a radius R. In each strip that the box touches, the candidates are one run of points. Its ends
are found in the ends of the leaves, and then within the leaf, by comparing eight values at once and
counting, since a loop that stops after a few steps is guessed wrong by the processor, which costs
more than the steps. Every candidate is compared with the eight points at once, one point a vector
lane. The points of the group meet each other by turning the vector in a circle, so that no point
meets itself. The vector code is written out; as plain loops the compiler leaves the lists in
memory, and it takes ten times as long.

Few neighbours: every candidate is put in its place among the k smallest distances of each lane by a
sorting network, min and max all the way down, that lives in registers. Many neighbours: the
distances are kept, and the k-th smallest of each lane is found by counting how many are within a
bound, and narrowing the bound; a count tells the next larger distance too, so ties do no harm.

Why this is exact: a point's k-th distance is right if no point outside the box can be nearer, that
is if it is at most R plus the point's distance to the bounding box's nearest side. If it is more
for some of the eight, the same test says which R would have been enough for the distances found;
true distances are never more than those, so one more pass, over what the smaller box left out,
settles it. R only decides the speed: it follows the distances found in the group before, and
shrinks once the group's own strip has been searched. All this holds for the maximum metric as well.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = ["class_distances", "class_ratios", "line_distances", "plane_distances", "sort_rows"]

_LANES = 8
# Neighbours up to which a network in registers is faster than counting, and from which the network
# is entered only if some lane has use for the candidate (measured for 5 to 40 neighbours).
_LONGEST_NETWORK = 26
_SHORT_NETWORK = 7
_UNROLLED = 4  # rows counted side by side: each step of one sum waits for the step before
_FEW = 3  # values between a bracket's lower end and the one looked for: one by one from here
_PATIENCE = 12  # counts after which brackets are halved; five or six are usual
# Rows up to here are sorted by 32 bits, of which 16 at least are then left for the value.
_LONGEST_SHORT_ROW = 2**16
_FEWEST_INDEX_BITS = 9  # a float32 has room for the others
_SOME = 128  # values of a row that tell its centre and spread
_MOVES_PER_VALUE = 2  # of values out of order; from about here sorting by 64 bits is faster
_SIGN = np.uint64(1 << 63)
_LAST_KEY = np.uint64(2**64 - 1)
_ROUNDING = 2.3e-16
_FAR = 1e150  # beyond all coordinates; its square is still a number
# Where in `lanes`, the state of a group, the values of each kind begin.
_FOUND, _BOUND, _COUNT, _ABOVE, _LOW, _LOW_COUNT, _NEXT, _HIGH, _HIGH_COUNT = range(
    0, 9 * _LANES, _LANES
)

_VECTOR = ir.VectorType(ir.DoubleType(), _LANES)

# Let go of the interpreter, so that threads run side by side; keep what was compiled on disk.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_compiled = njit(**_OPTIONS)
# Counting references to the arrays it is handed would take longer than the search of a group; such
# a function must not make arrays.
_UNCOUNTED = {"_nrt": False}
_kernel = njit(**_OPTIONS, **_UNCOUNTED)
# A call hands over the seven numbers of every array, which would take as long as what is called.
_inlined = njit(inline="always")
# Over the lanes, in the order of a tree.
_reduction = njit(**_OPTIONS, **_UNCOUNTED, fastmath={"reassoc", "nnan", "nsz"})


def sort_rows(rows):
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
    n = rows.shape[1]
    values = np.empty(rows.shape)
    order = np.empty(rows.shape, np.int64)
    if n <= _LONGEST_SHORT_ROW:
        n_index_bits = max(_FEWEST_INDEX_BITS, (n - 1).bit_length())
        keys = np.empty(rows.shape, np.uint32)
        _pack_short(rows, n_index_bits, keys)
        keys.sort(axis=1)
        if _unpack_short(rows, keys, n_index_bits, values, order):
            return values, order
    keys = np.empty(rows.shape, np.uint64)
    index_mask = _index_mask(n)
    _pack(rows, index_mask, keys)
    keys.sort(axis=1)
    _unpack(rows, keys, index_mask, values, order)
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
    labels : array of integers, shape (n,)
        The class of each sample, from 0. They are read in random order: the fewer bytes each
        has, the faster.
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
    _class_rows(values, order, labels, class_sizes, ranks, False, distances)
    return distances


def class_ratios(values, order, labels, class_sizes, ranks):
    """Distances to the nearest neighbours of any class, over those of the same class.

    Parameters and shape of the result as for `class_distances`.
    """
    ratios = np.empty((len(ranks), *values.shape))
    _class_rows(values, order, labels, class_sizes, ranks, True, ratios)
    return ratios


def plane_distances(u, v, u_order, ranks, *, chebyshev=False):
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
    n_leaves = -(-n // _LANES)
    per_strip = max(1, round(math.sqrt(n_leaves)))
    n_strips = -(-n_leaves // per_strip)
    keys = np.full((n_slices, n_strips, per_strip * _LANES), _LAST_KEY)
    index_mask = _index_mask(n)
    _pack_strips(v, u_order, index_mask, keys.reshape(n_slices, -1))
    keys.sort(axis=2)
    squares = np.empty((len(ranks), n_slices, n))
    k = int(ranks[-1])
    levels = (0,) * (k if k <= _LONGEST_NETWORK else 0)
    _plane_rows(
        u,
        v,
        u_order,
        keys.reshape(n_slices, -1),
        index_mask,
        per_strip,
        ranks,
        levels,
        chebyshev,
        squares,
    )
    return squares


def _index_mask(n):
    return np.uint64((1 << (n - 1).bit_length()) - 1)


@_compiled
def _key(bits, index, index_mask):
    # Negative numbers: all bits flipped; others: the sign bit set.
    flip = (np.uint64(0) - (bits >> np.uint64(63))) | _SIGN
    return ((bits ^ flip) & ~index_mask) | np.uint64(index)


@_compiled
def _pack(rows, index_mask, keys):
    for s in range(rows.shape[0]):
        bits = rows[s].view(np.uint64)
        for i in range(rows.shape[1]):
            keys[s, i] = _key(bits[i], i, index_mask)


@_compiled
def _unpack(rows, keys, index_mask, values, order):
    n = rows.shape[1]
    for s in range(rows.shape[0]):
        for i in range(n):
            index = np.int64(keys[s, i] & index_mask)
            order[s, i] = index
            values[s, i] = rows[s, index]
        for i in range(1, n):
            if values[s, i] < values[s, i - 1]:
                _sort_run(keys[s], index_mask, values[s], order[s], i)


@_compiled
def _sort_run(keys, index_mask, values, order, inside):
    """Sort the run of values around `inside` whose keys differ in the index alone."""
    key = keys[inside] | index_mask
    start = inside
    while start > 0 and keys[start - 1] | index_mask == key:
        start -= 1
    stop = inside
    while stop < len(keys) and keys[stop] | index_mask == key:
        stop += 1
    permutation = np.argsort(values[start:stop], kind="mergesort")
    values[start:stop] = values[start:stop][permutation]
    order[start:stop] = order[start:stop][permutation]


@_compiled
def _pack_short(rows, n_index_bits, keys):
    one = np.float32(1.0)
    # One less, so that the largest values do not run over.
    half = np.float32((1 << (31 - n_index_bits)) - 1)
    for s in range(rows.shape[0]):
        some = rows[s, :: 1 + rows.shape[1] // _SOME]
        center = some.mean()
        scale = 1.0 / np.abs(some - center).mean()
        for i in range(rows.shape[1]):
            value = np.float32((rows[s, i] - center) * scale)
            share = half - half / (one + abs(value))
            place = np.int32(half + math.copysign(share, value))
            keys[s, i] = (np.uint32(place) << np.uint32(n_index_bits)) | np.uint32(i)


@_compiled
def _unpack_short(rows, keys, n_index_bits, values, order):
    """`_unpack`; False if it stopped, since many values were out of place."""
    n = rows.shape[1]
    index_mask = np.uint32((1 << n_index_bits) - 1)
    for s in range(rows.shape[0]):
        moves_left = _MOVES_PER_VALUE * n
        largest = -np.inf
        for i in range(n):
            index = np.int64(keys[s, i] & index_mask)
            value = rows[s, index]
            place = i
            if value < largest:
                while place > 0 and values[s, place - 1] > value:
                    values[s, place] = values[s, place - 1]
                    order[s, place] = order[s, place - 1]
                    place -= 1
                moves_left -= i - place
                if moves_left < 0:
                    return False
            else:
                largest = value
            values[s, place] = value
            order[s, place] = index
    return True


@_compiled
def _line_rows(values, order, ranks, distances):
    nearest = np.empty(values.shape[1])
    for s in range(values.shape[0]):
        for r in range(len(ranks)):
            _line(values[s], ranks[r], nearest)
            for i in range(len(nearest)):
                distances[r, s, order[s, i]] = nearest[i]


@_compiled
def _class_rows(values, order, labels, class_sizes, ranks, relative, found):
    n = values.shape[1]
    n_between = ranks.max()
    ends = np.cumsum(n_between + class_sizes)
    grouped = np.empty(ends[-1] + n_between)
    grouped[:n_between] = np.inf
    for end in ends:
        grouped[end : end + n_between] = np.inf
    within = np.empty(len(grouped))
    nearest = np.empty(n)
    places = np.empty(n, np.int32)
    for s in range(values.shape[0]):
        _deal(order[s], labels, ends - class_sizes, places)
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


@_compiled
def _deal(order, labels, starts, places):
    for i in range(len(order)):
        label = labels[order[i]]
        places[i] = starts[label]
        starts[label] += 1


@_compiled
def _scatter_ratios(nearest, within, places, order, ratios):
    for i in range(len(order)):
        ratios[order[i]] = nearest[i] / within[places[i]]


@_compiled
def _line(values, rank, nearest):
    n = len(values)
    _inner_line(values, rank, nearest)
    for end in range(2 * rank):
        i = end if end < rank else n + rank - 1 - end
        best = np.inf
        for first in range(max(0, i - rank), min(i, n - 1 - rank) + 1):
            best = min(best, max(values[i] - values[first], values[first + rank] - values[i]))
        nearest[i] = best


@_compiled
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


def _squares(u, v, group, others, chebyshev):
    lanes = slice(group, group + _LANES)
    du, dv = (u[others] - u[lanes]) ** 2, (v[others] - v[lanes]) ** 2
    return np.maximum(du, dv) if chebyshev else du + dv


def _offer(squares, levels, met, kept):
    for lane in range(_LANES):
        square = squares[lane]
        for level in range(len(levels)):
            at = level * _LANES + lane
            kept[at], square = min(kept[at], square), max(kept[at], square)
    if len(levels) == 0:
        kept[met * _LANES : (met + 1) * _LANES] = squares


def _meet_each_other(u, v, group, levels, chebyshev, kept):
    """Begin the lists of a group's points with the distances from each other; see `_meet`."""
    kept[: len(levels) * _LANES] = np.inf
    for turn in range(1, _LANES):
        others = group + (np.arange(_LANES) + turn) % _LANES
        _offer(_squares(u, v, group, others, chebyshev), levels, turn - 1, kept)


def _meet(u, v, group, start, stop, levels, chebyshev, met, kept):
    """Offer points start..stop to the lists of a group's points, which have met `met` so far.

    `kept` holds rows of `_LANES` squared distances, flattened; lane l belongs to the point
    `group + l`. With `levels`, a row a level, each lane ascending; without, a row a point met.
    """
    for candidate in range(start, stop):
        squares = _squares(u, v, group, candidate, chebyshev)
        _offer(squares, levels, met + candidate - start, kept)


def _count_below(values, start, bound):
    """How many of the next `_LANES` values are below `bound`, up to the first that is not.

    They may reach past the end of the row: there is padding.
    """
    for lane in range(_LANES):
        if values[start + lane] >= bound:
            return lane
    return _LANES


def _count_within(kept, n_rows, lanes):
    """How many of each lane's values are at most its bound, and the least of the others."""
    rows = kept[: n_rows * _LANES].reshape(n_rows, _LANES)
    within = rows <= lanes[_BOUND : _BOUND + _LANES]
    lanes[_COUNT : _COUNT + _LANES] = within.sum(axis=0)
    lanes[_ABOVE : _ABOVE + _LANES] = np.where(within, np.inf, rows).min(axis=0)


def _vector_at(builder, pointer):
    return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, _LANES).as_pointer())


def _load_vector(builder, pointer):
    loaded = builder.load(_vector_at(builder, pointer))
    loaded.align = 8
    return loaded


def _store_vector(builder, vector, pointer):
    stored = builder.store(vector, _vector_at(builder, pointer))
    stored.align = 8


def _broadcast(builder, value):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    first = builder.insert_element(undefined, value, zeros.type.element(0))
    return builder.shuffle_vector(first, undefined, zeros)


def _rotate(builder, vector, turn):
    places = [(lane + turn) % _LANES for lane in range(_LANES)]
    places = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), places)
    return builder.shuffle_vector(vector, vector, places)


def _least(builder, first, second):
    return builder.select(builder.fcmp_ordered("<", first, second), first, second)


def _greatest(builder, first, second):
    return builder.select(builder.fcmp_ordered(">", first, second), first, second)


def _emit_square(builder, du, dv, chebyshev):
    # One rounding less where the machine multiplies and adds at once.
    fused = ("contract",)
    du, dv = builder.fmul(du, du, flags=fused), builder.fmul(dv, dv, flags=fused)
    return _greatest(builder, du, dv) if chebyshev else builder.fadd(du, dv, flags=fused)


def _emit_offer(builder, square, registers):
    for register in registers:
        held = builder.load(register)
        builder.store(_least(builder, square, held), register)
        square = _greatest(builder, square, held)


def _data(context, builder, signature, arguments, position):
    make = context.make_array(signature.args[position])
    return make(context, builder, arguments[position]).data


def _emit_for_both_metrics(builder, chebyshev, emit):
    with builder.if_else(chebyshev) as (then, otherwise):
        with then:
            emit(True)
        with otherwise:
            emit(False)


@overload(_meet_each_other, jit_options=_UNCOUNTED)
def _meet_each_other_compiled(u, v, group, levels, chebyshev, kept):
    def meet(u, v, group, levels, chebyshev, kept):
        return _meet_each_other_vectors(u, v, group, levels, chebyshev, kept)

    return meet


@intrinsic
def _meet_each_other_vectors(typing_context, u, v, group, levels, chebyshev, kept):
    signature = types.void(u, v, group, levels, chebyshev, kept)

    def generate(context, builder, signature, arguments):
        u_data, v_data, kept = (
            _data(context, builder, signature, arguments, position) for position in (0, 1, 5)
        )
        integer = arguments[2].type
        u_group = _load_vector(builder, builder.gep(u_data, [arguments[2]]))
        v_group = _load_vector(builder, builder.gep(v_data, [arguments[2]]))

        def emit(is_chebyshev):
            infinite = ir.Constant(_VECTOR, [math.inf] * _LANES)
            registers = [cgutils.alloca_once_value(builder, infinite) for _ in levels]
            for turn in range(1, _LANES):
                du = builder.fsub(_rotate(builder, u_group, turn), u_group)
                dv = builder.fsub(_rotate(builder, v_group, turn), v_group)
                square = _emit_square(builder, du, dv, is_chebyshev)
                if registers:
                    _emit_offer(builder, square, registers)
                else:
                    row = builder.gep(kept, [integer((turn - 1) * _LANES)])
                    _store_vector(builder, square, row)
            for level, register in enumerate(registers):
                row = builder.gep(kept, [integer(level * _LANES)])
                _store_vector(builder, builder.load(register), row)

        _emit_for_both_metrics(builder, arguments[4], emit)
        return context.get_dummy_value()

    return signature, generate


@overload(_meet, jit_options=_UNCOUNTED)
def _meet_compiled(u, v, group, start, stop, levels, chebyshev, met, kept):
    def meet(u, v, group, start, stop, levels, chebyshev, met, kept):
        return _meet_vectors(u, v, group, start, stop, levels, chebyshev, met, kept)

    return meet


@intrinsic
def _meet_vectors(typing_context, u, v, group, start, stop, levels, chebyshev, met, kept):
    """`_meet` in vector registers; LLVM lowers the vectors to what the machine has."""
    signature = types.void(u, v, group, start, stop, levels, chebyshev, met, kept)

    def generate(context, builder, signature, arguments):
        u_data, v_data, kept = (
            _data(context, builder, signature, arguments, position) for position in (0, 1, 8)
        )
        group, start, stop = arguments[2:5]
        integer = group.type
        u_group = _load_vector(builder, builder.gep(u_data, [group]))
        v_group = _load_vector(builder, builder.gep(v_data, [group]))

        def difference(coordinate, candidate, of_group):
            value = builder.load(builder.gep(coordinate, [candidate]))
            return builder.fsub(_broadcast(builder, value), of_group)

        def emit(is_chebyshev):
            rows = [builder.gep(kept, [integer(level * _LANES)]) for level in range(len(levels))]
            registers = [
                cgutils.alloca_once_value(builder, _load_vector(builder, row)) for row in rows
            ]
            offset = builder.sub(arguments[7], start)
            with cgutils.for_range_slice(builder, start, stop, integer(1), integer) as (
                candidate,
                _,
            ):
                du = difference(u_data, candidate, u_group)
                dv = difference(v_data, candidate, v_group)
                square = _emit_square(builder, du, dv, is_chebyshev)
                if len(registers) > _SHORT_NETWORK:
                    # Most candidates are too far for all of the points: a look first.
                    nearer = builder.fcmp_ordered("<", square, builder.load(registers[-1]))
                    mask = builder.bitcast(nearer, ir.IntType(_LANES))
                    with builder.if_then(builder.icmp_unsigned("!=", mask, mask.type(0))):
                        _emit_offer(builder, square, registers)
                elif registers:
                    _emit_offer(builder, square, registers)
                else:
                    row = builder.mul(builder.add(offset, candidate), integer(_LANES))
                    _store_vector(builder, square, builder.gep(kept, [row]))
            for row, register in zip(rows, registers, strict=True):
                _store_vector(builder, builder.load(register), row)

        _emit_for_both_metrics(builder, arguments[6], emit)
        return context.get_dummy_value()

    return signature, generate


@overload(_count_below, jit_options=_UNCOUNTED)
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


@overload(_count_within, jit_options=_UNCOUNTED)
def _count_within_compiled(kept, n_rows, lanes):
    def count(kept, n_rows, lanes):
        return _count_within_vectors(kept, n_rows, lanes)

    return count


@intrinsic
def _count_within_vectors(typing_context, kept, n_rows, lanes):
    """`_count_within`; `n_rows` is a multiple of `_UNROLLED`."""
    signature = types.void(kept, n_rows, lanes)

    def generate(context, builder, signature, arguments):
        kept, lanes = (_data(context, builder, signature, arguments, at) for at in (0, 2))
        integer = arguments[1].type
        integers = ir.VectorType(integer, _LANES)
        infinite = ir.Constant(_VECTOR, [math.inf] * _LANES)
        zeros = ir.Constant(integers, [0] * _LANES)
        bound = _load_vector(builder, builder.gep(lanes, [integer(_BOUND)]))
        sums = [
            (
                cgutils.alloca_once_value(builder, zeros),
                cgutils.alloca_once_value(builder, infinite),
            )
            for _ in range(_UNROLLED)
        ]
        with cgutils.for_range_slice(
            builder, integer(0), arguments[1], integer(_UNROLLED), integer
        ) as (row, _):
            for step, (count, least) in enumerate(sums):
                at = builder.mul(builder.add(row, integer(step)), integer(_LANES))
                values = _load_vector(builder, builder.gep(kept, [at]))
                within = builder.fcmp_ordered("<=", values, bound)
                ones = builder.sext(within, integers)
                builder.store(builder.sub(builder.load(count), ones), count)
                others = builder.select(within, infinite, values)
                builder.store(_least(builder, others, builder.load(least)), least)
        count, least = (builder.load(register) for register in sums[0])
        for other_count, other_least in sums[1:]:
            count = builder.add(count, builder.load(other_count))
            least = _least(builder, least, builder.load(other_least))
        count = builder.sitofp(count, _VECTOR)
        _store_vector(builder, count, builder.gep(lanes, [integer(_COUNT)]))
        _store_vector(builder, least, builder.gep(lanes, [integer(_ABOVE)]))
        return context.get_dummy_value()

    return signature, generate


@_compiled
def _pack_strips(v, u_order, index_mask, keys):
    for s in range(v.shape[0]):
        for i in range(v.shape[1]):
            bits = np.float64(v[s, u_order[s, i]]).view(np.uint64)
            keys[s, i] = _key(bits, i, index_mask)


@_compiled
def _plane_rows(u, v, u_order, keys, index_mask, per_strip, ranks, levels, chebyshev, squares):
    n_slices, n = u.shape
    n_padded = keys.shape[1]
    n_leaves = -(-n // _LANES)
    n_strips = -(-n_leaves // per_strip)
    # Where the last leaf is not full, points that are nobody's neighbours fill it.
    strip_u = np.full(n_padded, _FAR)
    strip_v = np.full(n_padded, _FAR)
    leaf_low = np.full(n_leaves + _LANES, np.inf)
    leaf_high = np.full(n_leaves + _LANES, np.inf)
    u_min, u_max = np.empty(n_strips), np.empty(n_strips)
    window_from, window_to = np.empty(n_strips, np.int64), np.empty(n_strips, np.int64)
    strips = strip_u, strip_v, leaf_low, leaf_high, u_min, u_max, window_from, window_to
    members = np.empty(n, np.int64)
    kept = np.empty((len(levels) if len(levels) > 0 else n_padded + _UNROLLED) * _LANES)
    lanes = np.zeros(9 * _LANES)
    found = np.empty((len(ranks), n_leaves * _LANES))
    for s in range(n_slices):
        for i in range(n):
            members[i] = u_order[s, np.int64(keys[s, i] & index_mask)]
            strip_v[i] = v[s, members[i]]
        for strip in range(n_strips):
            start, stop = strip * per_strip * _LANES, min((strip + 1) * per_strip * _LANES, n)
            u_min[strip] = u[s, u_order[s, start]]
            u_max[strip] = u[s, u_order[s, stop - 1]]
            for i in range(start + 1, stop):
                if strip_v[i] < strip_v[i - 1]:
                    run = slice(start, stop)
                    _sort_run(keys[s, run], index_mask, strip_v[run], members[run], i - start)
        for i in range(n):
            strip_u[i] = u[s, members[i]]
        _search_strips(strips, n, per_strip, ranks, levels, chebyshev, kept, lanes, found)
        for r in range(len(ranks)):
            for i in range(n):
                squares[r, s, members[i]] = found[r, i]


@_kernel
def _search_strips(strips, n, per_strip, ranks, levels, chebyshev, kept, lanes, found):
    _, v, leaf_low, leaf_high, u_min, _, window_from, _ = strips
    n_leaves = -(-n // _LANES)
    for leaf in range(n_leaves):
        leaf_low[leaf] = v[leaf * _LANES]
        leaf_high[leaf] = v[leaf * _LANES + _LANES - 1]
    k = ranks[-1]
    radius = math.sqrt((k + 1) / n)
    # A radius somewhat above the last group's distances: wide enough to be right for most groups
    # at once, narrow enough to keep candidates few. Distances spread as 1 / sqrt(k).
    margin = 1.0 + 1.5 / math.sqrt(k)
    for strip in range(len(u_min)):
        for s in range(len(u_min)):
            window_from[s] = s * per_strip * _LANES
        for leaf in range(strip * per_strip, min((strip + 1) * per_strip, n_leaves)):
            group = leaf * _LANES
            met = _search_group(
                strips, n, per_strip, strip, group, radius, k, levels, chebyshev, kept, lanes
            )
            radius = margin * math.sqrt(_mean_of(lanes, _FOUND))
            for r in range(len(ranks) - 1, -1, -1):
                if ranks[r] < k:
                    _find(ranks[r], levels, met, kept, lanes)
                # A rank's share of squared distance, as a guess of the next rank's.
                of_next = ranks[r - 1] / ranks[r]
                for lane in range(_LANES):
                    found[r, group + lane] = lanes[_FOUND + lane]
                    lanes[_FOUND + lane] *= of_next


@_inlined
def _find(rank, levels, met, kept, lanes):
    """Put a group's distances of a rank into `_FOUND`; what is there is a first guess of them."""
    if len(levels) > 0:
        for lane in range(_LANES):
            lanes[_FOUND + lane] = kept[(rank - 1) * _LANES + lane]
    else:
        for lane in range(_LANES):
            # A hair less: where the guess is right, the count then ends there.
            lanes[_BOUND + lane] = lanes[_FOUND + lane] * (1.0 - 1e-15)
        _select(kept, met, rank, lanes)
        for lane in range(_LANES):
            lanes[_FOUND + lane] = lanes[_NEXT + lane]


@_inlined
def _search_group(strips, n, per_strip, strip, group, radius, k, levels, chebyshev, kept, lanes):
    """Find the k-th distances of a group, and keep what other ranks need.

    `window_from[s]..window_to[s]` are the candidates met in strip s: for the strips not searched
    yet those of the group before, from which this group's are a few steps away. Returns how many
    points the group has met.
    """
    u, v, _, _, u_min, u_max, window_from, window_to = strips
    u0, u1 = _least_of(u, group), _largest_of(u, group)
    v0, v1 = v[group], v[group + _LANES - 1]
    _meet_each_other(u, v, group, levels, chebyshev, kept)
    met = _LANES - 1
    window_from[strip], window_to[strip] = group, group + _LANES
    first, last = strip, strip + 1  # the strips searched
    while True:
        for step in (-1, 1):
            s = strip if step < 0 else strip + 1
            while 0 <= s < len(u_min) and u_max[s] >= u0 - radius and u_min[s] <= u1 + radius:
                is_seen = first <= s < last
                met = _search_strip(
                    strips, per_strip, s, is_seen, group, radius, levels, chebyshev, met, kept
                )
                if len(levels) > 0 and s == strip and last - first == 1:
                    radius = min(radius, math.sqrt(_largest_of(kept, (k - 1) * _LANES)))
                first, last = min(first, s), max(last, s + 1)
                s += step
        if met < k:
            # Also where radius is 0, in a heap of equal points.
            radius = max(4.0 * radius, 1.0 / n)
            continue
        _find(k, levels, met, kept, lanes)
        enough = radius
        for lane in range(min(_LANES, n - group), _LANES):
            lanes[_FOUND + lane] = 0.0
        if _largest_of(lanes, _FOUND) > radius * radius:
            for lane in range(_LANES):
                i = group + lane
                inside = min(min(u[i] - u0, u1 - u[i]), min(v[i] - v0, v1 - v[i]))
                enough = max(enough, math.sqrt(lanes[_FOUND + lane]) - inside)
        if enough == radius:
            return met
        # A hair more, so that rounding does not ask for a third pass.
        radius = enough * (1.0 + 1e-12)


@_inlined
def _search_strip(strips, per_strip, s, is_seen, group, radius, levels, chebyshev, met, kept):
    """Let a group meet the points of a strip that the box touches, but for those it has met."""
    u, v, leaf_low, leaf_high, _, _, window_from, window_to = strips
    first = s * per_strip
    last = min(first + per_strip, len(leaf_low) - _LANES)
    low, high = v[group] - radius, v[group + _LANES - 1] + radius
    # The next number: where the sum was rounded down, a point at it is nearer than the radius.
    high += _ROUNDING * abs(high)
    leaf = _first_at_least(leaf_high, first, last, window_from[s] // _LANES, low)
    after = _first_at_least(leaf_low, leaf, last, leaf, high)
    start, stop = leaf * _LANES, after * _LANES
    # To look closer takes longer than a short list takes to let a few more points pass.
    if not 0 < len(levels) <= _SHORT_NETWORK and start < stop:
        start = min(start + _count_below(v, start, low), stop)
        stop += _count_below(v, stop - _LANES, high) - _LANES
    if is_seen:
        start, stop = min(start, window_from[s]), max(stop, window_to[s])
        _meet(u, v, group, start, window_from[s], levels, chebyshev, met, kept)
        met += window_from[s] - start
        _meet(u, v, group, window_to[s], stop, levels, chebyshev, met, kept)
        met += stop - window_to[s]
    else:
        _meet(u, v, group, start, stop, levels, chebyshev, met, kept)
        met += stop - start
    window_from[s], window_to[s] = start, stop
    return met


@_reduction
def _least_of(values, start):
    least = values[start]
    for lane in range(1, _LANES):
        least = min(least, values[start + lane])
    return least


@_reduction
def _largest_of(values, start):
    largest = values[start]
    for lane in range(1, _LANES):
        largest = max(largest, values[start + lane])
    return largest


@_reduction
def _mean_of(values, start):
    total = 0.0
    for lane in range(_LANES):
        total += values[start + lane]
    return total / _LANES


@_kernel
def _select(kept, met, rank, lanes):
    """The rank-th smallest of each lane's values, by counting; first guesses in `_BOUND`."""
    n_rows = -(-met // _UNROLLED) * _UNROLLED
    for i in range(met * _LANES, n_rows * _LANES):
        kept[i] = np.inf
    for lane in range(_LANES):
        lanes[_LOW + lane] = -1.0
        lanes[_LOW_COUNT + lane] = 0.0
        lanes[_NEXT + lane] = -1.0
        lanes[_HIGH + lane] = np.inf
        lanes[_HIGH_COUNT + lane] = met
    n_passes = 0
    n_open = _LANES
    while n_open > 0:
        _count_within(kept, n_rows, lanes)
        n_open = _narrow(rank, lanes)
        n_passes += 1
        if n_passes > _PATIENCE:
            _halve(lanes)


@_kernel
def _narrow(rank, lanes):
    """Narrow each lane's bracket by a count; returns how many lanes are not done."""
    n_open = 0
    for lane in range(_LANES):
        bound, count = lanes[_BOUND + lane], lanes[_COUNT + lane]
        is_low = count < rank
        low = bound if is_low else lanes[_LOW + lane]
        low_count = count if is_low else lanes[_LOW_COUNT + lane]
        following = lanes[_ABOVE + lane] if is_low else lanes[_NEXT + lane]
        high = lanes[_HIGH + lane] if is_low else bound
        high_count = lanes[_HIGH_COUNT + lane] if is_low else count
        missing = rank - low_count
        is_done = (following >= 0.0) & ((missing <= 1.0) | (following == high))
        base = low if low > 0.0 else 0.0
        between = base + (high - base) * (missing - 1.0) / (high_count - low_count)
        guess = bound * (rank - 0.5) / (count + 0.5) if high == np.inf else between
        guess = following if (missing <= _FEW) | (guess < following) | (guess >= high) else guess
        guess = low if is_done else guess
        lanes[_BOUND + lane] = guess
        lanes[_LOW + lane] = low
        lanes[_LOW_COUNT + lane] = low_count
        lanes[_NEXT + lane] = following
        lanes[_HIGH + lane] = high
        lanes[_HIGH_COUNT + lane] = high_count
        n_open += 0 if is_done else 1
    return n_open


@_kernel
def _halve(lanes):
    """Halve brackets by the bits of their ends: where values lie over many scales."""
    bits = lanes.view(np.int64)
    for lane in range(_LANES):
        if lanes[_BOUND + lane] != lanes[_LOW + lane]:
            low_bits = bits[_LOW + lane] if lanes[_LOW + lane] > 0.0 else 0
            # Their sum may be too large for an integer.
            bits[_BOUND + lane] = low_bits + ((bits[_HIGH + lane] - low_bits) >> 1)
            if lanes[_BOUND + lane] <= lanes[_NEXT + lane]:
                lanes[_BOUND + lane] = lanes[_NEXT + lane]


@_inlined
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
