"""Normal classes and their labels, against exact values and other ways to the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad, trapezoid
from scipy.stats import multivariate_normal, norm

from utils import Gaussian, independence_test, sliced_mutual_information
from utils.estimators.base import Labels

MEANS, SPREADS, SHARES = np.array([-1.0, 0.5, 3.0]), np.array([0.5, 1.0, 2.0]), (0.5, 0.3, 0.2)


def mixture(n, rng):
    codes = rng.choice(3, n, p=SHARES)
    return MEANS[codes] + SPREADS[codes] * rng.standard_normal(n), codes


def exact_information():
    def entropy_density(value):
        density = (np.array(SHARES) * norm.pdf(value, MEANS, SPREADS)).sum()
        return -density * math.log(density)

    within = sum(p * norm(m, s).entropy() for p, m, s in zip(SHARES, MEANS, SPREADS, strict=True))
    return quad(entropy_density, -15, 20, limit=300)[0] - within


def test_normal_classes_have_their_exact_information():
    values = [
        Gaussian().mutual_information_labels(*mixture(2000, np.random.default_rng(seed)))
        for seed in range(50)
    ]
    got = np.array([estimate.value for estimate in values])
    # The truth is within 4 standard errors of the mean of 50, and so close a bias of (3 - 1) / n.
    tolerance = 4 * got.std(ddof=1) / math.sqrt(50) + 2 / 2000
    assert got.mean() == pytest.approx(exact_information(), abs=tolerance)
    # One standard error of a spread over 50 sets is 10 % of it.
    errors = np.mean([estimate.std_error for estimate in values])
    assert errors == pytest.approx(got.std(ddof=1), rel=0.4)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_independent_labels_give_0(dim, n_classes):
    values = []
    for seed in range(200):
        rng = np.random.default_rng([seed, dim, n_classes])
        x, labels = rng.standard_normal((300, dim)), rng.permutation(np.arange(300) % n_classes)
        values.append(Gaussian().mutual_information_labels(x, labels).value)
    # A class of 30 samples adds about (n_classes - 1) dim (dim + 3) / 4n, up to 0.135, if this is
    # not subtracted; half of 1 % of a nat is what the mixture differs by at so few.
    tolerance = 4 * np.std(values) / math.sqrt(200) + 0.005 * dim
    assert abs(np.mean(values)) < tolerance


@pytest.mark.parametrize("dim", [1, 3])
def test_it_is_the_log_ratio_of_fitted_densities(dim):
    rng = np.random.default_rng(dim)
    labels = rng.choice(np.array(["a", "b", "c"]), 200)
    shift = (labels == "b")[:, None] * 3.0
    # A large offset and scale cost no digits.
    x = 1e4 * (rng.standard_normal((200, dim)) @ rng.standard_normal((dim, dim)) + shift) + 1e6
    values = []
    for name in "abc":
        own = x[labels == name]
        density = multivariate_normal(own.mean(axis=0), np.cov(own.T, bias=True))
        values.append((np.mean(labels == name), density.logpdf(x), labels == name))
    mixture_density = np.log(sum(p * np.exp(logs) for p, logs, _ in values))
    expected = sum((logs * own).sum() for _, logs, own in values) - mixture_density.sum()
    # Less what independent samples add: half of (n_classes - 1) times the number of parameters of a
    # class, over n, and some 10 % more at 60 samples per class.
    got = Gaussian().mutual_information_labels(x, labels)
    degrees = dim * (dim + 3) / 4 * 2 / 200
    assert got.value + degrees == pytest.approx(expected / 200, abs=degrees * 0.15)
    if dim == 1:
        sizes = np.array([(labels == name).sum() for name in "abc"])
        codes = np.searchsorted(np.array(["a", "b", "c"]), labels)
        terms = Gaussian().slice_terms_labels(x.T - x.mean(), Labels(codes, sizes, list("abc")))
        assert terms.shape == (1, 1, 200)
        assert terms.mean() == pytest.approx(got.value, abs=1e-12)


def test_it_is_blind_to_what_means_and_variances_do_not_show_and_says_no_more_than_labels_know():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    # Two clusters against one normal distribution of the same variance.
    x = np.where(
        labels, rng.standard_normal(4000), rng.choice([-1, 1], 4000) + rng.normal(0, 1e-3, 4000)
    )
    estimate = Gaussian().mutual_information_labels(x, labels)
    assert abs(estimate.value) < 4 * estimate.std_error + 1e-3
    apart = 1e6 * labels + rng.standard_normal(4000)
    # All but log 2: the terms are those of the labels, less what independent ones add.
    assert Gaussian().mutual_information_labels(apart, labels).value == pytest.approx(
        math.log(2), abs=2 / 4000
    )


def test_slices_and_the_test_of_independence_take_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    x = rng.standard_normal((2000, 2))
    x[:, 0] += 2.0 * labels
    smi = sliced_mutual_information(x, labels, estimator=Gaussian(), y_discrete=True, rng=0)

    def of_shift(shift):
        pair = norm.pdf(np.linspace(-12, 14, 4001)), norm.pdf(np.linspace(-12, 14, 4001), shift)
        density = np.maximum(0.5 * (pair[0] + pair[1]), 1e-300)
        return -trapezoid(density * np.log(density), dx=26 / 4000) - norm.entropy()

    # A slice at angle a has normal classes 2 cos(a) apart.
    angles = (np.arange(200) + 0.5) * math.pi / 400
    exact = np.mean([of_shift(2.0 * math.cos(angle)) for angle in angles])
    assert smi.value == pytest.approx(exact, abs=4 * smi.std_error)
    test = independence_test(
        x, labels, estimator=Gaussian(), y_discrete=True, n_projections=20, n_permutations=19
    )
    assert test.p_value == 0.05


@pytest.mark.parametrize("dim", [1, 2])
def test_a_class_without_spread_is_refused(dim):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((100, dim)), np.arange(100) % 2
    x[labels == 1] = 0.25
    with pytest.raises(ValueError, match=r"class 1 varies in fewer directions .*infinite"):
        Gaussian().mutual_information_labels(x, labels)
    with pytest.raises(ValueError, match=r"class 1 varies in fewer directions .*infinite"):
        sliced_mutual_information(x, labels, estimator=Gaussian(), y_discrete=True)
