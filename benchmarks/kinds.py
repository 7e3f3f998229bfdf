"""One slice of data that make neighbour searches slow."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np

from utils import WKL
from utils.ties import break_ties_in_slices

from .slices import ours
from .timing import cpu_milliseconds, markdown, three_digits

N_SAMPLES, N_SLICES = 10_000, 10
NEIGHBORS = (1, 5, 25)


def tight_clusters(rng, shape):
    return 10.0 * rng.integers(0, 10, shape) + 1e-4 * rng.standard_normal(shape)


def rectified(rng, shape):
    return np.maximum(rng.standard_normal(shape), 0.0)


def integers(rng, shape):
    return rng.integers(0, 20, shape).astype(float)


KINDS = {
    "normal": np.random.Generator.standard_normal,
    "Cauchy": np.random.Generator.standard_cauchy,
    "ten clusters, 1e-5 of their distance wide": tight_clusters,
    "rectified: half of the values are 0": rectified,
    "whole numbers from 0 to 19": integers,
}


def samples(draw):
    """Independent x and y, their ties broken as `sliced_mutual_information` does."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there are ties
        return [
            break_ties_in_slices(draw(rng, (N_SLICES, N_SAMPLES)), name, rng, warns=False)
            for name in "xy"
        ]


def table():
    """A row for each kind of data; in brackets, how many times longer than normal data it takes."""
    rows, normal = [], {}
    for kind, draw in KINDS.items():
        x, y = samples(draw)
        row = [kind]
        for k in NEIGHBORS:
            measure = ours(WKL(k))
            measure(x[:1], y[:1])
            milliseconds = cpu_milliseconds(partial(measure, x, y))[0] / N_SLICES
            normal.setdefault(k, milliseconds)
            row.append(f"{three_digits(milliseconds)} ({milliseconds / normal[k]:.1f}x)")
        rows.append(row)
    return markdown(["data", *(f"k = {k}" for k in NEIGHBORS)], rows)
