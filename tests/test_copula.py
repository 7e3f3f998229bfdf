"""Copula: unbiased at independence and on Gaussian data, and not blind to other dependence."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from scipy import stats
from utils.copula import Copula

from utils import copula
from utils.estimators import Gaussian
from utils.smi import sliced_mutual_information
from utils.synthetic import CorrelatedNormal

every_remainder = pytest.mark.parametrize("estimator", [Copula(), Copula(bins=5), Copula(k=5)])


def slices_of(correlation, n_slices, n, seed):
    x, y = np.random.default_rng(seed).standard_normal((2, n_slices, n))
    return x, correlation * x + math.sqrt(1 - correlation**2) * y


def some_rank_bias(n):
    return np.sin(np.arange(n))


@pytest.fixture
def no_calibration(monkeypatch):
    monkeypatch.setattr(
        copula, "_calibration", lambda estimator, n: ([0.0], [0.0], some_rank_bias(n))
    )


@every_remainder
@pytest.mark.parametrize("n", [30, 101, 1000])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_terms_are_those_of_the_definition(estimator, n, correlation, no_calibration):
    x, y = slices_of(correlation, 3, n, seed=n)
    got = estimator.slice_terms(x, y**3)[0]
    for s in range(3):
        expected = naive.copula_terms(x[s], y[s] ** 3, bins=estimator.bins, k=estimator.k)
        for values in (x[s], y[s]):
            expected -= some_rank_bias(n)[stats.rankdata(values).astype(int) - 1]
        # Logs of distances and of small differences of scores: some 100 roundings.
        np.testing.assert_allclose(got[s], expected, rtol=0, atol=1e-10)


@every_remainder
@pytest.mark.parametrize("n", [200, 1000])
def test_independent_data_average_to_zero(estimator, n):
    x, y = slices_of(0.0, 2000, n, seed=1)
    values = estimator.slice_terms(np.exp(x), y**3)[0].mean(axis=1)
    # The mean of 2000, and the calibration's own error: of 2000 slices at least. 4 sd of both.
    assert abs(values.mean()) < 4 * math.sqrt(2) * values.std() / math.sqrt(2000)


@every_remainder
@pytest.mark.parametrize("information", [0.05, 0.5, 2.0])
def test_gaussian_data_have_their_information_whatever_the_marginals(estimator, information):
    n, n_slices = 1000, 300
    r = math.sqrt(-math.expm1(-2 * information))
    x, y = slices_of(r, n_slices, n, seed=2)
    errors = estimator.slice_terms(stats.norm.cdf(x), y**3)[0].mean(axis=1) - information
    # Without the noise of the correlation, whose own bias is 1 / 2 n.
    errors -= Gaussian().slice_terms(x, y)[0].mean(axis=1) - information - 0.5 / n
    # 4 sd of the mean, and of a calibration of at least 100 such slices.
    tolerance = 4 * errors.std() * math.sqrt(1 / n_slices + 1 / 100)
    assert abs(errors.mean()) < tolerance


# How much of it: cells lose what goes on within them; measured over 20 seeds, tolerances.md, row 9.
@pytest.mark.parametrize(
    ("estimator", "bias", "tolerance"), [(Copula(), -0.638, 0.040), (Copula(k=25), -0.033, 0.072)]
)
def test_dependence_without_correlation_is_seen(estimator, bias, tolerance):
    n = 3000
    x, noise = np.random.default_rng(0).standard_normal((2, n))
    value = estimator.mutual_information(x, x**2 + 0.5 * noise).value
    assert value == pytest.approx((1 + bias) * square_information(0.5), abs=tolerance)


def square_information(noise):
    """I(X; X^2 + noise Z) by quadrature: h(Y) - h(noise Z)."""
    y = np.linspace(-4, 40, 4001)
    x = np.linspace(0, 7, 2001)
    weights = 2 * stats.norm.pdf(x) * (x[1] - x[0])
    weights[0] /= 2
    density = np.array([weights @ stats.norm.pdf(v, x**2, noise) for v in y])
    entropy = -np.sum(density * np.log(np.maximum(density, 1e-300))) * (y[1] - y[0])
    return entropy - (0.5 * math.log(2 * math.pi * math.e) + math.log(noise))


@every_remainder
def test_only_ranks_matter(estimator):
    x, y = slices_of(0.5, 2, 300, seed=4)
    expected = estimator.slice_terms(x, y)
    np.testing.assert_array_equal(estimator.slice_terms(np.exp(x), np.arctan(y)), expected)
    np.testing.assert_array_equal(estimator.slice_terms(1e-9 * x + 7, 1e9 * y), expected)
    np.testing.assert_array_equal(estimator.slice_terms(1e-200 * x, 1e200 * y), expected)


def test_ties_are_ranked_at_random_and_independent_ties_show_no_information():
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, 3, (2, 500)).astype(float)
        with pytest.warns(UserWarning, match="repeat others"):
            values.append(Copula().mutual_information(x, y, rng=seed).value)
    # Three values and three values: chi^2 with 4 degrees of freedom over 2 n, mean 0.004, 4 sd of
    # the mean of 40.
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(40)


def test_ranks_that_agree_give_a_finite_large_value():
    x = np.random.default_rng(0).standard_normal(500)
    for estimator in (Copula(), Copula(k=3)):
        assert math.log(500) - 1 < estimator.mutual_information(x, np.exp(x)).value < 12


def test_copula_measures_slices():
    x, y = CorrelatedNormal(2.0, 5, 5, rng=0).sample(2000, rng=1)
    smi = sliced_mutual_information(x, y, estimator=Copula(), n_projections=500, rng=2)
    gaussian = sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=500, rng=2)
    # Their difference is the remainder's noise, independent data's at least, sd 0.0010 a slice at
    # n = 2000, and the ranks'; a bound of 4 sd for slices taken as independent, and 1 / n twice.
    assert abs(smi.value - gaussian.value) < 4 * 0.0010 / math.sqrt(500) + 2 / 2000
    assert smi.pointwise.mean() == pytest.approx(smi.value, abs=1e-12)


def test_bad_settings_and_data_are_refused():
    with pytest.raises(ValueError, match="bins=1 is too small"):
        Copula(bins=1)
    with pytest.raises(ValueError, match="k=0 is too small"):
        Copula(k=0)
    x = np.random.default_rng(0).standard_normal((6, 2))
    with pytest.raises(ValueError, match="x has 2 columns"):
        Copula().mutual_information(x, x)
    with pytest.raises(ValueError, match="too few for bins=8"):
        Copula(bins=8).mutual_information(x[:, 0], x[:, 1])
    with pytest.raises(ValueError, match="too few for k=6"):
        sliced_mutual_information(x, x[:, ::-1], estimator=Copula(k=6))
    with pytest.raises(ValueError, match="labels"):
        sliced_mutual_information(x, np.arange(6) % 2, estimator=Copula(), y_discrete=True)
