"""Directions are uniform on the sphere and projections are plain matrix products."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from utils import (
    WKL,
    SMICompressor,
    sample_spherical,
    sample_stiefel,
    sliced_mutual_information,
)
from utils.slicing import plan
from utils.validation import Samples

ROOT = Path(__file__).resolve().parents[1]

DIMS = (2, 3, 10)


def first_rows(dim, n, rng=0):
    """One row of each of n orthogonal matrices: these are independent."""
    return sample_spherical(dim, n * dim, rng=rng)[::dim]


@pytest.mark.parametrize("dim", [1, 2, 3, 50])
def test_directions_have_unit_length(dim):
    theta = sample_spherical(dim, 101, rng=0)
    assert theta.shape == (101, dim)
    # A row of a QR factor is orthonormal to a small multiple of the rounding unit.
    np.testing.assert_allclose(np.linalg.norm(theta, axis=1), 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dim", DIMS)
def test_directions_of_one_block_are_orthogonal(dim):
    theta = sample_spherical(dim, 3 * dim + 1, rng=0)
    for start in (0, dim, 2 * dim):
        block = theta[start : start + dim]
        np.testing.assert_allclose(block @ block.T, np.eye(dim), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dim", DIMS)
def test_directions_of_different_blocks_are_independent(dim):
    # The inner product of independent directions has the law of one coordinate.
    theta = first_rows(dim, 4000)
    products = (theta[0::2] * theta[1::2]).sum(axis=1)
    # 1e-4: a right sampler fails for one seed in 10,000.
    assert stats.kstest((1 + products) / 2, coordinate_law(dim).cdf).pvalue > 1e-4


def coordinate_law(dim):
    """Of (1 + t) / 2, t a coordinate of a uniform direction."""
    return stats.beta((dim - 1) / 2, (dim - 1) / 2)


@pytest.mark.parametrize("dim", DIMS)
def test_a_coordinate_of_any_row_has_its_exact_law(dim):
    theta = sample_spherical(dim, 2000 * dim, rng=1).reshape(2000, dim, dim)
    for row in (0, dim - 1):
        for column in (0, dim - 1):
            # 1e-4: a right sampler fails for one seed in 10,000.
            values = (1 + theta[:, row, column]) / 2
            assert stats.kstest(values, coordinate_law(dim).cdf).pvalue > 1e-4


@pytest.mark.parametrize("dim", DIMS)
def test_first_and_second_moments_are_those_of_the_sphere(dim):
    n = 4000
    theta = first_rows(dim, n)
    # Standard deviations: coordinate 1 / sqrt(d); product 1 / sqrt(d (d + 2)); square
    # sqrt(2 (d - 1) / (d^2 (d + 2))). Each mean may be off by 4 of its own.
    assert np.abs(theta.mean(axis=0)).max() < 4 / np.sqrt(dim * n)
    second = theta.T @ theta / n - np.eye(dim) / dim
    product = 1 / np.sqrt(dim * (dim + 2) * n)
    square = np.sqrt(2 * (dim - 1) / (dim**2 * (dim + 2) * n))
    assert np.abs(np.diag(second)).max() < 4 * square
    assert np.abs(second - np.diag(np.diag(second))).max() < 4 * product


@pytest.mark.parametrize("dim", [1, 2, 3, 10])
def test_signs_are_haar(dim):
    # The trace of a Haar orthogonal matrix has mean 0 and variance 1 in every dimension, and its
    # determinant is either sign with probability 1/2. A bare QR factor has neither.
    rng = np.random.default_rng(0)
    matrices = [sample_stiefel(dim, rng=rng) for _ in range(2500)]
    assert abs(np.mean([np.trace(q) for q in matrices])) < 4 / 50
    assert abs(np.mean([np.linalg.det(q) for q in matrices])) < 4 / 50


def test_in_one_dimension_directions_are_both_signs():
    theta = sample_spherical(1, 1000, rng=0)
    assert set(theta.ravel()) == {-1.0, 1.0}


@pytest.mark.parametrize("n_projections", [3, 4, 7])
def test_fewer_directions_are_a_part_of_more(n_projections):
    # Where a whole block is drawn at least.
    some = sample_spherical(3, n_projections, rng=5)
    np.testing.assert_array_equal(some, sample_spherical(3, 20, rng=5)[:n_projections])


# ---------------------------------------------------------------------------- fewer than the space


@pytest.mark.parametrize(("dim", "n_rows"), [(5, 1), (5, 2), (7, 6), (200, 3)])
def test_fewer_rows_than_dimensions_are_orthonormal(dim, n_rows):
    rows = sample_stiefel(dim, n_rows, rng=0)
    assert rows.shape == (n_rows, dim)
    np.testing.assert_allclose(rows @ rows.T, np.eye(n_rows), rtol=0, atol=1e-14)
    directions = sample_spherical(dim, n_rows, rng=0)
    np.testing.assert_allclose(directions @ directions.T, np.eye(n_rows), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("dim", "n_rows"), [(2, 1), (3, 2), (5, 2)])
def test_fewer_rows_have_the_haar_law(dim, n_rows):
    rng = np.random.default_rng(0)
    n = 3000
    frames = np.array([sample_stiefel(dim, n_rows, rng=rng) for _ in range(n)])
    for row in range(n_rows):
        for column in (0, dim - 1):
            # 1e-4: a right sampler fails for one seed in 10,000.
            values = (1 + frames[:, row, column]) / 2
            assert stats.kstest(values, coordinate_law(dim).cdf).pvalue > 1e-4
    # Haar is the law that no rotation changes: any fixed one sends a coordinate to a coordinate's.
    rotated = frames @ np.full(dim, dim**-0.5)
    for row in range(n_rows):
        assert stats.kstest((1 + rotated[:, row]) / 2, coordinate_law(dim).cdf).pvalue > 1e-4
    if n_rows > 1:
        # Rotations among the rows change nothing either.
        mixed = (frames[:, 0] + frames[:, 1])[:, 0] / np.sqrt(2)
        assert stats.kstest((1 + mixed) / 2, coordinate_law(dim).cdf).pvalue > 1e-4
    # The squares of two coordinates of a unit vector have covariance -2 / (d^2 (d + 2)).
    squares = frames**2
    expected = -2 / (dim**2 * (dim + 2))
    assert np.cov(squares[:, 0, 0], squares[:, 0, 1])[0, 1] == pytest.approx(
        expected, abs=4 * product_sd(squares[:, 0, 0], squares[:, 0, 1])
    )
    if n_rows > 1:
        assert np.mean(frames[:, 0, 0] * frames[:, 1, 0]) == pytest.approx(
            0, abs=4 * product_sd(frames[:, 0, 0], frames[:, 1, 0])
        )


def product_sd(first, second):
    """Standard deviation of the mean of a product of centred variables."""
    product = (first - first.mean()) * (second - second.mean())
    return product.std() / np.sqrt(len(product))


def test_more_rows_than_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"n_rows=4 .*dim=3"):
        sample_stiefel(3, 4)
    for n_rows in (0, -1):
        with pytest.raises(ValueError, match=f"n_rows={n_rows} is too small"):
            sample_stiefel(3, n_rows)


WIDE = """
import re
from pathlib import Path
import numpy as np
import utils
compressor = utils.SMICompressor(50_176, 64, rng=0)
slices = compressor(np.ones((2, 50_176), np.float32) * [[1], [2]])
theta = compressor.theta
assert theta.shape == (64, 50_176) and slices.shape == (64, 2)
assert np.abs(theta @ theta.T - np.eye(64)).max() < 1e-12
# Not getrusage, which begins with the peak of the process that started this one.
print(re.search("VmHWM:[^0-9]*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_a_wide_layer_is_compressed_within_a_gigabyte():
    # As a square matrix the directions alone would take 20 GB.
    done = subprocess.run(
        [sys.executable, "-c", WIDE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1_000_000


@pytest.mark.long
def test_slices_of_a_wide_layer_take_less_time_than_a_square_matrix_would():
    # One orthogonal matrix of the layer's width takes 8 times as long as all of it.
    x = np.random.default_rng(0).standard_normal((300, 2048), np.float32)
    labels = np.arange(300) % 10
    options = {"estimator": WKL(5), "y_discrete": True, "rng": 0}
    sliced_mutual_information(x[:, :3], labels, n_projections=10, **options)
    began = time.process_time()
    assert sliced_mutual_information(x, labels, n_projections=200, **options).n_projections == 200
    of_slices = time.process_time() - began
    began = time.process_time()
    sample_stiefel(2048, rng=0)
    assert of_slices < time.process_time() - began


# -------------------------------------------------------------------------------------- randomness


def test_the_same_rng_gives_the_same_directions_and_another_gives_others():
    theta = sample_spherical(4, 10, rng=7)
    np.testing.assert_array_equal(theta, sample_spherical(4, 10, rng=np.random.default_rng(7)))
    assert not np.any(theta == sample_spherical(4, 10, rng=8))


# More numbers than are projected at a time, so that there are several passes.
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (50, 3), (600, 2000)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_projections_are_a_matrix_product(n, dim, dtype):
    rng = np.random.default_rng(0)
    x = (10 * rng.standard_normal((n, dim))).astype(dtype)
    theta = rng.standard_normal((3, dim))
    center = x.mean(axis=0, dtype=float)
    expected = theta @ (x.astype(float) - center).T
    # Two orders of summing d products of size up to 50: d * 50 * 2.2e-16.
    np.testing.assert_allclose(Samples.of(x).project(theta), expected, rtol=0, atol=dim * 1.1e-14)


def test_a_large_offset_costs_no_digits():
    rng = np.random.default_rng(0)
    # Multiples of 2^-24 below 2^3: x + 1e8 is exact, and so is its difference to the centre.
    x = np.round(rng.standard_normal((500, 5)) * 2**24) / 2**24
    theta = sample_spherical(5, 4, rng=1)
    moved = x + 1e8
    center = moved.mean(axis=0)
    expected = theta @ (x - (center - 1e8)).T
    np.testing.assert_allclose(Samples.of(moved).project(theta), expected, rtol=0, atol=1e-14)


def test_a_memory_map_is_projected_without_reading_it_whole(tmp_path):
    n, dim = 2000, 2500
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(n, dim))
    rng = np.random.default_rng(0)
    mapped[:] = rng.standard_normal((n, dim), dtype=np.float32)
    theta, center = rng.standard_normal((2, dim)), mapped.mean(axis=0, dtype=float)
    expected = theta @ (np.array(mapped, dtype=float) - center).T
    samples = Samples.of(mapped)
    tracemalloc.start()
    got = samples.project(theta)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two orders of summing d products of size up to 20: d * 20 * 2.2e-16.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1.1e-11)
    # Two arrays of 2^16 float64 at most, and the result: 2 MB. The data take 20 MB, and 40 MB in
    # float64.
    assert peak < 2 * 8 * 2**16 + 8 * got.size + 1e6


def test_a_compressor_projects_centred_and_flattened_samples():
    rng = np.random.default_rng(0)
    images = rng.random((20, 1, 4, 3), dtype=np.float32)
    compressor = SMICompressor(12, 7, rng=3)
    np.testing.assert_array_equal(compressor.theta, sample_spherical(12, 7, rng=3))
    flat = images.reshape(20, 12).astype(float)
    slices = compressor(images)
    expected = compressor.theta @ (flat - flat.mean(axis=0)).T
    np.testing.assert_allclose(slices, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(slices.mean(axis=1), 0, atol=1e-14)
    assert repr(compressor) == "SMICompressor(dim=12, n_projections=7)"


def chunks_of(dim_x, dim_y, n_projections, *, n_samples=100):
    rngs = np.random.default_rng(0).spawn(2)
    return list(plan(dim_x, dim_y, n_samples, n_projections, n_groups=50, rngs=rngs))


def groups_of(chunks):
    """Directions of each group, its chunks joined."""
    numbers = [chunk.group for chunk in chunks]
    assert numbers == sorted(numbers)
    for number in dict.fromkeys(numbers):
        members = [chunk for chunk in chunks if chunk.group == number]
        yield tuple(np.vstack([getattr(c, side) for c in members]) for side in ("theta", "phi"))


@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 7), (1, 5), (40, 60)])
@pytest.mark.parametrize("n_projections", [1, 20, 333, 2000])
def test_slices_come_in_groups_and_are_as_many_as_asked_for(dim_x, dim_y, n_projections):
    groups = list(groups_of(chunks_of(dim_x, dim_y, n_projections)))
    sizes = [len(theta) for theta, _ in groups]
    assert sum(sizes) == n_projections
    assert min(25, n_projections) <= len(groups) <= 50
    assert set(sizes[:-1]) <= {sizes[0]}
    for theta, phi in groups:
        assert (theta.shape[1], phi.shape[1]) == (dim_x, dim_y)
        np.testing.assert_allclose(np.linalg.norm(theta, axis=1), 1, rtol=0, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(phi, axis=1), 1, rtol=0, atol=1e-14)


