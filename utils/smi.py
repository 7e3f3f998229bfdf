"""Sliced mutual information: the average over random slices of one-dimensional information.

SMI(X; Y) = E over theta, phi of I(theta.X ; phi.Y), theta and phi independent and uniform on their
spheres (Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of
statistical dependence", definition 1).
"""

from __future__ import annotations

import math
import multiprocessing
import numbers
import threading
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, groupby, islice, takewhile

import joblib
import numpy as np
from tqdm.auto import tqdm

from .estimators import WKL, break_ties, break_ties_in_slices
from .slicing import DIRECTIONS, center_of, direction_pairs, one_blas_thread, project
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

__all__ = [
    "IndependenceTest",
    "SlicedEstimate",
    "independence_test",
    "mutual_information_of_slices",
    "sliced_mutual_information",
]

# Numbers in one block of slices, measured at once: a few such arrays fit in a core's cache.
_BLOCK = 2**16
# Numbers that are worth a thread's while: fewer are measured before another one has begun.
_WORTH_A_THREAD = 3 * 10**4
# Batches that wait for a thread, or for those before them: as many as it takes to let none idle.
_BATCHES_A_THREAD = 4
# Slices projected and summed in one task: so many numbers, but at least so many slices, since each
# pass reads all of the samples. Products of other matrices and other parts of a sum are rounded
# otherwise: these depend on the number of samples alone, and blocks may have any size.
_PROJECTED = 2**17
_FEWEST_PROJECTED = 8
# Groups of slices, independent of each other, whose means give `slicing_error`; more of them where
# that is to say when to stop, but not before some have been seen.
_GROUPS = 50
_GROUPS_WITH_TOL = 100
_FEWEST_GROUPS_WITH_TOL = 20
# Slices of independent data that give the noise there, and their groups.
_NULL_SLICES = 100
_NULL_GROUPS = 25
# Simulated slices of independent data, as many as make so many numbers. Of 4000, the spread is
# known to 1.1 % (one standard error), of 200 to 5 %.
_NULL_SIZE = 12 * 10**6
_FEWEST_NULL_SIMULATIONS, _MOST_NULL_SIMULATIONS = 200, 4000
# Samples a simulated slice, and for each neighbour. What n samples miss is, of more, the same: of
# 10,000 it differed from that of 3000 by no more than could be seen, 2 to 3 %.
_NULL_SAMPLES, _NULL_SAMPLES_A_NEIGHBOR = 3000, 100


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
        spread is known to miss where x and y are independent (see `_sampling_errors`). Bias is not
        in it. 0 with a callable estimator, which says nothing about single samples.
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
    x,
    y,
    *,
    estimator=WKL(),
    n_projections=2000,
    y_discrete=False,
    directions="crossed",
    tol=None,
    rng=None,
    progress=False,
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
    directions : {"crossed", "paired blocks", "independent"}
        How slices are chosen, see `slicing.direction_pairs`; "paired blocks" is the published
        way. With `y_discrete` the first two are the same, orthonormal directions of x.
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
        not set; if `n_projections` is not a whole number of at least 1, `directions` unknown or
        `tol` not above 0; if x and y are the same up
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
    if not isinstance(directions, str) or directions not in DIRECTIONS:
        raise ValueError(f"directions={directions!r} is unknown; choose among {DIRECTIONS}")
    if tol is not None and not (isinstance(tol, numbers.Real) and tol > 0):
        raise ValueError(f"tol={tol!r}; give a number above 0, in nats, or None")
    x_rng, y_rng, x_tie_rng, y_tie_rng, null_rng = as_generator(rng).spawn(5)
    x = _checked_samples(x, "x", estimator, x_tie_rng)
    one_dimensional = x.shape[1] == 1
    if y_discrete:
        y = _checked_labels(y, len(x), estimator)
    else:
        y = as_continuous(y, "y")
        check_paired(x, y)
        y = _checked_samples(y, "y", estimator, y_tie_rng)
        one_dimensional = one_dimensional and y.shape[1] == 1
    # In one dimension all slices are the same up to sign: one will do.
    n_distinct = 1 if one_dimensional else n_projections
    n_groups = _GROUPS if tol is None else _GROUPS_WITH_TOL
    tasks = _slice_tasks(x, y, n_distinct, directions, n_groups, (x_rng, y_rng))

    def null_tasks():
        order = null_rng.permutation(len(x))
        rngs = null_rng.spawn(2)
        tasks = _slice_tasks(x, y, _NULL_SLICES, "independent", _NULL_GROUPS, rngs)
        return _permuted(tasks, order)

    with _progress_bar(n_distinct, progress) as bar:
        has_null = not (callable(estimator) or one_dimensional)
        measured = _measure_all(tasks, null_tasks() if has_null else None, estimator, bar, tol)
    sizes = tuple(y[1].tolist()) if y_discrete else None
    errors = _sampling_errors(measured, estimator, len(x), sizes)
    results = _sliced_estimates(measured, errors, len(x), n_projections, one_dimensional)
    return results[0] if callable(estimator) else estimator.by_rule(results)


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
    x_rng, y_rng, x_tie_rng, y_tie_rng, order_rng = as_generator(rng).spawn(5)
    x = _checked_samples(x, "x", estimator, x_tie_rng)
    y = as_continuous(y, "y")
    check_paired(x, y)
    y = _checked_samples(y, "y", estimator, y_tie_rng)
    orders = [np.arange(len(x)), *(order_rng.permutation(len(x)) for _ in range(n_permutations))]
    n_distinct = 1 if x.shape[1] == y.shape[1] == 1 else n_projections
    tasks = (
        (*task, orders)
        for task in _slice_tasks(x, y, n_distinct, "crossed", _GROUPS, (x_rng, y_rng))
    )
    sums = 0.0
    with _progress_bar(n_distinct, progress) as bar:
        found = _in_parallel(_measure_permuted, tasks, estimator, times=len(orders))
        for n_slices, block_sums in found:
            sums = sums + block_sums
            bar.update(n_slices)
    _check_finite(sums, estimator, "orders of y")
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
    x_rng, y_rng, null_rng = as_generator(rng).spawn(3)
    x = _checked_slices(x_slices, "x_slices", estimator, x_rng)
    n_slices, n = x.shape
    if y_discrete:
        y = _checked_labels(y, n, estimator)
    else:
        y = _checked_slices(y, "y", estimator, y_rng)
        if y.shape != x.shape:
            raise ValueError(
                f"y has shape {y.shape} and x_slices has {x.shape}; give as many slices of as many "
                f"samples"
            )

    def null_tasks():
        order = null_rng.permutation(n)
        some = slice(None, None, -(-n_slices // _NULL_SLICES))
        tasks = _ready_tasks(x[some], y if y_discrete else y[some], _NULL_GROUPS)
        return _permuted(tasks, order)

    with _progress_bar(n_slices, progress) as bar:
        has_null = not (callable(estimator) or n_slices == 1)
        tasks = _ready_tasks(x, y, _GROUPS)
        measured = _measure_all(tasks, null_tasks() if has_null else None, estimator, bar)
    sizes = tuple(y[1].tolist()) if y_discrete else None
    errors = _sampling_errors(measured, estimator, n, sizes)
    results = _sliced_estimates(measured, errors, n, n_slices, False)
    return results[0] if callable(estimator) else estimator.by_rule(results)


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
    check_neighbors(len(x), getattr(estimator, "k", None) or 1, name)
    check_spread(x, name)
    return x if callable(estimator) else break_ties(x, name, rng)


def _checked_slices(slices, name, estimator, rng):
    _check_estimator(estimator)
    slices = as_array(slices, name)
    if slices.ndim != 2:
        raise ValueError(f"{name} has shape {slices.shape}; give a slice a row, (n_slices, n)")
    slices = as_samples(slices, name).astype(float, copy=False)
    check_neighbors(slices.shape[1], getattr(estimator, "k", None) or 1, name)
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


def _task_size(n):
    return max(_FEWEST_PROJECTED, _PROJECTED // n)


# A task is a number of slices to measure: the group they belong to, then samples and what projects
# them, of x and of y. Labels have no projection, and neither have slices that are there already.


def _slice_tasks(x, y, n_projections, directions, n_groups, rngs):
    size = _task_size(len(x))
    x_center = center_of(x)
    y_dim, y_center = 1, None
    if not isinstance(y, tuple):
        y_dim, y_center = y.shape[1], center_of(y)
    elif directions == "crossed":
        # One side alone has nothing to be crossed with.
        directions = "paired blocks"
    groups = direction_pairs(
        x.shape[1],
        y_dim,
        n_projections,
        directions=directions,
        n_groups=n_groups,
        x_rng=rngs[0],
        y_rng=rngs[1],
    )
    for group, (theta, phi, pairs) in enumerate(groups):
        for start in range(0, len(pairs), size):
            x_rows, y_rows = pairs[start : start + size].T
            x_projection = (theta, x_center, x_rows)
            y_projection = None if y_center is None else (phi, y_center, y_rows)
            yield group, x, x_projection, y, y_projection


def _ready_tasks(x, y, n_groups):
    in_group, size = -(-len(x) // n_groups), _task_size(x.shape[1])
    for first in range(0, len(x), in_group):
        last = min(first + in_group, len(x))
        for start in range(first, last, size):
            rows = slice(start, min(start + size, last))
            yield first // in_group, x[rows], None, y if isinstance(y, tuple) else y[rows], None


def _permuted(tasks, order):
    """The same slices with y's samples in that order; their groups have numbers below 0."""
    for group, *task in tasks:
        yield ~group, *task, order


def _slices(samples, projection):
    if projection is None:
        return samples
    directions, center, rows = projection
    used, places = np.unique(rows, return_inverse=True)
    return project(samples, directions[used], center)[places]


def _measure(group, x, x_projection, y, y_projection, order=None, *, estimator):
    """The group, pointwise sums over the slices, and each slice's value, for each result.

    With an order, y's samples are put in it first.
    """
    x = _slices(x, x_projection)
    if isinstance(y, tuple):
        codes, sizes = y
        y = codes if order is None else codes[order], sizes
    else:
        y = _slices(y, y_projection)
        y = y if order is None else np.take(y, order, axis=1)
    return group, *_measure_slices(x, y, estimator)


def _measure_slices(x, y, estimator):
    labels = isinstance(y, tuple)
    if callable(estimator):
        pairs = ((row, y[0]) for row in x) if labels else zip(x, y[:, :, None], strict=True)
        values = [_as_number(estimator(row[:, None], other), estimator) for row, other in pairs]
        return np.zeros((1, 0)), np.array(values)[None]
    blocks = []
    size = _block_size(x.shape[1])
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        # A distance of 0 gives no finite number, and `_measure_all` says so.
        with np.errstate(divide="ignore", invalid="ignore"):
            if labels:
                blocks.append(estimator.slice_terms_labels(x[rows], *y))
            else:
                blocks.append(estimator.slice_terms(x[rows], y[rows]))
    # Not block by block, so that the sums are the same for blocks of any size; and at once, since
    # threads wait for each other before every call of numpy.
    terms = np.concatenate(blocks, axis=1)
    with np.errstate(invalid="ignore"):
        return terms.sum(axis=1), terms.mean(axis=2)


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


def _measure_permuted(group, x, x_projection, y, y_projection, orders, *, estimator):
    """The number of slices, and each result's sum over them under each order of y's samples."""
    x, y = _slices(x, x_projection), _slices(y, y_projection)
    # Not y[:, order], whose rows are scattered in memory: slow, and summed in another way.
    values = [_measure_slices(x, np.take(y, order, axis=1), estimator)[1] for order in orders]
    return len(x), np.sum(values, axis=2).T


def _in_parallel(function, tasks, estimator, times=1):
    """Yield the function's result for each task, in order; each slice is measured so many times."""
    batches = _batches(tasks, 0 if callable(estimator) else _WORTH_A_THREAD / times)
    some = list(islice(batches, 2))
    # Kernels and sorts let go of the interpreter, so threads will do; a callable may not. Inside a
    # worker, be it a process or a thread, the other cores have work of their own.
    nested = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    n_jobs = 1 if nested or len(some) == 1 else joblib.cpu_count()
    measure = partial(_each, function, estimator=estimator)
    # The slices are spread over the cores already.
    with one_blas_thread():
        spread = _by_processes if callable(estimator) else _by_threads
        yield from chain.from_iterable(spread(measure, chain(some, batches), n_jobs))


def _by_threads(measure, batches, n_jobs):
    """As `map`, in threads, a few batches ahead.

    The caller is one of the threads: one more would, whenever a result is ready, take the core of
    one that measures. (joblib's take 20 milliseconds to begin and to notice that they are done.)
    """
    if n_jobs == 1:
        yield from map(measure, batches)
        return
    pool = ThreadPoolExecutor(n_jobs - 1)
    under_way = deque()
    try:
        while True:
            for batch in islice(batches, _BATCHES_A_THREAD * n_jobs - len(under_way)):
                under_way.append((pool.submit(measure, batch), batch))
            if not under_way:
                return
            first, _ = under_way[0]
            if first.done() or not _measured_one_not_begun(measure, under_way):
                yield first.result()
                under_way.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def _measured_one_not_begun(measure, under_way):
    """Whether there was a batch that no thread had begun; the caller has measured it then."""
    for place, (future, batch) in enumerate(under_way):
        if future.cancel():
            own = Future()
            own.set_result(measure(batch))
            under_way[place] = own, batch
            return True
    return False


def _by_processes(measure, batches, n_jobs):
    with _replaced_workers_are_no_news():
        yield from joblib.Parallel(n_jobs, backend="loky", return_as="generator")(
            joblib.delayed(measure)(batch) for batch in batches
        )


@contextmanager
def _replaced_workers_are_no_news():
    """Silence what joblib says of workers that grew by 300 MB, as by importing PyTorch.

    It replaces them, and nothing is lost. But where warnings are errors this one would end the
    thread that replaces them, and the call would wait for ever.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped", UserWarning)
        yield


def _batches(tasks, least):
    batch, numbers = [], 0
    for task in tasks:
        batch.append(task)
        _, samples, projection, *_ = task
        numbers += samples.size if projection is None else len(samples) * len(projection[2])
        if numbers >= least:
            yield batch
            batch, numbers = [], 0
    if batch:
        yield batch


def _each(function, tasks, *, estimator):
    return [function(*task, estimator=estimator) for task in tasks]


def _progress_bar(n_slices, progress):
    return tqdm(total=n_slices, desc="slices", unit="slice", disable=not progress, leave=False)


@dataclass(frozen=True)
class _Measured:
    per_slice: np.ndarray  # (n_results, n_slices)
    slicing_errors: np.ndarray  # (n_results,)
    pointwise: np.ndarray  # (n_results, n), means over the slices
    shared_variances: np.ndarray  # (n_results,), of `pointwise` if there were ever more slices
    null_variances: np.ndarray | None  # the same of permuted samples


class _Groups:
    """What groups of slices gave, one group after the other."""

    def __init__(self):
        self.values, self.means, self.sizes = [], [], []
        self.total = self._own_variances = 0.0

    def add(self, parts):
        _, sums, values = zip(*parts, strict=True)
        group_sum, values = sum(sums), np.concatenate(values, axis=1)
        self.values.append(values)
        self.sizes.append(values.shape[1])
        # A last group that is cut short says nothing of the others.
        if self.sizes[-1] == self.sizes[0]:
            self.means.append(values.mean(axis=1))
        self.total = self.total + group_sum
        self._own_variances = self._own_variances + _variances(group_sum)

    def per_slice(self, estimator):
        values = np.concatenate(self.values, axis=1)
        _check_finite(values, estimator, "slices")
        return values

    def shared_variances(self):
        """The mean covariance of two groups' pointwise terms.

        It is without what each group adds of its own, which `slicing_error` counts.
        """
        sizes = np.array(self.sizes)
        n_pairs = sizes.sum() ** 2 - (sizes**2).sum()
        if n_pairs:
            return (_variances(self.total) - self._own_variances) / n_pairs
        return _variances(self.total) / sizes.sum() ** 2


def _measure_all(tasks, null_tasks, estimator, bar, tol=None):
    """Measure slices, group by group; with `tol`, until their error is no larger.

    Those of permuted samples follow at once, so that no thread waits for the last of the others.
    """
    groups, null_groups = _Groups(), _Groups()
    enough = False
    # What is under way when there are enough is waited for, and not used.
    wanted = takewhile(lambda task: not enough, tasks)
    if null_tasks is not None:
        wanted = chain(wanted, null_tasks)
    measured = _in_parallel(_measure, wanted, estimator)
    for number, parts in groupby(measured, key=lambda part: part[0]):
        if number < 0:
            null_groups.add(parts)
        elif not enough:
            groups.add(parts)
            bar.update(groups.sizes[-1])
            if tol is not None and len(groups.sizes) >= _FEWEST_GROUPS_WITH_TOL:
                enough = _slicing_errors(groups.means).max() <= tol
    values = groups.per_slice(estimator)
    null_variances = None
    if null_tasks is not None:
        null_groups.per_slice(estimator)
        null_variances = null_groups.shared_variances()
    return _Measured(
        per_slice=values,
        slicing_errors=_slicing_errors(groups.means),
        pointwise=groups.total / sum(groups.sizes),
        shared_variances=groups.shared_variances(),
        null_variances=null_variances,
    )


def _check_finite(values, estimator, over):
    if not np.isfinite(values).all():
        raise UnmeasurableError(
            f"{estimator!r} gave a value that is not finite on "
            f"{np.count_nonzero(~np.isfinite(values))} {over}; check x and y for values that "
            f"differ by no more than rounding errors of the largest, and take ranks or logarithms"
        )


def _variances(pointwise):
    if pointwise.shape[1] < 2:
        return np.zeros(len(pointwise))
    # Values that are not finite are refused when all are there.
    with np.errstate(invalid="ignore"):
        return pointwise.var(axis=1, ddof=1)


def _slicing_errors(group_means):
    n_groups = len(group_means)
    if n_groups == 1:
        return np.full(len(group_means[0]), math.inf)
    # As in `_variances`.
    with np.errstate(invalid="ignore"):
        return np.std(group_means, axis=0, ddof=1) / math.sqrt(n_groups)


def _sampling_errors(measured, estimator, n, class_sizes):
    """Standard errors over the choice of samples, one a result.

    The variance of the pointwise terms, over n, is the variance of their mean if they depend on
    one sample each. They depend on others too: neighbours share distances, and where x and y are
    independent the terms are nothing but the noise of the others. What that does to the variance
    is known at independence, where both are measured: the variance of values and that of terms.
    The first is what independent data are given; dependent ones have more variance of terms, which
    is added. Noise in it counts only where it is positive, so that errors are some 20 % too large
    at independence itself. To subtract it would make them too small where dependence is weak.
    """
    if callable(estimator):
        return np.zeros(1)
    # Of the data's own slices, permuted, where there are many: how much they share depends on the
    # dimension.
    null = measured.null_variances
    simulated = n
    if null is not None and class_sizes is None:
        of_neighbors = _NULL_SAMPLES_A_NEIGHBOR * (getattr(estimator, "k", None) or 1)
        simulated = min(n, max(_NULL_SAMPLES, of_neighbors))
    simulated_variances, ratios = _null_variances(estimator, simulated, class_sizes)
    null = simulated_variances if null is None else np.maximum(null, 0.0)
    excess = np.maximum(measured.shared_variances - null, 0.0)
    return np.sqrt((ratios * null + excess) / n)


@cache
def _null_variances(estimator, n, class_sizes):
    """Of independent data: the variance of terms, and how much more n times that of values is."""
    tasks = _null_simulations(n, class_sizes)
    values, variances = zip(*_in_parallel(_measure_null, tasks, estimator), strict=True)
    variances = np.concatenate(variances, axis=1).mean(axis=1)
    ratios = n * np.concatenate(values, axis=1).var(axis=1, ddof=1)
    ratios /= np.where(variances > 0.0, variances, math.inf)
    return variances, ratios


def _null_simulations(n, class_sizes):
    rng = np.random.default_rng(0)
    labels = None
    if class_sizes is not None:
        labels = np.repeat(np.arange(len(class_sizes)), class_sizes), np.array(class_sizes)
    n_slices = min(max(_NULL_SIZE // n, _FEWEST_NULL_SIMULATIONS), _MOST_NULL_SIMULATIONS)
    for start in range(0, n_slices, _block_size(n)):
        size = min(_block_size(n), n_slices - start)
        # Drawn slice by slice, so that blocks of any size hold the same numbers.
        x, y = np.stack([rng.standard_normal((2, n)) for _ in range(size)], axis=1)
        yield 0, x, None, y if labels is None else labels, None


def _measure_null(group, x, x_projection, y, y_projection, *, estimator):
    """Each slice's value, and the variance of its terms, for each result."""
    labels = isinstance(y, tuple)
    terms = estimator.slice_terms_labels(x, *y) if labels else estimator.slice_terms(x, y)
    return terms.mean(axis=2), terms.var(axis=2, ddof=1)


def _sliced_estimates(measured, sampling_errors, n_samples, n_projections, one_dimensional):
    results = []
    for i, values in enumerate(measured.per_slice):
        slicing_error = 0.0 if one_dimensional else float(measured.slicing_errors[i])
        results.append(
            SlicedEstimate(
                value=float(values.mean()),
                std_error=math.hypot(slicing_error, sampling_errors[i]),
                slicing_error=slicing_error,
                sampling_error=float(sampling_errors[i]),
                per_slice=np.repeat(values, n_projections) if one_dimensional else values,
                pointwise=measured.pointwise[i],
                n_samples=n_samples,
                n_projections=n_projections if one_dimensional else len(values),
            )
        )
    return results
