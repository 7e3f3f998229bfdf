"""Pointwise information of new samples: exact values, the mean, the rules of scikit-learn."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils import KSG, WKL, Copula, Gaussian
from utils.kernels.points import class_distances_to_points, counts_around_points
from utils.kernels.sorting import sort_rows
from utils.pointwise import PointwiseSMI
from utils.validation import as_labels

ESTIMATORS = [Copula(), Copula(k=20), KSG(20), Gaussian()]


def samples(n, seed, *, shift=2.0, dim=4, power=1):
    """Normal samples whose first coordinate depends on one of three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = rng.standard_normal((n, dim))
    x[:, 0] += shift * labels
    return np.sign(x) * np.abs(x) ** power, labels


def of_own_class(model, x, labels):
    return model.transform(x)[np.arange(len(x)), labels]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_dimension_has_the_exact_log_ratio(estimator):
    x, labels = samples(30_000, 0, dim=1)
    got = PointwiseSMI(estimator, n_projections=1, rng=0).fit(x, labels)
    points = np.linspace(-1, 5, 7)
    densities = norm.pdf(points[:, None], 2.0 * np.arange(3))
    exact = np.log(densities / densities.mean(axis=1, keepdims=True))
    # The logarithm of a density from k neighbours has the standard deviation k ** -0.5, that of a
    # mean over points between which it is interpolated no more; 4 of these. Fitted means and
    # variances of 10,000 samples are a few 1e-2 off where a class is 5 standard deviations away.
    # Rank terms stop at -log n, which counts cannot go below: hence where exact is above -4.
    k = getattr(estimator, "k", 10_000)
    where = exact > -4
    np.testing.assert_allclose(
        got.transform(points[:, None])[where], exact[where], rtol=0, atol=4 / math.sqrt(k) + 0.1
    )
    assert (got.transform(points[:, None])[~where] < -2).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("shift", "power"), [(0.0, 1), (0.4, 3), (2.0, 1)])
def test_the_mean_over_new_samples_is_the_sliced_information(estimator, shift, power):
    differences = []
    for seed in range(6):
        model = PointwiseSMI(estimator, n_projections=20, rng=seed)
        model.fit(*samples(3000, seed, shift=shift, power=power))
        x, labels = samples(3000, 100 + seed, shift=shift, power=power)
        slices = model.theta_ @ (x - x.mean(axis=0)).T
        expected = estimator.slice_terms_labels(slices, as_labels(labels, "labels")).mean()
        differences.append(of_own_class(model, x, labels).mean() - expected)
    # The same slices of other samples: 4 standard errors over the 6 sets, and 0.002 for what is
    # between the points at which a slice is tabulated.
    tolerance = 4 * np.std(differences, ddof=1) / math.sqrt(6) + 0.002
    assert abs(np.mean(differences)) < tolerance
    assert tolerance < 0.04


def test_a_wrong_label_has_less_than_the_right_one():
    model = PointwiseSMI(n_projections=50, rng=0).fit(*samples(2000, 0))
    x, labels = samples(500, 1)
    own, other = (of_own_class(model, x, codes) for codes in (labels, (labels + 1) % 3))
    # No classifier does better than this: classes 2, 2 and 4 standard deviations apart, each wrong
    # where a sample is beyond the middle. The share among 500 has a standard error of 0.014.
    best = (2 * norm.cdf(1) + norm.cdf(2)) / 3
    assert np.mean(own > other) > best - 0.06


