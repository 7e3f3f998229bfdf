"""What cannot be measured is refused before any work, by a message that names it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from refused import LABELS, N, X, Y, smi, smi_labels
from scipy.sparse import csr_matrix

from utils import (
    KSG,
    WKL,
    Copula,
    Gaussian,
    SMICompressor,
    independence_test,
    mutual_information_of_slices,
)

ROOT = Path(__file__).resolve().parents[1]

WITH_NAN, WITH_INFINITY = X.copy(), X.copy()
WITH_NAN[7, 1] = np.nan
WITH_INFINITY[3, 0] = -np.inf


def few_of_one_class(n):
    labels = np.zeros(N, int)
    labels[:n] = 1
    return labels


MEASURES = {
    "slices": smi,
    "slices by a function": lambda x, y: smi(x, y, estimator=lambda x, y: 0.0),
    "Gaussian slices": lambda x, y: smi(x, y, estimator=Gaussian()),
    "WKL": lambda x, y: WKL(5).mutual_information(x, y),
    "Gaussian": lambda x, y: Gaussian().mutual_information(x, y),
}
LABEL_MEASURES = {
    "slices": smi_labels,
    "slices by a function": lambda x, y: smi_labels(x, y, estimator=lambda x, y: 0.0),
    "WKL": lambda x, y: WKL(5).mutual_information_labels(x, y),
}

# What is wrong with a variable; the error; what its message says beside the variable's name.
BAD_SAMPLES = {
    "text": (np.full((N, 2), "a"), TypeError, "dtype <U1; give real numbers"),
    "objects": (np.full((N, 2), None), TypeError, "dtype object; give real numbers"),
    "complex numbers": (X * 1j, TypeError, r"complex128; give real .*column_stack.*real.*imag"),
    "dates": (
        np.full((N, 2), "2026-01-01", "M8[D]"),
        TypeError,
        r"dtype datetime64\[D\]; give real numbers: .*min\(\)\) / np.timedelta64\(1, 's'\)",
    ),
    "durations": (np.ones((N, 2), "m8[s]"), TypeError, r"dtype timedelta64\[s\].*np.timedelta64"),
    "a frame with text": (
        pd.DataFrame({"a": range(N), "b": ["c"] * N}),
        TypeError,
        r"dtype (object|str); give real numbers",
    ),
    "a frame with dates": (
        pd.DataFrame({"a": range(N), "b": pd.date_range("2026-01-01", periods=N, tz="UTC")}),
        TypeError,
        r"give real numbers: .*np.timedelta64\(1, 's'\)",
    ),
    "a nullable frame with a gap": (
        pd.DataFrame(WITH_NAN).astype("Float64"),
        ValueError,
        "NaN or infinity .*row 7",
    ),
    "rows of unequal length": ([[1.0, 2.0], [3.0]] * 20, ValueError, "rows of equal length"),
    "None": (None, TypeError, "dtype object; give real numbers"),
    "nothing": ([], ValueError, r"shape \(0,\)"),
    "no columns": (np.empty((N, 0)), ValueError, r"shape \(40, 0\)"),
    "a number": (np.float64(3.0), ValueError, r"shape \(\)"),
    "a missing value": (WITH_NAN, ValueError, "NaN or infinity .*row 7.*drop or fix"),
    "an infinite value": (WITH_INFINITY, ValueError, "NaN or infinity .*row 3.*drop or fix"),
    "masked values": (
        np.ma.masked_array(X, X > 2),
        ValueError,
        f"has masked values, {np.count_nonzero(X > 2)} of them; drop such rows",
    ),
    "a sparse matrix": (csr_matrix(X), TypeError, r"dtype object.*sparse.*\.toarray\(\)"),
    "a generator": ((row for row in X), TypeError, r"dtype object.*generator, so give list"),
    "numbers beyond float64": (X.astype("g") * np.longdouble("1e400"), ValueError, "infinity"),
    "numbers whose sums overflow": (X * 5e307, ValueError, "holds .*e.308, and sums .*; divide"),
    "next to no spread": (X * 1e-300, ValueError, "varies by .*e-300 only.*; multiply"),
    "a constant": (np.full(N, 0.1), ValueError, "is constant"),
    "constant columns": (np.tile([0.1, 3.0, -1e8], (N, 1)), ValueError, "is constant"),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
@pytest.mark.parametrize("measure", MEASURES)
def test_bad_samples_are_refused_by_name(measure, case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=rf"^x\b.*{message}"):
        MEASURES[measure](bad, Y)
    with pytest.raises(error, match=rf"^y\b.*{message}"):
        MEASURES[measure](X, bad)


@pytest.mark.parametrize("case", BAD_SAMPLES)
@pytest.mark.parametrize("measure", LABEL_MEASURES)
def test_bad_samples_with_labels_are_refused_by_name(measure, case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=rf"^x\b.*{message}"):
        LABEL_MEASURES[measure](bad, LABELS)


@pytest.mark.parametrize("case", BAD_SAMPLES)
@pytest.mark.parametrize("estimator", [WKL(5), Gaussian()])
def test_bad_samples_have_no_entropy(estimator, case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=rf"^x\b.*{message}"):
        estimator.entropy(bad)


@pytest.mark.parametrize("case", [c for c in BAD_SAMPLES if not re.search("constant|spread", c)])
def test_bad_samples_are_not_projected(case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=rf"^x\b.*{message}"):
        SMICompressor(3, 2, rng=0)(bad)


PAIRED = {
    **{f"{name}, continuous": (measure, Y[:-1]) for name, measure in MEASURES.items()},
    **{f"{name}, labels": (measure, LABELS[:-1]) for name, measure in LABEL_MEASURES.items()},
}


@pytest.mark.parametrize("case", PAIRED)
def test_samples_that_are_not_paired_are_refused(case):
    measure, y = PAIRED[case]
    with pytest.raises(ValueError, match=r"x has 40 samples and y has 39.*same sample"):
        measure(X, y)


# Five neighbours need six samples.
@pytest.mark.parametrize(
    "call",
    [
        lambda: smi(X[:5], Y[:5]),
        lambda: WKL(5).mutual_information(X[:5], Y[:5]),
        lambda: WKL(5).entropy(X[:5]),
        lambda: smi_labels(X[:5], LABELS[:5]),
        lambda: WKL(5).mutual_information_labels(X[:5], LABELS[:5]),
    ],
)
def test_too_few_samples_for_k_are_refused(call):
    with pytest.raises(ValueError, match=r"has [235] samples, too few for WKL\(k=5.*at least 6"):
        call()


@pytest.mark.parametrize("measure", ["slices", "WKL"])
def test_a_class_with_too_few_samples_is_refused(measure):
    with pytest.raises(ValueError, match=r"class 1 .* 5 samples, too few for WKL\(k=5.*at least 6"):
        LABEL_MEASURES[measure](X, few_of_one_class(5))
    with pytest.raises(ValueError, match=r"class 'rare' .*has 2 samples, too few for WKL"):
        LABEL_MEASURES[measure](X, ["rare"] * 2 + ["common"] * (N - 2))
    LABEL_MEASURES[measure](X, few_of_one_class(6))


def test_one_sample_is_refused_by_every_measure():
    for measure in MEASURES.values():
        with pytest.raises(ValueError, match=r"x has 1 samples, too few"):
            measure(X[:1], Y[:1])


ONE_COLUMN = {
    "integers": LABELS,
    "unsigned integers": LABELS.astype(np.uint8),
    "a column of integers": LABELS[:, None],
    "flags": LABELS == 1,
    "strings": np.array(["a", "b"])[LABELS],
    "a list of strings": ["a", "b"] * 20,
    "objects": np.array([None, "b"], object)[LABELS],
    "a series of integers": pd.Series(LABELS),
    "a series of strings": pd.Series(["a", "b"] * 20),
    "categories": pd.Series(["a", "b"] * 20, dtype="category"),
}


ONE_HOT = {
    "floats": np.eye(2)[LABELS],
    "integers": np.eye(3, dtype=int)[LABELS],
    "a frame": pd.get_dummies(LABELS),
}


@pytest.mark.parametrize("y", ONE_COLUMN.values(), ids=ONE_COLUMN)
@pytest.mark.parametrize("measure", ["slices", "slices by a function", "WKL", "Gaussian"])
def test_one_column_that_looks_like_labels_is_not_taken_for_measurements(measure, y):
    with pytest.raises(TypeError, match=r"^y is one column .*y_discrete=True"):
        MEASURES[measure](X, y)


def test_whole_numbers_may_be_declared_measurements():
    with pytest.raises(TypeError, match=r"^y is one column .*, or y\.astype\(float\) if"):
        smi(X, np.arange(N))
    smi(X, np.arange(N).astype(float), estimator=Copula())
    # Beyond 2^53, float64 would round them.
    with pytest.raises(TypeError, match=r"or \(y - y\.min\(\)\)\.astype\(float\) if"):
        smi(X, np.arange(N) + 10**18)


@pytest.mark.parametrize("y", ONE_HOT.values(), ids=ONE_HOT)
def test_one_hot_rows_are_not_taken_for_measurements(y):
    for measure in MEASURES.values():
        with pytest.raises(TypeError, match=r"^y is one-hot rows, .*y_discrete=True"):
            measure(X, y)


def test_frames_in_different_orders_are_not_paired_by_position():
    x, y = pd.DataFrame(X, index=np.arange(N) + 5), pd.DataFrame(Y, index=np.arange(N) + 5)
    shuffled = y.sample(frac=1, random_state=0)
    labels = pd.Series(LABELS, index=shuffled.index)
    refused = pytest.raises(ValueError, match=r"same index in .*; give \w+\.loc\[x\.index\]")
    for measure in MEASURES.values():
        with refused:
            measure(x, shuffled)
    for measure in LABEL_MEASURES.values():
        with refused:
            measure(x, labels)
    with refused:
        smi(x, shuffled, nan_policy="omit")
    with refused:
        independence_test(x, y, groups=labels)
    # Numbered from elsewhere, nothing says that they are not paired.
    for y in (shuffled.loc[x.index], shuffled.loc[x.index].to_numpy(), pd.DataFrame(Y)):
        assert smi(x, y).value == pytest.approx(smi(X, Y).value, abs=1e-12)


def test_what_is_no_policy_for_missing_values_is_named():
    for policy in ("drop", None, 0, "propagate"):
        with pytest.raises(ValueError, match=r"nan_policy=.*; choose 'raise' or 'omit'"):
            smi(X, Y, nan_policy=policy)
    with pytest.raises(ValueError, match=r"x or y has a missing value in each of 40 rows; leave"):
        smi(X * np.nan, Y, nan_policy="omit")
    with pytest.raises(ValueError, match=r"x has 40 samples and y has 39"):
        smi(WITH_NAN, Y[:-1], nan_policy="omit")
    with pytest.raises(ValueError, match=r"x holds NaN or infinity .*row 3"):
        smi(WITH_INFINITY, Y, nan_policy="omit")
    with pytest.raises(ValueError, match=r"x has shape \(0,\); give"):
        smi([], [], nan_policy="omit")


BAD_LABELS = {
    "two columns": (np.stack([LABELS, LABELS], 1), ValueError, r"y has shape \(40, 2\)|labels has"),
    "a number": (3, ValueError, r"has shape \(\)"),
    "nothing": ([], ValueError, r"has shape \(0,\)"),
    "a missing value": (np.where(LABELS == 1, np.nan, 0.0), ValueError, "NaN or infinity"),
    "an infinite value": (np.where(LABELS == 1, np.inf, 0.0), ValueError, "NaN or infinity"),
    "complex with a gap": (np.where(LABELS == 1, np.nan, 1j), ValueError, "NaN or infinity"),
    "NaN among objects": (np.array([float("nan"), "a"] * 20, object), ValueError, "holds nan"),
    "NA among objects": (np.array([pd.NA, "a"] * 20, object), ValueError, "holds <NA>"),
    "None among objects": (np.array([None, "a"] * 20, object), ValueError, "holds None"),
    "NaN in a list": ([float("nan"), "a"] * 20, ValueError, "holds nan"),
    "None in a list": ([None, "a"] * 20, ValueError, "holds None"),
    "a gap among integers": (pd.Series([0, 1, None, 1] * 10, dtype="Int64"), ValueError, "NaN"),
    "a gap among flags": (pd.Series([True, None] * 20, dtype="boolean"), ValueError, "NaN"),
    "a gap among categories": (pd.Series(["a", None] * 20, dtype="category"), ValueError, "nan"),
    "rows of zeros and ones": (np.array([[0, 1], [1, 1]] * 20), ValueError, r"shape \(40, 2\)"),
    "a date that is none": (np.array(["NaT", "2026-01-01"] * 20, "M8[D]"), ValueError, "NaT"),
    "measurements": (X[:, 0], ValueError, "40 different values in 40.*leave out y_discrete"),
    "lists": (np.array([[], [1]] * 20, object), TypeError, "unhashable"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize(("measure", "name"), [("slices", "y"), ("WKL", "labels")])
def test_bad_labels_are_refused_by_name(measure, name, case):
    bad, error, message = BAD_LABELS[case]
    with pytest.raises(error, match=message) as raised:
        LABEL_MEASURES[measure](X, bad)
    assert str(raised.value).startswith(name)


def test_more_than_a_third_of_repeated_samples_are_refused_where_ties_distort():
    repeated = X.copy()
    repeated[:15] = X[0]
    for measure in ("slices", "WKL"):
        with pytest.raises(ValueError, match=r"^14 of 40 values of x repeat .*; discrete data"):
            MEASURES[measure](repeated, Y)
    with pytest.raises(ValueError, match=r"^14 of 40 values of x_slices repeat .*; discrete data"):
        mutual_information_of_slices(repeated.T, X.T, estimator=WKL(5))
    # Ranks and counts are not distorted.
    for estimator in (KSG(5), Copula()):
        assert np.isfinite(smi(repeated, Y, estimator=estimator).value)


def test_values_that_rounding_makes_equal_are_refused():
    # Standardized, everything but the first three values rounds to the same number.
    x = np.concatenate([[1e30, -1e30, 2e30], np.arange(N - 3.0)])
    with pytest.raises(ValueError, match=r"not finite on 3 slices, .*check x and y.*ranks"):
        smi(x[:, None] * [1.0, 1.0], Y)
    with pytest.raises(ValueError, match=r"not finite on .* slices, .*check x and y.*ranks"):
        smi(x[:, None] * [1.0, 1.0], Y, tol=0.01, n_projections=200)
    with pytest.raises(ValueError, match=r"not finite on 4 orders of y, .*check x and y.*ranks"):
        independence_test(x, Y, estimator=WKL(5), n_projections=3, n_permutations=3, rng=0)
    with pytest.raises(ValueError, match=r"samples of x .*distance is 0; take ranks"):
        WKL(5).mutual_information(x, Y)
    with pytest.raises(ValueError, match=r"samples of x .*distance is 0; take ranks"):
        WKL(5).entropy(x)


def test_constant_columns_leave_nothing_behind():
    # A mean of equal numbers is not quite their value, and the rest would hide what varies.
    x = np.column_stack([1e-30 * X[:, 0], np.zeros((N, 3))])
    offset = x + np.array([0.0, 1e5 + 0.1, 1 / 3, 1e8])
    assert smi(offset, Y).value == smi(x, Y).value
    compressor = SMICompressor(4, 5, rng=0)
    np.testing.assert_array_equal(compressor(offset), compressor(x))
    np.testing.assert_array_equal(compressor(np.full((N, 4), 0.1)), np.zeros((5, N)))


def test_a_constant_slice_does_not_search_for_its_scale_for_ever():
    for estimator in (WKL(5), Gaussian()):
        with pytest.raises(ValueError, match="x or y varies by less .*; leave out columns"):
            estimator.slice_terms(np.ones((1, N)), X[:, :1].T)


def test_a_function_that_returns_no_finite_number_is_named():
    with pytest.raises(ValueError, match="not finite on 3 slices"):
        smi(X, Y, estimator=lambda x, y: float("nan"))


SAME = {
    "equal": X[:, :1],
    "scaled and moved": -2 * X[:, :1] + 3,
}


@pytest.mark.parametrize("y", SAME.values(), ids=SAME)
@pytest.mark.parametrize("measure", ["slices", "Gaussian slices", "WKL", "Gaussian"])
def test_infinite_information_is_refused(measure, y):
    with pytest.raises(ValueError, match=r"x and one of y.*infinite"):
        MEASURES[measure](X[:, :1], y)


@pytest.mark.parametrize(
    ("measure", "limit"),
    [("slices", 1e-12), ("Gaussian slices", 1e-12), ("WKL", 1e-6), ("Gaussian", 1e-6)],
)
def test_information_is_refused_where_rounding_hides_how_large_it_is(measure, limit):
    # y = x + s noise leaves the part s of the spread of y unexplained.
    noise = Y[:, :1]
    with pytest.raises(ValueError, match="infinite or too large"):
        MEASURES[measure](X[:, :1], X[:, :1] + 0.1 * limit * noise)
    MEASURES[measure](X[:, :1], X[:, :1] + 10 * limit * noise)


@pytest.mark.parametrize("estimator", [WKL(5), Gaussian()])
def test_a_common_part_is_infinite_information(estimator):
    y = np.column_stack([Y[:, 0], X @ [1.0, -2.0, 0.5] + Y[:, 0]])
    with pytest.raises(ValueError, match=r"x and one of y.*infinite"):
        estimator.mutual_information(X, y)


def test_data_without_density_have_no_entropy():
    flat = np.column_stack([X, X[:, 0] - X[:, 1]])
    constant = np.column_stack([X, np.full(N, 0.1)])
    for estimator in (WKL(5), Gaussian()):
        for x in (flat, constant):
            with pytest.raises(ValueError, match="x has 4 columns but varies in 3"):
                estimator.entropy(x)


def test_a_class_that_is_flat_where_x_is_not_is_infinite_information():
    x = X.copy()
    x[LABELS == 1, 2] = 0.1
    with pytest.raises(ValueError, match=r"class 1 varies in 2 of the 3 .*infinite"):
        WKL(5).mutual_information_labels(x, LABELS)


def constant_slice(row):
    slices = X.T.copy()
    slices[row] = 0.1
    return slices


BAD_SLICES = {
    "a constant slice": (constant_slice(1), X.T, ValueError, r"x_slices\[1\] is constant"),
    "a constant slice of y": (X.T, constant_slice(2), ValueError, r"y\[2\] is constant"),
    "fewer slices of y": (X.T, X.T[:2], ValueError, r"y has shape \(2, 40\) and x_slices has"),
    "fewer samples of y": (X.T, X.T[:, :-1], ValueError, r"y has shape \(3, 39\) and x_slices"),
    "a single slice as a vector": (X[:, 0], X[:, 1], ValueError, r"x_slices has shape \(40,\)"),
    "three dimensions": (X.T[None], X.T[None], ValueError, r"x_slices has shape \(1, 3, 40\)"),
    "too few samples": (X[:5].T, X[:5].T, ValueError, r"x_slices has 5 samples, too few for WKL"),
    "text": (X.T.astype(str), X.T, TypeError, "x_slices has dtype"),
    "missing values": (X.T, WITH_NAN.T, ValueError, "y holds NaN or infinity"),
    "nothing": (np.empty((0, 40)), np.empty((0, 40)), ValueError, "x_slices has shape"),
    "equal": (X.T, 2 * X.T, ValueError, "infinite"),
}


@pytest.mark.parametrize("case", BAD_SLICES)
def test_bad_slices_are_refused_by_name(case):
    x, y, error, message = BAD_SLICES[case]
    with pytest.raises(error, match=message):
        mutual_information_of_slices(x, y, estimator=WKL(5))


def test_slices_and_labels_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match="x has 40 samples and y has 39"):
        mutual_information_of_slices(X.T, LABELS[:-1], y_discrete=True)
    with pytest.raises(ValueError, match=r"class 1 .*too few for "):
        mutual_information_of_slices(X.T, few_of_one_class(3), y_discrete=True)


def test_a_compressor_takes_data_of_its_own_dimension_only():
    with pytest.raises(ValueError, match="x has 2 values per sample, .* have 3.*dim=2"):
        SMICompressor(3, 2, rng=0)(Y)
