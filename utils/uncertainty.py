"""From the values of single slices to an estimate: its errors, and its value at independence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.special import entr

from .control_variates import ControlledMean, ControlMeans, controlled_mean
from .estimates import SlicedEstimate
from .estimators import SliceEstimator
from .parallel import map_in_order
from .slicing import Chunk, LabelledSlices, PairedSlices
from .validation import Labels, UnmeasurableError, warn_caller

__all__ = ["ChunkResult", "Groups", "check_finite", "null_orders", "summarize"]

# An estimate that is out of bounds by more errors than this is warned of, if there are at least
# this many samples: from fewer, its error is not known well enough.
_MAX_ERRORS, _MIN_SAMPLES_TO_JUDGE = 5.0, 100
# The fewest groups whose error is trusted.
_MIN_GROUPS_WITH_TOL = 20
# The slices of independent data that are simulated hold about this many numbers. 4000 slices give
# the spread to 1.1 % (one standard error), 200 to 5 %.
_SIMULATED_NUMBERS = 12 * 10**6
_MIN_SIMULATED, _MAX_SIMULATED = 200, 4000
# Samples of a simulated slice: at least this many, and this many per neighbour. More change
# nothing: with 10,000 the ratio differed from that with 3000 by 2 to 3 %, no more than the noise.
_MIN_SIMULATED_SAMPLES, _SIMULATED_SAMPLES_PER_NEIGHBOR = 3000, 100


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """What one chunk of slices gave.

    Parameters
    ----------
    group : int
    is_null : bool
    values : array, shape (n_results, n_slices)
        The estimate of each slice.
    sums : array, shape (n_results, n)
        The pointwise terms, summed over the slices.
    controls : array, shape (n_controls, n_slices)
        What covariances predict of each slice, see `utils.control_variates`; no rows where the
        directions are unknown.
    """

    group: int
    is_null: bool
    values: np.ndarray
    sums: np.ndarray
    controls: np.ndarray


@dataclass
class Groups:
    """Collects chunk results, in order, into groups of slices.

    Parameters
    ----------
    control_means : ControlMeans or None
        With them, slices are independent, and their mean is controlled. Without them, only groups
        are independent of each other.
    """

    control_means: ControlMeans | None = None
    values: list[np.ndarray] = field(default_factory=list)
    controls: list[np.ndarray] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    total: np.ndarray | float = 0.0
    is_complete: bool = False
    _own_variances: np.ndarray | float = 0.0
    _open: list[ChunkResult] = field(default_factory=list)

    def add(self, result: ChunkResult, tol: float | None = None) -> None:
        """Add a chunk; the first chunk of a new group closes the previous group.

        With `tol`, the groups are complete once their error is at most `tol`; the chunk is then
        dropped.
        """
        if self._open and self._open[0].group != result.group:
            self.close()
            if tol is not None and len(self.sizes) >= _MIN_GROUPS_WITH_TOL:
                self.is_complete = bool(self.mean().slicing_errors.max() <= tol)
        if not self.is_complete:
            self._open.append(result)

    def close(self) -> None:
        """Close the group that the last chunks belong to."""
        if not self._open:
            return
        values = np.concatenate([result.values for result in self._open], axis=1)
        group_sum = sum(result.sums for result in self._open)
        self.controls += [result.controls for result in self._open]
        self._open = []
        self.values.append(values)
        self.sizes.append(values.shape[1])
        self.total = self.total + group_sum
        self._own_variances = self._own_variances + _variances(group_sum)

    def mean(self) -> ControlledMean:
        """The mean over slices of each result, and its standard error."""
        values = np.concatenate(self.values, axis=1)
        # Values that are not finite are refused once all slices are measured.
        if self.control_means is not None and np.isfinite(values).all():
            return controlled_mean(
                values, np.concatenate(self.controls, axis=1), self.control_means
            )
        # The last group may be shorter, and its mean noisier.
        whole = [group.mean(axis=1) for group in self.values if group.shape[1] == self.sizes[0]]
        errors = np.full(len(values), math.inf)
        with np.errstate(invalid="ignore"):
            if len(whole) > 1:
                errors = np.std(whole, axis=0, ddof=1) / math.sqrt(len(whole))
            return ControlledMean(values.mean(axis=1), errors)

    @property
    def shared_variances(self) -> np.ndarray:
        """The mean covariance of the pointwise terms of two groups.

        The variance within each group is left out, since the error of `mean` counts it.
        """
        sizes = np.array(self.sizes)
        n_pairs = sizes.sum() ** 2 - (sizes**2).sum()
        if n_pairs:
            return (_variances(self.total) - self._own_variances) / n_pairs
        return _variances(self.total) / sizes.sum() ** 2


def _variances(pointwise):
    if pointwise.shape[1] < 2:
        return np.zeros(len(pointwise))
    # Values that are not finite are refused once all slices are measured.
    with np.errstate(invalid="ignore"):
        return pointwise.var(axis=1, ddof=1)


def summarize(
    groups: Groups,
    null_groups: Groups,
    estimator: SliceEstimator,
    n: int,
    labels: Labels | None,
    *,
    is_one_slice: bool = False,
) -> list[SlicedEstimate]:
    """One estimate per result, from all slices, and from slices of permuted samples.

    Parameters
    ----------
    groups, null_groups : Groups
        Closed. Without `null_groups`, nothing is known of permuted samples.
    estimator : SliceEstimator
    n : int
        Number of samples.
    labels : Labels or None
    is_one_slice : bool
        Whether there is only one slice to measure, so that slicing leaves no error.

    Raises
    ------
    UnmeasurableError
        If a value is not finite.

    Warns
    -----
    UserWarning
        If a value is below 0, or above the entropy of the labels, by more than 5 errors, and these
        are known: from 100 samples on, with pointwise terms.
    """
    per_slice = np.concatenate(groups.values, axis=1)
    check_finite(per_slice, estimator, "slices")
    mean = groups.mean()
    unknown = np.full(len(per_slice), math.nan)
    null_values, null_slicing_errors, null_variances = unknown, unknown, None
    if null_groups.values:
        of_null_slices = np.concatenate(null_groups.values, axis=1)
        check_finite(of_null_slices, estimator, "slices of permuted samples")
        null_mean = null_groups.mean()
        null_values, null_slicing_errors = null_mean.values, null_mean.slicing_errors
        null_variances = null_groups.shared_variances
    if estimator.has_terms:
        sampling_errors, null_sampling_errors = _sampling_errors(
            groups.shared_variances, null_variances, estimator, n, labels
        )
        pointwise = groups.total / sum(groups.sizes)
        pointwise = pointwise + (mean.values - per_slice.mean(axis=1))[:, None]
    else:
        sampling_errors = null_sampling_errors = np.zeros(len(per_slice))
        pointwise = np.zeros((len(per_slice), 0))
    slicing_errors = mean.slicing_errors
    if is_one_slice:
        slicing_errors = np.zeros(len(per_slice))
        null_slicing_errors = 0.0 * null_values
    # A single slice among many has an infinite error, which would excuse every value.
    finite_errors = np.where(np.isfinite(slicing_errors), slicing_errors, 0.0)
    errors = np.hypot(finite_errors, sampling_errors)
    _warn_if_impossible(mean.values, errors, estimator, n, labels)
    null_errors = np.hypot(null_slicing_errors, null_sampling_errors)
    return [
        SlicedEstimate(
            value=float(mean.values[i]),
            std_error=math.hypot(slicing_errors[i], sampling_errors[i]),
            slicing_error=float(slicing_errors[i]),
            sampling_error=float(sampling_errors[i]),
            independent_value=float(null_values[i]),
            independent_error=float(null_errors[i]),
            per_slice=values,
            pointwise=pointwise[i],
            n_samples=n,
            n_projections=len(values),
        )
        for i, values in enumerate(per_slice)
    ]


def _warn_if_impossible(values, errors, estimator, n, labels):
    """Warn once if a value is out of the bounds of mutual information.

    Without pointwise terms, or with few, the errors are not known well enough to tell.
    """
    if not estimator.has_terms or n < _MIN_SAMPLES_TO_JUDGE:
        return
    largest = math.inf if labels is None else float(entr(labels.sizes / len(labels)).sum())
    for value, error in zip(values, errors, strict=True):
        margin = _MAX_ERRORS * error
        if not -margin <= value <= largest + margin:
            bound = "mutual information is never negative"
            if value > 0.0:
                bound = f"these labels carry {largest:.3g} nat at most"
            warn_caller(
                f"{estimator!r} gave {value:.3g} +- {error:.2g} nat, but {bound}: heavy tails, "
                f"ties or clumps in the data mislead it. Use Copula() or KSG(), which depend less "
                f"on how the data are spread"
            )
            return


def null_orders(
    n: int, n_permutations: int, groups: np.ndarray | None, *, rng: np.random.Generator
) -> list[np.ndarray]:
    """Orders of the samples that are as likely as the given one if x and y are independent.

    Parameters
    ----------
    n, n_permutations : int
    groups : array of int, shape (n,), or None
        From 0. Groups of the same size change places, with their samples in order (whole-block
        exchangeability: Winkler et al. 2015, "Multi-level block permutation"). Without groups,
        single samples change places.
    rng : Generator

    Raises
    ------
    ValueError
        If no two groups have the same size.
    """
    if groups is None:
        return [rng.permutation(n) for _ in range(n_permutations)]
    sizes = np.bincount(groups)
    by_group = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    exchangeable = [
        np.array([by_group[group] for group in np.flatnonzero(sizes == size)])
        for size in np.unique(sizes)
        if np.count_nonzero(sizes == size) > 1
    ]
    if not exchangeable:
        raise ValueError(
            f"groups has {len(sizes)} groups, and no two of the same size, which could change "
            f"places; cut them to one size"
        )
    orders = []
    for _ in range(n_permutations):
        order = np.arange(n)
        for blocks in exchangeable:
            order[blocks] = rng.permutation(blocks)
        orders.append(order)
    return orders


def check_finite(values: np.ndarray, estimator: SliceEstimator, where: str) -> None:
    """Raise UnmeasurableError if a value is not finite."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(values.ndim - 1))))
    if len(bad) == 0:
        return
    remedy = (
        "check x and y for values that differ by no more than rounding errors of the largest, and "
        "take ranks or logarithms"
    )
    if not estimator.has_terms:
        remedy = "let it return a finite number, or raise an error that says why it cannot"
    value = values[~np.isfinite(values)][0]
    raise UnmeasurableError(
        f"estimator={estimator!r} gave a value that is not finite on {len(bad)} {where}, the first "
        f"of them {value} on number {bad[0]} (counted from 0); {remedy}"
    )


