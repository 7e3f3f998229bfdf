"""The compiled kernels find the distances that comparing all pairs finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import naive
import numpy as np
import pytest
from numba import njit
from scipy.spatial import cKDTree

from utils.kernels.line import class_distances, class_ratios, line_distances
from utils.kernels.plane import plane_distances
from utils.kernels.plane_simd import (
    BOUND,
    COUNT,
    LANES,
    compare_with_group,
    compare_within_group,
    count_below,
    count_within,
)
from utils.kernels.sorting import sort_rows

ROOT = Path(__file__).resolve().parents[1]

# Differences of two float64 are exact or rounded once, in the kernel as in the twin; a square and
# a sum round three times more: 4 * 2.2e-16. What is left of 1e-12 is room for the one thing that
# can differ: a point just outside the search box whose distance is within rounding of the box's.
EXACT = {"rtol": 1e-12, "atol": 0}


def clusters(rng, n_slices, n, width):
    centers = rng.standard_normal(10)
    return rng.choice(centers, (n_slices, n)) + width * rng.standard_normal((n_slices, n))


def heap(rng, n_slices, n):
    rows = np.zeros((n_slices, n))
    few = n // 10
    rows[:, :few] = rng.standard_normal((n_slices, few))
    return rows


ROWS = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "uniform": lambda rng, *shape: rng.random(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
    "clusters 1e-6": lambda rng, *shape: clusters(rng, *shape, 1e-6),
    "clusters 1e-9": lambda rng, *shape: clusters(rng, *shape, 1e-9),
    "integers": lambda rng, *shape: rng.integers(-5, 6, shape).astype(float),
    "all equal": lambda rng, *shape: np.full(shape, 0.3),
    "heap of zeros": heap,
    # Some share all the bits that a sorting key has room for.
    "last digits": lambda rng, *shape: (
        rng.choice([-1.0, 1.0], shape) + np.spacing(1.0) * rng.integers(0, 5000, shape)
    ),
    # All round to one float32, or to one of two.
    "one float32": lambda rng, *shape: 1 + 1e-8 * rng.standard_normal(shape),
}
every_kind = pytest.mark.parametrize("kind", ROWS)

# Around the 8 lanes, and around 8 m^2, where the number of strips changes; and n - 1 = k.
SIZES = [2, 3, 6, 7, 8, 9, 15, 16, 17, 26, 31, 32, 33, 71, 72, 73, 101, 127, 128, 129, 300]
RANKS = [1, 5, 25, 100]


def draw(kind, n_slices, n, seed=0):
    rng = np.random.default_rng([seed, n, *kind.encode()])
    return ROWS[kind](rng, n_slices, n), ROWS[kind](rng, n_slices, n)


def on_a_line(rows, ranks):
    return line_distances(*sort_rows(rows), np.array(ranks))


def in_the_plane(u, v, ranks):
    return plane_distances(u, v, sort_rows(u)[1], np.array(ranks))


@every_kind
@pytest.mark.parametrize("n", [1, 2, 9, 1000])
def test_rows_come_out_sorted_with_the_place_of_every_value(kind, n):
    rows, _ = draw(kind, 3, n)
    rows[0, : n // 2] *= -1
    values, order = sort_rows(rows)
    np.testing.assert_array_equal(values, np.sort(rows, axis=1))
    np.testing.assert_array_equal(np.take_along_axis(rows, order, axis=1), values)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(n), (3, 1)))


@pytest.mark.parametrize("n", [256, 257, 512, 2**16, 2**16 + 1])
def test_rows_with_outliers_are_sorted(n):
    # Around the sizes where an index takes a bit more, and where keys have 64 bits.
    row = draw("normal", 1, n)[0]
    row[0, :6] = [1e300, -1e300, 1e8, -1e8, np.inf, -np.inf]
    values, order = sort_rows(row)
    np.testing.assert_array_equal(values, np.sort(row, axis=1))
    np.testing.assert_array_equal(values[0], row[0, order[0]])


def test_signed_zeros_and_numbers_below_float32_are_sorted():
    rows = np.array([[0.0, -1e-300, 1e-60, -0.0, 1e-300, -1e-60, 1e-50, -1e-40, 1e-40, -1.0]])
    values, order = sort_rows(rows)
    np.testing.assert_array_equal(values, np.sort(rows, axis=1))
    np.testing.assert_array_equal(rows[0, order[0]], values[0])


@every_kind
def test_line_distances_are_those_of_all_pairs(kind):
    for n in SIZES:
        ranks = [rank for rank in (*RANKS, n - 1) if rank < n]
        rows, _ = draw(kind, 2, n)
        np.testing.assert_allclose(
            on_a_line(rows, ranks), naive.line_distances(rows, ranks), **EXACT, err_msg=f"n={n}"
        )


@every_kind
def test_class_distances_are_those_of_all_pairs_of_a_class(kind):
    for n, n_classes, ranks in ((12, 1, [1, 5, 11]), (40, 3, [1, 5]), (300, 4, [1, 5, 25])):
        rows, _ = draw(kind, 2, n)
        labels = np.random.default_rng(n).permutation(np.arange(n) % n_classes)
        sizes = np.bincount(labels)
        got = class_distances(*sort_rows(rows), labels, sizes, np.array(ranks))
        expected = naive.class_distances(rows, labels, ranks)
        np.testing.assert_allclose(got, expected, **EXACT, err_msg=f"n={n}")


def class_sizes_of(case):
    return {
        "one class": np.array([26]),
        "no more than needed": np.array([26, 27, 26]),
        "unequal": np.array([30, 200, 26, 41]),
        # More than a byte can count.
        "many": np.full(300, 6),
    }[case]


@every_kind
@pytest.mark.parametrize("case", ["one class", "no more than needed", "unequal", "many"])
def test_class_ratios_are_those_of_all_pairs(kind, case):
    sizes = class_sizes_of(case)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = labels.astype(np.min_scalar_type(len(sizes)))
    ranks = np.array([5, 1, 2] if case == "many" else [25, 1, 2, 5])
    rows, _ = draw(kind, 2, len(labels))
    sorted_rows = sort_rows(rows)
    distances = class_distances(*sorted_rows, labels, sizes, ranks)
    ratios = class_ratios(*sorted_rows, labels, sizes, ranks)
    expected = naive.class_distances(rows, labels, ranks)
    np.testing.assert_allclose(distances, expected, **EXACT)
    # Where a distance is 0 its ratio is not finite, or not a number, in both alike.
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = naive.line_distances(rows, ranks) / expected
    np.testing.assert_allclose(ratios, expected, **EXACT)


@every_kind
@pytest.mark.parametrize("rank", RANKS)
def test_plane_distances_are_those_of_all_pairs(kind, rank):
    for n in SIZES:
        if n > rank:
            u, v = draw(kind, 2, n)
            np.testing.assert_allclose(
                in_the_plane(u, v, [rank]),
                naive.plane_distances(u, v, [rank]),
                **EXACT,
                err_msg=f"n={n}",
            )


@pytest.mark.parametrize("kind", ["normal", "cauchy", "clusters 1e-9"])
def test_distances_of_3000_points_are_those_of_all_pairs(kind):
    u, v = draw(kind, 1, 3000)
    ranks = [1, 5]
    np.testing.assert_allclose(on_a_line(u, ranks), naive.line_distances(u, ranks), **EXACT)
    np.testing.assert_allclose(
        in_the_plane(u, v, ranks), naive.plane_distances(u, v, ranks), **EXACT
    )


@pytest.mark.parametrize("rank", [1, 5])
def test_distances_of_very_many_points_are_those_of_a_tree(rank):
    # A search that stops a little too early is wrong for one point in some ten thousand.
    rng = np.random.default_rng(rank)
    rows = rng.standard_normal((2, 300, 1000))
    rows[:, 100:200] **= 9
    rows[:, 200:] = rng.integers(0, 3, (2, 100, 1000)) + 0.01 * rows[:, 200:]
    got = np.sqrt(in_the_plane(*rows, [rank])[0])
    for u, v, distances in zip(*rows, got, strict=True):
        pairs = np.column_stack([u, v])
        expected = cKDTree(pairs).query(pairs, [rank + 1])[0][:, 0]
        np.testing.assert_allclose(distances, expected, **EXACT)


def test_unlike_coordinates_do_not_mislead_the_search():
    # A line, a band, and two scales: boxes long in one direction, and strips all on one height.
    rng = np.random.default_rng(0)
    u = rng.standard_normal((3, 500))
    v = np.stack([u[0], 1e-7 * rng.standard_normal(500), rng.standard_cauchy(500)])
    for first, second in ((u, v), (v, u)):
        np.testing.assert_allclose(
            in_the_plane(first, second, [1, 5]),
            naive.plane_distances(first, second, [1, 5]),
            **EXACT,
        )


@pytest.mark.parametrize("rank", [5, 25, 30])
def test_a_point_on_the_rounded_edge_of_a_search_box_is_met(rank):
    # Of numbers around 1000 only whole steps exist. An edge in between, at v + sqrt(2) steps say,
    # is rounded to v + 1 step, where points are nearer than the edge was.
    rng = np.random.default_rng(0)
    for n_steps in (20, 40):
        u, v = np.spacing(1000.0) * rng.integers(0, n_steps, (2, 8, 1000))
        v += 1000.0
        np.testing.assert_allclose(
            in_the_plane(u, v, [rank]), naive.plane_distances(u, v, [rank]), **EXACT
        )


def test_several_ranks_at_once_are_the_single_ones():
    u, v = draw("normal", 2, 200)
    ranks = [1, 2, 5, 25]
    together = in_the_plane(u, v, ranks), on_a_line(u, ranks)
    for position, rank in enumerate(ranks):
        np.testing.assert_array_equal(together[1][position], on_a_line(u, [rank])[0])
    for rank in (1, 5, 25):
        alone = in_the_plane(u, v, [rank])[0]
        np.testing.assert_array_equal(together[0][ranks.index(rank)], alone)


@pytest.mark.parametrize("n", [6, 9, 300])
def test_several_slices_at_once_are_the_single_ones(n):
    # Of unlike kinds: what one slice leaves behind must not reach the next.
    kinds = ("cauchy", "heap of zeros", "clusters 1e-9", "normal")
    drawn = [draw(kind, 1, n) for kind in kinds]
    u, v = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    labels = np.arange(n) % 2
    plane = in_the_plane(u, v, [1, 5])
    classes = class_distances(*sort_rows(u), labels, np.bincount(labels), np.array([1, 2]))
    for s in range(len(kinds)):
        one = slice(s, s + 1)
        np.testing.assert_array_equal(plane[:, one], in_the_plane(u[one], v[one], [1, 5]))
        alone = class_distances(*sort_rows(u[one]), labels, np.bincount(labels), np.array([1, 2]))
        np.testing.assert_array_equal(classes[:, one], alone)


@njit
def compiled_compare_with_group(u, v, group, start, stop, levels, chebyshev, n_seen, kept):
    compare_with_group(u, v, group, start, stop, levels, chebyshev, n_seen, kept)


@njit
def compiled_compare_within_group(u, v, group, levels, chebyshev, kept):
    compare_within_group(u, v, group, levels, chebyshev, kept)


@pytest.mark.parametrize("chebyshev", [False, True])
# The lists of distances; networks without and with a look at each candidate before.
@pytest.mark.parametrize("n_levels", [0, 1, 9])
def test_the_vector_code_keeps_the_same_distances_as_the_plain_one(n_levels, chebyshev):
    u, v = draw("normal", 1, 60)[0][0], draw("cauchy", 1, 60)[0][0]
    levels = (0,) * n_levels
    plain, compiled = np.full((2, 60 * LANES), np.inf)
    compare_within_group(u, v, 20, levels, chebyshev, plain)
    compiled_compare_within_group(u, v, 20, levels, chebyshev, compiled)
    n_seen = LANES - 1
    # No candidates, few, many: the lists go on from call to call.
    for start, stop in ((7, 7), (0, 3), (40, 60)):
        compare_with_group(u, v, 20, start, stop, levels, chebyshev, n_seen, plain)
        compiled_compare_with_group(u, v, 20, start, stop, levels, chebyshev, n_seen, compiled)
        n_seen += stop - start
    # One rounding more or less, should a compiler fuse a product and a sum: 2.2e-16.
    np.testing.assert_allclose(compiled, plain, rtol=1e-15, atol=0)
    lanes = np.arange(20, 20 + LANES)
    du, dv = (u[lanes] - u[:, None]) ** 2, (v[lanes] - v[:, None]) ** 2
    squares = np.maximum(du, dv) if chebyshev else du + dv
    squares[lanes, lanes - 20] = np.inf
    offered = np.sort(squares[[*range(3), *lanes, *range(40, 60)]], axis=0)[: n_levels or n_seen]
    kept = plain[: (n_levels or n_seen) * LANES].reshape(-1, LANES)
    np.testing.assert_allclose(np.sort(kept, axis=0), offered, rtol=1e-15, atol=0)


@njit
def compiled_count_within(kept, n_rows, lanes):
    count_within(kept, n_rows, lanes)


@njit
def compiled_count_below(values, start, bound):
    return count_below(values, start, bound)


def test_the_vector_code_counts_as_the_plain_one():
    rng = np.random.default_rng(0)
    # Of five numbers, so that some are equal to the bound.
    rows = rng.integers(0, 5, (12, LANES)).astype(float)
    for bound in (-1.0, 0.0, 2.0, 2.5, 4.0):
        plain, compiled = np.full((2, 9 * LANES), bound)
        count_within(rows.ravel(), 12, plain)
        compiled_count_within(rows.ravel(), 12, compiled)
        np.testing.assert_array_equal(compiled, plain)
        np.testing.assert_array_equal(
            plain[COUNT : COUNT + LANES], np.count_nonzero(rows <= bound, axis=0)
        )
        np.testing.assert_array_equal(plain[BOUND : BOUND + LANES], bound)
        for values in np.sort(rows, axis=1):
            padded = np.concatenate([[-9.0], values])
            expected = np.searchsorted(values, bound)
            assert count_below(padded, 1, bound) == expected
            assert compiled_count_below(padded, 1, bound) == expected


# Beyond 26 neighbours the distances of a rank are selected by counting those within a bound.
TO_SELECT = {
    "many scales": lambda rng, *shape: 10.0 ** rng.uniform(-140, 140, shape),
    "two scales": lambda rng, *shape: (
        np.where(rng.random(shape) < 0.5, 1e-100, 1e100) * rng.random(shape)
    ),
    "squares of the least numbers": lambda rng, *shape: 1e-160 * rng.standard_normal(shape),
    "grid of five": lambda rng, *shape: rng.integers(0, 5, shape).astype(float),
    "all equal": lambda rng, *shape: np.full(shape, 0.3),
}


@pytest.mark.parametrize("kind", TO_SELECT)
def test_selection_by_counting_is_that_of_sorting(kind):
    rng = np.random.default_rng(0)
    for n in (28, 60, 301):
        u, v = TO_SELECT[kind](rng, 2, 2, n)
        for ranks in ([27], [1, 5, n - 1]):
            np.testing.assert_allclose(
                in_the_plane(u, v, ranks), naive.plane_distances(u, v, ranks), **EXACT
            )


SMALL_KERNELS = """
import numpy as np, naive
from utils.kernels.counts import plane_counts
from utils.kernels.line import class_distances, class_ratios, line_distances
from utils.kernels.plane import plane_distances
from utils.kernels.sorting import sort_rows
rng = np.random.default_rng(0)
for n in (6, 8, 9, 33):
    for u, v in (rng.standard_normal((2, 2, n)), 1 + 1e-8 * rng.standard_normal((2, 2, n)),
                 rng.integers(0, 3, (2, 2, n)).astype(float)):
        ranks, labels = np.array([1, 5]), np.arange(n) % 2
        many = np.array([1, 5, 12, 30])
        values, order = sort_rows(u)
        np.testing.assert_array_equal(values, np.sort(u, axis=1))
        same = lambda got, twin: np.testing.assert_allclose(got, twin, rtol=1e-12)
        same(line_distances(values, order, ranks), naive.line_distances(u, ranks))
        same(plane_distances(u, v, order, ranks), naive.plane_distances(u, v, ranks))
        first_slice = [u[0][:, None], v[0][:, None]]
        same(plane_counts(u, v, 5)[0][0], naive.chebyshev_counts(first_slice, 5)[0])
        if n > 30:
            same(plane_distances(u, v, order, many), naive.plane_distances(u, v, many))
        same(class_distances(values, order, labels, np.bincount(labels), ranks[:1]),
             naive.class_distances(u, labels, ranks[:1]))
        with np.errstate(divide="ignore", invalid="ignore"):
            same(class_ratios(values, order, labels, np.bincount(labels), ranks[:1]),
                 naive.line_distances(u, ranks[:1]) / naive.class_distances(u, labels, ranks[:1]))
print("all the same")
"""


@pytest.mark.parametrize(
    "setting",
    ["NUMBA_DISABLE_JIT", pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.long)],
)
def test_the_kernels_read_nothing_out_of_bounds(setting, tmp_path):
    # Without the compiler numpy checks every index; with it, numba does if asked.
    environment = {
        **os.environ,
        setting: "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SMALL_KERNELS], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "all the same\n", done.stderr
