"""The permutation test keeps its size, sees what its estimator sees, and is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recorded import recorded_calls
from scipy import signal

from utils import KSG, WKL, Gaussian, independence_test, sliced_mutual_information


@pytest.mark.parametrize("estimator", [KSG(5), Gaussian()])
def test_p_values_are_uniform_under_independence(estimator, one_core):
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


@pytest.mark.usefixtures("one_core")
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


def autoregressive(rng, n):
    """A series that remembers: each value is 0.9 times the last, and noise."""
    return signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(n))


def of_subjects(rng, n):
    """Ten samples of each subject, which have most of their variance in common."""
    return np.repeat(rng.standard_normal(n // 10), 10) + 0.3 * rng.standard_normal(n)


# Two thirds of a series' stretches of 50 remember nothing of the one before: 0.9^17 = 1/6.
GROUPED = {"a time series": (autoregressive, 50), "subjects": (of_subjects, 10)}


@pytest.mark.parametrize(("draw", "size"), GROUPED.values(), ids=GROUPED)
def test_groups_keep_the_size_where_samples_depend_on_each_other(draw, size, one_core):
    n, n_sets = 1000, 100
    groups = np.arange(n) // size
    n_rejected = {"groups": 0, "none": 0}
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        x, y = draw(rng, n), draw(rng, n)
        for name, given in (("groups", groups), ("none", None)):
            test = independence_test(
                x, y, estimator=Gaussian(), n_permutations=19, groups=given, rng=seed
            )
            n_rejected[name] += test.p_value <= 0.05
    # Of 100 tests at level 0.05 more than 13 reject with probability 2e-4; without groups, the
    # correlation of such samples has several times the variance of independent ones.
    assert n_rejected["groups"] <= 13
    assert n_rejected["none"] >= 30


def test_groups_change_places_as_a_whole():
    rng = np.random.default_rng(0)
    # Not in order, and of sizes 3 (four groups), 2 (two groups) and 1 (one).
    names = rng.permutation(np.repeat(["a", "b", "c", "d", "e", "f", "g"], [3, 3, 3, 3, 2, 2, 1]))
    x, y = np.arange(17.0), rng.permutation(17).astype(float)
    orders = []

    def record(x, y):
        orders.append(y[:, 0])
        return 0.0

    independence_test(x, y, estimator=record, n_permutations=50, groups=names, rng=0)
    blocks = {name: tuple(orders[0][names == name]) for name in "abcdefg"}
    moved = set()
    for order in orders[1:]:
        places = {name: tuple(order[names == name]) for name in "abcdefg"}
        assert sorted(places.values()) == sorted(blocks.values())
        assert places["g"] == blocks["g"]
        moved |= {name for name in places if places[name] != blocks[name]}
    assert moved == set("abcdef")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.arange(39) % 3, "x has 40 samples and groups has 39"),
        ([None, *np.arange(39) % 3], "groups holds None; give"),
        (np.repeat([0, 1], [10, 30]), "groups has 2 groups, and no two of the same size.*; cut"),
        (np.ones((40, 2)), r"groups has shape \(40, 2\); give one"),
    ],
)
def test_bad_groups_are_named(groups, message):
    x, y = np.random.default_rng(0).standard_normal((2, 40, 2))
    with pytest.raises(ValueError, match=message):
        independence_test(x, y, n_permutations=3, groups=groups, rng=0)


def test_samples_with_missing_values_leave_their_group():
    x, y = np.random.default_rng(0).standard_normal((2, 40, 2))
    groups = np.arange(40) // 10
    options = {"n_projections": 10, "n_permutations": 5, "rng": 0}
    kept = np.setdiff1d(np.arange(40), [0, 10, 11])
    expected = independence_test(x[kept], y[kept], groups=groups[kept], **options)
    x[0], y[[10, 11]] = np.nan, np.nan
    with pytest.warns(UserWarning, match="3 of 40 samples have missing values"):
        test = independence_test(x, y, groups=groups, nan_policy="omit", **options)
    np.testing.assert_array_equal(test.null_values, expected.null_values)
