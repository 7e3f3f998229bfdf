"""Checks of what a caller passes in, made once, before any work starts.

Each says which argument is wrong, what it is, and what to do about it.
"""

from __future__ import annotations

import numbers

import numpy as np

__all__ = [
    "UnmeasurableError",
    "as_array",
    "as_continuous",
    "as_generator",
    "as_labels",
    "as_samples",
    "check_count",
    "check_neighbors",
    "check_paired",
    "check_spread",
]

# Sums of larger numbers overflow.
_LARGEST = 1e300
# What breaks ties is 1e-7 of the spread, and must not be rounded to nothing.
_LEAST_SPREAD = 1e-290


class UnmeasurableError(ValueError):
    """The call is in order, but the numbers cannot be measured: constant, not finite, too few.

    Whoever measures again and again what a network happens to give can tell by it what need not
    stop the run.
    """


def as_generator(rng) -> np.random.Generator:
    """`numpy.random.default_rng(rng)`, with errors that name the argument."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng={rng!r} cannot seed random numbers ({error}); give a Generator, a whole number "
            f"of at least 0, or None"
        ) from error


def check_count(value, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`, or raise TypeError or ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a whole number")
    if value < least:
        raise ValueError(f"{name}={value} is too small; give at least {least}")
    return int(value)


def as_samples(x, name: str) -> np.ndarray:
    """Return `x` as a real, finite `(n, dim)` array, without copying where it is one already."""
    hint = _conversion(x, name)
    x = as_array(x, name)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers{hint}")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; give at least one sample, as (n, dim)")
    x = x.reshape(len(x), -1)
    if x.dtype.kind in "bu" or x.dtype.itemsize not in (4, 8):
        with np.errstate(over="ignore"):
            x = x.astype(float)
    # Both extremes are NaN if any number is; a mask would take a byte for every number.
    if x.dtype.kind == "f" and not np.isfinite([x.min(), x.max()]).all():
        bad = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise UnmeasurableError(
            f"{name} holds NaN or infinity (first in row {bad}); drop or mend such rows in x and "
            f"y alike"
        )
    if x.dtype.itemsize == 8 and max(float(x.max()), -float(x.min())) > _LARGEST:
        raise UnmeasurableError(
            f"{name} holds {max(x.max(), -x.min()):.3g}, and sums of numbers above {_LARGEST:g} "
            f"overflow; divide {name} by a constant, which changes no mutual information"
        )
    return x


def as_continuous(y, name: str) -> np.ndarray:
    """`as_samples`, but raise where `y` looks like labels that were not declared discrete."""
    array = as_array(y, name)
    one_column = array.ndim == 1 or (array.ndim > 1 and array.size == len(array))
    if one_column and array.dtype.kind in "iubUSO":
        raise TypeError(
            f"{name} is one column of {array.dtype} values, which look like labels; pass "
            f"y_discrete=True (or use mutual_information_labels), or {name}.astype(float) if they "
            f"are measurements"
        )
    return as_samples(array if array.ndim else y, name)


def as_array(x, name: str) -> np.ndarray:
    """`numpy.asarray(x)`, with errors that name the argument; no masked values."""
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} has masked values, {np.ma.count_masked(x)} of them; drop such rows in x and y "
            f"alike"
        )
    try:
        if hasattr(x, "detach"):
            # A tensor that requires gradients, or lies on a GPU, does not convert by itself.
            x = x.detach().cpu()
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"{name} is not a regular array ({error}); give rows of equal length"
        ) from error
    # What PyTorch raises on tensors for which numpy has no dtype, and on sparse ones.
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} cannot be converted to a numpy array ({error}); give an array of real numbers"
        ) from error


def _conversion(x, name):
    """How to make an array of what numpy would take for a single object."""
    if hasattr(x, "toarray"):
        return f": it is sparse, and {name}.toarray() is not"
    if hasattr(x, "__next__"):
        return f": it is a {type(x).__name__}, so give list({name})"
    if hasattr(x, "astype"):
        return f": if it holds some, {name}.astype(float)"
    return ""


def as_labels(labels, name: str) -> tuple[np.ndarray, np.ndarray, list]:
    """Return each sample's class as a number from 0, the samples a class, and the classes."""
    labels = as_array(labels, name)
    if labels.dtype.kind in "mM" and np.isnat(labels).any():
        raise ValueError(f"{name} holds NaT; give every sample a label")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name} has shape {labels.shape}; give one label a sample, as (n,)")
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError(f"{name} holds NaN or infinity; give every sample a label")
    if labels.dtype.kind == "O":
        # A dict, where numpy would sort: labels need not be comparable.
        try:
            number_of = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
        except TypeError as error:
            raise TypeError(f"{name}: {error}; give labels that can be dict keys") from error
        classes = list(number_of)
        missing = [label for label in classes if _is_missing(label)]
        if missing:
            raise ValueError(f"{name} holds {missing[0]!r}; give every sample a label")
        codes = np.array([number_of[label] for label in labels.tolist()])
    else:
        unique, codes = np.unique(labels, return_inverse=True)
        classes = unique.tolist()
    if len(classes) > max(2, len(labels) / 2):
        raise ValueError(
            f"{name} has {len(classes)} different values in {len(labels)} samples, which are no "
            f"classes; if they are measurements, leave out y_discrete (or use mutual_information), "
            f"else merge them into fewer classes"
        )
    codes = codes.astype(np.int64)
    return codes, np.bincount(codes), classes


def _is_missing(label):
    """Whether it is NaN, NaT or NA: these are not equal to themselves, or do not say."""
    try:
        return bool(label != label)
    except TypeError:
        return True


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
        raise UnmeasurableError(
            f"{name} has {n} samples, too few for k={k} neighbours of each; give at "
            f"least {k + 1} or lower k, as in WKL(k=1)"
        )


def check_spread(x: np.ndarray, name: str) -> None:
    """Raise ValueError if all columns of `x` are constant."""
    # Two samples mostly show it, and spare two passes over all of them.
    if np.abs(x[0].astype(float) - x[-1]).max() >= _LEAST_SPREAD:
        return
    spread = (x.max(axis=0).astype(float) - x.min(axis=0)).max()
    if spread == 0:
        raise UnmeasurableError(
            f"{name} is constant (every sample is the same); a constant carries no "
            f"information: leave it out"
        )
    if spread < _LEAST_SPREAD:
        raise UnmeasurableError(
            f"{name} varies by {spread:.3g} only, too little for float64 to tell samples apart; "
            f"multiply {name} by a constant, which changes no mutual information"
        )
