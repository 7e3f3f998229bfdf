"""Our estimators as the mutinfo library has its own. Importing this needs that library."""

from __future__ import annotations

from typing import Any

import numpy as np
from mutinfo.estimators.base import InformationEstimator

__all__ = ["InsideMutinfo"]


class InsideMutinfo(InformationEstimator):
    """An estimator of this package in the interface of the mutinfo library.

    Parameters
    ----------
    estimator : object
        Has `mutual_information` and, for labels, `mutual_information_labels`.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def __call__(self, x: np.ndarray, y: np.ndarray, std: bool = False) -> Any:
        """The mutual information in nats; with `std`, also its standard error."""
        is_labels = y.size == len(y) and y.dtype.kind in "biuUSO"
        name = "mutual_information_labels" if is_labels else "mutual_information"
        estimate = getattr(self.estimator, name)(x, y.reshape(-1) if is_labels else y)
        return (estimate.value, estimate.std_error) if std else estimate.value
