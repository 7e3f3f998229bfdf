"""What cannot be measured is refused before any work, by a message that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import utils.parallel
from utils import (
    WKL,
    CorrelatedCubed,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    SyntheticConfig,
    berrett_weights,
    independence_test,
    mutual_information_of_slices,
    sample_spherical,
    sample_stiefel,
    sliced_mutual_information,
)
from utils.estimators import neighbor_weights

ROOT = Path(__file__).resolve().parents[1]

N = 40
X = np.random.default_rng(0).standard_normal((N, 3))
Y = np.random.default_rng(1).standard_normal((N, 2))
LABELS = np.arange(N) % 2
WITH_NAN, WITH_INFINITY = X.copy(), X.copy()
WITH_NAN[7, 1] = np.nan
WITH_INFINITY[3, 0] = -np.inf


def few_of_one_class(n):
    labels = np.zeros(N, int)
    labels[:n] = 1
    return labels


def smi(x, y, **options):
    return sliced_mutual_information(x, y, **{"n_projections": 3, "rng": 0, **options})


def smi_labels(x, y, **options):
    return smi(x, y, y_discrete=True, **options)


MEASURES = {
    "slices": smi,
    "slices by a function": lambda x, y: smi(x, y, estimator=lambda x, y: 0.0),
    "Gaussian slices": lambda x, y: smi(x, y, estimator=Gaussian()),
    "WKL": lambda x, y: WKL().mutual_information(x, y),
    "Gaussian": lambda x, y: Gaussian().mutual_information(x, y),
}
LABEL_MEASURES = {
    "slices": smi_labels,
    "slices by a function": lambda x, y: smi_labels(x, y, estimator=lambda x, y: 0.0),
    "WKL": lambda x, y: WKL().mutual_information_labels(x, y),
}

# What is wrong with a variable; the error; what its message says beside the variable's name.
BAD_SAMPLES = {
    "text": (np.full((N, 2), "a"), TypeError, "dtype <U1; give real numbers"),
    "objects": (np.full((N, 2), None), TypeError, "dtype object; give real numbers"),
    "complex numbers": (X * 1j, TypeError, "dtype complex128; give real numbers"),
    "dates": (np.full((N, 2), "2026-01-01", "M8[D]"), TypeError, r"dtype datetime64\[D\]"),
    "a frame with text": (
        pd.DataFrame({"a": range(N), "b": ["c"] * N}),
        TypeError,
        "dtype object; give real numbers",
    ),
    "rows of unequal length": ([[1.0, 2.0], [3.0]] * 20, ValueError, "rows of equal length"),
    "None": (None, TypeError, "dtype object; give real numbers"),
    "nothing": ([], ValueError, r"shape \(0,\)"),
    "no columns": (np.empty((N, 0)), ValueError, r"shape \(40, 0\)"),
    "a number": (np.float64(3.0), ValueError, r"shape \(\)"),
    "a missing value": (WITH_NAN, ValueError, "NaN or infinity .*row 7.*drop or mend"),
    "an infinite value": (WITH_INFINITY, ValueError, "NaN or infinity .*row 3.*drop or mend"),
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
    with pytest.raises(error, match=f"^x .*{message}"):
        MEASURES[measure](bad, Y)
    with pytest.raises(error, match=f"^y .*{message}"):
        MEASURES[measure](X, bad)


@pytest.mark.parametrize("case", BAD_SAMPLES)
@pytest.mark.parametrize("measure", LABEL_MEASURES)
def test_bad_samples_with_labels_are_refused_by_name(measure, case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=f"^x .*{message}"):
        LABEL_MEASURES[measure](bad, LABELS)


@pytest.mark.parametrize("case", BAD_SAMPLES)
@pytest.mark.parametrize("estimator", [WKL(), Gaussian()])
def test_bad_samples_have_no_entropy(estimator, case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=f"^x .*{message}"):
        estimator.entropy(bad)


@pytest.mark.parametrize("case", [c for c in BAD_SAMPLES if not re.search("constant|spread", c)])
def test_bad_samples_are_not_projected(case):
    bad, error, message = BAD_SAMPLES[case]
    with pytest.raises(error, match=f"^x .*{message}"):
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
        lambda: WKL().mutual_information(X[:5], Y[:5]),
        lambda: WKL().entropy(X[:5]),
        lambda: smi_labels(X[:5], LABELS[:5]),
        lambda: WKL().mutual_information_labels(X[:5], LABELS[:5]),
    ],
)
def test_too_few_samples_for_k_are_refused(call):
    with pytest.raises(ValueError, match=r"has [235] samples, too few for k=5.*at least 6"):
        call()


@pytest.mark.parametrize("measure", ["slices", "WKL"])
def test_a_class_with_too_few_samples_is_refused(measure):
    with pytest.raises(ValueError, match=r"class 1 .*has 5 samples, too few for k=5.*at least 6"):
        LABEL_MEASURES[measure](X, few_of_one_class(5))
    with pytest.raises(ValueError, match=r"class 'rare' .*has 2 samples, too few for k=5"):
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


@pytest.mark.parametrize("y", ONE_COLUMN.values(), ids=ONE_COLUMN)
@pytest.mark.parametrize("measure", ["slices", "slices by a function", "WKL", "Gaussian"])
def test_one_column_that_looks_like_labels_is_not_taken_for_measurements(measure, y):
    with pytest.raises(TypeError, match=r"^y is one column .*y_discrete=True.*astype\(float\)"):
        MEASURES[measure](X, y)


BAD_LABELS = {
    "two columns": (np.stack([LABELS, LABELS], 1), ValueError, r"y has shape \(40, 2\)|labels has"),
    "a number": (3, ValueError, r"has shape \(\)"),
    "nothing": ([], ValueError, r"has shape \(0,\)"),
    "a missing value": (np.where(LABELS == 1, np.nan, 0.0), ValueError, "NaN or infinity"),
    "an infinite value": (np.where(LABELS == 1, np.inf, 0.0), ValueError, "NaN or infinity"),
    "complex with a gap": (np.where(LABELS == 1, np.nan, 1j), ValueError, "NaN or infinity"),
    "NaN among objects": (np.array([float("nan"), "a"] * 20, object), ValueError, "holds nan"),
    "NA among objects": (np.array([pd.NA, "a"] * 20, object), ValueError, "holds <NA>"),
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


BAD_COUNTS = {
    "zero": (0, ValueError, "is too small; give at least 1"),
    "negative": (-3, ValueError, "is too small; give at least 1"),
    "a fraction": (2.5, TypeError, "is a float; give a whole number"),
    "a whole float": (3.0, TypeError, "is a float; give a whole number"),
    "a string": ("3", TypeError, "is a str; give a whole number"),
    "a flag": (True, TypeError, "is a bool; give a whole number"),
    "None": (None, TypeError, "is a NoneType; give a whole number"),
}
COUNTS = {
    "n_projections": [
        lambda value: smi(X, Y, n_projections=value),
        lambda value: smi_labels(X, LABELS, n_projections=value),
        lambda value: sample_spherical(3, value),
        lambda value: SMICompressor(3, value),
        lambda value: SyntheticConfig(n_projections=value),
    ],
    "dim": [
        lambda value: sample_spherical(value, 3),
        lambda value: sample_stiefel(value),
        lambda value: SMICompressor(value, 3),
        lambda value: berrett_weights(5, value),
        lambda value: neighbor_weights("kth", 5, value),
    ],
    "k": [
        lambda value: WKL(value),
        lambda value: berrett_weights(value, 2),
        lambda value: neighbor_weights("kth", value, 2),
        lambda value: SyntheticConfig(k=value),
    ],
    "dim_x": [lambda value: CorrelatedNormal(1.0, value, 2)],
    "dim_y": [lambda value: CorrelatedCubed(1.0, 2, value)],
    "n": [lambda value: CorrelatedNormal(1.0, 2, 2).sample(value)],
    "n_samples": [lambda value: SyntheticConfig(n_samples=value)],
    "n_seeds": [lambda value: SyntheticConfig(n_seeds=value)],
    "a value of dims": [lambda value: SyntheticConfig(dims=(2, value))],
}


@pytest.mark.parametrize("case", BAD_COUNTS)
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers_of_at_least_one(name, case):
    bad, error, message = BAD_COUNTS[case]
    for call in COUNTS[name]:
        with pytest.raises(error, match=f"^{name}={bad!r} {message}"):
            call(bad)


@pytest.mark.parametrize("weights", ["first", "", "KTH", ("kth", "first"), 5, None, (), [5]])
def test_unknown_weights_are_refused(weights):
    bad = weights[-1] if isinstance(weights, (tuple, list)) and weights else weights
    with pytest.raises((ValueError, TypeError)) as raised:
        WKL(weights=weights)
    assert f"weights={bad!r}" in str(raised.value)
    assert "'kth', 'berrett', 'mutinfo'" in str(raised.value)


def test_an_unknown_rule_has_no_weights():
    with pytest.raises(ValueError, match=r"'first'.*'kth', 'berrett', 'mutinfo'"):
        neighbor_weights("first", 5, 2)


def test_berrett_weights_are_refused_where_k_is_too_small_for_the_dimension():
    x, y = np.random.default_rng(0).standard_normal((2, 100, 6))
    with pytest.raises(ValueError, match=r"k=5.*dimension 12.*1-norm of 755.*'kth'"):
        WKL(5, "berrett").mutual_information(x, y)
    with pytest.raises(ValueError, match=r"k=1.*dimension 6.*'kth'"):
        WKL(1, "berrett").entropy(x)
    with pytest.raises(ValueError, match=r"k=1.*dimension 6.*'kth'"):
        WKL(1, "berrett").mutual_information_labels(x, np.arange(100) % 2)


@pytest.mark.parametrize("estimator", ["wkl", None, 3])
def test_what_is_no_estimator_is_refused(estimator):
    for call in (smi, smi_labels):
        with pytest.raises(TypeError, match=rf"estimator={estimator!r}"):
            call(X, Y if call is smi else LABELS, estimator=estimator)
    with pytest.raises(TypeError, match=rf"estimator={estimator!r}"):
        mutual_information_of_slices(X.T, X.T, estimator=estimator)


@pytest.mark.parametrize("estimator", [WKL, Gaussian])
def test_an_estimator_without_brackets_is_refused(estimator):
    message = rf"^estimator={estimator.__name__} is a class.* as {estimator.__name__}\(\)"
    with pytest.raises(TypeError, match=message):
        smi(X, Y, estimator=estimator)
    with pytest.raises(TypeError, match=message):
        mutual_information_of_slices(X.T, X.T, estimator=estimator)


NO_NUMBERS = {"an array": np.zeros(3), "one in a list": [0.5], "None": None, "text": "0.5"}


@pytest.mark.parametrize("returned", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_function_that_returns_no_number_is_named(returned, monkeypatch):
    # In this process: others end by such an error, and new ones take seconds to start.
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: 1)
    kind = type(returned).__name__
    with pytest.raises(TypeError, match=rf"^estimator=.*returned a {kind} of .*one number a slice"):
        smi(X, Y, estimator=lambda x, y: returned)


def test_a_function_may_return_any_kind_of_number(monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: 1)
    for returned in (1, True, np.float32(1), np.array(1.0)):
        assert smi(X, Y, estimator=lambda x, y, value=returned: value).value == 1.0


# Each worker takes itself for one that leaks memory, as it does after importing PyTorch.
GROWING = """
import numpy as np
import utils

