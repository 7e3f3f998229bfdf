"""Distributions that know their own mutual information, in nats, and two without correlation.

A distribution owns its sampler and its exact answer, so that the two cannot drift apart.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.special import betaln, ndtr

from .estimators import Estimate
from .frames import as_slice_dims, normal_information
from .parallel import one_blas_thread
from .slicing import independent_frames, sample_stiefel
from .validation import as_generator, check_count

__all__ = [
    "CorrelatedCubed",
    "CorrelatedNormal",
    "CorrelatedUniform",
    "SharedCoordinate",
    "SignFlipped",
    "Squared",
    "normal_sliced_information",
]

# Frames drawn together, and the most of them.
_FRAMES_PER_BLOCK, _MAX_BLOCKS = 2**12, 2**10
_MIN_BLOCKS = 8


def normal_sliced_information(
    x_covariance: np.ndarray,
    y_covariance: np.ndarray,
    cross: np.ndarray,
    slice_dims: Any,
    *,
    rel_error: float = 1e-3,
    rng: Any = 0,
) -> Estimate:
    """k-sliced mutual information of normal variables: the mean over frames of a closed form.

    A slice is normal, and its information follows from determinants (`frames.normal_information`);
    only the mean over the Stiefel manifolds is left to sampling.

    Parameters
    ----------
    x_covariance, y_covariance, cross : array
        Shapes (dim_x, dim_x), (dim_y, dim_y) and (dim_x, dim_y).
    slice_dims : int, or pair (k_x, k_y) of int or None
        As for `sliced_mutual_information`.
    rel_error : float
        Frames are drawn until the standard error is at most this part of the value: at least
        32,768 of them, at most 4 million.
    rng : Generator, int or None
        Draws the frames.

    Returns
    -------
    Estimate
        In nats; the standard error is that of the mean over frames, 0 where slices have all
        dimensions.

    Raises
    ------
    ValueError, TypeError
        If `slice_dims` are more than the dimensions.
    """
    covariances = [np.asarray(block, float) for block in (x_covariance, y_covariance, cross)]
    dim_x, dim_y = covariances[2].shape
    dims = as_slice_dims(slice_dims, dim_x, dim_y, n_samples=dim_x + dim_y + 1)
    if dims == (dim_x, dim_y):
        return Estimate(float(normal_information(None, None, *covariances)[0]), 0.0)
    rng = as_generator(rng)
    n_blocks, total, squares = 0, 0.0, 0.0
    with one_blas_thread:
        while n_blocks < _MAX_BLOCKS:
            theta = independent_frames(dim_x, _FRAMES_PER_BLOCK, rng, dims[0])
            phi = independent_frames(dim_y, _FRAMES_PER_BLOCK, rng, dims[1])
            values = normal_information(theta, phi, *covariances)
            n_blocks, total, squares = n_blocks + 1, total + values.sum(), squares + values @ values
            n = n_blocks * _FRAMES_PER_BLOCK
            mean = total / n
            std_error = math.sqrt(max(squares / n - mean * mean, 0.0) / n)
            if n_blocks >= _MIN_BLOCKS and std_error <= rel_error * mean:
                break
    return Estimate(float(mean), std_error)


class CorrelatedNormal:
    """Two normal vectors of given mutual information.

    Components i of the two vectors have correlation r for i < min(dim_x, dim_y), and all others
    are independent, so I(X; Y) = -min(dim_x, dim_y) / 2 log(1 - r^2); r follows from the
    given information. Then each side is rotated at random, which changes neither its law (standard
    normal) nor the information, but hides which components belong together.

    Parameters
    ----------
    mutual_information : float
        In nats, finite and not negative.
    dim_x, dim_y : int
        Dimensions, at least 1.
    rng : Generator, int or None
        Draws the rotations; passed to `numpy.random.default_rng`.

    Attributes
    ----------
    mutual_information, dim_x, dim_y
        As given.
    correlation : float
        r above.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or the information so large that r rounds to 1.
    """

    def __init__(
        self,
        mutual_information: float,
        dim_x: int,
        dim_y: int,
        *,
        rng: np.random.Generator | int | None = None,
    ):
        self.dim_x = check_count(dim_x, "dim_x")
        self.dim_y = check_count(dim_y, "dim_y")
        self.mutual_information = float(mutual_information)
        if not (math.isfinite(self.mutual_information) and self.mutual_information >= 0):
            raise ValueError(
                f"mutual_information={mutual_information} must be finite and at least 0"
            )
        self._shared = min(self.dim_x, self.dim_y)
        self.correlation = math.sqrt(-math.expm1(-2.0 * self.mutual_information / self._shared))
        if self.correlation == 1.0:
            raise ValueError(
                f"mutual_information={mutual_information} over {self._shared} components "
                f"needs a correlation of 1 in float64; ask for less"
            )
        x_rng, y_rng = as_generator(rng).spawn(2)
        self._rotation_x = sample_stiefel(self.dim_x, rng=x_rng)
        self._rotation_y = sample_stiefel(self.dim_y, rng=y_rng)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(mutual_information={self.mutual_information:g}, "
            f"dim_x={self.dim_x}, dim_y={self.dim_y})"
        )

    def sample(
        self, n: int, *, rng: np.random.Generator | int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw paired samples.

        Parameters
        ----------
        n : int
            How many, at least 1.
        rng : Generator, int or None
            Passed to `numpy.random.default_rng`.

        Returns
        -------
        x, y : arrays, shapes (n, dim_x) and (n, dim_y)
        """
        n = check_count(n, "n")
        rng = as_generator(rng)
        x = rng.standard_normal((n, self.dim_x))
        y = rng.standard_normal((n, self.dim_y))
        # exp(-I / c) = sqrt(1 - r^2), without the cancellation.
        y[:, : self._shared] *= math.exp(-self.mutual_information / self._shared)
        y[:, : self._shared] += self.correlation * self._response(x[:, : self._shared])
        return self._marginal(x @ self._rotation_x), self._marginal(y @ self._rotation_y)

    @property
    def sliced_mutual_information(self) -> float | None:
        """Exact SMI in nats.

        A slice is normal with correlation r t, t the inner product of two unit vectors that lie
        uniformly in d = max(dim_x, dim_y) dimensions (the shorter one, padded with zeros, is a
        unit vector there, and the other is uniform). So SMI = -1/2 E log(1 - r^2 t^2) with
        t^2 ~ Beta(1/2, (d - 1)/2); with t = sin a the integral is smooth.
        """
        # Its import takes a seventh of a second, and nothing else needs it.
        from scipy.integrate import quad

        dim = max(self.dim_x, self.dim_y)
        if dim == 1:
            return self.mutual_information

        def integrand(angle):
            t = math.sin(angle)
            return -0.5 * math.log1p(-((self.correlation * t) ** 2)) * math.cos(angle) ** (dim - 2)

        integral, _ = quad(integrand, 0.0, math.pi / 2, epsabs=0.0, epsrel=1e-10, limit=200)
        return 2.0 * integral / math.exp(betaln(0.5, 0.5 * (dim - 1)))

    def k_sliced_mutual_information(
        self, slice_dims: Any, *, rel_error: float = 1e-3, rng: Any = 0
    ) -> Estimate:
        """Exact k-sliced mutual information, by `normal_sliced_information`.

        At k = 1 it is `sliced_mutual_information`, at k = dim `mutual_information`, and between
        them it grows with k. The rotations change nothing, since frames are uniform.
        """
        cross = np.eye(self.dim_x, self.dim_y) * self.correlation
        covariances = np.eye(self.dim_x), np.eye(self.dim_y), cross
        return normal_sliced_information(*covariances, slice_dims, rel_error=rel_error, rng=rng)

    def _response(self, x):
        return x

    def _marginal(self, values):
        return values


