"""The SMI that full dependence would give: a scale for the values of layers."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma

__all__ = ["effective_dimension", "full_dependence"]


def full_dependence(dim_x: float, dim_y: float) -> float:
    """SMI of normal x and y that determine each other, in as many dimensions.

    A slice of x and one of x itself, in d dimensions that vary alike, have as correlation r the
    inner product of two unit vectors: r^2 ~ Beta(1/2, (d - 1)/2), and the mean of
    -1/2 log(1 - r^2) is the difference of digamma functions below, about 1 / (2 d). Where x and y
    differ in how they vary, E r^2 is at most one over the geometric mean of their effective
    dimensions (by Cauchy and Schwarz, with equality if they vary alike), which is taken for d.

    Parameters
    ----------
    dim_x, dim_y : float
        At least 1, see `effective_dimension`.

    Returns
    -------
    float
        In nats; infinite in one dimension.
    """
    dim = math.sqrt(dim_x * dim_y)
    if dim <= 1.0:
        return math.inf
    return 0.5 * float(digamma(0.5 * dim) - digamma(0.5 * (dim - 1.0)))


def effective_dimension(slices: np.ndarray, width: int) -> float:
    """In how many dimensions data vary, judged by their random slices.

    The participation ratio trace(S)^2 / trace(S^2) of the covariance S: `width` where all
    directions vary alike, 1 where a single one does. Over the sphere, the variance v = theta' S
    theta of a slice has E v = trace(S) / width and
    E v^2 = (trace(S)^2 + 2 trace(S^2)) / (width (width + 2)).

    Parameters
    ----------
    slices : array, shape (n_projections, n)
        Projections on uniform directions.
    width : int
        Numbers per sample.

    Returns
    -------
    float
        From 1 to `width`.
    """
    # Relative to the largest number, so that no square is 0 or infinite.
    variances = (slices / np.abs(slices).max()).var(axis=1)
    ratio = np.mean((variances / variances.mean()) ** 2)
    inverse = 0.5 * (ratio * (width + 2) / width - 1.0)
    return float(1.0 / np.clip(inverse, 1.0 / width, 1.0))
