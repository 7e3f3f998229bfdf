"""Dask arrays and batches give what the same numbers in memory give, and are never whole."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from utils import (
    WKL,
    Copula,
    Gaussian,
    independence_test,
    max_sliced_mutual_information,
    sliced_mutual_information,
)

N = 3000
RNG = np.random.default_rng(0)
# A large common offset, and columns of very different scales.
X = (RNG.standard_normal((N, 6)) * [1, 1, 1, 10, 0.1, 1] + 1000.0).astype(np.float32)
Y = (X[:, :2] - 1000.0) ** 2 + RNG.standard_normal((N, 2))
LABELS = (X[:, 0] > 1000.0).astype(int) + (X[:, 1] > 1000.5)


class Batches:
    """An iterable of rows that can be read again and again, and says how often it was."""

    def __init__(self, rows, size):
        self.rows, self.size = rows, size
        self.n_readings = 0

    def __iter__(self):
        self.n_readings += 1
        return (self.rows[i : i + self.size] for i in range(0, len(self.rows), self.size))


def dask_array(rows, chunks=(700, 4)):
    return da.from_array(rows, chunks=chunks[: rows.ndim])


# Blocks of x and of y need not have the same rows, nor both be blocks.
FORMS = {
    "dask": (dask_array(X), dask_array(Y, (500, 1))),
    "batches": (Batches(X, 400), Batches(Y, 331)),
    "one side": (X, dask_array(Y)),
    "both kinds": (Batches(X, 400), dask_array(Y)),
}


def assert_same(result, expected):
    # Blocks are summed in another order: some roundings of a mean, of up to 1000 * 1e-16, which
    # are 1e-12 of the least spread.
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(result, name), value, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("estimator", [Copula(), WKL(5)])
def test_blocks_give_what_arrays_give(estimator, form):
    options = {"estimator": estimator, "n_projections": 120, "rng": 1}
    assert_same(
        sliced_mutual_information(*FORMS[form], **options),
        sliced_mutual_information(X, Y, **options),
    )


@pytest.mark.parametrize("labels", [LABELS, da.from_array(LABELS), Batches(LABELS, 100)])
@pytest.mark.parametrize("form", ["dask", "batches"])
def test_blocks_with_labels_give_what_arrays_give(form, labels):
    options = {"y_discrete": True, "n_projections": 120, "rng": 1}
    assert_same(
        sliced_mutual_information(FORMS[form][0], labels, **options),
        sliced_mutual_information(X, LABELS, **options),
    )


@pytest.mark.parametrize("measure", [independence_test, max_sliced_mutual_information])
def test_other_measures_take_blocks(measure):
    options = {"estimator": Gaussian(), "n_projections": 30, "n_permutations": 9, "rng": 1}
    for form in ("dask", "batches"):
        assert_same(measure(*FORMS[form], **options), measure(X, Y, **options))


def test_rows_that_are_drawn_may_miss_whole_blocks():
    options = {"estimator": Gaussian(), "n_projections": 5, "n_permutations": 9, "rng": 1}
    expected = max_sliced_mutual_information(X[:60], Y[:60], **options)
    with_empty = da.concatenate([dask_array(X[:60]), dask_array(X[:0])])
    for x in (Batches(X[:60], 1), with_empty):
        assert_same(max_sliced_mutual_information(x, Y[:60], **options), expected)


def test_slice_dims_may_be_a_list():
    options = {"n_projections": 20, "rng": 1}
    assert_same(
        sliced_mutual_information(*FORMS["dask"], slice_dims=[1, 1], **options),
        sliced_mutual_information(X, Y, **options),
    )


def test_a_tolerance_stops_early_where_it_does_with_arrays():
    options = {"tol": 0.01, "n_projections": 1000, "rng": 1}
    result = sliced_mutual_information(*FORMS["dask"], **options)
    assert_same(result, sliced_mutual_information(X, Y, **options))
    assert result.n_projections < 1000


def test_a_function_measures_slices_of_blocks():
    def correlation(x, y):
        return float(x[:, 0] @ y[:, 0]) / len(x)

    options = {"estimator": correlation, "n_projections": 20, "rng": 1}
    assert_same(
        sliced_mutual_information(*FORMS["batches"], **options),
        sliced_mutual_information(X, Y, **options),
    )


def test_one_reading_brings_many_slices(monkeypatch):
    # One for the checks, one for the covariances, and one for this many numbers of slices.
    monkeypatch.setattr("utils.blocks._NUMBERS_PER_READING", 2 * N * 50)
    x = Batches(X, 400)
    sliced_mutual_information(x, Batches(Y, 400), n_projections=100, rng=1)
    # 100 slices in chunks of 2, 100 of permuted samples in chunks of 4, no chunk in two readings;
    # and a look at the first batch.
    assert x.n_readings == 1 + 2 + 2 + 3


def test_where_samples_are_many_slices_come_one_by_one(monkeypatch):
    monkeypatch.setattr("utils.blocks._NUMBERS_PER_READING", 2 * N * 3)
    options = {"n_projections": 40, "rng": 1}
    assert_same(
        sliced_mutual_information(*FORMS["dask"], **options),
        sliced_mutual_information(X, Y, **options),
    )


def test_images_are_flattened_and_blocks_may_be_empty_or_of_unknown_length():
    images = da.from_array(X.reshape(N, 2, 3), chunks=(700, 1, 2))
    kept = dask_array(X[:, 0]) > 1001.5  # none in most blocks
    options = {"n_projections": 120, "rng": 1}
    assert_same(
        sliced_mutual_information(images[kept], Y[kept.compute()], **options),
        sliced_mutual_information(X[kept.compute()], Y[kept.compute()], **options),
    )


# --------------------------------------------------------------------------------------- equal rows


def repeated(share):
    return np.concatenate([X[: int(N * share)], X[: N - int(N * share)]])


def test_equal_rows_in_different_blocks_are_told_apart():
    x = repeated(0.005)
    result = sliced_mutual_information(dask_array(x), Y, estimator=WKL(5), n_projections=50, rng=1)
    # Distances of 0 would give no finite value. What noise is added is random: 15 of 3000 terms
    # differ, by some 10 nats over the root of 50 slices each.
    expected = sliced_mutual_information(x, Y, estimator=WKL(5), n_projections=50, rng=1)
    assert abs(result.value - expected.value) < 15 / 3000 * 10 / np.sqrt(50)


def test_equal_rows_of_a_half_are_told_apart():
    x, y = X[:400].copy(), Y[:400]
    x[:3] = x[3:6]
    options = {"estimator": WKL(1), "n_projections": 5, "n_permutations": 9, "rng": 1}
    found = max_sliced_mutual_information(Batches(x, 50), y, **options)
    expected = max_sliced_mutual_information(x, y, **options)
    # What noise is added is random, and may lead to another slice.
    assert abs(found.value - expected.value) < 4 * np.hypot(found.std_error, expected.std_error)


def test_many_equal_rows_are_warned_of_or_refused():
    with pytest.warns(UserWarning, match="60 of 3000 values of x repeat others"):
        sliced_mutual_information(dask_array(repeated(0.02)), Y, estimator=WKL(5), n_projections=5)
    with pytest.raises(ValueError, match="1200 of 3000 values of x repeat others, too many"):
        sliced_mutual_information(dask_array(repeated(0.4)), Y, estimator=WKL(5), n_projections=5)


# ---------------------------------------------------------------------------------------- bad input


def with_value(value):
    bad = X.copy()
    bad[1500, 2] = value
    return bad


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (dask_array(with_value(np.nan)), Y, r"x \(in block 2\) holds NaN .* row 100"),
        (Batches(with_value(np.inf), 400), Y, r"x \(in block 3\) holds NaN or infinity"),
        (dask_array(X[:-1]), Y, "x has 2999 samples and y has 3000"),
        (dask_array(np.ones((N, 2))), Y, "x is constant"),
        (dask_array(X), da.from_array(LABELS), "pass y_discrete=True"),
        (dask_array(X), dask_array(np.eye(3)[LABELS]), "pass y_discrete=True"),
        (dask_array(X).astype(complex), Y, "dtype complex"),
        (Batches(X[:0], 400), Y, "x has no batches"),
        (Batches(np.full((N, 1), 2**62) + np.arange(N)[:, None], 9), Y, "more digits than float64"),
        ([X[:5], X[:7]].__iter__(), Y, "list_iterator"),
    ],
)
def test_bad_blocks_are_refused_by_name(x, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        sliced_mutual_information(x, y, n_projections=5)


def test_batches_of_different_widths_are_refused():
    class Uneven(Batches):
        def __iter__(self):
            return iter([self.rows[:100], self.rows[100:, :3]])

    with pytest.raises(ValueError, match="has 3 values per sample, and others have 6"):
        sliced_mutual_information(Uneven(X, 1), Y)


def test_batches_that_are_lists_of_arrays_are_not_taken_for_rows():
    class Loader(Batches):
        def __iter__(self):
            return ([batch] for batch in super().__iter__())

    with pytest.raises(TypeError, match="x has batches of type list"):
        sliced_mutual_information(Loader(X, 400), Y)


def test_batches_that_end_when_they_are_read_again_are_refused():
    class Once(Batches):
        def __iter__(self):
            return super().__iter__() if self.n_readings < 2 else iter(())

    with pytest.raises(ValueError, match="had 3000 samples when it was first read, and 0 when"):
        sliced_mutual_information(Once(X, 400), Y, estimator=Gaussian(), n_projections=5)


@pytest.mark.parametrize("options", [{"frames": "pca"}, {"slice_dims": 2}, {"nan_policy": "omit"}])
def test_what_needs_arrays_in_memory_says_so(options):
    with pytest.raises(ValueError, match="in memory"):
        sliced_mutual_information(*FORMS["dask"], **options)