def _sampling_errors(shared_variances, null_variances, estimator, n, labels):
    """Standard errors over the choice of samples: of the data, and of permuted samples.

    The variance of the pointwise terms, over n, is the variance of their mean if they depend on
    one sample each. They depend on others too: neighbours share distances, and where x and y are
    independent the terms are nothing but the noise of the others. What that does to the variance
    is known at independence, where both are measured: the variance of values and that of terms.
    Independent data are given the first. Terms of dependent data vary more, and the excess is
    added. Noise in the excess counts only where it is positive, so that errors are some 20 % too
    large at independence itself; subtracting it would make them too small where dependence is weak.
    """
    n_simulated, class_sizes = n, None
    if labels is not None:
        class_sizes = tuple(labels.sizes.tolist())
    elif null_variances is not None:
        # How much permuted slices share depends on the dimension, and these are the data's own.
        of_neighbors = _SIMULATED_SAMPLES_PER_NEIGHBOR * (estimator.min_samples - 1)
        n_simulated = min(n, max(_MIN_SIMULATED_SAMPLES, of_neighbors))
    simulated_variances, ratios = _simulated(estimator, n_simulated, class_sizes)
    null = simulated_variances if null_variances is None else np.maximum(null_variances, 0.0)
    excess = np.maximum(shared_variances - null, 0.0)
    return np.sqrt((ratios * null + excess) / n), np.sqrt(ratios * null / n)


