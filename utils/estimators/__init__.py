"""Estimators of mutual information and entropy from samples, in nats.

Every estimator here is an average over the samples of one term each (its *pointwise* terms), so
that a standard error, and a sliced average that keeps the samples apart, come without more work.
"""

from .base import Estimate, SliceError, SliceEstimator
from .copula import Copula
from .gaussian import Gaussian
from .ksg import KSG
from .mutinfo import from_mutinfo, to_mutinfo
from .recognition import as_slice_estimator
from .weights import WEIGHT_RULES, berrett_weights, neighbor_weights
from .wkl import WKL

__all__ = [
    "KSG",
    "WEIGHT_RULES",
    "WKL",
    "Copula",
    "Estimate",
    "Gaussian",
    "SliceError",
    "SliceEstimator",
    "as_slice_estimator",
    "berrett_weights",
    "from_mutinfo",
    "neighbor_weights",
    "to_mutinfo",
]