def growing(x, y):
    from joblib.externals.loky import process_executor
    process_executor._MEMORY_LEAK_CHECK_DELAY = 0.0
    process_executor._MAX_MEMORY_LEAK_SIZE = -(2**40)
    return 1.0

x, y = np.random.default_rng(0).standard_normal((2, 40, 3))
print(utils.sliced_mutual_information(x, y, estimator=growing, n_projections=8).value)
"""


def test_a_function_whose_workers_are_replaced_is_waited_for():
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", GROWING],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "")


BAD_SEEDS = {"text": "a", "negative": -1, "a fraction": 1.5, "an object": [None]}
SEEDED = {
    "slices": lambda rng: smi(X, Y, rng=rng),
    "slices that are there": lambda rng: mutual_information_of_slices(X.T, X.T**2, rng=rng),
    "WKL.entropy": lambda rng: WKL().entropy(X, rng=rng),
    "WKL.mutual_information": lambda rng: WKL().mutual_information(X, Y, rng=rng),
    "WKL, labels": lambda rng: WKL().mutual_information_labels(X, LABELS, rng=rng),
    "sample_spherical": lambda rng: sample_spherical(3, 2, rng=rng),
    "sample_stiefel": lambda rng: sample_stiefel(3, rng=rng),
    "SMICompressor": lambda rng: SMICompressor(3, 2, rng=rng),
    "CorrelatedNormal": lambda rng: CorrelatedNormal(1.0, 2, 2, rng=rng),
    "CorrelatedNormal.sample": lambda rng: CorrelatedNormal(1.0, 2, 2).sample(5, rng=rng),
}


@pytest.mark.parametrize("rng", BAD_SEEDS.values(), ids=BAD_SEEDS)
@pytest.mark.parametrize("function", SEEDED)
def test_what_cannot_seed_random_numbers_is_named(function, rng):
    with pytest.raises((TypeError, ValueError), match=r"^rng=.*; give a Generator"):
        SEEDED[function](rng)


def test_values_that_rounding_makes_equal_are_refused():
    # Standardized, everything but the first three values rounds to the same number.
    x = np.concatenate([[1e30, -1e30, 2e30], np.arange(N - 3.0)])
    with pytest.raises(ValueError, match=r"not finite on 3 slices; check x and y.*ranks"):
        smi(x[:, None] * [1.0, 1.0], Y)
    with pytest.raises(ValueError, match=r"not finite on .* slices; check x and y.*ranks"):
        smi(x[:, None] * [1.0, 1.0], Y, tol=0.01, n_projections=200)
    with pytest.raises(ValueError, match=r"not finite on 4 orders of y; check x and y.*ranks"):
        independence_test(x, Y, n_projections=3, n_permutations=3, rng=0)
    with pytest.raises(ValueError, match=r"samples of x .*distance is 0; take ranks"):
        WKL().mutual_information(x, Y)
    with pytest.raises(ValueError, match=r"samples of x .*distance is 0; take ranks"):
        WKL().entropy(x)


def test_constant_columns_leave_nothing_behind():
    # A mean of equal numbers is not quite their value, and the rest would hide what varies.
    x = np.column_stack([1e-30 * X[:, 0], np.zeros((N, 3))])
    offset = x + np.array([0.0, 1e5 + 0.1, 1 / 3, 1e8])
    assert smi(offset, Y).value == smi(x, Y).value
    compressor = SMICompressor(4, 5, rng=0)
    np.testing.assert_array_equal(compressor(offset), compressor(x))
    np.testing.assert_array_equal(compressor(np.full((N, 4), 0.1)), np.zeros((5, N)))


def test_a_constant_slice_does_not_search_for_its_scale_for_ever():
    for estimator in (WKL(), Gaussian()):
        with pytest.raises(ValueError, match="x or y varies by less .*; leave out columns"):
            estimator.slice_terms(np.ones((1, N)), X[:, :1].T)


def test_gaussian_does_not_measure_labels():
    with pytest.raises(ValueError, match=r"Gaussian.*labels.*WKL"):
        smi_labels(X, LABELS, estimator=Gaussian())


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


@pytest.mark.parametrize("measure", ["slices", "Gaussian slices", "WKL", "Gaussian"])
def test_information_is_infinite_from_a_correlation_within_1e_12_of_one(measure):
    # y = x + s noise leaves a share s^2 of the variance of y unexplained.
    noise = Y[:, :1]
    with pytest.raises(ValueError, match="infinite"):
        MEASURES[measure](X[:, :1], X[:, :1] + 1e-7 * noise)
    MEASURES[measure](X[:, :1], X[:, :1] + 1e-5 * noise)


@pytest.mark.parametrize("estimator", [WKL(), Gaussian()])
def test_a_common_part_is_infinite_information(estimator):
    y = np.column_stack([Y[:, 0], X @ [1.0, -2.0, 0.5] + Y[:, 0]])
    with pytest.raises(ValueError, match=r"x and one of y.*infinite"):
        estimator.mutual_information(X, y)


def test_data_without_density_have_no_entropy():
    flat = np.column_stack([X, X[:, 0] - X[:, 1]])
    constant = np.column_stack([X, np.full(N, 0.1)])
    for estimator in (WKL(), Gaussian()):
        for x in (flat, constant):
            with pytest.raises(ValueError, match="x has 4 columns but varies in 3"):
                estimator.entropy(x)


def test_a_class_that_is_flat_where_x_is_not_is_infinite_information():
    x = X.copy()
    x[LABELS == 1, 2] = 0.1
    with pytest.raises(ValueError, match=r"class 1 varies in 2 of the 3 .*infinite"):
        WKL().mutual_information_labels(x, LABELS)


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
    "too few samples": (X[:5].T, X[:5].T, ValueError, r"x_slices has 5 samples, too few for k=5"),
    "text": (X.T.astype(str), X.T, TypeError, "x_slices has dtype"),
    "missing values": (X.T, WITH_NAN.T, ValueError, "y holds NaN or infinity"),
    "nothing": (np.empty((0, 40)), np.empty((0, 40)), ValueError, "x_slices has shape"),
    "equal": (X.T, 2 * X.T, ValueError, "infinite"),
}


@pytest.mark.parametrize("case", BAD_SLICES)
def test_bad_slices_are_refused_by_name(case):
    x, y, error, message = BAD_SLICES[case]
    with pytest.raises(error, match=message):
        mutual_information_of_slices(x, y)


def test_slices_and_labels_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match="x has 40 samples and y has 39"):
        mutual_information_of_slices(X.T, LABELS[:-1], y_discrete=True)
    with pytest.raises(ValueError, match=r"class 1 .*too few for k=5"):
        mutual_information_of_slices(X.T, few_of_one_class(3), y_discrete=True)


def test_a_compressor_takes_data_of_its_own_dimension_only():
    with pytest.raises(ValueError, match="x has 2 values a sample, .* have 3.*dim=2"):
        SMICompressor(3, 2, rng=0)(Y)


@pytest.mark.parametrize("information", [-0.1, float("nan"), float("inf"), 40.0])
def test_impossible_information_is_refused(information):
    for distribution in (CorrelatedNormal, CorrelatedCubed):
        with pytest.raises(ValueError, match=rf"^mutual_information={information}"):
            distribution(information, 2, 2)
    with pytest.raises(ValueError, match=rf"mutual_information={information}"):
        SyntheticConfig(mutual_informations=(1.0, information), dims=(5, 2))


BAD_CONFIGS = {
    "an unknown distribution": ({"distribution": "cauchy"}, "distribution='cauchy'.*'normal'"),
    "no dimensions": ({"dims": ()}, "dims is empty"),
    "no values": ({"mutual_informations": []}, "mutual_informations is empty"),
    "no weights": ({"weights": ()}, "weights"),
    "unknown weights": ({"weights": ("kth", "first")}, "weights='first'"),
    "a negative seed": ({"seed": -1}, "seed=-1"),
    "too few samples": ({"n_samples": 5}, "n_samples has 5 samples, too few for k=5"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_grids_are_refused_before_they_start(case):
    settings, message = BAD_CONFIGS[case]
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**settings)


def test_the_package_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys, utils; "
        "print([name for name in ('torch', 'matplotlib', 'seaborn') "
        "if name in sys.modules], utils.sliced_mutual_information.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] sliced_mutual_information\n"
