"""The innermost steps of the plane search, on vectors of eight points.

Each step is written twice. The plain functions say what it does; they run where the compiler is
switched off. The vector code, with the same meaning, is what compiled callers get: LLVM lowers the
vectors to what the machine has. As plain loops the compiler would leave the lists of neighbours in
memory, and the search of a whole slice would take 2.3 times as long.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from .compilation import uncounted

__all__ = ["compare_with_group", "compare_within_group", "count_below", "count_within"]

LANES = 8
# From here on, a candidate enters the network only if some lane has use for it (measured for 5 to
# 40 neighbours).
SHORT_NETWORK = 7
UNROLLED = 4  # rows counted side by side: each step of one sum waits for the step before
# Where in `lanes`, the state of a group, the values of each kind begin.
FOUND, BOUND, COUNT, ABOVE, LOW, LOW_COUNT, NEXT, HIGH, HIGH_COUNT = range(0, 9 * LANES, LANES)

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


def compare_within_group(u, v, group, levels, chebyshev, kept):
    """Begin the lists of a group's points with the distances from each other.

    Arguments as for `compare_with_group`; every point meets the seven others.
    """
    kept[: len(levels) * LANES] = np.inf
    for turn in range(1, LANES):
        others = group + (np.arange(LANES) + turn) % LANES
        _insert(_squares(u, v, group, others, chebyshev), levels, turn - 1, kept)


def compare_with_group(u, v, group, start, stop, levels, chebyshev, n_seen, kept):
    """Insert points start..stop into the lists of a group's points.

    `kept` holds rows of `LANES` squared distances, flattened; lane l belongs to the point
    `group + l`. With `levels`, one row per level, each lane ascending; without, one row per point
    compared, of which there are `n_seen` so far.
    """
    for candidate in range(start, stop):
        squares = _squares(u, v, group, candidate, chebyshev)
        _insert(squares, levels, n_seen + candidate - start, kept)


def count_below(values, start, bound):
    """How many of the next `LANES` values are below `bound`, up to the first that is not.

    They may reach past the end of the row: there is padding.
    """
    for lane in range(LANES):
        if values[start + lane] >= bound:
            return lane
    return LANES


def count_within(kept, n_rows, lanes):
    """How many of each lane's values are at most its bound, and the least of the others."""
    rows = kept[: n_rows * LANES].reshape(n_rows, LANES)
    within = rows <= lanes[BOUND : BOUND + LANES]
    lanes[COUNT : COUNT + LANES] = within.sum(axis=0)
    lanes[ABOVE : ABOVE + LANES] = np.where(within, np.inf, rows).min(axis=0)


def _squares(u, v, group, others, chebyshev):
    lanes = slice(group, group + LANES)
    du, dv = (u[others] - u[lanes]) ** 2, (v[others] - v[lanes]) ** 2
    return np.maximum(du, dv) if chebyshev else du + dv


def _insert(squares, levels, row, kept):
    for lane in range(LANES):
        square = squares[lane]
        for level in range(len(levels)):
            at = level * LANES + lane
            kept[at], square = min(kept[at], square), max(kept[at], square)
    if len(levels) == 0:
        kept[row * LANES : (row + 1) * LANES] = squares


def _vector_at(builder, pointer):
    return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, LANES).as_pointer())


def _load_vector(builder, pointer):
    loaded = builder.load(_vector_at(builder, pointer))
    loaded.align = 8
    return loaded


def _store_vector(builder, vector, pointer):
    stored = builder.store(vector, _vector_at(builder, pointer))
    stored.align = 8


def _broadcast(builder, value):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    first = builder.insert_element(undefined, value, zeros.type.element(0))
    return builder.shuffle_vector(first, undefined, zeros)


def _rotate(builder, vector, turn):
    places = [(lane + turn) % LANES for lane in range(LANES)]
    places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
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


def _emit_insert(builder, square, registers):
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


@overload(compare_within_group, jit_options=uncounted)
def _compare_within_group_compiled(u, v, group, levels, chebyshev, kept):
    def compare(u, v, group, levels, chebyshev, kept):
        return _compare_within_group_vectors(u, v, group, levels, chebyshev, kept)

    return compare


