"""Slices of more than one dimension: their sizes, chosen frames, and what covariances predict.

k-sliced mutual information projects x and y on frames of k orthonormal rows, uniform on the
Stiefel manifold (Goldfeld, Greenewald, Nuradha and Reeves 2022, "k-Sliced mutual information: a
quantitative study of scalability with dimension", definition 1). A slice of k dimensions is a
block of k rows, and an estimator measures it by its form for many dimensions.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .control_variates import ControlMeans
from .estimators import SliceEstimator
from .parallel import one_blas_thread
from .slicing import (
    Chunk,
    LabelledSlices,
    PairedSlices,
    independent_frames,
    orthonormal_rows,
    slices_counted_from,
)
from .subspaces import centred_rows, chosen_rows, with_floor
from .validation import Labels, Samples, UnmeasurableError, check_count

__all__ = [
    "FrameControls",
    "LabelledFrames",
    "PairedFrames",
    "as_slice_dims",
    "canonical_directions",
    "check_measures_frames",
    "normal_information",
    "principal_directions",
    "project_frames",
]

# Samples per principal component that canonical correlations may use: with fewer, the largest
# correlation is one of noise.
_SAMPLES_PER_COMPONENT = 10
# Components with less than this part of the largest variance count as constant.
_MIN_VARIANCE = 1e-12
# Columns that vary by less, relative to their mean or to the widest column, keep their scale.
_ROUNDING, _MIN_SCALE = 1e-15, 1e-100
# Frames whose mean stands for the mean over all frames; wider data have no control.
_CONTROL_FRAMES, _FRAMES_PER_BLOCK = 2**14, 2**10
_MAX_CONTROLLED_WIDTH = 128


@dataclass(frozen=True, eq=False)
class PairedFrames(PairedSlices):
    """Slices of two continuous variables, blocks of (n_slices, k, n).

    A side that is not sliced has one block, for all slices.
    """

    def fitted(
        self, estimator: SliceEstimator, chunks: Iterator[Chunk]
    ) -> tuple[SliceEstimator, Iterator[Chunk]]:
        """The estimator and the chunks as they are."""
        return estimator, chunks

    @staticmethod
    def terms(estimator: SliceEstimator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimator's pointwise terms of slices, (n_results, n_slices, n)."""
        n_slices = max(len(x), len(y))
        pairs = zip(_repeated(x, n_slices), _repeated(y, n_slices), strict=True)
        return _joined(lambda a, b: estimator.mutual_information(a.T, b.T), pairs)  # type: ignore

    @staticmethod
    def statistics(estimator: SliceEstimator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimates, (n_results, 1, n_slices)."""
        return PairedFrames.terms(estimator, x, y).mean(axis=-1)[:, None]


@dataclass(frozen=True, eq=False)
class LabelledFrames(LabelledSlices):
    """Slices of one continuous variable, blocks of (n_slices, k, n), and the labels."""

    @staticmethod
    def terms(estimator: SliceEstimator, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The estimator's pointwise terms of slices, (n_results, n_slices, n)."""
        measure = estimator.mutual_information_labels  # type: ignore
        return _joined(lambda block: measure(block.T, labels.codes), zip(x))

    @staticmethod
    def statistics(estimator: SliceEstimator, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The estimates, (n_results, 1, n_slices)."""
        return LabelledFrames.terms(estimator, x, labels).mean(axis=-1)[:, None]


def _repeated(blocks, n_slices):
    return np.broadcast_to(blocks, (n_slices, *blocks.shape[1:]))


def _joined(measure, blocks):
    """Pointwise terms of one result per slice, or of one dict of results by rule."""
    slices = []
    for i, of_slice in enumerate(blocks):
        with slices_counted_from(i):
            result = measure(*of_slice)
        by_rule = result.values() if isinstance(result, dict) else [result]
        slices.append([_terms_of(estimate) for estimate in by_rule])
    return np.swapaxes(np.array(slices), 0, 1)


def _terms_of(estimate):
    terms = getattr(estimate, "pointwise", np.empty(0))
    return terms if len(terms) else np.array([float(estimate)])


def project_frames(samples: Samples, frames: np.ndarray | None) -> np.ndarray:
    """Blocks of projections, (n_frames, k, n); without frames the samples themselves, (1, dim, n).

    Parameters
    ----------
    samples : Samples
    frames : array, shape (n_frames, k, dim), or None
    """
    if frames is None:
        return samples.values.T[None]
    n_frames, k, dim = frames.shape
    return samples.project(frames.reshape(-1, dim)).reshape(n_frames, k, len(samples))


def as_slice_dims(
    slice_dims: Any, dim_x: int, dim_y: int | None, n_samples: int
) -> tuple[int, int]:
    """The dimensions of slices of x and of y; None means all, and labels count as one.

    Parameters
    ----------
    slice_dims : int, or pair of int or None
    dim_x, dim_y : int
        `dim_y` is None where y has labels.
    n_samples : int

    Raises
    ------
    ValueError, TypeError
        If `slice_dims` is none of these, is more than the dimensions or too many for the samples,
        or asks for slices of labels.
    """
    is_count = isinstance(slice_dims, numbers.Integral) and not isinstance(slice_dims, bool)
    if not is_count and not (isinstance(slice_dims, (tuple, list)) and len(slice_dims) == 2):
        raise TypeError(
            f"slice_dims={slice_dims!r}; give a whole number, or two of them as (k_x, k_y), with "
            f"None for a side that is not to be sliced"
        )
    k_x, k_y = (slice_dims, slice_dims) if is_count else slice_dims
    arguments = ("slice_dims",) * 2 if is_count else ("slice_dims[0]", "slice_dims[1]")
    k_x = _slice_dim(k_x, dim_x, "x", arguments[0])
    if dim_y is not None:
        k_y = _slice_dim(k_y, dim_y, "y", arguments[1])
    elif is_count or k_y is None or tuple(slice_dims) == (1, 1):
        k_y = 1
    else:
        raise ValueError(
            f"slice_dims={slice_dims!r}, but y has labels, which are not sliced; give "
            f"slice_dims={k_x}, for x alone"
        )
    if (k_x, k_y) != (1, 1) and n_samples <= k_x + k_y:
        raise UnmeasurableError(
            f"slice_dims={slice_dims!r} makes slices of {k_x} and {k_y} dimensions, too many for "
            f"{n_samples} samples; give at least {k_x + k_y + 1} samples, or lower slice_dims"
        )
    return k_x, k_y


def _slice_dim(k, dim, name, argument):
    if k is None:
        return dim
    k = check_count(k, argument)
    if k > dim:
        raise ValueError(
            f"{argument}={k}, but {name} has {dim} dimensions; give at most {dim}, or None, which "
            f"leaves {name} as it is"
        )
    return k


def check_measures_frames(estimator: SliceEstimator, *, y_discrete: bool) -> None:
    """Raise TypeError if the estimator has no form for more than one dimension."""
    method = "mutual_information_labels" if y_discrete else "mutual_information"
    if not hasattr(estimator, method):
        raise TypeError(
            f"estimator={estimator!r} measures slices of one dimension only; leave slice_dims at "
            f"(1, 1), use KSG(), WKL() or Copula(), or give it a method {method}(x, y) that "
            f"returns an Estimate"
        )


def principal_directions(samples: Samples, k: int, name: str) -> np.ndarray:
    """The directions of the k largest variances, orthonormal rows, (k, dim).

    Raises
    ------
    UnmeasurableError
        If there are fewer samples, or the samples vary in fewer directions.
    """
    components, variances = _components(samples, k)
    _check_directions(len(variances), k, name)
    return components


def canonical_directions(
    x: Samples, y: Samples, slice_dims: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The directions of the leading canonical correlations, (k_x, dim_x) and (k_y, dim_y).

    From the singular vectors of the covariance of principal components of unit variance (Hotelling
    1936, "Relations between two sets of variates"). At most one component per ten samples is used,
    unless more directions are asked for. A side that asks for more directions than there are
    correlations gets arbitrary others. Several directions of one side are made orthonormal, which
    leaves the space that they span, and so the information in it, as it is.

    Raises
    ------
    UnmeasurableError
        If there are fewer components than asked for.
    """
    whitenings, scores = [], []
    for samples, k, name in zip((x, y), slice_dims, "xy", strict=True):
        most = max(k, len(samples) // _SAMPLES_PER_COMPONENT)
        # With all components units do not matter, and none of the columns is lost in rounding.
        scales = _scales(samples) if samples.dim <= most else np.ones(samples.dim)
        components, variances = _components(samples, min(samples.dim, most), scales)
        _check_directions(len(variances), k, name)
        whitenings.append(components / np.sqrt(variances)[:, None] / scales)
        projections = samples.project(whitenings[-1])
        scores.append(projections / np.abs(projections).max())
    with one_blas_thread:
        left, _, right = np.linalg.svd(scores[0] @ scores[1].T)
        theta, phi = left.T[: slice_dims[0]] @ whitenings[0], right[: slice_dims[1]] @ whitenings[1]
    return orthonormal_rows(theta.T), orthonormal_rows(phi.T)


def _scales(samples):
    """How far each column goes, relative to the widest; 1 if it varies by no more than rounding."""
    largest = np.abs(samples.values - samples.center).max(axis=0)
    if not largest.any():
        return np.ones(samples.dim)
    relative = largest / largest.max()
    varies = (largest > _ROUNDING * np.abs(samples.center)) & (relative > _MIN_SCALE)
    return np.where(varies, relative, 1.0)


def _components(samples, k, scales=1.0):
    """Principal components that have variance, k at most, and their relative variances."""
    # Its import takes two thirds of a second, and most calls do not need it.
    from sklearn.decomposition import PCA

    centred = (samples.values - samples.center) / scales
    largest = np.abs(centred).max()
    if largest == 0:
        return np.empty((0, samples.dim)), np.empty(0)
    centred /= largest  # squares of very small numbers are 0
    with one_blas_thread:
        pca = PCA(n_components=min(k, len(samples)), random_state=0).fit(centred)
    variances = pca.explained_variance_
    kept = variances > _MIN_VARIANCE * variances[0]
    return pca.components_[kept].astype(float), variances[kept].astype(float)


def _check_directions(n_directions, k, name):
    if n_directions < k:
        raise UnmeasurableError(
            f"{name} varies in only {n_directions} directions, but slice_dims asks for {k}; lower "
            f"slice_dims or give more samples"
        )


def normal_information(
    theta: np.ndarray | None,
    phi: np.ndarray | None,
    x_covariance: np.ndarray,
    y_covariance: np.ndarray,
    cross: np.ndarray,
) -> np.ndarray:
    """The mutual information of projections of normal data, in nats, one value per pair of frames.

    1/2 (log det A + log det B - log det of both together), A and B the covariances of the
    projections.

    Parameters
    ----------
    theta, phi : array, shape (n_frames, k, dim), or None for a side that is not projected
    x_covariance, y_covariance, cross : array
        Shapes (dim_x, dim_x), (dim_y, dim_y) and (dim_x, dim_y).

    Returns
    -------
    array, shape (n_frames,)
    """
    if theta is None:
        theta = np.eye(len(x_covariance))[None]
    if phi is None:
        phi = np.eye(len(y_covariance))[None]
    a = theta @ x_covariance @ np.swapaxes(theta, 1, 2)
    b = phi @ y_covariance @ np.swapaxes(phi, 1, 2)
    c = theta @ cross @ np.swapaxes(phi, 1, 2)
    # Of the residual of y, whose determinant is that of both over that of x.
    residual = b - np.swapaxes(c, 1, 2) @ np.linalg.solve(a, c)
    return 0.5 * (np.linalg.slogdet(b)[1] - np.linalg.slogdet(residual)[1])


@dataclass(frozen=True, eq=False)
class FrameControls:
    """One control of slices of several dimensions: the information of normal data.

    Parameters
    ----------
    x_covariance, y_covariance, cross : array
        As for `normal_information`.
    slice_dims : two int
    """

    x_covariance: np.ndarray
    y_covariance: np.ndarray
    cross: np.ndarray
    slice_dims: tuple[int, int]

    @classmethod
    def of_samples(
        cls,
        x: Samples,
        y: Samples,
        slice_dims: tuple[int, int],
        n_slices: int,
        *,
        rng: np.random.Generator,
    ) -> FrameControls | None:
        """Covariances of paired samples, or of some of their rows; None for wide data.

        Parameters are those of `PairedControls.of_samples`.
        """
        if max(x.dim, y.dim) > _MAX_CONTROLLED_WIDTH:
            return None
        chosen = chosen_rows(len(x), max(x.dim, y.dim), n_slices, rng)
        x_rows, y_rows = centred_rows(x, chosen), centred_rows(y, chosen)
        n = len(x_rows)
        with one_blas_thread:
            return cls(
                with_floor(x_rows.T @ x_rows / n),
                with_floor(y_rows.T @ y_rows / n),
                x_rows.T @ y_rows / n,
                slice_dims,
            )

    def of_slices(self, theta: np.ndarray | None, phi: np.ndarray | None) -> np.ndarray:
        """The control of slices, (1, n_slices), in nats."""
        covariances = self.x_covariance, self.y_covariance, self.cross
        return normal_information(theta, phi, *covariances)[None]

    def means(self, *, rng: np.random.Generator) -> ControlMeans:
        """Its mean over all frames, from 16,384 of them that `rng` draws, and the error of that."""
        blocks = []
        with one_blas_thread:
            for _ in range(0, _CONTROL_FRAMES, _FRAMES_PER_BLOCK):
                frames = [
                    independent_frames(dim, _FRAMES_PER_BLOCK, rng, k)
                    for dim, k in zip(self.cross.shape, self.slice_dims, strict=True)
                ]
                blocks.append(self.of_slices(*frames)[0])
        values = np.concatenate(blocks)
        return ControlMeans(values.mean(keepdims=True), np.array([[values.var() / len(values)]]))
