"""Covariances of many columns, by their leading components.

Most of the variance lies in few components, so that the variance of a slice depends on few
coordinates of its direction; what is left counts as the same in all directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .parallel import map_in_order
from .validation import Samples

__all__ = [
    "FLOOR",
    "SMALLEST",
    "Subspace",
    "centred_rows",
    "chosen_rows",
    "gaussian_integrals",
    "joint_moments",
    "with_floor",
]

# The most components that are resolved, and the rows of wide data that each of them takes.
_MAX_COMPONENTS, _ROWS_PER_COMPONENT = 128, 8
# The part of the mean variance that is added to every covariance, so that logarithms are finite.
FLOOR = 1e-12
# Stands for 0 in a denominator.
SMALLEST = 1e-200
# For wider data, a full eigendecomposition is not worth its time.
_MAX_FULL_WIDTH = 256
_OVERSAMPLING, _POWER_STEPS = 8, 1
# Moments are computed from at most this many numbers, 64 MB as float64; of more, rows are drawn.
_MAX_NUMBERS = 2**23
# The share of a call's time that moments may take. Beside its projection, a slice takes about as
# long as a projection from this many dimensions; a row is read about this often for each component.
_MOMENTS_SHARE, _SLICE_DIMENSIONS, _READS = 0.15, 750, 5
_MIN_ROWS = 500
# Rows further from the median than this many median distances are pulled in; this many rows give
# the median.
_FAR, _MEDIAN_ROWS = 4.0, 100
# Rows whose moments are summed at once: larger blocks leave the cache; few are not worth threads.
_ROWS_PER_BLOCK, _MIN_BLOCKS_FOR_THREADS = 2**11, 8


@dataclass(frozen=True, eq=False)
class Subspace:
    """A covariance: its leading components, and one variance for all that is left.

    A direction matters only by its coordinates in the subspace, since its length is 1.

    Parameters
    ----------
    basis : array, shape (dim, n_components)
        Orthonormal columns, the directions of the largest variances.
    variances : array, shape (n_components,)
    tail : float
        The variance in each direction orthogonal to the subspace.
    """

    basis: np.ndarray
    variances: np.ndarray
    tail: float

    @classmethod
    def of_rows(
        cls,
        rows: np.ndarray,
        rng: np.random.Generator,
        *,
        most_components: int = _MAX_COMPONENTS,
    ) -> Subspace:
        """The leading components of centred rows.

        Wide data take randomised subspace iteration (Halko, Martinsson and Tropp 2011, "Finding
        structure with randomness", algorithm 4.4).

        Parameters
        ----------
        rows : array, shape (n, dim)
        rng : Generator
            Starts the iteration.
        most_components : int
            The most to keep.
        """
        n, dim = rows.shape
        n_components = min(most_components, _MAX_COMPONENTS, dim)
        if dim <= _MAX_FULL_WIDTH:
            candidates = np.eye(dim)
            covariance = rows.T @ rows / n
        else:
            n_components = min(n_components, n // _ROWS_PER_COMPONENT + 1)
            candidates = rng.standard_normal((dim, min(n_components + _OVERSAMPLING, dim)))
            for _ in range(_POWER_STEPS):
                candidates = np.linalg.qr(rows.T @ (rows @ candidates))[0]
            scores = rows @ candidates
            covariance = scores.T @ scores / n
        variances, vectors = np.linalg.eigh(covariance)
        leading = slice(None, -n_components - 1, -1)
        variances = np.maximum(variances[leading], 0.0)
        total = np.einsum("ij,ij->", rows, rows) / n
        floor = max(FLOOR * total / dim, SMALLEST)
        tail = max(total - variances.sum(), 0.0) / (dim - n_components) if n_components < dim else 0
        return cls(candidates @ vectors[:, leading], variances + floor, tail + floor)

    @property
    def n_components(self) -> int:
        """Dimensions of the subspace."""
        return self.basis.shape[1]

    @property
    def n_rest(self) -> int:
        """Dimensions outside the subspace."""
        return self.basis.shape[0] - self.basis.shape[1]

    @property
    def trace(self) -> float:
        """The sum of all variances."""
        return float(self.variances.sum() + self.n_rest * self.tail)

    def draw(
        self, n_directions: int, rng: np.random.Generator, *, n_components: int | None = None
    ) -> np.ndarray:
        """Coordinates of directions that are uniform on the whole sphere.

        Parameters
        ----------
        n_directions : int
        rng : Generator
        n_components : int or None
            The most coordinates to draw; None means all.

        Returns
        -------
        array, shape (n_directions, n_components)
        """
        n_components = min(n_components or self.n_components, self.n_components)
        normal = rng.standard_normal((n_directions, n_components))
        squares = np.einsum("ij,ij->i", normal, normal)
        n_rest = len(self.basis) - n_components
        if n_rest:
            squares += rng.chisquare(n_rest, n_directions)
        return normal / np.sqrt(squares)[:, None]

    def variance(self, coordinates: np.ndarray) -> np.ndarray:
        """The variance of the slice in each direction."""
        squares = coordinates * coordinates
        return squares @ (self.variances - self.tail) + self.tail


def chosen_rows(n: int, dim: int, n_slices: int, rng: np.random.Generator) -> np.ndarray | slice:
    """The rows that moments are computed from: all, or as many as cost little beside the slices.

    Parameters
    ----------
    n, dim : int
        Samples, and columns of the wider variable.
    n_slices : int
        How many slices are to be measured.
    rng : Generator
        Draws rows, without replacement.

    Returns
    -------
    array of row numbers, or a slice of all
    """
    reads_per_number = min(dim, _READS * _MAX_COMPONENTS)
    affordable = _MOMENTS_SHARE * n * n_slices * (dim + _SLICE_DIMENSIONS) / dim / reads_per_number
    n_rows = min(max(int(affordable), _MIN_ROWS), _MAX_NUMBERS // dim + 2)
    return slice(None) if n <= n_rows else np.sort(rng.choice(n, n_rows, replace=False))


def centred_rows(samples: Samples, chosen: np.ndarray | slice) -> np.ndarray:
    """Rows as float64 with their own mean at 0, and far ones pulled in.

    One far row would be all that a covariance shows, while ranks and neighbours hardly notice it.
    Rows further from the median than four times the median distance are moved to that distance: of
    normal data 0.7 % in one column, and none in ten. Units are the median distance.

    Parameters
    ----------
    samples : Samples
    chosen : array of row numbers, or slice
    """
    rows = samples.rows(chosen)
    rows = rows - np.median(rows[:: max(1, len(rows) // _MEDIAN_ROWS)], axis=0).astype(float)
    # By the largest number first: squares of the others might overflow.
    _pull_in(rows, np.abs(rows).max(axis=1), 100.0)
    _pull_in(rows, np.linalg.norm(rows, axis=1), _FAR)
    return rows - rows.mean(axis=0)


def _pull_in(rows, distances, limit):
    """Scale rows, in place, so that the median distance is 1 and none is above the limit."""
    if distances.any():
        typical = max(np.median(distances[distances > 0.0]), SMALLEST)
        rows *= np.minimum(1.0 / typical, limit / np.maximum(distances, SMALLEST))[:, None]


def gaussian_integrals(
    variances: np.ndarray, tail: float, n_rest: int, nodes: np.ndarray
) -> np.ndarray:
    """E exp(-s/2 z'Az) of a standard normal vector z.

    Parameters
    ----------
    variances : array, shape (n_components,)
        Eigenvalues of A.
    tail : float
        The other eigenvalues of A, all equal.
    n_rest : int
        How many of these there are.
    nodes : array, shape (n_nodes,)
        The values of s.

    Returns
    -------
    array, shape (n_nodes,)
    """
    logs = np.log1p(np.outer(nodes, variances)).sum(axis=1)
    return np.exp(-0.5 * (logs + n_rest * np.log1p(nodes * tail)))


def joint_moments(
    x_rows: np.ndarray, y_rows: np.ndarray, x_space: Subspace, y_space: Subspace, n_leading: int
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances of the components of x and y, and of products of two leading ones.

    Parameters
    ----------
    x_rows, y_rows : array, shapes (n, dim)
        Centred.
    x_space, y_space : Subspace
        Of these rows.
    n_leading : int
        How many components of each have products, the squares among them.

    Returns
    -------
    cross : array, shape (x components, y components)
    joint : array
        Of the leading components of x, those of y, the products of x and those of y, in this order.
    """
    n, center = len(x_rows), 0.0

    def of_block(start):
        rows = slice(start, start + _ROWS_PER_BLOCK)
        x, y = x_space.basis.T @ x_rows[rows].T, y_space.basis.T @ y_rows[rows].T
        leading = x[:n_leading], y[:n_leading]
        joint = np.concatenate([*leading, *map(_products, leading)]) - center
        return joint.sum(axis=1, keepdims=True), joint @ joint.T, x @ y.T

    # Centred by the means of the first rows: taken off the sums of squares, larger means would
    # leave nothing but rounding of products that hardly vary.
    center = of_block(0)[0] / min(n, _ROWS_PER_BLOCK)
    blocks: list[tuple] = []
    starts = range(0, n, _ROWS_PER_BLOCK)
    map_in_order(of_block, starts, blocks.append, in_place=len(starts) < _MIN_BLOCKS_FOR_THREADS)
    means, squares, cross = (sum(parts) / n for parts in zip(*blocks, strict=True))
    joint = squares - means * means.T
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 0.0))
    return cross, joint


def _products(leading):
    first, second = np.triu_indices(len(leading))
    return leading[first] * leading[second]


def with_floor(covariance: np.ndarray) -> np.ndarray:
    """The covariance with `FLOOR` of its mean variance added to all directions."""
    n = len(covariance)
    return covariance + FLOOR * max(np.trace(covariance) / n, SMALLEST) * np.eye(n)
