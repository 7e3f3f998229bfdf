"""What the sliced measures return: values in nats, their errors, and what they were made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["IndependenceTest", "MaxSlicedEstimate", "SlicedEstimate"]


@dataclass(frozen=True, eq=False)
class SlicedEstimate:
    """A sliced estimate in nats, its errors, and what it was averaged from.

    Parameters
    ----------
    value : float
        The mean over the slices. Where covariances predict some of the differences between random
        slices, these are corrected for (control variates, see `utils.control_variates`): the value
        then differs from `per_slice.mean()`, and has less noise.
    std_error : float
        Both errors below, in quadrature.
    slicing_error : float
        Standard error from having finitely many slices: from the residuals that the control
        variates leave, and the errors of their means. Without control variates, from the spread of
        the means of up to 50 groups of slices (100 with `tol`). Infinite for a single slice in more
        than one dimension; 0 where there is only one slice to measure: one that has all
        dimensions, or chosen `frames`.
    sampling_error : float
        Standard error from having finitely many samples, which all slices share. It comes from the
        spread of `pointwise`, less what finitely many slices add to it, corrected by what the
        spread is known to miss where x and y are independent (see `utils.uncertainty`). It does not
        include bias. With a callable estimator, the mean of the errors that it returns, or 0.
    independent_value : float
        The mean over slices of permuted samples: the estimator's bias on these data if x and y were
        independent. NaN where it is not measured: in one dimension, and with a callable estimator.
    independent_error : float
        Its standard error.
    per_slice : array, shape (n_projections,)
        The estimate of each slice.
    pointwise : array, shape (n,)
        The contribution of each sample: `value` is their mean. Empty with a callable estimator.
    n_samples : int
    n_projections : int
        How many slices were used.
    """

    value: float
    std_error: float
    slicing_error: float
    sampling_error: float
    independent_value: float
    independent_error: float
    per_slice: np.ndarray
    pointwise: np.ndarray
    n_samples: int
    n_projections: int

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        permuted = ""
        if not math.isnan(self.independent_value):
            permuted = f"; permuted {self.independent_value:.4g} +- {self.independent_error:.2g}"
        return (
            f"SlicedEstimate({self.value:.4g} +- {self.std_error:.2g} nat{permuted}, "
            f"n_samples={self.n_samples}, n_projections={self.n_projections})"
        )


@dataclass(frozen=True, eq=False)
class IndependenceTest:
    """A test of independence: a sliced estimate among those of permuted samples.

    Parameters
    ----------
    value : float
        The estimator's first statistic on the data, in nats: the plain mean over the slices; of
        `Copula`, its approximation by moments, which is below the sliced mutual information where
        dependence is strong.
    p_value : float
        The share of orders of y, the data's own among them, whose statistic is at least as large as
        the data's. With one statistic, that is `value` and `null_values`. With several, as of
        `Copula`, the largest of them counts, each in units of its spread over the orders, so that
        the share of null values that reach `value` may be another.
    null_values : array, shape (n_permutations,)
        What `value` is, of each permutation. Their mean is the estimator's bias on these data if
        they were independent.
    """

    value: float
    p_value: float
    null_values: np.ndarray

    def __repr__(self) -> str:
        return (
            f"IndependenceTest(value={self.value:.4g} nat, p_value={self.p_value:.3g}, "
            f"n_permutations={len(self.null_values)})"
        )


@dataclass(frozen=True, eq=False)
class MaxSlicedEstimate:
    """The information of the slice that has most of it, in nats, and the slice itself.

    Parameters
    ----------
    value : float
        The information of the slice on samples that had no part in choosing it: the mean of the
        estimator's pointwise terms.
    std_error : float
        Standard error from having finitely many such samples. It includes neither bias nor what is
        lost because the directions found are not quite the best. NaN with a callable estimator.
    theta : array, shape (k_x, dim_x)
        Orthonormal rows on which x was projected: `x @ theta.T` is the slice.
    phi : array, shape (k_y, dim_y), or None
        The same for y; None where y has labels.
    p_value : float
        As of `IndependenceTest`, of the slice on samples that had no part in choosing it.
    null_values : array, shape (n_permutations,)
        The estimator's first statistic of each permutation of these samples; of `Copula`, an
        approximation by moments, and not what `value` is.
    search_value : float
        The same of the samples that chose it, which is biased upwards.
    n_samples : int
        How many samples `value` was measured on.
    """

    value: float
    std_error: float
    theta: np.ndarray
    phi: np.ndarray | None
    p_value: float
    null_values: np.ndarray
    search_value: float
    n_samples: int

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return (
            f"MaxSlicedEstimate({self.value:.4g} +- {self.std_error:.2g} nat, "
            f"p_value={self.p_value:.3g}, n_samples={self.n_samples}, "
            f"n_permutations={len(self.null_values)})"
        )
