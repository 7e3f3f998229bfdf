"""Distributions draw what they say, and know their information."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

from utils.estimators import Gaussian
from utils.slicing import sample_spherical
from utils.synthetic import (
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    SharedCoordinate,
    SignFlipped,
    Squared,
)

MARGINALS = {
    CorrelatedNormal: stats.norm.cdf,
    CorrelatedUniform: stats.uniform.cdf,
    CorrelatedCubed: lambda values: stats.norm.cdf(np.cbrt(values)),
}
every_distribution = pytest.mark.parametrize("distribution", MARGINALS)
DIMS = [(1, 1), (2, 2), (3, 5), (20, 20), (100, 100)]


@every_distribution
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 5), (4, 2)])
def test_every_component_has_its_law(distribution, dim_x, dim_y):
    x, y = distribution(2.0, dim_x, dim_y, rng=0).sample(3000, rng=1)
    assert x.shape == (3000, dim_x)
    assert y.shape == (3000, dim_y)
    for column in (*x.T, *y.T):
        # 1e-4: a right sampler fails for one seed in 10,000, a column.
        assert stats.kstest(column, MARGINALS[distribution]).pvalue > 1e-4


@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 5), (20, 20)])
def test_information_is_that_of_the_covariance(dim_x, dim_y):
    pair = CorrelatedNormal(1.5, dim_x, dim_y, rng=0)
    n = 200_000
    x, y = pair.sample(n, rng=1)
    # The closed form of the sample's covariance: bias dim_x dim_y / (2 n); variance of the mean of
    # the log density ratio, c r^2 / n for c components of correlation r.
    shared = min(dim_x, dim_y)
    bias = dim_x * dim_y / (2 * n)
    sd = math.sqrt(shared / n) * pair.correlation
    assert abs(Gaussian().mutual_information(x, y).value - bias - 1.5) < 4 * sd


@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 3), (5, 3)])
def test_all_canonical_correlations_are_the_same(dim_x, dim_y):
    pair = CorrelatedNormal(0.8, dim_x, dim_y, rng=0)
    n = 100_000
    x, y = pair.sample(n, rng=1)
    cross = x.T @ y / n
    expected = math.sqrt(1 - math.exp(-2 * 0.8 / min(dim_x, dim_y)))
    assert pair.correlation == pytest.approx(expected, rel=1e-12)
    # An entry of the cross-covariance has sd of at most sqrt(2 / n) = 0.0045; its singular values
    # move by no more than the norm of the error matrix, about sqrt(dim_x) + sqrt(dim_y) entries.
    tolerance = 4 * math.sqrt(2 / n) * (math.sqrt(dim_x) + math.sqrt(dim_y))
    singular = np.linalg.svd(cross, compute_uv=False)
    np.testing.assert_allclose(singular, expected, rtol=0, atol=tolerance)
    for side in (x, y):
        covariance = side.T @ side / n
        np.testing.assert_allclose(covariance, np.eye(side.shape[1]), rtol=0, atol=tolerance)


def test_rotations_hide_which_components_belong_together():
    pair = CorrelatedNormal(2.0, 5, 5, rng=0)
    x, y = pair.sample(10_000, rng=1)
    cross = x.T @ y / 10_000
    # Without rotations the diagonal is r and the rest 0.
    assert np.abs(np.diag(cross)).max() < 0.9 * pair.correlation
    assert np.abs(cross - np.diag(np.diag(cross))).max() > 0.2
    other = CorrelatedNormal(2.0, 5, 5, rng=1).sample(10_000, rng=1)
    assert not np.any(other[0] == x)


@cache
def directions(n, dim_x, dim_y):
    """Independent ones: a row of each orthogonal matrix; normal vectors for many dimensions."""
    rng = np.random.default_rng(1)
    if dim_x * dim_y <= 100:
        return tuple(sample_spherical(dim, n * dim, rng=rng)[::dim] for dim in (dim_x, dim_y))
    both = [rng.standard_normal((n, dim)) for dim in (dim_x, dim_y)]
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in both)


@pytest.mark.parametrize(("dim_x", "dim_y"), DIMS)
@pytest.mark.parametrize("information", [0.3, 4.0])
def test_sliced_information_is_the_average_over_directions(information, dim_x, dim_y):
    pair = CorrelatedNormal(information, dim_x, dim_y, rng=0)
    exact = pair.sliced_mutual_information
    n = 20_000
    theta, phi = directions(n, dim_x, dim_y)
    shared = min(dim_x, dim_y)
    correlations = pair.correlation * (theta[:, :shared] * phi[:, :shared]).sum(axis=1)
    terms = -0.5 * np.log1p(-(correlations**2))
    # 4 standard errors of the average, and rounding where there is but one direction.
    assert abs(terms.mean() - exact) < 4 * terms.std() / math.sqrt(n) + 1e-12


def test_sliced_information_of_the_limits_is_known():
    assert CorrelatedNormal(0.0, 2, 3).sliced_mutual_information == 0
    assert CorrelatedNormal(3.0, 1, 1).sliced_mutual_information == 3
    # In two dimensions E log|sin| over the circle is -log 2, the limit of full dependence.
    limit = CorrelatedNormal(30.0, 2, 2).sliced_mutual_information
    assert limit == pytest.approx(math.log(2), abs=1e-6)
    # Little information: -1/2 log(1 - r^2 t^2) = r^2 t^2 / 2, r^2 = 2 I / c and E t^2 = 1 / d.
    little = CorrelatedNormal(1e-8, 3, 5).sliced_mutual_information
    assert little == pytest.approx(1e-8 / 15, rel=1e-7)


def test_sliced_information_is_not_claimed_where_it_is_not_known():
    assert CorrelatedUniform(1.0, 2, 2).sliced_mutual_information is None
    assert CorrelatedCubed(1.0, 2, 2).sliced_mutual_information is None


def test_the_same_rng_gives_the_same_normal_sample_transformed():
    x, y = CorrelatedNormal(1.0, 3, 2, rng=5).sample(50, rng=6)
    uniform = CorrelatedUniform(1.0, 3, 2, rng=5).sample(50, rng=6)
    cubed = CorrelatedCubed(1.0, 3, 2, rng=5).sample(50, rng=6)
    for got, normal in ((uniform[0], x), (uniform[1], y)):
        np.testing.assert_allclose(got, stats.norm.cdf(normal), rtol=1e-12)
    for got, normal in ((cubed[0], x), (cubed[1], y)):
        np.testing.assert_allclose(got, normal**3, rtol=1e-14)


@every_distribution
def test_samples_follow_from_the_rng(distribution):
    pair = distribution(1.0, 2, 2, rng=0)
    first, again, other = (pair.sample(10, rng=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


@every_distribution
def test_a_distribution_states_what_it_is(distribution):
    pair = distribution(2, 3, 4, rng=0)
    assert repr(pair) == f"{distribution.__name__}(mutual_information=2, dim_x=3, dim_y=4)"
    assert (pair.mutual_information, pair.dim_x, pair.dim_y) == (2.0, 3, 4)
    assert distribution(0, 3, 4).correlation == 0


@pytest.mark.parametrize("distribution", [SignFlipped, Squared])
def test_there_is_dependence_without_correlation(distribution):
    n, dim = 100_000, 3
    x, y = distribution(2.0, dim, dim, rng=0).sample(n, rng=1)
    # An entry of the cross-covariance has sd sqrt(E x^2 y^2 / n); y is normal with a sign, or a
    # centred square, and E x^2 y^2 is at most 15.
    assert np.abs(x.T @ y / n).max() < 4 * math.sqrt(15 / n)
    np.testing.assert_allclose(np.cov(y.T), np.eye(dim), atol=4 * math.sqrt(15 / n))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=4 / math.sqrt(n))
    # Lengths are correlated: the dependence that is left.
    assert np.corrcoef((x**2).sum(axis=1), (y**2).sum(axis=1))[0, 1] > 0.2


def test_signs_are_those_of_whole_samples():
    plain = CorrelatedNormal(1.0, 4, 4, rng=0)
    flipped = SignFlipped(1.0, 4, 4, rng=0)
    sample_rng = np.random.default_rng(2).spawn(2)[0]
    x, y = plain.sample(50, rng=sample_rng)
    flipped_x, flipped_y = flipped.sample(50, rng=2)
    np.testing.assert_array_equal(x, flipped_x)
    signs = flipped_y / y
    np.testing.assert_array_equal(signs, np.sign(signs[:, :1]) * np.ones(4))
    # Both signs in 50 samples, but for one chance in 2^49.
    assert set(signs[:, 0]) == {-1.0, 1.0}


def test_squares_leave_the_noise_that_was_asked_for():
    # y = r (x^2 - 1) / sqrt(2) + sqrt(1 - r^2) noise: what the square explains is r^2 of the
    # variance. In one dimension rotations are signs.
    n = 100_000
    pair = Squared(0.7, 1, 1, rng=0)
    x, y = pair.sample(n, rng=1)
    r = abs(np.corrcoef(x[:, 0] ** 2, y[:, 0])[0, 1])
    # The sd of a correlation is at most 1 / sqrt(n) times the root of the fourth moment, 15 / 3.
    assert abs(r - pair.correlation) < 4 * math.sqrt(5 / n)


@pytest.mark.parametrize(
    ("information", "dim", "repetitions"),
    [(1.0, 1, 3), (1.0, 5, 1), (10.0, 2, 1), (3.0, 2, 3), (1.0, 20, 5), (1.0, 50, 1)],
)
def test_a_shared_coordinate_has_the_average_over_directions(information, dim, repetitions):
    pair = SharedCoordinate(information, dim, repetitions)
    width = repetitions + dim - 1
    theta, phi = (np.random.default_rng(seed).standard_normal((200_000, width)) for seed in (0, 1))
    # A slice has variance (sum of the repeated weights)^2 + |weights of the noise|^2.
    parts = [
        (side[:, :repetitions].sum(axis=1) ** 2, (side[:, repetitions:] ** 2).sum(axis=1))
        for side in (theta, phi)
    ]
    squared = -math.expm1(-2.0 * information)
    for shared, noise in parts:
        squared = squared * shared / (shared + noise)
    slices = -0.5 * np.log1p(-squared)
    # Four standard errors; 1e-8: rounding, where all slices are the same.
    error = 4.0 * slices.std() / math.sqrt(len(slices)) + 1e-8
    assert abs(pair.sliced_mutual_information - slices.mean()) < error


def test_a_shared_coordinate_is_repeated_and_dependent_alone():
    x, y = SharedCoordinate(1.0, 3, 2).sample(20_000, rng=0)
    assert x.shape == y.shape == (20_000, 4)
    for side in (x, y):
        np.testing.assert_array_equal(side[:, 0], side[:, 1])
    correlations = np.corrcoef(x[:, 1:].T, y[:, 1:].T)
    expected = np.eye(6)
    expected[0, 3] = expected[3, 0] = correlations[0, 3]
    # Four standard errors, 1 / sqrt(n), and less where the correlation is not 0.
    np.testing.assert_allclose(correlations, expected, atol=4.0 / math.sqrt(len(x)))
    assert abs(abs(correlations[0, 3]) - math.sqrt(-math.expm1(-2.0))) < 4.0 / math.sqrt(len(x))


@pytest.mark.parametrize("changes", [{"dim": 0}, {"repetitions": 0}, {"mutual_information": -1.0}])
def test_a_shared_coordinate_refuses_what_cannot_be(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        SharedCoordinate(**{"mutual_information": 1.0, "dim": 2, "repetitions": 1} | changes)
