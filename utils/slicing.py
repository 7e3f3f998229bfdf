"""Directions on the sphere, and the projections of data on them.

A slice is a pair of unit vectors. Everything here is about drawing them and applying them; what
is then measured on a slice is not this module's business.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import ThreadpoolController

from .validation import as_generator, as_samples, check_count

__all__ = ["DIRECTIONS", "SMICompressor", "sample_spherical", "sample_stiefel"]

DIRECTIONS = ("crossed", "paired blocks", "independent")
# Blocks of crossed directions: of fewer, the spread is not known well enough to say the error.
_FEWEST_CROSSED = 16

# Rows projected at a time, in numbers: a megabyte of float64. Smaller passes make threads wait for
# each other, larger ones leave a core's cache.
_NUMBERS_PER_PASS = 2**17


def sample_stiefel(dim: int, *, rng=None) -> np.ndarray:
    """Draw an orthogonal matrix, uniform in the Haar sense.

    The Q factor of a square Gaussian matrix, with the signs of R's diagonal moved into Q: without
    that the law depends on the QR algorithm (Mezzadri 2007, "How to generate random matrices from
    the classical compact groups", section 4).

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 1.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.

    Returns
    -------
    array, shape (dim, dim)
        Orthonormal rows.

    Raises
    ------
    ValueError, TypeError
        If `dim` is less than 1 or not an integer.
    """
    dim = check_count(dim, "dim")
    normal = as_generator(rng).standard_normal((dim, dim))
    if dim == 1:
        # What is below gives the same, and takes as long as measuring a slice.
        return np.copysign(1.0, normal)
    q, r = np.linalg.qr(normal)
    return (q * np.where(np.diag(r) < 0, -1.0, 1.0)).T


def sample_spherical(dim: int, n_projections: int, *, rng=None) -> np.ndarray:
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
    return next(direction_blocks(dim, n_projections, n_projections, rng=rng))


def direction_blocks(dim: int, n_projections: int, block_size: int, *, rng=None):
    """Yield the rows of `sample_spherical` in blocks, without holding all of them.

    Parameters
    ----------
    dim, n_projections, rng
        As for `sample_spherical`.
    block_size : int
        Rows a block; the last one may be shorter. It does not change the rows.

    Yields
    ------
    array, shape (block_size, dim)
    """
    rng = as_generator(rng)
    rows = np.empty((0, check_count(dim, "dim")))
    for start in range(0, n_projections, block_size):
        size = min(block_size, n_projections - start)
        n_missing = max(0, size - len(rows))
        matrices = [sample_stiefel(dim, rng=rng) for _ in range(-(-n_missing // dim))]
        rows = np.concatenate([rows, *matrices])
        yield rows[:size]
        rows = rows[size:]


def center_of(x: np.ndarray) -> np.ndarray:
    """The mean of each column; of a constant column its very value, so that nothing is left of it.

    A mean is rounded, and what it misses would be all there is to see in data that do not vary.
    """
    center = x.mean(axis=0, dtype=float)
    # A look at two rows rules out most columns, and spares two passes over all of them.
    constant = x[0] == x[-1]
    if constant.any():
        constant &= x.max(axis=0) == x.min(axis=0)
        center[constant] = x[0, constant]
    return center


def direction_pairs(dim_x, dim_y, n_projections, *, directions, n_groups, x_rng, y_rng):
    """Yield pairs of directions, in groups that are independent of each other.

    Parameters
    ----------
    dim_x, dim_y, n_projections : int
    directions : {"crossed", "paired blocks", "independent"}
        "crossed": blocks of all pairs of an orthonormal basis for x and one for y. A vector's
        squared inner products with a whole basis have the same sum in every basis, so for linear
        dependence most of the spread over slices cancels in a block. Of parts of a basis this is
        not true, and a direction that many slices share then costs more than crossing gains: where
        fewer than 16 whole blocks would fit, directions are independent.
        "paired blocks": the rows of `sample_spherical` for x and for y, in order. "independent".
    n_groups : int
        The most groups to make. There are half as many, or 16, or more, given as many slices.
    x_rng, y_rng : Generator
        Draw the directions of x and of y.

    Yields
    ------
    theta, phi : arrays, shapes (n_theta, dim_x) and (n_phi, dim_y)
    pairs : array of int, shape (n_pairs, 2)
        Which of theta goes with which of phi.
    """
    if directions == "crossed" and n_projections >= _FEWEST_CROSSED * dim_x * dim_y:
        block = np.array([(i, (i + j) % dim_y) for j in range(dim_y) for i in range(dim_x)])
        n_blocks = -(-n_projections // len(block))
        n_merged = -(-n_blocks // n_groups)
        for start in range(0, n_projections, n_merged * len(block)):
            n_here = min(n_merged, -(-(n_projections - start) // len(block)))
            theta = np.vstack([sample_stiefel(dim_x, rng=x_rng) for _ in range(n_here)])
            phi = np.vstack([sample_stiefel(dim_y, rng=y_rng) for _ in range(n_here)])
            pairs = np.vstack([block + np.array([dim_x, dim_y]) * i for i in range(n_here)])
            yield theta, phi, pairs[: n_projections - start]
        return
    draw = direction_blocks if directions == "paired blocks" else _independent_blocks
    size = -(-n_projections // n_groups)
    thetas = draw(dim_x, n_projections, size, rng=x_rng)
    for theta, phi in zip(thetas, draw(dim_y, n_projections, size, rng=y_rng), strict=True):
        yield theta, phi, np.repeat(np.arange(len(theta))[:, None], 2, axis=1)


def _independent_blocks(dim, n_projections, block_size, *, rng):
    for start in range(0, n_projections, block_size):
        vectors = rng.standard_normal((min(block_size, n_projections - start), dim))
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def project(x: np.ndarray, directions: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Project centred samples on directions, reading the samples a few rows at a time.

    Parameters
    ----------
    x : array, shape (n, dim)
        Samples of any real dtype; a memory map is read in passes and never copied whole.
    directions : array, shape (n_projections, dim)
    center : array, shape (dim,)
        Subtracted from every sample first, so that a large common offset costs no digits.

    Returns
    -------
    array, shape (n_projections, n)
    """
    projections = np.empty((len(directions), len(x)))
    rows = max(1, _NUMBERS_PER_PASS // x.shape[1])
    for start in range(0, len(x), rows):
        stop = start + rows
        projections[:, start:stop] = directions @ (x[start:stop] - center).T
    return projections


def one_blas_thread():
    """A context in which matrix products take one thread, and so do not depend on how many cores.

    Shared among threads, a sum is added up in another order and rounded in another way.
    """
    return _thread_pools().limit(limits=1, user_api="blas")


@cache
def _thread_pools():
    # Looking for the libraries takes milliseconds. NumPy's, which multiplies, is there by now.
    return ThreadpoolController()


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

    def __init__(self, dim: int, n_projections: int, *, rng=None):
        self.theta = sample_spherical(dim, n_projections, rng=rng)

    def __repr__(self):
        n_projections, dim = self.theta.shape
        return f"SMICompressor(dim={dim}, n_projections={n_projections})"

    def __call__(self, x: ArrayLike) -> np.ndarray:
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
                f"x has {x.shape[1]} values a sample, and the directions have "
                f"{self.theta.shape[1]}; make a compressor of dim={x.shape[1]}"
            )
        with one_blas_thread():
            return project(x, self.theta, center_of(x))
