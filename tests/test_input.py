"""In whatever form samples come, what is measured of them is the same."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recorded import Recorder
from scipy import integrate, special, stats

from benchmarks.memory import peak_memory
from utils import (
    KSG,
    WKL,
    Copula,
    Gaussian,
    mutual_information_of_slices,
    sample_spherical,
    sliced_mutual_information,
)
from utils.estimators import SliceEstimator

ignore_ties = pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")
ignore_negative = pytest.mark.filterwarnings("ignore:.* is never negative:UserWarning")
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
    # 500 samples this averages out by 20: 1e-6 per slice.
    np.testing.assert_allclose(got.per_slice, expected.per_slice, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8, np.float16])
@ignore_ties
def test_columns_of_integers_are_measurements(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (2, 300, 5)).astype(dtype)
    expected = smi_of(x.astype(float), y.astype(float), n_projections=10, rng=0)
    same(smi_of(x, y, n_projections=10, rng=0), expected, 1e-11)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.longdouble])
def test_a_large_offset_costs_whole_numbers_no_digits(dtype):
    # Nanoseconds since 1970, and as far as 64 bits go; float64 has multiples of 256 and 2048 there.
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2000, (100, 3)).cumsum(axis=0)
    y = (x + rng.integers(0, 2000, (100, 3))).astype(dtype)
    x = x.astype(dtype)
    offset = dtype(1_750_000_000_000_000_000 if dtype is not np.uint64 else 2**64 - 10**6)
    for estimator in (WKL(5), Copula(), Gaussian()):
        settings = {"estimator": estimator, "n_projections": 10, "rng": 0}
        expected = sliced_mutual_information(x, y, **settings)
        same(sliced_mutual_information(x + offset, y + offset, **settings), expected, 1e-9)
    slices, others = (values.T + offset for values in (x, y))
    same(smi_of_slices(slices, others, rng=0), smi_of_slices(x.T, y.T, rng=0), 1e-9)


def test_columns_of_a_frame_may_be_of_different_types():
    x, y = correlated(300, 3, 2)
    whole = np.arange(300) + 1_750_000_000_000_000_000
    plain = np.column_stack([x[:, 0], x[:, 1] > 0, np.arange(300), np.round(x[:, 2] * 1e6)])
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1] > 0, "c": whole})
    frame["d"] = pd.array(np.round(x[:, 2] * 1e6).astype(int), dtype="Int64")
    expected = smi_of(plain, y, n_projections=10, rng=0)
    same(smi_of(frame, y, n_projections=10, rng=0), expected, 1e-10)
    nullable = pd.DataFrame(x).astype("Float64")
    expected = smi_of(x, y, n_projections=10, rng=0)
    same(smi_of(nullable, y, n_projections=10, rng=0), expected, 1e-11)
    same(smi_of(y, nullable, n_projections=10, rng=0), smi_of(y, x, n_projections=10, rng=0), 1e-11)


CODES = np.arange(200) % 3
NAMES = np.array(["a", "b", "c"])[CODES]
LABELS = {
    "a column": CODES[:, None],
    "flags": (CODES == 0, CODES == 0),
    "one-hot floats": np.eye(3)[CODES],
    "one-hot integers": np.eye(3, dtype=int)[CODES],
    "one-hot with an unused column": np.eye(5)[CODES * 2],
    "a one-hot frame": pd.get_dummies(NAMES),
    "a frame of strings": pd.DataFrame({"label": NAMES}),
    "nullable integers": pd.Series(CODES, dtype="Int64"),
    "categories, one unused": pd.Series(pd.Categorical(NAMES, ["c", "b", "a", "d"])),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_may_come_in_any_form(labels):
    held, codes = labels if isinstance(labels, tuple) else (labels, CODES)
    x = correlated(200, 3, 1)[0] + codes[:, None]
    expected = smi_of(x, codes, n_projections=10, y_discrete=True, rng=0)
    same(smi_of(x, held, n_projections=10, y_discrete=True, rng=0), expected, 1e-11)


@pytest.mark.parametrize("make", [np.random.RandomState, lambda seed: legacy_generator(seed)])
def test_old_random_states_seed_the_slices(make):
    x, y = correlated(100, 2, 2)
    state = make(0)
    first = smi_of(x, y, n_projections=5, rng=state)
    assert smi_of(x, y, n_projections=5, rng=make(0)).value == first.value
    assert smi_of(x, y, n_projections=5, rng=state).value != first.value
    assert (
        sample_spherical(2, 3, rng=make(0)).tolist() == sample_spherical(2, 3, rng=make(0)).tolist()
    )


def legacy_generator(seed):
    return np.random.Generator(np.random.RandomState(seed)._bit_generator)


def gaps(values, rows):
    values = np.array(values, dtype=object if values.dtype.kind in "iU" else values.dtype)
    values[rows] = None if values.dtype == object else np.nan
    return values


MISSING = {
    "NaN": gaps,
    "masked": lambda values, rows: np.ma.masked_array(values, ~np.isnan(gaps(values, rows)) == 0),
    "nullable": lambda values, rows: pd.DataFrame(gaps(values, rows)).astype("Float64"),
    "frame": lambda values, rows: pd.DataFrame(gaps(values, rows)),
    "frame in the other byte order": lambda values, rows: pd.DataFrame(
        gaps(values, rows).astype(values.dtype.newbyteorder("S"))
    ),
}


@pytest.mark.parametrize("hold", MISSING.values(), ids=MISSING)
def test_pairs_with_missing_values_are_omitted_where_asked_for(hold):
    x, y = correlated(200, 3, 2)
    labels = np.arange(200) % 2
    kept = np.setdiff1d(np.arange(200), [3, 50, 51])
    x_held, y_held = hold(x, [3, 50]), hold(y, [50, 51])
    options = {"n_projections": 10, "rng": 0}
    expected = smi_of(x[kept], y[kept], **options)
    with pytest.warns(UserWarning, match="3 of 200 samples have missing values") as caught:
        got = smi_of(x_held, y_held, nan_policy="omit", **options)
    assert caught[0].filename == __file__
    same(got, expected, 1e-11)
    expected = smi_of(x[kept], labels[kept], y_discrete=True, **options)
    with pytest.warns(UserWarning, match="3 of 200 samples"):
        got = smi_of(x_held, gaps(labels, [51]), y_discrete=True, nan_policy="omit", **options)
    same(got, expected, 1e-11)
    same(smi_of(x, y, nan_policy="omit", **options), smi_of(x, y, **options))


def test_categories_with_gaps_stay_labels():
    x, labels = correlated(200, 3, 2)[0], np.arange(200) % 4
    held = pd.Series(pd.Categorical(gaps(labels + 2**53, [7])))
    options = {"n_projections": 10, "rng": 0}
    kept = np.delete(np.arange(200), 7)
    expected = smi_of(x[kept], labels[kept], y_discrete=True, **options)
    with pytest.warns(UserWarning, match="1 of 200 samples"):
        got = smi_of(x, held, y_discrete=True, nan_policy="omit", **options)
    same(got, expected)
    with (
        pytest.warns(UserWarning, match="1 of 200 samples"),
        pytest.raises(TypeError, match="pass y_discrete=True"),
    ):
        smi_of(x, held, nan_policy="omit", **options)


def test_half_zeros_are_measured_right_by_the_default_and_refused_by_wkl():
    # x = max(z, 0), corr(z, y) = r: I = 1/2 [h(y) - h(y | z < 0)] + 1/2 [h(y) - h(y | z)] up to
    # what knowing the sign tells; all of it in one integral over y.
    r = 0.8
    y = np.linspace(-9, 9, 20_001)
    density = stats.norm.pdf(y)
    of_zero = 2 * density * stats.norm.cdf(-r * y / np.sqrt(1 - r**2))
    exact = stats.norm.entropy() - 0.5 * stats.norm(scale=np.sqrt(1 - r**2)).entropy()
    exact -= 0.5 * integrate.trapezoid(special.entr(of_zero), y)
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((2, 3000, 1))
    y = r * z + np.sqrt(1 - r**2) * noise
    x = np.maximum(z, 0.0)
    for estimator in (Copula(), KSG(5)):
        value = sliced_mutual_information(x, y, estimator=Recorder(estimator), rng=0).value
        assert value == pytest.approx(exact, rel=0.1)
    with pytest.raises(ValueError, match=r"values of x repeat others, too many .*Copula"):
        smi_of(x, y, rng=0)
    # Of two columns, both are zero in a quarter of the rows.
    pair = np.maximum(rng.standard_normal((3000, 2)), 0.0)
    with (
        pytest.warns(UserWarning, match="values of x repeat others"),
        pytest.warns(UserWarning, match="mutual information is never negative"),
    ):
        smi_of(pair, y, n_projections=10, rng=0)


@pytest.mark.parametrize("size", [1e-6, 1e-9])
def test_small_noise_is_measured_and_not_taken_for_none(size):
    x, noise = np.random.default_rng(0).standard_normal((2, 3000, 1))
    exact = 0.5 * np.log1p(size**-2)
    # Spread of `WKL(5)` over sets of 3000 samples: 0.02; of the closed form 0.02 as well, that of
    # the logarithm of a variance, and of the slope nothing.
    for estimator in map(Recorder, (WKL(5), Gaussian())):
        value = sliced_mutual_information(x, x + size * noise, estimator=estimator, rng=0).value
        assert value == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize("dtype", [float, np.float32, int])
def test_equally_spaced_values_are_warned_of_where_they_distort(dtype):
    x = np.random.default_rng(0).permutation(np.linspace(0, 1999, 2000)).astype(dtype)
    y = x + 20 * np.random.default_rng(1).standard_normal(2000)
    with pytest.warns(UserWarning, match="x are equally spaced.* KSG.. or Copula") as caught:
        sliced_mutual_information(x, y, estimator=Recorder(WKL(5)), rng=0)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="y are equally spaced"):
        WKL(5).mutual_information(y, x.astype(float))
    with pytest.warns(UserWarning, match="x_slices are equally spaced"):
        mutual_information_of_slices(x[None], y[None], estimator=Recorder(WKL(5)), rng=0)
    # Uniform on (0, 2000) with noise of 20: log(2000 / (20 sqrt(2 pi e))) up to the ends.
    exact = np.log(2000 / (20 * np.sqrt(2 * np.pi * np.e)))
    for estimator in (KSG(5), Copula()):
        value = sliced_mutual_information(x, y, estimator=Recorder(estimator), rng=0).value
        assert value == pytest.approx(exact, rel=0.05)


def test_values_that_cannot_be_are_warned_of():
    x, y = np.random.default_rng(0).lognormal(sigma=3, size=(2, 300, 1))
    with pytest.warns(UserWarning, match=r"WKL.* gave -.* never negative.*Use Copula") as caught:
        smi_of(x, y, rng=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


class Excessive(SliceEstimator):
    """Finds more than labels can carry."""

    def slice_terms(self, x, y):
        return np.abs(x)[None]

    def slice_terms_labels(self, x, labels):
        return 1.0 + 0.1 * self.slice_terms(x, labels)


def test_more_than_labels_carry_is_warned_of():
    x = correlated(400, 3, 1)[0]
    labels = np.arange(400) % 2
    options = {"estimator": Excessive(), "n_projections": 10, "y_discrete": True, "rng": 0}
    with pytest.warns(UserWarning, match=r"Excessive.* these labels carry 0.693 nat at most.*KSG"):
        sliced_mutual_information(x, labels, **options)
    # log 4 is more than that.
    sliced_mutual_information(x, np.arange(400) % 4, **options)


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


@ignore_negative
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


@ignore_negative
@ignore_ties
def test_precomputed_slices_may_hold_ties_of_their_own():
    rng = np.random.default_rng(0)
    # More slices than are searched at once.
    x, y = rng.standard_normal((2, 100, 500))
    x[1, :150] = x[1, :150].round(1)
    y[2, :100] = 0.0
    y[99, 100:200] = 1.0
    smi = smi_of_slices(x, y, rng=0)
    assert np.isfinite(smi.per_slice).all()
    assert smi.per_slice[0] == smi_of_slices(x[:1], y[:1]).value
    labels = np.arange(500) % 2
    smi = smi_of_slices(x, labels, y_discrete=True, rng=0)
    assert np.isfinite(smi.per_slice).all()


def test_a_column_of_denormal_numbers_beside_flags_is_measured():
    # Half the rows lie by denormal numbers apart, so that 1 / distance overflows.
    x = np.column_stack([1e-320 * np.random.default_rng(0).standard_normal(40), np.arange(40) % 2])
    y = np.random.default_rng(1).standard_normal((40, 1))
    value = sliced_mutual_information(x, y, estimator=Gaussian(), n_projections=4, rng=0).value
    assert np.isfinite(value)