def test_the_number_of_samples_changes_how_slices_are_measured_and_not_which():
    few, many = (chunks_of(3, 2, 2000, n_samples=n_samples) for n_samples in (100, 10**5))
    assert len(few) < len(many)
    for one, other in zip(groups_of(few), groups_of(many), strict=True):
        np.testing.assert_array_equal(np.hstack(one), np.hstack(other))


def test_with_labels_only_one_side_is_sliced():
    assert all(chunk.phi is None for chunk in chunks_of(3, None, 100))


@pytest.mark.parametrize("dim", DIMS)
def test_directions_of_slices_are_uniform_and_independent(dim):
    chunks = chunks_of(dim, dim, 3000)
    theta, phi = (np.vstack([getattr(c, side) for c in chunks]) for side in ("theta", "phi"))
    law = coordinate_law(dim)
    of_neighbours, of_pairs = (theta[0::2] * theta[1::2]).sum(axis=1), (theta * phi).sum(axis=1)
    for values in (theta[:, 0], phi[:, -1], of_neighbours, of_pairs):
        # 1e-4: a right sampler fails for one seed in 10,000. Inner products of independent
        # directions have the law of one coordinate.
        assert stats.kstest((1 + values) / 2, law.cdf).pvalue > 1e-4


def test_the_center_is_the_mean_and_of_a_constant_its_very_value():
    x = np.random.default_rng(0).standard_normal((1000, 4)) + 1e6
    x[-1, 1] = x[0, 1]  # the ends agree, and the column varies
    x[:, 2] = 0.1  # whose mean over 1000 samples is rounded to another number
    assert x[:, 2].mean() != 0.1
    center = Samples.of(x).center
    assert center[2] == 0.1
    # Sums of n numbers are off by n roundings at most.
    np.testing.assert_allclose(center, x.mean(axis=0), rtol=1000 * 1.2e-16)
