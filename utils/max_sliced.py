"""Max-sliced mutual information: the slice that has most of it.

The largest I(A X ; B Y) over frames A, B of orthonormal rows (Tsur, Goldfeld and Greenewald 2023,
"Max-sliced mutual information", definition 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from .estimates import MaxSlicedEstimate
from .estimators import Copula, SliceEstimator
from .estimators.recognition import as_slice_estimator
from .measurement import (
    Variables,
    is_small,
    measure_slices,
    permutation_test,
    progress_bar,
)
from .missing import omit_missing
from .parallel import map_in_order
from .slicing import Chunk, orthonormal_rows
from .uncertainty import check_finite
from .validation import UnmeasurableError, as_generator, check_count

__all__ = ["max_sliced_mutual_information"]

# Slices that the search starts from; a slice of several dimensions takes a hundred times as long.
_N_STARTS, _N_FRAME_STARTS = 6, 2
_N_STEPS = 40
# The moves tried in each step: of x, of y and of both, in four lengths.
_MOVES_X, _MOVES_Y = np.tile([1.0, 0.0, 1.0], 4), np.tile([0.0, 1.0, 1.0], 4)
_SCALES = np.repeat([1.0, 0.5, 0.25, 0.125], 3)
# Tangent of the angle of the longest move at first, and its factor after a step without gain.
_FIRST_ANGLE, _SHRINKAGE = 0.5, 0.8
_N_GROUPS = 50


def max_sliced_mutual_information(
    x: Any,
    y: Any,
    *,
    estimator: Any = Copula(),
    n_projections: int = 2000,
    slice_dims: Any = (1, 1),
    n_permutations: int = 199,
    y_discrete: bool = False,
    nan_policy: str = "raise",
    rng: Any = None,
    progress: bool = False,
) -> MaxSlicedEstimate:
    """The mutual information of the slice that has most of it.

    The samples are halved at random. One half chooses the slice: the best of the canonical
    directions and of random ones, improved by steps in random directions on the spheres, which get
    shorter when they gain nothing. The other half measures it, so that the choice does not show as
    dependence: the value is that of one fixed slice, and exceeds the truth by no more than the
    estimator's own error. It falls short by about (dim_x + dim_y - 2) / n nats, since n / 2 samples
    tell directions apart no better.

    The p-value is of the hypothesis that x and y are independent. The slice is fixed by the first
    half; the y of the second half are permuted against their x. If x and y are independent and
    samples are independent of each other, the second half and its permutations are exchangeable,
    given the first, so that P(p_value <= a) <= a exactly (Phipson and Smyth 2010).

    Parameters
    ----------
    x, y : array-like, shapes (n, ...)
        Paired samples, flattened to (n, dim); with `y_discrete`, y holds labels. Samples have to be
        independent of each other. Dask arrays and batches are read into memory.
    estimator : SliceEstimator or callable
        As for `sliced_mutual_information`, with one result. Where it has statistics that are
        cheaper than the estimate (`Copula`: closed forms), these choose the slice.
    n_projections : int
        Random slices that the search looks at first, at least 1.
    slice_dims : int, or pair (k_x, k_y) of int or None
        As for `sliced_mutual_information`.
    n_permutations : int
        At least 1. The p-value is at least 1 / (1 + n_permutations).
    y_discrete, nan_policy, rng, progress
        As for `sliced_mutual_information`.

    Returns
    -------
    MaxSlicedEstimate

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`, if half the samples (with labels, of a class) are too few
        for the estimator, and if it has several results.

    Examples
    --------
    >>> found = max_sliced_mutual_information(x, y, rng=0)
    >>> plt.scatter(x @ found.theta[0], y @ found.phi[0])
    """
    n_projections = check_count(n_projections, "n_projections")
    n_permutations = check_count(n_permutations, "n_permutations")
    estimator = as_slice_estimator(estimator, y_discrete=y_discrete)
    x, y = omit_missing(nan_policy, x=x, y=y)
    x_rng, y_rng, x_tie_rng, y_tie_rng, half_rng, search_rng, order_rng = as_generator(rng).spawn(7)
    variables = Variables.of(
        x, y, estimator, (x_tie_rng, y_tie_rng), y_discrete=y_discrete, slice_dims=slice_dims
    )
    _check_halves(variables, estimator, y_discrete)
    halves = [variables.part(rows) for rows in _halves(variables, half_rng, y_discrete)]
    n_distinct = 1 if variables.is_whole else n_projections
    with progress_bar(1 + n_distinct, progress) as bar:
        search = _Search(halves[0], estimator, bar)
        candidates = variables.plan(n_distinct, n_groups=_N_GROUPS, rngs=(x_rng, y_rng))
        best, search_value = search.run(candidates, search_rng)
    return _measured(halves[1], best, search_value, estimator, n_permutations, order_rng)


def _check_halves(variables, estimator, y_discrete):
    n, least = len(variables.x), max(estimator.min_samples, 1 + sum(variables.slice_dims))
    if n // 2 < least:
        raise UnmeasurableError(
            f"x has {n} samples, and half of them are too few to choose a slice or to measure it "
            f"with {estimator!r}; give at least {2 * least}"
        )
    if y_discrete and variables.y.sizes.min() // 2 < estimator.min_samples:
        rarest = variables.y.names[variables.y.sizes.argmin()]
        raise UnmeasurableError(
            f"class {rarest!r} of y has too few samples to halve them for {estimator!r}; give at "
            f"least {2 * estimator.min_samples}, or leave the class out"
        )


def _halves(variables, rng, y_discrete):
    """Rows of two halves; of labels, halves of every class."""
    order = rng.permutation(len(variables.x))
    if y_discrete:
        order = order[np.argsort(variables.y.codes[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


class _Search:
    """Looks for the slice of the largest estimate.

    Parameters
    ----------
    variables : Variables
    estimator : SliceEstimator
    bar : progress bar
    """

    def __init__(self, variables: Variables, estimator: SliceEstimator, bar: Any):
        self.variables, self.estimator, self.bar = variables, estimator, bar
        self.data = variables.slices
        # One function for all steps, so that it travels to the workers of a cluster once.
        self.measure = partial(_statistics_of, self.data, estimator)

    def run(self, candidates: Iterator[Chunk], rng: np.random.Generator) -> tuple[Chunk, float]:
        """The best slice, and its value on these samples."""
        canonical = self.variables.chunk(*self.variables.directions("cca"))
        chunks = [canonical, *candidates]
        values = self._statistics(chunks)
        n_starts = _N_STARTS if self.variables.slice_dims == (1, 1) else _N_FRAME_STARTS
        # Always from the canonical slice too: in many dimensions no random one sees much.
        starts = np.unique([0, *np.argsort(-values)[: n_starts - 1]])
        theta = _rows(_joined([chunk.theta for chunk in chunks]), starts)
        phi = _rows(_joined([chunk.phi for chunk in chunks]), starts)
        values, angles = values[starts], np.full(len(starts), _FIRST_ANGLE)
        n_steps = 0 if self.variables.is_whole else _N_STEPS
        self.bar.total += n_steps * len(starts) * len(_SCALES)
        for _ in range(n_steps):
            tried_theta = _neighbors(theta, angles, _MOVES_X, rng)
            tried_phi = _neighbors(phi, angles, _MOVES_Y, rng)
            n_tries = len(_SCALES)
            tries = [slice(i, i + n_tries) for i in range(0, len(starts) * n_tries, n_tries)]
            chunks = [Chunk(0, _rows(tried_theta, of), _rows(tried_phi, of)) for of in tries]
            of_tries = self._statistics(chunks).reshape(len(starts), n_tries)
            gains = of_tries.max(axis=1) > values
            values = np.maximum(values, of_tries.max(axis=1))
            best = np.arange(len(starts)) * n_tries + of_tries.argmax(axis=1)
            theta = _replaced(theta, gains, _rows(tried_theta, best))
            phi = _replaced(phi, gains, _rows(tried_phi, best))
            angles *= np.where(gains, 1.0, _SHRINKAGE)
        estimates = self._estimates(Chunk(0, theta, phi))
        first = slice(estimates.argmax(), estimates.argmax() + 1)
        found = estimates[first]
        of_canonical = self._estimates(canonical)
        # A gain counts if it exceeds what this many free parameters gain from noise (Akaike 1974,
        # "A new look at the statistical model identification").
        if found[0] - of_canonical[0] <= self._n_free / len(self.variables.x):
            return canonical, float(of_canonical[0])
        return Chunk(0, _rows(theta, first), _rows(phi, first)), float(found[0])

    @property
    def _n_free(self):
        """How many free parameters the subspaces of a slice have."""
        dims = [dim or 1 for dim in self.variables.dims]
        return sum(k * (dim - k) for k, dim in zip(self.variables.slice_dims, dims, strict=True))

    def _estimates(self, chunk):
        return self.data.terms(self.estimator, *self.data.of(chunk))[0].mean(axis=1)

    def _statistics(self, chunks):
        """What the estimator's test compares first, one number per slice."""
        values: list[np.ndarray] = []

        def collect(of_chunk):
            statistics = self.estimator.by_rule(list(of_chunk))
            if isinstance(statistics, dict):
                raise ValueError(
                    f"estimator={self.estimator!r} gives a result for each of "
                    f"{', '.join(map(repr, statistics))}, and only one can be the largest; give "
                    f"one rule"
                )
            values.append(statistics)
            self.bar.update(len(statistics))

        map_in_order(
            self.measure,
            chunks,
            collect,
            in_processes=self.estimator.in_processes,
            in_place=is_small(self.data, len(chunks) * len(_SCALES), self.estimator),
            may_travel=True,
        )
        joined = np.concatenate(values)
        check_finite(joined, self.estimator, "slices")
        return joined


def _statistics_of(data, estimator, chunk):
    with np.errstate(divide="ignore", invalid="ignore"):
        return data.statistics(estimator, *data.of(chunk))[:, 0]


def _joined(frames):
    return None if frames[0] is None else np.concatenate(frames)


def _rows(frames, rows):
    return None if frames is None else frames[rows]


def _replaced(frames, where, others):
    if frames is None:
        return None
    return np.where(where.reshape(-1, *[1] * (frames.ndim - 1)), others, frames)


def _neighbors(frames, angles, moves, rng):
    """Frames near each of the given ones, one per move; where a move is 0, the same frame."""
    if frames is None:
        return None
    steps = np.outer(angles, _SCALES * moves).ravel()
    near = np.repeat(frames, len(_SCALES), axis=0)
    noise = rng.standard_normal(near.shape) / math.sqrt(near.shape[-1])
    near = near + steps.reshape(-1, *[1] * (near.ndim - 1)) * noise
    if near.ndim == 2:
        return near / np.linalg.norm(near, axis=1, keepdims=True)
    return orthonormal_rows(np.swapaxes(near, 1, 2))


def _measured(variables, best, search_value, estimator, n_permutations, rng):
    """The value of the slice on new samples, and what permutations of them say of it."""
    data, n = variables.slices, len(variables.x)
    null = Chunk(0, best.theta, best.phi, is_null=True)
    order, bar = rng.permutation(n), progress_bar(1, False)
    estimate, *_ = measure_slices(
        data,
        iter([best]),
        iter([null] if estimator.has_terms else []),
        order,
        estimator,
        bar,
        1,
        is_one_slice=True,
    )
    x, y = data.of(best)
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(n_permutations))]
    statistics: list[np.ndarray] = []
    map_in_order(
        lambda order: data.statistics(estimator, x, data.permuted(y, order))[0, :, 0],
        orders,
        statistics.append,
        in_processes=estimator.in_processes,
        in_place=is_small(data, len(orders), estimator),
        may_travel=True,
    )
    values = np.stack(statistics, axis=1)
    check_finite(values, estimator, "orders of y")
    test = permutation_test(values)
    return MaxSlicedEstimate(
        value=estimate.value,
        std_error=estimate.sampling_error if estimator.has_terms else math.nan,
        theta=_as_frame(best.theta, variables.dims[0]),
        phi=None if variables.dims[1] is None else _as_frame(best.phi, variables.dims[1]),
        p_value=test.p_value,
        null_values=test.null_values,
        search_value=search_value,
        n_samples=n,
    )


def _as_frame(frames, dim):
    """One frame, (k, dim), of a chunk's."""
    return np.eye(dim) if frames is None else frames.reshape(-1, dim)
