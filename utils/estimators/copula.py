"""Mutual information from ranks: quiet where dependence is weak, and able to see any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import digamma, eval_legendre, ndtr, ndtri

from ..kernels.moments import class_moments, class_rows, copula_rows
from ..kernels.sorting import sort_rows
from ..validation import Labels, Samples, as_generator, check_count
from .base import Estimate, SliceEstimator, labelled_samples, paired_samples
from .ksg import KSG

__all__ = ["Copula"]

# The highest orders of Legendre polynomials, for pairs and for labels. Moments of pairs with high
# orders in both variables are left out: they see little that the others do not, and add noise.
_PAIR_ORDERS, _LABEL_ORDERS = 4, 4
_PAIR_MAX_TOTAL = 6
# If moments find more nats than this in a slice beside its Gaussian part, neighbours measure it.
# With few samples the bound is 15 / n, many standard deviations of what moments find by chance.
_STRONG, _STRONG_TIMES_N = 0.02, 15.0
_CDF_STEP, _CDF_REACH = 2.0**-8, 9.0


@dataclass(frozen=True)
class Copula(SliceEstimator):
    """Mutual information from ranks: a Gaussian part in closed form, and a remainder.

    Mutual information is that of the ranks alone, so each variable is replaced by the normal scores
    of its ranks. Their correlation r gives the Gaussian part, -1/2 log(1 - r^2), which has next to
    no noise. The remainder, what is not Gaussian in the scores, comes from moments of orthonormal
    Legendre polynomials of the ranks and of the residual of the scores: to second order, the
    information is half the sum of their squares, less what finitely many samples add. Where the
    remainder is strong, second order is not enough: `KSG` then measures the scores of that slice.
    Each slice is judged by its own moments, with a threshold that independent data do not reach.

    With labels, the moments are those of the ranks within each class. In more than one dimension
    `KSG` measures the normal scores of the columns.

    No value exceeds log n, about the most that n ranks can show.

    Parameters
    ----------
    k : int
        Number of neighbours for strong slices, at least 1.

    Examples
    --------
    >>> sliced_mutual_information(x, y, estimator=Copula(), rng=0)
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

        Parameters and errors as for `WKL.mutual_information`, but `rng` ranks equal samples, and x
        and y may lie in fewer dimensions than they have columns, together and alone.
        """
        x, y = paired_samples(self, x, y, as_generator(rng).spawn(2))
        if x.dim == y.dim == 1:
            terms = self.slice_terms(x.values.T.astype(float), y.values.T.astype(float))
            return Estimate.of_terms(terms[0, 0])
        return KSG(self.k).mutual_information(_scores_of_columns(x), _scores_of_columns(y))

    def mutual_information_labels(self, x: Any, labels: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of continuous data and labels.

        Parameters and errors as for `WKL.mutual_information_labels`.
        """
        x, labels = labelled_samples(self, x, labels, as_generator(rng))
        if x.dim == 1:
            terms = self.slice_terms_labels(x.values.T.astype(float), labels)
            return Estimate.of_terms(terms[0, 0])
        return KSG(self.k).mutual_information_labels(_scores_of_columns(x), labels.codes)

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms`."""
        orders, terms, parts = self._moments(x, y)
        strong = np.flatnonzero(parts[1] > _threshold(x.shape[1]))
        if len(strong):
            scores = [_scores_in_order(order[strong]) for order in orders]
            terms[strong] = KSG(self.k).slice_terms(*scores)[0]
        return _capped(terms)[None]

    def slice_statistics(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimate, its Gaussian part and its moments, shape (1, 3, n_slices)."""
        parts = self._moments(x, y)[2]
        return np.array([[parts.sum(axis=0), *parts]])

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms_labels`."""
        order = sort_rows(x)[1]
        means, parts = self._moments_of_order(order, labels)
        terms = np.empty(order.shape)
        polynomials = _polynomials(order.shape[1], _LABEL_ORDERS)
        class_rows(order, labels.codes, polynomials, means, parts, terms)
        strong = _strong_slices(parts, labels)
        if len(strong):
            scores = _scores_in_order(order[strong])
            terms[strong] = KSG(self.k).slice_terms_labels(scores, labels)[0]
        return terms[None]

    def slice_class_terms(
        self, values: np.ndarray, order: np.ndarray, labels: Labels, points: np.ndarray
    ) -> np.ndarray:
        """Pointwise terms of new points; see `SliceEstimator.slice_class_terms`.

        For a weak slice to second order, log(1 + s) = s - s^2 / 2, where s is the sum of the
        polynomials times their means in the class; from the square, what these means add to it by
        chance is subtracted.
        """
        means, parts = self._moments_of_order(order, labels)
        n_slices, n = order.shape
        places, scores = np.arange(float(n)), _normal_scores(n)
        ranks = np.array([np.interp(*pair, places) for pair in zip(points, values, strict=True)])
        strong = _strong_slices(parts, labels)
        weak = np.setdiff1d(np.arange(n_slices), strong)
        polynomials = _polynomials(n, _LABEL_ORDERS)[1:]
        at_points = np.stack([np.interp(ranks[weak], places, row) for row in polynomials], axis=1)
        first_order = means[weak, 1:].transpose(0, 2, 1) @ at_points
        excess = (n - labels.sizes) / ((n - 1.0) * labels.sizes)
        by_chance = excess[:, None] * (at_points**2).sum(axis=1)[:, None]
        terms = np.empty((n_slices, len(labels.sizes), points.shape[1]))
        terms[weak] = first_order - 0.5 * (first_order**2 - by_chance)
        if len(strong):
            terms[strong] = KSG(self.k).slice_class_terms(
                np.tile(scores, (len(strong), 1)),
                order[strong],
                labels,
                np.interp(ranks[strong], places, scores),
            )
        return terms

    def slice_statistics_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The estimate, its part of the first order and the others, shape (1, 3, n_slices)."""
        parts = self._moments_of_order(sort_rows(x)[1], labels)[1]
        return np.array([[parts.sum(axis=0), *parts]])

    @staticmethod
    def _moments(x, y):
        n = x.shape[1]
        orders = sort_rows(x)[1], sort_rows(y)[1]
        terms, parts = np.empty(x.shape), np.empty((2, len(x)))
        scores, polynomials = _normal_scores(n), _polynomials(n, _PAIR_ORDERS)
        slopes = polynomials @ scores / n
        tables = scores, polynomials, _PAIR_MAX_TOTAL, slopes, _cdf_table(), _CDF_STEP
        copula_rows(*orders, *tables, terms, parts)
        # What finitely many samples add to the closed form, at any correlation.
        bias = 0.5 * (digamma(0.5 * (n - 1)) - digamma(0.5 * (n - 2)))
        terms -= bias
        parts[0] -= bias
        return orders, terms, parts

    @staticmethod
    def _moments_of_order(order, labels):
        polynomials = _polynomials(order.shape[1], _LABEL_ORDERS)
        means = np.empty((len(order), len(polynomials), len(labels.sizes)))
        parts = np.empty((2, len(order)))
        class_moments(order, labels.codes, labels.sizes, polynomials, means, parts)
        return means, parts


