"""Mutual information from ranks: quiet where dependence is weak, and able to see any."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from scipy.special import chdtri, digamma, eval_legendre, ndtr, ndtri

from ..kernels.moments import class_moments, class_rows, copula_rows
from ..kernels.sorting import sort_rows
from ..parallel import map_in_order
from ..validation import Labels, Samples, as_generator, check_count
from .base import Estimate, SliceEstimator, labelled_samples, paired_samples
from .ksg import KSG

__all__ = ["Copula"]

# The highest orders of Legendre polynomials, for pairs and for labels. Moments of pairs with high
# orders in both variables are left out: they see little that the others do not, and add noise.
_PAIR_ORDERS, _PAIR_MAX_TOTAL = 4, 6
_LABEL_ORDERS = 4
# Of many slices, the first find moments of higher orders, as long as the product of the two is no
# larger than this.
_HIGH_PAIR_ORDERS, _PAIR_MAX_PRODUCT = 10, 16
# With these probabilities a moment of independent data is found: the first; others, where one is.
_FIRST_BY_CHANCE, _OTHERS_BY_CHANCE = 1e-3, 0.05
_MIN_PILOT_SLICES, _PILOT_SLICES = 50, 100
# They are measured by several threads, so many slices at a time, unless that takes longer.
_PILOT_BLOCK, _MIN_NUMBERS_FOR_THREADS = 8, 5 * 10**4
# This many of the slices and samples tell how much slices have in common.
_COMPARED_SLICES, _COMPARED_SAMPLES = 64, 4000
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

    Moments that are 0 in all slices would only add noise to a mean over slices. So the first slices
    of a call choose the moments that all of its slices sum; see `for_slices`.

    No value exceeds log n, about the most that n ranks can show.

    Parameters
    ----------
    k : int
        Number of neighbours for strong slices, at least 1. With labels, `k // 2` are taken (2 of
        5), since a class has fewer samples, whose neighbours are further away.
    moments : tuple of (a, b), or None
        Which moments of the polynomials of order a of x's ranks and b of the residual's are summed.
        None: those of a and b up to 4 with a + b up to 6, unless slices are many enough to choose.

    Examples
    --------
    >>> sliced_mutual_information(x, y, estimator=Copula(), rng=0)
    """

    k: int = 5
    moments: tuple[tuple[int, int], ...] | None = field(default=None, repr=False)

    ties = "break"
    n_pilot_slices = _PILOT_SLICES

    def __post_init__(self):
        check_count(self.k, "k")

    @property
    def min_samples(self) -> int:
        """One more than neighbours, and enough for polynomials to differ."""
        return max(3, self.k + 1)

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
        orders, terms, _, excess = _pair_moments(x, y, self._chosen)
        strong = np.flatnonzero(excess.sum(axis=(1, 2)) > _threshold(x.shape[1]))
        if len(strong):
            scores = [_scores_in_order(order[strong]) for order in orders]
            terms[strong] = KSG(self.k).slice_terms(*scores)[0]
        return _capped(terms)[None]

    def slice_statistics(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimate, its Gaussian part and its moments, shape (1, 3, n_slices)."""
        _, _, gaussian, excess = _pair_moments(x, y, self._chosen)
        remainder = excess.sum(axis=(1, 2))
        return np.array([[gaussian + remainder, gaussian, remainder]])

    def for_slices(self, x: np.ndarray, y: np.ndarray) -> Copula:
        """This estimator with the moments that weak slices have, on their average.

        Without dependence, n m_ab^2 is a squared normal variable in each slice. Its mean over
        slices follows a chi-squared distribution, over its degrees of freedom: as many as there
        would be independent slices, which the correlations between slices tell (Satterthwaite
        1946, "An approximate distribution of estimates of variance components"). A moment is found
        if that mean is larger than chance makes it once in a thousand times. Where one is found,
        there is dependence, and once in twenty times is enough for the others: on the layer of
        `benchmarks.coverage`, half of what they hold was lost without them. If one of low order is
        found, all of low order are summed, so that nothing is lost that fewer slices would see.

        Parameters
        ----------
        x, y : arrays, shape (n_slices, n)
            Some of the slices. With fewer than 50 weak ones among them, nothing is chosen.
        """
        n = x.shape[1]
        if self.moments is not None or len(x) < _MIN_PILOT_SLICES:
            return self
        low, candidates = _low_orders(), _candidate_orders()
        orders, excess = _excess_in_threads(x, y, candidates)
        of_low = excess[:, : low.shape[0], : low.shape[1]][:, low]
        weak = np.flatnonzero(of_low.sum(axis=1) <= _threshold(n))
        if len(weak) < _MIN_PILOT_SLICES:
            return self
        slopes = _polynomials(n, _HIGH_PAIR_ORDERS) @ _normal_scores(n) / n
        by_chance = 0.5 * (1.0 - np.outer(slopes, slopes) ** 2) / (n - 1)
        mean = excess[weak].mean(axis=0)

        def found_at(p, n_independent):
            bound = by_chance * (chdtri(n_independent, p) / n_independent - 1.0)
            return candidates & (mean > bound)

        # Nothing is found with fewer independent slices that is not found if all are independent.
        found = found_at(_FIRST_BY_CHANCE, len(weak))
        if found.any():
            n_independent = _independent_slices([order[weak] for order in orders])
            found = found_at(_FIRST_BY_CHANCE, n_independent)
            if found.any():
                found = found_at(_OTHERS_BY_CHANCE, n_independent)
        # The moments of the residual alone have no noise worth mentioning.
        found[0, : low.shape[1]] = low[0]
        of_found = found[: low.shape[0], : low.shape[1]]
        if of_found[1:].any():
            of_found |= low
        return replace(self, moments=tuple((a, b) for a, b in np.argwhere(found).tolist()))

    @property
    def _of_strong_labelled(self):
        return KSG(max(1, self.k // 2))

    @property
    def _chosen(self):
        if self.moments is None:
            return _low_orders()
        return _chosen(self.moments)

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
            terms[strong] = self._of_strong_labelled.slice_terms_labels(scores, labels)[0]
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
            terms[strong] = self._of_strong_labelled.slice_class_terms(
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
    def _moments_of_order(order, labels):
        polynomials = _polynomials(order.shape[1], _LABEL_ORDERS)
        means = np.empty((len(order), len(polynomials), len(labels.sizes)))
        parts = np.empty((2, len(order)))
        class_moments(order, labels.codes, labels.sizes, polynomials, means, parts)
        return means, parts


def _pair_moments(x, y, chosen):
    """The orders of both sides, the terms, their Gaussian part, and what each moment adds."""
    n_slices, n = x.shape
    orders = sort_rows(x)[1], sort_rows(y)[1]
    terms, gaussian = np.empty((n_slices, n)), np.empty(n_slices)
    excess = np.empty((n_slices, *chosen.shape))
    scores, polynomials = _normal_scores(n), _polynomials(n, max(chosen.shape) - 1)
    slopes = polynomials @ scores / n
    tables = scores, polynomials, chosen, slopes, _cdf_table(), _CDF_STEP
    copula_rows(*orders, *tables, terms, gaussian, excess)
    bias = _gaussian_bias(gaussian, scores)
    return orders, terms - bias[:, None], gaussian - bias, excess


def _excess_in_threads(x, y, chosen):
    """The orders of both sides, and what each moment adds, as from `_pair_moments`."""
    results: list[tuple] = []

    def measure(start):
        rows = slice(start, start + _PILOT_BLOCK)
        (x_order, y_order), _, _, excess = _pair_moments(x[rows], y[rows], chosen)
        return x_order, y_order, excess

    starts = range(0, len(x), _PILOT_BLOCK)
    map_in_order(measure, starts, results.append, in_place=x.size < _MIN_NUMBERS_FOR_THREADS)
    x_order, y_order, excess = map(np.concatenate, zip(*results, strict=True))
    return (x_order, y_order), excess


def _gaussian_bias(gaussian, scores):
    """What finitely many samples add to -1/2 log(1 - r^2), and what their ranks take away.

    The first is known for normal samples, at any correlation. But scores of ranks lie further from
    each other than the samples do. With s^2 = 2 (1 - r) the mean square of z_y - z_x, about
    n phi(z) 2 s / sqrt(pi) samples near a sample at z have passed it in x and not in y, or the
    other way round, and so much is the variance that they add to its difference of ranks. In units
    of the scores, where a rank is 1 / (n phi), and averaged over all z, s^2 becomes s^2 + 2 h s,
    with h the range of the scores over n sqrt(pi). The same goes for z_y + z_x, where
    s^2 = 2 (1 + r), and the product of the two is 4 (1 - r^2). Without correlation there is no
    bias, since the sum of squares is fixed. Of simulated normal samples, n from 500 to 12,000 and
    information from 0 to 4, this explains nine tenths of the bias or more.
    """
    n = len(scores)
    of_samples = 0.5 * (digamma(0.5 * (n - 1)) - digamma(0.5 * (n - 2)))
    unexplained = np.exp(-2.0 * gaussian)
    one_plus_r = 1.0 + np.sqrt(1.0 - unexplained)
    h = (scores[-1] - scores[0]) / (n * math.sqrt(math.pi))

    def growth(square):
        return 0.5 * np.log1p(2.0 * h / (np.sqrt(square + h * h) - h))

    without_correlation = 2.0 * growth(2.0)
    of_ranks = growth(2.0 * unexplained / one_plus_r) + growth(2.0 * one_plus_r)
    return of_samples - (of_ranks - without_correlation)


def _independent_slices(orders):
    """As how many independent slices the mean square of each moment varies, by its orders.

    Two slices of independent x and y have moments whose correlation is that of the polynomials of
    x times that of the residuals of y.
    """
    x_order, y_order = (order[:_COMPARED_SLICES] for order in orders)
    x, y = _scores_in_order(x_order), _scores_in_order(y_order)
    residual_order = sort_rows(y - np.mean(x * y, axis=1, keepdims=True) * x)[1]
    correlations: list[np.ndarray] = []
    map_in_order(_correlations_of_slices, (x_order, residual_order), correlations.append)
    of_x, of_residual = correlations
    n_slices = len(orders[0])
    squares = np.mean((of_x[:, None] * of_residual) ** 2, axis=2)
    return 1.0 / (1.0 / n_slices + (1.0 - 1.0 / n_slices) * squares)


def _correlations_of_slices(order):
    """Of each polynomial of the ranks in all pairs of slices, shape (n_polynomials, n_pairs)."""
    n_slices, n = order.shape
    ranks = _in_order(np.arange(n), order)[:, :: -(-n // _COMPARED_SAMPLES)]
    pairs = np.triu_indices(n_slices, 1)
    of_samples = (polynomial[ranks] for polynomial in _polynomials(n, _HIGH_PAIR_ORDERS))
    return np.array([(values @ values.T / ranks.shape[1])[pairs] for values in of_samples])


@cache
def _low_orders():
    a, b = np.indices((_PAIR_ORDERS + 1, _PAIR_ORDERS + 1))
    return (b >= 1) & (a + b <= _PAIR_MAX_TOTAL)


@cache
def _candidate_orders():
    a, b = np.indices((_HIGH_PAIR_ORDERS + 1, _HIGH_PAIR_ORDERS + 1))
    return (a >= 1) & (b >= 1) & (a * b <= _PAIR_MAX_PRODUCT)


@cache
def _chosen(moments):
    """The moments as an array by their orders."""
    orders = np.array(moments)
    chosen = np.zeros(orders.max(axis=0) + 1, dtype=bool)
    chosen[tuple(orders.T)] = True
    return chosen


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
    return _in_order(_normal_scores(order.shape[1]), order)


def _in_order(of_ranks, order):
    """What belongs to each rank, at the samples that have it."""
    of_samples = np.empty(order.shape, of_ranks.dtype)
    np.put_along_axis(of_samples, order, np.broadcast_to(of_ranks, order.shape), 1)
    return of_samples


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
