"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .estimators import Copula, as_slice_estimator
from .estimators.base import check_class_sizes, check_sizes
from .measurement import (
    Variables,
    is_small,
    measure_slices,
    permutation_test,
    progress_bar,
)
from .missing import omit_missing
from .parallel import map_in_order
from .slicing import (
    Chunk,
    LabelledSlices,
    PairedSlices,
    plan_precomputed,
    slices_counted_from,
)
from .ties import break_ties_in_slices
from .uncertainty import check_finite, null_orders
from .validation import (
    as_array,
    as_generator,
    as_groups,
    as_labels,
    as_samples,
    check_count,
    check_paired,
    check_spread,
)

__all__ = [
    "independence_test",
    "mutual_information_of_slices",
    "sliced_mutual_information",
]

# Groups of slices, independent of each other; more of them where their error says when to stop.
_N_GROUPS = 50
_N_GROUPS_WITH_TOL = 100
# Slices of permuted samples, and their groups.
_N_NULL_SLICES = 100
_N_NULL_GROUPS = 25
# With more samples than this, no more permuted slices are measured than others: each takes seconds,
# and their noise is small.
_MANY_SAMPLES = 10**6
# Slices of several dimensions take a hundred times as long: a quarter as many, within these bounds.
_MIN_NULL_FRAMES, _MAX_NULL_FRAMES = 8, 25
_FRAMES = ("random", "pca", "cca")


def sliced_mutual_information(
    x: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    n_projections: int = 2000,
    slice_dims: Any = (1, 1),
    frames: str = "random",
    y_discrete: bool = False,
    tol: float | None = None,
    nan_policy: str = "raise",
    rng: Any = None,
    progress: bool = False,
) -> Any:
    """Sliced mutual information of paired samples.

    Slices are spread over the cores; inside `joblib.parallel_config(backend="dask")`, or the
    backend of another cluster, over its workers, if the call is made in the main thread. The data
    travel there once, and the numbers are the same.

    Parameters
    ----------
    x : array-like, shape (n, ...)
        Samples, flattened to (n, dim_x). A Dask array, or an iterable of batches of rows whose
        `__iter__` starts anew, may be larger than memory: it is read several times, for some slices
        at a time, and projected where it lies; its slices are measured here.
    y : array-like, shape (n, ...) or (n,)
        Samples, as x, flattened to (n, dim_y); with `y_discrete`, one label per sample, of any
        hashable kind, or one-hot rows, and only x is sliced.
    estimator : SliceEstimator or callable
        Measures a slice: `Copula`, which sees ranks alone and is right whatever the marginals,
        `KSG`, `WKL` (with a tuple of weight rules the result is a dict by rule, from the same
        slices and neighbours), `Gaussian`, an estimator of your own, one of the mutinfo library
        (see `from_mutinfo`), or any function `f(x, y)`, which is called once per slice, in parallel
        processes. It gets standardised (n, 1) arrays (with `y_discrete`, codes of the classes of
        shape (n,) as y) and, if it has a parameter `rng`, a Generator of its own; it returns a
        number in nats, or (value, error).
    n_projections : int
        Number of slices, at least 1. The result holds the error that they leave.
    slice_dims : int, or pair (k_x, k_y) of int or None
        Dimensions of the slices; one number for both sides, None for a side that is not sliced.
        With `y_discrete`, a number is for x alone. Slices of more than one dimension are
        projections on orthonormal frames, each measured by the estimator's `mutual_information` or
        `mutual_information_labels`, which takes a hundred times as long as a slice of one
        dimension: ask for fewer. A slice of all dimensions of x and y is the data themselves: there
        is only one, and the value is the mutual information.
    frames : {"random", "pca", "cca"}
        Random slices; or a single one, on the principal directions of x and of y, or on those of
        their canonical correlations (with labels, on discriminants). Canonical directions are
        chosen on the samples that are measured, which biases the value upwards:
        `max_sliced_mutual_information` does not.
    y_discrete : bool
        Whether y holds labels.
    tol : float or None
        Stop when `slicing_error` is at most this, in nats, or at `n_projections` slices. At least a
        fifth of them are measured; the result's `n_projections` says how many.
    nan_policy : {"raise", "omit"}
        What to do about samples with missing values (NaN, None, masked): refuse them, or leave out
        the pair. The result's `n_samples` says how many are left.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`. The same `rng` gives the same numbers on any number of
        cores.
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
        not set; if `n_projections` is not a whole number of at least 1, or `tol` not above 0; if
        `slice_dims` are more than the dimensions, too many for the samples, or of labels; if x and
        y are the same up to scale (the mutual information is infinite).

    Warns
    -----
    UserWarning
        If more than 1 % of the samples repeat or they are equally spaced, and the estimator depends
        on it: see `ties.break_ties`. If pairs were omitted.

    Examples
    --------
    >>> sliced_mutual_information(x, y, n_projections=1000, rng=0)
    SlicedEstimate(0.02154 +- 0.0011 nat, ...)
    """
    n_projections = check_count(n_projections, "n_projections")
    if tol is not None and not (isinstance(tol, numbers.Real) and tol > 0):
        raise ValueError(f"tol={tol!r}; give a number above 0, in nats, or None")
    if frames not in _FRAMES:
        raise ValueError(f"frames={frames!r}; give one of {_FRAMES}")
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x, y = omit_missing(nan_policy, x=x, y=y)
    x_rng, y_rng, x_tie_rng, y_tie_rng, null_rng, control_rng = as_generator(rng).spawn(6)
    variables = Variables.of(
        x, y, estimator, (x_tie_rng, y_tie_rng), y_discrete=y_discrete, slice_dims=slice_dims
    )
    n = len(variables.x)
    # Slices of all dimensions are the same, in one dimension up to sign: one will do.
    is_one_dimensional = max(variables.dims[0], variables.dims[1] or 1) == 1
    is_one_slice = variables.is_whole or frames != "random"
    n_distinct = 1 if is_one_slice else n_projections
    order, null_rngs = null_rng.permutation(n), null_rng.spawn(2)
    chunks, null_chunks = (
        _chunks(variables, frames, n_distinct, tol=tol, rngs=rngs, is_null=is_null)
        for rngs, is_null in (((x_rng, y_rng), False), (null_rngs, True))
    )
    if is_one_dimensional or not estimator.has_terms:
        null_chunks = iter(())
    controls, control_means = None, None
    if not is_one_slice:
        controls = variables.controls(n_distinct, rng=control_rng)
        control_means = controls.means(rng=control_rng) if controls else None
    with progress_bar(n_distinct, progress) as bar:
        estimates = measure_slices(
            variables.slices,
            chunks,
            null_chunks,
            order,
            estimator,
            bar,
            n_distinct,
            tol=tol,
            controls=controls,
            control_means=control_means,
            is_one_slice=is_one_slice,
        )
    if is_one_dimensional:
        estimates = [_repeated(estimate, n_projections) for estimate in estimates]
    return estimator.by_rule(estimates)


