"""Means, variances and correlations of rows, and rows brought to unit variance."""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, fused, reassociated

__all__ = [
    "class_moments",
    "class_rows",
    "copula_rows",
    "decorrelate_rows",
    "log_rows",
    "standardize_rows",
]

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
def decorrelate_rows(
    x: np.ndarray,
    y: np.ndarray,
    min_variance: float,
    residual: np.ndarray,
    variances: np.ndarray,
) -> None:
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
def copula_rows(
    x_order: np.ndarray,
    y_order: np.ndarray,
    scores: np.ndarray,
    polynomials: np.ndarray,
    chosen: np.ndarray,
    slopes: np.ndarray,
    cdf: np.ndarray,
    cdf_step: float,
    terms: np.ndarray,
    gaussian: np.ndarray,
    excess: np.ndarray,
) -> None:
    """Pointwise terms of the copula's information by moments, for pairs of rows.

    With z_x, z_y the normal scores, r their correlation, w = (z_y - r z_x) / sqrt(1 - r^2),
    u = Phi(z_x), v = Phi(w), P_a orthonormal Legendre polynomials on [0, 1], and m_ab the mean of
    P_a(u) P_b(v), the estimate is

        -1/2 log(1 - r^2) + 1/2 sum over chosen a >= 0, b >= 1 of (m_ab^2 - [a >= 1] bias_ab),

    with bias_ab = (variance of P_a P_b - c_a^2 c_b^2) / (n - 1), c_a the mean of P_a z: without
    dependence the variance of m_ab, of which subtracting r z_x has taken the second term away.

    Parameters
    ----------
    x_order, y_order : arrays of int64, shape (n_slices, n)
        From `sort_rows`.
    scores : array, shape (n,)
        Normal scores of the sorted row.
    polynomials : array, shape (n_polynomials, n)
        P_0, P_1, ... of the ranks, as many as `chosen` has rows or columns, or more.
    chosen : array of bool, shape (n_first, n_second)
        Which moments are summed, by their orders a and b.
    slopes : array, shape (n_polynomials,)
        c_0, c_1, ...
    cdf, cdf_step : array, float
        2 Phi - 1 at multiples of the step, from 0.
    terms : array, shape (n_slices, n)
        Gets the terms; their mean is the estimate, with the Gaussian part's bias in it.
    gaussian : array, shape (n_slices,)
        Gets -1/2 log(1 - r^2).
    excess : array, shape (n_slices, n_first, n_second)
        Gets 1/2 (m_ab^2 - [a >= 1] bias_ab), 0 where not chosen.
    """
    n_slices, n = x_order.shape
    n_first, n_second = chosen.shape
    first, second, position = np.empty((3, n))
    of_first, of_residual = np.empty((n_first, n)), np.empty((n_second, n))
    means = np.empty((n_first, n_second))
    for s in range(n_slices):
        for i in range(n):
            place = x_order[s, i]
            first[place] = scores[i]
            for a in range(n_first):
                of_first[a, place] = polynomials[a, i]
            second[y_order[s, i]] = scores[i]
        r = _mean_product(first, second)
        # Ranks that agree throughout leave no residual: they know no differences below 1 / n.
        scale = math.sqrt(max(1.0 - r * r, 1.0 / n**2))
        for i in range(n):
            residual = (second[i] - r * first[i]) / scale
            # Log of the ratio of two normal densities: of residual, scaled back, and of second.
            terms[s, i] = 0.5 * (second[i] ** 2 - residual**2) - math.log(scale)
            place_in_table = min(abs(residual) / cdf_step, len(cdf) - 1.001)
            cell = int(place_in_table)
            t = cdf[cell] + (place_in_table - cell) * (cdf[cell + 1] - cdf[cell])
            position[i] = math.copysign(t, residual)
        _legendre_rows(position, of_residual)
        remainder = 0.0
        for a in range(n_first):
            for b in range(n_second):
                means[a, b] = excess[s, a, b] = 0.0
                if chosen[a, b]:
                    means[a, b], square = _product_moments(of_first[a], of_residual[b])
                    excess[s, a, b] = 0.5 * means[a, b] ** 2
                    if a > 0:
                        variance = square - means[a, b] ** 2 - (slopes[a] * slopes[b]) ** 2
                        excess[s, a, b] -= 0.5 * variance / (n - 1)
                    remainder += excess[s, a, b]
        gaussian[s] = -math.log(scale)
        _add_influence(means, of_first, of_residual, remainder, terms[s])


