"""Input becomes one form: `Samples` or `Labels`, checked once, before any work starts.

Each error says which argument is wrong, what it is, and what to do about it.
"""

from __future__ import annotations

import numbers
import os
import sys
import warnings
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Labels",
    "Samples",
    "UnmeasurableError",
    "as_array",
    "as_continuous",
    "as_generator",
    "as_labels",
    "as_samples",
    "break_ties_in_slices",
    "callers_level",
    "check_count",
    "check_paired",
    "check_spread",
]

# Sums of larger numbers overflow.
_MAX_ABSOLUTE = 1e300
# What breaks ties is 1e-7 of the spread, and must not be rounded to nothing.
_MIN_SPREAD = 1e-290
# Gaps under this part of the spread count as ties: more than rounding leaves between the
# projections of equal rows, and less than continuous data show at any size that fits in memory.
_TIE_GAP = 1e-11
# So much that, in a heap of thousands of equal values, no two come out equal again.
_TIE_NOISE = 1e-7
_TIE_SHARE, _MAX_TIE_SHARE = 0.01, 1.0 / 3.0
# Numbers projected in one pass over the rows: a megabyte of float64. Smaller passes make threads
# wait for each other, larger ones leave a core's cache.
_NUMBERS_PER_PASS = 2**17


class UnmeasurableError(ValueError):
    """The call is in order, but the numbers cannot be measured: constant, not finite, too few.

    Whoever measures again and again what a network happens to give can tell by it what need not
    stop the run.
    """


