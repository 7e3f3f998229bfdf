"""An estimator for weak dependence: ranks to normal scores, and what is not Gaussian in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from scipy.special import digamma, ndtri

from ..kernels.moments import add_cell_terms, score_rows
from ..kernels.plane import plane_distances
from ..kernels.sorting import sort_rows
from ..validation import as_generator, check_count
from .base import Estimate, SliceEstimator, paired_samples
from .gaussian import Gaussian

__all__ = ["Copula"]

# Mutual information of the simulated Gaussian data; between them the bias is interpolated.
_CALIBRATED_AT = (0.0, 0.1, 0.3, 0.7, 1.2, 2.0, 3.0, 4.0)
# Numbers drawn a calibration, and bounds of the slices they make: the error it leaves is that of
# some 10,000 slices of independent data where n is a few thousand.
_CALIBRATION_SIZE = 3 * 10**7
_FEWEST_CALIBRATING, _MOST_CALIBRATING = 200, 10_000
# Slices are measured in threads: the first calibrates, the others wait.
_calibrating = Lock()


@dataclass(frozen=True)
class Copula(SliceEstimator):
    """Mutual information from ranks: a Gaussian part in closed form, and a calibrated remainder.

    Mutual information is that of the ranks alone, so each variable is replaced by the normal scores
    of its ranks, whose law is known. With their correlation r, and w what the first does not
    explain of the second linearly, in units of its standard deviation,

        I = -1/2 log(1 - r^2) + KL(law of (z_x, w) from two independent standard normals).

    The closed form has next to no noise where dependence is weak. The remainder sees dependence
    without correlation. It is measured by `bins` x `bins` cells of equal probability (little noise;
    blind to what goes on within a cell, so far too low for strong dependence that is not
    Gaussian), or by the k-th neighbour (more noise, next to no such blindness): cells to tell weak
    dependence from none, k=10 for the value of strong dependence. Its bias on Gaussian data of the
    same correlation, known from simulation once a sample size, is subtracted: on independent data
    the mean is 0. Values saturate near log(n), as ranks know no finer differences.

    Parameters
    ----------
    bins : int
        Cells a variable, at least 2. Fewer have less noise and see less. In 100 dimensions (3000
        samples, 2000 slices), SMI of cubed normal data correlates with mutual information 0 to 4
        by 0.96 / 0.94 / 0.87 / 0.81 for 3 / 4 / 6 / 8 (3 seeds). Of the information of
        Y = X^2 + noise / 2 they find 22 / 36 / 52 / 62 %, of data of correlation 0.9 and random
        sign 22 / 38 / 59 / 70 %.
    k : int or None
        Measure the remainder by the k-th neighbour instead.

    Examples
    --------
    >>> sliced_mutual_information(x, y, estimator=Copula(), rng=0)
    >>> sliced_mutual_information(x, y, estimator=Copula(k=10), rng=0)
    """

    bins: int = 4
    k: int | None = None

    def __post_init__(self):
        check_count(self.bins, "bins", least=2)
        if self.k is not None:
            check_count(self.k, "k")

    def mutual_information(self, x, y, *, rng=None) -> Estimate:
        """Mutual information of two continuous variables of one dimension each.

        Parameters
        ----------
        x, y : array-like, shape (n,) or (n, 1)
            Paired samples.
        rng : Generator, int or None
            Ranks equal samples at random.

        Returns
        -------
        Estimate

        Raises
        ------
        ValueError, TypeError
            If the data are not numeric, finite and paired, have more than one column, no spread,
            or fewer samples than `bins` (than k + 1); if y looks like labels.
        """
        pair = paired_samples(self, x, y, as_generator(rng).spawn(2))
        x, y = (self._row(samples.values, name) for samples, name in zip(pair, "xy", strict=True))
        return Estimate.of_terms(self.slice_terms(x, y)[0, 0])

    def slice_terms(self, x, y):
        """Pointwise terms a slice, as `WKL.slice_terms`; shape (1, n_slices, n)."""
        n = x.shape[1]
        with _calibrating:
            parts, biases, rank_bias = _calibration(self, n)
        orders = sort_rows(x)[1], sort_rows(y)[1]
        terms, gaussian_parts = self._raw_terms(*orders, rank_bias)
        return (terms - np.interp(gaussian_parts, parts, biases)[:, None])[None]

    @property
    def min_samples(self) -> int:
        """One more than neighbours, or as many as cells of each variable."""
        return self.bins if self.k is None else self.k + 1

    def _row(self, values, name):
        if values.shape[1] > 1:
            raise ValueError(
                f"{name} has {values.shape[1]} columns, and Copula measures one against one; slice "
                f"them by sliced_mutual_information"
            )
        return values.T.astype(float)

    def _raw_terms(self, x_order, y_order, rank_bias):
        """Terms before calibration, (n_slices, n), and -1/2 log(1 - r^2) of each slice.

        `rank_bias`, (n,), is subtracted by the rank of each variable.
        """
        n = x_order.shape[1]
        scores = _normal_scores(n)
        first, second, residual, terms = np.empty((4, *x_order.shape))
        scales = np.empty(len(x_order))
        score_rows(x_order, y_order, scores, rank_bias, first, second, residual, scales, terms)
        if self.k is None:
            edges = ndtri(np.arange(1, self.bins) / self.bins)
            add_cell_terms(x_order, residual, edges, terms)
        else:
            squares = plane_distances(first, residual, x_order, np.array([self.k]))[0]
            terms -= np.log(squares)
            terms += 0.5 * (first * first + residual * residual)
            terms += math.log(2.0 / (n - 1)) + digamma(self.k)
        return terms, -np.log(scales)


@cache
def _normal_scores(n):
    scores = ndtri((np.arange(n) + 0.5) / n)
    return scores / np.sqrt(np.mean(scores**2))


@cache
def _calibration(estimator, n):
    """Mean Gaussian part and mean bias, on Gaussian data of each of `_CALIBRATED_AT`.

    And what the bias of a sample's term on independent data owes to the sample's rank in one
    variable, (n,): its mean over the ranks is 0, so that it is noise to the terms, not to the
    value. By the k-th neighbour it is large at the edges, and much the same in all slices.
    """
    n_slices = min(max(_CALIBRATION_SIZE // n, _FEWEST_CALIBRATING), _MOST_CALIBRATING)
    n_blocks = -(-n_slices // _calibrating_block(n))
    _, bias, by_rank = _simulated(estimator, n, 0.0, n_blocks)
    # From the same random numbers, what dependence changes of the bias has little noise.
    few = -(-n_blocks // 20)
    parts, biases, _ = zip(*(_simulated(estimator, n, i, few) for i in _CALIBRATED_AT), strict=True)
    # The same from above as from below.
    by_rank = 0.5 * (by_rank + by_rank[::-1])
    return np.array(parts), np.array(biases) + (bias - biases[0]), by_rank - by_rank.mean()


def _calibrating_block(n):
    return max(1, 2**16 // n)


def _simulated(estimator, n, information, n_blocks):
    """Mean Gaussian part, bias, and bias by rank in one variable, on Gaussian data."""
    rng = np.random.default_rng(0)
    r, rest = math.sqrt(-math.expm1(-2.0 * information)), math.exp(-information)
    sums, by_rank = np.zeros(2), np.zeros(n)
    for _ in range(n_blocks):
        x, y = rng.standard_normal((2, _calibrating_block(n), n))
        y = r * x + rest * y
        orders = sort_rows(x)[1], sort_rows(y)[1]
        terms, gaussian_parts = estimator._raw_terms(*orders, np.zeros(n))
        for order in orders:
            by_rank += np.take_along_axis(terms, order, axis=1).mean(axis=0)
        # The closed form of the same data takes the noise of the Gaussian part away.
        control = Gaussian().slice_terms(x, y)[0]
        sums += gaussian_parts.mean(), (terms.mean(axis=1) - control.mean(axis=1)).mean()
    part, bias = sums / n_blocks
    # Its own bias is known exactly, and the same at any correlation.
    known = 0.5 * (digamma(0.5 * (n - 1)) - digamma(0.5 * (n - 2)))
    return part, bias + known, by_rank / (2 * n_blocks)
