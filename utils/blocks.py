"""Samples in blocks: Dask arrays and iterables of batches, which may be larger than memory.

All blocks are read a few times; where Dask reads them, by the workers that hold them. Only
projections come here, for some slices at a time: one number per sample and slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .estimators import SliceEstimator
from .estimators.base import check_sizes
from .parallel import with_one_blas_thread
from .slicing import Chunk
from .ties import break_ties, tell_apart, tied_samples
from .validation import (
    Samples,
    as_array,
    as_samples,
    check_paired,
    check_spread,
    exceeds_float64,
    holds_zeros_and_ones,
    is_one_column,
)

__all__ = [
    "BlockedSamples",
    "as_one_array",
    "blocked_samples",
    "is_in_blocks",
    "projected",
]

# The most numbers that one reading of all samples brings here: half a gigabyte.
_NUMBERS_PER_READING = 2**26
# What has one of these (an array, a table, a text) is read as a whole.
_WHOLE = "__array__", "__getitem__", "__next__"


def is_in_blocks(x: Any) -> bool:
    """Whether it is a Dask array, or an iterable of batches that can be read again and again."""
    if _is_of_dask(x):
        return True
    is_iterable = hasattr(x, "__iter__") and not isinstance(x, (Mapping, MappingView, Set))
    return is_iterable and not any(hasattr(x, name) for name in _WHOLE)


def _is_of_dask(x):
    return hasattr(x, "__dask_graph__") and hasattr(x, "to_delayed") and hasattr(x, "chunks")


def as_one_array(x: Any, name: str) -> Any:
    """Blocks joined in memory, for labels; anything else as it is."""
    if not is_in_blocks(x) or _is_of_dask(x):
        return x
    return np.concatenate([as_array(batch, name) for batch in x])


@dataclass(frozen=True, eq=False)
class BlockedSamples(Samples):
    """Continuous samples in blocks of rows.

    Parameters
    ----------
    values : list of delayed blocks of Dask, or iterable of batches
    center : array, shape (dim,)
    name : str
        For the errors.
    sizes : array of int, shape (n_blocks,)
        Rows of each block.
    tied : array of bool, shape (n,)
        Which samples are equal to others and have to be told apart in every slice.
    rng : Generator
        Tells them apart.
    """

    values: Any
    center: np.ndarray
    name: str
    sizes: np.ndarray
    tied: np.ndarray
    rng: np.random.Generator

    def __len__(self) -> int:
        return int(self.sizes.sum())

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.center)

    def rows(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Some of the rows, in memory, (n_chosen, dim); row numbers ascend."""
        numbers = np.arange(len(self))[chosen]
        ends = np.cumsum(self.sizes)
        of_blocks = np.split(numbers, np.searchsorted(numbers, ends[:-1]))
        local = [
            part - end + size for part, end, size in zip(of_blocks, ends, self.sizes, strict=True)
        ]
        taken = list(_over_blocks(_taken, [self.values], [(self.name, local)]))
        self.check_read_again(sum(n for _, (n, _) in taken))
        return np.concatenate([rows for _, (_, rows) in taken if rows is not None])

    def part(self, chosen: np.ndarray) -> Samples:
        """The samples at these indices, in memory, equal ones told apart."""
        samples = super().part(chosen)
        if not self.tied.any():
            return samples
        return break_ties(samples, self.name, self.rng, warns=False)

    def project(self, directions: np.ndarray) -> np.ndarray:
        """Project the centred samples, (n_projections, n)."""
        return _project_sides([self], [directions])[0]

    def check_read_again(self, n: int) -> None:
        """Raise ValueError if the samples are not as many as when they were first read."""
        if n != len(self):
            raise ValueError(
                f"{self.name} had {len(self)} samples when it was first read, and {n} when it was "
                f"read again; give batches whose __iter__ starts anew and gives the same"
            )


