"""Plain twins of the fast code: every pair of samples compared, one slice after the other.

Nothing here is compiled, clever or shared with `utils`. Twins of whole calls take the slices that
the call measured, as an estimator sees them (`recorded.py`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln


def squared_distances(x, ranks):
    """Squared distances of every row of x (n, d) to its neighbours: (len(ranks), n)."""
    ranks = np.asarray(ranks)
    found = np.empty((len(ranks), len(x)))
    for start in range(0, len(x), 250):
        rows = x[start : start + 250]
        squares = np.zeros((len(rows), len(x)))
        for column in range(x.shape[1]):
            squares += (rows[:, None, column] - x[None, :, column]) ** 2
        # Rank 0 is the point itself, at distance 0.
        found[:, start : start + 250] = np.partition(squares, ranks, axis=1)[:, ranks].T
    return found


def line_distances(rows, ranks):
    """(len(ranks), n_slices, n); differences are taken without squaring them."""
    ranks = np.asarray(ranks)
    found = np.empty((len(ranks), *rows.shape))
    for s, row in enumerate(rows):
        for i, value in enumerate(row):
            found[:, s, i] = np.partition(np.abs(row - value), ranks)[ranks]
    return found


def class_distances(rows, labels, ranks):
    found = np.empty((len(ranks), *rows.shape))
    for label in np.unique(labels):
        found[:, :, labels == label] = line_distances(rows[:, labels == label], ranks)
    return found


def plane_distances(u, v, ranks):
    """Squared distances, (len(ranks), n_slices, n)."""
    pairs = [np.column_stack(uv) for uv in zip(u, v, strict=True)]
    return np.stack([squared_distances(pair, ranks) for pair in pairs], axis=1)


def whiten(x):
    """Samples with unit covariance, by QR, and half the log-determinant of theirs."""
    q, r = np.linalg.qr((x - x.mean(axis=0)) / np.sqrt(len(x)))
    return q * np.sqrt(len(x)), np.log(np.abs(np.diag(r))).sum()


def entropy_terms(x, weights):
    """Pointwise terms of the weighted Kozachenko-Leonenko entropy of x (n, d), whitened first."""
    n, dim = x.shape
    white, log_determinant = whiten(x)
    neighbors = np.arange(1, len(weights) + 1)
    log_ball = 0.5 * dim * np.log(np.pi) - gammaln(1 + 0.5 * dim)
    logs = 0.5 * dim * np.log(squared_distances(white, neighbors))
    logs += np.log(n - 1) + log_ball - digamma(neighbors)[:, None]
    return np.asarray(weights) @ logs + log_determinant


def mutual_information_terms(x, y, weights_x, weights_y, weights_pair):
    pair = entropy_terms(np.hstack([x, y]), weights_pair)
    return entropy_terms(x, weights_x) + entropy_terms(y, weights_y) - pair


def label_terms(x, labels, weights):
    terms = entropy_terms(x, weights)
    for label in np.unique(labels):
        terms[labels == label] -= entropy_terms(x[labels == label], weights)
    return terms


def gaussian_mutual_information(x, y):
    """Of the normal distribution that has the sample's covariance."""
    covariance = np.cov(np.hstack([x, y]).T)
    d = x.shape[1]
    blocks = covariance[:d, :d], covariance[d:, d:], covariance
    x_part, y_part, all_of_it = (np.linalg.slogdet(np.atleast_2d(block))[1] for block in blocks)
    return 0.5 * (x_part + y_part - all_of_it)


def sliced_terms(x_slices, y_slices, weights, pair_weights):
    """Pointwise terms of every slice, (n_slices, n)."""
    pairs = zip(x_slices[:, :, None], y_slices[:, :, None], strict=True)
    return np.array(
        [mutual_information_terms(x, y, weights, weights, pair_weights) for x, y in pairs]
    )


def sliced_label_terms(x_slices, labels, weights):
    return np.array([label_terms(x, labels, weights) for x in x_slices[:, :, None]])


def chebyshev_counts(blocks, k):
    """Samples nearer in each block than the k-th neighbour in all of them, with the sample."""
    gaps = [np.abs(block[:, None] - block[None]).max(axis=2) for block in blocks]
    distances = np.partition(np.max(gaps, axis=0), k, axis=1)[:, k]
    # The sample itself counts, also where the distance is 0.
    return [np.maximum(1, (gap < distances[:, None]).sum(axis=1)) for gap in gaps]


def ksg_terms(x, y, k):
    """Kraskov et al. 2004, eq. 8, columns scaled to unit variance."""
    counts = chebyshev_counts([x / x.std(axis=0), y / y.std(axis=0)], k)
    return digamma(k) + digamma(len(x)) - digamma(counts[0]) - digamma(counts[1])


def ross_terms(x, labels, k):
    """Ross 2014, eq. 2, columns scaled to unit variance; samples at the distance do not count."""
    gaps = np.abs((x / x.std(axis=0))[:, None] - (x / x.std(axis=0))[None]).max(axis=2)
    terms = np.empty(len(x))
    for i, label in enumerate(labels):
        members = labels == label
        nearer = (gaps[i] < np.sort(gaps[i][members])[k]).sum()
        terms[i] = digamma(k) + digamma(len(x)) - digamma(members.sum()) - digamma(nearer)
    return terms
