"""Distributions that know their own mutual information, in nats, and two without correlation.

A distribution owns its sampler and its exact answer, so that the two cannot drift apart.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaln, ndtr

from .slicing import sample_stiefel
from .validation import as_generator, check_count

__all__ = ["CorrelatedCubed", "CorrelatedNormal", "CorrelatedUniform", "SignFlipped", "Squared"]


class CorrelatedNormal:
    """Two normal vectors of given mutual information.

    Components i of the two vectors have correlation r for i < min(dim_x, dim_y), and all others
    are independent, so I(X; Y) = -min(dim_x, dim_y) / 2 log(1 - r^2); r follows from the
    information asked for. Then each side is rotated at random, which changes neither its law
    (standard normal) nor the information, and hides which components belong together.

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
        If an argument is out of its range, or so much information that r rounds to 1.
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

    def _response(self, x):
        return x

    def _marginal(self, values):
        return values


class CorrelatedUniform(CorrelatedNormal):
    """`CorrelatedNormal`, each component taken through the normal distribution function.

    Components are uniform on [0, 1]. A bijection of each component changes no mutual information,
    but it changes the sliced one, for which no closed form is known.
    """

    sliced_mutual_information = None

    def _marginal(self, values):
        return ndtr(values)


class CorrelatedCubed(CorrelatedNormal):
    """`CorrelatedNormal`, each component cubed: heavy tails, and a peak at 0.

    A bijection of each component changes no mutual information, but it changes the sliced one, for
    which no closed form is known.
    """

    sliced_mutual_information = None

    def _marginal(self, values):
        return values**3


class SignFlipped(CorrelatedNormal):
    """`CorrelatedNormal`, with y multiplied by one random sign per sample.

    x and y have no correlation, and neither has any pair of their slices. Losing the sign costs at
    most log 2 of the `mutual_information` given; what is left has no closed form.
    """

    sliced_mutual_information = None

    def sample(
        self, n: int, *, rng: np.random.Generator | int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw paired samples, as `CorrelatedNormal.sample`."""
        sample_rng, sign_rng = as_generator(rng).spawn(2)
        x, y = super().sample(n, rng=sample_rng)
        return x, y * sign_rng.choice([-1.0, 1.0], (n, 1))


class Squared(CorrelatedNormal):
    """Normal x, and y a noisy square of it, component by component.

    y = r (x^2 - 1) / sqrt(2) + sqrt(1 - r^2) noise, with the r of `CorrelatedNormal`; then both
    are turned. x and y have no correlation. The `mutual_information` given is that which a linear
    relation of as much noise would have; that of the square has no closed form.
    """

    sliced_mutual_information = None

    def _response(self, x):
        return (x * x - 1.0) / math.sqrt(2.0)