def blocked_samples(
    estimator: SliceEstimator,
    variables: Mapping[str, Any],
    rngs: Sequence[np.random.Generator],
) -> list[BlockedSamples]:
    """Check variables that are paired row by row, reading each of them once.

    Parameters
    ----------
    estimator : SliceEstimator
    variables : mapping of str to Dask array, iterable of batches or array
        By name. "y" must not look like labels.
    rngs : sequence of Generator
        One per variable, as for `estimators.base.samples_for`.

    Raises
    ------
    ValueError, TypeError
        See `utils.validation`.
    """
    names = list(variables)
    blocks = [_blocks(x, name) for name, x in variables.items()]
    dims = [
        _dim(variables[name], of_name, name) for name, of_name in zip(names, blocks, strict=True)
    ]
    directions = [
        rng.standard_normal((1, dim)) if estimator.ties != "keep" else None
        for rng, dim in zip(rngs, dims, strict=True)
    ]
    summaries: list[list[_Summary]] = [[] for _ in names]
    arguments = list(zip(names, dims, directions, strict=True))
    for side, summary in _over_blocks(_summary, blocks, arguments):
        summaries[side].append(summary)
    sides = zip(names, blocks, summaries, directions, rngs, strict=True)
    samples = [_joined(*of_side, estimator) for of_side in sides]
    if len(samples) == 2:
        check_paired(*samples)
    return samples


