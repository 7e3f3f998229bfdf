"""What callers take for samples and for labels, drawn by Hypothesis."""

from __future__ import annotations

import contextlib
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import strategies as st


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


def hashes(rng, shape):
    """Whole numbers up to the greatest of 64 bits."""
    return rng.integers(0, 2**64, shape, np.uint64, endpoint=False)


def some_missing(rng, shape):
    return np.where(rng.random(shape) < 0.05, np.nan, rng.standard_normal(shape))


NUMBERS = {
    "a grid": grid,
    "half zeros": half_zeros,
    "nanoseconds": nanoseconds,
    "hashes": hashes,
    "some missing": some_missing,
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
    "a frame of categories": lambda values: frame(values.round()).astype("category"),
    "a frame of dates": lambda values: frame(values.round().astype("M8[s]")),
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
    # Mostly as they are.
    dtype = draw(st.sampled_from(12 * [values.dtype] + 2 * DTYPES + NOT_REAL))
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
        "categories, some unused": lambda: pd.Categorical.from_codes(codes, range(n + 9)),
        "a shuffled series": lambda: pd.Series(codes).sample(frac=1, random_state=0),
        "measurements": lambda: rng.standard_normal(n),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


# Whatever seeds random numbers, made anew for each call.
SEEDED = {
    "a number": lambda seed: seed,
    "a number of numpy": np.uint32,
    "numbers": lambda seed: [seed, 1],
    "a sequence": np.random.SeedSequence,
    "a generator": np.random.default_rng,
    "another generator": lambda seed: np.random.Generator(np.random.MT19937(seed)),
    "its bits": np.random.PCG64,
    "an old state": np.random.RandomState,
    "a generator of an old state": lambda seed: np.random.Generator(
        np.random.RandomState(seed)._bit_generator
    ),
}


@st.composite
def generators(draw):
    """What may be given as rng."""
    return SEEDED[draw(st.sampled_from(["a number", *SEEDED]))](draw(seeds))