@intrinsic
def _compare_within_group_vectors(typing_context, u, v, group, levels, chebyshev, kept):
    signature = types.void(u, v, group, levels, chebyshev, kept)

    def generate(context, builder, signature, arguments):
        u_data, v_data, kept = (
            _data(context, builder, signature, arguments, position) for position in (0, 1, 5)
        )
        integer = arguments[2].type
        u_group = _load_vector(builder, builder.gep(u_data, [arguments[2]]))
        v_group = _load_vector(builder, builder.gep(v_data, [arguments[2]]))

        def emit(is_chebyshev):
            infinite = ir.Constant(_VECTOR, [math.inf] * LANES)
            registers = [cgutils.alloca_once_value(builder, infinite) for _ in levels]
            for turn in range(1, LANES):
                du = builder.fsub(_rotate(builder, u_group, turn), u_group)
                dv = builder.fsub(_rotate(builder, v_group, turn), v_group)
                square = _emit_square(builder, du, dv, is_chebyshev)
                if registers:
                    _emit_insert(builder, square, registers)
                else:
                    row = builder.gep(kept, [integer((turn - 1) * LANES)])
                    _store_vector(builder, square, row)
            for level, register in enumerate(registers):
                row = builder.gep(kept, [integer(level * LANES)])
                _store_vector(builder, builder.load(register), row)

        _emit_for_both_metrics(builder, arguments[4], emit)
        return context.get_dummy_value()

    return signature, generate


@overload(compare_with_group, jit_options=uncounted)
def _compare_with_group_compiled(u, v, group, start, stop, levels, chebyshev, n_seen, kept):
    def compare(u, v, group, start, stop, levels, chebyshev, n_seen, kept):
        return _compare_with_group_vectors(
            u, v, group, start, stop, levels, chebyshev, n_seen, kept
        )

    return compare


@intrinsic
def _compare_with_group_vectors(
    typing_context, u, v, group, start, stop, levels, chebyshev, n_seen, kept
):
    """`compare_with_group` in vector registers; LLVM lowers the vectors to what the machine has."""
    signature = types.void(u, v, group, start, stop, levels, chebyshev, n_seen, kept)

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
            rows = [builder.gep(kept, [integer(level * LANES)]) for level in range(len(levels))]
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
                if len(registers) > SHORT_NETWORK:
                    # Most candidates are too far for all of the points: a look first.
                    nearer = builder.fcmp_ordered("<", square, builder.load(registers[-1]))
                    mask = builder.bitcast(nearer, ir.IntType(LANES))
                    with builder.if_then(builder.icmp_unsigned("!=", mask, mask.type(0))):
                        _emit_insert(builder, square, registers)
                elif registers:
                    _emit_insert(builder, square, registers)
                else:
                    row = builder.mul(builder.add(offset, candidate), integer(LANES))
                    _store_vector(builder, square, builder.gep(kept, [row]))
            for row, register in zip(rows, registers, strict=True):
                _store_vector(builder, builder.load(register), row)

        _emit_for_both_metrics(builder, arguments[6], emit)
        return context.get_dummy_value()

    return signature, generate


@overload(count_below, jit_options=uncounted)
def _count_below_compiled(values, start, bound):
    def count(values, start, bound):
        return _count_below_vectors(values, start, bound)

    return count


@intrinsic
def _count_below_vectors(typing_context, values, start, bound):
    """`count_below` without a branch, which a processor would guess wrong half of the time."""
    signature = types.int64(values, start, types.float64)

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        loaded = _load_vector(builder, builder.gep(data, [arguments[1]]))
        reached = builder.fcmp_ordered(">=", loaded, _broadcast(builder, arguments[2]))
        mask = builder.zext(builder.bitcast(reached, ir.IntType(LANES)), ir.IntType(64))
        all_below = ir.IntType(64)(1 << LANES)
        return builder.cttz(builder.or_(mask, all_below), ir.IntType(1)(1))

    return signature, generate


@overload(count_within, jit_options=uncounted)
def _count_within_compiled(kept, n_rows, lanes):
    def count(kept, n_rows, lanes):
        return _count_within_vectors(kept, n_rows, lanes)

    return count


@intrinsic
def _count_within_vectors(typing_context, kept, n_rows, lanes):
    """`count_within`; `n_rows` is a multiple of `UNROLLED`."""
    signature = types.void(kept, n_rows, lanes)

    def generate(context, builder, signature, arguments):
        kept, lanes = (_data(context, builder, signature, arguments, at) for at in (0, 2))
        integer = arguments[1].type
        integers = ir.VectorType(integer, LANES)
        infinite = ir.Constant(_VECTOR, [math.inf] * LANES)
        zeros = ir.Constant(integers, [0] * LANES)
        bound = _load_vector(builder, builder.gep(lanes, [integer(BOUND)]))
        sums = [
            (
                cgutils.alloca_once_value(builder, zeros),
                cgutils.alloca_once_value(builder, infinite),
            )
            for _ in range(UNROLLED)
        ]
        with cgutils.for_range_slice(
            builder, integer(0), arguments[1], integer(UNROLLED), integer
        ) as (row, _):
            for step, (count, least) in enumerate(sums):
                at = builder.mul(builder.add(row, integer(step)), integer(LANES))
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
        _store_vector(builder, count, builder.gep(lanes, [integer(COUNT)]))
        _store_vector(builder, least, builder.gep(lanes, [integer(ABOVE)]))
        return context.get_dummy_value()

    return signature, generate
