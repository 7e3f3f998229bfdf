"""Pointwise sliced mutual information: how much the slices of a sample tell of its class."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .estimators import KSG, as_slice_estimator
from .estimators.base import labelled_samples
from .kernels.points import add_interpolated
from .kernels.sorting import sort_rows
from .parallel import map_in_order, one_blas_thread
from .slicing import sample_spherical
from .validation import Samples, as_generator, as_samples, check_count

__all__ = ["PointwiseSMI"]

_DEFAULT = KSG(k=20)
# A slice is tabulated at the means of this many equal parts of its sorted samples, or of fewer
# where there are few samples.
_N_KNOTS, _SAMPLES_PER_KNOT = 128, 16
# Numbers tabulated at once: for larger arrays the system hands out new memory every time.
_NUMBERS_PER_BLOCK = 2**16
# Numbers that one task holds, 16 MB, of slices or of samples.
_NUMBERS_PER_TASK = 2**21
_MAX_SLICES_PER_TASK, _MAX_ROWS_PER_TASK = 128, 2048


class PointwiseSMI(TransformerMixin, BaseEstimator):
    """Pointwise sliced mutual information of samples with each class.

    PSMI(x; c) = E over theta of log p(theta.x | c) / p(theta.x), theta uniform on the sphere
    (Wongso et al. 2023, "Pointwise sliced mutual information for neural network explainability").
    Its mean over samples with their own classes is the sliced mutual information. It is positive
    where slices of a sample speak for a class, and low for the label of a mislabelled sample.

    Fitting tabulates each slice at 128 points, one for each 128th of the fitted samples, which are
    not kept. New samples are interpolated between these points. A sample that was fitted
    counts among its own neighbours: leave it out by `sliced_mutual_information(...).pointwise`.

    Parameters
    ----------
    estimator : SliceEstimator
        What measures a slice: `KSG`, `Copula`, or `Gaussian`, which assumes normal classes. More
        neighbours than for a mean: each sample is looked at alone. Where classes differ, `Copula`
        measures nearly every slice by neighbours too, so that the default does so at once.
    n_projections : int
        Number of slices, at least 1.
    rng : Generator, int or None
        Draws the slices. The same whole number gives the same slices at every fit.

    Attributes
    ----------
    classes_ : array, shape (n_classes,)
        The labels in the order of the columns of `transform`.
    n_features_in_ : int
    theta_ : array, shape (n_projections, n_features_in_)
        The directions.
    knots_ : array, shape (n_projections, n_knots)
        Where each slice is tabulated.
    tables_ : array of float32, shape (n_projections, n_knots, n_classes)
        The pointwise mutual information there.

    Examples
    --------
    >>> scores = PointwiseSMI(rng=0).fit(x, labels).transform(x_new)      # (n_new, n_classes)
    >>> suspicious = scores[np.arange(len(x_new)), given_labels].argsort()
    """

    def __init__(self, estimator: Any = _DEFAULT, *, n_projections: int = 500, rng: Any = None):
        self.estimator = estimator
        self.n_projections = n_projections
        self.rng = rng

    def fit(self, x: Any, labels: Any) -> PointwiseSMI:
        """Tabulate every slice of labelled samples.

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, dim).
        labels : array-like, shape (n,)
            One class per sample, of any hashable kind.

        Raises
        ------
        ValueError, TypeError
            As `sliced_mutual_information` with `y_discrete`; if the estimator cannot measure new
            points.
        """
        n_projections = check_count(self.n_projections, "n_projections")
        estimator = as_slice_estimator(self.estimator, y_discrete=True)
        direction_rng, tie_rng = as_generator(self.rng).spawn(2)
        samples, classes = labelled_samples(estimator, x, labels, tie_rng)
        self.classes_ = _as_array(classes.names)
        self.n_features_in_ = samples.dim
        with one_blas_thread:
            self.theta_ = sample_spherical(samples.dim, n_projections, rng=direction_rng)
        self._center = samples.center
        values, center, theta = self._in_precision_of(samples.values)
        n_knots = max(2, min(_N_KNOTS, len(samples) // _SAMPLES_PER_KNOT))
        starts = np.arange(n_knots) * len(samples) // n_knots
        sizes = np.diff(starts, append=len(samples))
        self.knots_ = np.empty((n_projections, n_knots))
        self.tables_ = np.empty((n_projections, n_knots, len(classes.sizes)), np.float32)

        def tabulate(rows):
            slices = Samples(values, center).project(theta[rows])
            # Means of many samples lie as close to the nearest ones as a new sample does. A sample
            # would be its own neighbour, and halfway between two, both are equally near.
            for part in _parts(len(slices), max(1, _NUMBERS_PER_BLOCK // len(samples))):
                ordered = sort_rows(slices[part])
                knots = np.add.reduceat(ordered[0], starts, axis=1) / sizes
                terms = estimator.slice_class_terms(*ordered, classes, knots)
                self.knots_[rows][part] = knots
                self.tables_[rows][part] = terms.transpose(0, 2, 1)

        size = min(max(1, _NUMBERS_PER_TASK // len(samples)), _MAX_SLICES_PER_TASK)
        map_in_order(tabulate, _parts(n_projections, size), _ignore)
        return self

    def transform(self, x: Any) -> np.ndarray:
        """Pointwise sliced mutual information of samples with each class, in nats.

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, n_features_in_).

        Returns
        -------
        array, shape (n, n_classes)

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric, not finite, empty, or not as wide as the fitted samples.
        """
        check_is_fitted(self)
        x = as_samples(x, "x")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"x has {x.shape[1]} values per sample, and the fitted samples had "
                f"{self.n_features_in_}; give as many"
            )
        x, center, theta = self._in_precision_of(x)
        sums = np.zeros((len(x), len(self.classes_)))

        def add(rows):
            centred = (x[rows] - center).T
            for part in _parts(len(theta), _MAX_SLICES_PER_TASK):
                slices = theta[part] @ centred
                add_interpolated(slices, self.knots_[part], self.tables_[part], sums[rows])

        size = min(max(1, _NUMBERS_PER_TASK // self.n_features_in_), _MAX_ROWS_PER_TASK)
        map_in_order(add, _parts(len(x), size), _ignore)
        return sums / len(self.theta_)

    def _in_precision_of(self, x):
        """Samples, centre and directions in the samples' own floating type."""
        dtype = np.float32 if x.dtype == np.float32 else float
        return x, self._center.astype(dtype), self.theta_.astype(dtype)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns of `transform`, one per class."""
        check_is_fitted(self)
        return np.array([f"psmi_{name}" for name in self.classes_], dtype=object)


def _as_array(names):
    """One entry per class, as an object where numpy would convert or nest them."""
    is_plain = len(set(map(type, names))) == 1 and not isinstance(names[0], tuple)
    return np.array(names) if is_plain else np.fromiter(names, object)


def _parts(n, size):
    return [slice(start, start + size) for start in range(0, n, size)]


def _ignore(_):
    """The task has written its result where it belongs."""
