"""Sliced mutual information: against a plain twin, exact values, and what it must not depend on."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import joblib
import naive
import numpy as np
import pytest
from recorded import Recorder, recorded_slices

from utils import (
    KSG,
    WKL,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    mutual_information_of_slices,
    sliced_mutual_information,
)
from utils.estimators import as_slice_estimator, neighbor_weights

ROOT = Path(__file__).resolve().parents[1]

ignore_ties = pytest.mark.filterwarnings(
    "ignore:.* repeat others:UserWarning", "ignore:.* is never negative:UserWarning"
)
wkl_smi = partial(sliced_mutual_information, estimator=WKL(5))


def correlated(n, dim_x, dim_y, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, dim_x)), rng.standard_normal((n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


def same(got, expected, tolerance=0.0):
    """Whether two results agree in every number."""
    for name in ("value", "std_error", "slicing_error", "sampling_error", "per_slice", "pointwise"):
        np.testing.assert_allclose(
            getattr(got, name), getattr(expected, name), rtol=tolerance, atol=tolerance
        )
    assert got.n_samples == expected.n_samples
    assert got.n_projections == expected.n_projections


def same_slices(got, expected):
    """Whether two results have the same slices, and terms that differ by a constant alone."""
    np.testing.assert_array_equal(got.per_slice, expected.per_slice)
    terms, expected_terms = got.pointwise, expected.pointwise
    if len(expected_terms):
        terms, expected_terms = terms - got.value, expected_terms - expected.value
    np.testing.assert_allclose(terms, expected_terms, rtol=0, atol=1e-13)


# -------------------------------------------------------------------------------------------- twins

DATA = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
    "clusters": lambda rng, *shape: (
        rng.standard_normal((10, shape[1]))[rng.integers(0, 10, shape[0])]
        + 1e-6 * rng.standard_normal(shape)
    ),
    "integers": lambda rng, *shape: rng.integers(0, 60, shape).astype(float),
    "repeated rows": lambda rng, n, dim: rng.permutation(
        np.resize(rng.standard_normal((-(-2 * n // 3), dim)), (n, dim))
    ),
}
# Projections of size 1 are rounded by up to 4e-16. Neighbours at 1e-5, the closest of 1000, move by
# 1e-10 of their distance; at 1e-9, the closest in a cluster, by 1e-6, which averages out. Ties are
# told apart by 1e-7, in heaps of a hundred by 1e-9: 4e-7 of that a sample.
TOLERANCES = {"clusters": 1e-7, "integers": 5e-6, "repeated rows": 5e-6}
every_kind = pytest.mark.parametrize("kind", DATA)
# k + 2 samples, a few more than the kernel has lanes, and many.
SIZES = [(3, 1), (7, 5), (27, 25), (17, 1), (300, 25), (1000, 5)]


def same_as_twin(got, terms, kind):
    """Compare slices with the pointwise terms (n_slices, n) of a twin."""
    tolerance = TOLERANCES.get(kind, 1e-10)
    np.testing.assert_allclose(got.per_slice, terms.mean(axis=1), rtol=tolerance, atol=tolerance)
    # Single samples, where nothing averages out, without what control variates add to all of them.
    np.testing.assert_allclose(
        got.pointwise - got.value,
        terms.mean(axis=0) - terms.mean(),
        rtol=0,
        atol=max(1e-8, 1000 * tolerance),
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
    rules = ("kth", "berrett")
    options = {"estimator": WKL(k, rules), "n_projections": 2 if n == 1000 else 5, "rng": 1}
    results = sliced_mutual_information(x, y, **options)
    slices = recorded_slices(sliced_mutual_information, x, y, **options)
    for rule in rules:
        weights = [neighbor_weights(rule, k, dim) for dim in (1, 2)]
        same_as_twin(results[rule], naive.sliced_terms(*slices, *weights), kind)


@ignore_ties
@every_kind
@pytest.mark.parametrize(("n", "k"), [(6, 1), (300, 5), (1000, 25)])
def test_slices_with_labels_are_measured_as_by_comparing_all_pairs(kind, n, k):
    rng = np.random.default_rng([n, k])
    x, labels = DATA[kind](rng, n, 3), rng.permutation(np.arange(n) % 3)
    options = {
        "estimator": WKL(k),
        "y_discrete": True,
        "n_projections": 2 if n == 1000 else 5,
        "rng": 1,
    }
    got = sliced_mutual_information(x, labels, **options)
    slices, codes = recorded_slices(sliced_mutual_information, x, labels, **options)
    np.testing.assert_array_equal(codes, labels)
    weights = neighbor_weights("kth", k, 1)
    same_as_twin(got, naive.sliced_label_terms(slices, labels, weights), kind)


def test_slices_are_projections_of_the_centred_samples_on_unit_vectors():
    x, y = correlated(200, 3, 2)
    slices = recorded_slices(
        sliced_mutual_information,
        x + 5,
        y,
        estimator=Gaussian(),
        n_projections=200,
        rng=1,
    )
    for samples, projections in zip((x, y), slices, strict=True):
        centred = samples - samples.mean(axis=0)
        vectors = np.linalg.lstsq(centred, projections.T, rcond=None)[0]
        # Sums of three products of size up to 10, and the condition of 200 normal samples, 1.3.
        np.testing.assert_allclose(centred @ vectors, projections.T, rtol=0, atol=1e-13)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, rtol=0, atol=1e-13)


def test_gaussian_slices_are_the_closed_form():
    x, y = correlated(200, 3, 2)
    options = {"estimator": Gaussian(), "n_projections": 7, "rng": 1}
    got = sliced_mutual_information(x, y, **options)
    slices = recorded_slices(sliced_mutual_information, x, y, **options)
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(*slices, strict=True)]
    expected = -0.5 * np.log1p(-np.square(correlations))
    np.testing.assert_allclose(got.per_slice, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("discrete", [False, True])
def test_ksg_slices_are_the_full_estimates_of_the_slices(discrete):
    x, y = correlated(300, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    ksg = KSG(5)
    measure = ksg.mutual_information_labels if discrete else ksg.mutual_information
    options = {"estimator": ksg, "n_projections": 20, "y_discrete": discrete, "rng": 0}
    got = sliced_mutual_information(x, y, **options)
    x_slices, y_slices = recorded_slices(sliced_mutual_information, x, y, **options)
    others = [y_slices] * 20 if discrete else y_slices
    expected = [measure(row, other).value for row, other in zip(x_slices, others, strict=True)]
    np.testing.assert_allclose(got.per_slice, expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------- exact values


# One sample of 2000, 300 slices, true MI 2: |bias| + 4 sd; tolerances.md, row 7.
@pytest.mark.parametrize(
    ("dim", "tolerance", "gaussian_tolerance"),
    [
        (1, 0.149, 0.100),
        (2, 0.123, 0.112),
        (3, 0.021, 0.0066),
        (8, 0.020, 0.0018),
        (20, 0.015, 0.0007),
    ],
)
def test_smi_of_correlated_normals_is_its_exact_value(dim, tolerance, gaussian_tolerance):
    pair = CorrelatedNormal(2.0, dim, dim, rng=0)
    x, y = pair.sample(2000, rng=1)
    exact = pair.sliced_mutual_information
    smi = wkl_smi(x, y, n_projections=300, rng=2)
    assert abs(smi.value - exact) < tolerance
    smi = sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=300, rng=2)
    assert abs(smi.value - exact) < gaussian_tolerance


def test_independent_data_average_to_zero_and_nothing_is_clipped():
    values, single = [], []
    for seed in range(20):
        x, y = np.random.default_rng(seed).standard_normal((2, 3000, 3))
        # Of the values alone: no error bar, which would cost more than they do.
        estimator = Recorder(WKL(k=1))
        smi = sliced_mutual_information(x, y, estimator=estimator, n_projections=100, rng=seed)
        values.append(smi.value)
        single.extend(smi.per_slice)
    # The project's promise; bias 0.0016 + 4 * 0.0044 / sqrt(20) is 0.0056: tolerances.md, row 7.
    assert abs(np.mean(values)) < 0.01
    # A slice has sd 0.045 around 0.002: 49 % are below 0.
    assert np.mean(np.array(single) < 0) > 0.4
    assert min(values) < 0


# ----------------------------------------------------------------------------- what adds up to what


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("discrete", [False, True])
def test_the_value_is_the_mean_over_samples_and_near_that_over_slices(dim, discrete):
    x, y = correlated(400, dim, 1)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    smi = wkl_smi(x, y, n_projections=333, y_discrete=discrete, rng=0)
    assert smi.per_slice.shape == (333,)
    assert smi.pointwise.shape == (400,)
    assert (smi.n_samples, smi.n_projections) == (400, 333)
    assert smi.value == pytest.approx(smi.pointwise.mean(), abs=1e-13)
    # Beyond one dimension control variates tell the mean over slices from that over all directions.
    difference = abs(smi.value - smi.per_slice.mean())
    assert difference < (1e-14 if dim == 1 else 4 * smi.per_slice.std() / math.sqrt(333))
    assert smi.std_error == pytest.approx(math.hypot(smi.slicing_error, smi.sampling_error))


@pytest.mark.parametrize("n_projections", [1, 7])
def test_in_one_dimension_slicing_is_no_slicing(n_projections):
    x, y = correlated(300, 1, 1)
    smi = wkl_smi(x, y, n_projections=n_projections, rng=0)
    plain = WKL(5).mutual_information(x, y)
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
    assert wkl_smi(x, y, n_projections=1, rng=0).slicing_error == math.inf


def test_a_side_of_one_dimension_is_not_sliced():
    # Its slices are plus and minus the same, which changes no information.
    x, y = correlated(300, 3, 1)
    options = {"estimator": WKL(5), "n_projections": 9, "rng": 0}
    slices, y_slices = recorded_slices(sliced_mutual_information, x, y, **options)
    centred = (y - y.mean())[:, 0]
    np.testing.assert_array_equal(np.abs(y_slices), np.tile(np.abs(centred), (9, 1)))
    expected = [WKL(5).mutual_information(row, y).value for row in slices]
    got = sliced_mutual_information(x, y, **options)
    np.testing.assert_allclose(got.per_slice, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("discrete", [False, True])
def test_several_rules_at_once_are_the_single_ones(discrete):
    x, y = correlated(300, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    rules = ("mutinfo", "kth", "berrett")
    options = {"n_projections": 40, "y_discrete": discrete, "rng": 0}
    together = sliced_mutual_information(x, y, estimator=WKL(5, rules), **options)
    assert tuple(together) == rules
    for rule in rules:
        alone = sliced_mutual_information(x, y, estimator=WKL(5, rule), **options)
        # Sums over other neighbours too, whose weights are 0: rounding alone.
        same(together[rule], alone, 1e-12)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("rule", ["kth", "mutinfo"])
def test_a_function_that_wraps_the_estimator_gives_the_same(discrete, rule):
    x, y = correlated(200, 3, 2)
    y = (y[:, 0] > 0).astype(int) if discrete else y
    wkl = WKL(5, rule)
    measure = wkl.mutual_information_labels if discrete else wkl.mutual_information
    options = {"n_projections": 20, "y_discrete": discrete, "rng": 0}
    expected = sliced_mutual_information(x, y, estimator=wkl, **options)
    got = sliced_mutual_information(x, y, estimator=lambda x, y: measure(x, y).value, **options)
    # The function whitens anew, by another rotation: rounding.
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-11)
    assert got.value == pytest.approx(expected.value, abs=1e-9)
    assert got.slicing_error == pytest.approx(expected.slicing_error, rel=1e-6)
    assert got.sampling_error == 0
    assert got.std_error == got.slicing_error
    assert len(got.pointwise) == 0


@pytest.mark.parametrize("estimator", [WKL(5), Gaussian(), lambda x, y: float(x[0, 0] + y[0, 0])])
def test_precomputed_slices_give_what_slicing_gives(estimator):
    x, y = correlated(300, 4, 3)
    options = {"n_projections": 333, "rng": 5}
    expected = sliced_mutual_information(x, y, estimator=estimator, **options)
    slices = recorded_slices(
        sliced_mutual_information, x, y, estimator=as_slice_estimator(estimator), **options
    )
    got = mutual_information_of_slices(*slices, estimator=estimator)
    same_slices(got, expected)
    # Of given slices the directions are not known, and there are no control variates.
    assert got.value == pytest.approx(got.per_slice.mean(), abs=1e-14)
    # 47 groups of 7; 4 slices are left.
    means = got.per_slice[:329].reshape(47, 7).mean(axis=1)
    slicing = np.std(means, ddof=1) / math.sqrt(47)
    assert got.slicing_error == pytest.approx(slicing, rel=1e-12)


def test_precomputed_slices_with_labels_give_what_slicing_gives():
    x, y = correlated(300, 4, 1)
    labels = np.where(y[:, 0] > 0, "up", "down")
    options = {"estimator": WKL(5), "n_projections": 50, "y_discrete": True, "rng": 5}
    expected = sliced_mutual_information(x, labels, **options)
    slices, _ = recorded_slices(sliced_mutual_information, x, labels, **options)
    got = mutual_information_of_slices(slices, labels, estimator=WKL(5), y_discrete=True)
    same_slices(got, expected)


def test_a_compressor_makes_slices_that_can_be_measured():
    x, y = correlated(300, 4, 3)
    x_slices, y_slices = SMICompressor(4, 60, rng=0)(x), SMICompressor(3, 60, rng=1)(y)
    smi = mutual_information_of_slices(x_slices, y_slices, estimator=WKL(5), rng=0)
    assert smi.n_projections == 60
    for s in (0, 59):
        alone = WKL(5).mutual_information(x_slices[s], y_slices[s]).value
        # The pair is whitened in another rotation: rounding.
        assert smi.per_slice[s] == pytest.approx(alone, abs=1e-11)


# --------------------------------------------------------------------- what the answer is made from


def test_the_same_rng_gives_the_same_numbers_and_another_gives_others():
    x, y = correlated(300, 3, 3)
    first = wkl_smi(x, y, n_projections=100, rng=1)
    same(wkl_smi(x, y, n_projections=100, rng=1), first)
    rng = np.random.default_rng(1)
    same(wkl_smi(x, y, n_projections=100, rng=rng), first)
    second = wkl_smi(x, y, n_projections=100, rng=rng)
    assert not np.any(second.per_slice == first.per_slice)


def test_numbers_do_not_depend_on_being_computed_in_a_worker_process():
    x, y = correlated(300, 3, 3)
    options = {"estimator": WKL(5), "n_projections": 100, "rng": 1}
    expected = sliced_mutual_information(x, y, **options)
    (got,) = joblib.Parallel(n_jobs=2)([joblib.delayed(sliced_mutual_information)(x, y, **options)])
    same(got, expected)


def test_a_result_is_a_number_and_says_in_one_line_what_it_is():
    x, y = correlated(100, 2, 2)
    smi = wkl_smi(x, y, n_projections=10, rng=0)
    assert type(float(smi)) is float
    assert float(smi) == smi.value
    assert repr(smi).startswith("SlicedEstimate(")
    assert "n_samples=100, n_projections=10" in repr(smi)
    assert "\n" not in repr(smi)


@pytest.mark.parametrize("progress", [False, True])
def test_the_progress_bar_is_on_stderr_when_asked_for(progress, capfd):
    x, y = correlated(100, 2, 2)
    sliced_mutual_information(x, y, n_projections=10, rng=0, progress=progress)
    mutual_information_of_slices(x.T, y.T, progress=progress)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert ("slices" in printed.err) == progress
    assert bool(printed.err) == progress