def _repeated(estimate, n_projections):
    """The estimate of all slices asked for, which are the same one."""
    per_slice = np.repeat(estimate.per_slice, n_projections)
    return replace(estimate, per_slice=per_slice, n_projections=n_projections)


def _chunks(variables, frames, n_slices, *, tol, rngs, is_null):
    """The slices to measure, or those of permuted samples."""
    if frames != "random":
        return iter([variables.chunk(*variables.directions(frames), is_null=is_null)])
    n_groups = _N_GROUPS if tol is None else _N_GROUPS_WITH_TOL
    if is_null:
        n_groups = _N_NULL_GROUPS
        n_slices = _n_null_slices(variables, n_slices)
    return variables.plan(n_slices, n_groups=n_groups, rngs=rngs, is_null=is_null)


def _n_null_slices(variables, n_slices):
    if variables.is_whole:
        return 1
    if variables.slice_dims == (1, 1):
        is_long = len(variables.x) > _MANY_SAMPLES
        return min(n_slices, _N_NULL_SLICES) if is_long else _N_NULL_SLICES
    return min(max(_MIN_NULL_FRAMES, n_slices // 4), _MAX_NULL_FRAMES)


def independence_test(
    x: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    n_projections: int = 100,
    n_permutations: int = 199,
    y_discrete: bool = False,
    groups: Any = None,
    nan_policy: str = "raise",
    rng: Any = None,
    progress: bool = False,
) -> Any:
    """Test whether x and y are independent, by permutations of their sliced mutual information.

    The slices are drawn once. Where an estimator has several statistics (`Copula`: the Gaussian
    part and the sum of squared moments), the largest counts, each in units of its spread over the
    permutations and the data. Under independence, the data and their permutations are exchangeable,
    whatever the slices and the estimator, so that the p-value is exactly valid:
    P(p_value <= a) <= a (Phipson and Smyth 2010, "Permutation p-values should never be zero").

    Parameters
    ----------
    x, y : array-like, shapes (n, ...)
        Paired samples, flattened to (n, dim); with `y_discrete`, y holds labels. Of Dask arrays
        and batches, and on a cluster, see `sliced_mutual_information`.
    estimator, n_projections, y_discrete, nan_policy, rng, progress
        As for `sliced_mutual_information`; the test finds the dependence that the estimator sees.
    n_permutations : int
        At least 1. The p-value is at least 1 / (1 + n_permutations).
    groups : array-like, shape (n,), or None
        The group of each sample, where samples of one group depend on each other: the subject that
        was measured many times, or the stretch of a time series, `np.arange(n) // length`, longer
        than its memory. Groups of equal size then change places as a whole, with their samples in
        order, since only groups are exchangeable; a group of unique size stays in place. Without
        groups, samples are taken to be independent of each other; if they are not, the p-value is
        too small.

    Returns
    -------
    IndependenceTest, or dict of IndependenceTest by rule

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`; if `n_permutations` is not a whole number of at least 1, or
        no two groups have the same size.

    Examples
    --------
    >>> independence_test(x, y, rng=0)
    IndependenceTest(value=0.02154 nat, p_value=0.005, n_permutations=199)
    """
    n_projections = check_count(n_projections, "n_projections")
    n_permutations = check_count(n_permutations, "n_permutations")
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x, y, groups = omit_missing(nan_policy, x=x, y=y, groups=groups)
    x_rng, y_rng, x_tie_rng, y_tie_rng, order_rng = as_generator(rng).spawn(5)
    variables = Variables.of(x, y, estimator, (x_tie_rng, y_tie_rng), y_discrete=y_discrete)
    data, n = variables.slices, len(variables.x)
    groups = None if groups is None else as_groups(groups, x, n)
    orders = [np.arange(n), *null_orders(n, n_permutations, groups, rng=order_rng)]
    n_distinct = 1 if variables.is_whole else n_projections
    chunks = variables.plan(n_distinct, n_groups=_N_GROUPS, rngs=(x_rng, y_rng))
    sums = []

    def measure(chunk):
        slices, other = data.of(chunk)
        with np.errstate(divide="ignore", invalid="ignore"), slices_counted_from(chunk.first):
            values = [
                data.statistics(estimator, slices, data.permuted(other, order)).sum(axis=2)
                for order in orders
            ]
        return len(slices), np.stack(values, axis=2)

    with progress_bar(n_distinct, progress) as bar:

        def collect(result):
            n_slices, values = result
            sums.append(values)
            bar.update(n_slices)

        map_in_order(
            measure,
            chunks,
            collect,
            in_processes=estimator.in_processes,
            in_place=is_small(data, n_distinct * len(orders), estimator),
            may_travel=data.may_travel,
        )
    values = sum(sums) / n_distinct
    check_finite(values, estimator, "orders of y")
    return estimator.by_rule([permutation_test(statistics) for statistics in values])


def mutual_information_of_slices(
    x_slices: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    y_discrete: bool = False,
    rng: Any = None,
    progress: bool = False,
) -> Any:
    """Average the information of slices that have been computed before.

    For data that are measured many times, such as images against a layer at every epoch: project
    them once with an `SMICompressor`, and keep the slices.

    Parameters
    ----------
    x_slices : array, shape (n_slices, n)
        One projection per row.
    y : array, shape (n_slices, n), or array-like, shape (n,)
        One projection per row, paired with `x_slices` row by row and sample by sample; with
        `y_discrete`, one label per sample.
    estimator, y_discrete, rng, progress
        As for `sliced_mutual_information`; `rng` only tells equal samples apart and permutes them.

    Returns
    -------
    SlicedEstimate, or dict of SlicedEstimate by rule

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`, and if the slices are not paired.
    """
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x_rng, y_rng, null_rng = as_generator(rng).spawn(3)
    x = _precomputed(x_slices, "x_slices", estimator, x_rng)
    n_slices, n = x.shape
    data: PairedSlices | LabelledSlices
    if y_discrete:
        labels = as_labels(y, "y")
        check_paired(range(n), labels)
        check_class_sizes(estimator, labels, "y")
        data = LabelledSlices(x.__getitem__, labels)
    else:
        y = _precomputed(y, "y", estimator, y_rng)
        if y.shape != x.shape:
            raise ValueError(
                f"y has shape {y.shape} and x_slices has {x.shape}; give as many slices of as many "
                f"samples"
            )
        data = PairedSlices(x.__getitem__, y.__getitem__, n)
    chunks = plan_precomputed(np.arange(n_slices), n, n_groups=_N_GROUPS)
    null_chunks: Iterator[Chunk] = iter(())
    if estimator.has_terms and n_slices > 1:
        null_rows = np.arange(0, n_slices, -(-n_slices // _N_NULL_SLICES))
        null_chunks = plan_precomputed(null_rows, n, n_groups=_N_NULL_GROUPS, is_null=True)
    with progress_bar(n_slices, progress) as bar:
        order = null_rng.permutation(n)
        estimates = measure_slices(data, chunks, null_chunks, order, estimator, bar, n_slices)
    return estimator.by_rule(estimates)


def _precomputed(slices, name, estimator, rng):
    slices = as_array(slices, name)
    if slices.ndim != 2 or slices.size == 0:
        raise ValueError(f"{name} has shape {slices.shape}; give one slice per row, (n_slices, n)")
    slices = as_samples(slices.T, name).T.astype(float, copy=False)
    check_sizes(estimator, slices.shape[1], name)
    for i, values in enumerate(slices):
        check_spread(values[:, None], f"{name}[{i}]")
    if estimator.ties == "keep":
        return slices
    return break_ties_in_slices(slices, name, rng, warns=estimator.ties == "warn")
