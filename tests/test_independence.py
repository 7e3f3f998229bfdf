"""The permutation test keeps its size, sees what its estimator sees, and is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from utils.estimators import KSG, WKL, Gaussian
from utils.smi import independence_test, sliced_mutual_information


@pytest.mark.parametrize("estimator", [KSG(3), Gaussian()])
def test_p_values_are_uniform_under_independence(estimator):
    n_sets, n_permutations = 200, 19
    p_values = []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        # Neither normal nor equal in law.
        x, y = rng.standard_cauchy((30, 2)), rng.exponential(size=(30, 3))
        test = independence_test(
            x, y, estimator=estimator, n_projections=5, n_permutations=n_permutations, rng=rng
        )
        p_values.append(test.p_value)
    grid = np.arange(1, n_permutations + 2) / (n_permutations + 1)
    at_most = np.array([np.mean(np.array(p_values) <= p + 1e-9) for p in grid])
    # Dvoretzky, Kiefer and Wolfowitz: further off than this with probability 1e-4 at most.
    assert np.abs(at_most - grid).max() < math.sqrt(math.log(2e4) / (2 * n_sets))


@pytest.mark.parametrize("estimator", [WKL(5), KSG(5)])
def test_dependence_without_correlation_is_found(estimator):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2))
    y = rng.choice([-1, 1], (300, 1)) * x
    test = independence_test(x, y, estimator=estimator, n_projections=40, rng=1)
    assert test.p_value == 1 / 200
    assert test.value > test.null_values.max()


def test_the_value_is_the_sliced_estimate_and_the_null_is_the_same_slices_permuted():
    x, y = np.random.default_rng(0).standard_normal((2, 200, 3))
    settings = {"estimator": WKL(3), "n_projections": 700, "rng": 5}
    test = independence_test(x, y, n_permutations=3, **settings)
    expected = sliced_mutual_information(x, y, **settings)
    # Sums of the same numbers in another order.
    assert test.value == pytest.approx(expected.value, abs=1e-14)
    orders = np.random.default_rng(5).spawn(5)[4]
    for null_value in test.null_values:
        permuted = sliced_mutual_information(x, y[orders.permutation(200)], **settings)
        # The mean that is subtracted is summed in another order.
        assert null_value == pytest.approx(permuted.value, abs=1e-11)
    n_as_large = np.count_nonzero(test.null_values >= test.value)
    assert test.p_value == (1 + n_as_large) / 4


def test_rules_and_functions_are_tested_like_estimators():
    x, y = np.random.default_rng(0).standard_normal((2, 100, 2))
    settings = {"n_projections": 10, "n_permutations": 5, "rng": 0}
    rules = independence_test(x, y, estimator=WKL(3, ("kth", "mutinfo")), **settings)
    alone = independence_test(x, y, estimator=WKL(3), **settings)
    assert rules["kth"].value == pytest.approx(alone.value, abs=1e-12)
    function = independence_test(
        x, y, estimator=lambda x, y: WKL(3).mutual_information(x, y).value, **settings
    )
    np.testing.assert_allclose(function.null_values, alone.null_values, rtol=0, atol=1e-11)
    assert "p_value=" in repr(alone)
    assert "n_permutations=5" in repr(alone)


def test_bad_numbers_of_permutations_are_refused():
    x, y = np.random.default_rng(0).standard_normal((2, 50, 2))
    with pytest.raises(ValueError, match="n_permutations=0 is too small"):
        independence_test(x, y, n_permutations=0)
    with pytest.raises(TypeError, match="n_permutations=1.5"):
        independence_test(x, y, n_permutations=1.5)


def test_equal_values_count_as_at_least_as_large():
    x, y = np.random.default_rng(0).standard_normal((2, 50, 2))
    test = independence_test(
        x, y, estimator=lambda x, y: 0.0, n_projections=1, n_permutations=3, rng=0
    )
    assert test.p_value == 1
