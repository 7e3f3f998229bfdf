"""Entropy and mutual information against exact values, invariances, twins and other libraries."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from utils import WKL, CorrelatedNormal, Estimate, Gaussian
from utils.estimators import neighbor_weights
from utils.validation import as_labels

NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


def correlated(n, dim_x, dim_y, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


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
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = rng.standard_normal((7, len(labels))) + 0.1 * labels
    got = WKL(5, ("kth", "mutinfo")).slice_terms_labels(x, as_labels(labels, "labels"))
    for rule, terms in zip(("kth", "mutinfo"), got, strict=True):
        weights = neighbor_weights(rule, 5, 1)
        # The twin whitens, which moves values by 2e-16 of the spread, twice; the closest two of
        # 1800 are 1e-8 of it apart, in the worst of 7 rows.
        np.testing.assert_allclose(
            terms, naive.sliced_label_terms(x, labels, weights), rtol=0, atol=1e-7
        )


def test_slices_have_the_same_bits_alone_and_together():
    x, y = np.random.default_rng(0).standard_normal((2, 70, 1000))
    labels = as_labels(np.arange(1000) % 10, "labels")
    for measure, other in (
        (WKL(5).slice_terms, y),
        (WKL(5, "mutinfo").slice_terms, y),
        (Gaussian().slice_terms, y),
        (lambda x, _: WKL(5).slice_terms_labels(x, labels), y),
    ):
        together = measure(x, other)
        alone = [measure(x[s : s + 1], other[s : s + 1])[:, 0] for s in range(len(x))]
        np.testing.assert_array_equal(together, np.stack(alone, axis=1))


def test_labelled_slices_have_the_same_bits_at_any_scale():
    labels = as_labels(np.arange(1000) % 10, "labels")
    x = np.random.default_rng(0).standard_normal((5, 1000))
    expected = WKL(5).slice_terms_labels(x, labels)
    for scale in (2.0**-960, 2.0**960):
        np.testing.assert_array_equal(WKL(5).slice_terms_labels(scale * x, labels), expected)


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
    sizes = np.array([250, 1000, 4000])
    pair = CorrelatedNormal(0.5, 1, 1, rng=0)
    estimator = WKL(1)
    rmse = []
    for n in sizes:
        errors = [
            estimator.mutual_information(*pair.sample(n, rng=[n, seed])).value - 0.5
            for seed in range(150)
        ]
        rmse.append(math.sqrt(np.mean(np.square(errors))))
    exponent = np.polyfit(np.log(sizes), np.log(rmse), 1)[0]
    # The log of an RMSE over 150 seeds has sd 1 / sqrt(300); over these log sizes (root of their
    # sum of squares log 4 sqrt(2)) the exponent has sd 0.029. 0.12 is 4 of it.
    assert abs(exponent + 0.5) < 0.12


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
    kinds = [3.5, ("a", 1), "b"]
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
    x, y = rng.standard_normal((2, 300, dim))
    x[100:150] = x[0]
    y[:20] = rng.integers(0, 5, (20, dim))
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
    # Most values within 1e-9 of each other, some far away, and two in seven repeated.
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 1)) < 0.8, 0.3 + 1e-9 * rng.standard_normal((500, 3)), 0.0)
    x[x == 0] = rng.standard_normal(np.count_nonzero(x == 0))
    x = rng.permutation(np.vstack([x, x[:200]]))
    with pytest.warns(UserWarning, match="200 of 700 values of x repeat others"):
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
