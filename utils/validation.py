"""Input becomes one form: `Samples` or `Labels`, checked once, before any work starts.

Each error says which argument is wrong, what it is, and what to do about it.
"""

from __future__ import annotations

import numbers
import os
import sys
import warnings
from collections import Counter
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
    "as_groups",
    "as_labels",
    "as_samples",
    "check_aligned",
    "check_count",
    "check_paired",
    "check_spread",
    "exceeds_float64",
    "holds_zeros_and_ones",
    "is_missing",
    "is_one_column",
    "is_one_hot",
    "warn_caller",
]

# Sums of larger numbers overflow.
_MAX_ABSOLUTE = 1e300
# The noise that breaks ties is 1e-7 of the spread, and must not be rounded to nothing.
_MIN_SPREAD = 1e-290
# Whole numbers up to this one are exact in float64.
_MAX_EXACT = 2**53
# Numbers projected in one pass over the rows: a megabyte of float64. Smaller passes make threads
# wait for each other, larger ones leave a core's cache.
_NUMBERS_PER_PASS = 2**17


class UnmeasurableError(ValueError):
    """The call is in order, but the numbers cannot be measured: constant, not finite, too few.

    A training that is watched goes on after this error, and only after this one.
    """


@dataclass(frozen=True, eq=False)
class Samples:
    """Continuous samples, ready to be projected.

    Parameters
    ----------
    values : array, shape (n, dim)
        Finite numbers of any real dtype; a memory map is read in passes and never copied whole.
    center : array, shape (dim,)
        The mean of each column; of a constant column, exactly its value.
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
        # A mean is rounded, and of a constant column nothing but its rounding error would be left.
        center = values.mean(axis=0, dtype=float)
        # Comparing two rows rules out most columns, and saves two passes over all rows.
        constant = values[0] == values[-1]
        if constant.any():
            constant &= values.max(axis=0) == values.min(axis=0)
            center[constant] = values[0, constant]
        return cls(values, center)

    def rows(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Some of the rows, (n_chosen, dim), not centred."""
        return self.values[chosen]

    def part(self, chosen: np.ndarray) -> Samples:
        """The samples at these indices."""
        return Samples.of(self.rows(chosen))

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
        """The labels, permuted."""
        return Labels(self.codes[order], self.sizes, self.names)

    def part(self, rows: np.ndarray) -> Labels:
        """The labels of the samples at these indices; the classes stay."""
        codes = self.codes[rows]
        return Labels(codes, np.bincount(codes, minlength=len(self.sizes)), self.names)


def as_generator(rng: Any) -> np.random.Generator:
    """`numpy.random.default_rng(rng)` that can spawn, with errors that name the argument.

    A `RandomState`, or a Generator made from one, cannot spawn: a seed is drawn from it.
    """
    if isinstance(rng, np.random.RandomState):
        rng = rng.randint(2**32, size=4, dtype=np.uint32)
    try:
        generator = np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng={rng!r} cannot seed random numbers ({error}); give a Generator, a whole number "
            f"of at least 0, or None"
        ) from error
    seeds = generator.bit_generator.seed_seq
    if isinstance(seeds, np.random.bit_generator.ISpawnableSeedSequence):
        return generator
    return np.random.default_rng(generator.integers(2**32, size=4))


