"""The permutation test keeps its size, sees what its estimator sees, and is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recorded import recorded_calls

import utils.parallel
from utils import KSG, WKL, Gaussian, independence_test, sliced_mutual_information


@pytest.mark.parametrize("estimator", [KSG(5), Gaussian()])
def test_p_values_are_uniform_under_independence(estimator, monkeypatch):
    # Thousands of small measurements, which are over sooner in one thread.
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: 1)
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


@pytest.mark.parametrize("discrete", [False, True])
def test_the_value_is_the_sliced_estimate_and_the_null_is_the_same_slices_permuted(discrete):
    x, y = np.random.default_rng(0).standard_normal((2, 200, 3))
    y = np.arange(200) % 3 if discrete else y
    options = {"estimator": WKL(5), "n_projections": 30, "y_discrete": discrete, "rng": 5}
    test = independence_test(x, y, n_permutations=3, **options)
    # Sums of the same numbers in another order.
    expected = sliced_mutual_information(x, y, **options).per_slice.mean()
    assert test.value == pytest.approx(expected, abs=1e-14)
    calls = recorded_calls(independence_test, x, y, n_permutations=3, **options)
    # Chunk after chunk: the data first, then their permutations.
    orders = np.array_split(np.arange(len(calls)).reshape(-1, 4).T, 4)
    own_x, own_y = assembled([calls[i] for i in orders[0][0]])
    found = set()
    for null_value, order in zip(test.null_values, orders[1:], strict=True):
        null_x, null_y = assembled([calls[i] for i in order[0]])
        np.testing.assert_array_equal(null_x, own_x)
        if discrete:
            np.testing.assert_array_equal(np.bincount(null_y), np.bincount(own_y))
            assert (null_y != own_y).any()
            pairs = [(row, null_y) for row in null_x]
        else:
            # Values of a slice differ, so the permutation can be read off; it is one for all.
            permutation = np.argsort(own_y[0])[np.argsort(np.argsort(null_y[0]))]
            np.testing.assert_array_equal(null_y, own_y[:, permutation])
            found.add(permutation.tobytes())
            pairs = zip(null_x, null_y, strict=True)
        measure = WKL(5).mutual_information_labels if discrete else WKL(5).mutual_information
        # The pair is whitened in another rotation: rounding.
        values = [measure(x, y).value for x, y in pairs]
        assert null_value == pytest.approx(np.mean(values), abs=1e-11)
    assert discrete or len(found) == 3
    n_as_large = np.count_nonzero(test.null_values >= test.value)
    assert test.p_value == (1 + n_as_large) / 4


def assembled(calls):
    """Slices of x and of y from several calls; labels are the same in all."""
    xs, ys = zip(*calls, strict=True)
    return np.vstack(xs), ys[0] if ys[0].ndim == 1 else np.vstack(ys)


def test_rules_and_functions_are_tested_like_estimators():
    x, y = np.random.default_rng(0).standard_normal((2, 100, 2))
    options = {"n_projections": 10, "n_permutations": 5, "rng": 0}
    rules = independence_test(x, y, estimator=WKL(5, ("kth", "mutinfo")), **options)
    alone = independence_test(x, y, estimator=WKL(5), **options)
    assert rules["kth"].value == pytest.approx(alone.value, abs=1e-12)
    function = independence_test(
        x, y, estimator=lambda x, y: WKL(5).mutual_information(x, y).value, **options
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
