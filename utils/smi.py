"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import math
import multiprocessing
import threading
from dataclasses import dataclass
from itertools import repeat

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .estimators import WKL, break_ties, break_ties_in_slices
from .slicing import center_of, direction_blocks, project
from .validation import (
    UnmeasurableError,
    as_array,
    as_continuous,
    as_generator,
    as_labels,
    as_samples,
    check_count,
    check_neighbors,
    check_paired,
    check_spread,
)

__all__ = ["SlicedEstimate", "mutual_information_of_slices", "sliced_mutual_information"]

# Numbers in one block of slices: a few such arrays fit in a core's cache.
_BLOCK = 2**16
# Slices projected together, at least: each pass reads all of the samples.
_PROJECTED = 8
_GROUPS = 50


@dataclass(frozen=True, eq=False)
class SlicedEstimate:
    """A sliced estimate in nats, its errors, and what it was averaged from.

    Parameters
    ----------
    value : float
        The mean over the slices.
    std_error : float
        Both errors below, in quadrature.
    slicing_error : float
        Standard error from having finitely many slices: the spread of the means of 50 groups of
        consecutive slices (directions that come from one orthogonal matrix are not independent).
        Infinite for a single slice in more than one dimension.
    sampling_error : float
        Standard error from having finitely many samples, which all slices share: the spread of
        `pointwise`; see `Estimate` for what is not in it. 0 with a callable estimator, which says
        nothing about single samples.
    per_slice : array, shape (n_projections,)
        The estimate of each slice.
    pointwise : array, shape (n,)
        What each sample contributes: `value` is their mean. Empty with a callable estimator.
    n_samples, n_projections : int
    """

    value: float
    std_error: float
    slicing_error: float
    sampling_error: float
    per_slice: np.ndarray
    pointwise: np.ndarray
    n_samples: int
    n_projections: int

    def __repr__(self):
        return (
            f"SlicedEstimate({self.value:.4g} +- {self.std_error:.2g} nat, "
            f"n_samples={self.n_samples}, n_projections={self.n_projections})"
        )


def sliced_mutual_information(
    x, y, *, estimator=WKL(), n_projections=2000, y_discrete=False, rng=None, progress=False
):
    """Sliced mutual information of paired samples.

    Parameters
    ----------
    x : array-like, shape (n, ...)
        Samples, flattened to (n, dim_x).
    y : array-like, shape (n, ...) or (n,)
        Samples, flattened to (n, dim_y); with `y_discrete`, one label a sample, of any hashable
        kind, and only x is sliced.
    estimator : estimator or callable
        Measures a slice. `WKL` (with a tuple of weight rules: the result is a dict by rule, from
        the same slices and neighbours), `Gaussian`, or any `f(x, y) -> float` on (n, 1) arrays
        (y of shape (n,) with `y_discrete`), which is called once a slice, in parallel processes.
    n_projections : int
        Number of slices, at least 1. The error that slicing leaves is in the result.
    y_discrete : bool
        Whether y holds labels.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`. The same `rng` gives the same numbers, however many
        cores there are.
    progress : bool
        Show a progress bar.

    Returns
    -------
    SlicedEstimate, or dict of SlicedEstimate by rule

    Raises
    ------
    ValueError, TypeError
        If the data are not numeric, finite and paired, have too few samples for the estimator's
        k (with labels, in every class) or no spread; if y looks like labels and `y_discrete` is
        not set; if `n_projections` is not a whole number of at least 1; if x and y are the same up
        to scale (the mutual information is infinite).

    Warns
    -----
    UserWarning
        If more than 1 % of the samples repeat: see `estimators.break_ties`.

    Examples
    --------
    >>> sliced_mutual_information(x, y, n_projections=1000, rng=0)
    SlicedEstimate(0.02154 +- 0.0011 nat, n_samples=3000, n_projections=1000)
    """
    n_projections = check_count(n_projections, "n_projections")
    x_rng, y_rng, x_tie_rng, y_tie_rng = as_generator(rng).spawn(4)
    x = _checked_samples(x, "x", estimator, x_tie_rng)
    one_dimensional = x.shape[1] == 1
    if y_discrete:
        labels = _checked_labels(y, len(x), estimator)
    else:
        y = as_continuous(y, "y")
        check_paired(x, y)
        y = _checked_samples(y, "y", estimator, y_tie_rng)
        one_dimensional = one_dimensional and y.shape[1] == 1
    # In one dimension all slices are the same up to sign: one will do.
    n_distinct = 1 if one_dimensional else n_projections
    x_blocks = _slice_blocks(x, n_distinct, x_rng)
    y_blocks = repeat((labels, None)) if y_discrete else _slice_blocks(y, n_distinct, y_rng)
    tasks = ((*x_block, *y_block) for x_block, y_block in zip(x_blocks, y_blocks, strict=False))
    return _average(tasks, estimator, len(x), n_projections, one_dimensional, progress)


