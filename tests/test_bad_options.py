"""What is no option is refused before any work, by a message that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from refused import LABELS, X, Y, smi, smi_labels

from utils import (
    WKL,
    CorrelatedCubed,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    SyntheticConfig,
    berrett_weights,
    mutual_information_of_slices,
    sample_spherical,
    sample_stiefel,
)
from utils.estimators import neighbor_weights

ROOT = Path(__file__).resolve().parents[1]


BAD_COUNTS = {
    "zero": (0, ValueError, "is too small; give at least 1"),
    "negative": (-3, ValueError, "is too small; give at least 1"),
    "a fraction": (2.5, TypeError, "has type float; give a whole number"),
    "a whole float": (3.0, TypeError, "has type float; give a whole number"),
    "a string": ("3", TypeError, "has type str; give a whole number"),
    "a flag": (True, TypeError, "has type bool; give a whole number"),
    "None": (None, TypeError, "has type NoneType; give a whole number"),
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


def test_a_function_may_return_any_kind_of_number(one_core):
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
print(utils.sliced_mutual_information(x, y, estimator=growing, n_projections=4).value)
"""


@pytest.mark.long
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
    "WKL.entropy": lambda rng: WKL(5).entropy(X, rng=rng),
    "WKL.mutual_information": lambda rng: WKL(5).mutual_information(X, Y, rng=rng),
    "WKL, labels": lambda rng: WKL(5).mutual_information_labels(X, LABELS, rng=rng),
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
    "too few samples": ({"n_samples": 5}, "n_samples has 5 samples, too few for WKL"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_grids_are_refused_before_they_start(case):
    settings, message = BAD_CONFIGS[case]
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**settings)
