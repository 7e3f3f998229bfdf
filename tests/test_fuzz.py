"""Whatever is thrown at a function comes back as finite numbers or as a message with a name in it.

The everyday run takes the same few hundred examples every time; `make fuzz` takes thousands of
new ones.
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
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
    mutual_information_of_slices,
    save_results,
    sliced_mutual_information,
)

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


def of_slices(x, y, **options):
    return mutual_information_of_slices(x, y, rng=0, **options)


def measures_labels(estimator):
    own = getattr(type(estimator), "slice_terms_labels", None)
    return own is not SliceEstimator.slice_terms_labels


# Functions of one array, of two, of an array and labels, and of slices.
OF_ONE = {
    "WKL.entropy": WKL().entropy,
    "WKL.entropy, 1 neighbour": WKL(1).entropy,
    "WKL.entropy, Berrett's weights": WKL(25, "berrett").entropy,
    "Gaussian.entropy": Gaussian().entropy,
    "SMICompressor": lambda x: SMICompressor(3, SLICES, rng=0)(x),
}
OF_TWO = {
    **{f"slices by {name}": partial(smi, estimator=one) for name, one in ESTIMATORS.items()},
    **{
        f"{name}.mutual_information": partial(one.mutual_information, rng=0)
        for name, one in ESTIMATORS.items()
        if not callable(one)
    },
    "slices to a tolerance": partial(smi, tol=0.3, n_projections=200),
    "independence_test": partial(
        independence_test, n_projections=SLICES, n_permutations=3, rng=0, estimator=KSG(1)
    ),
    "slices of what is there": partial(smi, nan_policy="omit"),
    "independence_test, groups": lambda x, y: independence_test(
        x,
        y,
        groups=np.arange(200) // 5 if np.shape(x)[:1] == (200,) else np.arange(20) // 5,
        n_projections=SLICES,
        n_permutations=3,
        nan_policy="omit",
        rng=np.random.RandomState(0),
    ),
    "independence_test, two rules": partial(
        independence_test,
        n_projections=SLICES,
        n_permutations=3,
        rng=0,
        estimator=ESTIMATORS["two rules"],
    ),
}
WITH_LABELS = {
    **{
        f"slices and labels by {name}": partial(smi, y_discrete=True, estimator=one)
        for name, one in ESTIMATORS.items()
        if measures_labels(one)
    },
    "slices and labels that are there": partial(smi, y_discrete=True, nan_policy="omit"),
    **{
        f"{type(one).__name__}.mutual_information_labels": partial(
            one.mutual_information_labels, rng=0
        )
        for one in (WKL(2), KSG(2), Copula(2), Gaussian())
        if hasattr(one, "mutual_information_labels")
    },
}
OF_SLICES = {
    f"slices that are there by {name}": partial(of_slices, estimator=one)
    for name, one in ESTIMATORS.items()
}
SLICES_AND_LABELS = {"slices that are there and labels": partial(of_slices, y_discrete=True)}
if "slice_dims" in inspect.signature(sliced_mutual_information).parameters:
    OF_TWO["slices of two dimensions"] = partial(smi, slice_dims=(2, 2))
    WITH_LABELS["slices of two dimensions, and labels"] = partial(
        smi, slice_dims=(2, 1), y_discrete=True
    )
if hasattr(utils, "max_sliced_mutual_information"):
    OF_TWO["max_sliced_mutual_information"] = partial(utils.max_sliced_mutual_information, rng=0)
FUNCTIONS = {**OF_ONE, **OF_TWO, **WITH_LABELS, **OF_SLICES, **SLICES_AND_LABELS}
NAMES = re.compile(r"\b(x|y|labels|groups|x_slices|k)\b")


# ------------------------------------------------------------------------------------- the examples


def heap(rng, shape):
    return rng.standard_normal(shape) * (rng.random(shape) < 0.1)


def clusters(rng, shape):
    return rng.choice(rng.standard_normal(3), shape) + 1e-9 * rng.standard_normal(shape)


def constant_columns(rng, shape):
    values = rng.standard_normal(shape)
    values[..., ::2] = 0.1
    return values


def unlike_columns(rng, shape):
    """Scales so different that one column is another's rounding error."""
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape[-1:])
    values[..., 1:] += 1e5 + 0.1
    return values


