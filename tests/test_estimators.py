"""Entropy and mutual information against exact values, invariances, twins and other libraries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import naive
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.linalg import null_space
from scipy.special import gammaln
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from utils.estimators import (
    _BLOCK,
    KSG,
    WKL,
    Estimate,
    Gaussian,
    _log_rows,
    berrett_weights,
    neighbor_weights,
)
from utils.synthetic import CorrelatedNormal

REFERENCE = json.loads((Path(__file__).parent / "data" / "mutinfo_wkl_values.json").read_text())
CASES = {str(case["seed"]): case for case in REFERENCE["cases"]}
CONTINUOUS = [seed for seed, case in CASES.items() if case["case"] == "continuous"]
DISCRETE = [seed for seed, case in CASES.items() if case["case"] == "discrete"]
SCALED = [seed for seed in CONTINUOUS if CASES[seed]["kind"] == "scaled"]

NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


def correlated(n, dim_x, dim_y, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


# ------------------------------------------------------------------- the library behind the figures


def reference_data(case):
    rng = np.random.default_rng(case["seed"])
    if case["case"] == "discrete":
        labels = rng.integers(0, case["classes"], case["n"])
        x = rng.standard_normal((case["n"], case["dim_x"]))
        x[:, 0] += 1.5 * labels
        return x, labels
    x = rng.standard_normal((case["n"], case["dim_x"]))
    y = rng.standard_normal((case["n"], case["dim_y"]))
    c = min(case["dim_x"], case["dim_y"])
    y[:, :c] = 0.7 * x[:, :c] + math.sqrt(0.51) * y[:, :c]
    if case["kind"] == "cubed":
        x = x**3
    elif case["kind"] == "uniform":
        x, y = stats.norm.cdf(x), stats.norm.cdf(y)
    elif case["kind"] == "scaled":
        x, y = x * np.logspace(-3, 3, case["dim_x"]), y * 1e4 + 7
    return x, y


def reference_tolerance(case):
    # The project's promise; noise, rounding noise too, is multiplied by the weights' 1-norm.
    return 1e-4 if np.abs(case.get("joint_weights", 1)).sum() > 1000 else 1e-6


@pytest.mark.parametrize("seed", [seed for seed in CONTINUOUS if seed not in SCALED])
def test_mutinfo_weights_give_the_values_of_the_mutinfo_library(seed):
    case = CASES[seed]
    x, y = reference_data(case)
    wkl, rel = WKL(case["k"], "mutinfo"), reference_tolerance(case)
    assert wkl.mutual_information(x, y).value == pytest.approx(case["mi"], rel=rel)
    assert wkl.entropy(x).value == pytest.approx(case["h_x"], rel=rel)
    assert wkl.entropy(np.hstack([x, y])).value == pytest.approx(case["h_xy"], rel=rel)


@pytest.mark.parametrize("seed", SCALED)
def test_where_the_mutinfo_library_loses_digits_ours_are_right(seed):
    # Columns of scale 1e-3 beside 1e4: the library whitens by inv(sqrtm(covariance)), whose
    # smallest eigenvalue carries a relative error of eps * condition (1e12 to 2e14), and half its
    # logarithm goes into the entropy.
    case = CASES[seed]
    x, y = reference_data(case)
    wkl, pair = WKL(case["k"], "mutinfo"), np.hstack([x, y])
    x_error, y_error, pair_error = (
        0.5 * np.finfo(float).eps * np.linalg.cond(np.atleast_2d(np.cov(block.T)))
        for block in (x, y, pair)
    )
    rel = reference_tolerance(case)
    h_x, h_xy = wkl.entropy(x).value, wkl.entropy(pair).value
    mi = wkl.mutual_information(x, y).value
    assert abs(h_x - case["h_x"]) < x_error + rel * abs(case["h_x"])
    assert abs(h_xy - case["h_xy"]) < pair_error + rel * abs(case["h_xy"])
    assert abs(mi - case["mi"]) < x_error + y_error + pair_error + rel * case["mi"]
    # Scaling a column by s adds log s to the entropy and nothing to the information.
    plain_x, plain_y = reference_data({**case, "kind": "normal"})
    x_logs = np.log(np.logspace(-3, 3, case["dim_x"])).sum()
    logs = x_logs + case["dim_y"] * math.log(1e4)
    assert h_x == pytest.approx(wkl.entropy(plain_x).value + x_logs, abs=1e-9)
    plain_pair = np.hstack([plain_x, plain_y])
    assert h_xy == pytest.approx(wkl.entropy(plain_pair).value + logs, abs=1e-9)
    assert mi == pytest.approx(wkl.mutual_information(plain_x, plain_y).value, abs=1e-9)


@pytest.mark.parametrize("seed", DISCRETE)
def test_mutinfo_weights_give_the_labelled_values_of_the_mutinfo_library(seed):
    case = CASES[seed]
    x, labels = reference_data(case)
    got = WKL(case["k"], "mutinfo").mutual_information_labels(x, labels).value
    assert got == pytest.approx(case["mi"], rel=1e-6)


@pytest.mark.parametrize("seed", CONTINUOUS)
def test_mutinfo_weights_are_those_of_the_mutinfo_library(seed):
    case = CASES[seed]
    expected = np.array(case["joint_weights"])
    got = neighbor_weights("mutinfo", case["k"], case["dim_x"] + case["dim_y"])
    # Least squares of condition up to 1e6 (its cut-off): 1e6 * 2.2e-16, relative to the largest.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


# ------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize(("k", "dim"), [(5, 16), (10, 40), (25, 24), (25, 100)])
def test_mutinfo_weights_drop_what_is_below_a_millionth(k, dim):
    # Beyond 16 dimensions singular values fall below the cut-off; without it the norms are up to
    # a thousand times as large.
    rows, target = [np.full(k, 1 / k)], [1 / k]
    for power in range(1, dim // 4 + 1):
        row = [math.exp(math.lgamma(j + 2 * power / dim) - math.lgamma(j)) for j in range(1, k + 1)]
        rows.append(np.array(row) / np.linalg.norm(row))
        target.append(0)
    for j in set(range(1, k + 1)) - {math.floor(i * k / dim) for i in range(1, dim + 1)}:
        rows.append(np.arange(1, k + 1) == j)
        target.append(0)
    expected = np.linalg.pinv(np.array(rows, float), rcond=1e-6) @ target
    got = neighbor_weights("mutinfo", k, dim)
    # Condition 1e6 times rounding 2.2e-16, relative to the largest.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_the_norm_of_the_mutinfo_weights_explodes_with_the_dimension():
    norms = {dim: np.abs(neighbor_weights("mutinfo", 5, dim)).sum() for dim in (4, 6, 12, 16)}
    assert norms[4] == 1
    # Two or three digits are what was published.
    assert norms[6] == pytest.approx(4.0, abs=0.05)
    assert norms[12] == pytest.approx(755, abs=0.5)
    assert norms[16] == pytest.approx(32_000, abs=500)


@pytest.mark.parametrize("dim", [1, 2, 4, 5, 50])
def test_kth_weights_are_all_on_the_last_neighbour(dim):
    np.testing.assert_array_equal(neighbor_weights("kth", 4, dim), [0, 0, 0, 1])


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_mutinfo_weights_are_all_on_the_first_neighbour_up_to_four_dimensions(dim):
    np.testing.assert_array_equal(neighbor_weights("mutinfo", 4, dim), [1, 0, 0, 0])


BERRETT = [(1, 1), (5, 1), (5, 2), (5, 3), (1, 3), (5, 4), (25, 4), (5, 5), (25, 6), (100, 7)]


@pytest.mark.parametrize(("k", "dim"), BERRETT)
def test_berrett_weights_are_the_shortest_that_meet_every_condition(k, dim):
    weights = berrett_weights(k, dim)
    np.testing.assert_array_equal(weights, neighbor_weights("berrett", k, dim))
    assert weights.shape == (k,)
    neighbors = np.arange(1, k + 1)
    allowed = {math.floor(i * k / dim) for i in range(1, dim + 1)} - {0}
    assert set(neighbors[weights != 0]) <= allowed
    # The gamma rows are at most (k + 1)^(1/2 + 1/d) < 25: 1e-12 is a hundred roundings of that.
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    columns = np.array(sorted(allowed))
    ones = [np.ones(len(columns))]
    gammas = [
        np.exp(gammaln(columns + 2 * power / dim) - gammaln(columns))
        for power in range(1, dim // 4 + 1)
    ]
    for row in gammas:
        assert row @ weights[columns - 1] == pytest.approx(0, abs=1e-12 * row.max())
    # Every other solution differs by a vector of the null space; the shortest is orthogonal to it.
    free = null_space(np.array(ones + gammas))
    np.testing.assert_allclose(free.T @ weights[columns - 1], 0, atol=1e-12)


def test_in_one_dimension_berrett_weights_are_the_kth():
    np.testing.assert_array_equal(berrett_weights(7, 1), neighbor_weights("kth", 7, 1))


@pytest.mark.parametrize(("k", "dim", "norm"), [(5, 8, "33.2"), (5, 12, "755"), (25, 8, "28.8")])
def test_berrett_weights_that_would_drown_in_noise_are_refused(k, dim, norm):
    with pytest.raises(ValueError, match=rf"k={k}.*dimension {dim}.*{norm}.*'kth'"):
        berrett_weights(k, dim)


def test_berrett_weights_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"k=3.*dimension 20.*'kth'"):
        berrett_weights(3, 20)


def test_several_rules_at_once_are_the_single_ones():
    x, y = correlated(300, 3, 3)
    labels = np.arange(300) % 3
    rules = ("kth", "berrett", "mutinfo")
    together = WKL(5, rules)
    results = {
        "entropy": (x,),
        "mutual_information": (x, y),
        "mutual_information_labels": (x, labels),
    }
    for method, data in results.items():
        by_rule = getattr(together, method)(*data)
        assert tuple(by_rule) == rules
        for rule, estimate in by_rule.items():
            alone = getattr(WKL(5, rule), method)(*data)
            # Sums over other neighbours too, whose weights are 0: rounding alone.
            assert estimate.value == pytest.approx(alone.value, abs=1e-12)
            assert estimate.std_error == pytest.approx(alone.std_error, rel=1e-9)


# -------------------------------------------------------------------------------------------- twins

DATA = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "uniform": lambda rng, *shape: rng.random(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
    "clusters": lambda rng, *shape: rng.integers(0, 3, shape) + 1e-4 * rng.standard_normal(shape),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
def test_entropy_is_that_of_all_pairs(kind, dim):
    for n, k in ((400, 5), (9, 5), (3, 1) if dim == 1 else (dim + 3, 2)):
        x = DATA[kind](np.random.default_rng([n, dim]), n, dim)
        weights = neighbor_weights("kth", k, dim)
        expected = naive.entropy_terms(x, weights).mean()
        # Two whitenings: 1e-12 of a distance, or 1e-8 of one of 1e-4 (clusters).
        assert WKL(k).entropy(x).value == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("dim", [3, 6, 7, 12])
@pytest.mark.parametrize("width", [1e-4, 1e-7])
def test_the_neighbours_in_tight_clusters_are_those_of_all_pairs(dim, width):
    # Where squares of distances are found as differences of squares, they drown in rounding.
    rng = np.random.default_rng(dim)
    x = rng.standard_normal((40, dim))[np.arange(320) % 40]
    x += width * rng.standard_normal((320, dim))
    expected = naive.entropy_terms(x, neighbor_weights("kth", 5, dim)).mean()
    # A distance of the clusters' width between numbers of size 1, rounded in every coordinate.
    assert WKL(5).entropy(x).value == pytest.approx(expected, abs=dim * 2.2e-16 / width)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 3)])
def test_mutual_information_is_that_of_all_pairs(kind, dim_x, dim_y):
    rng = np.random.default_rng(0)
    x, y = DATA[kind](rng, 300, dim_x), DATA[kind](rng, 300, dim_y)
    y[:, 0] += x[:, 0]
    weights = [neighbor_weights("berrett", 5, d) for d in (dim_x, dim_y, dim_x + dim_y)]
    terms = naive.mutual_information_terms(x, y, *weights)
    got = WKL(5, "berrett").mutual_information(x, y)
    assert got.value == pytest.approx(terms.mean(), abs=1e-8)
    assert got.std_error == pytest.approx(terms.std(ddof=1) / math.sqrt(300), rel=1e-8)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_labelled_mutual_information_is_that_of_all_pairs(kind, dim):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [20, 100, 200]))
    x = DATA[kind](rng, 320, dim) + labels[:, None]
    terms = naive.label_terms(x, labels, neighbor_weights("kth", 5, dim))
    got = WKL(5).mutual_information_labels(x, labels)
    assert got.value == pytest.approx(terms.mean(), abs=1e-8)
    assert got.std_error == pytest.approx(terms.std(ddof=1) / math.sqrt(320), rel=1e-8)


@pytest.mark.parametrize("sizes", [[9, 21, 270], [6, 6], [6] * 300])
def test_labelled_slices_are_those_of_all_pairs(sizes):
    rng = np.random.default_rng(0)
    sizes = np.array(sizes)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = rng.standard_normal((7, len(labels))) + 0.1 * labels
    got = WKL(5, ("kth", "mutinfo")).slice_terms_labels(x, labels, sizes)
    for rule, terms in zip(("kth", "mutinfo"), got, strict=True):
        weights = neighbor_weights(rule, 5, 1)
        twin = [naive.label_terms(row[:, None], labels, weights) for row in x]
        # The twin whitens, which moves values by 2e-16 of the spread, twice; the closest two of
        # 1800 are 1e-8 of it apart, in the worst of 7 rows.
        np.testing.assert_allclose(terms, twin, rtol=0, atol=1e-7)


def test_labelled_slices_are_the_same_alone_at_any_scale_and_place():
    # More than a block of them.
    n = _BLOCK // 3
    rng = np.random.default_rng(0)
    labels, sizes = np.arange(n) % 10, np.full(10, n // 10)
    x = rng.standard_normal((5, n))
    together = WKL(3).slice_terms_labels(x, labels, sizes)
    alone = [WKL(3).slice_terms_labels(row[None], labels, sizes)[0, 0] for row in x]
    np.testing.assert_array_equal(together[0], alone)
    for scale in (2.0**-960, 2.0**960):
        scaled = WKL(3).slice_terms_labels(scale * x, labels, sizes)
        np.testing.assert_array_equal(scaled, together)


def test_logarithms_are_those_of_numpy():
    rng = np.random.default_rng(0)
    near_one = 1.0 + np.spacing(1.0) * np.arange(-50, 50)
    # The mantissa is halved at the root of 2.
    near_root = math.sqrt(2.0) + np.spacing(1.0) * np.arange(-50, 50)
    wide = 10.0 ** rng.uniform(-307, 308, 5000)
    numbers = np.concatenate([near_one, near_root, rng.uniform(0.5, 2.0, 5000), wide])
    limits = np.array([np.finfo(float).tiny, np.finfo(float).max])
    odd = np.array([0.0, np.inf, np.nan, 5e-324, 1e-310, 2.0])
    for row in (numbers, limits, odd):
        logs = np.full((1, 3, len(row)), 7.0)
        _log_rows(row[None, None], np.zeros(len(row)), 1, logs)
        with np.errstate(divide="ignore"):
            # z, its square's product with the series, their sum and that with the exponent's part:
            # each rounded by 1.1e-16 of itself, which is at most the logarithm.
            np.testing.assert_allclose(logs[0, 1], np.log(row), rtol=4.5e-16, atol=0)
        np.testing.assert_array_equal(logs[0, [0, 2]], 7.0)
        _log_rows(row[None, None], np.arange(float(len(row))), 0, logs)
        np.testing.assert_array_equal(logs[0, 0], logs[0, 1] + np.arange(len(row)))


# ------------------------------------------------------------------------------------- exact values

DISTRIBUTIONS = {
    "normal": (lambda rng, *shape: rng.standard_normal(shape), NORMAL_ENTROPY),
    "uniform": (lambda rng, *shape: rng.random(shape), 0.0),
    "exponential": (lambda rng, *shape: rng.exponential(size=shape), 1.0),
}


# Mean of 10 seeds, n = 1000, k = 5: |bias| + 4 sd / sqrt(10); tolerances.md, row 1. In higher
# dimensions the bias of the k-th neighbour at a sharp edge of the density dominates.
@pytest.mark.parametrize(
    ("kind", "dim", "tolerance"),
    [
        ("normal", 1, 0.044),
        ("normal", 2, 0.074),
        ("normal", 3, 0.104),
        ("normal", 5, 0.145),
        ("uniform", 1, 0.025),
        ("uniform", 2, 0.070),
        ("uniform", 3, 0.189),
        ("uniform", 5, 0.575),
        ("exponential", 1, 0.049),
        ("exponential", 2, 0.112),
        ("exponential", 3, 0.240),
        ("exponential", 5, 0.707),
    ],
)
def test_entropy_is_that_of_the_distribution(kind, dim, tolerance):
    draw, entropy = DISTRIBUTIONS[kind]
    values = [WKL(5).entropy(draw(np.random.default_rng(s), 1000, dim)).value for s in range(10)]
    assert abs(np.mean(values) - dim * entropy) < tolerance


# As above; tolerances.md, row 2.
@pytest.mark.parametrize(("dim", "tolerance"), [(1, 0.075), (2, 0.084), (3, 0.097)])
def test_mutual_information_is_that_of_correlated_normals(dim, tolerance):
    pair = CorrelatedNormal(1.0, dim, dim, rng=0)
    values = [WKL(5).mutual_information(*pair.sample(1000, rng=seed)).value for seed in range(10)]
    assert abs(np.mean(values) - 1.0) < tolerance


def three_normals(seed, n=1000):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return rng.standard_normal((n, 1)) + 1.5 * labels[:, None], labels


def test_labelled_mutual_information_is_that_of_the_mixture():
    def integrand(t):
        density = np.mean([stats.norm.pdf(t, 1.5 * label) for label in range(3)])
        return -density * math.log(density)

    mixture = quad(integrand, -9, 12, epsabs=1e-10, limit=200)[0]
    values = [WKL(5).mutual_information_labels(*three_normals(s)).value for s in range(10)]
    # |bias| + 4 sd / sqrt(10) = 0.0068 + 4 * 0.0229 / sqrt(10), 100 seeds; tolerances.md, row 3.
    assert abs(np.mean(values) - (mixture - NORMAL_ENTROPY)) < 0.036


def test_errors_shrink_with_the_root_of_the_sample_size():
    sizes = np.array([250, 500, 1000, 2000, 4000])
    pair = CorrelatedNormal(0.5, 1, 1, rng=0)
    estimator = WKL(1)
    rmse = []
    for n in sizes:
        errors = [
            estimator.mutual_information(*pair.sample(n, rng=[n, seed])).value - 0.5
            for seed in range(300)
        ]
        rmse.append(math.sqrt(np.mean(np.square(errors))))
    exponent = np.polyfit(np.log(sizes), np.log(rmse), 1)[0]
    # The log of an RMSE over 300 seeds has sd 1 / sqrt(600); over these log sizes (root of their
    # sum of squares log 2 sqrt(10)) the exponent has sd 0.019. 0.075 is 4 of it.
    assert abs(exponent + 0.5) < 0.075


# -------------------------------------------------------------------------------------- invariances

ESTIMATORS = {
    "WKL": WKL(5),
    "WKL berrett": WKL(5, "berrett"),
    "WKL mutinfo": WKL(5, "mutinfo"),
    "Gaussian": Gaussian(),
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)

# Distances change by rounding, some 1e-14 of themselves; weights multiply that by at most 4.
ROUNDING = 1e-10


@every_estimator
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 3)])
def test_invertible_linear_maps_leave_mutual_information_alone(estimator, dim_x, dim_y):
    x, y = correlated(400, dim_x, dim_y)
    rng = np.random.default_rng(1)
    value = estimator.mutual_information(x, y).value
    moved = estimator.mutual_information(x + 100, y - 10).value
    assert moved == pytest.approx(value, abs=ROUNDING)
    # Squares of 1e200 overflow.
    for scale in (1e-12, 1e12, 1e-150, 1e150, 1e-200, 1e200):
        scaled = estimator.mutual_information(x * scale, y / scale).value
        assert scaled == pytest.approx(value, abs=ROUNDING)
    mapped = estimator.mutual_information(
        x @ rng.standard_normal((dim_x, dim_x)), y @ rng.standard_normal((dim_y, dim_y))
    )
    assert mapped.value == pytest.approx(value, abs=ROUNDING)
    columns = np.logspace(-100, 100, dim_x), np.logspace(-4, 4, dim_y)
    stretched = estimator.mutual_information(x * columns[0], y * columns[1]).value
    assert stretched == pytest.approx(value, abs=ROUNDING)


@every_estimator
def test_entropy_follows_a_linear_map_by_its_log_determinant(estimator):
    rng = np.random.default_rng(1)
    for dim in (1, 2, 3):
        x = rng.standard_normal((400, dim))
        a = rng.standard_normal((dim, dim))
        expected = estimator.entropy(x).value + np.linalg.slogdet(a)[1]
        assert estimator.entropy(x @ a + 50).value == pytest.approx(expected, abs=ROUNDING)
        tiny = estimator.entropy(x * 1e-150).value
        expected = estimator.entropy(x).value - 150 * dim * math.log(10)
        assert tiny == pytest.approx(expected, rel=1e-12)


@every_estimator
def test_a_large_offset_changes_nothing(estimator):
    # Multiples of 2^-20 below 2^4: adding 1e8 is exact.
    x, y = (np.round(values * 2**20) / 2**20 for values in correlated(400, 2, 3))
    value = estimator.mutual_information(x, y).value
    moved = estimator.mutual_information(x + 1e8, y - 1e8).value
    assert moved == pytest.approx(value, abs=ROUNDING)


@every_estimator
def test_the_order_of_samples_and_of_the_two_variables_does_not_matter(estimator):
    x, y = correlated(400, 2, 3)
    value = estimator.mutual_information(x, y).value
    order = np.random.default_rng(1).permutation(400)
    shuffled = estimator.mutual_information(x[order], y[order]).value
    assert shuffled == pytest.approx(value, abs=ROUNDING)
    assert estimator.mutual_information(y, x).value == pytest.approx(value, abs=ROUNDING)


@every_estimator
@pytest.mark.parametrize("n", [400, 3000])
def test_constant_and_repeated_columns_change_nothing(estimator, n):
    x, y = correlated(n, 2, 1)
    value = estimator.mutual_information(x, y).value
    # The mean of a column of 0.1 is not 0.1, and there is one for every sum that rounds.
    constants = np.tile([0.1, 1e8, -1 / 3, 0.0, 1e-200], (n, 1))
    wide = estimator.mutual_information(np.hstack([x, constants]), np.hstack([constants, y]))
    assert wide.value == pytest.approx(value, abs=ROUNDING)
    twice = estimator.mutual_information(np.hstack([x, x]), np.hstack([y, 3 * y + 1]))
    assert twice.value == pytest.approx(value, abs=ROUNDING)


def test_constant_columns_change_nothing_with_labels():
    x, labels = three_normals(0)
    value = WKL(5).mutual_information_labels(x, labels).value
    wide = np.hstack([x, np.tile([0.1, 1e8, 0.0], (len(x), 1))])
    assert WKL(5).mutual_information_labels(wide, labels).value == pytest.approx(value, abs=1e-10)


def test_labels_may_be_of_any_kind():
    x, labels = three_normals(0)
    value = WKL(5).mutual_information_labels(x, labels)
    kinds = [None, ("a", 1), "b"]
    objects = np.empty(len(labels), object)
    objects[:] = [kinds[label] for label in labels]
    for same in (labels.tolist(), labels * 1.5, np.array(["x", "y", "zz"])[labels], objects):
        got = WKL(5).mutual_information_labels(x, same)
        # Classes in another order are summed in another order.
        assert got.value == pytest.approx(value.value, abs=1e-12)
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = WKL(5).mutual_information_labels(x[order], labels[order]).value
    assert shuffled == pytest.approx(value.value, abs=ROUNDING)


# ---------------------------------------------------------------------------------- second opinions


@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 2), (20, 10)])
def test_gaussian_is_the_closed_form_of_the_sample_covariance(dim_x, dim_y):
    x, y = correlated(500, dim_x, dim_y)
    expected = naive.gaussian_mutual_information(x, y)
    assert Gaussian().mutual_information(x, y).value == pytest.approx(expected, abs=1e-11)
    covariance = np.atleast_2d(np.cov(x.T, ddof=0))
    entropy = dim_x * NORMAL_ENTROPY + 0.5 * np.linalg.slogdet(covariance)[1]
    assert Gaussian().entropy(x).value == pytest.approx(entropy, abs=1e-11)


def test_scikit_learn_finds_the_same_mutual_information():
    pair = CorrelatedNormal(0.5, 1, 1, rng=0)
    differences = []
    for seed in range(10):
        x, y = pair.sample(1000, rng=seed)
        other = mutual_info_regression(x, y.ravel(), n_neighbors=5, random_state=0)[0]
        differences.append(WKL(5).mutual_information(x, y).value - other)
    # |bias| + 4 sd / sqrt(10) = 0.0016 + 4 * 0.0325 / sqrt(10); tolerances.md, row 4.
    assert abs(np.mean(differences)) < 0.043


def test_scikit_learn_finds_the_same_labelled_mutual_information():
    differences = []
    for seed in range(10):
        x, labels = three_normals(seed)
        other = mutual_info_classif(x, labels, n_neighbors=5, random_state=0)[0]
        differences.append(WKL(5).mutual_information_labels(x, labels).value - other)
    # |bias| + 4 sd / sqrt(10) = 0.0023 + 4 * 0.0111 / sqrt(10); tolerances.md, row 5.
    assert abs(np.mean(differences)) < 0.017


# ---------------------------------------------------------------------------------- errors and ties


# Terms of neighbouring samples share distances and are correlated, which their spread does not
# show: errors at independence are 1.07 (k = 1) and 1.38 (k = 5) times as large as std_error says.
# The sd of 300 standardized errors is known to 1 / sqrt(600) = 4.1 %: 17 % is 4 of it.
# tolerances.md, row 6.
@pytest.mark.parametrize(("k", "factor"), [(1, 1.07), (5, 1.38)])
def test_the_standard_error_is_in_known_proportion_to_the_errors(k, factor):
    standardized = []
    for seed in range(300):
        x, y = np.random.default_rng(seed).standard_normal((2, 1000, 1))
        estimate = WKL(k).mutual_information(x, y)
        standardized.append(estimate.value / estimate.std_error)
    assert np.std(standardized, ddof=1) == pytest.approx(factor, rel=0.17)


def test_gaussian_standard_errors_cover():
    pair = CorrelatedNormal(0.5, 2, 2, rng=0)
    standardized = []
    for seed in range(300):
        estimate = Gaussian().mutual_information(*pair.sample(1000, rng=seed))
        standardized.append((estimate.value - 0.5) / estimate.std_error)
    # 4 / sqrt(600) = 0.17 for the sd of 300 numbers.
    assert np.std(standardized, ddof=1) == pytest.approx(1, rel=0.17)


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
@pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")
def test_ties_give_finite_numbers(dim):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 300, dim)).astype(float)
    x, y = (np.concatenate([values, values[:50]]) for values in (x, y))
    labels = np.arange(350) % 2
    for estimate in (
        WKL(5).entropy(x, rng=0),
        WKL(5).mutual_information(x, y, rng=0),
        WKL(5).mutual_information_labels(x, labels, rng=0),
    ):
        assert math.isfinite(estimate.value)
        assert math.isfinite(estimate.std_error)
    assert WKL(5).mutual_information(x, y, rng=0) == WKL(5).mutual_information(x, y, rng=0)


def test_few_ties_do_not_warn_and_more_than_one_in_a_hundred_do():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 1000, 1))
    x[:10] = x[10:20]
    value = WKL(5).mutual_information(x, y, rng=0).value
    assert math.isfinite(value)
    x[20:22] = x[22:24]
    with pytest.warns(UserWarning, match="12 of 1000 values of x repeat others") as caught:
        WKL(5).mutual_information(x, y, rng=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_repeated_samples_are_seen_among_close_ones():
    # Most values within 1e-9 of each other, some far away, and half of all repeated.
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 1)) < 0.8, 0.3 + 1e-9 * rng.standard_normal((500, 3)), 0.0)
    x[x == 0] = rng.standard_normal(np.count_nonzero(x == 0))
    x = rng.permutation(np.vstack([x, x]))
    with pytest.warns(UserWarning, match="values of x repeat others"):
        assert math.isfinite(WKL(1).entropy(x, rng=0).value)


def test_data_with_heavy_tails_have_no_ties():
    x = np.random.default_rng(0).standard_cauchy((100_000, 1))
    assert math.isfinite(WKL(1).entropy(x).value)


def test_an_estimate_is_a_value_and_its_error():
    x, y = correlated(100, 1, 1)
    estimate = WKL().mutual_information(x.tolist(), y.tolist())
    assert isinstance(estimate, Estimate)
    assert type(estimate.value) is float
    assert type(estimate.std_error) is float


def test_inputs_are_not_changed():
    x, y = correlated(100, 2, 2)
    x[:3] = x[3:6]
    x_before, y_before = x.copy(), y.copy()
    with pytest.warns(UserWarning, match="values of x repeat"):
        WKL().mutual_information(x, y, rng=0)
    Gaussian().mutual_information(x, y)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(y, y_before)


# --------------------------------------------------------------------------- counts of neighbours


@pytest.mark.parametrize("kind", ["normal", "uniform", "cauchy"])
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 1), (3, 5)])
@pytest.mark.parametrize("k", [1, 5])
def test_ksg_is_that_of_all_pairs(kind, dim_x, dim_y, k):
    rng = np.random.default_rng([dim_x, dim_y, k])
    x, y = DATA[kind](rng, 300, dim_x), DATA[kind](rng, 300, dim_y)
    y[:, 0] += x[:, 0]
    terms = naive.ksg_terms(x, y, k)
    got = KSG(k).mutual_information(x, y)
    # Counts are whole numbers: the same, or off by much more than the rounding of a sum.
    assert got.value == pytest.approx(terms.mean(), abs=1e-12)
    assert got.std_error == pytest.approx(terms.std(ddof=1) / math.sqrt(300), abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 5])
def test_labelled_ksg_is_that_of_all_pairs(dim, k):
    rng = np.random.default_rng([dim, k])
    labels = rng.integers(0, 3, 300)
    x = rng.standard_normal((300, dim)) + labels[:, None]
    terms = naive.ross_terms(x, labels, k)
    got = KSG(k).mutual_information_labels(x, labels)
    assert got.value == pytest.approx(terms.mean(), abs=1e-12)


def test_scikit_learn_finds_the_same_ksg():
    for seed, strength in enumerate((0.3, 1.0, 5.0)):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((500, 1))
        y = strength * x**2 + rng.standard_normal((500, 1))
        theirs = mutual_info_regression(x, y[:, 0], n_neighbors=5, random_state=0)[0]
        assert theirs > 0
        # It adds noise of 1e-10, which moves no count here.
        assert KSG(5).mutual_information(x, y).value == pytest.approx(theirs, abs=1e-12)
        labels = np.digitize(y[:, 0], [0, 1, 2])
        theirs = mutual_info_classif(x, labels, n_neighbors=5, random_state=0)[0]
        assert theirs > 0
        got = KSG(5).mutual_information_labels(x, labels).value
        assert got == pytest.approx(theirs, abs=1e-12)


@pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")
def test_ksg_takes_ties_constant_columns_and_offsets():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 200, 2)).astype(float)
    assert math.isfinite(KSG(3).mutual_information(x, y, rng=0).value)
    x, y = correlated(200, 2, 1)
    expected = KSG(3).mutual_information(x, y).value
    wide = np.hstack([x, np.full((200, 1), 0.1)])
    assert KSG(3).mutual_information(wide, y).value == expected
    got = KSG(3).mutual_information(x * 1e-150, y * 1e150).value
    assert got == pytest.approx(expected, abs=1e-12)
