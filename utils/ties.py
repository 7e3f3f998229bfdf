"""Equal and equally spaced values, which no continuous variable has.

Nearest-neighbour estimators take logarithms of distances, and the distance of equal samples is 0.
Such samples are told apart at random, and the caller is warned where that distorts an estimate.
"""

from __future__ import annotations

import numpy as np

from .validation import Samples, UnmeasurableError, warn_caller

__all__ = ["break_ties", "break_ties_in_slices", "tell_apart", "tied_samples"]

# Gaps under this part of the spread count as ties: more than rounding leaves between the
# projections of equal rows, and less than continuous data show at any size that fits in memory.
_TIE_GAP = 1e-11
# Large enough that no two of thousands of equal values come out equal again.
_TIE_NOISE = 1e-7
# Estimates from logarithms of distances fall by about 0.1 nat for each hundredth of the samples
# that repeat others, since the distances between these are the noise's.
_TIE_SHARE, _MAX_TIE_SHARE = 0.01, 1.0 / 3.0
# Gaps that differ by less than this part of their mean count as equal, if there are at least so
# many: gaps between random values differ far more.
_GAP_VARIATION, _MIN_GAPS = 0.01, 5


def break_ties(
    samples: Samples, name: str, rng: np.random.Generator, *, warns: bool = True
) -> Samples:
    """Tell equal rows apart by random amounts of 1e-7 of each column's spread.

    Rows are compared through one random projection: rows that differ agree there with probability
    0. Without equal rows, these are the same samples.

    Parameters
    ----------
    samples : Samples
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
        With `warns`, if more than 1 % do, or if a single column is equally spaced.
    """
    projection = samples.project(rng.standard_normal((1, samples.dim)))[0]
    tied = tied_samples(
        projection, name, is_column=samples.dim == 1, warns=warns, rows=samples.values
    )
    if not tied.any():
        return samples
    # Centred first: beside a large offset the noise would be rounded away.
    values = samples.values - samples.center
    noise = rng.standard_normal((np.count_nonzero(tied), samples.dim))
    values[tied] += _TIE_NOISE * _spread(values) * noise
    return Samples.of(values)


def tied_samples(
    projection: np.ndarray,
    name: str,
    *,
    is_column: bool,
    warns: bool,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Which samples are equal to others, as a mask; errors and warnings as for `break_ties`.

    Parameters
    ----------
    projection : array, shape (n,)
        The samples in a random direction.
    name, warns
        As for `break_ties`.
    is_column : bool
        Whether the samples are one column, which may be equally spaced.
    rows : array, shape (n, dim), or None
        The samples, to be compared where projections agree. Without them, samples count as equal
        that differ by less than 1e-11 of the spread of the projection.
    """
    ascending = np.sort(projection)
    if warns and is_column and _is_equally_spaced(ascending):
        _warn_of_equal_spacing(name)
    tied, n_repeated = _tied(projection, ascending, rows=rows)
    if warns and n_repeated:
        _warn_of_ties(n_repeated, len(projection), name)
    return tied


def tell_apart(slices: np.ndarray, tied: np.ndarray, rng: np.random.Generator) -> None:
    """Move the values of tied samples, in place, by random 1e-7 of the spread of each slice.

    Parameters
    ----------
    slices : array, shape (n_slices, n)
    tied : array of bool, shape (n,)
    rng : Generator
    """
    if tied.any():
        noise = rng.standard_normal((len(slices), np.count_nonzero(tied)))
        slices[:, tied] += _TIE_NOISE * slices.std(axis=1, keepdims=True) * noise


def break_ties_in_slices(
    slices: np.ndarray, name: str, rng: np.random.Generator, *, warns: bool = True
) -> np.ndarray:
    """`break_ties` in each of many one-dimensional samples.

    Parameters
    ----------
    slices : array, shape (n_slices, n), float64
    name, rng, warns
        As for `break_ties`.

    Returns
    -------
    array, shape (n_slices, n)
        `slices` itself if none has equal values, else a copy.

    Raises
    ------
    UnmeasurableError
        With `warns`, if in some slice more than a third of the values repeat others.

    Warns
    -----
    UserWarning
        With `warns`, once if in some slice more than 1 % do, and once if one is equally spaced.
    """
    most_repeated, is_equally_spaced = 0, False
    result = slices
    for i, values in enumerate(slices):
        centred = values - values.mean()
        ascending = np.sort(centred)
        is_equally_spaced |= _is_equally_spaced(ascending)
        tied, n_repeated = _tied(centred, ascending)
        if n_repeated == 0:
            continue
        if result is slices:
            result = slices.copy()
        noise = _TIE_NOISE * _spread(centred) * rng.standard_normal(np.count_nonzero(tied))
        centred[tied] += noise
        result[i] = centred
        most_repeated = max(most_repeated, n_repeated)
    if warns:
        _warn_of_ties(most_repeated, slices.shape[1], name)
        if is_equally_spaced:
            _warn_of_equal_spacing(name)
    return result


def _spread(x: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, at any scale."""
    largest = np.abs(x).max(axis=0)
    return largest * (x / np.where(largest > 0, largest, 1.0)).std(axis=0)


def _is_equally_spaced(ascending: np.ndarray) -> bool:
    gaps = np.diff(ascending)
    return len(gaps) >= _MIN_GAPS and bool(np.ptp(gaps) < _GAP_VARIATION * gaps.mean())


def _tied(
    values: np.ndarray, ascending: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Which of the values repeat (a mask), and how many repeat an earlier one.

    Given the rows that the values are projections of, these must be the same to the last bit:
    in a tight cluster, rows that differ may come close in a projection.
    """
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
    return tied, int(np.count_nonzero(equal))


def _warn_of_ties(n_repeated: int, n: int, name: str) -> None:
    found = f"{n_repeated} of {n} values of {name} repeat others"
    remedy = "Use KSG() or Copula(); discrete data belong in y, with y_discrete=True"
    if n_repeated > _MAX_TIE_SHARE * n:
        raise UnmeasurableError(
            f"{found}, too many for an estimator that takes logarithms of distances. {remedy}"
        )
    if n_repeated > _TIE_SHARE * n:
        warn_caller(
            f"{found}. They were told apart at random, and the estimator, which takes logarithms "
            f"of distances, means little there. {remedy}"
        )


def _warn_of_equal_spacing(name: str) -> None:
    warn_caller(
        f"the values of {name} are equally spaced, which no sample of a continuous variable is, "
        f"and the estimator, which takes distances for densities, means little there. Use KSG() "
        f"or Copula()"
    )
