"""Checks of what a caller passes in, made once, before any work starts.

Each says which argument is wrong, what it is, and what to do about it.
"""

from __future__ import annotations

import numbers

import numpy as np

__all__ = [
    "as_continuous",
    "as_labels",
    "as_samples",
    "check_count",
    "check_neighbors",
    "check_paired",
    "check_spread",
]


def check_count(value, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`, or raise TypeError or ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a whole number")
    if value < least:
        raise ValueError(f"{name}={value} is too small; give at least {least}")
    return int(value)


def as_samples(x, name: str) -> np.ndarray:
    """Return `x` as a real, finite `(n, dim)` array, without copying where it is one already."""
    x = _as_array(x, name)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; give at least one sample, as (n, dim)")
    x = x.reshape(len(x), -1)
    if x.dtype.kind in "bu" or x.dtype.itemsize not in (4, 8):
        x = x.astype(float)
    # Both extremes are NaN if any number is; a mask would take a byte for every number.
    if x.dtype.kind == "f" and not np.isfinite([x.min(), x.max()]).all():
        bad = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise ValueError(
            f"{name} holds NaN or infinity (first in row {bad}); drop or mend such rows in x and "
            f"y alike"
        )
    return x


def as_continuous(y, name: str) -> np.ndarray:
    """`as_samples`, but raise where `y` looks like labels that were not declared discrete."""
    y = _as_array(y, name)
    one_column = y.ndim == 1 or (y.ndim > 1 and y.size == len(y))
    if one_column and y.dtype.kind in "iubUSO":
        raise TypeError(
            f"{name} is one column of {y.dtype} values, which look like labels; pass "
            f"y_discrete=True (or use mutual_information_labels), or {name}.astype(float) if they "
            f"are measurements"
        )
    return as_samples(y, name)


def _as_array(x, name):
    if hasattr(x, "detach"):
        # A tensor that requires gradients, or lies on a GPU, does not convert by itself.
        x = x.detach().cpu()
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"{name} is not a regular array ({error}); give rows of equal length"
        ) from error


def as_labels(labels, name: str) -> tuple[np.ndarray, np.ndarray, list]:
    """Return each sample's class as a number from 0, the samples a class, and the classes."""
    labels = _as_array(labels, name)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name} has shape {labels.shape}; give one label a sample, as (n,)")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} holds NaN or infinity; give every sample a label")
    if labels.dtype.kind == "O":
        # A dict, where numpy would sort: labels need not be comparable.
        try:
            number_of = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
        except TypeError as error:
            raise TypeError(f"{name}: {error}; give labels that can be dict keys") from error
        classes = list(number_of)
        codes = np.array([number_of[label] for label in labels.tolist()])
    else:
        unique, codes = np.unique(labels, return_inverse=True)
        classes = unique.tolist()
    codes = codes.astype(np.int64)
    return codes, np.bincount(codes), classes


def check_paired(x, y) -> None:
    """Raise ValueError unless `x` and `y` have as many samples."""
    if len(x) != len(y):
        raise ValueError(
            f"x has {len(x)} samples and y has {len(y)}; row i of both must belong "
            f"to the same sample"
        )


def check_neighbors(n: int, k: int, name: str) -> None:
    """Raise ValueError unless `n` samples have k neighbours each."""
    if n < k + 1:
        raise ValueError(
            f"{name} has {n} samples, too few for k={k} neighbours of each; give at "
            f"least {k + 1} or lower k, as in WKL(k=1)"
        )


def check_spread(x: np.ndarray, name: str) -> None:
    """Raise ValueError if all columns of `x` are constant."""
    if not np.any(x.max(axis=0) > x.min(axis=0)):
        raise ValueError(
            f"{name} is constant (every sample is the same); a constant carries no "
            f"information: leave it out"
        )
