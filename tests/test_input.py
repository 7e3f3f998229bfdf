"""In whatever form samples come, what is measured of them is the same."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recorded import Recorder

from benchmarks.memory import peak_memory
from utils import (
    WKL,
    Gaussian,
    mutual_information_of_slices,
    sample_spherical,
    sliced_mutual_information,
)

ignore_ties = pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")
smi_of = partial(sliced_mutual_information, estimator=WKL(5))
smi_of_slices = partial(mutual_information_of_slices, estimator=WKL(5))


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
    expected = smi_of(x, y, n_projections=10, rng=0)
    x_held, y_held = container(x, tmp_path), container(y, tmp_path)
    # Another memory order may sum products in another order.
    got = smi_of(x_held, y_held, n_projections=10, rng=0)
    same(got, expected, 1e-11)
    labels = np.arange(200) % 2
    expected = smi_of(x, labels, n_projections=10, y_discrete=True, rng=0)
    for held in (labels, labels.tolist(), pd.Series(labels)):
        got = smi_of(x_held, held, n_projections=10, y_discrete=True, rng=0)
        same(got, expected, 1e-11)


def test_float32_gives_the_same_to_its_rounding():
    x, y = correlated(500, 4, 2)
    expected = smi_of(x, y, n_projections=20, rng=0)
    x_single, y_single = x.astype(np.float32), y.astype(np.float32)
    # The very numbers that float32 holds, in float64: the same to the last bit but for the sums.
    exact = smi_of(x_single.astype(float), y_single.astype(float), n_projections=20, rng=0)
    got = smi_of(x_single, y_single, n_projections=20, rng=0)
    same(got, exact, 1e-11)
    # A value of size 1 is rounded by 3e-8 at most, against distances of 0.006 in the mean; over
    # 500 samples this averages out by 20: 1e-6 a slice.
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8, np.float16])
@ignore_ties
def test_columns_of_integers_are_measurements(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (2, 300, 5)).astype(dtype)
    expected = smi_of(x.astype(float), y.astype(float), n_projections=10, rng=0)
    same(smi_of(x, y, n_projections=10, rng=0), expected, 1e-11)


def test_inputs_are_not_changed():
    x, y = correlated(300, 3, 3)
    x[:2] = x[2:4]
    before = x.copy(), y.copy()
    smi_of(x, y, n_projections=10, rng=0)
    smi_of_slices(x.T, y.T, rng=0)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("estimator", [WKL(5), Gaussian()])
@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e-150, 1e150, 1e200])
def test_scales_change_nothing(estimator, scale):
    x, y = correlated(300, 3, 2)
    settings = {"estimator": estimator, "n_projections": 10, "rng": 0}
    expected = smi_of(x, y, **settings)
    same(smi_of(x * scale, y / scale, **settings), expected, 1e-10)
    slices = (x @ sample_spherical(3, 10, rng=0).T).T
    options = {"estimator": estimator, "rng": 0}
    expected = mutual_information_of_slices(slices, slices[::-1], **options)
    got = mutual_information_of_slices(slices * scale, slices[::-1] / scale, **options)
    same(got, expected, 1e-10)


def test_slices_of_very_different_scales_are_measured_together():
    x, y = correlated(300, 3, 3)
    x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    expected = smi_of_slices(x, y, rng=0)
    scales = np.array([[1e-150], [1.0], [1e150]])
    same(smi_of_slices(x * scales, y / scales, rng=0), expected, 1e-10)


@pytest.mark.parametrize("estimator", [WKL(5), Gaussian()])
def test_a_large_offset_changes_nothing(estimator):
    # Multiples of 2^-20 below 2^4: adding 1e8 is exact.
    x, y = (np.round(values * 2**20) / 2**20 for values in correlated(400, 2, 3))
    settings = {"estimator": estimator, "n_projections": 10, "rng": 0}
    expected = smi_of(x, y, **settings)
    same(smi_of(x + 1e8, y - 1e8, **settings), expected, 1e-10)


def test_constant_columns_only_shrink_the_slices():
    # A slice of (x, constants) is a slice of x times a number: the same information.
    x, y = correlated(300, 1, 1)
    value = WKL(5).mutual_information(x, y).value
    wide = np.hstack([x, np.tile([0.1, 1e8, 0.0], (300, 1))])
    smi = smi_of(wide, y, n_projections=20, rng=0)
    np.testing.assert_allclose(smi.per_slice, value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [300, 30_000])
def test_heavy_tails_are_finite_and_not_taken_for_ties(n):
    x, y = np.random.default_rng(0).standard_cauchy((2, n, 3))
    # With equal values there would be a warning, which is an error here.
    smi = sliced_mutual_information(x, y, estimator=Recorder(WKL(5)), n_projections=10, rng=0)
    assert np.isfinite(smi.per_slice).all()


def test_precomputed_slices_with_heavy_tails_are_not_taken_for_ties():
    x, y = np.random.default_rng(0).standard_cauchy((2, 2, 100_000))
    smi = mutual_information_of_slices(x, y, estimator=Recorder(WKL(5)), rng=0)
    assert np.isfinite(smi.per_slice).all()


def test_ties_are_finite_and_warned_of_above_one_in_a_hundred():
    x, y = correlated(1000, 2, 2)
    x[:10] = x[10:20]
    smi = smi_of(x, y, n_projections=10, rng=0)
    assert np.isfinite(smi.pointwise).all()
    same(smi_of(x, y, n_projections=10, rng=0), smi)
    x[20:22] = x[22:24]
    with pytest.warns(UserWarning, match="12 of 1000 values of x repeat others") as caught:
        smi = smi_of(x, y, n_projections=10, rng=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isfinite(smi.pointwise).all()
    x, y = correlated(1000, 2, 2)
    y[:300] = 0.0
    with pytest.warns(UserWarning, match="299 of 1000 values of y repeat others"):
        smi = smi_of(x, y, n_projections=10, rng=0)
    assert np.isfinite(smi.pointwise).all()


def test_memory_does_not_grow_with_the_number_of_slices():
    x, y = correlated(2000, 20, 20)
    peaks = {}
    for n_projections in (1000, 6000):
        tracemalloc.start()
        sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=n_projections, rng=0)
        peaks[n_projections] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # 1 kB of directions, controls and values of each slice stays, 5 MB, and blocks in flight differ
    # from run to run by a few. An array of the slices that are added takes 80 MB.
    assert peaks[6000] < peaks[1000] + 10e6


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_maps_are_read_in_blocks():
    n, dim = 2**16, 300
    peak, _ = peak_memory(n, dim, n_projections=32)
    inputs = 2 * n * dim * 4
    array = n * 8
    # Both threads hold 8 projections of x and of y, and in the kernel at most 40 arrays: 59 MB.
    # A copy of x takes 79 MB, all projections at once 34 MB: too much beside the 46 MB measured.
    assert peak < inputs + 2 * (2 * 8 + 40) * array


def test_precomputed_slices_may_be_float32():
    rng = np.random.default_rng(0)
    # Exponential data crowd at 0: centred in float32, close values would become equal.
    x, y = rng.exponential(size=(2, 20, 500)).astype(np.float32)
    expected = smi_of_slices(x.astype(float), y.astype(float), rng=0)
    same(smi_of_slices(x, y, rng=0), expected)


@ignore_ties
def test_precomputed_slices_may_hold_ties_of_their_own():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3, 500))
    x[1, :150] = x[1, :150].round(1)
    y[2, :100] = 0.0
    smi = smi_of_slices(x, y, rng=0)
    assert np.isfinite(smi.per_slice).all()
    assert smi.per_slice[0] == smi_of_slices(x[:1], y[:1]).value
    labels = np.arange(500) % 2
    smi = smi_of_slices(x, labels, y_discrete=True, rng=0)
    assert np.isfinite(smi.per_slice).all()
