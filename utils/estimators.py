"""Entropy and mutual information from samples, in nats.

Every estimator here is an average over the samples of one term each (its *pointwise* terms), so
that a standard error, and a sliced average that keeps the samples apart, come without more work.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from scipy.special import digamma, gammaln

from .chebyshev import line_counts, plane_counts
from .neighbors import (
    class_distances,
    class_ratios,
    line_distances,
    plane_distances,
    sort_rows,
)
from .slicing import center_of, one_blas_thread, project
from .validation import (
    UnmeasurableError,
    as_continuous,
    as_generator,
    as_labels,
    as_samples,
    check_count,
    check_neighbors,
    check_paired,
    check_spread,
)

__all__ = ["KSG", "WKL", "Estimate", "Gaussian", "berrett_weights", "neighbor_weights"]

WEIGHT_RULES = ("kth", "berrett", "mutinfo")
_LARGEST_NORM = 10.0
# Numbers in a block of slices: its arrays stay in the cache.
_BLOCK = 2**16
# The GNU allocator gives arrays back to the system and fetches them anew, which takes longer than
# using them, unless it has seen one of their size go: 16 megabytes, which are never touched.
np.empty(2**21)
# Gaps under this part of the spread count as ties: more than rounding leaves between the
# projections of equal rows, and less than continuous data show at any size that fits in memory.
_TIE_GAP = 1e-11
# So much that, in a heap of thousands of equal values, no two come out equal again.
_TIE_NOISE = 1e-7
_TIE_SHARE = 0.01
_SMALLEST_VARIANCE = 1e-200
# "brute" expands the square, with errors of about 1e-13 for whitened data: it may take the wrong
# one of two neighbours that are closer than this.
_SHORTEST_FOR_BRUTE = 1e-4
# Directions with less variance than this, in correlation units, count as having none.
_NO_VARIANCE = 1e-12

_SMALLEST, _LARGEST = np.finfo(float).tiny, np.finfo(float).max
_LOG_2 = math.log(2.0)
_BITS_OF_ROOT_OF_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))

# Sums in any order, so that a vector's lanes can share them; the same order every time.
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
# A product and a sum in one step.
_fused = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@dataclass(frozen=True)
class Estimate:
    """An estimate in nats, and its standard error over the choice of samples.

    Parameters
    ----------
    value : float
    std_error : float
        The spread of the pointwise terms over the root of their number. Bias is not in it. Nor is
        the correlation of terms whose samples are each other's neighbours: on independent normal
        data the true spread is 1.07 times this for k = 1 and 1.4 times for k = 5 or more.
    """

    value: float
    std_error: float


# --------------------------------------------------------------------------------------- weights


def berrett_weights(k: int, dim: int) -> np.ndarray:
    """Weights of the nearest neighbours that cancel the leading bias terms of the entropy.

    The class of Berrett, Samworth and Yuan 2019 ("Efficient multivariate entropy estimation via
    k-nearest neighbour distances", eq. 2): the weights sum to 1, give 0 against
    Gamma(j + 2l/d) / Gamma(j) for l = 1..floor(d/4), and are 0 unless j is one of floor(k/d),
    floor(2k/d), ..., k. Of that class, the member of least Euclidean norm.

    Parameters
    ----------
    k : int
        Number of neighbours, at least 1.
    dim : int
        Dimension of the data, at least 1.

    Returns
    -------
    array, shape (k,)
        The weight of the first, second, ..., k-th neighbour.

    Raises
    ------
    ValueError
        If `k` is too small for `dim`: the class is empty, or noise would be multiplied by more
        than 10 (the 1-norm of the weights).
    """
    k, dim = check_count(k, "k"), check_count(dim, "dim")
    support = np.unique([i * k // dim for i in range(1, dim + 1)])
    support = support[support > 0]
    rows = np.vstack([np.ones(len(support)), _gamma_rows(support, dim)])
    target = np.zeros(len(rows))
    target[0] = 1.0
    found = np.linalg.lstsq(rows, target, rcond=1e-12)[0]
    remedy = "use weights='kth', which is defined for every k and dimension"
    if not np.allclose(rows @ found, target, atol=1e-8):
        raise ValueError(
            f"k={k} neighbours cannot cancel the {dim // 4} bias terms in dimension "
            f"{dim}: no weights exist; {remedy}"
        )
    norm = np.abs(found).sum()
    if norm > _LARGEST_NORM:
        raise ValueError(
            f"k={k} is too small for dimension {dim}: the weights multiply noise by "
            f"their 1-norm of {norm:.3g}, more than {_LARGEST_NORM:g}; {remedy}"
        )
    weights = np.zeros(k)
    weights[support - 1] = found
    return weights


def neighbor_weights(rule: str, k: int, dim: int) -> np.ndarray:
    """The weights of the k nearest neighbours in `dim` dimensions under a named rule.

    Parameters
    ----------
    rule : {"kth", "berrett", "mutinfo"}
        "kth": all on neighbour k. "berrett": see `berrett_weights`. "mutinfo": as the library
        behind the published figures has them; all on the *first* neighbour up to 4 dimensions,
        above a least-squares solution whose 1-norm grows to tens of thousands.
    k, dim : int
        At least 1.

    Returns
    -------
    array, shape (k,)

    Raises
    ------
    ValueError, TypeError
        If the rule is unknown, or `berrett_weights` raises.
    """
    k, dim = check_count(k, "k"), check_count(dim, "dim")
    _check_rule(rule)
    weights = np.zeros(k)
    if rule == "kth":
        weights[k - 1] = 1.0
    elif rule == "berrett":
        weights = berrett_weights(k, dim)
    elif dim <= 4:
        weights[0] = 1.0
    else:
        neighbors = np.arange(1, k + 1)
        gamma_rows = _gamma_rows(neighbors, dim)
        gamma_rows /= np.linalg.norm(gamma_rows, axis=1, keepdims=True)
        excluded = ~np.isin(neighbors, [i * k // dim for i in range(1, dim + 1)])
        rows = np.vstack([np.full(k, 1.0 / k), gamma_rows, np.eye(k)[excluded]])
        target = np.zeros(len(rows))
        target[0] = 1.0 / k
        weights = np.linalg.lstsq(rows, target, rcond=1e-6)[0]
    return weights


def _check_rule(rule):
    if not isinstance(rule, str) or rule not in WEIGHT_RULES:
        raise ValueError(f"weights={rule!r} is unknown; choose among {WEIGHT_RULES}")


def _gamma_rows(neighbors, dim):
    powers = 2.0 * np.arange(1, dim // 4 + 1)[:, None] / dim
    return np.exp(gammaln(neighbors + powers) - gammaln(neighbors))


@cache
def _weighting(rules, k, dim):
    """Neighbours that any rule weighs, the weights (n_rules, n_neighbours), a constant a rule.

    The constant holds all of the entropy that does not depend on the data, except log(n - 1).
    """
    weights = np.array([neighbor_weights(rule, k, dim) for rule in rules])
    used = np.abs(weights).max(axis=0) > 0
    log_ball = 0.5 * dim * math.log(math.pi) - gammaln(0.5 * dim + 1.0)
    constants = log_ball * weights.sum(axis=1) - weights @ digamma(np.arange(1, k + 1))
    return np.flatnonzero(used) + 1, weights[:, used], constants


# ------------------------------------------------------------------------------------ estimators


@dataclass(frozen=True)
class WKL:
    """Weighted Kozachenko-Leonenko estimator: entropies from nearest-neighbour distances.

    H(x) is the mean over the samples, and the weighted mean over j <= k, of
    log((n - 1) V_d r_j^d / exp(psi(j))), where r_j is the distance to the j-th neighbour, V_d the
    volume of the unit ball and psi the digamma function (Kozachenko and Leonenko 1987; Berrett,
    Samworth and Yuan 2019, eq. 3). Each block (x, y, the pair) is first whitened by its own sample
    covariance. Nothing is clipped at zero.

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
            _check_rule(rule)

    @property
    def _rules(self):
        return tuple(self.weights) if isinstance(self.weights, tuple) else (self.weights,)

    def by_rule(self, results):
        """One result if `weights` is one rule, a dict by rule if it is a tuple."""
        if isinstance(self.weights, str):
            return results[0]
        return dict(zip(self._rules, results, strict=True))

    def entropy(self, x, *, rng=None):
        """Differential entropy of continuous data.

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, d).
        rng : Generator, int or None
            Tells equal samples apart; without them it is not used.

        Returns
        -------
        Estimate, or dict of Estimate by rule

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric or not finite, has fewer than k + 1 samples, or lies in fewer
            than d dimensions (its entropy is minus infinity).
        """
        x = self._samples(x, "x", as_generator(rng))
        white, log_scale = _whiten(x)
        if white.shape[1] < x.shape[1]:
            raise ValueError(
                f"x has {x.shape[1]} columns but varies in {white.shape[1]} directions only, so it "
                f"has no density; drop columns that are constant or combinations of others"
            )
        return self._estimates(self._entropy_terms(white) + log_scale)

    def mutual_information(self, x, y, *, rng=None):
        """Mutual information of two continuous variables, H(x) + H(y) - H(x, y).

        Parameters
        ----------
        x, y : array-like, shapes (n, ...)
            Paired samples, flattened to (n, d).
        rng : Generator, int or None
            Tells equal samples apart; without them it is not used.

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
        x_rng, y_rng = as_generator(rng).spawn(2)
        x, y = as_samples(x, "x"), as_continuous(y, "y")
        check_paired(x, y)
        x = _whiten(self._samples(x, "x", x_rng))[0]
        y = _whiten(self._samples(y, "y", y_rng))[0]
        pair = np.hstack([x, y])
        white, log_scale = _whiten(pair)
        if white.shape[1] < pair.shape[1]:
            raise UnmeasurableError(_INFINITE)
        terms = self._entropy_terms(x) + self._entropy_terms(y) - self._entropy_terms(white)
        return self._estimates(terms - log_scale)

    def mutual_information_labels(self, x, labels, *, rng=None):
        """Mutual information of continuous data and labels, H(x) - sum over classes p H(x | class).

        Parameters
        ----------
        x : array-like, shape (n, ...)
            Samples, flattened to (n, d).
        labels : array-like, shape (n,)
            A class a sample, of any hashable kind.
        rng : Generator, int or None
            Tells equal samples apart; without them it is not used.

        Returns
        -------
        Estimate, or dict of Estimate by rule

        Raises
        ------
        ValueError, TypeError
            If `x` is not numeric or not finite, is not paired with `labels` or has no spread; if a
            class has fewer than k + 1 samples, or no spread in a direction in which x has some.
        """
        x = as_samples(x, "x")
        codes, sizes, classes = as_labels(labels, "labels")
        check_paired(x, codes)
        self.check_classes(sizes, classes)
        x = _whiten(self._samples(x, "x", as_generator(rng)))[0]
        terms = self._entropy_terms(x)
        for code, name in enumerate(classes):
            members = codes == code
            white, log_scale = _whiten(x[members])
            if white.shape[1] < x.shape[1]:
                raise UnmeasurableError(
                    f"class {name!r} varies in {white.shape[1]} of the {x.shape[1]} directions in "
                    f"which x varies, so I(x; labels) is infinite; reduce x to fewer dimensions or "
                    f"add noise"
                )
            terms[:, members] -= self._entropy_terms(white) + log_scale
        return self._estimates(terms)

    def slice_terms(self, x, y):
        """Pointwise terms of the mutual information of many pairs of one-dimensional variables.

        The kernel under `sliced_mutual_information`, which has checked the data; of use by itself
        only for data known to be finite, without ties, with more than k samples.

        Parameters
        ----------
        x, y : arrays, shapes (n_slices, n)
            A slice a row.

        Returns
        -------
        array, shape (n_rules, n_slices, n)
            Its mean over the last axis is the estimate of each slice, in nats.
        """
        return self._by_blocks(self._slice_terms, x, y)

    def _slice_terms(self, x, y):
        n_slices, n = x.shape
        neighbors, weights, constants = _weighting(self._rules, self.k, 1)
        pair_neighbors, pair_weights, pair_constants = _weighting(self._rules, self.k, 2)
        constants = 2.0 * constants - pair_constants + math.log(n - 1.0)
        # Both at once: threads wait for each other before every call.
        both = _standardize(np.concatenate([x, y]))
        values, order = sort_rows(both)
        lines = line_distances(values, order, neighbors)
        lines = lines[:, :n_slices] * lines[:, n_slices:]
        residual, log_scale = _decorrelate(both[:n_slices], both[n_slices:])
        squares = plane_distances(both[:n_slices], residual, order[:n_slices], pair_neighbors)
        if np.array_equal(neighbors, pair_neighbors) and np.array_equal(weights, pair_weights):
            # One logarithm where all three share their weights.
            lines /= squares
            terms = _weigh(weights, np.log(lines, out=lines))
        else:
            terms = _weigh(weights, np.log(lines)) - _weigh(pair_weights, np.log(squares))
        terms += (constants[:, None] - log_scale)[:, :, None]
        return terms

    def slice_terms_labels(self, x, codes, sizes):
        """Pointwise terms of the mutual information of one-dimensional variables and labels.

        Parameters
        ----------
        x : array, shape (n_slices, n)
            A slice a row.
        codes : array of int64, shape (n,)
            The class of each sample, from 0.
        sizes : array, shape (n_classes,)
            Samples a class, each more than k.

        Returns
        -------
        array, shape (n_rules, n_slices, n)
        """
        neighbors, weights, _ = _weighting(self._rules, self.k, 1)
        # In one dimension every rule puts all weight on one neighbour.
        ranks = neighbors[weights.argmax(axis=1)]
        shift = (math.log(x.shape[1] - 1.0) - np.log(sizes - 1.0))[codes]
        labels = codes.astype(np.min_scalar_type(len(sizes) - 1))
        terms = np.empty((len(ranks), *x.shape))
        for rows in _blocks(*x.shape):
            ratios = class_ratios(*sort_rows(x[rows]), labels, sizes, ranks)
            _log_rows(ratios, shift, rows.start, terms)
        return terms

    def _by_blocks(self, measure, *slices):
        n_slices, n = slices[0].shape
        terms = np.empty((len(self._rules), n_slices, n))
        for rows in _blocks(n_slices, n):
            terms[:, rows] = measure(*(array[rows] for array in slices))
        return terms

    def check_classes(self, sizes, classes):
        """Raise ValueError if a class has too few samples for k neighbours."""
        for size, name in zip(sizes, classes, strict=True):
            check_neighbors(size, self.k, f"class {name!r} of the labels")

    def _samples(self, x, name, rng):
        x = as_samples(x, name)
        check_neighbors(len(x), self.k, name)
        check_spread(x, name)
        return break_ties(x, name, rng)

    def _entropy_terms(self, white):
        """Pointwise entropies of whitened data (n, d), shape (n_rules, n)."""
        n, dim = white.shape
        neighbors, weights, constants = _weighting(self._rules, self.k, dim)
        with np.errstate(divide="ignore"):
            if dim == 1:
                logs = np.log(line_distances(*sort_rows(white.T), neighbors)[:, 0])
            elif dim == 2:
                u, v = np.ascontiguousarray(white.T)[:, None]
                logs = 0.5 * np.log(plane_distances(u, v, sort_rows(u)[1], neighbors)[:, 0])
            else:
                logs = np.log(_space_distances(white, self.k)[neighbors - 1])
        if not np.isfinite(logs).all():
            raise UnmeasurableError(_NO_DISTANCE)
        constants = constants + weights.sum(axis=1) * math.log(n - 1.0)
        return dim * (weights @ logs) + constants[:, None]

    def _estimates(self, terms):
        return self.by_rule([estimate_of_terms(row) for row in terms])


@dataclass(frozen=True)
class KSG:
    """Estimator of Kraskov, Stoegbauer and Grassberger: counts of neighbours, no densities.

    With the distance to the k-th neighbour of the pair in the maximum metric, and n_x, n_y the
    samples nearer than that in x and in y alone,
    I = psi(k) + psi(n) - mean of psi(n_x + 1) + psi(n_y + 1) (Kraskov et al. 2004, "Estimating
    mutual information", eq. 8). Columns are first scaled to unit variance. Its bias vanishes at
    independence; it saturates near log(n), and so does not notice infinite information.

    Parameters
    ----------
    k : int
        Number of neighbours, at least 1. More neighbours: less noise, more bias.

    Examples
    --------
    >>> KSG(k=5).mutual_information(x, y)
    Estimate(value=..., std_error=...)
    """

    k: int = 5

    def __post_init__(self):
        check_count(self.k, "k")

    def mutual_information(self, x, y, *, rng=None) -> Estimate:
        """Mutual information of two continuous variables.

        Parameters and errors as for `WKL.mutual_information`, but x and y may lie in fewer
        dimensions than they have columns, together and alone.
        """
        x_rng, y_rng = as_generator(rng).spawn(2)
        x, y = as_samples(x, "x"), as_continuous(y, "y")
        check_paired(x, y)
        x, y = self._columns(x, "x", x_rng), self._columns(y, "y", y_rng)
        if len(x) == len(y) == 1:
            return estimate_of_terms(self.slice_terms(x, y)[0, 0])
        radii = _chebyshev_radii(np.vstack([x, y]).T, self.k)
        return estimate_of_terms(self._terms(*(_counts_within(block.T, radii) for block in (x, y))))

    def mutual_information_labels(self, x, labels, *, rng=None) -> Estimate:
        """Mutual information of continuous data and labels.

        With the distance to the k-th neighbour of the same class, n_c the size of the class and m
        the samples nearer than that of any class, the sample itself among them,
        I = psi(k) + psi(n) - mean of psi(n_c) + psi(m) (Ross 2014, "Mutual information between
        discrete and continuous data sets", eq. 2, with m as scikit-learn counts it). Parameters
        and errors as for `WKL.mutual_information_labels`.
        """
        x = as_samples(x, "x")
        codes, sizes, classes = as_labels(labels, "labels")
        check_paired(x, codes)
        self.check_classes(sizes, classes)
        x = self._columns(x, "x", as_generator(rng))
        if len(x) == 1:
            return estimate_of_terms(self.slice_terms_labels(x, codes, sizes)[0, 0])
        radii = np.empty(len(codes))
        for code in range(len(sizes)):
            radii[codes == code] = _chebyshev_radii(x.T[codes == code], self.k)
        return estimate_of_terms(self._terms(sizes[codes], _counts_within(x.T, radii)))

    def slice_terms(self, x, y):
        """Pointwise terms a slice, as `WKL.slice_terms`; shape (1, n_slices, n)."""
        return self._terms(*plane_counts(_standardize(x), _standardize(y), self.k))[None]

    def slice_terms_labels(self, x, codes, sizes):
        """Pointwise terms a slice, as `WKL.slice_terms_labels`; shape (1, n_slices, n)."""
        values, order = sort_rows(_standardize(x))
        radii = class_distances(values, order, codes, sizes, np.array([self.k]))[0]
        return self._terms(sizes[codes], line_counts(values, order, radii))[None]

    def check_classes(self, sizes, classes):
        """Raise ValueError if a class has too few samples for k neighbours."""
        WKL(self.k).check_classes(sizes, classes)

    def by_rule(self, results):
        """The one result there is."""
        return results[0]

    def _columns(self, x, name, rng):
        check_neighbors(len(x), self.k, name)
        check_spread(x, name)
        x = break_ties(x, name, rng)
        return _standardize(x[:, x.max(axis=0) > x.min(axis=0)].T.astype(float))

    def _terms(self, x_counts, y_counts):
        n = x_counts.shape[-1]
        psi = digamma(np.arange(n + 1.0))
        return psi[self.k] + psi[n] - psi[x_counts] - psi[y_counts]


def _blocks(n_slices, n):
    step = max(1, _BLOCK // n)
    return [slice(start, start + step) for start in range(0, n_slices, step)]


def _chebyshev_radii(x, k):
    """The largest number below the distance to the k-th neighbour of every row."""
    search = _sklearn_neighbors().NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(x)
    return np.nextafter(search.kneighbors()[0][:, -1], 0.0)


def _counts_within(x, radii):
    tree = _sklearn_neighbors().KDTree(x, metric="chebyshev")
    return tree.query_radius(x, radii, count_only=True)


@dataclass(frozen=True)
class Gaussian:
    """Closed forms of the normal distribution with the sample's covariance.

    It sees linear dependence alone: on Gaussian data it is the best there is, on other data it
    gives a lower bound of the kind "what correlation explains".
    """

    def entropy(self, x, *, rng=None) -> Estimate:
        """Entropy of the fitted normal distribution, 1/2 log det(2 pi e C).

        Parameters and errors as for `WKL.entropy`; `rng` is not used.
        """
        x = self._samples(x, "x")
        white, log_scale = _whiten(x)
        if white.shape[1] < x.shape[1]:
            raise ValueError(
                f"x has {x.shape[1]} columns but varies in {white.shape[1]} "
                f"directions only, so it has no density; drop columns"
            )
        constant = 0.5 * x.shape[1] * math.log(2.0 * math.pi) + log_scale
        return estimate_of_terms(constant + 0.5 * (white**2).sum(axis=1))

    def mutual_information(self, x, y, *, rng=None) -> Estimate:
        """Mutual information of the fitted normal distribution.

        -1/2 log(det C / (det C_x det C_y)); parameters and errors as for
        `WKL.mutual_information`; `rng` is not used.
        """
        x, y = self._samples(x, "x"), as_continuous(y, "y")
        check_paired(x, y)
        x, y = _whiten(x)[0], _whiten(self._samples(y, "y"))[0]
        white, log_scale = _whiten(np.hstack([x, y]))
        if white.shape[1] < x.shape[1] + y.shape[1]:
            raise UnmeasurableError(_INFINITE)
        squares = [(block**2).sum(axis=1) for block in (x, y, white)]
        return estimate_of_terms(0.5 * (squares[0] + squares[1] - squares[2]) - log_scale)

    def slice_terms(self, x, y):
        """Pointwise terms a slice, as `WKL.slice_terms`; shape (1, n_slices, n)."""
        x, y = _standardize(x), _standardize(y)
        residual, log_scale = _decorrelate(x, y)
        return (0.5 * (y**2 - residual**2) - log_scale[:, None])[None]

    def by_rule(self, results):
        """The one result there is."""
        return results[0]

    def _samples(self, x, name):
        x = as_samples(x, name)
        check_neighbors(len(x), 1, name)
        check_spread(x, name)
        return x

    k = 1


_NO_DISTANCE = (
    "samples of x (or of the pair of x and y) differ, but by no more than rounding errors of the "
    "largest values, so that their distance is 0; take ranks or logarithms of such columns"
)
_NO_SPREAD = (
    "x or y varies by less than the rounding errors of its largest column, so that a slice of it "
    "is constant; leave out columns that do not vary, and bring the others to one scale"
)
_INFINITE = (
    "a linear combination of x and one of y agree in every sample, so their mutual information is "
    "infinite; leave out the common part, or add noise to one of them"
)


def break_ties(x: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Tell equal rows apart by random amounts of 1e-7 of each column's spread.

    Nearest-neighbour estimators take logarithms of distances, and the distance of equal rows is 0.
    Rows are compared through one random projection: rows that differ agree there with
    probability 0.

    Parameters
    ----------
    x : array, shape (n, dim)
    name : str
        For the warning.
    rng : Generator

    Returns
    -------
    array, shape (n, dim)
        `x` itself if no rows are equal, else a centred float64 copy.

    Warns
    -----
    UserWarning
        If more than 1 % of the rows are repeated.
    """
    center = center_of(x)
    projection = project(x, rng.standard_normal((1, x.shape[1])), center)[0]
    tied, n_repeated = _tied(projection, rows=x)
    if n_repeated == 0:
        return x
    _warn_of_ties(n_repeated, len(x), name)
    # Centred first: beside a large offset the noise would be rounded away.
    x = x - center
    noise = rng.standard_normal((np.count_nonzero(tied), x.shape[1]))
    x[tied] += _TIE_NOISE * _spread(x) * noise
    return x


def break_ties_in_slices(slices: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """`break_ties` in each of many one-dimensional samples.

    Parameters
    ----------
    slices : array, shape (n_slices, n), float64
    name, rng
        As for `break_ties`.

    Returns
    -------
    array, shape (n_slices, n)
        `slices` itself if none has equal values, else a copy.

    Warns
    -----
    UserWarning
        Once, if in some slice more than 1 % of the values are repeated.
    """
    most_repeated = 0
    result = slices
    for i, values in enumerate(slices):
        tied, n_repeated = _tied(values - values.mean())
        if n_repeated == 0:
            continue
        if result is slices:
            result = slices.copy()
        result[i] -= values.mean()
        noise = _TIE_NOISE * _spread(result[i]) * rng.standard_normal(np.count_nonzero(tied))
        result[i, tied] += noise
        most_repeated = max(most_repeated, n_repeated)
    _warn_of_ties(most_repeated, slices.shape[1], name)
    return result


def _spread(x):
    """Standard deviation over the first axis, at any scale."""
    largest = np.abs(x).max(axis=0)
    return largest * (x / np.where(largest > 0, largest, 1.0)).std(axis=0)


def _tied(values, rows=None):
    """Which of the values repeat (a mask), and how many repeat an earlier one.

    Given the rows that the values are projections of, these must be the same to the last bit:
    in a tight cluster, rows that differ may come close in a projection.
    """
    ascending = np.sort(values)
    gaps = np.diff(ascending)
    tied = np.zeros(len(values), bool)
    # A sort of numbers is several times cheaper than one of positions, which most data do not need.
    if gaps.min() > _TIE_GAP * np.ptp(ascending):
        return tied, 0
    order = np.argsort(values)
    # The spread of the bulk: heavy tails have a range that says nothing about gaps.
    spread = ascending[(3 * len(values)) // 4] - ascending[len(values) // 4]
    equal = gaps <= _TIE_GAP * (spread if spread > 0 else np.ptp(ascending))
    if rows is not None:
        pairs = np.flatnonzero(equal)
        equal[pairs] = (rows[order[pairs]] == rows[order[pairs + 1]]).all(axis=1)
    tied[order[1:][equal]] = True
    tied[order[:-1][equal]] = True
    return tied, np.count_nonzero(equal)


def _warn_of_ties(n_repeated, n, name):
    if n_repeated > _TIE_SHARE * n:
        warnings.warn(
            f"{n_repeated} of {n} values of {name} repeat others. The estimator is made for "
            f"continuous data: equal values were told apart at random, and what it says of them "
            f"means little. Discrete data belong in y, with y_discrete=True",
            UserWarning,
            stacklevel=5,
        )


def _standardize(rows):
    """Rows of zero mean and unit variance, at any scale."""
    rows = np.ascontiguousarray(rows, float)
    standard = np.empty(rows.shape)
    if not _standardize_rows(rows, standard):
        # Squares overflow or vanish where the numbers themselves do not.
        largest = np.abs(standard).max(axis=1, keepdims=True)
        if not largest.min() > 0:
            raise UnmeasurableError(_NO_SPREAD)
        return _standardize(standard / largest)
    return standard


def _decorrelate(x, y):
    """What x does not explain of y linearly, of unit variance, and the log of its scale.

    x and this residual are a whitening of the pair; any other is a rotation of it.
    """
    residual, variances = np.empty(x.shape), np.empty(len(x))
    _decorrelate_rows(x, y, residual, variances)
    if not variances.min() >= _NO_VARIANCE:
        raise UnmeasurableError(_INFINITE)
    return residual, 0.5 * np.log(variances)


@_compiled
def _standardize_rows(rows, standard):
    """Whether all could be scaled; those that could not are centred."""
    all_scaled = True
    for s in range(len(rows)):
        _center(rows[s], _sum(rows[s]) / rows.shape[1], standard[s])
        variance = _dot(standard[s], standard[s]) / rows.shape[1]
        if _SMALLEST_VARIANCE < variance < 1.0 / _SMALLEST_VARIANCE:
            _multiply(standard[s], 1.0 / math.sqrt(variance))
        else:
            all_scaled = False
    return all_scaled


@_compiled
def _decorrelate_rows(x, y, residual, variances):
    for s in range(len(x)):
        _subtract(y[s], _dot(x[s], y[s]) / x.shape[1], x[s], residual[s])
        variances[s] = _dot(residual[s], residual[s]) / x.shape[1]
        if variances[s] >= _NO_VARIANCE:
            _multiply(residual[s], 1.0 / math.sqrt(variances[s]))


@_compiled
def _log_rows(numbers, shift, start, logs):
    """Put the logarithms of each row plus `shift` into `logs[:, start:]`."""
    for r in range(numbers.shape[0]):
        for s in range(numbers.shape[1]):
            row, row_of_logs = numbers[r, s], logs[r, start + s]
            if _all_normal(row):
                _log(row, shift, row_of_logs)
            else:
                for i in range(len(row)):
                    row_of_logs[i] = np.log(row[i]) + shift[i]


@_compiled
def _all_normal(numbers):
    """Whether none is 0, infinite, not a number or so small that it has fewer digits."""
    n_others = 0
    for i in range(len(numbers)):
        n_others += not _SMALLEST <= numbers[i] <= _LARGEST
    return n_others == 0


@_fused
def _log(numbers, shift, logs):
    """By the series of log((1 + z) / (1 - z)), which the compiler turns into vectors.

    numpy does so for some processors only.
    """
    bits = numbers.view(np.int64)
    for i in range(len(numbers)):
        # The mantissa lies between the roots of 1/2 and 2: |z| < 0.172.
        exponent = (bits[i] - _BITS_OF_ROOT_OF_HALF) >> 52
        mantissa = np.int64(bits[i] - (exponent << 52)).view(np.float64)
        z = (mantissa - 1.0) / (mantissa + 1.0)
        square = z * z
        series = 0.0
        for n in range(19, 1, -2):
            series = series * square + 2.0 / n
        logs[i] = exponent * _LOG_2 + (2.0 * z + z * square * series) + shift[i]


# Loops of one statement each: these the compiler turns into vectors.


@_compiled
def _sum(values):
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@_compiled
def _dot(first, second):
    total = 0.0
    for i in range(len(first)):
        total += first[i] * second[i]
    return total


@_compiled
def _center(values, mean, centered):
    for i in range(len(values)):
        centered[i] = values[i] - mean


@_compiled
def _subtract(minuend, factor, subtrahend, difference):
    for i in range(len(minuend)):
        difference[i] = minuend[i] - factor * subtrahend[i]


@_compiled
def _multiply(values, factor):
    for i in range(len(values)):
        values[i] *= factor


def _whiten(x):
    """Samples in coordinates of unit covariance, and half the log-determinant of the change.

    Directions without variance are left out.
    """
    # Constant columns by their values: less its mean, one may be left with rounding errors.
    x = x[:, x.max(axis=0) > x.min(axis=0)].astype(float)
    x -= x.mean(axis=0)
    largest = np.abs(x).max(axis=0)
    x /= largest
    spread = x.std(axis=0)
    x /= spread
    with one_blas_thread():
        variances, axes = np.linalg.eigh(x.T @ x / len(x))
        kept = variances > _NO_VARIANCE * len(variances)
        white = (x @ axes[:, kept]) / np.sqrt(variances[kept])
    log_scale = np.log(spread).sum() + np.log(largest).sum()
    return white, log_scale + 0.5 * np.log(variances[kept]).sum()


def _space_distances(x, k):
    """Distances to the 1st..k-th neighbours, shape (k, n), in three dimensions or more."""
    # Measured for 1,000 to 10,000 normal samples: above 6 dimensions trees prune too little.
    if x.shape[1] > 6:
        neighbors = _neighbors(x, k, "brute")
        distances = np.sort([np.linalg.norm(x - x[nearest], axis=1) for nearest in neighbors], 0)
        if distances.min() > _SHORTEST_FOR_BRUTE:
            return distances
    return np.array([np.linalg.norm(x - x[i], axis=1) for i in _neighbors(x, k, "kd_tree")])


def _neighbors(x, k, algorithm):
    search = _sklearn_neighbors().NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(x)
    return search.kneighbors(return_distance=False).T


def _sklearn_neighbors():
    # Two thirds of a second, and slices do not need it.
    import sklearn.neighbors

    return sklearn.neighbors


def _weigh(weights, logs):
    """Weighted sums over the neighbours: (n_rules, n_neighbours) x (n_neighbours, ...)."""
    if weights.size == 1:  # and the sum is 1
        return logs
    return np.tensordot(weights, logs, axes=1)


def estimate_of_terms(terms: np.ndarray) -> Estimate:
    """Mean and standard error of independent pointwise terms."""
    return Estimate(float(terms.mean()), float(terms.std(ddof=1) / math.sqrt(len(terms))))
