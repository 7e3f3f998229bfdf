"""Estimator of Kraskov, Stoegbauer and Grassberger: counts of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import digamma

from ..kernels.counts import line_counts, plane_counts
from ..kernels.line import class_distances
from ..kernels.points import class_distances_to_points, counts_around_points
from ..kernels.sorting import sort_rows
from ..validation import Labels, as_generator, check_count
from .base import Estimate, SliceEstimator, labelled_samples, paired_samples
from .preparation import standardize
from .wkl import sklearn_neighbors

__all__ = ["KSG"]


@dataclass(frozen=True)
class KSG(SliceEstimator):
    """Estimator of Kraskov, Stoegbauer and Grassberger: counts of neighbours, no densities.

    With the distance to the k-th neighbour of the pair in the maximum metric, and n_x, n_y the
    samples nearer than that in x and in y alone,
    I = psi(k) + psi(n) - mean of psi(n_x + 1) + psi(n_y + 1) (Kraskov et al. 2004, "Estimating
    mutual information", eq. 8). Columns are first scaled to unit variance. Its bias vanishes at
    independence; it saturates near log(n), and so does not notice infinite information.

    Parameters
    ----------
    k : int
        Number of neighbours, at least 1. More neighbours: less noise, more bias.

    Examples
    --------
    >>> KSG(k=5).mutual_information(x, y)
    Estimate(value=..., std_error=...)
    """

    k: int = 5

    ties = "break"

    def __post_init__(self):
        check_count(self.k, "k")

    @property
    def min_samples(self) -> int:
        """One more than neighbours."""
        return self.k + 1

    def mutual_information(self, x: Any, y: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of two continuous variables.

        Parameters and errors as for `WKL.mutual_information`, but x and y may lie in fewer
        dimensions than they have columns, together and alone.
        """
        pair = paired_samples(self, x, y, as_generator(rng).spawn(2))
        x, y = (_columns(samples.values) for samples in pair)
        if len(x) == len(y) == 1:
            return Estimate.of_terms(self.slice_terms(x, y)[0, 0])
        radii = _chebyshev_radii(np.vstack([x, y]).T, self.k)
        return Estimate.of_terms(self._terms(*(_counts_within(block.T, radii) for block in (x, y))))

    def mutual_information_labels(self, x: Any, labels: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of continuous data and labels.

        With the distance to the k-th neighbour of the same class, n_c the size of the class and m
        the samples nearer than that of any class, the sample itself among them,
        I = psi(k) + psi(n) - mean of psi(n_c) + psi(m) (Ross 2014, "Mutual information between
        discrete and continuous data sets", eq. 2, with m as scikit-learn counts it). Parameters
        and errors as for `WKL.mutual_information_labels`.
        """
        samples, labels = labelled_samples(self, x, labels, as_generator(rng))
        x = _columns(samples.values)
        if len(x) == 1:
            return Estimate.of_terms(self.slice_terms_labels(x, labels)[0, 0])
        radii = np.empty(len(labels))
        for code in range(len(labels.sizes)):
            members = labels.codes == code
            radii[members] = _chebyshev_radii(x.T[members], self.k)
        counts = labels.sizes[labels.codes], _counts_within(x.T, radii)
        return Estimate.of_terms(self._terms(*counts))

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms`."""
        return self._terms(*plane_counts(standardize(x), standardize(y), self.k))[None]

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms_labels`."""
        values, order = sort_rows(standardize(x))
        ranks = np.array([self.k])
        radii = class_distances(values, order, labels.codes, labels.sizes, ranks)[0]
        counts = labels.sizes[labels.codes], line_counts(values, order, radii)
        return self._terms(*counts)[None]

    def slice_class_terms(
        self, values: np.ndarray, order: np.ndarray, labels: Labels, points: np.ndarray
    ) -> np.ndarray:
        """Pointwise terms of new points; see `SliceEstimator.slice_class_terms`.

        A point is counted as one more sample, of all classes in turn.
        """
        radii = class_distances_to_points(values, order, labels.codes, labels.sizes, points, self.k)
        n = values.shape[1]
        psi = _digamma_table(n + 1)
        of_class = psi[self.k] + psi[n + 1] - psi[labels.sizes + 1]
        return of_class[:, None] - psi[counts_around_points(values, points, radii) + 1]

    def _terms(self, x_counts, y_counts):
        n = x_counts.shape[-1]
        psi = _digamma_table(n)
        return psi[self.k] + psi[n] - psi[x_counts] - psi[y_counts]


@cache
def _digamma_table(n):
    """Of whole numbers up to n."""
    return digamma(np.arange(n + 1.0))


def _columns(values):
    """Standardised columns as rows, those that are constant left out."""
    return standardize(values[:, values.max(axis=0) > values.min(axis=0)].T)


def _chebyshev_radii(x, k):
    """The largest number below the distance to the k-th neighbour of every row."""
    search = sklearn_neighbors().NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(x)
    return np.nextafter(search.kneighbors()[0][:, -1], 0.0)


def _counts_within(x, radii):
    tree = sklearn_neighbors().KDTree(x, metric="chebyshev")
    return tree.query_radius(x, radii, count_only=True)
