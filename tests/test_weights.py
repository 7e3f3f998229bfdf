"""Weights of neighbours: those of Berrett et al., and those of the library behind the figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import null_space
from scipy.special import gammaln

from utils import WKL, berrett_weights
from utils.estimators import neighbor_weights

REFERENCE = json.loads((Path(__file__).parent / "data" / "mutinfo_wkl_values.json").read_text())
CASES = {str(case["seed"]): case for case in REFERENCE["cases"]}
CONTINUOUS = [seed for seed, case in CASES.items() if case["case"] == "continuous"]
DISCRETE = [seed for seed, case in CASES.items() if case["case"] == "discrete"]
SCALED = [seed for seed in CONTINUOUS if CASES[seed]["kind"] == "scaled"]


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
