"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .control_variates import ControlMeans, LabelledControls, PairedControls
from .estimators import Copula, SliceEstimator, as_slice_estimator
from .estimators.base import (
    check_class_sizes,
    check_sizes,
    labelled_samples,
    paired_samples,
)
from .parallel import map_in_order
from .slicing import (
    Chunk,
    LabelledSlices,
    PairedSlices,
    plan,
    plan_precomputed,
    slices_counted_from,
)
from .uncertainty import ChunkResult, Groups, Summary, check_finite, summarize
from .validation import (
    as_array,
    as_generator,
    as_labels,
    as_samples,
    break_ties_in_slices,
    check_count,
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

# Groups of slices, independent of each other; more of them where their error says when to stop.
_N_GROUPS = 50
_N_GROUPS_WITH_TOL = 100
# Slices of permuted samples, and their groups.
_N_NULL_SLICES = 100
_N_NULL_GROUPS = 25
_MIN_NUMBERS_FOR_THREADS = 5 * 10**5


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
        Standard error from having finitely many slices: the spread of the means of 25 to 50 groups
        of slices, independent of each other (100 with `tol`). Infinite for a single slice in more
        than one dimension.
    sampling_error : float
        Standard error from having finitely many samples, which all slices share. It comes from the
        spread of `pointwise`, less what finitely many slices add to that, corrected by what the
        spread is known to miss where x and y are independent (see `utils.uncertainty`). Bias is not
        in it. With a callable estimator it is the mean of the errors that this returns, or 0 if it
        returns none.
    independent_value : float
        What slices of permuted samples give: the estimator's bias on these data if x and y were
        independent. NaN where it is not measured.
    independent_error : float
        Its standard error.
    per_slice : array, shape (n_projections,)
        The estimate of each slice.
    pointwise : array, shape (n,)
        What each sample contributes: `value` is their mean. Empty with a callable estimator.
    n_samples : int
    n_projections : int
        How many slices were used.
    """

    value: float
    std_error: float
    slicing_error: float
    sampling_error: float
    independent_value: float
    independent_error: float
    per_slice: np.ndarray
    pointwise: np.ndarray
    n_samples: int
    n_projections: int

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return (
            f"SlicedEstimate({self.value:.4g} +- {self.std_error:.2g} nat; "
            f"permuted {self.independent_value:.4g} +- {self.independent_error:.2g}, "
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

    def __repr__(self) -> str:
        return (
            f"IndependenceTest(value={self.value:.4g} nat, p_value={self.p_value:.3g}, "
            f"n_permutations={len(self.null_values)})"
        )


def sliced_mutual_information(
    x: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    n_projections: int = 2000,
    y_discrete: bool = False,
    tol: float | None = None,
    rng: Any = None,
    progress: bool = False,
) -> Any:
    """Sliced mutual information of paired samples.

    Parameters
    ----------
    x : array-like, shape (n, ...)
        Samples, flattened to (n, dim_x).
    y : array-like, shape (n, ...) or (n,)
        Samples, flattened to (n, dim_y); with `y_discrete`, one label per sample, of any hashable
        kind, and only x is sliced.
    estimator : SliceEstimator or callable
        Measures a slice: `Copula`, which sees ranks alone and is right whatever the marginals,
        `KSG`, `WKL` (with a tuple of weight rules the result is a dict by rule, from the same
        slices and neighbours), `Gaussian`, an estimator of your own, one of the mutinfo library
        (see `from_mutinfo`), or any function `f(x, y)`, which is called once per slice, in parallel
        processes. It gets standardised (n, 1) arrays (with `y_discrete`, codes of the classes of
        shape (n,) as y) and, if it has a parameter `rng`, a Generator of its own; it returns a
        number in nats, or (value, error).
    n_projections : int
        Number of slices, at least 1. The error that slicing leaves is in the result.
    y_discrete : bool
        Whether y holds labels.
    tol : float or None
        Stop when `slicing_error` is at most this, in nats, or at `n_projections` slices. The
        result's `n_projections` says how many were used: a fifth of them at least.
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
        not set; if `n_projections` is not a whole number of at least 1, or `tol` not above 0; if x
        and y are the same up to scale (the mutual information is infinite).

    Warns
    -----
    UserWarning
        If more than 1 % of the samples repeat: see `validation.Samples.without_ties`.

    Examples
    --------
    >>> sliced_mutual_information(x, y, n_projections=1000, rng=0)
    SlicedEstimate(0.02154 +- 0.0011 nat, ...)
    """
    n_projections = check_count(n_projections, "n_projections")
    if tol is not None and not (isinstance(tol, numbers.Real) and tol > 0):
        raise ValueError(f"tol={tol!r}; give a number above 0, in nats, or None")
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x_rng, y_rng, x_tie_rng, y_tie_rng, null_rng, control_rng = as_generator(rng).spawn(6)
    data, dims, controls_of = _sliced_data(x, y, estimator, y_discrete, (x_tie_rng, y_tie_rng))
    # In one dimension all slices are the same up to sign: one will do.
    one_dimensional = max(dims[0], dims[1] or 1) == 1
    n_distinct = 1 if one_dimensional else n_projections
    planned = partial(plan, *dims, data.n_samples)
    n_groups = _N_GROUPS if tol is None else _N_GROUPS_WITH_TOL
    chunks = planned(n_distinct, n_groups=n_groups, rngs=(x_rng, y_rng))
    order, null_rngs = null_rng.permutation(data.n_samples), null_rng.spawn(2)
    null_chunks: Iterator[Chunk] = iter(())
    controls, control_means = None, None
    if not one_dimensional:
        controls = controls_of(n_distinct, rng=control_rng)
        control_means = controls.means(rng=control_rng)
        if estimator.has_terms:
            null_chunks = planned(
                _N_NULL_SLICES, n_groups=_N_NULL_GROUPS, rngs=null_rngs, is_null=True
            )
    with _progress_bar(n_distinct, progress) as bar:
        summary = _measure(
            data,
            chain(chunks, null_chunks),
            order,
            estimator,
            bar,
            n_distinct,
            tol=tol,
            controls=controls,
            control_means=control_means,
        )
    return estimator.by_rule(_estimates(summary, data.n_samples, n_projections, one_dimensional))


def independence_test(
    x: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    n_projections: int = 100,
    n_permutations: int = 199,
    y_discrete: bool = False,
    rng: Any = None,
    progress: bool = False,
) -> Any:
    """Test whether x and y are independent, by permutations of their sliced mutual information.

    The slices are drawn once. Where an estimator has several statistics (`Copula`: the Gaussian
    part and the sum of squared moments), the largest counts, each in units of its spread over the
    permutations and the data. Under independence the data and their permutations are
    exchangeable, whatever the slices and the estimator, so that the p-value is valid exactly:
    P(p_value <= a) <= a (Phipson and Smyth 2010, "Permutation p-values should never be zero").

    Parameters
    ----------
    x, y : array-like, shapes (n, ...)
        Paired samples, flattened to (n, dim); with `y_discrete`, y holds labels.
    estimator, n_projections, y_discrete, rng, progress
        As for `sliced_mutual_information`; the test finds what dependence the estimator sees.
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
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x_rng, y_rng, x_tie_rng, y_tie_rng, order_rng = as_generator(rng).spawn(5)
    data, dims, _ = _sliced_data(x, y, estimator, y_discrete, (x_tie_rng, y_tie_rng))
    n = data.n_samples
    orders = [np.arange(n), *(order_rng.permutation(n) for _ in range(n_permutations))]
    n_distinct = 1 if max(dims[0], dims[1] or 1) == 1 else n_projections
    chunks = plan(*dims, n, n_distinct, n_groups=_N_GROUPS, rngs=(x_rng, y_rng))
    sums = []

    def measure(chunk):
        slices, other = data.of(chunk)
        with slices_counted_from(chunk.first):
            values = [
                data.statistics(estimator, slices, data.permuted(other, order)).sum(axis=2)
                for order in orders
            ]
        return len(slices), np.stack(values, axis=2)

    with _progress_bar(n_distinct, progress) as bar:

        def collect(result):
            n_slices, values = result
            sums.append(values)
            bar.update(n_slices)

        with np.errstate(divide="ignore", invalid="ignore"):
            map_in_order(
                measure,
                chunks,
                collect,
                in_processes=estimator.in_processes,
                in_place=_is_small(data, n_distinct * len(orders), estimator),
            )
    values = sum(sums) / n_distinct
    check_finite(values, estimator, "orders of y")
    return estimator.by_rule([_test_of(statistics) for statistics in values])


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

    For data measured many times, such as the images against a layer at every epoch: project them
    once with an `SMICompressor`, and keep the slices.

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
        some = np.arange(0, n_slices, -(-n_slices // _N_NULL_SLICES))
        null_chunks = plan_precomputed(some, n, n_groups=_N_NULL_GROUPS, is_null=True)
    with _progress_bar(n_slices, progress) as bar:
        order = null_rng.permutation(n)
        summary = _measure(data, chain(chunks, null_chunks), order, estimator, bar, n_slices)
    return estimator.by_rule(_estimates(summary, n, n_slices, False))


def _sliced_data(
    x: Any,
    y: Any,
    estimator: SliceEstimator,
    y_discrete: bool,
    rngs: Sequence[np.random.Generator],
) -> tuple[
    PairedSlices | LabelledSlices,
    tuple[int, int | None],
    Callable[..., PairedControls | LabelledControls],
]:
    """What to slice, its dimensions (that of labels is None), and what makes its controls."""
    if y_discrete:
        samples, labels = labelled_samples(estimator, x, y, rngs[0], name="y")
        labelled_controls = partial(LabelledControls.of_samples, samples, labels)
        return LabelledSlices(samples.project, labels), (samples.dim, None), labelled_controls
    x, y = paired_samples(estimator, x, y, rngs)
    paired_controls = partial(PairedControls.of_samples, x, y)
    return PairedSlices(x.project, y.project, len(x)), (x.dim, y.dim), paired_controls


def _precomputed(slices, name, estimator, rng):
    slices = as_array(slices, name)
    if slices.ndim != 2:
        raise ValueError(f"{name} has shape {slices.shape}; give one slice per row, (n_slices, n)")
    slices = as_samples(slices, name).astype(float, copy=False)
    check_sizes(estimator, slices.shape[1], name)
    for i, values in enumerate(slices):
        check_spread(values[:, None], f"{name}[{i}]")
    if estimator.ties == "keep":
        return slices
    return break_ties_in_slices(slices, name, rng, warns=estimator.ties == "warn")


def _measure(
    data: PairedSlices | LabelledSlices,
    chunks: Iterator[Chunk],
    order: np.ndarray,
    estimator: SliceEstimator,
    bar: Any,
    n_slices: int,
    *,
    tol: float | None = None,
    controls: PairedControls | LabelledControls | None = None,
    control_means: ControlMeans | None = None,
) -> Summary:
    """Measure slices, group by group; with `tol`, until their error is no larger.

    Those of permuted samples follow at once, so that no thread waits for the last of the others.
    """
    groups, null_groups = Groups(control_means), Groups()

    def measure(chunk):
        x, y = data.of(chunk)
        y = data.permuted(y, order) if chunk.is_null else y
        # A distance of 0 gives no finite number, and `summarize` says so.
        with np.errstate(divide="ignore", invalid="ignore"), slices_counted_from(chunk.first):
            terms = data.terms(estimator, x, y)
            values, sums = terms.mean(axis=2), terms.sum(axis=1)
        of_slices = np.empty((0, len(x)))
        if controls is not None and not chunk.is_null:
            of_slices = controls.of_slices(chunk.theta, chunk.phi)
        return ChunkResult(chunk.group, chunk.is_null, values, sums, of_slices)

    def collect(result):
        if result.is_null:
            null_groups.add(result)
        elif not groups.is_complete:
            groups.add(result, tol)
            bar.update(result.values.shape[1])

    # Chunks on their way when there are enough are waited for, and not used.
    wanted = (chunk for chunk in chunks if chunk.is_null or not groups.is_complete)
    map_in_order(
        measure,
        wanted,
        collect,
        in_processes=estimator.in_processes,
        in_place=_is_small(data, n_slices, estimator),
    )
    groups.close()
    null_groups.close()
    labels = data.labels if isinstance(data, LabelledSlices) else None
    return summarize(groups, null_groups, estimator, data.n_samples, labels)


def _is_small(data, n_slices, estimator):
    """Whether threads would cost more than they save."""
    return not estimator.in_processes and data.n_samples * n_slices < _MIN_NUMBERS_FOR_THREADS


def _estimates(summary, n_samples, n_projections, one_dimensional):
    estimates = []
    for i, values in enumerate(summary.per_slice):
        slicing_error = 0.0 if one_dimensional else float(summary.slicing_errors[i])
        sampling_error = float(summary.sampling_errors[i])
        estimates.append(
            SlicedEstimate(
                value=float(summary.values[i]),
                std_error=math.hypot(slicing_error, sampling_error),
                slicing_error=slicing_error,
                sampling_error=sampling_error,
                independent_value=float(summary.independent_values[i]),
                independent_error=float(summary.independent_errors[i]),
                per_slice=np.repeat(values, n_projections) if one_dimensional else values,
                pointwise=summary.pointwise[i],
                n_samples=n_samples,
                n_projections=n_projections if one_dimensional else len(values),
            )
        )
    return estimates


def _test_of(statistics):
    """From statistics under each order of y, (n_statistics, 1 + n_permutations), the data first."""
    compared = statistics[0]
    if len(statistics) > 1:
        # The largest of the others, each in units of its spread over all orders.
        others = statistics[1:] - statistics[1:].mean(axis=1, keepdims=True)
        spreads = others.std(axis=1, keepdims=True)
        compared = (others / np.where(spreads > 0.0, spreads, 1.0)).max(axis=0)
    p_value = np.count_nonzero(compared >= compared[0]) / len(compared)
    return IndependenceTest(float(statistics[0, 0]), p_value, statistics[0, 1:].copy())


def _progress_bar(n_slices, progress):
    if not progress:
        return _NoBar()
    return tqdm(total=n_slices, desc="slices", unit="slice", leave=False)


class _NoBar:
    """A disabled tqdm would wait for its lock, which another thread may never release."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def update(self, n):
        """Show nothing."""
