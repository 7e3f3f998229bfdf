"""Max-sliced information: found where it is known, and not where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from utils import (
    KSG,
    WKL,
    Copula,
    Gaussian,
    load_results,
    max_sliced_mutual_information,
    sliced_mutual_information,
)


def correlated(n, dim, rng, r=0.8):
    """Normal x and y, of which the first components alone are correlated."""
    x, y = rng.standard_normal((2, n, dim))
    y[:, 0] = r * x[:, 0] + math.sqrt(1 - r * r) * y[:, 0]
    return x, y


def test_the_largest_slice_of_normal_data():
    x, y = correlated(2000, 5, np.random.default_rng(0))
    found = max_sliced_mutual_information(x, y, n_projections=200, rng=0)
    # Lost by directions from n / 2 samples: (dim - 1) * 2 / n = 0.004. The error is sampling's.
    assert abs(found.value + 0.5 * math.log1p(-0.64)) < 0.004 + 4 * found.std_error
    assert found.p_value == 1 / 200
    assert found.n_samples == 1000
    assert found.theta.shape == found.phi.shape == (1, 5)
    # Each other component has a share of (1 - r^2) / r^2 * 2 / n = 0.0011, 4 of them 0.0045.
    assert abs(found.theta[0, 0]) > 1 - 4 * 0.0045
    np.testing.assert_allclose([np.linalg.norm(found.theta), np.linalg.norm(found.phi)], 1.0)


def test_dependence_without_correlation_is_found():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2000, 5))
    direction = np.array([0.6, 0.0, 0.8, 0.0, 0.0])
    y = np.sin(3.0 * x @ direction) + 0.3 * rng.standard_normal(2000)
    found = max_sliced_mutual_information(x, y, n_projections=500, rng=0)
    # By quadrature 0.8617 (benchmarks/max_sliced.py); 15 % beside the sampling error.
    assert abs(found.value - 0.8617) < 0.15 * 0.8617
    assert abs(found.theta[0] @ direction) > 0.99
    assert found.p_value == 1 / 200
    assert sliced_mutual_information(x, y, frames="cca").value < 0.2


def test_labels():
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=1500)
    x = rng.standard_normal((1500, 6))
    # The spread of one direction differs between classes, and no mean does.
    x[:, 2] *= np.array([0.2, 1.0, 5.0])[labels]
    options = {"y_discrete": True, "n_projections": 500, "n_permutations": 19, "rng": 0}
    found = max_sliced_mutual_information(x, labels, **options)
    alone = KSG(5).mutual_information_labels(x[:, 2], labels)
    assert abs(found.theta[0, 2]) > 0.98
    assert abs(found.value - alone.value) < 0.03 + 4 * math.hypot(alone.std_error, found.std_error)
    assert found.phi is None
    assert found.p_value == 0.05


def test_selection_does_not_show_as_dependence():
    values, p_values, search_values = [], [], []
    for seed in range(40):
        x, y = np.random.default_rng(seed).standard_normal((2, 200, 4))
        options = {"n_projections": 20, "n_permutations": 19, "rng": seed, "estimator": Copula()}
        found = max_sliced_mutual_information(x, y, **options)
        values.append(found.value)
        p_values.append(found.p_value)
        search_values.append(found.search_value)
    assert abs(np.mean(values)) < 4 * np.std(values, ddof=1) / math.sqrt(40)
    # Uniform on 0.05, ..., 1: of 40, Binomial(40, 0.2) are up to 0.2; 18 or more have chance 2e-4.
    assert np.count_nonzero(np.array(p_values) <= 0.2 + 1e-9) < 18
    # The half that chose the slice does see dependence in it.
    assert np.mean(search_values) > 8 * abs(np.mean(values))


def test_frames_of_several_dimensions():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 1000, 4))
    y[:, :2] = 0.8 * x[:, 2:] + 0.6 * y[:, :2]
    options = {"n_projections": 50, "n_permutations": 19, "estimator": Gaussian(), "rng": 0}
    found = max_sliced_mutual_information(x, y, slice_dims=2, **options)
    assert abs(found.value + math.log1p(-0.64)) < 0.02 + 4 * found.std_error
    np.testing.assert_allclose(found.theta @ found.theta.T, np.eye(2), atol=0.2)
    whole = max_sliced_mutual_information(x, y, slice_dims=(2, None), **options)
    np.testing.assert_array_equal(whole.phi, np.eye(4))
    again = max_sliced_mutual_information(x, y, slice_dims=(2, None), **options)
    assert again.value == whole.value
    np.testing.assert_array_equal(again.null_values, whole.null_values)


def test_one_dimensional_data_have_one_slice():
    x, y = correlated(1000, 1, np.random.default_rng(0))
    found = max_sliced_mutual_information(x, y, rng=0, estimator=Gaussian(), n_permutations=9)
    assert abs(found.value + 0.5 * math.log1p(-0.64)) < 4 * found.std_error
    assert abs(found.theta) == abs(found.phi) == 1.0


def test_pairs_with_missing_values_are_refused_or_omitted():
    x, y = correlated(300, 3, np.random.default_rng(0))
    options = {"estimator": Gaussian(), "n_projections": 20, "n_permutations": 9, "rng": 0}
    expected = max_sliced_mutual_information(x[2:], y[2:], **options)
    x[0, 1] = y[1, 2] = np.nan
    with pytest.warns(UserWarning, match="2 of 300 samples have missing values"):
        found = max_sliced_mutual_information(x, y, nan_policy="omit", **options)
    assert found.value == expected.value
    np.testing.assert_array_equal(found.theta, expected.theta)
    with pytest.raises(ValueError, match="x holds NaN"):
        max_sliced_mutual_information(x, y, **options)
    with pytest.raises(ValueError, match="nan_policy='drop' is unknown"):
        max_sliced_mutual_information(x, y, nan_policy="drop", **options)


def test_committed_means_over_data_sets_are_near_the_truth():
    directory = Path(__file__).parents[1] / "results" / "paper"
    rows = load_results("max_sliced", directory=directory).results["rows"]
    by_data = {(row["data"], row["dim"]): row for row in rows}
    # Relative to the truth. Directions of dim 50 from 1500 samples lose 98 / 3000 = 0.033 nats.
    for dim in (5, 20, 50):
        assert abs(by_data["normal", dim]["error"]) < 0.05
    sine, independent = by_data["sine", 5], by_data["independent", 5]
    assert abs(sine["error"]) < 0.15
    assert sine["canonical"] < -0.9
    assert independent["n_sets"] == 100
    assert abs(independent["z"]) < 3


@pytest.mark.parametrize(("dim", "slice_dims"), [(3, 1), (3, 2), (1, 1), (2, 2)])
def test_the_progress_bar_reaches_its_end(dim, slice_dims, monkeypatch):
    bars = []

    class Kept(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr("utils.measurement.tqdm", Kept)
    x, y = correlated(60, dim, np.random.default_rng(0))
    options = {"estimator": Gaussian(), "n_projections": 8, "n_permutations": 1, "rng": 0}
    max_sliced_mutual_information(x, y, slice_dims=slice_dims, progress=True, **options)
    assert bars[0].n == bars[0].total


def test_what_cannot_be_halved_is_refused():
    x, y = correlated(9, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="x has 9 samples, and half of them .* at least 12"):
        max_sliced_mutual_information(x, y, estimator=KSG(5))
    labels = np.repeat([0, 1], [7, 33])
    x = np.random.default_rng(0).standard_normal((40, 2))
    with pytest.raises(ValueError, match="class 0 of y has too few .* at least 12"):
        max_sliced_mutual_information(x, labels, estimator=KSG(5), y_discrete=True)
    x, y = correlated(100, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="for each of 'kth', 'berrett'.* give one rule"):
        max_sliced_mutual_information(x, y, estimator=WKL(1, ("kth", "berrett")))
    # Half of 9 samples are 4, which two frames of 2 dimensions fit exactly, whatever they are.
    with pytest.raises(ValueError, match="x has 9 samples, and half .* at least 10"):
        max_sliced_mutual_information(x[:9], y[:9], estimator=Gaussian(), slice_dims=2)
    with pytest.raises(ValueError, match="x has 2 dimensions"):
        max_sliced_mutual_information(x, y, slice_dims=3)
    with pytest.raises(ValueError, match="n_permutations=0"):
        max_sliced_mutual_information(x, y, n_permutations=0)


def test_a_single_class_has_no_direction_and_no_information():
    x = np.random.default_rng(0).standard_normal((60, 3))
    options = {"n_projections": 5, "n_permutations": 9, "y_discrete": True, "rng": 0}
    found = max_sliced_mutual_information(x, np.zeros(60, int), **options)
    assert abs(found.value) < 1e-12
    assert found.p_value == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("frames", ["pca", "cca"])
def test_principal_and_canonical_slices_have_no_unit(frames, scale):
    x, y = correlated(200, 3, np.random.default_rng(0))
    options = {"frames": frames, "rng": 0}
    expected = sliced_mutual_information(x, y, **options).value
    # Ranks of projections; rounding moves none of 200.
    got = sliced_mutual_information(x * scale, y / scale, **options).value
    assert abs(got - expected) < 1e-9


def test_canonical_slices_find_a_column_in_a_unit_that_is_far_larger():
    x, y = correlated(500, 3, np.random.default_rng(0))
    expected = sliced_mutual_information(x, y, frames="cca", rng=0).value
    # What is correlated has a 10^-14th of the variance. Ranks of projections: of 500, rounding
    # moves none.
    got = sliced_mutual_information(x * [1.0, 1e7, 1e7], y, frames="cca", rng=0).value
    assert abs(got - expected) < 1e-6


@pytest.mark.parametrize("kind", ["denormal", "rounding"])
def test_canonical_slices_leave_out_columns_that_do_not_vary(kind):
    rng = np.random.default_rng(0)
    x, y = correlated(500, 3, rng)
    expected = sliced_mutual_information(x, y, frames="cca", rng=0).value
    column = {
        "denormal": 1e-310 * rng.standard_normal((500, 1)),
        # It knows the sign of y, in its last digit.
        "rounding": 1.0 + np.finfo(float).eps * (y[:, :1] > 0),
    }[kind]
    got = sliced_mutual_information(np.hstack([x, column]), y, frames="cca", rng=0).value
    assert abs(got - expected) < 1e-6


def test_several_directions_are_orthonormal():
    x, y = np.random.default_rng(2).standard_normal((2, 200, 4))
    y[:, :2] += x[:, :2] * [3.0, 1.0]
    found = max_sliced_mutual_information(
        x, y, slice_dims=2, estimator=KSG(), n_projections=5, n_permutations=1, rng=0
    )
    for frame in (found.theta, found.phi):
        np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-12)
