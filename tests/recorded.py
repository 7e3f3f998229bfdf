"""The slices that a call measures, as an estimator sees them."""

from __future__ import annotations

from unittest import mock

import numpy as np

import utils.parallel
from utils import SliceEstimator


class Recorder(SliceEstimator):
    """Measures as another estimator does, and keeps what it was given."""

    # Without terms of single samples, a call measures the slices of the data alone.
    has_terms = False

    def __init__(self, estimator):
        self.estimator = estimator
        self.ties = estimator.ties
        self.calls = []

    @property
    def min_samples(self):
        return self.estimator.min_samples

    def by_rule(self, results):
        return self.estimator.by_rule(results)

    def slice_terms(self, x, y):
        self.calls.append((x.copy(), y.copy()))
        return self.estimator.slice_terms(x, y)

    def slice_terms_labels(self, x, labels):
        self.calls.append((x.copy(), labels.codes.copy()))
        return self.estimator.slice_terms_labels(x, labels)


def recorded_calls(function, x, y, *, estimator, **options):
    """What the estimator was given, call by call, in the order of the slices."""
    recorder = Recorder(estimator)
    with mock.patch.object(utils.parallel, "cpu_count", lambda: 1):
        function(x, y, estimator=recorder, **options)
    return recorder.calls


def recorded_slices(function, x, y, *, estimator, **options):
    """All slices of x and of y, (n_slices, n) each; of labels their codes, (n,)."""
    calls = recorded_calls(function, x, y, estimator=estimator, **options)
    x_slices = np.vstack([x_slices for x_slices, _ in calls])
    ys = [y_slices for _, y_slices in calls]
    return x_slices, ys[0] if ys[0].ndim == 1 else np.vstack(ys)