def _simulated(estimator, n, class_sizes):
    try:
        hash(estimator)
    except TypeError:
        return _simulate_independence.__wrapped__(estimator, n, class_sizes)
    return _simulate_independence(estimator, n, class_sizes)


@cache
def _simulate_independence(estimator, n, class_sizes):
    """Of independent data: the variance of terms, and n times that of values in units of it."""
    data: PairedSlices | LabelledSlices = PairedSlices(lambda x: x, lambda y: y, n)
    if class_sizes is not None:
        codes = np.repeat(np.arange(len(class_sizes)), class_sizes)
        labels = Labels(codes, np.array(class_sizes), list(range(len(class_sizes))))
        data = LabelledSlices(lambda x: x, labels)
    values, variances = [], []

    def measure(chunk):
        terms = data.terms(estimator, *data.of(chunk))
        return terms.mean(axis=2), terms.var(axis=2, ddof=1)

    def collect(result):
        values.append(result[0])
        variances.append(result[1])

    map_in_order(measure, _independent_slices(n), collect)
    mean_variances = np.concatenate(variances, axis=1).mean(axis=1)
    ratios = n * np.concatenate(values, axis=1).var(axis=1, ddof=1)
    return mean_variances, ratios / np.where(mean_variances > 0.0, mean_variances, math.inf)


def _independent_slices(n: int) -> Iterator[Chunk]:
    """Chunks whose directions are slices of independent normal data themselves."""
    rng = np.random.default_rng(0)
    n_slices = min(max(_SIMULATED_NUMBERS // n, _MIN_SIMULATED), _MAX_SIMULATED)
    size = max(1, 2**16 // n)
    for start in range(0, n_slices, size):
        # Drawn slice by slice, so that chunks of any size hold the same numbers.
        n_here = min(size, n_slices - start)
        x, y = np.stack([rng.standard_normal((2, n)) for _ in range(n_here)], axis=1)
        yield Chunk(0, x, y)
