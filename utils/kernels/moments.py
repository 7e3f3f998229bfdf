"""Means, variances and correlations of rows, and rows brought to unit variance."""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, fused, reassociated

__all__ = ["add_cell_terms", "decorrelate_rows", "log_rows", "score_rows", "standardize_rows"]

_MIN_VARIANCE, _MAX_VARIANCE = 1e-200, 1e200
_SMALLEST, _LARGEST = np.finfo(float).tiny, np.finfo(float).max
_LOG_2 = math.log(2.0)
_BITS_OF_ROOT_OF_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))


@reassociated
def standardize_rows(rows: np.ndarray, standard: np.ndarray) -> bool:
    """Write each row, less its mean and over its standard deviation, into `standard`.

    Returns whether all could be scaled: where a variance overflows or vanishes, the row is centred
    only.
    """
    n = rows.shape[1]
    all_scaled = True
    for s in range(rows.shape[0]):
        total = 0.0
        for i in range(n):
            total += rows[s, i]
        mean = total / n
        squares = 0.0
        for i in range(n):
            centered = rows[s, i] - mean
            standard[s, i] = centered
            squares += centered * centered
        variance = squares / n
        if _MIN_VARIANCE < variance < _MAX_VARIANCE:
            scale = 1.0 / math.sqrt(variance)
            for i in range(n):
                standard[s, i] *= scale
        else:
            all_scaled = False
    return all_scaled


@reassociated
def decorrelate_rows(x, y, min_variance, residual, variances):
    """What standardised x does not explain of standardised y linearly, of unit variance.

    `variances` gets the residual's variance before scaling; below `min_variance` it stays unscaled.
    """
    n = x.shape[1]
    for s in range(x.shape[0]):
        product = 0.0
        for i in range(n):
            product += x[s, i] * y[s, i]
        correlation = product / n
        squares = 0.0
        for i in range(n):
            rest = y[s, i] - correlation * x[s, i]
            residual[s, i] = rest
            squares += rest * rest
        variances[s] = squares / n
        if variances[s] >= min_variance:
            scale = 1.0 / math.sqrt(variances[s])
            for i in range(n):
                residual[s, i] *= scale


@compiled
def score_rows(x_order, y_order, scores, rank_bias, first, second, residual, scales, terms):
    """Normal scores of both rows, the residual of the second, and the terms of the Gaussian part.

    `scores` are those of the sorted row. `rank_bias`, (n,), is subtracted from the terms by the
    rank of each variable.
    """
    n_slices, n = x_order.shape
    for s in range(n_slices):
        for i in range(n):
            first[s, x_order[s, i]] = scores[i]
            terms[s, x_order[s, i]] = -rank_bias[i]
        for i in range(n):
            second[s, y_order[s, i]] = scores[i]
            terms[s, y_order[s, i]] -= rank_bias[i]
        product = 0.0
        for i in range(n):
            product += first[s, i] * second[s, i]
        r = product / n
        # Ranks that agree throughout leave no residual: they know no differences below 1 / n.
        scale = math.sqrt(max(1.0 - r * r, 1.0 / n**2))
        scales[s] = scale
        for i in range(n):
            residual[s, i] = (second[s, i] - r * first[s, i]) / scale
            # Log of the ratio of two normal densities: of residual, scaled back, and of second.
            terms[s, i] += 0.5 * (second[s, i] ** 2 - residual[s, i] ** 2) - math.log(scale)


@compiled
def add_cell_terms(x_order, residual, edges, terms):
    """Add to each sample's term log(c / E c), c the samples in its cell."""
    n_slices, n = residual.shape
    n_bins = len(edges) + 1
    cell_of = np.empty(n, np.int64)
    counts = np.empty(n_bins * n_bins, np.int64)
    logs = np.empty(n_bins * n_bins)
    for s in range(n_slices):
        counts[:] = 0
        for x_bin in range(n_bins):
            for i in range(x_bin * n // n_bins, (x_bin + 1) * n // n_bins):
                sample = x_order[s, i]
                cell = x_bin * n_bins
                for edge in edges:
                    cell += residual[s, sample] > edge
                cell_of[sample] = cell
                counts[cell] += 1
        for cell in range(n_bins * n_bins):
            x_bin = cell // n_bins
            in_row = (x_bin + 1) * n // n_bins - x_bin * n // n_bins
            logs[cell] = math.log(counts[cell] * n_bins / in_row) if counts[cell] else 0.0
        for i in range(n):
            terms[s, i] += logs[cell_of[i]]


@compiled
def log_rows(numbers: np.ndarray, shift: np.ndarray, logs: np.ndarray) -> None:
    """Write the logarithm of each row plus `shift` into `logs`, both (n_results, n_slices, n).

    Of 10,000 samples with labels a slice takes 1.2 times as long with NumPy's logarithm.
    """
    for r in range(numbers.shape[0]):
        for s in range(numbers.shape[1]):
            row, row_of_logs = numbers[r, s], logs[r, s]
            if _all_normal(row):
                _log(row, shift, row_of_logs)
            else:
                for i in range(len(row)):
                    row_of_logs[i] = np.log(row[i]) + shift[i]


@compiled
def _all_normal(numbers):
    """Whether none is 0, infinite, not a number or so small that it has fewer digits."""
    n_others = 0
    for i in range(len(numbers)):
        n_others += not _SMALLEST <= numbers[i] <= _LARGEST
    return n_others == 0


@fused
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
