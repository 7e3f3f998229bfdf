"""Closed forms of the normal distribution with the sample's covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation import UnmeasurableError, as_generator
from .base import Estimate, SliceEstimator, paired_samples, samples_for
from .preparation import INFINITE, decorrelate, standardize, whiten

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian(SliceEstimator):
    """Closed forms of the normal distribution with the sample's covariance.

    It sees linear dependence alone: on Gaussian data it is the best there is, on other data it
    gives a lower bound of the kind "what correlation explains".
    """

    ties = "keep"

    def entropy(self, x: Any, *, rng: Any = None) -> Estimate:
        """Entropy of the fitted normal distribution, 1/2 log det(2 pi e C).

        Parameters and errors as for `WKL.entropy`; `rng` is not used.
        """
        x = samples_for(self, x, "x", as_generator(rng)).values
        white, log_scale = whiten(x)
        if white.shape[1] < x.shape[1]:
            raise ValueError(
                f"x has {x.shape[1]} columns but varies in {white.shape[1]} "
                f"directions only, so it has no density; drop columns"
            )
        constant = 0.5 * x.shape[1] * math.log(2.0 * math.pi) + log_scale
        return Estimate.of_terms(constant + 0.5 * (white**2).sum(axis=1))

    def mutual_information(self, x: Any, y: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of the fitted normal distribution.

        -1/2 log(det C / (det C_x det C_y)); parameters and errors as for
        `WKL.mutual_information`; `rng` is not used.
        """
        pair = paired_samples(self, x, y, as_generator(rng).spawn(2))
        x, y = (whiten(samples.values)[0] for samples in pair)
        white, log_scale = whiten(np.hstack([x, y]))
        if white.shape[1] < x.shape[1] + y.shape[1]:
            raise UnmeasurableError(INFINITE)
        squares = [(block**2).sum(axis=1) for block in (x, y, white)]
        return Estimate.of_terms(0.5 * (squares[0] + squares[1] - squares[2]) - log_scale)

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms`."""
        x, y = standardize(x), standardize(y)
        residual, log_scale = decorrelate(x, y)
        return (0.5 * (y**2 - residual**2) - log_scale[:, None])[None]
