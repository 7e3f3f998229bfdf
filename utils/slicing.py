"""Directions on the sphere, and which slices a call measures.

A slice is a pair of unit vectors. Everything here is about drawing them and applying them; what is
then measured on a slice is not this module's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from .estimators import SliceError, SliceEstimator
from .parallel import map_in_order, one_blas_thread
from .validation import Labels, Samples, as_generator, as_samples, check_count

__all__ = [
    "Chunk",
    "LabelledSlices",
    "PairedSlices",
    "SMICompressor",
    "independent_directions",
    "independent_frames",
    "orthonormal_rows",
    "plan",
    "plan_precomputed",
    "sample_spherical",
    "sample_stiefel",
    "slices_counted_from",
]

# Numbers in one chunk of slices, but at least so many slices, since each chunk reads all samples.
# Chunks depend on the number of samples alone, so that sums are rounded the same on every machine.
_NUMBERS_PER_CHUNK = 2**17
_MIN_CHUNK = 8
# Numbers measured at once: a few such arrays fit in a core's cache.
_NUMBERS_PER_BLOCK = 2**16
# Of the slices that an estimator sees before all are measured: 32 MB on each side. Of more samples
# it sees some.
_MAX_PILOT_NUMBERS = 2**22


def sample_stiefel(dim: int, n_rows: int | None = None, *, rng: Any = None) -> np.ndarray:
    """Draw orthonormal vectors, uniform in the Haar sense.

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 1.
    n_rows : int or None
        How many vectors, at most `dim`; None means `dim` of them, an orthogonal matrix.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.

    Returns
    -------
    array, shape (n_rows, dim)
        Orthonormal rows.

    Raises
    ------
    ValueError, TypeError
        If `dim` or `n_rows` is less than 1 or not an integer, or `n_rows` is more than `dim`.
    """
    dim = check_count(dim, "dim")
    n_rows = dim if n_rows is None else check_count(n_rows, "n_rows")
    if n_rows > dim:
        raise ValueError(f"n_rows={n_rows} vectors cannot be orthogonal in dim={dim} dimensions")
    return orthonormal_rows(as_generator(rng).standard_normal((dim, n_rows)))


def orthonormal_rows(normal: np.ndarray) -> np.ndarray:
    """The Q factor of the columns of a matrix, or of each matrix of a stack, as rows.

    If the columns are Gaussian, it is uniform on the Stiefel manifold. The signs of R's diagonal
    are moved into Q: without that, the law depends on the QR algorithm (Mezzadri 2007, "How to
    generate random matrices from the classical compact groups", section 4).
    """
    if normal.shape[-2] == 1:
        # The factorisation below gives the same, but takes as long as measuring a slice.
        return np.copysign(1.0, normal)
    q, r = np.linalg.qr(normal)
    signs = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.swapaxes(q * signs[..., None, :], -2, -1)


def sample_spherical(dim: int, n_projections: int, *, rng: Any = None) -> np.ndarray:
    """Draw unit vectors, each uniform on the sphere in `dim` dimensions.

    Vectors come in blocks of `dim`, the rows of one Haar-distributed orthogonal matrix: orthogonal
    within a block, independent between blocks.

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 1.
    n_projections : int
        How many vectors to draw, at least 1.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.

    Returns
    -------
    array, shape (n_projections, dim)
        Rows of unit Euclidean length.

    Raises
    ------
    ValueError, TypeError
        If `dim` or `n_projections` is less than 1 or not an integer.
    """
    n_projections = check_count(n_projections, "n_projections")
    dim = check_count(dim, "dim")
    rng = as_generator(rng)
    blocks = []
    for start in range(0, n_projections, dim):
        normal = rng.standard_normal((dim, min(dim, n_projections)))
        blocks.append(orthonormal_rows(normal[:, : n_projections - start]))
    return np.concatenate(blocks)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Slices that are measured together.

    Parameters
    ----------
    group : int
        Slices of different groups are independent of each other.
    theta, phi : array, shape (n_slices, dim), or (n_slices, k, dim)
        What x and y are projected on: unit vectors, or frames of k orthonormal rows; for
        precomputed slices, their row numbers. None for a side that is not sliced.
    is_null : bool
        Whether the samples of y are to be permuted first.
    first : int
        The number of the first of these slices in the call.
    slices : tuple of array, shape (n_slices, n)
        Of x, and of y if it is sliced, where they are projected before the chunk is measured.
    """

    group: int
    theta: np.ndarray | None
    phi: np.ndarray | None
    is_null: bool = False
    first: int = 0
    slices: tuple[np.ndarray, ...] = ()

    @property
    def n_slices(self) -> int:
        """How many slices of one dimension these are."""
        return 0 if self.theta is None else len(self.theta)


def plan(
    dim_x: int,
    dim_y: int | None,
    n_samples: int,
    n_projections: int,
    *,
    n_groups: int,
    rngs: Sequence[np.random.Generator],
    slice_dims: tuple[int, int] = (1, 1),
    is_null: bool = False,
) -> Iterator[Chunk]:
    """Draw the slices of a call, all independent of each other, in groups.

    Parameters
    ----------
    dim_x, dim_y : int
        Dimensions; `dim_y` is None where y has labels.
    n_samples, n_projections : int
    n_groups : int
        The most groups of slices.
    rngs : two Generators
        Draw the directions of x and of y.
    slice_dims : two int
        Dimensions of the slices of x and of y. With (1, 1), directions are drawn, else frames; a
        side whose slices have all its dimensions is not sliced.
    is_null : bool
        Whether these are slices of permuted samples.

    Yields
    ------
    Chunk
    """
    group_size, chunk_size = -(-n_projections // n_groups), _chunk_size(n_samples)
    draw: Callable[..., Any] = independent_directions
    if slice_dims != (1, 1):
        chunk_size = max(1, _NUMBERS_PER_CHUNK // (n_samples * sum(slice_dims)))
        draw = independent_frames
    for group, first in enumerate(range(0, n_projections, group_size)):
        size = min(group_size, n_projections - first)
        theta = draw(dim_x, size, rngs[0], slice_dims[0])
        phi = None if dim_y is None else draw(dim_y, size, rngs[1], slice_dims[1])
        for start in range(0, size, chunk_size):
            rows = slice(start, start + chunk_size)
            theta_here, phi_here = (side if side is None else side[rows] for side in (theta, phi))
            yield Chunk(group, theta_here, phi_here, is_null, first + start)


def independent_directions(
    dim: int, n_projections: int, rng: np.random.Generator, k: int = 1
) -> np.ndarray:
    """Unit vectors, uniform and independent, (n_projections, dim); k is 1."""
    vectors = rng.standard_normal((n_projections, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def independent_frames(
    dim: int, n_projections: int, rng: np.random.Generator, k: int
) -> np.ndarray | None:
    """Frames of k orthonormal rows, uniform on the Stiefel manifold, (n_projections, k, dim).

    None if k is `dim`: all frames then span the whole space, and the samples are left as they are.
    """
    if k == dim:
        return None
    return orthonormal_rows(rng.standard_normal((n_projections, dim, k)))


def plan_precomputed(
    rows: np.ndarray, n_samples: int, *, n_groups: int, is_null: bool = False
) -> Iterator[Chunk]:
    """`plan` for precomputed slices, of which those numbered `rows` are measured."""
    group_size, chunk_size = -(-len(rows) // n_groups), _chunk_size(n_samples)
    for group, first in enumerate(range(0, len(rows), group_size)):
        in_group = rows[first : first + group_size]
        for start in range(0, len(in_group), chunk_size):
            chunk = in_group[start : start + chunk_size]
            yield Chunk(group, chunk, chunk, is_null, first + start)


def _chunk_size(n_samples):
    return max(_MIN_CHUNK, _NUMBERS_PER_CHUNK // n_samples)


@dataclass(frozen=True, eq=False)
class PairedSlices:
    """Slices of two continuous variables.

    Parameters
    ----------
    project_x, project_y : callable or None
        From a chunk's `theta`, `phi` to slices, (n_slices, n); None if chunks hold their slices.
    n_samples : int
    """

    project_x: Callable[[Any], np.ndarray] | None
    project_y: Callable[[Any], np.ndarray] | None
    n_samples: int

    @property
    def may_travel(self) -> bool:
        """Whether chunks are small enough to be sent to other machines."""
        return self.project_x is not None

    def of(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        """The slices of x and of y."""
        if self.project_x is None or self.project_y is None:
            x, y = chunk.slices
            return x, y
        return self.project_x(chunk.theta), self.project_y(chunk.phi)

    def fitted(
        self, estimator: SliceEstimator, chunks: Iterator[Chunk]
    ) -> tuple[SliceEstimator, Iterator[Chunk]]:
        """The estimator for the slices of these chunks, and all of the chunks.

        Where chunks hold their slices and the first of them would take much memory, the estimator
        as it is.
        """
        first: list[Chunk] = []
        n_missing = estimator.n_pilot_slices
        if n_missing == 0:
            return estimator, chunks
        max_samples = _MAX_PILOT_NUMBERS // n_missing
        if self.n_samples > max_samples and self.project_x is None:
            return estimator, chunks
        while n_missing > 0 and (chunk := next(chunks, None)) is not None:
            first.append(chunk)
            n_missing -= chunk.n_slices
        if first:
            n_shown = min(self.n_samples, max_samples)
            shown = np.linspace(0, self.n_samples - 1, n_shown).astype(int)
            parts: list[list[np.ndarray]] = []
            map_in_order(
                lambda chunk: [side[:, shown] for side in self.of(chunk)], first, parts.append
            )
            with one_blas_thread:
                estimator = estimator.for_slices(*map(np.concatenate, zip(*parts, strict=True)))
        return estimator, chain(first, chunks)

    @staticmethod
    def permuted(y: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Slices of y with the samples in another order."""
        # Not y[:, order], whose rows are scattered in memory: slow, and summed in another way.
        return np.take(y, order, axis=-1)

    @staticmethod
    def terms(estimator: SliceEstimator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimator's pointwise terms of slices, (n_results, n_slices, n)."""
        return _in_blocks(estimator.slice_terms, 1, (x, y))

    @staticmethod
    def statistics(estimator: SliceEstimator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What a test compares, (n_results, n_statistics, n_slices)."""
        return _in_blocks(estimator.slice_statistics, 2, (x, y))


@dataclass(frozen=True, eq=False)
class LabelledSlices:
    """Slices of one continuous variable, and the labels of its samples.

    Parameters
    ----------
    project_x : callable or None
        As for `PairedSlices`.
    labels : Labels
    """

    project_x: Callable[[Any], np.ndarray] | None
    labels: Labels

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        return len(self.labels)

    @property
    def may_travel(self) -> bool:
        """As for `PairedSlices`."""
        return self.project_x is not None

    def of(self, chunk: Chunk) -> tuple[np.ndarray, Labels]:
        """The slices of x, and the labels."""
        x = chunk.slices[0] if self.project_x is None else self.project_x(chunk.theta)
        return x, self.labels

    @staticmethod
    def fitted(
        estimator: SliceEstimator, chunks: Iterator[Chunk]
    ) -> tuple[SliceEstimator, Iterator[Chunk]]:
        """The estimator and the chunks as they are."""
        return estimator, chunks

    @staticmethod
    def permuted(labels: Labels, order: np.ndarray) -> Labels:
        """The labels with the samples in another order."""
        return labels.reordered(order)

    @staticmethod
    def terms(estimator: SliceEstimator, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The estimator's pointwise terms of slices, (n_results, n_slices, n)."""
        return _in_blocks(estimator.slice_terms_labels, 1, (x,), labels)

    @staticmethod
    def statistics(estimator: SliceEstimator, x: np.ndarray, labels: Labels) -> np.ndarray:
        """What a test compares, (n_results, n_statistics, n_slices)."""
        return _in_blocks(estimator.slice_statistics_labels, 2, (x,), labels)


def _in_blocks(measure, axis, sides, *labels):
    """Join what blocks of slices of all sides give along the axis of slices."""
    n_slices, n_samples = sides[0].shape
    size = max(1, _NUMBERS_PER_BLOCK // n_samples)
    blocks = []
    for start in range(0, n_slices, size):
        rows = slice(start, start + size)
        with slices_counted_from(start):
            blocks.append(measure(*[side[rows] for side in sides], *labels))
    return np.concatenate(blocks, axis=axis)


@contextmanager
def slices_counted_from(first: int) -> Iterator[None]:
    """Let an error number its slice among all slices of the call."""
    try:
        yield
    except SliceError as error:
        raise error.counted_from(first) from error.__cause__


class SMICompressor:
    """A fixed set of random directions, to project several arrays the same way.

    Parameters
    ----------
    dim : int
        Dimension of the data to come, at least 1.
    n_projections : int
        Number of directions, at least 1.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.

    Attributes
    ----------
    theta : array, shape (n_projections, dim)
        The directions, as `sample_spherical` draws them.

    Examples
    --------
    >>> compressor = SMICompressor(784, 1000, rng=0)
    >>> slices = compressor(images)                       # (1000, n)
    """

    def __init__(self, dim: int, n_projections: int, *, rng: Any = None):
        self.theta = sample_spherical(dim, n_projections, rng=rng)

    def __repr__(self) -> str:
        n_projections, dim = self.theta.shape
        return f"SMICompressor(dim={dim}, n_projections={n_projections})"

    def __call__(self, x: Any) -> np.ndarray:
        """Project samples, centred by their mean, on every direction.

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to `(n, dim)`.

        Returns
        -------
        array, shape (n_projections, n)

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric, not finite, empty, or not `dim` wide.
        """
        x = as_samples(x, "x")
        if x.shape[1] != self.theta.shape[1]:
            raise ValueError(
                f"x has {x.shape[1]} values per sample, and the directions have "
                f"{self.theta.shape[1]}; make a compressor of dim={x.shape[1]}"
            )
        with one_blas_thread:
            return Samples.of(x).project(self.theta)
