"""Copula: zero at independence whatever the marginals, right on dependence of any kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma, eval_legendre, ndtr, ndtri
from scipy.stats import norm, rankdata

from utils import (
    KSG,
    Copula,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    independence_test,
    mutual_information_of_slices,
    parallel,
    sliced_mutual_information,
)
from utils.validation import UnmeasurableError, as_labels


def slices_of(correlation, n_slices, n, seed):
    x, y = np.random.default_rng(seed).standard_normal((2, n_slices, n))
    return x, correlation * x + math.sqrt(1.0 - correlation**2) * y


def normal_scores(x):
    scores = ndtri((rankdata(x) - 0.5) / len(x))
    return scores / np.sqrt(np.mean(scores**2))


def polynomials(ranks, order):
    values = eval_legendre(order, 2.0 * (ranks - 0.5) / len(ranks) - 1.0)
    values = values - values.mean()
    return values / np.sqrt(np.mean(values**2))


def by_moments(x, y):
    """The definition, in plain NumPy."""
    n = len(x)
    first, second = normal_scores(x), normal_scores(y)
    r = np.mean(first * second)
    residual = (second - r * first) / math.sqrt(1.0 - r * r)
    value = -0.5 * math.log(1.0 - r * r) - 0.5 * (digamma(0.5 * (n - 1)) - digamma(0.5 * (n - 2)))
    h = np.ptp(first) / (n * math.sqrt(math.pi))
    for square in (2.0 * (1.0 - r), 2.0 * (1.0 + r)):
        # s^2 + 2 h s is what is seen of s^2.
        s, s_without = (math.sqrt(seen + h**2) - h for seen in (square, 2.0))
        value += 0.5 * math.log((1.0 + 2.0 * h / s) / (1.0 + 2.0 * h / s_without))
    for b in (1, 2, 3, 4):
        of_residual = math.sqrt(2 * b + 1) * eval_legendre(b, 2.0 * ndtr(residual) - 1.0)
        value += 0.5 * of_residual.mean() ** 2
        for a in range(1, min(4, 6 - b) + 1):
            product = polynomials(rankdata(x), a) * of_residual
            slopes = [np.mean(polynomials(rankdata(x), order) * first) for order in (a, b)]
            bias = (product.var() - np.prod(slopes) ** 2) / (n - 1)
            value += 0.5 * (product.mean() ** 2 - bias)
    return value


@pytest.mark.parametrize("n", [20, 101, 1000])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_weak_slices_are_measured_by_their_moments(n, correlation):
    x, y = slices_of(correlation, 3, n, seed=n)
    got = Copula().slice_terms(x, np.exp(y))[0].mean(axis=1)
    # The normal distribution function is interpolated between multiples of 1/256: its error is at
    # most phi' / (8 * 256^2) = 5e-7, times slopes of the polynomials of at most 60.
    np.testing.assert_allclose(got, list(map(by_moments, x, y)), rtol=0, atol=5e-5)


@pytest.mark.parametrize("n", [50, 200, 3000])
def test_independent_data_average_to_zero(n):
    n_slices = 200_000 // n
    x, y = slices_of(0.0, n_slices, n, seed=1)
    values = Copula().slice_terms(np.exp(x), y**3)[0].mean(axis=1)
    # 4 standard deviations of the mean, and what the second order leaves of a bias in 1 / n:
    # 0.003 at n = 50 (4000 slices), falling as 1 / n^2.
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(n_slices) + 10.0 / n**2


@pytest.mark.parametrize("n", [200, 3000])
def test_independent_labels_average_to_zero(n):
    rng = np.random.default_rng(2)
    labels = as_labels(np.arange(n) % 7 % 3, "labels")
    n_slices = 200_000 // n
    values = Copula().slice_terms_labels(rng.standard_cauchy((n_slices, n)), labels)[0].mean(axis=1)
    # The bias is exact for permuted ranks: 4 standard deviations of the mean.
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(n_slices)


def test_only_ranks_matter():
    x, y = slices_of(0.7, 3, 500, seed=3)
    labels = as_labels((y[0] > 0.5).astype(int), "labels")
    np.testing.assert_array_equal(
        Copula().slice_terms(x, y), Copula().slice_terms(np.exp(3.0 * x), np.arctan(y))
    )
    np.testing.assert_array_equal(
        Copula().slice_terms_labels(x, labels), Copula().slice_terms_labels(x**3, labels)
    )


@pytest.mark.parametrize("information", [0.01, 0.1, 0.5, 1.0, 2.0, 3.0])
def test_normal_data_are_read_right(information):
    correlation = math.sqrt(-math.expm1(-2.0 * information))
    x, y = slices_of(correlation, 400, 3000, seed=4)
    # The closed form of the same samples takes most of the noise away; its own bias is 1 / 2 n.
    closed = Gaussian().slice_terms(x, y)[0].mean(axis=1) - 0.5 / 3000
    errors = Copula().slice_terms(x, y)[0].mean(axis=1) - closed
    # 0.1 % and 1e-4 of bias (without the correction of ranks, 0.4 % at 2 nat), and 4 standard
    # deviations of the mean.
    limit = 0.001 * information + 1e-4 + 4 * errors.std() / math.sqrt(400)
    assert abs(errors.mean()) < limit


@pytest.mark.parametrize("seed", range(4))
def test_slices_without_moments_sum_none(seed):
    x, y = CorrelatedNormal(2.0, 20, 20, rng=seed).sample(1000, rng=seed)
    slices = (SMICompressor(20, 100, rng=[seed, side])(z) for side, z in enumerate((x, y**3)))
    chosen = Copula().for_slices(*slices).moments
    # 38 candidates, of which the first is found with probability 1e-3: once in 7 sets of 4 seeds.
    assert all(a == 0 for a, _ in chosen)


def test_moments_that_slices_share_are_found():
    rng = np.random.default_rng(10)
    x, noise = rng.standard_normal((2, 3000, 10))
    slices = (SMICompressor(10, 100, rng=side)(z) for side, z in enumerate((x, x**2 + noise)))
    assert (2, 1) in Copula().for_slices(*slices).moments


def test_of_many_samples_too_the_first_slices_choose():
    rng = np.random.default_rng(14)
    x, noise = rng.uniform(size=(50, 45_000)), rng.standard_normal((50, 45_000))
    # Five half waves, of which moments up to order 4 see an eighth.
    y = 0.2 * np.cos(5.0 * np.pi * x) + noise
    found = mutual_information_of_slices(x, y).value
    grid = np.linspace(-8.0, 8.0, 1001)
    waves = 0.2 * np.cos(5.0 * np.pi * (np.arange(1000) + 0.5) / 1000)
    density = norm.pdf(grid, waves[:, None]).mean(axis=0)
    truth = -np.sum(density * np.log(density)) * (grid[1] - grid[0]) - norm.entropy()
    # The moments of all orders, to second order, are within 2 %. The square root of
    # 2 * truth / (50 * 45,000), a standard deviation of the mean, is 1 %.
    assert found == pytest.approx(truth, rel=0.06)


def test_few_slices_choose_nothing():
    x, y = np.random.default_rng(11).standard_normal((2, 49, 100))
    assert Copula().for_slices(x, y) == Copula()


def test_weak_dependence_in_high_dimension_is_read_without_noise():
    pair = CorrelatedNormal(2.0, 50, 50, rng=0)
    x, y = pair.sample(3000, rng=1)
    found = sliced_mutual_information(x, y, n_projections=1000, rng=2)
    exact = pair.sliced_mutual_information
    # Thirteen moments would add 0.5 sqrt(2 * 13) / 3000 = 8.5e-4 of noise per slice, 2.7e-5 in
    # their mean: a third of the value.
    assert found.std_error < 0.1 * exact
    assert abs(found.value - exact) < 4 * found.std_error


def flipped_information(correlation):
    """Of y = s (r x + sqrt(1 - r^2) z), s a random sign, by quadrature over x and y."""
    grid = np.linspace(-8.0, 8.0, 1601)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    variance = 1.0 - correlation**2
    halves = [np.exp(-0.5 * (y - sign * correlation * x) ** 2 / variance) for sign in (1.0, -1.0)]
    conditional = 0.5 * sum(halves) / math.sqrt(2.0 * math.pi * variance)
    marginal = np.exp(-0.5 * y**2) / math.sqrt(2.0 * math.pi)
    density = conditional * np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    logs = np.log(np.maximum(conditional, 1e-300) / marginal)
    return float((density * logs).sum() * (grid[1] - grid[0]) ** 2)


@pytest.mark.parametrize("correlation", [0.5, 0.8, 0.95])
def test_dependence_without_correlation_is_seen(correlation):
    x, y = slices_of(correlation, 60, 3000, seed=5)
    signs = np.random.default_rng(6).choice([-1.0, 1.0], y.shape)
    values = Copula().slice_terms(x, signs * y)[0].mean(axis=1)
    truth = flipped_information(correlation)
    # 10 % (of the second order where it is weak, of 5 neighbours where it is strong).
    limit = 0.10 * truth + 4 * values.std() / math.sqrt(60)
    assert abs(values.mean() - truth) < limit


@pytest.mark.parametrize("shift", [0.2, 1.0, 3.0])
def test_labels_of_normal_classes_are_read_right(shift):
    grid = np.linspace(-10.0, 10.0 + shift, 20_001)
    classes = np.exp(-0.5 * (grid - np.array([[0.0], [shift]])) ** 2) / math.sqrt(2 * math.pi)
    mixture = classes.mean(axis=0)
    logs = np.log(np.maximum(classes, 1e-300) / mixture)
    truth = float((classes * logs).sum() * 0.5 * (grid[1] - grid[0]))
    codes = np.random.default_rng(7).integers(0, 2, 3000)
    x = np.random.default_rng(8).standard_normal((60, 3000)) + shift * codes
    values = Copula().slice_terms_labels(x, as_labels(codes, "labels"))[0].mean(axis=1)
    # 4 %, of the second order; and how far 3000 labels are from halves shows less.
    assert abs(values.mean() - truth) < 0.04 * truth + 4 * values.std() / math.sqrt(60)


def test_no_value_exceeds_what_ranks_can_know():
    x = np.random.default_rng(9).standard_normal((2, 400))
    values = Copula().slice_terms(x, np.exp(x))[0].mean(axis=1)
    assert (values <= math.log(400)).all()
    # Five neighbours lose digamma(5) of it.
    assert (values > math.log(400) - digamma(5) - 0.1).all()


def test_more_dimensions_are_those_of_the_scores():
    x, y = CorrelatedNormal(1.0, 2, 2, rng=0).sample(800, rng=1)
    scores = [np.column_stack([normal_scores(column) for column in z.T]) for z in (x, y)]
    expected = KSG().mutual_information(*scores).value
    assert Copula().mutual_information(x**3, y).value == pytest.approx(expected, abs=1e-9)
    labels = y[:, 0] > 0
    expected = KSG().mutual_information_labels(scores[0], labels).value
    assert Copula().mutual_information_labels(x**3, labels).value == pytest.approx(expected)


def test_one_far_value_changes_next_to_nothing():
    x, y = CorrelatedNormal(2.0, 3, 3, rng=0).sample(2000, rng=1)
    clean = sliced_mutual_information(x, y, n_projections=300, rng=2).value
    x[0] = 1e6
    spiked = sliced_mutual_information(x, y, n_projections=300, rng=2).value
    # One rank of 2000 moves.
    assert spiked == pytest.approx(clean, rel=0.03)


def test_the_test_of_independence_sees_what_moments_or_correlation_see():
    rng = np.random.default_rng(10)
    x, noise = rng.standard_normal((2, 200, 5))
    for y in (x**2 + noise, 0.4 * x + noise, rng.choice([-1.0, 1.0], (200, 1)) * x):
        # The smallest p-value of 99 permutations.
        assert independence_test(x, y, n_permutations=99, rng=1).p_value == 0.01


def test_too_few_samples_are_refused():
    with pytest.raises(UnmeasurableError, match="has 5 samples, too few for Copula"):
        Copula().mutual_information(np.arange(5.0), np.arange(5.0) ** 2)
    # Of two ranks, polynomials of an even order are constant.
    with pytest.raises(UnmeasurableError, match="has 2 samples, too few for Copula"):
        Copula(k=1).mutual_information([0.3, 0.9], [0.7, 0.2])


def test_strong_slices_with_labels_are_measured_by_half_as_many_neighbours():
    codes = np.arange(600) % 3
    x = np.random.default_rng(12).standard_normal((2, 600)) + 3.0 * codes
    labels = as_labels(codes, "labels")
    expected = KSG(2).slice_terms_labels(np.array(list(map(normal_scores, x))), labels)
    found = Copula(5).slice_terms_labels(x**3, labels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


# 100 slices of 50,000 samples are 40 MB on each side, and more than 32.
@pytest.mark.parametrize(("n", "n_shown"), [(1000, 1000), (50_000, 41_943)])
def test_first_slices_are_shown_in_little_memory(n, n_shown):
    shown = []

    class Watching(Gaussian):
        n_pilot_slices = 100

        def for_slices(self, x, y):
            shown.append(x.shape)
            return self

    x, y = np.random.default_rng(13).standard_normal((2, n, 2))
    sliced_mutual_information(x, y, estimator=Watching(), n_projections=4, rng=0)
    assert shown == [(4, n_shown)]


def test_every_one_of_the_first_slices_counts_on_any_number_of_cores(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100, 1000))
    # Weak dependence without correlation, of the last fifth alone: n m^2 is about 14 there
    # (1000 * 0.12^2) and 1 by chance. Its mean over all slices is 4, and by chance 1 +- 0.14.
    y[80:] += 0.1 * x[80:] ** 2
    chosen = []
    for n_cores in (1, 2):
        monkeypatch.setattr(parallel, "cpu_count", lambda n=n_cores: n)
        chosen.append(Copula().for_slices(x, y).moments)
    assert (2, 1) in chosen[0]
    assert chosen[0] == chosen[1]
    monkeypatch.undo()
    assert (2, 1) not in Copula().for_slices(x[:80], y[:80]).moments