def mutual_information_of_slices(
    x_slices, y, *, estimator=WKL(), y_discrete=False, rng=None, progress=False
):
    """Average the information of slices that are there already.

    For data measured many times, such as the images against a layer at every epoch: project them
    once with an `SMICompressor`, and keep the slices.

    Parameters
    ----------
    x_slices : array, shape (n_slices, n)
        A projection a row.
    y : array, shape (n_slices, n), or array-like, shape (n,)
        A projection a row, paired with `x_slices` row by row and sample by sample; with
        `y_discrete`, one label a sample.
    estimator, y_discrete, rng, progress
        As for `sliced_mutual_information`; `rng` only tells equal samples apart.

    Returns
    -------
    SlicedEstimate, or dict of SlicedEstimate by rule

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`, and if the slices are not paired.
    """
    x_rng, y_rng = as_generator(rng).spawn(2)
    x = _checked_slices(x_slices, "x_slices", estimator, x_rng)
    n_slices, n = x.shape
    if y_discrete:
        labels = _checked_labels(y, n, estimator)
    else:
        y = _checked_slices(y, "y", estimator, y_rng)
        if y.shape != x.shape:
            raise ValueError(
                f"y has shape {y.shape} and x_slices has {x.shape}; give as many slices of as many "
                f"samples"
            )
    blocks = [slice(i, i + _block_size(n)) for i in range(0, n_slices, _block_size(n))]
    tasks = ((x[rows], None, labels if y_discrete else y[rows], None) for rows in blocks)
    return _average(tasks, estimator, n, n_slices, False, progress)


def _check_estimator(estimator):
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; give an object of it, as "
            f"{estimator.__name__}()"
        )
    if not callable(estimator) and not hasattr(estimator, "slice_terms"):
        raise TypeError(
            f"estimator={estimator!r} cannot measure a slice; give WKL(), Gaussian() or a function "
            f"f(x, y) -> float"
        )


def _checked_samples(x, name, estimator, rng):
    _check_estimator(estimator)
    x = as_samples(x, name)
    check_neighbors(len(x), getattr(estimator, "k", 1), name)
    check_spread(x, name)
    return x if callable(estimator) else break_ties(x, name, rng)


def _checked_slices(slices, name, estimator, rng):
    _check_estimator(estimator)
    slices = as_array(slices, name)
    if slices.ndim != 2:
        raise ValueError(f"{name} has shape {slices.shape}; give a slice a row, (n_slices, n)")
    slices = as_samples(slices, name).astype(float, copy=False)
    check_neighbors(slices.shape[1], getattr(estimator, "k", 1), name)
    for i, values in enumerate(slices):
        check_spread(values[:, None], f"{name}[{i}]")
    return slices if callable(estimator) else break_ties_in_slices(slices, name, rng)


def _checked_labels(labels, n, estimator):
    codes, sizes, classes = as_labels(labels, "y")
    check_paired(range(n), codes)
    if hasattr(estimator, "check_classes"):
        estimator.check_classes(sizes, classes)
    elif not callable(estimator):
        raise ValueError(f"{estimator!r} does not measure information about labels; use WKL")
    return codes, sizes