def test_it_keeps_the_rules_of_scikit_learn():
    x, labels = samples(600, 0)
    names = np.array(["b", "a", "c"])[labels]
    model = PointwiseSMI(Gaussian(), n_projections=10, rng=3)
    assert model.get_params() == {"estimator": Gaussian(), "n_projections": 10, "rng": 3}
    fitted = clone(model).set_params(n_projections=5).fit(x, names)
    assert list(fitted.classes_) == ["a", "b", "c"]
    assert list(fitted.get_feature_names_out()) == ["psmi_a", "psmi_b", "psmi_c"]
    assert fitted.theta_.shape == (5, fitted.n_features_in_) == (5, 4)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
    repeated = clone(fitted).fit_transform(x, names)
    np.testing.assert_array_equal(repeated, fitted.transform(x))
    piped = make_pipeline(StandardScaler(), model).fit(x, names)
    assert piped.transform(x[:7]).shape == (7, 3)
    assert list(piped.get_feature_names_out()) == ["psmi_a", "psmi_b", "psmi_c"]


def test_rows_and_cores_do_not_matter(monkeypatch):
    x, labels = samples(5000, 0)
    model = PointwiseSMI(n_projections=150, rng=0).fit(x, labels)
    whole = model.transform(x)
    np.testing.assert_array_equal(whole[3000:3001], model.transform(x)[3000:3001])
    monkeypatch.setattr("utils.parallel.cpu_count", lambda: 1)
    np.testing.assert_array_equal(model.transform(x), whole)
    # A product of other shapes rounds in another way.
    np.testing.assert_allclose(model.transform(x[3000:3001]), whole[3000:3001], atol=1e-9)
    moved = PointwiseSMI(n_projections=150, rng=0).fit(x + 1e6, labels).transform(x + 1e6)
    np.testing.assert_allclose(moved, whole, atol=1e-4)


@pytest.mark.parametrize("names", [[1, "a"], [(0, 1), (0, 2)], ["a", "bc"], [2, 5]])
def test_classes_are_those_that_were_given(names):
    labels = np.empty(60, object)
    labels[:] = [names[i % 2] for i in range(60)]
    x = np.random.default_rng(0).standard_normal((60, 2))
    model = PointwiseSMI(Gaussian(), n_projections=3, rng=0).fit(x, labels)
    assert model.classes_.tolist() == names
    assert model.classes_.shape == (2,)
    assert list(model.get_feature_names_out()) == [f"psmi_{name}" for name in names]


def test_bad_input_is_named():
    x, labels = samples(100, 0)
    with pytest.raises(ValueError, match="x has 3 values per sample, .* fitted samples had 4"):
        PointwiseSMI(Gaussian(), n_projections=2).fit(x, labels).transform(x[:, :3])
    with pytest.raises(ValueError, match="not fitted"):
        PointwiseSMI().transform(x)
    for estimator in (WKL(5), lambda x, y: 0.0):
        with pytest.raises(TypeError, match=r"does not measure new points; use Copula\(\), KSG"):
            PointwiseSMI(estimator, n_projections=2).fit(x, labels)
    with pytest.raises(ValueError, match="n_projections=0 is too small"):
        PointwiseSMI(n_projections=0).fit(x, labels)
    with pytest.raises(ValueError, match=r"class 2 of labels has 3 samples, too few"):
        few = np.r_[np.zeros(60, int), np.ones(37, int), [2, 2, 2]]
        PointwiseSMI(n_projections=2).fit(x, few)


@pytest.mark.parametrize("rank", [1, 4])
def test_neighbours_of_points_are_those_of_all_pairs(rank):
    rng = np.random.default_rng(rank)
    x, codes = rng.standard_cauchy((3, 60)), rng.permutation(np.arange(60) % 4)
    points = np.sort(rng.standard_cauchy((3, 25)), axis=1)
    values, order = sort_rows(x)
    got = class_distances_to_points(values, order, codes, np.full(4, 15), points, rank)
    all_pairs = np.abs(points[:, :, None] - x[:, None])
    for code in range(4):
        expected = np.sort(all_pairs[:, :, codes == code], axis=2)[:, :, rank - 1]
        np.testing.assert_array_equal(got[:, code], expected)
    nearer = (all_pairs[:, None] < got[:, :, :, None] * (1 - 1e-12)).sum(axis=3)
    np.testing.assert_array_equal(counts_around_points(values, points, got), nearer)
