"""Closed forms of the normal distribution with the sample's covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma

from ..validation import Labels, UnmeasurableError, as_generator, as_samples
from .base import Estimate, SliceEstimator, labelled_samples, paired_samples, samples_for
from .preparation import INFINITE, decorrelate, standardize, whiten, whiten_whole

__all__ = ["Gaussian"]

# The least variance of a class, where x has unit variance: less is rounding errors.
_MIN_CLASS_VARIANCE = 1e-24


@dataclass(frozen=True)
class Gaussian(SliceEstimator):
    """Closed forms of the normal distribution with the sample's covariance.

    It sees linear dependence alone. On Gaussian data it is the best there is; on other data it is
    the information that correlation explains.

    With labels, a normal distribution is fitted to each class, and x has the mixture of these:
    I = mean of log(N_c(x) / sum over classes p N(x)), c the class of the sample (Wongso et al.
    2023, "Pointwise sliced mutual information for neural network explainability"). It sees how
    classes differ in mean and variance and is blind to any other difference, such as that between
    two clusters and one normal distribution of the same variance. It cannot exceed the entropy of
    the labels. Its expectation on independent samples, about (number of classes - 1) / n in one
    dimension, is known in closed form and subtracted.
    """

    ties = "keep"

    def entropy(self, x: Any, *, rng: Any = None) -> Estimate:
        """Entropy of the fitted normal distribution, 1/2 log det(2 pi e C).

        Parameters and errors as for `WKL.entropy`; `rng` is not used.
        """
        samples = samples_for(self, as_samples(x, "x"), "x", as_generator(rng))
        white, log_scale = whiten_whole(samples.values)
        constant = 0.5 * white.shape[1] * math.log(2.0 * math.pi) + log_scale
        return Estimate.of_terms(constant + 0.5 * (white**2).sum(axis=1))

    def mutual_information(self, x: Any, y: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of the fitted normal distribution.

        -1/2 log(det C / (det C_x det C_y)); parameters and errors as for
        `WKL.mutual_information`; `rng` is not used.
        """
        pair = paired_samples(self, x, y, as_generator(rng).spawn(2))
        x, y = (whiten(samples.values)[0] for samples in pair)
        white, log_scale = whiten(np.hstack([x, y]))
        if white.shape[1] < x.shape[1] + y.shape[1]:
            raise UnmeasurableError(INFINITE)
        squares = [(block**2).sum(axis=1) for block in (x, y, white)]
        return Estimate.of_terms(0.5 * (squares[0] + squares[1] - squares[2]) - log_scale)

    def mutual_information_labels(self, x: Any, labels: Any, *, rng: Any = None) -> Estimate:
        """Mutual information of normal classes and their labels.

        Parameters and errors as for `WKL.mutual_information_labels`; `rng` is not used. A class
        needs more samples than there are directions in which x varies.
        """
        samples, labels = labelled_samples(self, x, labels, as_generator(rng))
        white = whiten(samples.values)[0]
        dim = white.shape[1]
        logs = np.empty((len(labels.sizes), len(white)))
        for code, name in enumerate(labels.names):
            own = white[labels.codes == code]
            center = own.mean(axis=0)
            covariance = (own - center).T @ (own - center) / len(own)
            variances, axes = np.linalg.eigh(covariance)
            if len(own) <= dim or variances[0] < _MIN_CLASS_VARIANCE:
                raise UnmeasurableError(_flat_class(name))
            squares = (((white - center) @ axes) ** 2 / variances).sum(axis=1)
            logs[code] = -0.5 * (squares + np.log(variances).sum())
        terms = _class_terms(logs[:, None], labels)[0] - _labels_bias(labels.sizes, dim)
        return Estimate.of_terms(terms)

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms`."""
        x, y = standardize(x), standardize(y)
        residual, log_scale = decorrelate(x, y)
        return (0.5 * (y**2 - residual**2) - log_scale[:, None])[None]

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """Pointwise terms, shape (1, n_slices, n); see `SliceEstimator.slice_terms_labels`."""
        x = standardize(x)
        logs = _class_logs(x, labels, x)
        return (_class_terms(logs, labels) - _labels_bias(labels.sizes, 1))[None]

    def slice_class_terms(
        self, values: np.ndarray, order: np.ndarray, labels: Labels, points: np.ndarray
    ) -> np.ndarray:
        """Pointwise terms of new points; see `SliceEstimator.slice_class_terms`.

        Fitted densities lose on new samples what they gain on those that they were fitted to.
        """
        center, scale = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
        x = np.empty(values.shape)
        np.put_along_axis(x, order, (values - center) / scale, axis=1)
        logs = _class_logs(x, labels, (points - center) / scale)
        terms = logs - _log_mixture(logs, labels) + _labels_bias(labels.sizes, 1)
        return terms.transpose(1, 0, 2)


def _class_logs(x, labels, points):
    """Log-densities at points, but for a constant, (n_classes, n_slices, n_points)."""
    logs = np.empty((len(labels.sizes), *points.shape))
    for code, name in enumerate(labels.names):
        own = x[:, labels.codes == code]
        means, variances = own.mean(axis=1, keepdims=True), own.var(axis=1, keepdims=True)
        if variances.min() < _MIN_CLASS_VARIANCE:
            raise UnmeasurableError(_flat_class(name))
        np.subtract(points, means, out=logs[code])
        logs[code] *= logs[code]
        logs[code] *= -0.5 / variances
        logs[code] -= 0.5 * np.log(variances)
    return logs


def _class_terms(logs, labels):
    """Log-density of each sample's own class less that of the mixture, (n_slices, n)."""
    return logs[labels.codes, :, np.arange(len(labels))].T - _log_mixture(logs, labels)


def _log_mixture(logs, labels):
    largest = logs.max(axis=0)
    ratios = np.exp(logs - largest)
    return largest + np.log(np.tensordot(labels.sizes / len(labels), ratios, axes=1))


def _labels_bias(sizes, dim):
    """The expectation of the terms where all classes have the same normal distribution.

    Up to terms of higher order, the mixture is then the normal distribution fitted to all samples.
    """
    shares = sizes / sizes.sum()
    return 0.5 * (_log_det_bias(sizes.sum(), dim) - shares @ _log_det_bias(sizes, dim))


def _log_det_bias(n, dim):
    """Mean log-determinant of the covariance of n samples, less that of the distribution.

    The determinant is a product of independent chi-squared variables (Anderson 2003, "An
    Introduction to Multivariate Statistical Analysis", theorem 7.5.3).
    """
    degrees = np.asarray(n)[..., None] - np.arange(1, dim + 1)
    return (digamma(0.5 * degrees) - np.log(0.5 * np.asarray(n))[..., None]).sum(axis=-1)


def _flat_class(name):
    return (
        f"class {name!r} varies in fewer directions than x does, so I(x; labels) is infinite; "
        f"reduce x to fewer dimensions or add noise"
    )
