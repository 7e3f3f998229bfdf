"""Directions are uniform on the sphere and projections are plain matrix products."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from utils.slicing import (
    SMICompressor,
    center_of,
    direction_blocks,
    direction_pairs,
    project,
    sample_spherical,
    sample_stiefel,
)

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


@pytest.mark.parametrize("n_projections", [1, 2, 3, 4, 7])
def test_fewer_directions_are_a_part_of_more(n_projections):
    some = sample_spherical(3, n_projections, rng=5)
    np.testing.assert_array_equal(some, sample_spherical(3, 20, rng=5)[:n_projections])


def test_the_same_rng_gives_the_same_directions_and_another_gives_others():
    theta = sample_spherical(4, 10, rng=7)
    np.testing.assert_array_equal(theta, sample_spherical(4, 10, rng=np.random.default_rng(7)))
    assert not np.any(theta == sample_spherical(4, 10, rng=8))


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 100])
def test_block_size_does_not_change_the_directions(dim, block_size):
    blocks = list(direction_blocks(dim, 20, block_size, rng=0))
    assert all(len(block) == block_size for block in blocks[:-1])
    np.testing.assert_array_equal(np.vstack(blocks), sample_spherical(dim, 20, rng=0))


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
    np.testing.assert_allclose(project(x, theta, center), expected, rtol=0, atol=dim * 1.1e-14)


def test_a_large_offset_costs_no_digits():
    rng = np.random.default_rng(0)
    # Multiples of 2^-24 below 2^3: x + 1e8 is exact, and so is its difference to the centre.
    x = np.round(rng.standard_normal((500, 5)) * 2**24) / 2**24
    theta = sample_spherical(5, 4, rng=1)
    moved = x + 1e8
    center = moved.mean(axis=0)
    expected = theta @ (x - (center - 1e8)).T
    np.testing.assert_allclose(project(moved, theta, center), expected, rtol=0, atol=1e-14)


def test_a_memory_map_is_projected_without_reading_it_whole(tmp_path):
    n, dim = 2000, 2500
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(n, dim))
    rng = np.random.default_rng(0)
    mapped[:] = rng.standard_normal((n, dim), dtype=np.float32)
    theta, center = rng.standard_normal((2, dim)), mapped.mean(axis=0, dtype=float)
    expected = theta @ (np.array(mapped, dtype=float) - center).T
    tracemalloc.start()
    got = project(mapped, theta, center)
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


@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 2), (3, 7), (7, 3), (1, 5), (40, 60)])
@pytest.mark.parametrize("n_projections", [1, 20, 333, 2000])
@pytest.mark.parametrize("directions", ["crossed", "paired blocks", "independent"])
def test_pairs_come_in_groups_and_are_as_many_as_asked_for(dim_x, dim_y, n_projections, directions):
    x_rng, y_rng = np.random.default_rng(0).spawn(2)
    groups = list(
        direction_pairs(
            dim_x,
            dim_y,
            n_projections,
            directions=directions,
            n_groups=50,
            x_rng=x_rng,
            y_rng=y_rng,
        )
    )
    sizes = [len(pairs) for _, _, pairs in groups]
    assert sum(sizes) == n_projections
    assert len(groups) <= 50
    assert len(groups) >= min(16, n_projections)
    assert set(sizes[:-1]) <= {sizes[0]}
    for theta, phi, pairs in groups:
        assert theta.shape[1] == dim_x
        assert phi.shape[1] == dim_y
        np.testing.assert_allclose(np.linalg.norm(theta, axis=1), 1, rtol=0, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(phi, axis=1), 1, rtol=0, atol=1e-14)
        assert len(np.unique(pairs, axis=0)) == len(pairs)


def crossed(dim, n_projections, seed):
    x_rng, y_rng = np.random.default_rng(seed).spawn(2)
    return direction_pairs(
        dim, dim, n_projections, directions="crossed", n_groups=50, x_rng=x_rng, y_rng=y_rng
    )


def test_bases_are_crossed_whole():
    for theta, phi, pairs in crossed(5, 500, 0):
        assert len(pairs) == 25
        products = (theta[pairs[:, 0]] * phi[pairs[:, 1]]).sum(axis=1)
        # Squared products of five vectors with an orthonormal basis: 1 each.
        assert (products**2).sum() == pytest.approx(5, abs=1e-12)


def test_too_few_slices_for_whole_bases_are_independent():
    theta, _, pairs = next(crossed(6, 500, 0))  # 16 blocks of 36 pairs would be 576
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    assert np.linalg.matrix_rank(theta @ theta.T) == 6
    assert np.abs(theta[:6] @ theta[:6].T - np.eye(6)).max() > 0.1


@pytest.mark.parametrize("dim", DIMS)
def test_crossed_directions_are_uniform(dim):
    thetas, phis = [], []
    for seed in range(40):
        for theta, phi, _ in crossed(dim, 16 * dim**2, seed):
            thetas.append(theta[0])
            phis.append(phi[-1])
    for vectors in (np.array(thetas), np.array(phis)):
        for column in (0, dim - 1):
            # 1e-4: a right sampler fails for one seed in 10,000.
            values = (1 + vectors[:, column]) / 2
            assert stats.kstest(values, coordinate_law(dim).cdf).pvalue > 1e-4


def test_the_center_is_the_mean_and_of_a_constant_its_very_value():
    x = np.random.default_rng(0).standard_normal((1000, 4)) + 1e6
    x[-1, 1] = x[0, 1]  # the ends agree, and the column varies
    x[:, 2] = 0.1  # whose mean over 1000 samples is rounded to another number
    assert x[:, 2].mean() != 0.1
    center = center_of(x)
    assert center[2] == 0.1
    # Sums of n numbers are off by n roundings at most.
    np.testing.assert_allclose(center, x.mean(axis=0), rtol=1000 * 1.2e-16)