def _block_size(n):
    return max(1, _BLOCK // n)


def _slice_blocks(x, n_projections, rng):
    """Yield, for each block of slices, what `_slices` projects."""
    center = center_of(x)
    size = _block_size(len(x))
    n_projected = size * math.ceil(_PROJECTED / size)
    for directions in direction_blocks(x.shape[1], n_projections, n_projected, rng=rng):
        yield x, (directions, center)


def _slices(samples, projection):
    return samples if projection is None else project(samples, *projection)


def _measure(x, x_projection, y, y_projection, estimator):
    """Pointwise sums over some slices, and the value of each slice, for each result."""
    x = _slices(x, x_projection)
    labels = isinstance(y, tuple)
    y = y if labels else _slices(y, y_projection)
    if callable(estimator):
        pairs = ((row, y[0]) for row in x) if labels else zip(x, y[:, :, None], strict=True)
        values = [_as_number(estimator(row[:, None], other), estimator) for row, other in pairs]
        return np.zeros((1, 0)), np.array(values)[None]
    pointwise, values = 0.0, []
    size = _block_size(x.shape[1])
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        # A distance of 0 gives no finite number, and `_average` says so.
        with np.errstate(divide="ignore", invalid="ignore"):
            if labels:
                terms = estimator.slice_terms_labels(x[rows], *y)
            else:
                terms = estimator.slice_terms(x[rows], y[rows])
        pointwise = pointwise + terms.sum(axis=1)
        values.append(terms.mean(axis=2))
    return pointwise, np.concatenate(values, axis=1)


def _as_number(value, estimator):
    if np.ndim(value) == 0 and not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise TypeError(
        f"estimator={estimator!r} returned a {type(value).__name__} of shape {np.shape(value)}; "
        f"let it return one number a slice"
    )


def _average(tasks, estimator, n_samples, n_projections, one_dimensional, progress):
    # Kernels and sorts let go of the interpreter, so threads will do; a callable may not. Inside a
    # worker, be it a process or a thread, the other cores have work of their own.
    nested = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    parallel = joblib.Parallel(
        n_jobs=1 if nested else joblib.cpu_count(),
        backend="loky" if callable(estimator) else "threading",
        return_as="generator",
    )
    pointwise, per_slice = 0.0, []
    # One BLAS thread: the slices are spread over the cores already, and the sums then do not
    # depend on how many there are.
    with (
        threadpool_limits(1, user_api="blas"),
        tqdm(
            total=1 if one_dimensional else n_projections,
            desc="slices",
            unit="slice",
            disable=not progress,
            leave=False,
        ) as bar,
    ):
        for block_sums, values in parallel(
            joblib.delayed(_measure)(*task, estimator) for task in tasks
        ):
            pointwise = pointwise + block_sums
            per_slice.append(values)
            bar.update(values.shape[1])
    per_slice = np.concatenate(per_slice, axis=1)
    if not np.isfinite(per_slice).all():
        raise UnmeasurableError(
            f"{estimator!r} gave a value that is not finite on "
            f"{np.count_nonzero(~np.isfinite(per_slice))} slices; check x and y for values that "
            f"differ by no more than rounding errors of the largest, and take ranks or logarithms"
        )
    results = [
        _sliced_estimate(values, terms / len(values), n_samples, n_projections, one_dimensional)
        for values, terms in zip(per_slice, pointwise, strict=True)
    ]
    return results[0] if callable(estimator) else estimator.by_rule(results)


def _sliced_estimate(values, pointwise, n_samples, n_projections, one_dimensional):
    slicing_error = 0.0 if one_dimensional else math.inf
    if len(values) > 1:
        groups = np.array_split(values, min(_GROUPS, len(values)))
        means = np.array([group.mean() for group in groups])
        slicing_error = float(means.std(ddof=1) / math.sqrt(len(means)))
    sampling_error = 0.0
    if len(pointwise):
        sampling_error = float(pointwise.std(ddof=1) / math.sqrt(len(pointwise)))
    return SlicedEstimate(
        value=float(values.mean()),
        std_error=math.hypot(slicing_error, sampling_error),
        slicing_error=slicing_error,
        sampling_error=sampling_error,
        per_slice=np.repeat(values, n_projections) if one_dimensional else values,
        pointwise=pointwise,
        n_samples=n_samples,
        n_projections=n_projections,
    )
