"""Slices of several dimensions: their frames, and estimates against exact values."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from utils import (
    KSG,
    WKL,
    Copula,
    CorrelatedCubed,
    CorrelatedNormal,
    Gaussian,
    SliceEstimator,
    load_results,
    normal_sliced_information,
    sample_stiefel,
    sliced_mutual_information,
)
from utils.slicing import independent_frames

DIRECTORY = Path(__file__).parents[1] / "results" / "paper"
ESTIMATORS = (KSG(3), WKL(3), Copula(), Gaussian())


def samples(n=300, dim=3, seed=0):
    return CorrelatedNormal(1.5, dim, dim, rng=seed).sample(n, rng=seed)


def test_frames_are_orthonormal_and_uniform():
    frames = independent_frames(5, 20_000, np.random.default_rng(0), 2)
    products = frames @ np.swapaxes(frames, 1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(2), products.shape), atol=1e-12)
    # Haar: entries of mean 0; a projector of mean k/d I; and a fourth moment of 3 / (d (d + 2)).
    # Tolerances: 4 sd of a mean of 20,000, entries having variance 1/5 and squares 0.4 * 0.2 * 6/7.
    np.testing.assert_allclose(frames.mean(axis=0), 0.0, atol=4 * math.sqrt(0.2 / 20_000))
    projectors = np.swapaxes(frames, 1, 2) @ frames
    np.testing.assert_allclose(projectors.mean(axis=0), 0.4 * np.eye(5), atol=4 * 0.2 / 141)
    np.testing.assert_allclose((frames**4).mean(axis=0), 3 / 35, atol=4 * 0.18 / 141)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_slices_of_all_dimensions_are_the_data_themselves(estimator):
    x, y = samples()
    exact = estimator.mutual_information(x, y)
    for slice_dims in (3, (3, 3), (None, 3), (None, None)):
        got = sliced_mutual_information(x, y, estimator=estimator, slice_dims=slice_dims, rng=1)
        assert got.value == exact.value
        assert got.slicing_error == 0.0
        assert got.n_projections == 1
        np.testing.assert_array_equal(got.pointwise, exact.pointwise)
        assert math.isfinite(got.independent_error)


@pytest.mark.parametrize("estimator", (KSG(3), WKL(3), Copula()), ids=repr)
def test_all_dimensions_with_labels(estimator):
    x, y = samples()
    labels = np.digitize(y[:, 0], [-0.5, 0.5])
    exact = estimator.mutual_information_labels(x, labels).value
    for slice_dims in (3, (3, None), (None, None)):
        options = {"estimator": estimator, "slice_dims": slice_dims, "y_discrete": True}
        assert sliced_mutual_information(x, labels, **options).value == exact


def test_one_dimension_is_the_ordinary_measure():
    x, y = samples(dim=4)
    y = y[:, :1]
    expected = sliced_mutual_information(x, y, n_projections=50, rng=0)
    for slice_dims in (1, (1, 1), (1, None)):
        got = sliced_mutual_information(x, y, n_projections=50, slice_dims=slice_dims, rng=0)
        np.testing.assert_array_equal(got.per_slice, expected.per_slice)
        assert got.value == expected.value


def gaussian_of_blocks(x, y):
    assert (x.shape[1], y.shape[1]) == (2, 3)
    return Gaussian().mutual_information(x, y).value


@pytest.mark.usefixtures("one_core")
def test_a_function_sees_blocks_of_columns():
    x, y = samples(dim=3)
    options = {"slice_dims": (2, None), "n_projections": 6, "rng": 0}
    expected = sliced_mutual_information(x, y, estimator=Gaussian(), **options)
    got = sliced_mutual_information(x, y, estimator=gaussian_of_blocks, **options)
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=1e-12)
    assert got.sampling_error == 0.0


@pytest.mark.parametrize("slice_dims", (2, (1, 2), (3, None)))
def test_normal_data_have_the_exact_value(slice_dims):
    pair = CorrelatedNormal(2.0, 5, 5, rng=0)
    x, y = pair.sample(4000, rng=1)
    options = {"estimator": Gaussian(), "slice_dims": slice_dims, "n_projections": 200, "rng": 2}
    got = sliced_mutual_information(x, y, **options)
    exact = pair.k_sliced_mutual_information(slice_dims)
    # Bias of the closed form: k_x k_y / (2 n), 15 / 8000 at most. Chance of a failure 6e-5.
    error = math.hypot(got.std_error, exact.std_error)
    assert abs(got.value - exact.value) < 0.002 + 4 * error
    # The control explains all of a closed form, and its mean is over 16,384 frames: what is left of
    # the plain error is sqrt(200 / 16384) = 0.11.
    assert got.slicing_error < 0.2 * got.per_slice.std() / math.sqrt(200)


def test_ksg_of_planes_agrees_with_the_exact_value():
    pair = CorrelatedNormal(2.0, 4, 4, rng=0)
    x, y = pair.sample(1000, rng=1)
    options = {"estimator": KSG(5), "slice_dims": 2, "n_projections": 20, "rng": 2}
    got = sliced_mutual_information(x, y, **options)
    # KSG(5) of 2 + 2 normal dimensions of 0.45 nats is biased by less than 0.02.
    exact = pair.k_sliced_mutual_information(2, rel_error=3e-3).value
    assert abs(got.value - exact) < 0.02 + 4 * got.std_error
    assert abs(got.independent_value) < 4 * got.independent_error


def test_exact_values_of_one_and_of_all_dimensions():
    pair = CorrelatedNormal(2.0, 5, 3)
    line = pair.k_sliced_mutual_information(1, rel_error=2e-3)
    assert abs(line.value - pair.sliced_mutual_information) < 4 * line.std_error
    assert line.std_error <= 2e-3 * line.value
    assert pair.k_sliced_mutual_information((5, 3)).value == pytest.approx(2.0, rel=1e-12)
    k_sliced = partial(pair.k_sliced_mutual_information, rel_error=0.01)
    values = [k_sliced(k).value for k in (1, 2, 3, (4, 3), (5, 3))]
    assert values == sorted(values)
    assert CorrelatedCubed(2.0, 5, 3).k_sliced_mutual_information is None


def test_committed_values_go_from_smi_to_mi_and_hold_the_exact_ones():
    rows = load_results("k_slices", directory=DIRECTORY).results["rows"]
    convergence = [row for row in rows if row["data"] == "convergence"]
    exact = [row["exact"] for row in sorted(convergence, key=lambda row: row["k"])]
    pair = CorrelatedNormal(2.0, 5, 5)
    # Exact to 3e-4 of the value, as one standard error.
    assert exact[0] == pytest.approx(pair.sliced_mutual_information, rel=4 * 3e-4)
    assert exact[-1] == pytest.approx(pair.mutual_information, rel=1e-12)
    assert exact == sorted(exact)
    for row in (row for row in rows if row["data"] == "redundant"):
        assert abs(row["mean"] - row["exact"]) < 3 * row["error"]
        assert row["within 3"] == 1.0


def test_exact_values_agree_with_determinants_of_the_joint_covariance():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((7, 9))
    covariance = factor @ factor.T
    x, y, cross = covariance[:4, :4], covariance[4:, 4:], covariance[:4, 4:]
    values = []
    for _ in range(4000):
        theta, phi = sample_stiefel(4, 2, rng=rng), sample_stiefel(3, 2, rng=rng)
        frame = np.zeros((4, 7))
        frame[:2, :4], frame[2:, 4:] = theta, phi
        joint = frame @ covariance @ frame.T
        determinants = [np.linalg.det(part) for part in (joint[:2, :2], joint[2:, 2:], joint)]
        values.append(0.5 * math.log(determinants[0] * determinants[1] / determinants[2]))
    got = normal_sliced_information(x, y, cross, 2)
    error = math.hypot(np.std(values) / math.sqrt(len(values)), got.std_error)
    assert abs(got.value - np.mean(values)) < 4 * error


def test_principal_directions_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5)) * [1, 3, 1, 2, 1]
    y = x[:, :4] + rng.standard_normal((400, 4))
    got = sliced_mutual_information(x, y, estimator=Gaussian(), frames="pca", slice_dims=2)
    scores = [PCA(2).fit_transform(data) for data in (x, y)]
    assert got.value == pytest.approx(Gaussian().mutual_information(*scores).value, rel=1e-9)
    assert got.n_projections == 1


def test_canonical_directions_have_the_largest_correlation():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 400, 4))
    y[:, 0] += x[:, 1]
    got = sliced_mutual_information(x, y, estimator=Gaussian(), frames="cca")
    # The oracle: cosines between the column spaces of the centred data.
    spaces = [np.linalg.qr(data - data.mean(axis=0))[0] for data in (x, y)]
    largest = np.linalg.svd(spaces[0].T @ spaces[1], compute_uv=False)[0]
    assert got.value == pytest.approx(-0.5 * math.log1p(-(largest**2)), rel=1e-9)


def test_all_canonical_directions_of_few_samples_lose_nothing():
    x, y = samples(n=25)
    got = sliced_mutual_information(x, y, estimator=Gaussian(), frames="cca", slice_dims=3)
    # Linear bijections of either side change no information.
    assert got.value == pytest.approx(Gaussian().mutual_information(x, y).value, rel=1e-9)


def test_canonical_directions_of_labels_are_discriminants():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=300)
    x = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3)) + labels[:, None]
    got = sliced_mutual_information(x, labels, y_discrete=True, frames="cca", estimator=KSG(3))
    scores = LinearDiscriminantAnalysis().fit_transform(x, labels)
    assert got.value == pytest.approx(KSG(3).mutual_information_labels(scores, labels).value)


class LineOnly(SliceEstimator):
    """An estimator of one-dimensional slices and nothing else."""

    def slice_terms(self, x, y):
        return (x * y)[None]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"slice_dims": 4}, ValueError, "x has 3 dimensions; give at most 3"),
        ({"slice_dims": (2, 4)}, ValueError, "y has 3 dimensions"),
        ({"slice_dims": 0}, ValueError, "slice_dims=0 is too small; give at least 1"),
        ({"slice_dims": (1.5, 1)}, TypeError, r"slice_dims\[0\]=1.5 has type float; give a whole"),
        ({"slice_dims": (1, 0)}, ValueError, r"slice_dims\[1\]=0 is too small; give at least 1"),
        ({"slice_dims": "2"}, TypeError, "slice_dims='2'; give a whole number, or two"),
        ({"slice_dims": (1, 1, 1)}, TypeError, "give a whole number, or two"),
        ({"slice_dims": None}, TypeError, "slice_dims=None; give"),
        ({"slice_dims": (2, 2), "y_discrete": True}, ValueError, "labels, which are not sliced"),
        ({"frames": "ica"}, ValueError, "frames='ica'; give one of"),
        ({"slice_dims": 2, "estimator": LineOnly()}, TypeError, "one dimension only"),
    ],
)
def test_what_cannot_be_sliced_is_refused(options, error, message):
    x, y = samples(n=50)
    y = np.arange(50) % 2 if options.get("y_discrete") else y
    with pytest.raises(error, match=message):
        sliced_mutual_information(x, y, **options)


def test_too_many_dimensions_for_the_samples():
    x, y = np.random.default_rng(0).standard_normal((2, 20, 15))
    with pytest.raises(ValueError, match="slice_dims=12 .* at least 25 samples"):
        sliced_mutual_information(x, y, slice_dims=12)
