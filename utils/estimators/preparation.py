"""What is done to samples before they are measured: unit variance, decorrelation, whitening."""

from __future__ import annotations

import numpy as np

from ..kernels.moments import decorrelate_rows, standardize_rows
from ..parallel import one_blas_thread
from ..validation import UnmeasurableError

__all__ = [
    "INFINITE",
    "ZERO_DISTANCE",
    "decorrelate",
    "standardize",
    "whiten",
    "whiten_whole",
]

# Directions with less variance than this, in correlation units, count as having none: eigenvalues
# of a covariance matrix have rounding errors of 1e-16, and data in float32 more.
_MIN_VARIANCE = 1e-12
# The residual of a regression is computed directly, with rounding errors of 1e-16 of the spread.
_MIN_RESIDUAL_VARIANCE = 1e-24

ZERO_DISTANCE = (
    "samples of x (or of the pair of x and y) differ, but by no more than rounding errors of the "
    "largest values, so that their distance is 0; take ranks or logarithms of such columns"
)
_NO_SPREAD = (
    "x or y varies by less than the rounding errors of its largest column, so that a slice of it "
    "is constant; leave out columns that do not vary, and bring the others to one scale"
)
INFINITE = (
    "a linear combination of x and one of y agree in every sample, or differ by less than can be "
    "told from rounding, so that their mutual information is infinite or too large to be measured; "
    "leave out the common part, or add noise to one of them"
)


def standardize(rows: np.ndarray) -> np.ndarray:
    """Rows of zero mean and unit variance, at any scale."""
    rows = np.ascontiguousarray(rows, float)
    standard = np.empty(rows.shape)
    if not standardize_rows(rows, standard):
        # Squares overflow or vanish where the numbers themselves do not.
        largest = np.abs(standard).max(axis=1, keepdims=True)
        if not largest.min() > 0:
            raise UnmeasurableError(_NO_SPREAD)
        return standardize(standard / largest)
    return standard


def decorrelate(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of y that x does not explain linearly, of unit variance, and the log of its scale.

    x and this residual are a whitening of the pair; any other whitening is a rotation of it.
    """
    residual, variances = np.empty(x.shape), np.empty(len(x))
    decorrelate_rows(x, y, _MIN_RESIDUAL_VARIANCE, residual, variances)
    if not variances.min() >= _MIN_RESIDUAL_VARIANCE:
        raise UnmeasurableError(INFINITE)
    return residual, 0.5 * np.log(variances)


def whiten(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples in coordinates of unit covariance, and half the log-determinant of the change.

    Directions without variance are left out.
    """
    # Constant columns are told by their values: less its mean, one may hold rounding errors.
    x = x[:, x.max(axis=0) > x.min(axis=0)].astype(float)
    x -= x.mean(axis=0)
    largest = np.abs(x).max(axis=0)
    x /= largest
    spread = x.std(axis=0)
    x /= spread
    with one_blas_thread:
        variances, axes = np.linalg.eigh(x.T @ x / len(x))
        kept = variances > _MIN_VARIANCE * len(variances)
        white = (x @ axes[:, kept]) / np.sqrt(variances[kept])
    log_scale = np.log(spread).sum() + np.log(largest).sum()
    return white, log_scale + 0.5 * np.log(variances[kept]).sum()


def whiten_whole(x: np.ndarray) -> tuple[np.ndarray, float]:
    """`whiten` where x has a density; ValueError if it varies in fewer directions than columns."""
    white, log_scale = whiten(x)
    if white.shape[1] < x.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} columns but varies in {white.shape[1]} directions only, so it has "
            f"no density; drop columns that are constant or combinations of others"
        )
    return white, log_scale