def _strong_slices(parts, labels):
    threshold = _threshold(len(labels)) * math.sqrt(len(labels.sizes))
    return np.flatnonzero(parts.sum(axis=0) > threshold)


def _threshold(n):
    return max(_STRONG, _STRONG_TIMES_N / n)


def _capped(terms):
    """Lower slices above log n, which is the value of ranks that agree throughout."""
    n = terms.shape[1]
    excess = terms.mean(axis=1) - math.log(n)
    terms -= np.maximum(excess, 0.0)[:, None]
    return terms


def _scores_in_order(order):
    scores = np.empty(order.shape)
    np.put_along_axis(
        scores, order, np.broadcast_to(_normal_scores(order.shape[1]), order.shape), 1
    )
    return scores


def _scores_of_columns(samples: Samples):
    columns = samples.values[:, samples.values.max(axis=0) > samples.values.min(axis=0)]
    return _scores_in_order(sort_rows(columns.T)[1]).T


@cache
def _normal_scores(n):
    scores = ndtri((np.arange(n) + 0.5) / n)
    return scores / np.sqrt(np.mean(scores**2))


@cache
def _polynomials(n, n_orders):
    """Orthonormal Legendre polynomials of the ranks, of mean 0 and mean square 1 over them."""
    t = 2.0 * (np.arange(n) + 0.5) / n - 1.0
    table = np.array([eval_legendre(order, t) for order in range(n_orders + 1)])
    table[1:] -= table[1:].mean(axis=1, keepdims=True)
    return table / np.sqrt(np.mean(table**2, axis=1, keepdims=True))


@cache
def _cdf_table():
    return 2.0 * ndtr(np.arange(0.0, _CDF_REACH, _CDF_STEP)) - 1.0