def projected(chunks: Iterable[Chunk], sides: Sequence[BlockedSamples]) -> Iterator[Chunk]:
    """The chunks with their slices, smaller where samples are many.

    Parameters
    ----------
    chunks : iterable of Chunk
    sides : one or two BlockedSamples
        x, and y if it is sliced. Both are read at once, since they may come from the same source.
    """
    n_slices = max(1, _NUMBERS_PER_READING // (len(sides) * len(sides[0])))
    ready: list[Chunk] = []
    for chunk in chunks:
        for part in _parts(chunk, n_slices):
            if ready and sum(part.n_slices for part in (*ready, part)) > n_slices:
                yield from _with_slices(ready, sides)
                ready = []
            ready.append(part)
    if ready:
        yield from _with_slices(ready, sides)


def _parts(chunk, n_slices):
    """The chunk itself, or its single slices if one reading brings fewer than it has."""
    size = n_slices if n_slices >= chunk.n_slices else 1
    for start in range(0, chunk.n_slices, size):
        rows = slice(start, start + size)
        phi = None if chunk.phi is None else chunk.phi[rows]
        yield replace(chunk, theta=chunk.theta[rows], phi=phi, first=chunk.first + start)


def _with_slices(chunks, sides):
    directions = [np.concatenate([chunk.theta for chunk in chunks])]
    if len(sides) == 2:
        directions.append(np.concatenate([chunk.phi for chunk in chunks]))
    slices = _project_sides(sides, directions)
    ends = np.cumsum([chunk.n_slices for chunk in chunks])
    for chunk, end in zip(chunks, ends, strict=True):
        rows = slice(end - chunk.n_slices, end)
        yield replace(chunk, slices=tuple(side[rows] for side in slices))


def _project_sides(sides, directions):
    slices = [np.empty((len(d), len(side))) for d, side in zip(directions, sides, strict=True)]
    filled = [0] * len(sides)
    arguments = [(s.name, d, s.center) for s, d in zip(sides, directions, strict=True)]
    for i, part in _over_blocks(_projected, [side.values for side in sides], arguments):
        end = filled[i] + part.shape[1]
        if end <= len(sides[i]):
            slices[i][:, filled[i] : end] = part
        filled[i] = end
    for side, n, of_side in zip(sides, filled, slices, strict=True):
        side.check_read_again(n)
        tell_apart(of_side, side.tied, side.rng)
    return slices


# ------------------------------------------------------------------------------------- all blocks


def _blocks(x, name):
    """Delayed blocks of whole rows, or an iterable of batches."""
    if not is_in_blocks(x):
        return [x]
    if not _is_of_dask(x):
        return x
    if x.ndim == 0:
        raise ValueError(f"{name} has shape (); give at least one sample, as (n, dim)")
    return list(x.rechunk(dict.fromkeys(range(1, x.ndim), -1)).to_delayed().ravel())


def _dim(x, blocks, name):
    if _is_of_dask(x):
        if not all(map(math.isfinite, x.shape[1:])):
            raise ValueError(f"{name} has shape {x.shape}; call {name}.compute_chunk_sizes() first")
        return math.prod(x.shape[1:])
    first = next(iter(blocks), None)
    if first is None:
        raise ValueError(f"{name} has no batches; give at least one, as (n, dim)")
    _check_is_array(first, name)
    return as_samples(first, name).shape[1]


def _check_is_array(batch, name):
    # A data loader gives a list of arrays, which would pass for rows.
    if isinstance(batch, (list, tuple, Mapping)):
        raise TypeError(
            f"{name} has batches of type {type(batch).__name__}; give batches that are arrays, as "
            f"(n, dim)"
        )


def _over_blocks(
    function: Callable[..., Any], sides: Sequence[Any], arguments: Sequence[tuple]
) -> Iterator[tuple[int, Any]]:
    """Yield (i, function(block, number, *arguments[i])) for all blocks of all sides.

    Those of each side come in order.
    """
    tasks = []
    for i, (blocks, of_side) in enumerate(zip(sides, arguments, strict=True)):
        if not _are_delayed(blocks):
            for number, block in enumerate(blocks):
                yield i, with_one_blas_thread(function, block, number, *of_side)
            continue
        from dask import delayed

        # Sent once for all blocks, and not with each of them.
        shared = [delayed(argument, traverse=False, pure=False) for argument in of_side]
        run = delayed(with_one_blas_thread, pure=False)
        tasks += [
            (number / len(blocks), i, run(function, block, number, *shared))
            for number, block in enumerate(blocks)
        ]
    if tasks:
        from dask import compute

        # Blocks of the same rows together, since both sides may come from the same source.
        tasks.sort(key=lambda task: task[:2])
        results = compute(*(task for _, _, task in tasks))
        yield from zip((i for _, i, _ in tasks), results, strict=True)


def _are_delayed(blocks):
    return isinstance(blocks, list) and hasattr(blocks[0], "__dask_graph__")


# -------------------------------------------------------------------------------------- one block


@dataclass(frozen=True, eq=False)
class _Summary:
    """What is kept of a block: extremes and mean of each column, and one projection."""

    n: int
    mean: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    projection: np.ndarray
    looks_like_labels: bool


def _summary(block, number, name, dim, direction):
    name = f"{name} (in block {number})"
    _check_is_array(block, name)
    array = as_array(block, name)
    if array.ndim and len(array) == 0:
        infinite = np.full(dim, math.inf)
        return _Summary(0, np.zeros(dim), infinite, -infinite, np.empty(0), True)
    if exceeds_float64(array):
        raise ValueError(
            f"{name} holds numbers with more digits than float64; subtract an offset first"
        )
    rows = as_samples(block, name)
    if rows.shape[1] != dim:
        raise ValueError(f"{name} has {rows.shape[1]} values per sample, and others have {dim}")
    samples = Samples(rows, rows.mean(axis=0, dtype=float))
    return _Summary(
        len(rows),
        samples.center,
        rows.min(axis=0).astype(float),
        rows.max(axis=0).astype(float),
        np.empty(0) if direction is None else samples.project(direction)[0],
        _looks_like_labels(array),
    )


def _looks_like_labels(array):
    if is_one_column(array):
        return array.dtype.kind in "iub" or holds_zeros_and_ones(array)
    one_per_row = holds_zeros_and_ones(array) and array.ndim == 2
    return one_per_row and bool((np.count_nonzero(array, axis=1) == 1).all())


def _projected(block, number, name, directions, center):
    if len(block) == 0:
        return np.empty((len(directions), 0))
    return Samples(as_samples(block, name), center).project(directions)


def _taken(block, number, name, numbers_of_blocks):
    """How many rows the block has, and those at the indices; None if there are none."""
    array = as_array(block, name)
    numbers = numbers_of_blocks[number] if number < len(numbers_of_blocks) else np.empty(0, int)
    numbers = numbers[numbers < len(array)]
    return len(array), as_samples(array[numbers], name) if len(numbers) else None


def _joined(name, blocks, summaries, direction, rng, estimator):
    """Samples of all the blocks, checked."""
    sizes = np.array([summary.n for summary in summaries])
    means = np.array([summary.mean for summary in summaries])
    n = int(sizes.sum())
    check_sizes(estimator, n, name)
    least = np.min([summary.least for summary in summaries], axis=0)
    largest = np.max([summary.largest for summary in summaries], axis=0)
    check_spread(np.array([least, largest]), name)
    if name == "y" and all(summary.looks_like_labels for summary in summaries):
        raise TypeError(
            "y is one column of whole numbers, or one-hot rows, which look like labels; pass "
            "y_discrete=True, or y.astype(float) if they are measurements"
        )
    center = np.where(least == largest, least, sizes @ means / n)
    tied = np.zeros(n, bool)
    if direction is not None:
        projection = np.concatenate(
            [s.projection + (direction @ (s.mean - center))[0] for s in summaries]
        )
        tied = tied_samples(
            projection, name, is_column=len(center) == 1, warns=estimator.ties == "warn"
        )
    return BlockedSamples(blocks, center, name, sizes, tied, rng)
