"""Weighted Kozachenko-Leonenko estimator: entropies from distances to nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.line import class_ratios, line_distances
from ..kernels.moments import log_rows
from ..kernels.plane import plane_distances
from ..kernels.sorting import sort_rows
from ..validation import Labels, UnmeasurableError, as_generator, as_samples, check_count
from .base import Estimate, SliceEstimator, labelled_samples, paired_samples, samples_for
from .preparation import INFINITE, ZERO_DISTANCE, decorrelate, standardize, whiten, whiten_whole
from .weights import WEIGHT_RULES, check_rule, entropy_weights

__all__ = ["WKL", "sklearn_neighbors"]

# "brute" expands the square, with errors of about 1e-13 for whitened data: it may take the wrong
# one of two neighbours that are closer than this.
_MIN_DISTANCE_FOR_BRUTE = 1e-4


@dataclass(frozen=True)
class WKL(SliceEstimator):
    """Weighted Kozachenko-Leonenko estimator: entropies from nearest-neighbour distances.

    H(x) is the mean over the samples, and the weighted mean over j <= k, of
    log((n - 1) V_d r_j^d / exp(psi(j))), where r_j is the distance to the j-th neighbour, V_d the
    volume of the unit ball and psi the digamma function (Kozachenko and Leonenko 1987; Berrett,
    Samworth and Yuan 2019, eq. 3). Each block (x, y, the pair) is first whitened by its own sample
    covariance. Nothing is clipped at zero.

    Distances stand for densities. Values that repeat or are equally spaced (a grid, an index, times
    of measurement) are no sample of a density, and distort the estimate. `Copula` and `KSG` are
    fine with them.

    Parameters
    ----------
    k : int
        Number of neighbours, at least 1. More neighbours: less noise, more bias.
    weights : {"kth", "berrett", "mutinfo"} or tuple of these
        The rule of `neighbor_weights`. With a tuple, every method returns a dict by rule, all from
        the same neighbours.

    Examples
    --------
    >>> WKL(k=5).mutual_information(x, y)
    Estimate(value=..., std_error=...)
    """

    k: int = 5
    weights: str | tuple[str, ...] = "kth"

    def __post_init__(self):
        check_count(self.k, "k")
        if isinstance(self.weights, list):
            object.__setattr__(self, "weights", tuple(self.weights))
        if not self._rules:
            raise ValueError("weights=() names no rule; give at least one of " + str(WEIGHT_RULES))
        for rule in self._rules:
            check_rule(rule)

    @property
    def min_samples(self) -> int:
        """One more than neighbours."""
        return self.k + 1

    @property
    def _rules(self):
        return tuple(self.weights) if isinstance(self.weights, tuple) else (self.weights,)

    def by_rule(self, results: Sequence[Any]) -> Any:
        """One result if `weights` is one rule, a dict by rule if it is a tuple."""
        if isinstance(self.weights, str):
            return results[0]
        return dict(zip(self._rules, results, strict=True))

    def entropy(self, x: Any, *, rng: Any = None) -> Any:
        """Differential entropy of continuous data.

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, d).
        rng : Generator, int or None
            Tells equal samples apart; not used if there are none.

        Returns
        -------
        Estimate, or dict of Estimate by rule

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric or not finite, has fewer than k + 1 samples, or lies in fewer
            than d dimensions (its entropy is minus infinity).
        """
        samples = samples_for(self, as_samples(x, "x"), "x", as_generator(rng))
        white, log_scale = whiten_whole(samples.values)
        return self._estimates(self._entropy_terms(white) + log_scale)

    def mutual_information(self, x: Any, y: Any, *, rng: Any = None) -> Any:
        """Mutual information of two continuous variables, H(x) + H(y) - H(x, y).

        Parameters
        ----------
        x, y : array-like, shapes (n, ...)
            Paired samples, flattened to (n, d).
        rng : Generator, int or None
            As for `entropy`.

        Returns
        -------
        Estimate, or dict of Estimate by rule

        Raises
        ------
        ValueError, TypeError
            If the data are not numeric, finite and paired, have fewer than k + 1 samples or no
            spread; if y looks like labels; if a combination of x and one of y agree exactly (the
            mutual information is infinite).
        """
        pair = paired_samples(self, x, y, as_generator(rng).spawn(2))
        blocks = [whiten(samples.values)[0] for samples in pair]
        joint = np.hstack(blocks)
        white, log_scale = whiten(joint)
        if white.shape[1] < joint.shape[1]:
            raise UnmeasurableError(INFINITE)
        terms = sum(map(self._entropy_terms, blocks)) - self._entropy_terms(white)
        return self._estimates(terms - log_scale)

    def mutual_information_labels(self, x: Any, labels: Any, *, rng: Any = None) -> Any:
        """Mutual information of continuous data and labels, H(x) - sum over classes p H(x | class).

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, d).
        labels : array-like, shape (n,)
            One class per sample, of any hashable kind.
        rng : Generator, int or None
            As for `entropy`.

        Returns
        -------
        Estimate, or dict of Estimate by rule

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric or not finite, is not paired with `labels` or has no spread; if a
            class has fewer than k + 1 samples, or no spread in a direction in which x has some.
        """
        samples, labels = labelled_samples(self, x, labels, as_generator(rng))
        x = whiten(samples.values)[0]
        terms = self._entropy_terms(x)
        for code, name in enumerate(labels.names):
            members = labels.codes == code
            white, log_scale = whiten(x[members])
            if white.shape[1] < x.shape[1]:
                raise UnmeasurableError(
                    f"class {name!r} varies in {white.shape[1]} of the {x.shape[1]} directions in "
                    f"which x varies, so I(x; labels) is infinite; reduce x to fewer dimensions or "
                    f"add noise"
                )
            terms[:, members] -= self._entropy_terms(white) + log_scale
        return self._estimates(terms)

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms, shape (n_rules, n_slices, n); see `SliceEstimator.slice_terms`."""
        n_slices, n = x.shape
        neighbors, weights, constants = entropy_weights(self._rules, self.k, 1)
        pair_neighbors, pair_weights, pair_constants = entropy_weights(self._rules, self.k, 2)
        constants = 2.0 * constants - pair_constants + math.log(n - 1.0)
        # x and y in one call: threads wait for each other before every call.
        both = standardize(np.concatenate([x, y]))
        values, order = sort_rows(both)
        lines = line_distances(values, order, neighbors)
        lines = lines[:, :n_slices] * lines[:, n_slices:]
        residual, log_scale = decorrelate(both[:n_slices], both[n_slices:])
        squares = plane_distances(both[:n_slices], residual, order[:n_slices], pair_neighbors)
        if np.array_equal(neighbors, pair_neighbors) and np.array_equal(weights, pair_weights):
            # One logarithm is enough, since all three share their weights.
            lines /= squares
            terms = _weigh(weights, np.log(lines, out=lines))
        else:
            terms = _weigh(weights, np.log(lines)) - _weigh(pair_weights, np.log(squares))
        terms += (constants[:, None] - log_scale)[:, :, None]
        return terms

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """Pointwise terms, (n_rules, n_slices, n); see `SliceEstimator.slice_terms_labels`."""
        neighbors, weights, _ = entropy_weights(self._rules, self.k, 1)
        # In one dimension every rule puts all weight on one neighbour.
        ranks = neighbors[weights.argmax(axis=1)]
        # They are read in random order, which is the faster the fewer bytes they have.
        codes = labels.codes.astype(np.min_scalar_type(len(labels.sizes) - 1))
        ratios = class_ratios(*sort_rows(x), codes, labels.sizes, ranks)
        shift = math.log(x.shape[1] - 1.0) - np.log(labels.sizes - 1.0)
        terms = np.empty(ratios.shape)
        log_rows(ratios, shift[labels.codes], terms)
        return terms

    def _entropy_terms(self, white):
        """Pointwise entropies of whitened data (n, d), shape (n_rules, n)."""
        n, dim = white.shape
        neighbors, weights, constants = entropy_weights(self._rules, self.k, dim)
        with np.errstate(divide="ignore"):
            if dim == 1:
                logs = np.log(line_distances(*sort_rows(white.T), neighbors)[:, 0])
            elif dim == 2:
                u, v = np.ascontiguousarray(white.T)[:, None]
                logs = 0.5 * np.log(plane_distances(u, v, sort_rows(u)[1], neighbors)[:, 0])
            else:
                logs = np.log(_space_distances(white, self.k)[neighbors - 1])
        if not np.isfinite(logs).all():
            raise UnmeasurableError(ZERO_DISTANCE)
        constants = constants + weights.sum(axis=1) * math.log(n - 1.0)
        return dim * (weights @ logs) + constants[:, None]

    def _estimates(self, terms):
        return self.by_rule([Estimate.of_terms(row) for row in terms])


def _space_distances(x, k):
    """Distances to the 1st..k-th neighbours, shape (k, n), in three dimensions or more."""
    # Above 6 dimensions, trees prune too little (measured for 1,000 to 10,000 normal samples).
    if x.shape[1] > 6:
        neighbors = _neighbors(x, k, "brute")
        distances = np.sort([np.linalg.norm(x - x[nearest], axis=1) for nearest in neighbors], 0)
        if distances.min() > _MIN_DISTANCE_FOR_BRUTE:
            return distances
    return np.array([np.linalg.norm(x - x[i], axis=1) for i in _neighbors(x, k, "kd_tree")])


def _neighbors(x, k, algorithm):
    search = sklearn_neighbors().NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(x)
    return search.kneighbors(return_distance=False).T


def sklearn_neighbors() -> Any:
    """The module `sklearn.neighbors`, imported when it is first used."""
    # Its import takes two thirds of a second, and slices do not need it.
    import sklearn.neighbors

    return sklearn.neighbors


def _weigh(weights, logs):
    """Weighted sums over the neighbours: (n_rules, n_neighbours) x (n_neighbours, ...)."""
    if weights.size == 1:  # and the sum is 1
        return logs
    return np.tensordot(weights, logs, axes=1)
