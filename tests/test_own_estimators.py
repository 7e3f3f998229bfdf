"""Estimators that a user writes: what they need, and what they are told if they lack it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recorded import recorded_slices

from utils import SliceEstimator, independence_test, sliced_mutual_information


def correlated(n, dim_x, dim_y):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


class SquaredCorrelation(SliceEstimator):
    """Unhashable, as whatever holds an array may be."""

    __hash__ = None

    def __init__(self):
        self.factor = np.array(0.5)

    def __eq__(self, other):
        return self is other

    def slice_terms(self, x, y):
        x, y = (rows / rows.std(axis=1, keepdims=True) for rows in (x, y))
        r = (x * y).mean(axis=1, keepdims=True)
        return (self.factor * r * x * y)[None]


def test_an_estimator_of_ones_own_needs_slice_terms_alone_and_no_hash():
    x, y = correlated(300, 3, 2)
    estimator = SquaredCorrelation()
    with pytest.raises(TypeError):
        hash(estimator)
    got = sliced_mutual_information(x, y, estimator=estimator, n_projections=50, rng=0)
    slices = recorded_slices(
        sliced_mutual_information, x, y, estimator=estimator, n_projections=50, rng=0
    )
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(*slices, strict=True)]
    np.testing.assert_allclose(got.per_slice, 0.5 * np.square(correlations), rtol=0, atol=1e-13)
    assert got.sampling_error > 0
    assert math.isfinite(got.independent_value)


PROTOCOL = {
    name: value for name, value in vars(SliceEstimator).items() if not name.startswith("_")
} | {"slice_terms": lambda self, x, y: np.zeros((1, *x.shape)), "has_terms": False}


@pytest.mark.parametrize("missing", [name for name in PROTOCOL if name != "slice_terms"])
def test_an_estimator_that_lacks_something_is_told_what(missing):
    x, y = correlated(50, 2, 2)
    # Not a subclass, which would inherit it.
    whole = type("Whole", (), PROTOCOL)()
    assert sliced_mutual_information(x, y, estimator=whole, n_projections=3).value == 0
    attributes = {name: value for name, value in PROTOCOL.items() if name != missing}
    lacking = type("Lacking", (), attributes)()
    for measure in (sliced_mutual_information, independence_test):
        with pytest.raises(TypeError, match=rf"lacks {missing}; .*SliceEstimator"):
            measure(x, y, estimator=lacking)


def test_an_estimator_without_slice_terms_is_told_what_is_wanted():
    x, y = correlated(50, 2, 2)
    with pytest.raises(TypeError, match=r"estimator=.* cannot measure .*SliceEstimator"):
        sliced_mutual_information(x, y, estimator=object())


def test_an_estimator_that_does_not_measure_labels_is_told_so():
    x, _ = correlated(50, 2, 2)
    with pytest.raises(
        TypeError, match=r"not measure labels; .*Gaussian\(\), or write slice_terms"
    ):
        sliced_mutual_information(
            x, np.arange(50) % 2, estimator=SquaredCorrelation(), y_discrete=True
        )
