"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import dataclass
from itertools import repeat

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .estimators import WKL, break_ties, break_ties_in_slices
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

__all__ = [
    "IndependenceTest",
    "SlicedEstimate",
    "independence_test",
    "mutual_information_of_slices",
    "sliced_mutual_information",
]

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


@dataclass(frozen=True, eq=False)
class IndependenceTest:
    """What permuting the samples says of a sliced estimate.

    Parameters
    ----------
    value : float
        The sliced mutual information of the data, in nats.
    p_value : float
        The share of null values at least as large, the data's own value among them.
    null_values : array, shape (n_permutations,)
        The value of each permutation. Their mean is the estimator's bias on these data if they
        were independent.
    """

    value: float
    p_value: float
    null_values: np.ndarray

    def __repr__(self):
        return (
            f"IndependenceTest(value={self.value:.4g} nat, p_value={self.p_value:.3g}, "
            f"n_permutations={len(self.null_values)})"
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
    tasks = (
        (*x_block, *y_block, estimator)
        for x_block, y_block in zip(x_blocks, y_blocks, strict=False)
    )
    return _average(tasks, estimator, len(x), n_projections, one_dimensional, progress)


def independence_test(
    x, y, *, estimator=WKL(), n_projections=100, n_permutations=199, rng=None, progress=False
):
    """Test whether x and y are independent, by permutations of their sliced mutual information.

    The slices are drawn once. Under independence the data and their permutations are
    exchangeable, whatever the slices and the estimator, so that the p-value is valid exactly:
    P(p_value <= a) <= a (Phipson and Smyth 2010, "Permutation p-values should never be zero").

    Parameters
    ----------
    x, y : array-like, shapes (n, ...)
        Paired samples, continuous, flattened to (n, dim).
    estimator, n_projections, rng, progress
        As for `sliced_mutual_information`; it finds what dependence the estimator sees.
    n_permutations : int
        At least 1. The p-value is at least 1 / (1 + n_permutations).

    Returns
    -------
    IndependenceTest, or dict of IndependenceTest by rule

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`, and if `n_permutations` is not a whole number of at least 1.

    Examples
    --------
    >>> independence_test(x, y, rng=0)
    IndependenceTest(value=0.02154 nat, p_value=0.005, n_permutations=199)
    """
    n_projections = check_count(n_projections, "n_projections")
    n_permutations = check_count(n_permutations, "n_permutations")
    x_rng, y_rng, x_tie_rng, y_tie_rng, order_rng = np.random.default_rng(rng).spawn(5)
    x = _checked_samples(x, "x", estimator, x_tie_rng)
    y = as_continuous(y, "y")
    check_paired(x, y)
    y = _checked_samples(y, "y", estimator, y_tie_rng)
    orders = [np.arange(len(x)), *(order_rng.permutation(len(x)) for _ in range(n_permutations))]
    n_distinct = 1 if x.shape[1] == y.shape[1] == 1 else n_projections
    x_blocks = _slice_blocks(x, n_distinct, x_rng)
    y_blocks = _slice_blocks(y, n_distinct, y_rng)
    tasks = ((*x, *y, orders, estimator) for x, y in zip(x_blocks, y_blocks, strict=True))
    sums = 0.0
    with _progress_bar(n_distinct, progress) as bar:
        for n_slices, block_sums in _in_parallel(_measure_permuted, tasks, estimator):
            sums = sums + block_sums
            bar.update(n_slices)
    results = []
    for value, *null_values in sums / n_distinct:
        n_as_large = np.count_nonzero(null_values >= value)
        p_value = (1 + n_as_large) / (1 + n_permutations)
        results.append(IndependenceTest(float(value), p_value, np.array(null_values)))
    return results[0] if callable(estimator) else estimator.by_rule(results)


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
    tasks = ((x[rows], None, labels if y_discrete else y[rows], None, estimator) for rows in blocks)
    return _average(tasks, estimator, n, n_slices, False, progress)


def _check_estimator(estimator):
    if not callable(estimator) and not hasattr(estimator, "slice_terms"):
        raise TypeError(
            f"estimator={estimator!r} cannot measure a slice; give WKL(), Gaussian() or a function "
            f"f(x, y) -> float"
        )


def _checked_samples(x, name, estimator, rng):
    _check_estimator(estimator)
    x = as_samples(x, name)
    check_neighbors(len(x), getattr(estimator, "k", None) or 1, name)
    check_spread(x, name)
    return x if callable(estimator) else break_ties(x, name, rng)


def _checked_slices(slices, name, estimator, rng):
    _check_estimator(estimator)
    if len(np.shape(slices)) != 2:
        raise ValueError(f"{name} has shape {np.shape(slices)}; give a slice a row, (n_slices, n)")
    slices = as_samples(slices, name).astype(float, copy=False)
    check_neighbors(slices.shape[1], getattr(estimator, "k", None) or 1, name)
    constant = slices.max(axis=1) == slices.min(axis=1)
    if constant.any():
        raise ValueError(
            f"{name}[{np.argmax(constant)}] is constant (every sample is the same); a constant "
            f"carries no information: leave that slice out, of x and y alike"
        )
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
    center = x.mean(axis=0, dtype=float)
    for directions in direction_blocks(x.shape[1], n_projections, _block_size(len(x)), rng=rng):
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


def _measure_permuted(x, x_projection, y, y_projection, orders, estimator):
    """The number of slices, and each result's sum over them under each order of y's samples."""
    x, y = _slices(x, x_projection), _slices(y, y_projection)
    values = [_measure(x, None, y[:, order], None, estimator)[1] for order in orders]
    return len(x), np.sum(values, axis=2).T


def _in_parallel(function, tasks, estimator):
    """Yield the function's result for each task, in order."""
    # Kernels and sorts let go of the interpreter, so threads will do; a callable may not. Inside a
    # worker process the other cores have work of their own.
    nested = multiprocessing.parent_process() is not None
    parallel = joblib.Parallel(
        n_jobs=1 if nested else joblib.cpu_count(),
        backend="loky" if callable(estimator) else "threading",
        return_as="generator",
    )
    # One BLAS thread: the slices are spread over the cores already, and the sums then do not
    # depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        yield from parallel(joblib.delayed(function)(*task) for task in tasks)


def _progress_bar(n_slices, progress):
    return tqdm(total=n_slices, desc="slices", unit="slice", disable=not progress, leave=False)


def _average(tasks, estimator, n_samples, n_projections, one_dimensional, progress):
    pointwise, per_slice = 0.0, []
    with _progress_bar(1 if one_dimensional else n_projections, progress) as bar:
        for block_sums, values in _in_parallel(_measure, tasks, estimator):
            pointwise = pointwise + block_sums
            per_slice.append(values)
            bar.update(values.shape[1])
    per_slice = np.concatenate(per_slice, axis=1)
    if not np.isfinite(per_slice).all():
        raise ValueError(
            f"{estimator!r} gave a value that is not finite on "
            f"{np.count_nonzero(~np.isfinite(per_slice))} slices; check x and y for "
            f"values that are equal up to rounding"
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
