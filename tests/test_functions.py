"""Any function as estimator: what it gets, what it may return, and what is said when it fails."""

from __future__ import annotations

import math
import threading
from functools import partial

import numpy as np
import pytest
from recorded import recorded_slices

from utils import independence_test, mutual_information_of_slices, sliced_mutual_information
from utils.estimators import SliceError, as_slice_estimator


def data(n=200, dim_x=3, dim_y=2):
    rng = np.random.default_rng(0)
    x, y = 1e3 * rng.standard_normal((n, dim_x)) + 5, rng.standard_normal((n, dim_y))
    y[:, 0] += 1e-3 * x[:, 0]
    return x, y, np.digitize(x[:, 0], [-500, 500])


def squared_correlation(x, y):
    return np.corrcoef(x[:, 0], y.reshape(-1))[0, 1] ** 2


def describe(x, y):
    """1 if everything is as documented."""
    standard = all(
        abs(values.mean()) < 1e-12 and abs(values.std() - 1) < 1e-12
        for values in ([x, y] if y.ndim == 2 else [x])
    )
    shapes = x.shape == (200, 1) and y.shape in ((200, 1), (200,))
    codes = y.ndim == 2 or (y.dtype == np.int64 and set(y.tolist()) == {0, 1, 2})
    return float(standard and shapes and codes)


@pytest.mark.usefixtures("one_core")
def test_a_function_gets_standardised_columns_and_codes_from_0():
    x, y, labels = data()
    names = np.array(["low", "middle", "high"])[labels]
    for other, y_discrete in ((y, False), (names, True)):
        got = sliced_mutual_information(
            x, other, estimator=describe, n_projections=3, y_discrete=y_discrete, rng=0
        )
        assert got.value == 1


@pytest.mark.usefixtures("one_core")
def test_the_mean_of_reported_errors_is_the_sampling_error():
    x, y, labels = data()

    def with_error(x, y):
        value = squared_correlation(x, y)
        return value, np.float32(0.25) + value

    for other, y_discrete in ((y, False), (labels, True)):
        got, plain = (
            sliced_mutual_information(
                x, other, estimator=function, n_projections=20, y_discrete=y_discrete, rng=0
            )
            for function in (with_error, squared_correlation)
        )
        assert got.value == plain.value
        assert plain.sampling_error == 0
        # float32 of a sum below 2 is rounded by 1e-7.
        assert got.sampling_error == pytest.approx(0.25 + plain.per_slice.mean(), abs=1e-6)
        assert got.std_error == pytest.approx(math.hypot(got.slicing_error, got.sampling_error))
    slices = np.ascontiguousarray(x.T), np.ascontiguousarray(x.T)
    assert mutual_information_of_slices(*slices, estimator=with_error).sampling_error > 1
    with_errors = independence_test(x, y, estimator=with_error, n_projections=5, rng=0)
    without = independence_test(x, y, estimator=squared_correlation, n_projections=5, rng=0)
    assert with_errors.p_value == without.p_value
    assert with_errors.value == without.value


@pytest.mark.parametrize(
    "result", [(0.1,), (0.1, 0.2, 0.3), "0.1", [0.1, 0.2], (0.1, None), None, np.zeros(3)]
)
@pytest.mark.usefixtures("one_core")
def test_anything_else_is_refused_with_what_it_was(result):
    x, y, _ = data()
    with pytest.raises(TypeError, match=r"returned a .*one number per slice, or \(value, error\)"):
        sliced_mutual_information(x, y, estimator=lambda x, y: result, n_projections=2)


def noise(x, y, *, rng):
    return rng.standard_normal()


