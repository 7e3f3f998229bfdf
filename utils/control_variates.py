"""Control variates: what covariances predict of a slice takes noise out of the mean over slices.

The mean over finitely many slices is noisy because slices differ. Much of the difference can be
predicted from moments of the data alone, without measuring: with g a function of the moments of
slice s and E g its mean over all directions,

    mean over s of f_s - b (g_s - E g)

has the same expectation as the mean of the measured f_s, and less noise, if b is the regression
coefficient of f on g (Owen, "Monte Carlo theory, methods and examples", section 8.9).
`PairedControls` and `LabelledControls` know g and E g; `controlled_mean` fits b and gives the error
that is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .parallel import one_blas_thread
from .subspaces import (
    FLOOR,
    SMALLEST,
    Subspace,
    centred_rows,
    chosen_rows,
    gaussian_integrals,
    joint_moments,
    with_floor,
)
from .validation import Labels, Samples

__all__ = [
    "ControlMeans",
    "ControlledMean",
    "LabelledControls",
    "PairedControls",
    "controlled_mean",
]

# The most entries of all class covariances together.
_CLASS_ENTRIES = 2**16
# Components whose fourth moments are used: the number of moments grows with the fourth power.
_QUARTIC_COMPONENTS = 10
# Nodes s of the integrals over log s, in units of one over the trace. Integrands are analytic at
# least up to +- pi/2 i, so that the trapezoidal rule errs by exp(-pi^2 / step) = 2e-6 of the whole;
# they fall as s below, and as 1 / sqrt(s) above what the smallest variances are worth, which FLOOR
# bounds.
_LOG_STEP = 0.75
_LOG_NODES = np.arange(-20.0, 60.0, _LOG_STEP)
# Directions whose mean stands for the mean over all: this many per measured slice, fewer where a
# slice has less than `_FULL_SAMPLES` samples and so costs less; at most `_MAX_DIRECTIONS`, which
# together have at most `_MAX_COORDINATES` coordinates.
_DIRECTIONS_PER_SLICE, _FULL_SAMPLES = 4, 2000
_MAX_DIRECTIONS, _MAX_COORDINATES = 2**13, 2**19
_DIRECTIONS_PER_BLOCK = 256
# For the control of squares: blocks of all pairs of this many directions of x and of y.
_PAIRED_DIRECTIONS = 32
# A product of 16 of them does not underflow.
_MIN_UNEXPLAINED, _FACTORS = 1e-15, 16
# In nats; a control that varies by less is constant but for rounding.
_MIN_SPREAD = 1e-8
# Controls that differ by less count as one.
_COLLINEAR = 1e-10
# Controls are used if slices outnumber the fitted coefficients by this many; with few slices, they
# have to explain more than chance does. The worst loss, from controls that predict nothing, is 5 %.
_MIN_FREE, _CAUTION = 12, 20.0
# The least part of a slice that counts as not explained by the other slices.
_MIN_FREEDOM = 1e-3


@dataclass(frozen=True, eq=False)
class ControlMeans:
    """Means of the controls over all directions.

    Parameters
    ----------
    values : array, shape (n_controls,)
        In nats.
    covariance : array, shape (n_controls, n_controls)
        Covariance of the errors of `values`; 0 where a mean is exact.
    """

    values: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class PairedControls:
    """Three controls of slices u, v of continuous x, y: the information of normal pairs.

    With r the correlation of u and v, the first is -1/2 log(1 - r^2). The second has that of u^2
    and v^2, the third the sum of those of u and v^2 and of u^2 and v, which see dependence without
    correlation; in these two, u and v are taken from the leading components alone.

    Parameters
    ----------
    x, y : Subspace
    cross : array, shape (x components, y components)
        Covariance of the components.
    x_squares, y_squares, cross_squares : array
        Covariances of products of two leading components: of x, of y, and of x with y.
    x_with_squares, y_with_squares : array, shape (leading components, products of the other)
        Covariances of leading components of x with products of y, and the other way round.
    n_directions : int
        Number of directions over which the means are taken.
    """

    x: Subspace
    y: Subspace
    cross: np.ndarray
    x_squares: np.ndarray
    y_squares: np.ndarray
    cross_squares: np.ndarray
    x_with_squares: np.ndarray
    y_with_squares: np.ndarray
    n_directions: int

    @classmethod
    def of_samples(
        cls, x: Samples, y: Samples, n_slices: int, *, rng: np.random.Generator
    ) -> PairedControls:
        """Moments of paired samples, or of some of their rows where these are many.

        Parameters
        ----------
        x, y : Samples
        n_slices : int
            How many slices are to be measured; the controls must cost little beside them.
        rng : Generator
            Draws rows, and starts the search for leading components.
        """
        chosen = chosen_rows(len(x), max(x.dim, y.dim), n_slices, rng)
        x_rows, y_rows = centred_rows(x, chosen), centred_rows(y, chosen)
        with one_blas_thread:
            x_space, y_space = Subspace.of_rows(x_rows, rng), Subspace.of_rows(y_rows, rng)
            cross, joint = joint_moments(x_rows, y_rows, x_space, y_space, _QUARTIC_COMPONENTS)
        # Of leading components of x and of y, and of products of each.
        n_x, n_y = (min(side.n_components, _QUARTIC_COMPONENTS) for side in (x_space, y_space))
        ends = np.cumsum([n_x, n_y, n_x * (n_x + 1) // 2])
        of_x, of_y, of_x_products, of_y_products = map(slice, [0, *ends], [*ends, None])
        return cls(
            x=x_space,
            y=y_space,
            cross=cross,
            x_squares=with_floor(joint[of_x_products, of_x_products]),
            y_squares=with_floor(joint[of_y_products, of_y_products]),
            cross_squares=joint[of_x_products, of_y_products],
            x_with_squares=joint[of_x, of_y_products],
            y_with_squares=joint[of_y, of_x_products],
            n_directions=int(_DIRECTIONS_PER_SLICE * n_slices * min(1.0, len(x) / _FULL_SAMPLES)),
        )

    def of_slices(self, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """The controls of slices.

        Parameters
        ----------
        theta, phi : array, shape (n_slices, dim)
            Unit vectors, paired row by row.

        Returns
        -------
        array, shape (3, n_slices), in nats
        """
        theta, phi = theta @ self.x.basis, phi @ self.y.basis
        x_deviations, y_deviations = np.sqrt(self.x.variance(theta)), np.sqrt(self.y.variance(phi))
        covariances = np.einsum("ij,ij->i", theta @ self.cross, phi)
        linear = (covariances / x_deviations / y_deviations) ** 2
        pairs = self._square_factors(theta, phi)
        squares = [np.einsum("ij,ij->i", *factors) ** 2 for factors in pairs]
        unexplained = np.maximum(1.0 - np.array([linear, *squares]), _MIN_UNEXPLAINED)
        logs = -0.5 * np.log(unexplained)
        return np.array([logs[0], logs[1], logs[2] + logs[3]])

    def means(self, *, rng: np.random.Generator) -> ControlMeans:
        """The means of the controls over both spheres; `rng` draws directions."""
        with one_blas_thread:
            linear_mean, linear_variance = self._linear_mean(rng)
            square_means, square_covariance = self._square_means(rng)
        covariance = np.zeros((3, 3))
        covariance[0, 0] = linear_variance
        covariance[1:, 1:] = square_covariance
        return ControlMeans(np.array([linear_mean, *square_means]), covariance)

    def _square_factors(self, theta, phi):
        """Three pairs of vectors for each direction, whose inner products are correlations.

        Squares with squares, slices of x with squares of y, and the other way round.
        """
        theta, phi = theta[:, :_QUARTIC_COMPONENTS], phi[:, :_QUARTIC_COMPONENTS]
        x, y = self.x.variances[: theta.shape[1]], self.y.variances[: phi.shape[1]]
        theta_squares, phi_squares = _square_weights(theta), _square_weights(phi)
        theta = theta / np.sqrt(theta**2 @ x)[:, None]
        phi = phi / np.sqrt(phi**2 @ y)[:, None]
        x_variances = np.einsum("ij,ij->i", theta_squares @ self.x_squares, theta_squares)
        y_variances = np.einsum("ij,ij->i", phi_squares @ self.y_squares, phi_squares)
        theta_squares /= np.sqrt(x_variances)[:, None]
        phi_squares /= np.sqrt(y_variances)[:, None]
        return (
            (theta_squares @ self.cross_squares, phi_squares),
            (theta, phi_squares @ self.x_with_squares.T),
            (theta_squares @ self.y_with_squares.T, phi),
        )

    def _linear_mean(self, rng):
        """Mean and squared error: exact over one sphere, over some directions on the other.

        The sphere to draw from is chosen by a first block of directions on either.
        """
        n_directions = self._n_directions(self.cross)
        sides = (self.x, self.y, self.cross), (self.y, self.x, self.cross.T)
        errors = [_half_exact_mean(*side, 1, rng).slicing_errors[0] for side in sides]
        mean = _half_exact_mean(*sides[int(errors[1] < errors[0])], n_directions, rng)
        return mean.values[0], mean.slicing_errors[0] ** 2

    def _n_directions(self, cross):
        most = min(_MAX_DIRECTIONS, _MAX_COORDINATES // max(cross.shape))
        return min(max(self.n_directions, _DIRECTIONS_PER_BLOCK), most)

    def _square_means(self, rng):
        """Means and covariance of their errors, from blocks of all pairs of some directions."""
        n_directions = self._n_directions(self.cross_squares)
        blocks = []
        for _ in range(0, n_directions, _DIRECTIONS_PER_BLOCK):
            theta = self.x.draw(_DIRECTIONS_PER_BLOCK, rng, n_components=_QUARTIC_COMPONENTS)
            phi = self.y.draw(_DIRECTIONS_PER_BLOCK, rng, n_components=_QUARTIC_COMPONENTS)
            pairs = self._square_factors(theta, phi)
            squares, *mixed = [_mean_logs_of_all_pairs(*factors) for factors in pairs]
            blocks.append([squares, sum(mixed)])
        values = np.concatenate(blocks, axis=1)
        return values.mean(axis=1), np.cov(values) / values.shape[1]


@dataclass(frozen=True, eq=False)
class LabelledControls:
    """Two controls of slices of continuous x with labels, whose sum is that of normal classes.

    With v the variance of a slice, v_c that within class c and w its mean over the samples, the
    first is 1/2 log(v / w), which sees means that differ, and the second
    1/2 log(w) - 1/2 sum_c p_c log(v_c), which sees variances that differ.

    Parameters
    ----------
    x : Subspace
    shares : array, shape (n_classes,)
        p_c.
    class_covariances : array, shape (n_classes, n_components, n_components)
        Within each class, in the subspace.
    class_tails : array, shape (n_classes,)
        The variance in each direction orthogonal to the subspace.
    """

    x: Subspace
    shares: np.ndarray
    class_covariances: np.ndarray
    class_tails: np.ndarray

    @classmethod
    def of_samples(
        cls, x: Samples, labels: Labels, n_slices: int, *, rng: np.random.Generator
    ) -> LabelledControls:
        """Covariances of labelled samples, or of some of their rows where these are many.

        Parameters
        ----------
        x : Samples
        labels : Labels
        n_slices : int
            As for `PairedControls`.
        rng : Generator
            Draws rows, and starts the search for leading components.
        """
        chosen = chosen_rows(len(x), x.dim, n_slices, rng)
        rows, codes = centred_rows(x, chosen), labels.codes[chosen]
        n_classes = len(labels.sizes)
        most = math.isqrt(_CLASS_ENTRIES // n_classes) + 1
        with one_blas_thread:
            space = Subspace.of_rows(rows, rng, most_components=most)
            floor = max(FLOOR * space.trace / x.dim, SMALLEST)
            covariances, tails = [], []
            for code in range(n_classes):
                in_class = rows[codes == code]
                n = max(len(in_class), 1)
                in_class -= in_class.sum(axis=0) / n
                scores = in_class @ space.basis
                covariance = scores.T @ scores / n
                rest = np.einsum("ij,ij->", in_class, in_class) / n - np.trace(covariance)
                tails.append(floor + max(rest, 0.0) / max(space.n_rest, 1))
                covariances.append(covariance + floor * np.eye(len(covariance)))
        shares = np.bincount(codes, minlength=n_classes) / len(codes)
        return cls(space, shares, np.array(covariances), np.array(tails))

    def of_slices(self, theta: np.ndarray, phi: None = None) -> np.ndarray:
        """The controls of slices.

        Parameters
        ----------
        theta : array, shape (n_slices, dim)
            Unit vectors.
        phi : None
            Labels are not sliced.

        Returns
        -------
        array, shape (2, n_slices), in nats
        """
        theta = theta @ self.x.basis
        outside = np.maximum(1.0 - np.einsum("ij,ij->i", theta, theta), 0.0)
        within = np.array(
            [
                np.einsum("ij,ij->i", theta @ covariance, theta) + tail * outside
                for covariance, tail in zip(self.class_covariances, self.class_tails, strict=True)
            ]
        )
        log_mean_within = np.log(self.shares @ within)
        means_differ = np.log(self.x.variance(theta)) - log_mean_within
        return 0.5 * np.array([means_differ, log_mean_within - self.shares @ np.log(within)])

    def means(self, *, rng: np.random.Generator) -> ControlMeans:
        """The means of the controls over the sphere, which are exact: nothing is drawn.

        For quadratic forms, E log z'Az - E log z'Bz is the integral over log s of
        E exp(-s/2 z'Bz) - E exp(-s/2 z'Az), by log a = integral of (exp(-s) - exp(-s a)) / s.
        """
        nodes = np.exp(_LOG_NODES) / self.x.trace
        mean_within = np.tensordot(self.shares, self.class_covariances, 1)
        mean_tail = self.shares @ self.class_tails
        forms = [*self.class_covariances, mean_within], [*self.class_tails, mean_tail]
        with one_blas_thread:
            *of_classes, within = [
                gaussian_integrals(np.linalg.eigvalsh(form), tail, self.x.n_rest, nodes).sum()
                for form, tail in zip(*forms, strict=True)
            ]
        total = gaussian_integrals(self.x.variances, self.x.tail, self.x.n_rest, nodes).sum()
        values = np.array([within - total, self.shares @ of_classes - within])
        return ControlMeans(0.5 * _LOG_STEP * values, np.zeros((2, 2)))


@dataclass(frozen=True, eq=False)
class ControlledMean:
    """Means over slices with the controls taken out; the first axis is over results.

    Parameters
    ----------
    values : array, shape (n_results,)
    slicing_errors : array, shape (n_results,)
        Standard errors, from the residuals and the errors of the controls' means; infinite for a
        single slice.
    """

    values: np.ndarray
    slicing_errors: np.ndarray


def controlled_mean(
    values: np.ndarray, controls: np.ndarray, means: ControlMeans
) -> ControlledMean:
    """Average values over independent slices, without the noise that controls explain.

    The regression coefficients are shrunk, first for the errors of the controls' means, then by
    1 - 1 / F, where F is the ratio of explained to unexplained variance per degree of freedom:
    controls that explain no more than chance are not used. The result is a weighted mean of the
    values, in which slices with unusual controls weigh more. Errors come from these weights and
    from the residual of each slice when the others explain it (MacKinnon and White 1985, "Some
    heteroskedasticity consistent covariance matrix estimators", HC3), since few slices may hold
    most of the value.

    Parameters
    ----------
    values : array, shape (n_results, n_slices)
        What was measured.
    controls : array, shape (n_controls, n_slices)
        The controls of the same slices.
    means : ControlMeans

    Returns
    -------
    ControlledMean
    """
    n_slices = values.shape[1]
    plain = values.mean(axis=1)
    coefficients = np.zeros((len(values), len(controls)))
    if n_slices == 1:
        return ControlledMean(plain, np.full(len(values), math.inf))
    control_means = controls.mean(axis=1)
    spreads = controls.std(axis=1)
    used = np.flatnonzero(spreads > _MIN_SPREAD)
    deviations = values - plain[:, None]
    weights, freedom = 1.0 / n_slices, 1.0 - 1.0 / n_slices
    n_free = n_slices - 1 - len(used)
    if len(used) and n_free >= _MIN_FREE:
        # In units of their spreads, so that no scale decides which of two like controls counts.
        scaled = (controls[used] - control_means[used, None]) / spreads[used, None]
        noise = means.covariance[np.ix_(used, used)] / np.outer(spreads[used], spreads[used])
        gram = scaled @ scaled.T + n_slices**2 * noise
        solved = np.linalg.lstsq(gram, scaled, rcond=_COLLINEAR)[0]
        slopes = deviations @ solved.T
        shrinkage = _shrinkage(deviations, slopes @ scaled, len(used), n_free)[:, None]
        slopes *= shrinkage
        deviations = deviations - slopes @ scaled
        coefficients[:, used] = slopes / spreads[used]
        offsets = (control_means - means.values)[used] / spreads[used]
        weights = weights - shrinkage * (offsets @ solved)
        freedom = np.maximum(freedom - shrinkage * (scaled * solved).sum(axis=0), _MIN_FREEDOM)
    variances = ((weights * deviations / freedom) ** 2).sum(axis=1)
    variances += np.einsum("ij,jk,ik->i", coefficients, means.covariance, coefficients)
    corrected = plain - coefficients @ (control_means - means.values)
    return ControlledMean(corrected, np.sqrt(variances))


def _shrinkage(deviations, fitted, n_used, n_free):
    """1 - c / F of each row, at least 0; c is nearly 1, and larger for few slices."""
    unexplained = ((deviations - fitted) ** 2).sum(axis=1) / n_free
    explained = ((deviations**2).sum(axis=1) - unexplained * n_free) / n_used
    caution = 1.0 + _CAUTION / n_free
    return np.maximum(1.0 - caution * unexplained / np.maximum(explained, SMALLEST), 0.0)


def _square_weights(coordinates):
    """The weights with which those products add up to the square of the slice."""
    leading = coordinates[:, :_QUARTIC_COMPONENTS]
    first, second = np.triu_indices(leading.shape[1])
    return leading[:, first] * leading[:, second] * np.where(first == second, 1.0, 2.0)


def _mean_logs_of_all_pairs(first, second):
    """-1/2 log(1 - r^2) of all pairs in each block of directions, r the inner product; its mean."""
    shape = (-1, _PAIRED_DIRECTIONS, first.shape[1])
    correlations = first.reshape(shape) @ second.reshape(shape).transpose(0, 2, 1)
    unexplained = np.maximum(1.0 - correlations**2, _MIN_UNEXPLAINED)
    # One logarithm of a product instead of many.
    products = unexplained.reshape(len(unexplained), _FACTORS, -1).prod(axis=1)
    return -0.5 * np.log(products).mean(axis=1) / _FACTORS


def _half_exact_mean(drawn, other, cross, n_directions, rng):
    """The mean of -1/2 log(1 - r^2), exact over one sphere, over directions drawn on the other.

    How it depends on the direction drawn is mostly explained by the variance of the slice and by
    the sum of its squared covariances. These are quadratic forms, whose means are known, and so
    serve as controls in turn.
    """
    blocks = [
        _mean_over_other(drawn, other, cross, rng)
        for _ in range(0, n_directions, _DIRECTIONS_PER_BLOCK)
    ]
    means, variances, squared_covariances = np.concatenate(blocks, axis=1)
    dim = len(drawn.basis)
    exact = ControlMeans(np.array([drawn.trace, (cross**2).sum()]) / dim, np.zeros((2, 2)))
    return controlled_mean(means[None], np.array([variances, squared_covariances]), exact)


def _mean_over_other(drawn, other, cross, rng):
    """The mean of -1/2 log(1 - r^2) over one sphere, for a block of directions on the other.

    With c the covariance of the drawn slice with the other side, divided by the deviation of the
    slice, 1 - r^2 is the ratio of the quadratic forms of B = S - cc' and S in the other direction.
    As in `LabelledControls.means`, the mean of its logarithm is an integral over log s, and
    det(1 + sB) = det(1 + sS) (1 - s c'(1 + sS)^-1 c).

    Returns
    -------
    array, shape (3, n_directions)
        The mean, the variance of the drawn slice, and its squared covariances, summed.
    """
    coordinates = drawn.draw(_DIRECTIONS_PER_BLOCK, rng)
    squares = (coordinates @ cross) ** 2
    variances = drawn.variance(coordinates)
    nodes = np.exp(_LOG_NODES) / other.trace
    explained = squares @ (nodes / (1.0 + np.outer(other.variances, nodes))) / variances[:, None]
    growth = 1.0 / np.sqrt(np.maximum(1.0 - explained, _MIN_UNEXPLAINED)) - 1.0
    weights = gaussian_integrals(other.variances, other.tail, other.n_rest, nodes)
    return np.array([0.5 * _LOG_STEP * growth @ weights, variances, squares.sum(axis=1)])