@reassociated
def _mean_product(first, second):
    total = 0.0
    for i in range(len(first)):
        total += first[i] * second[i]
    return total / len(first)


@reassociated
def _product_moments(first, second):
    """Mean of the products, and of their squares."""
    total, squares = 0.0, 0.0
    for i in range(len(first)):
        product = first[i] * second[i]
        total += product
        squares += product * product
    return total / len(first), squares / len(first)


@reassociated
def _legendre_rows(t, values):
    """Orthonormal shifted Legendre polynomials at (1 + t) / 2, by Bonnet's recursion."""
    values[0], values[1] = 1.0, t
    for order in range(1, len(values) - 1):
        for i in range(len(t)):
            rise = (2.0 * order + 1.0) * t[i] * values[order, i]
            values[order + 1, i] = (rise - order * values[order - 1, i]) / (order + 1.0)
    for order in range(1, len(values)):
        values[order] *= math.sqrt(2.0 * order + 1.0)


@reassociated
def _add_influence(means, of_first, of_residual, remainder, terms):
    """Add the remainder and the influence functions of m^2 / 2, which are m (product - m)."""
    n_first, n_second = means.shape
    constant = remainder
    for a in range(n_first):
        for b in range(1, n_second):
            constant -= means[a, b] ** 2
    for i in range(len(terms)):
        terms[i] += constant
    for a in range(n_first):
        for b in range(1, n_second):
            if means[a, b] != 0.0:
                for i in range(len(terms)):
                    terms[i] += means[a, b] * of_first[a, i] * of_residual[b, i]


@compiled
def class_moments(
    order: np.ndarray,
    codes: np.ndarray,
    sizes: np.ndarray,
    polynomials: np.ndarray,
    means: np.ndarray,
    parts: np.ndarray,
) -> None:
    """Information of ranks and labels by moments, row by row.

    With m_ca the mean of P_a(u) within class c, the estimate is
    1/2 sum_c p_c sum_a (m_ca^2 - (n - n_c) / ((n - 1) n_c)): the last is the variance of the mean
    of n_c numbers drawn from n without replacement, whose own variance is 1.

    Parameters
    ----------
    order : array of int64, shape (n_slices, n)
        From `sort_rows`.
    codes, sizes : arrays
        Of `Labels`.
    polynomials : array, shape (n_orders + 1, n)
    means : array, shape (n_slices, n_orders + 1, n_classes)
        Gets the means m_ca; those of order 0 are 0.
    parts : array, shape (2, n_slices)
        Gets the part of the first polynomial, and that of the others.
    """
    n_slices, n = order.shape
    n_orders = len(polynomials) - 1
    means[:] = 0.0
    parts[:] = 0.0
    for s in range(n_slices):
        of_slice = means[s]
        for i in range(n):
            code = codes[order[s, i]]
            for a in range(1, n_orders + 1):
                of_slice[a, code] += polynomials[a, i]
        for code in range(len(sizes)):
            size = sizes[code]
            for a in range(1, n_orders + 1):
                of_slice[a, code] /= size
                excess = of_slice[a, code] ** 2 - (n - size) / ((n - 1.0) * size)
                parts[0 if a == 1 else 1, s] += 0.5 * excess * size / n


@compiled
def class_rows(
    order: np.ndarray,
    codes: np.ndarray,
    polynomials: np.ndarray,
    means: np.ndarray,
    parts: np.ndarray,
    terms: np.ndarray,
) -> None:
    """Write the pointwise terms, whose mean is the estimate, into `terms`, shape (n_slices, n).

    Other arrays as for `class_moments`.
    """
    n_slices, n = order.shape
    for s in range(n_slices):
        of_slice = means[s]
        for i in range(n):
            code = codes[order[s, i]]
            total = parts[0, s] + parts[1, s]
            for a in range(1, len(polynomials)):
                total += of_slice[a, code] * (polynomials[a, i] - of_slice[a, code])
            terms[s, order[s, i]] = total


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