def check_count(value: Any, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`, or raise TypeError or ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r} has type {type(value).__name__}; give a whole number")
    if value < least:
        raise ValueError(f"{name}={value} is too small; give at least {least}")
    return int(value)


def as_samples(x: Any, name: str) -> np.ndarray:
    """Return `x` as a real, finite `(n, dim)` array, without copying where it is one already.

    Of types with more digits than float64, an offset of each column is subtracted first, so that
    no digits are lost.
    """
    if _has_mixed_columns(x):
        return np.hstack([as_samples(column, f"{name}[{key!r}]") for key, column in x.items()])
    given, x = x, as_array(x, name)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers{_advice(given, x, name)}")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; give at least one sample, as (n, dim)")
    x = x.reshape(len(x), -1)
    if exceeds_float64(x):
        x = _without_offsets(x)
    elif x.dtype.kind in "bu" or x.dtype.itemsize not in (4, 8):
        x = x.astype(float)
    # Both extremes are NaN if any number is; a mask would take a byte for every number.
    if x.dtype.kind == "f" and not np.isfinite([x.min(), x.max()]).all():
        bad = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise UnmeasurableError(
            f"{name} holds NaN or infinity (first in row {bad}); drop or fix these rows in "
            f"both x and y"
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
    remedy = "pass y_discrete=True (or use mutual_information_labels)"
    if _is_zero_or_one(array) or is_one_hot(array):
        form = "one column of zeros and ones" if is_one_column(array) else "one-hot rows"
        raise TypeError(f"{name} is {form}, which look like labels; {remedy}")
    if is_one_column(array) and array.dtype.kind in "iubUSO":
        origin = f"({name} - {name}.min())" if exceeds_float64(array) else name
        raise TypeError(
            f"{name} is one column of {array.dtype} values, which look like labels; {remedy}, or "
            f"{origin}.astype(float) if they are measurements"
        )
    return as_samples(y, name)


def as_array(x: Any, name: str) -> np.ndarray:
    """`numpy.asarray(x)`, with errors that name the argument; no masked values."""
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} has masked values, {np.ma.count_masked(x)} of them; drop such rows in x and y "
            f"alike"
        )
    try:
        array = np.asarray(_readable(x))
        if array.dtype.kind in "SU" and isinstance(x, (list, tuple)) and any(map(is_missing, x)):
            array = np.array(x, dtype=object)  # numpy has turned NaN into the text "nan"
        return array
    except ValueError as error:
        raise ValueError(
            f"{name} is not a regular array ({error}); give rows of equal length"
        ) from error
    # What PyTorch raises on sparse tensors and others for which numpy has no form.
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} cannot be converted to a numpy array ({error}); give an array of real numbers"
        ) from error


def _readable(x: Any) -> Any:
    """Tensors and nullable columns as something that numpy reads as numbers."""
    if hasattr(x, "detach"):
        # A tensor that requires gradients, or lies on a GPU, does not convert by itself; nor does
        # one that is to be conjugated, or has one of the short types that numpy lacks.
        x = x.detach().cpu().resolve_conj().resolve_neg()
        return x.float() if x.is_floating_point() and x.element_size() < 4 else x
    numpy_dtype = getattr(getattr(x, "dtype", None), "numpy_dtype", np.dtype(object))
    if numpy_dtype.kind not in "biuf":
        return x
    if x.isna().any():
        return x.to_numpy(dtype=float, na_value=np.nan)
    return x.to_numpy(dtype=numpy_dtype)


def _has_mixed_columns(x: Any) -> bool:
    """Whether it is a data frame that numpy would turn into objects, or into fewer digits."""
    if not (hasattr(x, "iloc") and x.ndim == 2):
        return False
    types = set(x.dtypes)
    return len(types) > 1 or not all(isinstance(one, np.dtype) for one in types)


def exceeds_float64(x: np.ndarray) -> bool:
    """Whether float64 has too few digits for these numbers."""
    if x.dtype.kind in "iu":
        return x.dtype.itemsize == 8 and max(int(x.max()), -int(x.min())) > _MAX_EXACT
    return x.dtype.kind == "f" and x.dtype.itemsize > 8


def _without_offsets(x: np.ndarray) -> np.ndarray:
    """Columns less their least values, exact before rounding to float64; no information is lost."""
    least = x.min(axis=0)
    if x.dtype.kind in "iu":
        # Unsigned differences are right modulo 2^64, where signed ones may overflow.
        return (x.astype(np.uint64) - least.astype(np.uint64)).astype(float)
    least[~np.isfinite(least)] = 0
    with np.errstate(over="ignore"):
        return (x - least).astype(float)


def is_one_column(x: np.ndarray) -> bool:
    """Whether there is one number per row."""
    return x.ndim > 0 and x.size == len(x)


def holds_zeros_and_ones(x: np.ndarray) -> bool:
    """Whether all numbers are 0 or 1."""
    if x.dtype.kind not in "biuf" or x.ndim == 0 or x.size == 0:
        return False
    # The first row rules out most data, and saves a pass over all rows.
    return all(bool(((part == 0) | (part == 1)).all()) for part in (x[0], x))


def _is_zero_or_one(x: np.ndarray) -> bool:
    """Whether it is one column of two values, 0 and 1."""
    return is_one_column(x) and holds_zeros_and_ones(x) and x.min() != x.max()


def is_one_hot(x: np.ndarray) -> bool:
    """Whether each row has one 1 among zeros, and not all in the same column."""
    if x.ndim != 2 or x.shape[1] < 2 or not holds_zeros_and_ones(x):
        return False
    return bool((np.count_nonzero(x, axis=1) == 1).all() and (x != x[0]).any())


def _advice(given: Any, x: np.ndarray, name: str) -> str:
    """How to make real numbers of `given`, which numpy reads as `x`."""
    kind = getattr(getattr(given, "dtype", x.dtype), "kind", x.dtype.kind)
    if hasattr(given, "toarray"):
        return f": it is sparse, and {name}.toarray() is not"
    if hasattr(given, "__next__"):
        return f": it is a {type(given).__name__}, so give list({name})"
    if kind == "c":
        return f": np.column_stack([{name}.real, {name}.imag]) holds both parts"
    if kind == "M":
        return f": ({name} - {name}.min()) / np.timedelta64(1, 's') holds seconds"
    if kind == "m":
        return f": {name} / np.timedelta64(1, 's') holds seconds"
    if hasattr(given, "astype"):
        return f": if it holds some, {name}.astype(float)"
    return ""


def as_labels(labels: Any, name: str) -> Labels:
    """Return labels of any hashable kind, or one-hot rows, as codes, with class sizes and names."""
    array = as_array(labels, name)
    if is_one_hot(array):
        columns = list(getattr(labels, "columns", range(array.shape[1])))
        used, codes = np.unique(array.argmax(axis=1), return_inverse=True)
        classes = [columns[i] for i in used]
    else:
        codes, classes = _coded(array, name)
    if len(classes) > max(2, len(codes) / 2):
        raise ValueError(
            f"{name} has {len(classes)} different values in {len(codes)} samples, too many "
            f"to be classes; if they are measurements, leave out y_discrete (or use "
            f"mutual_information), else merge them into fewer classes"
        )
    codes = codes.astype(np.int64)
    return Labels(codes, np.bincount(codes), classes)


def as_groups(groups: Any, x: Any, n: int) -> np.ndarray:
    """Return the group of each of the `n` samples of `x` as a number from 0."""
    check_aligned(x, groups, names=("x", "groups"))
    codes, _ = _coded(as_array(groups, "groups"), "groups")
    check_paired(range(n), codes, names=("x", "groups"))
    return codes


def _coded(labels: np.ndarray, name: str) -> tuple[np.ndarray, list[Any]]:
    """The code of each label, and the labels by code."""
    if is_one_column(labels):
        labels = labels.reshape(-1)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name} has shape {labels.shape}; give one label per sample, as (n,)")
    if labels.dtype.kind in "mM" and np.isnat(labels).any():
        raise ValueError(f"{name} holds NaT; give every sample a label")
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError(f"{name} holds NaN or infinity; give every sample a label")
    if labels.dtype.kind != "O":
        unique, codes = np.unique(labels, return_inverse=True)
        return codes, unique.tolist()
    # By a dict: numpy would sort, and labels need not be comparable.
    try:
        number_of = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
    except TypeError as error:
        raise TypeError(f"{name}: {error}; give labels that can be dict keys") from error
    missing = [label for label in number_of if is_missing(label)]
    if missing:
        raise ValueError(f"{name} holds {missing[0]!r}; give every sample a label")
    return np.array([number_of[label] for label in labels.tolist()]), list(number_of)


def is_missing(label: Any) -> bool:
    """Whether it is None, or NaN, NaT or NA: not equal to itself, or not to be compared."""
    try:
        return label is None or bool(label != label)
    except (TypeError, ValueError):
        return True


def check_aligned(x: Any, y: Any, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise ValueError if two data frames have the same index in different orders."""
    index: Any = getattr(x, "index", None)
    other: Any = getattr(y, "index", None)
    if not (hasattr(index, "equals") and hasattr(other, "equals")) or index.equals(other):
        return
    if len(index) == len(other) and Counter(index) == Counter(other):
        first, second = names
        raise ValueError(
            f"{first} and {second} have the same index in different orders, and rows are paired by "
            f"position; give {second}.loc[{first}.index] to pair them by index, or "
            f"{second}.to_numpy() if they are paired already"
        )


def check_paired(x: Sized, y: Sized, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise ValueError unless `x` and `y` have the same number of samples."""
    if len(x) != len(y):
        raise ValueError(
            f"{names[0]} has {len(x)} samples and {names[1]} has {len(y)}; row i of both must "
            f"belong to the same sample"
        )


def check_spread(x: np.ndarray, name: str) -> None:
    """Raise UnmeasurableError if no column varies, or none by more than float64 can tell."""
    # Two samples mostly show it, and save two passes over all of them.
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


def warn_caller(message: str) -> None:
    """Warn, naming the line outside this package that called it."""
    warnings.warn(message, UserWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """The `stacklevel` of the first frame outside this package."""
    package = os.path.dirname(__file__)
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level
