"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import dataclass

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .estimators import WKL, break_ties
from .slicing import direction_blocks, project
from .validation import (
    as_continuous,
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
        `pointwise`. 0 with a callable estimator, which says nothing about single samples.
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
    x_rng, y_rng, x_tie_rng, y_tie_rng = np.random.default_rng(rng).spawn(4)
    x = _checked_samples(x, "x", estimator, x_tie_rng)
    block = _block_size(len(x))
    # In one dimension all slices of a variable are the same up to sign.
    n_distinct = n_projections if x.shape[1] > 1 else 1
    if y_discrete:
        y, sizes = _checked_labels(y, x, estimator)
        x_blocks = _slice_blocks(x, n_distinct, block, x_rng)
        tasks = ((*x_block, (y, sizes), None) for x_block in x_blocks)
    else:
        y = as_continuous(y, "y")
        check_paired(x, y)
        y = _checked_samples(y, "y", estimator, y_tie_rng)
        n_distinct = n_projections if max(x.shape[1], y.shape[1]) > 1 else 1
        x_blocks = _slice_blocks(x, n_distinct, block, x_rng)
        y_blocks = _slice_blocks(y, n_distinct, block, y_rng)
        tasks = ((*xy[0], *xy[1]) for xy in zip(x_blocks, y_blocks, strict=True))
    return _average(tasks, estimator, len(x), n_distinct, n_projections, progress)


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
    x_rng, y_rng = np.random.default_rng(rng).spawn(2)
    x = _checked_samples(np.asarray(x_slices).T, "x_slices", estimator, x_rng)
    n, n_slices = x.shape
    starts = range(0, n_slices, _block_size(n))
    rows = [slice(start, start + _block_size(n)) for start in starts]
    x = x.T
    if y_discrete:
        y, sizes = _checked_labels(y, x.T, estimator)
        tasks = ((x[block], None, (y, sizes), None) for block in rows)
    else:
        if np.shape(y) != x.shape:
            raise ValueError(f"y has shape {np.shape(y)} and x_slices has {x.shape}; give as many "
                             f"slices of as many samples")
        y = _checked_samples(np.asarray(y).T, "y", estimator, y_rng).T
        tasks = ((x[block], None, y[block], None) for block in rows)
    return _average(tasks, estimator, n, n_slices, n_slices, progress)


def _checked_samples(x, name, estimator, rng):
    x = as_samples(x, name)
    check_neighbors(len(x), getattr(estimator, "k", 1), name)
    check_spread(x, name)
    return x if callable(estimator) else break_ties(x, name, rng)


def _checked_labels(labels, x, estimator):
    codes, sizes, classes = as_labels(labels, "y")
    check_paired(x, codes)
    if hasattr(estimator, "check_classes"):
        estimator.check_classes(sizes, classes)
    elif not callable(estimator):
        raise ValueError(f"{estimator!r} does not measure information about labels; use WKL")
    return codes, sizes


def _block_size(n):
    return max(1, _BLOCK // n)


def _slice_blocks(x, n_projections, block, rng):
    """Yield (samples, directions, centre) for each block of slices: what `_slices` projects."""
    center = x.mean(axis=0, dtype=float)
    for directions in direction_blocks(x.shape[1], n_projections, block, rng=rng):
        yield x, (directions, center)


def _slices(samples, projection):
    return samples if projection is None else project(samples, *projection)


def _measure(x, x_projection, y, y_projection, estimator):
    """Pointwise sums over a block's slices, and the value of each slice, for each result."""
    x = _slices(x, x_projection)
    labels = isinstance(y, tuple)
    y = y if labels else _slices(y, y_projection)
    if callable(estimator):
        pairs = ((row, y[0]) for row in x) if labels else zip(x, y[:, :, None], strict=True)
        values = [float(estimator(row[:, None], other)) for row, other in pairs]
        return np.zeros((1, 0)), np.array(values)[None]
    terms = estimator.slice_terms_labels(x, *y) if labels else estimator.slice_terms(x, y)
    return terms.sum(axis=1), terms.mean(axis=2)


def _average(tasks, estimator, n_samples, n_distinct, n_projections, progress):
    # Kernels and sorts let go of the interpreter, so threads will do; a callable may not. Inside a
    # worker process the other cores have work of their own.
    nested = multiprocessing.parent_process() is not None
    parallel = joblib.Parallel(
        n_jobs=1 if nested else joblib.cpu_count(),
        backend="loky" if callable(estimator) else "threading",
        return_as="generator",
    )
    pointwise, per_slice = 0.0, []
    # One BLAS thread: the slices are spread over the cores already, and the sums then do not
    # depend on how many there are.
    with threadpool_limits(1, user_api="blas"), tqdm(
        total=n_distinct, desc="slices", unit="slice", disable=not progress, leave=False
    ) as bar:
        for block_sums, values in parallel(
            joblib.delayed(_measure)(*task, estimator) for task in tasks
        ):
            pointwise = pointwise + block_sums
            per_slice.append(values)
            bar.update(values.shape[1])
    per_slice = np.concatenate(per_slice, axis=1)
    if not np.isfinite(per_slice).all():
        raise ValueError(f"{estimator!r} gave a value that is not finite on "
                         f"{np.count_nonzero(~np.isfinite(per_slice))} slices; check x and y for "
                         f"values that are equal up to rounding")
    results = [
        _sliced_estimate(values, terms / n_distinct, n_samples, n_projections)
        for values, terms in zip(per_slice, pointwise, strict=True)
    ]
    return results[0] if callable(estimator) else estimator.by_rule(results)


def _sliced_estimate(values, pointwise, n_samples, n_projections):
    if len(values) > 1:
        means = np.array([group.mean() for group in np.array_split(values, _groups(len(values)))])
        slicing_error = float(means.std(ddof=1) / math.sqrt(len(means)))
    else:
        slicing_error = 0.0 if n_projections > 1 else math.inf
    sampling_error = 0.0
    if len(pointwise):
        sampling_error = float(pointwise.std(ddof=1) / math.sqrt(len(pointwise)))
    return SlicedEstimate(
        value=float(values.mean()),
        std_error=math.hypot(slicing_error, sampling_error),
        slicing_error=slicing_error,
        sampling_error=sampling_error,
        per_slice=np.broadcast_to(values, n_projections) if len(values) == 1 else values,
        pointwise=pointwise,
        n_samples=n_samples,
        n_projections=n_projections,
    )


def _groups(n_slices):
    return min(_GROUPS, n_slices)