class _WithoutClosedForm(CorrelatedNormal):
    """A distribution whose slices have no closed form."""

    sliced_mutual_information = None
    k_sliced_mutual_information = None  # type: ignore[assignment]


class CorrelatedUniform(_WithoutClosedForm):
    """`CorrelatedNormal`, each component taken through the normal distribution function.

    Components are uniform on [0, 1]. A bijection of each component does not change the mutual
    information, but it changes the sliced one, for which no closed form is known.
    """

    def _marginal(self, values):
        return ndtr(values)


class CorrelatedCubed(_WithoutClosedForm):
    """`CorrelatedNormal`, each component cubed: heavy tails, and a peak at 0.

    A bijection of each component does not change the mutual information, but it changes the sliced
    one, for which no closed form is known.
    """

    def _marginal(self, values):
        return values**3


class SignFlipped(_WithoutClosedForm):
    """`CorrelatedNormal`, with y multiplied by one random sign per sample.

    x and y have no correlation, and neither has any pair of their slices. Losing the sign costs at
    most log 2 of the `mutual_information` given; what is left has no closed form.
    """

    def sample(
        self, n: int, *, rng: np.random.Generator | int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw paired samples, as `CorrelatedNormal.sample`."""
        sample_rng, sign_rng = as_generator(rng).spawn(2)
        x, y = super().sample(n, rng=sample_rng)
        return x, y * sign_rng.choice([-1.0, 1.0], (n, 1))


class Squared(_WithoutClosedForm):
    """Normal x, and y a noisy square of it, component by component.

    y = r (x^2 - 1) / sqrt(2) + sqrt(1 - r^2) noise, with the r of `CorrelatedNormal`; then both
    are rotated. x and y have no correlation. The `mutual_information` given is that of a linear
    relation with the same noise; that of the square has no closed form.
    """

    def _response(self, x):
        return (x * x - 1.0) / math.sqrt(2.0)


class SharedCoordinate:
    """Normal vectors that share one coordinate, beside others of pure noise.

    Neither repeating the shared coordinate nor adding noise coordinates changes the mutual
    information; both change the sliced mutual information.

    Parameters
    ----------
    mutual_information : float
        Of the shared coordinate, and so of the vectors, in nats; finite and not negative.
    dim : int
        Different coordinates of each vector, at least 1; all but one of them are noise.
    repetitions : int
        How often each vector holds the shared coordinate, at least 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range.
    """

    def __init__(self, mutual_information: float, dim: int, repetitions: int = 1):
        self.dim = check_count(dim, "dim")
        self.repetitions = check_count(repetitions, "repetitions")
        self._shared = CorrelatedNormal(mutual_information, 1, 1, rng=0)
        self.mutual_information = self._shared.mutual_information

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(mutual_information={self.mutual_information:g}, "
            f"dim={self.dim}, repetitions={self.repetitions})"
        )

    def sample(self, n: int, *, rng: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw paired samples, as `CorrelatedNormal.sample`.

        Returns
        -------
        x, y : arrays, shape (n, repetitions + dim - 1)
        """
        shared_rng, *noise_rngs = as_generator(rng).spawn(3)
        x, y = (
            np.hstack([*[shared] * self.repetitions, noise_rng.standard_normal((n, self.dim - 1))])
            for shared, noise_rng in zip(
                self._shared.sample(n, rng=shared_rng), noise_rngs, strict=True
            )
        )
        return x, y

    @property
    def sliced_mutual_information(self) -> float:
        """Exact SMI in nats.

        A slice is normal with correlation r s t, where r is that of the shared coordinate, s^2 the
        part of the variance of the slice of x that is the shared coordinate's, and t^2 that of y.
        """
        parts, weights = _shared_parts(self.dim, self.repetitions)
        squares = self._shared.correlation**2 * np.outer(parts, parts)
        return float(-0.5 * weights @ np.log1p(-squares) @ weights)


@cache
def _shared_parts(dim, repetitions):
    """Nodes and weights of s^2 = m w / (m w + 1 - w) over the directions, m the repetitions.

    w, the square of one coordinate of a uniform unit vector, is Beta(1/2, (dim - 1)/2); with
    w = sin^2 a the integrand is smooth.
    """
    if dim == 1:
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(100)
    angles = 0.25 * math.pi * (nodes + 1.0)
    weights = weights * np.cos(angles) ** (dim - 2)
    parts = repetitions * np.sin(angles) ** 2
    return parts / (parts + np.cos(angles) ** 2), weights / weights.sum()
