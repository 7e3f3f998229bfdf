"""Error bars are the spread that they claim, and the value at independence is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recorded import Recorder

from utils import (
    KSG,
    WKL,
    Copula,
    CorrelatedCubed,
    CorrelatedNormal,
    Gaussian,
    sliced_mutual_information,
)

pytestmark = pytest.mark.usefixtures("one_core")


def correlated(n, dim_x, dim_y):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


def ratio_of_spread(values, errors):
    """The spread of values over the one that their errors claim."""
    return np.std(values, ddof=1) / math.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("n_projections", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_the_slicing_error_is_the_spread_over_sets_of_directions(n_projections):
    x, y = CorrelatedNormal(2.0, 10, 10, rng=0).sample(200, rng=1)
    results = [
        sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=n_projections, rng=s)
        for s in range(100)
    ]
    ratio = ratio_of_spread(*zip(*[(r.value, r.slicing_error) for r in results], strict=True))
    # A spread over 100 is known to 1 / sqrt(200) = 7 %: 4 of it. The claimed errors, each from 50
    # groups, average to within 1 %.
    assert ratio == pytest.approx(1, abs=0.29)


@pytest.mark.long
def test_the_slicing_error_of_wkl_on_independent_data_is_the_spread_over_sets_of_directions():
    x, y = np.random.default_rng(0).standard_normal((2, 100, 10))
    results = [
        sliced_mutual_information(x, y, estimator=WKL(5), n_projections=100, rng=s)
        for s in range(100)
    ]
    ratio = ratio_of_spread(*zip(*[(r.value, r.slicing_error) for r in results], strict=True))
    # As above.
    assert ratio == pytest.approx(1, abs=0.29)


long = pytest.mark.long


# Independent and dependent data, alone and in slices.
@pytest.mark.parametrize(
    ("estimator", "dim", "information"),
    [
        (WKL(5), 1, 0.0),
        pytest.param(WKL(5), 1, 1.0, marks=long),
        (WKL(5), 3, 0.0),
        (KSG(5), 1, 0.0),
        pytest.param(Copula(), 1, 1.0, marks=long),
        (Copula(), 3, 1.0),
        pytest.param(Copula(), 5, 0.0, marks=long),
        pytest.param(Gaussian(), 2, 1.0, marks=long),
    ],
)
def test_the_standard_error_is_the_spread_over_data_sets(estimator, dim, information):
    n_sets = 150
    pair = CorrelatedNormal(information, dim, dim, rng=0)
    results = []
    for seed in range(n_sets):
        x, y = pair.sample(300, rng=[seed, dim])
        results.append(
            sliced_mutual_information(x, y, estimator=estimator, n_projections=60, rng=seed)
        )
    ratio = ratio_of_spread(*zip(*[(r.value, r.std_error) for r in results], strict=True))
    # The spread is known to 1 / sqrt(2 * 150) = 6 %, the ratio at independence, from 1000, to 3 %
    # and the claimed variance is at least that of independent data, which adds some 5 %: 4 sd.
    assert ratio == pytest.approx(1, abs=0.05 + 4 * math.hypot(0.06, 0.03))


def test_the_standard_error_with_labels_is_the_spread_over_data_sets():
    results = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x, labels = rng.standard_normal((300, 2)), np.arange(300) % 3
        results.append(
            sliced_mutual_information(
                x, labels, estimator=WKL(3), n_projections=60, y_discrete=True, rng=seed
            )
        )
    ratio = ratio_of_spread(*zip(*[(r.value, r.std_error) for r in results], strict=True))
    # As above.
    assert ratio == pytest.approx(1, abs=0.05 + 4 * math.hypot(0.06, 0.03))


def test_slices_are_added_until_the_error_is_small_enough():
    x, y = correlated(200, 4, 3)
    settings = {"estimator": WKL(5), "rng": 0}
    whole = sliced_mutual_information(x, y, n_projections=1000, tol=1e-9, **settings)
    assert whole.n_projections == len(whole.per_slice) == 1000
    # Between what 1000 slices reach and what 200 do.
    tol = 1.5 * whole.slicing_error
    some = sliced_mutual_information(x, y, n_projections=1000, tol=tol, **settings)
    assert 200 <= some.n_projections < 1000
    assert some.n_projections == len(some.per_slice)
    assert some.slicing_error <= tol
    np.testing.assert_array_equal(some.per_slice, whole.per_slice[: some.n_projections])
    least = sliced_mutual_information(x, y, n_projections=1000, tol=1e9, **settings)
    assert 200 <= least.n_projections <= some.n_projections


def test_tolerances_that_are_none_are_refused():
    x, y = correlated(50, 2, 2)
    for tol in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="tol="):
            sliced_mutual_information(x, y, tol=tol)


def uncorrelated_pair(seed):
    """Samples of x and of y, with the marginals of `dependent_pair`."""
    return dependent_pair(seed)[0], dependent_pair(seed + 1000)[1]


def dependent_pair(seed):
    return CorrelatedCubed(1.0, 2, 2, rng=0).sample(300, rng=seed)


def test_the_value_at_independence_is_that_of_independent_data_of_the_same_marginals():
    # Cubed normal data, whose tails give these weights a bias.
    n_sets, options = 80, {"n_projections": 50}
    dependent = [
        sliced_mutual_information(*dependent_pair(seed), estimator=WKL(5), rng=seed, **options)
        for seed in range(n_sets)
    ]
    # Of these, the values alone.
    independent = [
        sliced_mutual_information(
            *uncorrelated_pair(seed), estimator=Recorder(WKL(5)), rng=seed, **options
        ).value
        for seed in range(n_sets)
    ]
    claimed = [result.independent_value for result in dependent]
    difference = np.mean(claimed) - np.mean(independent)
    error = math.hypot(np.std(claimed, ddof=1), np.std(independent, ddof=1)) / math.sqrt(n_sets)
    assert abs(difference) < 4 * error
    # Else neither zero nor the data's own value would be told from it.
    assert abs(np.mean(independent)) > 8 * error
    assert np.mean([result.value for result in dependent]) - np.mean(independent) > 8 * error
    # A spread over 80 is known to 8 %: 4 of it, and 10 % as errors at independence are too large.
    ratio = ratio_of_spread(claimed, [result.independent_error for result in dependent])
    assert ratio == pytest.approx(0.95, abs=0.05 + 0.32)


def test_functions_and_single_dimensions_have_no_value_at_independence():
    x, y = correlated(100, 2, 2)
    of_function = sliced_mutual_information(x, y, estimator=lambda x, y: 1.0, n_projections=5)
    assert math.isnan(of_function.independent_value)
    of_one_dimension = sliced_mutual_information(x[:, :1], y[:, :1], estimator=WKL(5))
    assert math.isnan(of_one_dimension.independent_value)
    assert "permuted" not in repr(of_one_dimension)


@pytest.mark.long
def test_the_standard_error_of_many_samples_is_the_spread_over_data_sets():
    # What samples miss of each other is simulated with 3000 of them at most.
    results = []
    for seed in range(100):
        x, y = np.random.default_rng(seed).standard_normal((2, 8000, 3))
        results.append(
            sliced_mutual_information(x, y, estimator=WKL(5), n_projections=30, rng=seed)
        )
    ratio = ratio_of_spread(*zip(*[(r.value, r.std_error) for r in results], strict=True))
    # As above; a spread over 100 is known to 7 %.
    assert ratio == pytest.approx(1, abs=0.05 + 4 * math.hypot(0.07, 0.03))
