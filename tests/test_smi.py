"""Sliced mutual information: against a plain twin, exact values, and what it must not depend on."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import joblib
import naive
import numpy as np
import pandas as pd
import pytest
import torch
from utils.copula import Copula

import utils.smi
from benchmarks.memory import peak_memory
from utils.estimators import KSG, WKL, Gaussian, neighbor_weights
from utils.slicing import SMICompressor, sample_spherical
from utils.smi import mutual_information_of_slices, sliced_mutual_information
from utils.synthetic import CorrelatedNormal

ROOT = Path(__file__).resolve().parents[1]

ignore_ties = pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")


def correlated(n, dim_x, dim_y, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


def same(got, expected, tolerance=0.0, errors=True):
    """Whether two results agree in every number, those of the sampling error among them or not."""
    names = ("value", "slicing_error", "per_slice", "pointwise")
    for name in names + (("std_error", "sampling_error") if errors else ()):
        np.testing.assert_allclose(
            getattr(got, name), getattr(expected, name), rtol=tolerance, atol=tolerance
        )
    assert got.n_samples == expected.n_samples
    assert got.n_projections == expected.n_projections


# -------------------------------------------------------------------------------------------- twins

DATA = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "uniform": lambda rng, *shape: rng.random(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
    "clusters": lambda rng, *shape: (
        rng.standard_normal((10, shape[1]))[rng.integers(0, 10, shape[0])]
        + 1e-6 * rng.standard_normal(shape)
    ),
    "integers": lambda rng, *shape: rng.integers(0, 3, shape).astype(float),
    "repeated rows": lambda rng, n, dim: rng.permutation(
        np.resize(rng.standard_normal((-(-2 * n // 3), dim)), (n, dim))
    ),
}
# Projections of size 1 are rounded by up to 4e-16. Neighbours at 1e-5, the closest of 3000, move by
# 1e-10 of their distance; at 1e-9, the closest in a cluster, by 1e-6, which averages out. Ties are
# told apart by 1e-7, in heaps of a thousand by 1e-10: 4e-6 of that a sample.
TOLERANCES = {"clusters": 1e-7, "integers": 5e-6, "repeated rows": 5e-6}
every_kind = pytest.mark.parametrize("kind", DATA)
# k + 2 samples, a few more than the kernel has lanes, and many.
SIZES = [(3, 1), (7, 5), (27, 25), (17, 1), (300, 5), (300, 25), (3000, 5)]


def same_as_twin(got, terms, kind):
    """Compare slices with the pointwise terms (n_slices, n) of a twin."""
    tolerance = TOLERANCES.get(kind, 1e-10)
    np.testing.assert_allclose(got.per_slice, terms.mean(axis=1), rtol=tolerance, atol=tolerance)
    assert got.value == pytest.approx(terms.mean(), rel=tolerance, abs=tolerance)
    if tolerance < 1e-6:
        # Single samples, where nothing averages out; not ties, whose order is left to rounding.
        np.testing.assert_allclose(
            got.pointwise, terms.mean(axis=0), rtol=0, atol=max(1e-8, 10 * tolerance)
        )


# Three samples of which two are equal are on a line, in every plane: infinite information.
ON_A_LINE = ("clusters", "repeated rows")


@ignore_ties
@pytest.mark.parametrize(
    ("kind", "n", "k"),
    [(kind, n, k) for kind in DATA for n, k in SIZES if n > 3 or kind not in ON_A_LINE],
)
def test_slices_are_measured_as_by_comparing_all_pairs(kind, n, k):
    rng = np.random.default_rng([n, k])
    x, y = DATA[kind](rng, n, 3), DATA[kind](rng, n, 2)
    settings = {"n_projections": 1 if n == 3000 else 5, "rng": 1}
    for rule in ("kth", "berrett"):
        got = sliced_mutual_information(
            x, y, estimator=WKL(k, rule), directions="paired blocks", **settings
        )
        weights = [neighbor_weights(rule, k, dim) for dim in (1, 2)]
        same_as_twin(got, naive.sliced_terms(x, y, *weights, **settings), kind)


@ignore_ties
@every_kind
@pytest.mark.parametrize(("n", "k"), [(6, 1), (300, 5), (3000, 25)])
def test_slices_with_labels_are_measured_as_by_comparing_all_pairs(kind, n, k):
    rng = np.random.default_rng([n, k])
    x, labels = DATA[kind](rng, n, 3), rng.permutation(np.arange(n) % 3)
    settings = {"n_projections": 1 if n == 3000 else 5, "rng": 1}
    got = sliced_mutual_information(x, labels, estimator=WKL(k), y_discrete=True, **settings)
    weights = neighbor_weights("kth", k, 1)
    same_as_twin(got, naive.sliced_label_terms(x, labels, weights, **settings), kind)


def test_gaussian_slices_are_the_closed_form():
    x, y = correlated(200, 3, 2)
    got = sliced_mutual_information(
        x, y, estimator=Gaussian(), n_projections=7, directions="paired blocks", rng=1
    )
    x_rng, y_rng, _, _ = np.random.default_rng(1).spawn(4)
    theta, phi = sample_spherical(3, 7, rng=x_rng), sample_spherical(2, 7, rng=y_rng)
    correlations = [np.corrcoef(x @ t, y @ p)[0, 1] for t, p in zip(theta, phi, strict=True)]
    expected = -0.5 * np.log1p(-np.square(correlations))
    np.testing.assert_allclose(got.per_slice, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("discrete", [False, True])
def test_ksg_slices_are_the_full_estimates_of_the_slices(discrete):
    x, y = correlated(300, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    ksg = KSG(3)
    measure = ksg.mutual_information_labels if discrete else ksg.mutual_information
    settings = {"n_projections": 20, "y_discrete": discrete, "rng": 0}
    got = sliced_mutual_information(x, y, estimator=ksg, **settings)
    expected = sliced_mutual_information(
        x, y, estimator=lambda x, y: measure(x, y).value, **settings
    )
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------- exact values


# One sample of 2000, 300 slices, true MI 2: |bias| + 4 sd over 60 seeds; tolerances.md, row 7.
# Most of the sd is the slices'; it falls with the dimension as SMI does.
@pytest.mark.parametrize(
    ("dim", "tolerance", "gaussian_tolerance"),
    [
        (1, 0.149, 0.100),
        (2, 0.123, 0.112),
        (3, 0.053, 0.047),
        (8, 0.020, 0.0088),
        (20, 0.015, 0.0019),
    ],
)
def test_smi_of_correlated_normals_is_its_exact_value(dim, tolerance, gaussian_tolerance):
    pair = CorrelatedNormal(2.0, dim, dim, rng=0)
    x, y = pair.sample(2000, rng=1)
    exact = pair.sliced_mutual_information
    smi = sliced_mutual_information(x, y, n_projections=300, rng=2)
    assert abs(smi.value - exact) < tolerance
    smi = sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=300, rng=2)
    assert abs(smi.value - exact) < gaussian_tolerance


def test_independent_data_average_to_zero_and_nothing_is_clipped():
    values, single = [], []
    for seed in range(20):
        x, y = np.random.default_rng(seed).standard_normal((2, 3000, 3))
        smi = sliced_mutual_information(x, y, estimator=WKL(k=1), n_projections=200, rng=seed)
        values.append(smi.value)
        single.extend(smi.per_slice)
    # The project's promise; bias 0.0021 + 4 * 0.0030 / sqrt(20) is 0.005: tolerances.md, row 7.
    assert abs(np.mean(values)) < 0.01
    # A slice has sd 0.045 around 0.002: 48 % are below 0.
    assert np.mean(np.array(single) < 0) > 0.4
    assert min(values) < 0


@pytest.mark.parametrize("n_projections", [200, 2000])
def test_the_slicing_error_is_the_spread_over_sets_of_directions(n_projections):
    x, y = CorrelatedNormal(2.0, 10, 10, rng=0).sample(500, rng=1)
    results = [
        sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=n_projections, rng=s)
        for s in range(100)
    ]
    spread = np.std([result.value for result in results], ddof=1)
    claimed = math.sqrt(np.mean([result.slicing_error**2 for result in results]))
    # A spread over 100 is known to 1 / sqrt(200) = 7 %: 4 of it. The claimed errors, each from 50
    # groups, average to within 1 %. tolerances.md, row 8.
    assert spread / claimed == pytest.approx(1, abs=0.29)


def test_the_slicing_error_of_wkl_on_independent_data_is_the_spread_over_sets_of_directions():
    x, y = np.random.default_rng(0).standard_normal((2, 500, 10))
    results = [sliced_mutual_information(x, y, n_projections=200, rng=s) for s in range(100)]
    spread = np.std([result.value for result in results], ddof=1)
    claimed = math.sqrt(np.mean([result.slicing_error**2 for result in results]))
    # As above.
    assert spread / claimed == pytest.approx(1, abs=0.29)


def test_the_error_falls_with_the_root_of_the_number_of_slices():
    x, y = CorrelatedNormal(2.0, 5, 5, rng=0).sample(500, rng=1)
    numbers = np.array([50, 200, 800, 3200])
    spreads = []
    for n_projections in numbers:
        values = [
            sliced_mutual_information(
                x,
                y,
                estimator=Gaussian(),
                n_projections=int(n_projections),
                directions="independent",
                rng=seed,
            ).value
            for seed in range(60)
        ]
        spreads.append(np.std(values, ddof=1))
    exponent = np.polyfit(np.log(numbers), np.log(spreads), 1)[0]
    # The log of a spread over 60 has sd 1 / sqrt(120); over these log numbers (root of their sum
    # of squares log 4 sqrt(5)) the exponent has sd 0.029. 0.12 is 4 of it.
    assert abs(exponent + 0.5) < 0.12


# Independent and dependent data, alone and in slices.
@pytest.mark.parametrize(
    ("estimator", "dim", "information"),
    [
        (WKL(5), 1, 0.0),
        (WKL(5), 1, 1.0),
        (WKL(5), 3, 0.0),
        (KSG(5), 1, 0.0),
        (Copula(), 1, 1.0),
        (Copula(), 3, 1.0),
        (Copula(k=10), 5, 0.0),
        (Gaussian(), 2, 1.0),
    ],
)
def test_the_standard_error_is_the_spread_over_data_sets(estimator, dim, information):
    n_sets = 150
    pair = CorrelatedNormal(information, dim, dim, rng=0)
    results = []
    for seed in range(n_sets):
        x, y = pair.sample(300, rng=[seed, dim])
        results.append(
            sliced_mutual_information(x, y, estimator=estimator, n_projections=60, rng=seed)
        )
    spread = np.std([result.value for result in results], ddof=1)
    claimed = math.sqrt(np.mean([result.std_error**2 for result in results]))
    # The spread is known to 1 / sqrt(2 * 150) = 6 %, the ratio at independence, from 1000, to 3 %
    # and the claimed variance is at least that of independent data, which adds some 5 %: 4 sd.
    assert spread / claimed == pytest.approx(1, abs=0.05 + 4 * math.hypot(0.06, 0.03))


def test_the_standard_error_with_labels_is_the_spread_over_data_sets():
    results = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x, labels = rng.standard_normal((300, 2)), np.arange(300) % 3
        results.append(
            sliced_mutual_information(
                x, labels, estimator=WKL(3), n_projections=60, y_discrete=True, rng=seed
            )
        )
    spread = np.std([result.value for result in results], ddof=1)
    claimed = math.sqrt(np.mean([result.std_error**2 for result in results]))
    # As above.
    assert spread / claimed == pytest.approx(1, abs=0.05 + 4 * math.hypot(0.06, 0.03))


@pytest.mark.parametrize("n_dependent", [1, 5])
def test_crossed_directions_leave_a_smaller_error_than_independent_ones(n_dependent):
    x = np.random.default_rng(0).standard_normal((500, 5))
    y = np.random.default_rng(1).standard_normal((500, 5))
    y[:, :n_dependent] += x[:, :n_dependent]
    spreads = {}
    for directions in ("crossed", "independent"):
        values = [
            sliced_mutual_information(
                x, y, estimator=Gaussian(), n_projections=400, directions=directions, rng=seed
            ).value
            for seed in range(40)
        ]
        spreads[directions] = np.std(values, ddof=1)
    # For the squared correlations alone nothing is left of the spread that a basis cancels; half
    # the error is asked for, and a ratio of two spreads over 40 is known to 16 %.
    assert spreads["crossed"] < 0.5 * spreads["independent"]


@pytest.mark.parametrize("directions", ["crossed", "paired blocks", "independent"])
def test_slices_are_added_until_the_error_is_small_enough(directions):
    x, y = correlated(200, 4, 3)
    settings = {"directions": directions, "estimator": Gaussian(), "rng": 0}
    whole = sliced_mutual_information(x, y, n_projections=1000, tol=1e-9, **settings)
    assert whole.n_projections == len(whole.per_slice) == 1000
    # Between what 1000 slices reach and what 200 do.
    tol = 1.5 * whole.slicing_error
    some = sliced_mutual_information(x, y, n_projections=1000, tol=tol, **settings)
    assert 200 <= some.n_projections < 1000
    assert some.n_projections == len(some.per_slice)
    assert some.slicing_error <= tol
    np.testing.assert_array_equal(some.per_slice, whole.per_slice[: some.n_projections])
    least = sliced_mutual_information(x, y, n_projections=1000, tol=1e9, **settings)
    assert 200 <= least.n_projections <= some.n_projections


def test_unknown_directions_and_tolerances_are_refused():
    x, y = correlated(50, 2, 2)
    with pytest.raises(ValueError, match="directions='sobol' is unknown"):
        sliced_mutual_information(x, y, directions="sobol")
    for tol in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="tol="):
            sliced_mutual_information(x, y, tol=tol)


# ----------------------------------------------------------------------------- what adds up to what


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("discrete", [False, True])
def test_the_value_is_the_mean_over_slices_and_over_samples(dim, discrete):
    x, y = correlated(400, dim, 1)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    smi = sliced_mutual_information(x, y, n_projections=333, y_discrete=discrete, rng=0)
    assert smi.per_slice.shape == (333,)
    assert smi.pointwise.shape == (400,)
    assert (smi.n_samples, smi.n_projections) == (400, 333)
    assert smi.value == pytest.approx(smi.per_slice.mean(), abs=1e-14)
    assert smi.value == pytest.approx(smi.pointwise.mean(), abs=1e-13)
    assert smi.std_error == pytest.approx(math.hypot(smi.slicing_error, smi.sampling_error))
    if dim == 3 and discrete:
        # 47 groups of 7; 4 slices are left.
        means = smi.per_slice[:329].reshape(47, 7).mean(axis=1)
        slicing = np.std(means, ddof=1) / math.sqrt(47)
        assert smi.slicing_error == pytest.approx(slicing, rel=1e-12)
    elif dim == 3:
        # 333 // 25 = 13 pairs a block at most: 3 directions of x, and 1 of y.
        means = smi.per_slice.reshape(-1, 9).mean(axis=1)
        slicing = np.std(means, ddof=1) / math.sqrt(len(means))
        assert smi.slicing_error == pytest.approx(slicing, rel=1e-12)


@pytest.mark.parametrize("n_projections", [1, 7])
def test_in_one_dimension_slicing_is_no_slicing(n_projections):
    x, y = correlated(300, 1, 1)
    smi = sliced_mutual_information(x, y, n_projections=n_projections, rng=0)
    plain = WKL().mutual_information(x, y)
    # The pair is whitened in another rotation: rounding.
    assert smi.value == pytest.approx(plain.value, abs=1e-12)
    np.testing.assert_allclose(
        smi.pointwise.std(ddof=1), plain.std_error * math.sqrt(300), rtol=1e-10
    )
    assert smi.std_error == smi.sampling_error
    assert smi.slicing_error == 0
    assert smi.per_slice.shape == (n_projections,)


def test_a_single_slice_of_several_dimensions_has_an_infinite_slicing_error():
    x, y = correlated(100, 2, 1)
    assert sliced_mutual_information(x, y, n_projections=1, rng=0).slicing_error == math.inf


def test_a_side_of_one_dimension_is_not_sliced():
    # Its slices are plus and minus the same, which changes no information.
    x, y = correlated(300, 3, 1)
    smi = sliced_mutual_information(x, y, n_projections=9, directions="paired blocks", rng=0)
    theta = sample_spherical(3, 9, rng=np.random.default_rng(0).spawn(4)[0])
    expected = [WKL().mutual_information((x @ t)[:, None], y).value for t in theta]
    np.testing.assert_allclose(smi.per_slice, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("discrete", [False, True])
def test_several_rules_at_once_are_the_single_ones(discrete):
    x, y = correlated(300, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    rules = ("mutinfo", "kth", "berrett")
    settings = {"n_projections": 40, "y_discrete": discrete, "rng": 0}
    together = sliced_mutual_information(x, y, estimator=WKL(5, rules), **settings)
    assert tuple(together) == rules
    for rule in rules:
        alone = sliced_mutual_information(x, y, estimator=WKL(5, rule), **settings)
        # Sums over other neighbours too, whose weights are 0: rounding alone.
        same(together[rule], alone, 1e-12)


@ignore_ties
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("rule", ["kth", "mutinfo"])
def test_a_function_that_wraps_the_estimator_gives_the_same(discrete, rule):
    x, y = correlated(200, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    wkl = WKL(5, rule)
    measure = wkl.mutual_information_labels if discrete else wkl.mutual_information
    settings = {"n_projections": 20, "y_discrete": discrete, "rng": 0}
    expected = sliced_mutual_information(x, y, estimator=wkl, **settings)
    got = sliced_mutual_information(x, y, estimator=lambda x, y: measure(x, y).value, **settings)
    # The function whitens anew, by another rotation: rounding.
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-11)
    assert got.slicing_error == pytest.approx(expected.slicing_error, rel=1e-9)
    assert got.sampling_error == 0
    assert got.std_error == got.slicing_error
    assert len(got.pointwise) == 0


def test_a_function_is_given_one_column_of_each():
    x, y = correlated(50, 3, 2)
    shapes = sliced_mutual_information(
        x, y, estimator=lambda x, y: x.shape == y.shape == (50, 1), n_projections=3, rng=0
    )
    assert shapes.value == 1
    shapes = sliced_mutual_information(
        x,
        np.arange(50) % 5,
        estimator=lambda x, y: x.shape == (50, 1) and y.shape == (50,),
        n_projections=3,
        y_discrete=True,
        rng=0,
    )
    assert shapes.value == 1


@pytest.mark.parametrize("estimator", [WKL(), Gaussian(), lambda x, y: float(x[0, 0] + y[0, 0])])
def test_ready_made_slices_give_what_slicing_gives(estimator):
    x, y = correlated(300, 4, 3)
    expected = sliced_mutual_information(
        x, y, estimator=estimator, n_projections=333, directions="paired blocks", rng=5
    )
    x_rng, y_rng, _, _ = np.random.default_rng(5).spawn(4)
    x_slices = SMICompressor(4, 333, rng=x_rng)(x)
    y_slices = SMICompressor(3, 333, rng=y_rng)(y)
    got = mutual_information_of_slices(x_slices, y_slices, estimator=estimator)
    # The products of one matrix and of its blocks may be summed in different orders.
    same(got, expected, 1e-11, errors=False)


def test_ready_made_slices_with_labels_give_what_slicing_gives():
    x, y = correlated(300, 4, 1)
    labels = np.where(y[:, 0] > 0, "up", "down")
    expected = sliced_mutual_information(x, labels, n_projections=50, y_discrete=True, rng=5)
    slices = SMICompressor(4, 50, rng=np.random.default_rng(5).spawn(4)[0])(x)
    got = mutual_information_of_slices(slices, labels, y_discrete=True)
    same(got, expected, 1e-11, errors=False)


def test_ready_made_slices_may_be_float32_or_tensors():
    rng = np.random.default_rng(0)
    # Exponential data crowd at 0: centred in float32, close values would become equal.
    x, y = rng.exponential(size=(2, 20, 3000)).astype(np.float32)
    expected = mutual_information_of_slices(x.astype(float), y.astype(float), rng=0)
    same(mutual_information_of_slices(x, y, rng=0), expected)
    tensors = [torch.tensor(values, requires_grad=True) for values in (x, y)]
    same(mutual_information_of_slices(*tensors, rng=0), expected)


@ignore_ties
def test_ready_made_slices_may_hold_ties_of_their_own():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3, 500))
    x[1] = x[1].round(1)
    y[2] = 0.0
    y[2, :100] = rng.standard_normal(100)
    smi = mutual_information_of_slices(x, y, rng=0)
    assert np.isfinite(smi.per_slice).all()
    assert smi.per_slice[0] == mutual_information_of_slices(x[:1], y[:1]).value
    labels = np.arange(500) % 2
    smi = mutual_information_of_slices(x, labels, y_discrete=True, rng=0)
    assert np.isfinite(smi.per_slice).all()


# --------------------------------------------------------------------- what the answer is made from


def test_the_same_rng_gives_the_same_numbers_and_another_gives_others():
    x, y = correlated(300, 3, 3)
    first = sliced_mutual_information(x, y, n_projections=100, rng=1)
    same(sliced_mutual_information(x, y, n_projections=100, rng=1), first)
    rng = np.random.default_rng(1)
    same(sliced_mutual_information(x, y, n_projections=100, rng=rng), first)
    second = sliced_mutual_information(x, y, n_projections=100, rng=rng)
    assert not np.any(second.per_slice == first.per_slice)


NUMBERS = """
import numpy as np, utils.smi
x = np.random.default_rng(0).standard_normal((2000, 30))
y = x[:, :20] ** 2 + np.random.default_rng(1).standard_normal((2000, 20))
smi = utils.smi.sliced_mutual_information(x, y, n_projections=200, rng=3)
print(smi.value.hex(), smi.std_error.hex(), float(smi.per_slice @ np.arange(200)).hex())
"""


def test_numbers_depend_neither_on_the_number_of_threads_nor_on_the_process(monkeypatch):
    x = np.random.default_rng(0).standard_normal((2000, 30))
    y = x[:, :20] ** 2 + np.random.default_rng(1).standard_normal((2000, 20))
    results = []
    for n_threads in (1, 2, 3):
        monkeypatch.setattr(utils.smi.joblib, "cpu_count", lambda n=n_threads: n)
        results.append(sliced_mutual_information(x, y, n_projections=200, rng=3))
    same(results[1], results[0])
    same(results[2], results[0])
    smi = results[0]
    weighed = float(smi.per_slice @ np.arange(200))
    fresh = subprocess.run(
        [sys.executable, "-c", NUMBERS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"{smi.value.hex()} {smi.std_error.hex()} {weighed.hex()}\n"
    assert fresh.stdout == expected


def test_slices_that_are_measured_together_have_the_same_bits(monkeypatch):
    x, y = correlated(300, 3, 3)
    # What independent data of this size give is measured once a process, in threads as well.
    sliced_mutual_information(x, y, n_projections=1, rng=0)
    results, n_asked = [], 0

    def cpu_count():
        nonlocal n_asked
        n_asked += 1
        return 2

    monkeypatch.setattr(utils.smi.joblib, "cpu_count", cpu_count)
    for worth_a_thread in (0, 5000, 10**5):
        monkeypatch.setattr(utils.smi, "_WORTH_A_THREAD", worth_a_thread)
        results.append(sliced_mutual_information(x, y, n_projections=100, rng=1))
        same(results[-1], results[0])
    # Once a call for all slices, and not at all where they are too few for a second thread.
    assert n_asked == 2


@pytest.mark.parametrize("estimator", [WKL(5), KSG(5), Copula(), Gaussian()])
def test_what_samples_miss_of_each_other_is_known_from_fewer(estimator, monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((2, 2000, 3))
    options = {"estimator": estimator, "n_projections": 50, "rng": 0}
    expected = sliced_mutual_information(x, y, **options).sampling_error
    monkeypatch.setattr(utils.smi, "_NULL_SAMPLES", 500)
    got = sliced_mutual_information(x, y, **options).sampling_error
    assert got != expected
    # 0.085: the ratio of variances differs by 4 % (WKL; measured), so errors by 2 %, and each is
    # known from 4000 slices to 1.1 %; 4 times the root of two of these more.
    assert abs(got / expected - 1) < 0.085


class FailsIn:
    """An estimator that fails in the calling thread or in the others, once one of these began."""

    k = 1

    def __init__(self, caller):
        self.fails_in_caller = caller
        self.n_begun = 0
        self.has_begun = threading.Event()

    def slice_terms(self, x, y):
        if threading.current_thread() is threading.main_thread():
            assert self.has_begun.wait(60)
            fails = self.fails_in_caller
        else:
            self.n_begun += 1
            self.has_begun.set()
            time.sleep(0.5)
            fails = not self.fails_in_caller
        if fails:
            raise KeyboardInterrupt
        return np.zeros((1, *x.shape))


@pytest.mark.parametrize("caller", [True, False])
def test_what_stops_a_thread_stops_the_call_and_leaves_no_thread(caller, monkeypatch):
    x, y = correlated(3000, 3, 3)
    monkeypatch.setattr(utils.smi.joblib, "cpu_count", lambda: 2)
    before = set(threading.enumerate())
    estimator = FailsIn(caller)
    with pytest.raises(KeyboardInterrupt):
        sliced_mutual_information(x, y, estimator=estimator, n_projections=2000, rng=0)
    # But for that of the progress bar, which stays.
    left = {type(thread).__name__ for thread in set(threading.enumerate()) - before}
    assert left <= {"TMonitor"}
    # Two blocks each of the batch that failed or was under way, and perhaps of the next one; none of
    # the others that wait, which have a dozen.
    assert estimator.n_begun <= 4


def test_numbers_do_not_depend_on_being_computed_in_a_worker_process():
    x, y = correlated(300, 3, 3)
    expected = sliced_mutual_information(x, y, n_projections=100, rng=1)
    (got,) = joblib.Parallel(n_jobs=2)(
        [joblib.delayed(sliced_mutual_information)(x, y, n_projections=100, rng=1)]
    )
    same(got, expected)


def as_memmap(values, folder):
    mapped = np.memmap(folder / f"{id(values)}", values.dtype, "w+", shape=values.shape)
    mapped[:] = values
    return mapped


def read_only(values):
    values = values.copy()
    values.setflags(write=False)
    return values


CONTAINERS = {
    "list": lambda values, _: values.tolist(),
    "tensor": lambda values, _: torch.tensor(values),
    "tensor with gradient": lambda values, _: torch.tensor(values, requires_grad=True),
    "data frame": lambda values, _: pd.DataFrame(values),
    "Fortran order": lambda values, _: np.asfortranarray(values),
    "read-only": lambda values, _: read_only(values),
    "memory map": as_memmap,
    "image": lambda values, _: values.reshape(len(values), 1, 2, -1),
    "strided": lambda values, _: np.repeat(values, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_data_may_come_in_any_container(container, tmp_path):
    x, y = correlated(200, 4, 2)
    expected = sliced_mutual_information(x, y, n_projections=10, rng=0)
    x_held, y_held = container(x, tmp_path), container(y, tmp_path)
    # Another memory order may sum products in another order.
    got = sliced_mutual_information(x_held, y_held, n_projections=10, rng=0)
    same(got, expected, 1e-11)
    labels = np.arange(200) % 2
    expected = sliced_mutual_information(x, labels, n_projections=10, y_discrete=True, rng=0)
    for held in (labels, labels.tolist(), torch.tensor(labels), pd.Series(labels)):
        got = sliced_mutual_information(x_held, held, n_projections=10, y_discrete=True, rng=0)
        same(got, expected, 1e-11)


def test_float32_gives_the_same_to_its_rounding():
    x, y = correlated(500, 4, 2)
    expected = sliced_mutual_information(x, y, n_projections=20, rng=0)
    x_single, y_single = x.astype(np.float32), y.astype(np.float32)
    # The very numbers that float32 holds, in float64: the same to the last bit but for the sums.
    exact = sliced_mutual_information(
        x_single.astype(float), y_single.astype(float), n_projections=20, rng=0
    )
    got = sliced_mutual_information(x_single, y_single, n_projections=20, rng=0)
    same(got, exact, 1e-11)
    # A value of size 1 is rounded by 3e-8 at most, against distances of 0.006 in the mean; over
    # 500 samples this averages out by 20: 1e-6 a slice.
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8, np.float16])
@ignore_ties
def test_columns_of_integers_are_measurements(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (2, 300, 5)).astype(dtype)
    expected = sliced_mutual_information(x.astype(float), y.astype(float), n_projections=10, rng=0)
    same(sliced_mutual_information(x, y, n_projections=10, rng=0), expected, 1e-11)


def test_inputs_are_not_changed():
    x, y = correlated(300, 3, 3)
    x[:2] = x[2:4]
    before = x.copy(), y.copy()
    sliced_mutual_information(x, y, n_projections=10, rng=0)
    mutual_information_of_slices(x.T, y.T, rng=0)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("estimator", [WKL(), Gaussian()])
@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e-150, 1e150, 1e200])
def test_scales_change_nothing(estimator, scale):
    x, y = correlated(300, 3, 2)
    settings = {"estimator": estimator, "n_projections": 10, "rng": 0}
    expected = sliced_mutual_information(x, y, **settings)
    same(sliced_mutual_information(x * scale, y / scale, **settings), expected, 1e-10)
    slices = (x @ sample_spherical(3, 10, rng=0).T).T
    options = {"estimator": estimator, "rng": 0}
    expected = mutual_information_of_slices(slices, slices[::-1], **options)
    got = mutual_information_of_slices(slices * scale, slices[::-1] / scale, **options)
    same(got, expected, 1e-10)


def test_slices_of_very_different_scales_are_measured_together():
    x, y = correlated(300, 3, 3)
    x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    expected = mutual_information_of_slices(x, y, rng=0)
    scales = np.array([[1e-150], [1.0], [1e150]])
    same(mutual_information_of_slices(x * scales, y / scales, rng=0), expected, 1e-10)


@pytest.mark.parametrize("estimator", [WKL(), Gaussian()])
def test_a_large_offset_changes_nothing(estimator):
    # Multiples of 2^-20 below 2^4: adding 1e8 is exact.
    x, y = (np.round(values * 2**20) / 2**20 for values in correlated(400, 2, 3))
    settings = {"estimator": estimator, "n_projections": 10, "rng": 0}
    expected = sliced_mutual_information(x, y, **settings)
    same(sliced_mutual_information(x + 1e8, y - 1e8, **settings), expected, 1e-10)


def test_constant_columns_only_shrink_the_slices():
    # A slice of (x, constants) is a slice of x times a number: the same information.
    x, y = correlated(300, 1, 1)
    value = WKL().mutual_information(x, y).value
    wide = np.hstack([x, np.tile([0.1, 1e8, 0.0], (300, 1))])
    smi = sliced_mutual_information(wide, y, n_projections=20, rng=0)
    np.testing.assert_allclose(smi.per_slice, value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [300, 30_000])
def test_heavy_tails_are_finite_and_not_taken_for_ties(n):
    x, y = np.random.default_rng(0).standard_cauchy((2, n, 3))
    smi = sliced_mutual_information(x, y, n_projections=10, rng=0)
    assert np.isfinite(smi.per_slice).all()
    assert np.isfinite(smi.pointwise).all()


def test_ready_made_slices_with_heavy_tails_are_not_taken_for_ties():
    x, y = np.random.default_rng(0).standard_cauchy((2, 2, 100_000))
    assert np.isfinite(mutual_information_of_slices(x, y, rng=0).per_slice).all()


def test_ties_are_finite_and_warned_of_above_one_in_a_hundred():
    x, y = correlated(1000, 2, 2)
    x[:10] = x[10:20]
    smi = sliced_mutual_information(x, y, n_projections=10, rng=0)
    assert np.isfinite(smi.pointwise).all()
    same(sliced_mutual_information(x, y, n_projections=10, rng=0), smi)
    x[20:22] = x[22:24]
    with pytest.warns(UserWarning, match="12 of 1000 values of x repeat others") as caught:
        smi = sliced_mutual_information(x, y, n_projections=10, rng=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isfinite(smi.pointwise).all()
    x, y = correlated(1000, 2, 2)
    y[:300] = 0.0
    with pytest.warns(UserWarning, match="299 of 1000 values of y repeat others"):
        smi = sliced_mutual_information(x, y, n_projections=10, rng=0)
    assert np.isfinite(smi.pointwise).all()


def test_memory_does_not_grow_with_the_number_of_slices():
    x, y = correlated(2000, 20, 20)
    peaks = {}
    for n_projections in (4000, 12_000):
        sliced_mutual_information(x, y, n_projections=n_projections, rng=0)
        tracemalloc.start()
        sliced_mutual_information(x, y, n_projections=n_projections, rng=0)
        peaks[n_projections] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Blocks in flight differ from run to run by a few; all slices at once take 192 MB an array.
    assert peaks[12_000] < 1.5 * peaks[4000] + 1e6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_maps_are_read_in_blocks():
    n, dim = 2**16, 300
    peak, _ = peak_memory(n, dim, n_projections=32)
    inputs = 2 * n * dim * 4
    array = n * 8
    # Both threads hold 8 projections of x and of y, and in the kernel at most 40 arrays: 59 MB.
    # A copy of x takes 79 MB, all projections at once 34 MB: too much beside the 46 MB measured.
    assert peak < inputs + 2 * (2 * 8 + 40) * array


@pytest.mark.parametrize("progress", [False, True])
def test_the_progress_bar_is_on_stderr_when_asked_for(progress, capfd):
    x, y = correlated(100, 2, 2)
    sliced_mutual_information(x, y, n_projections=10, rng=0, progress=progress)
    mutual_information_of_slices(x.T, y.T, progress=progress)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert ("slices" in printed.err) == progress
    assert bool(printed.err) == progress


def test_a_result_says_in_one_line_what_it_is():
    x, y = correlated(100, 2, 2)
    smi = sliced_mutual_information(x, y, n_projections=10, rng=0)
    assert repr(smi).startswith("SlicedEstimate(")
    assert "n_samples=100, n_projections=10" in repr(smi)
    assert "\n" not in repr(smi)
