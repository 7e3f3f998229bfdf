"""Results as one tidy table: one row per number, with its place on every axis as columns.

pandas, R or a spreadsheet can then read what a result file holds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["as_csv", "tidy_columns"]

# The axes of the results, which are recognised by the keys here; the axes of an array come in this
# order. An axis without a key is counted from the number given.
_AXES: tuple[dict[str, str | int], ...] = (
    {
        "weights": "weights",
        "seed": 0,
        "dim": "dims",
        "mutual_information": "mutual_informations",
    },
    {
        "method": "methods",
        "distribution": "distributions",
        "seed": 0,
        "dim": "dims",
        "mutual_information": "mutual_informations",
    },
    {"rule": "rules", "layer": "layers", "epoch": "epochs"},
)
_HISTORY: dict[str, str | int] = {"epoch": 1}
_ERRORS = ("_std_error", "_error")


def tidy_columns(results: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Take results apart into rows.

    Parameters
    ----------
    results : mapping
        What `save_results` takes: arrays, numbers, strings, and containers of them.

    Returns
    -------
    dict of str to list
        Columns of one length: `part`, where nested containers hold the number, names joined by
        dots; `quantity`; the axes, which are None where a quantity does not have them; `value`;
        and `std_error`, None where there is none. Grids have the axes `weights` or `method` and
        `distribution`, `seed`, `dim` and `mutual_information`; information planes `rule`, `layer`
        and `epoch`; histories of trainings `epoch`. Axes of any other array are `axis_1`, ...,
        counted from 0. Results that are "rows", one dict per row, are such columns already. What
        is NaN throughout, on axes that have names, is left out.
    """
    if set(results) == {"rows"}:
        names = {name: None for row in results["rows"] for name in row}
        return {name: [row.get(name) for row in results["rows"]] for name in names}
    rows = list(_rows(results, ()))
    names = {name: None for axes, *_ in rows for name in axes}
    columns: dict[str, list[Any]] = {"part": [], "quantity": []}
    columns |= {name: [] for name in names}
    columns |= {"value": [], "std_error": []}
    for axes, part, quantity, value, error in rows:
        row = {**axes, "part": part, "quantity": quantity, "value": value, "std_error": error}
        for name, column in columns.items():
            column.append(row.get(name))
    return columns


def as_csv(results: Mapping[str, Any]) -> str:
    """The table of `tidy_columns` as comma-separated values; numbers with all their digits."""
    columns = tidy_columns(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _rows(block: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple]:
    """Axes, part, quantity, value and standard error of each number."""
    known = _known_axes(block)
    for key, value in block.items():
        name = str(key)
        if known and (name in known.values() or name == "done" or _is_error_of(name, block)):
            continue
        if isinstance(value, (list, tuple)):
            value = _as_array_or_dict(value)
        if isinstance(value, dict):
            yield from _rows(value, (*path, name))
            continue
        values = np.asarray(value)
        if known and values.dtype.kind == "f" and np.isnan(values).all():
            continue  # a quantity of information planes that was not measured
        errors = np.full(values.shape, None)
        for end in _ERRORS:
            if known and name + end in block:
                errors = np.asarray(block[name + end])
        axes = _axes_of(values.shape, block, known)
        for index in np.ndindex(values.shape):
            place = {axis: ticks[i] for (axis, ticks), i in zip(axes.items(), index, strict=True)}
            yield place, ".".join(path), name, _plain(values[index]), _plain(errors[index])


def _known_axes(block):
    for axes in _AXES:
        if {key for key in axes.values() if isinstance(key, str)} <= block.keys():
            return axes
    shapes = [value.shape if isinstance(value, np.ndarray) else None for value in block.values()]
    is_history = "train_loss" in block and shapes == [(len(block["train_loss"]),)] * len(shapes)
    return _HISTORY if is_history else {}


def _axes_of(shape, block, known):
    """As many of the last known axes as an array has; counted axes if they do not fit."""
    axes = {}
    for (name, key), length in zip(list(known.items())[-len(shape) :], shape, strict=False):
        ticks = block[key] if isinstance(key, str) else range(key, key + length)
        axes[name] = [_plain(tick) for tick in ticks]
    fits = [len(ticks) for ticks in axes.values()] == list(shape)
    if shape and not fits:
        return {f"axis_{i}": range(length) for i, length in enumerate(shape, start=1)}
    return axes if shape else {}


def _is_error_of(name, block):
    return any(name.endswith(end) and name.removesuffix(end) in block for end in _ERRORS)


def _as_array_or_dict(values):
    if all(isinstance(value, (bool, int, float, str, np.generic)) for value in values):
        return np.array(values, dtype=object)
    return dict(enumerate(values))


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value
