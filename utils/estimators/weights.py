"""Weights of the nearest neighbours in the Kozachenko-Leonenko entropy."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.special import digamma, gammaln

from ..validation import check_count

__all__ = ["WEIGHT_RULES", "berrett_weights", "check_rule", "entropy_weights", "neighbor_weights"]

WEIGHT_RULES = ("kth", "berrett", "mutinfo")
_MAX_NORM = 10.0


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
    if norm > _MAX_NORM:
        raise ValueError(
            f"k={k} is too small for dimension {dim}: the weights multiply noise by "
            f"their 1-norm of {norm:.3g}, more than {_MAX_NORM:g}; {remedy}"
        )
    weights = np.zeros(k)
    weights[support - 1] = found
    return weights


def neighbor_weights(rule: str, k: int, dim: int) -> np.ndarray:
    """The weights of the k nearest neighbours in `dim` dimensions under a named rule.

    Parameters
    ----------
    rule : {"kth", "berrett", "mutinfo"}
        "kth": all on neighbour k. "berrett": see `berrett_weights`. "mutinfo": those of the library
        behind the published figures; up to 4 dimensions all on the *first* neighbour, above that a
        least-squares solution whose 1-norm grows to tens of thousands.
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
    check_rule(rule)
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


def check_rule(rule: object) -> None:
    """Raise ValueError unless `rule` is the name of a weight rule."""
    if not isinstance(rule, str) or rule not in WEIGHT_RULES:
        raise ValueError(f"weights={rule!r} is unknown; choose among {WEIGHT_RULES}")


def _gamma_rows(neighbors, dim):
    powers = 2.0 * np.arange(1, dim // 4 + 1)[:, None] / dim
    return np.exp(gammaln(neighbors + powers) - gammaln(neighbors))


@cache
def entropy_weights(
    rules: tuple[str, ...], k: int, dim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours with a weight, the weights (n_rules, n_neighbours), and one constant per rule.

    The constant is the part of the entropy that does not depend on the data, except log(n - 1).
    """
    weights = np.array([neighbor_weights(rule, k, dim) for rule in rules])
    used = np.abs(weights).max(axis=0) > 0
    log_ball = 0.5 * dim * math.log(math.pi) - gammaln(0.5 * dim + 1.0)
    constants = log_ball * weights.sum(axis=1) - weights @ digamma(np.arange(1, k + 1))
    return np.flatnonzero(used) + 1, weights[:, used], constants