@dataclass(frozen=True, eq=False)
class Samples:
    """Continuous samples, ready to be projected.

    Parameters
    ----------
    values : array, shape (n, dim)
        Finite numbers of any real dtype; a memory map is read in passes and never copied whole.
    center : array, shape (dim,)
        The mean of each column; of a constant column its very value.
    """

    values: np.ndarray
    center: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    @classmethod
    def of(cls, values: np.ndarray) -> Samples:
        """Samples with their centre."""
        # A mean is rounded, and what it misses would be all there is to see in a constant column.
        center = values.mean(axis=0, dtype=float)
        # A look at two rows rules out most columns, and spares two passes over all of them.
        constant = values[0] == values[-1]
        if constant.any():
            constant &= values.max(axis=0) == values.min(axis=0)
            center[constant] = values[0, constant]
        return cls(values, center)

    def project(self, directions: np.ndarray) -> np.ndarray:
        """Project the centred samples, reading them a few rows at a time.

        Centred first, so that a large common offset costs no digits.

        Parameters
        ----------
        directions : array, shape (n_projections, dim)

        Returns
        -------
        array, shape (n_projections, n)
        """
        projections = np.empty((len(directions), len(self)))
        step = max(1, _NUMBERS_PER_PASS // self.dim)
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            projections[:, rows] = directions @ (self.values[rows] - self.center).T
        return projections

    def without_ties(self, name: str, rng: np.random.Generator, *, warns: bool = True) -> Samples:
        """Tell equal rows apart by random amounts of 1e-7 of each column's spread.

        Nearest-neighbour estimators take logarithms of distances, and the distance of equal rows
        is 0. Rows are compared through one random projection: rows that differ agree there with
        probability 0. Without equal rows, these are the same samples.

        Parameters
        ----------
        name : str
            For the warning.
        rng : Generator
        warns : bool
            Whether equal rows distort the estimate.

        Raises
        ------
        UnmeasurableError
            With `warns`, if more than a third of the rows repeat others.

        Warns
        -----
        UserWarning
            With `warns`, if more than 1 % do.
        """
        projection = self.project(rng.standard_normal((1, self.dim)))[0]
        tied, n_repeated = _tied(projection, rows=self.values)
        if n_repeated == 0:
            return self
        if warns:
            _warn_of_ties(n_repeated, len(self), name)
        # Centred first: beside a large offset the noise would be rounded away.
        values = self.values - self.center
        noise = rng.standard_normal((np.count_nonzero(tied), self.dim))
        values[tied] += _TIE_NOISE * _spread(values) * noise
        return Samples.of(values)


@dataclass(frozen=True, eq=False)
class Labels:
    """One class per sample.

    Parameters
    ----------
    codes : array of int64, shape (n,)
        The class of each sample, from 0.
    sizes : array of int64, shape (n_classes,)
        How many samples each class has.
    names : list
        The classes as the caller named them.
    """

    codes: np.ndarray
    sizes: np.ndarray
    names: list[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def reordered(self, order: np.ndarray) -> Labels:
        """The same labels, dealt out to the samples in another order."""
        return Labels(self.codes[order], self.sizes, self.names)


def as_generator(rng: Any) -> np.random.Generator:
    """`numpy.random.default_rng(rng)`, with errors that name the argument."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng={rng!r} cannot seed random numbers ({error}); give a Generator, a whole number "
            f"of at least 0, or None"
        ) from error


def check_count(value: Any, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`, or raise TypeError or ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a whole number")
    if value < least:
        raise ValueError(f"{name}={value} is too small; give at least {least}")
    return int(value)


def as_samples(x: Any, name: str) -> np.ndarray:
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
    if x.dtype.itemsize == 8 and max(float(x.max()), -float(x.min())) > _MAX_ABSOLUTE:
        raise UnmeasurableError(
            f"{name} holds {max(x.max(), -x.min()):.3g}, and sums of numbers above "
            f"{_MAX_ABSOLUTE:g} overflow; divide {name} by a constant, which changes no mutual "
            f"information"
        )
    return x


def as_continuous(y: Any, name: str) -> np.ndarray:
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


def as_array(x: Any, name: str) -> np.ndarray:
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


def as_labels(labels: Any, name: str) -> Labels:
    """Return labels of any hashable kind as codes, with class sizes and names."""
    labels = as_array(labels, name)
    if labels.dtype.kind in "mM" and np.isnat(labels).any():
        raise ValueError(f"{name} holds NaT; give every sample a label")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name} has shape {labels.shape}; give one label per sample, as (n,)")
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
    return Labels(codes, np.bincount(codes), classes)


def _is_missing(label):
    """Whether it is NaN, NaT or NA: these are not equal to themselves, or do not say."""
    try:
        return bool(label != label)
    except TypeError:
        return True


def check_paired(x: Sized, y: Sized) -> None:
    """Raise ValueError unless `x` and `y` have as many samples."""
    if len(x) != len(y):
        raise ValueError(
            f"x has {len(x)} samples and y has {len(y)}; row i of both must belong "
            f"to the same sample"
        )


def check_spread(x: np.ndarray, name: str) -> None:
    """Raise ValueError if all columns of `x` are constant."""
    # Two samples mostly show it, and spare two passes over all of them.
    if np.abs(x[0].astype(float) - x[-1]).max() >= _MIN_SPREAD:
        return
    spread = (x.max(axis=0).astype(float) - x.min(axis=0)).max()
    if spread == 0:
        raise UnmeasurableError(
            f"{name} is constant (every sample is the same); a constant carries no "
            f"information: leave it out"
        )
    if spread < _MIN_SPREAD:
        raise UnmeasurableError(
            f"{name} varies by {spread:.3g} only, too little for float64 to tell samples apart; "
            f"multiply {name} by a constant, which changes no mutual information"
        )


def break_ties_in_slices(
    slices: np.ndarray, name: str, rng: np.random.Generator, *, warns: bool = True
) -> np.ndarray:
    """`Samples.without_ties` in each of many one-dimensional samples.

    Parameters
    ----------
    slices : array, shape (n_slices, n), float64
    name, rng, warns
        As for `Samples.without_ties`.

    Returns
    -------
    array, shape (n_slices, n)
        `slices` itself if none has equal values, else a copy.

    Warns
    -----
    UserWarning
        Once, if in some slice more than 1 % of the values are repeated.
    """
    most_repeated = 0
    result = slices
    for i, values in enumerate(slices):
        tied, n_repeated = _tied(values - values.mean())
        if n_repeated == 0:
            continue
        if result is slices:
            result = slices.copy()
        result[i] -= values.mean()
        noise = _TIE_NOISE * _spread(result[i]) * rng.standard_normal(np.count_nonzero(tied))
        result[i, tied] += noise
        most_repeated = max(most_repeated, n_repeated)
    if warns:
        _warn_of_ties(most_repeated, slices.shape[1], name)
    return result


def _spread(x):
    """Standard deviation over the first axis, at any scale."""
    largest = np.abs(x).max(axis=0)
    return largest * (x / np.where(largest > 0, largest, 1.0)).std(axis=0)


def _tied(values, rows=None):
    """Which of the values repeat (a mask), and how many repeat an earlier one.

    Given the rows that the values are projections of, these must be the same to the last bit:
    in a tight cluster, rows that differ may come close in a projection.
    """
    ascending = np.sort(values)
    gaps = np.diff(ascending)
    tied = np.zeros(len(values), bool)
    # A sort of numbers is several times cheaper than one of positions, which most data do not need.
    if gaps.min() > _TIE_GAP * np.ptp(ascending):
        return tied, 0
    order = np.argsort(values)
    # The spread of the bulk: heavy tails have a range that says nothing about gaps.
    spread = ascending[(3 * len(values)) // 4] - ascending[len(values) // 4]
    equal = gaps <= _TIE_GAP * (spread if spread > 0 else np.ptp(ascending))
    if rows is not None:
        pairs = np.flatnonzero(equal)
        equal[pairs] = (rows[order[pairs]] == rows[order[pairs + 1]]).all(axis=1)
    tied[order[1:][equal]] = True
    tied[order[:-1][equal]] = True
    return tied, np.count_nonzero(equal)


def _warn_of_ties(n_repeated, n, name):
    found = f"{n_repeated} of {n} values of {name} repeat others"
    remedy = "Use KSG() or Copula(); discrete data belong in y, with y_discrete=True"
    if n_repeated > _MAX_TIE_SHARE * n:
        raise UnmeasurableError(
            f"{found}, too many for an estimator that takes logarithms of distances. {remedy}"
        )
    if n_repeated > _TIE_SHARE * n:
        warnings.warn(
            f"{found}. They were told apart at random, and the estimator, which takes logarithms "
            f"of distances, means little there. {remedy}",
            UserWarning,
            stacklevel=callers_level(),
        )


def callers_level() -> int:
    """The `stacklevel` of the first frame outside this package."""
    package = os.path.dirname(__file__)
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level