def repeated_rows(rng, shape):
    values = rng.standard_normal(shape)
    return values[rng.integers(0, max(1, len(values) // 3), len(values))]


def with_bad_values(rng, shape):
    values = rng.standard_normal(shape)
    if values.size:
        values.flat[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return values


def grid(rng, shape):
    return rng.permutation(np.arange(np.prod(shape), dtype=float)).reshape(shape)


def half_zeros(rng, shape):
    return np.maximum(rng.standard_normal(shape), 0.0)


def nanoseconds(rng, shape):
    """Whole numbers beyond the digits of float64."""
    return 1_750_000_000_000_000_000 + rng.integers(0, 10**6, shape)


NUMBERS = {
    "a grid": grid,
    "half zeros": half_zeros,
    "nanoseconds": nanoseconds,
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_cauchy(shape),
    "heavier tails": lambda rng, shape: rng.standard_cauchy(shape) ** 9,
    "integers": lambda rng, shape: rng.integers(-3, 4, shape).astype(float),
    "zeros and ones": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "many zeros": heap,
    "clusters": clusters,
    "constant": lambda rng, shape: np.full(shape, rng.choice([0.0, 0.1, -1e8, 1e300])),
    "constant columns": constant_columns,
    "unlike columns": unlike_columns,
    "repeated rows": repeated_rows,
    "a large offset": lambda rng, shape: 1e8 + rng.standard_normal(shape),
    "an offset beyond digits": lambda rng, shape: 1e16 + rng.standard_normal(shape),
    "tiny": lambda rng, shape: 1e-200 * rng.standard_normal(shape),
    "tinier": lambda rng, shape: 1e-295 * rng.standard_normal(shape),
    "denormal": lambda rng, shape: 1e-320 * rng.standard_normal(shape),
    "the least numbers": lambda rng, shape: 5e-324 * rng.integers(-2, 3, shape),
    "huge": lambda rng, shape: 1e200 * rng.standard_normal(shape),
    "huger": lambda rng, shape: 3e299 * rng.uniform(-1, 1, shape),
    "the greatest numbers": lambda rng, shape: 1.7e308 * rng.uniform(-1, 1, shape),
    "NaN or infinity": with_bad_values,
}
DTYPES = ["f2", "f4", "f8", "g", ">f8", ">f4", "i1", "i8", "u1", "u8", "?"]
NOT_REAL = ["c16", "O", "U", "S", "M8[s]", "m8[s]", [("a", "f8")]]


def on_disk(values):
    if values.size == 0:
        return values
    with tempfile.TemporaryFile() as file:
        values.tofile(file)
        file.flush()
        return np.memmap(file, values.dtype, "r", shape=values.shape)


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def strided(values):
    wide = np.zeros((*values.shape, 3), values.dtype)
    wide[..., 1] = values
    return wide[..., 1]


def frame(values):
    return pd.Series(values) if values.ndim == 1 else pd.DataFrame(values.reshape(len(values), -1))


# Ways to hold the same numbers, which must not matter.
HELD = {
    "an array": lambda values: values.copy(),
    "Fortran order": np.asfortranarray,
    "strides": strided,
    "backwards": lambda values: values[::-1].copy()[::-1],
    "read only": read_only,
    "on disk": on_disk,
    "a list": lambda values: values.tolist(),
    "nothing masked": np.ma.masked_array,
    "a frame": frame,
}


def tensor(dtype):
    def hold(values):
        torch = pytest.importorskip("torch")
        return torch.tensor(values.tolist(), dtype=getattr(torch, dtype))

    return hold


def mixed_frame(values):
    held = frame(values.astype(float))
    held["flag"] = np.arange(len(values)) % 2 == 0
    return held


# Other numbers than the given ones, but numbers.
HELD_OTHERWISE = {
    "bfloat16": tensor("bfloat16"),
    "float8": tensor("float8_e4m3fn"),
    "complex conjugates": lambda values: tensor("complex64")(values).conj(),
    "a mixed frame": mixed_frame,
    "a nullable frame": lambda values: frame(values).astype("Float64"),
    "a nullable frame of integers": lambda values: frame(values.round()).astype("Int64"),
    "a shuffled frame": lambda values: frame(values).sample(frac=1, random_state=0),
    "a frame with gaps": lambda values: frame(values).mask(frame(values) > 2),
    "one-hot rows": lambda values: np.eye(3)[np.arange(len(values)) % 3],
    "zeros and ones": lambda values: np.arange(len(values)) % 2.0,
}
HELD_BADLY = {
    "masked": lambda values: np.ma.masked_array(values, values > 0),
    "a sparse matrix": lambda values: scipy.sparse.csr_matrix(values),
    "a sparse array": lambda values: scipy.sparse.coo_array(values),
    "a generator": lambda values: (row for row in values),
    "a frame of missing values": lambda values: pd.DataFrame(values).astype("Float64"),
    "rows of unequal length": lambda values: [row[: i % 2 + 1] for i, row in enumerate(values)],
    "a set": lambda values: set(np.ravel(values).tolist()),
    "a dict": lambda values: dict(enumerate(values)),
    "text": str,
    "None": lambda values: None,
    "a number": lambda values: 3.0,
}
CANNOT = (
    TypeError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    IndexError,
    OSError,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.one_of(st.integers(20, 60), st.integers(0, 20), st.just(200))
tails = st.sampled_from([(), (1,), (2,), *3 * [(3,)], (2, 2), (0,), (50,)])


@st.composite
def anything(draw, n, as_slices=False, side=0):
    """What a caller might take for n samples; mostly numbers, held in some way."""
    shape = (n, *draw(tails))
    if as_slices:
        shape = (*shape[1:], n)
    values = NUMBERS[draw(st.sampled_from(sorted(NUMBERS) + 5 * ["normal"]))](
        np.random.default_rng([side, draw(seeds)]), shape
    )
    dtype = draw(st.sampled_from(12 * ["f8"] + 2 * DTYPES + NOT_REAL))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with contextlib.suppress(CANNOT):
            values = values.astype(dtype)
        ways = 5 * list(HELD.values()) + list(HELD_OTHERWISE.values()) + list(HELD_BADLY.values())
        way = draw(st.sampled_from(ways))
        try:
            return way(values)
        except CANNOT:
            return values


@st.composite
def labels_like(draw, n):
    rng = np.random.default_rng(draw(seeds))
    n_classes = draw(st.sampled_from([1, 2, 2, 3, 7, max(1, n)]))
    codes = rng.integers(0, n_classes, n)
    kinds = {
        "integers": lambda: codes,
        "unsigned": lambda: codes.astype(np.uint8),
        "floats": lambda: codes.astype(float),
        "fractions": lambda: codes + 0.5,
        "complex": lambda: codes * (1 + 1j),
        "flags": lambda: codes == 0,
        "strings": lambda: codes.astype(str),
        "a list of strings": lambda: codes.astype(str).tolist(),
        "objects": lambda: np.array([None, "b", 3.5, (1, 2), "e", b"f", 7], object)[codes % 7],
        "dates": lambda: codes.astype("M8[D]"),
        "date gaps": lambda: np.where(codes == 0, np.datetime64("NaT"), codes.astype("M8[D]")),
        "missing": lambda: np.where(codes == 0, np.nan, codes),
        "missing objects": lambda: np.where(codes == 0, pd.NA, codes),
        "NaN among objects": lambda: np.where(codes == 0, float("nan"), codes.astype(object)),
        "lists": lambda: np.array([[], *([code] for code in codes)], object)[1:],
        "categories": lambda: pd.Series(codes.astype(str), dtype="category"),
        "a column": lambda: codes[:, None],
        "one-hot": lambda: np.eye(7)[codes % 7],
        "a one-hot frame": lambda: pd.get_dummies(codes),
        "None": lambda: np.where(codes == 0, None, codes),
        "None in a list": lambda: [None if code == 0 else "b" for code in codes],
        "nullable integers": lambda: pd.Series(codes, dtype="Int64").mask(codes == 1),
        "nullable flags": lambda: pd.Series(codes == 0, dtype="boolean"),
        "a frame of strings": lambda: pd.DataFrame({"label": codes.astype(str)}),
        "categories, some unused": lambda: pd.Categorical(codes.astype(str), list("0123456789")),
        "a shuffled series": lambda: pd.Series(codes).sample(frac=1, random_state=0),
        "measurements": lambda: rng.standard_normal(n),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


@st.composite
def calls(draw):
    """A function, by name, and what to call it with."""
    name = draw(st.sampled_from([*FUNCTIONS]))
    n = draw(sizes)
    as_slices = name in OF_SLICES or name in SLICES_AND_LABELS
    x = draw(anything(n, as_slices))
    if name in OF_ONE:
        return name, (x,)
    other_n = draw(st.sampled_from([n] * 9 + [n + 1]))
    if name in WITH_LABELS or name in SLICES_AND_LABELS:
        return name, (x, draw(st.one_of(labels_like(other_n), anything(other_n))))
    if draw(st.integers(0, 9)) == 0:
        return name, (x, x)
    return name, (x, draw(anything(other_n, as_slices, side=1)))


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
    name, arguments = call
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
        ):
            warnings.filterwarnings("ignore", known, UserWarning)
        try:
            result = function(*arguments)
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
            assert re.search(r"^(a key of )?results.* is a", str(error)), error
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
