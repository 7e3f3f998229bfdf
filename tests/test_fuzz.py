"""Whatever is thrown at a function comes back as finite numbers or as a message with a name in it.

The everyday run takes the same few hundred examples every time; `make fuzz` takes thousands of
new ones.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import re
import tempfile
import warnings
from functools import partial
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from conftest import LONG
from drawn import HELD, anything, generators, labels_like, seeds, sizes
from hypothesis import given, settings
from hypothesis import strategies as st

import utils
import utils.parallel
from utils import (
    KSG,
    WKL,
    Copula,
    Gaussian,
    IndependenceTest,
    SlicedEstimate,
    SliceEstimator,
    SMICompressor,
    independence_test,
    load_results,
    max_sliced_mutual_information,
    mutual_information_of_slices,
    save_results,
    sliced_mutual_information,
)
from utils.estimates import MaxSlicedEstimate
from utils.pointwise import PointwiseSMI

SLICES = 4
ESTIMATORS = {
    "WKL": WKL(),
    "two rules": WKL(weights=("kth", "mutinfo")),
    "KSG": KSG(5),
    "Gaussian": Gaussian(),
    "Copula": Copula(),
    "Copula, 1 neighbour": Copula(1),
    "a function": lambda x, y: float(np.tanh(x).mean() * len(y)),
}


def smi(x, y, **options):
    return sliced_mutual_information(x, y, **{"n_projections": SLICES, "rng": 0, **options})


def permuted(x, y, **options):
    options = {"n_projections": SLICES, "n_permutations": 3, "rng": 0, **options}
    return independence_test(x, y, **options)


def max_sliced(x, y, **options):
    options = {"n_projections": SLICES, "n_permutations": 3, "rng": 0, **options}
    return max_sliced_mutual_information(x, y, **options)


def grouped(x, y, *, rng):
    # Not by np.shape, which refuses rows of unlike length itself.
    shape = (len(x),) if isinstance(x, (list, tuple)) else getattr(x, "shape", ())
    n = 200 if shape[:1] == (200,) else 20
    return permuted(x, y, groups=np.arange(n) // 5, nan_policy="omit", rng=rng)


def pointwise(x, labels, *, rng):
    model = PointwiseSMI(n_projections=SLICES, rng=rng).fit(x, labels)
    return model.transform(x)


def watched(inputs, labels, *, rng, **options):
    """What is recorded of a network of any width, unless a note says why it is not."""
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.folded, self.constant = torch.nn.Tanh(), torch.nn.ReLU()

        def forward(self, inputs):
            flat = inputs.reshape(len(inputs), -1)
            flat = flat.imag if flat.is_complex() else flat.double()
            return self.folded(flat) + self.constant(-flat.abs())

    network = Network()
    plane = utils.watch(network, inputs, labels, n_projections=SLICES, rng=rng, **options)
    plane.measure(1)
    noted = {(note["layer"], note["quantity"]) for note in plane.results()["notes"]}
    frame = plane.to_frame()
    is_noted = [pair in noted for pair in zip(frame["layer"], frame["quantity"], strict=True)]
    return frame.loc[~np.array(is_noted, bool), ["value", "std_error"]].to_numpy(float)


def measures_labels(estimator):
    own = getattr(type(estimator), "slice_terms_labels", None)
    return own is not SliceEstimator.slice_terms_labels


LABELLED = {name: one for name, one in ESTIMATORS.items() if measures_labels(one)}
METHODS = {name: one for name, one in ESTIMATORS.items() if not callable(one)}
HAS_TORCH = importlib.util.find_spec("torch") is not None

# Functions of one array, of two, of an array and labels, and of slices.
OF_ONE = {
    "WKL.entropy": WKL().entropy,
    "WKL.entropy, 1 neighbour": WKL(1).entropy,
    "WKL.entropy, Berrett's weights": WKL(25, "berrett").entropy,
    "Gaussian.entropy": Gaussian().entropy,
    "SMICompressor": lambda x, rng: SMICompressor(3, SLICES, rng=rng)(x),
}
OF_TWO = {
    **{f"slices by {name}": partial(smi, estimator=one) for name, one in ESTIMATORS.items()},
    **{
        f"slices of two dimensions by {name}": partial(smi, estimator=one, slice_dims=(2, 2))
        for name, one in ESTIMATORS.items()
    },
    **{f"{name}.mutual_information": one.mutual_information for name, one in METHODS.items()},
    "slices to a tolerance": partial(smi, tol=0.3, n_projections=200),
    "the principal slice": partial(smi, frames="pca"),
    "the canonical slice": partial(smi, frames="cca", slice_dims=2),
    "slices of what is there": partial(smi, nan_policy="omit"),
    "independence_test": partial(permuted, estimator=KSG(1)),
    "independence_test, two rules": partial(permuted, estimator=ESTIMATORS["two rules"]),
    "independence_test, groups": grouped,
    "the largest slice": max_sliced,
    "the largest slice by KSG": partial(max_sliced, estimator=KSG(1)),
    "the largest slice of what is there": partial(max_sliced, nan_policy="omit"),
    "the largest slice of two dimensions": partial(max_sliced, slice_dims=2),
}
WITH_LABELS = {
    **{
        f"slices and labels by {name}": partial(smi, y_discrete=True, estimator=one)
        for name, one in LABELLED.items()
    },
    **{
        f"slices of two dimensions and labels by {name}": partial(
            smi, y_discrete=True, estimator=one, slice_dims=2
        )
        for name, one in LABELLED.items()
    },
    **{
        f"the largest slice and labels by {name}": partial(
            max_sliced, y_discrete=True, estimator=one
        )
        for name, one in LABELLED.items()
        if name != "two rules"
    },
    **{
        f"{type(one).__name__}.mutual_information_labels": one.mutual_information_labels
        for one in (WKL(2), KSG(2), Copula(2), Gaussian())
    },
    "slices and labels that are there": partial(smi, y_discrete=True, nan_policy="omit"),
    "independence_test of labels": partial(permuted, y_discrete=True),
    "PointwiseSMI": pointwise,
}
WATCHED = {
    "watch": watched,
    "watch, between": partial(watched, between=True, noise=0.1),
}
OF_SLICES = {
    f"slices that are there by {name}": partial(mutual_information_of_slices, estimator=one)
    for name, one in ESTIMATORS.items()
}
SLICES_AND_LABELS = {
    f"slices that are there and labels by {name}": partial(
        mutual_information_of_slices, y_discrete=True, estimator=one
    )
    for name, one in LABELLED.items()
}
FUNCTIONS = {**OF_ONE, **OF_TWO, **WITH_LABELS, **OF_SLICES, **SLICES_AND_LABELS}
if HAS_TORCH:
    FUNCTIONS |= WATCHED
NAMES = re.compile(r"\b(x|y|labels|inputs|folded|groups|x_slices|slice_dims|k)\b")


@st.composite
def calls(draw):
    """A function, by name, what to call it with, and what seeds its random numbers."""
    name = draw(st.sampled_from([*FUNCTIONS]))
    return name, draw(arguments_of(name)), draw(generators())


@st.composite
def arguments_of(draw, name):
    n = draw(sizes)
    as_slices = name in OF_SLICES or name in SLICES_AND_LABELS
    x = draw(anything(n, as_slices))
    if name in OF_ONE:
        return (x,)
    other_n = draw(st.sampled_from([n] * 9 + [n + 1]))
    if name in WITH_LABELS or name in SLICES_AND_LABELS or name in WATCHED:
        return (x, draw(st.one_of(labels_like(other_n), anything(other_n))))
    if draw(st.integers(0, 9)) == 0:
        return (x, x)
    return (x, draw(anything(other_n, as_slices, side=1)))


# --------------------------------------------------------------------------------------- the checks


@pytest.fixture(autouse=True)
def no_hang():
    # Compiled code that never ends can be ended from outside alone.
    faulthandler.dump_traceback_later(7200 if LONG else 600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def numbers_in(result):
    if isinstance(result, dict):
        return [number for value in result.values() for number in numbers_in(value)]
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, IndependenceTest):
        return [result.value, result.p_value, result.null_values]
    if isinstance(result, SlicedEstimate):
        # From one slice it cannot be said how far another lies.
        error = result.std_error if result.n_projections > 1 else result.sampling_error
        return [result.value, error, result.per_slice, result.pointwise]
    if isinstance(result, MaxSlicedEstimate):
        frames = [frame for frame in (result.theta, result.phi) if frame is not None]
        return [result.value, result.p_value, result.null_values, result.search_value, *frames]
    return [result.value, result.std_error]


def content(held):
    """What an argument holds, to compare before and after."""
    if isinstance(held, (np.ma.MaskedArray, np.memmap)):
        return np.asarray(held).tobytes(), np.ma.getmaskarray(held).tobytes()
    if isinstance(held, np.ndarray) and held.dtype != object:
        return held.tobytes(), held.shape
    if scipy.sparse.issparse(held):
        return held.toarray().tobytes()
    if isinstance(held, (pd.DataFrame, pd.Series)):
        return repr(held.to_numpy().tolist())
    if hasattr(held, "detach"):
        return repr(held.tolist())
    return repr(held)


@given(calls())
def test_the_answer_is_finite_or_names_the_argument(call):
    name, arguments, rng = call
    function = FUNCTIONS[name]
    before = [content(argument) for argument in arguments]
    # One core: a function that is an estimator is then called in this process.
    with mock.patch.object(utils.parallel, "cpu_count", lambda: 1), warnings.catch_warnings():
        warnings.simplefilter("error")
        for known in (
            ".* repeat others",
            ".* equally spaced",
            ".* gave .*, but",
            ".* were omitted",
            ".* recorded as NaN",
            ".* measured as numbers",
        ):
            warnings.filterwarnings("ignore", known, UserWarning)
        try:
            result = function(*arguments, rng=rng)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert NAMES.search(message), message
            assert re.search(r"; \w", message), f"no remedy: {message}"
        else:
            assert all(np.isfinite(number).all() for number in numbers_in(result)), result
    assert [content(argument) for argument in arguments] == before


NO_COUNTS = [None, 0, -1, 2.5, 3.0, True, "3", b"", [], float("nan"), 1j, np.zeros(2), object]
JUNK = {
    "n_projections": (smi, NO_COUNTS),
    "tol": (smi, ["0.1", 0, -1.0, float("nan"), 1j, [], np.zeros(2), object]),
    "nan_policy": (smi, [None, 0, "drop", b"omit", [], np.zeros(2), object]),
    "estimator": (smi, [None, 0, "WKL", b"", [], float("nan"), np.zeros(2), WKL, ...]),
    "rng": (smi, [-1, 2.5, "0", b"", object, float("nan"), 1j, {}]),
    "n_permutations": (independence_test, NO_COUNTS),
    "k": (lambda x, y, k: WKL(k), NO_COUNTS),
    "weights": (lambda x, y, weights: WKL(5, weights), [None, 0, "k", b"", [], (0,), [[]], object]),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, (_, values) in JUNK.items() for value in values],
    ids=repr,
)
def test_what_is_no_option_is_named(option, value):
    x, y = np.random.default_rng(0).standard_normal((2, 20, 2))
    with pytest.raises((TypeError, ValueError), match=rf"{option}=.*; \w"):
        JUNK[option][0](x, y, **{option: value})


@st.composite
def measurable(draw):
    """Numbers that can be measured, and two ways to hold them."""
    rng = np.random.default_rng(draw(seeds))
    n, dtype = draw(st.integers(20, 60)), draw(st.sampled_from(["f4", "f8", "g", ">f8"]))
    shape = (n, *draw(st.sampled_from([(), (1,), (3,), (2, 2), (50,)])))
    x = rng.standard_normal(shape).astype(dtype)
    x_columns = x.reshape(n, -1)[:, :2]
    y = (x_columns + rng.standard_normal(x_columns.shape)).astype(dtype)
    ways = st.sampled_from(sorted(HELD))
    return x, y, draw(ways), draw(ways)


@settings(max_examples=settings.default.max_examples // 4)
@given(measurable())
def test_how_numbers_are_held_does_not_change_what_is_measured(call):
    x, y, x_way, y_way = call
    n = len(x)
    held_x, held_y = HELD[x_way](x), HELD[y_way](y)
    plain_x, plain_y = x.reshape(n, -1).astype(float), y.astype(float)
    labels = np.arange(n) % 3
    pairs = {
        "slices": smi,
        "WKL": OF_TWO["WKL.mutual_information"],
        "Gaussian": OF_TWO["Gaussian.mutual_information"],
        "labels": lambda x, y: smi(x, labels, y_discrete=True),
    }
    for name, function in pairs.items():
        if name in ("WKL", "Gaussian") and plain_x.shape[1] > 4:
            continue  # more columns than a small sample has directions
        got, expected = function(held_x, held_y), function(plain_x, plain_y)
        # The same numbers in another order in memory are summed in another order. Rounding of
        # 1e-15 in a distance is 1e-15 / distance in its logarithm, and no distance of 60 normal
        # samples comes below 1e-6 in the hundred thousand drawn here.
        assert abs(got.value - expected.value) < 1e-8, name


@st.composite
def nested(draw):
    """Containers of whatever; half of it can be saved."""
    n = draw(st.integers(0, 5))
    leaves = st.one_of(
        anything(n), st.integers(), st.floats(allow_nan=False), st.text(), st.none(), st.binary()
    )
    keys = st.one_of(st.text(max_size=3), st.integers(), st.binary(max_size=1))
    return draw(
        st.dictionaries(
            keys,
            st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=4),
            max_size=4,
        )
    )


@settings(max_examples=settings.default.max_examples // 4)
@given(nested())
def test_what_is_saved_comes_back_or_is_refused_by_its_place(results):
    with tempfile.TemporaryDirectory() as directory:
        try:
            save_results("any", results, settings={}, directory=directory)
        except TypeError as error:
            assert re.search(r"^(a key of )?results.* (is a|has type)", str(error)), error
        else:
            back = load_results("any", directory=directory).results
            assert content_of_all(back) == content_of_all(results)


def content_of_all(value):
    if isinstance(value, dict):
        return [(key, content_of_all(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [content_of_all(item) for item in value]
    if isinstance(value, np.ndarray):
        # Read back, numbers are in the machine's own byte order.
        value = value.astype(value.dtype.newbyteorder("="))
        return value.dtype, content(value)
    return type(value), content(value)