def test_a_function_with_rng_gets_its_own_generator_per_slice_and_repeats():
    x, y, labels = data()
    for other, y_discrete in ((y, False), (labels, True)):
        measure = partial(
            sliced_mutual_information, x, other, n_projections=40, y_discrete=y_discrete
        )
        first, again, other_seed = (measure(estimator=noise, rng=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.per_slice, again.per_slice)
        # Standard normal numbers are all different.
        assert len(np.unique([first.per_slice, other_seed.per_slice])) == 80
        # Their mean is 0 with a standard error of 40 ** -0.5; 4 of these.
        assert abs(first.per_slice.mean()) < 4 / math.sqrt(40)
    bound = partial(noise, rng=np.random.default_rng(0))
    values = sliced_mutual_information(x, y, estimator=bound, n_projections=2, rng=0)
    assert math.isfinite(values.value)


class Locked:
    """Holds a lock, which cannot be sent to another process."""

    def __init__(self):
        self.lock, self.threads = threading.Lock(), set()

    def __call__(self, x, y):
        with self.lock:
            self.threads.add(threading.get_ident())
        return squared_correlation(x, y)

    def __repr__(self):
        return "Locked()"


def test_a_function_that_cannot_be_pickled_runs_in_threads_with_one_warning():
    x, y, _ = data()
    locked = Locked()
    with pytest.warns(UserWarning, match=r"Locked\(\) cannot be sent .*threads") as caught:
        got = sliced_mutual_information(x, y, estimator=locked, n_projections=300, rng=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    expected = sliced_mutual_information(
        x, y, estimator=squared_correlation, n_projections=300, rng=0
    )
    np.testing.assert_array_equal(got.per_slice, expected.per_slice)
    # It ran here, and not on copies.
    assert locked.threads


class FailsFor:
    """Fails, or returns NaN, where x is that of a given slice."""

    def __init__(self, row, *, raises):
        self.row, self.raises = row, raises

    def __call__(self, x, y):
        # Standardising again rounds in the last digits.
        if np.allclose(x[:, 0], self.row / self.row.std(), atol=1e-9):
            if self.raises:
                raise ZeroDivisionError("no such luck")
            return math.nan
        return 0.0

    def __repr__(self):
        return "FailsFor()"


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("number", [2, 1234])
def test_a_failure_names_the_cause_the_slice_and_the_callable(number):
    x, y, _ = data()
    options = {"n_projections": 1500, "rng": 0}
    rows = recorded_slices(
        sliced_mutual_information,
        x,
        y,
        estimator=as_slice_estimator(squared_correlation),
        **options,
    )[0]
    failing = FailsFor(rows[number] - rows[number].mean(), raises=True)
    match = rf"slice {number} \(counted from 0\): .*FailsFor\(\) raised ZeroDivisionError: no such"
    with pytest.raises(SliceError, match=match) as caught:
        sliced_mutual_information(x, y, estimator=failing, **options)
    assert caught.value.number == number
    with pytest.raises(ValueError, match=rf"FailsFor\(\) gave .* nan on number {number} \(") as bad:
        failing.raises = False
        sliced_mutual_information(x, y, estimator=failing, **options)
    # What rounding does to distances is no business of a function's.
    assert "logarithms" not in str(bad.value)
    assert "let it return a finite number" in str(bad.value)


@pytest.mark.usefixtures("one_core")
def test_a_failure_in_an_independence_test_names_the_slice():
    x, y, _ = data()
    options = {"n_projections": 20, "n_permutations": 3, "rng": 0}
    recorded = as_slice_estimator(squared_correlation)
    # Every slice is measured once for the data and for every permutation.
    rows = recorded_slices(independence_test, x, y, estimator=recorded, **options)[0][::4]
    failing = FailsFor(rows[2] - rows[2].mean(), raises=True)
    with pytest.raises(RuntimeError, match=r"slice 2 .*FailsFor\(\) raised ZeroDivisionError"):
        independence_test(x, y, estimator=failing, **options)


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("y_discrete", [False, True])
def test_a_failure_in_slices_of_planes_names_the_slice(y_discrete):
    x, y, labels = data()
    calls = []

    def failing(x, y):
        calls.append(None)  # on one core, slices come in order
        if len(calls) == 14:
            raise ZeroDivisionError
        return 0.0

    slice_dims, other = (2, labels) if y_discrete else ((2, 1), y)
    # 500 slices come in groups of 10.
    options = {"slice_dims": slice_dims, "y_discrete": y_discrete, "n_projections": 500, "rng": 0}
    with pytest.raises(SliceError, match="^slice 13 "):
        sliced_mutual_information(x, other, estimator=failing, **options)


@pytest.mark.usefixtures("one_core")
def test_a_function_that_does_not_take_two_arguments_is_told_so():
    x, y, _ = data()
    for function in (lambda x: 0.0, lambda x, y, z: 0.0):
        with pytest.raises(TypeError, match=r"has the parameters .*give a function f\(x, y\)"):
            sliced_mutual_information(x, y, estimator=function)


def test_a_failure_comes_back_from_a_process():
    x, y, _ = data()
    with pytest.raises(SliceError, match=r"slice \d+ .*raised ZeroDivisionError"):
        sliced_mutual_information(x, y, estimator=lambda x, y: 1 / 0, n_projections=100)
