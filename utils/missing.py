"""Rows with missing values, left out where the caller asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .blocks import is_in_blocks
from .validation import (
    UnmeasurableError,
    as_array,
    check_aligned,
    check_paired,
    is_missing,
    warn_caller,
)

__all__ = ["omit_missing"]


def omit_missing(nan_policy: Any, **variables: Any) -> list[Any]:
    """Return variables as given, or with "omit" without the rows where one has a missing value.

    Parameters
    ----------
    nan_policy : {"raise", "omit"}
        As in `scipy.stats`. "raise" leaves missing values to the checks that follow.
    **variables
        By name, paired row by row. None stands for a variable that is not given.

    Raises
    ------
    ValueError, TypeError
        If `nan_policy` is neither; with "omit", if the rows are not paired or none is complete.

    Warns
    -----
    UserWarning
        With how many rows were omitted, if any.
    """
    if not isinstance(nan_policy, str) or nan_policy not in ("raise", "omit"):
        raise ValueError(f"nan_policy={nan_policy!r} is unknown; choose 'raise' or 'omit'")
    given = {name: value for name, value in variables.items() if value is not None}
    if nan_policy == "raise" or not given:
        return list(variables.values())
    for name, value in given.items():
        if is_in_blocks(value):
            raise ValueError(
                f"nan_policy='omit' needs {name} in memory; leave out rows of blocks beforehand"
            )
    arrays = {name: _as_masked(value, name) for name, value in given.items()}
    if any(array.size == 0 or array.ndim == 0 or array.dtype.names for array in arrays.values()):
        # No rows to omit: the checks that follow say what is wrong.
        return list(variables.values())
    first, *others = given
    missing = _missing_rows(arrays[first])
    for name in others:
        check_aligned(given[first], given[name], names=(first, name))
        check_paired(arrays[first], arrays[name], names=(first, name))
        missing |= _missing_rows(arrays[name])
    if not missing.any():
        return list(variables.values())
    if missing.all():
        raise UnmeasurableError(
            f"{' or '.join(given)} has a missing value in each of {len(missing)} rows; leave out "
            f"columns with many missing values"
        )
    warn_caller(f"{missing.sum()} of {len(missing)} samples have missing values and were omitted")
    return [
        # Data frames keep the types of their columns.
        None if value is None else (value if _is_frame(value) else arrays[name])[~missing]
        for name, value in variables.items()
    ]


def _is_frame(value: Any) -> bool:
    # pandas cannot take rows of numbers in the byte order of another machine.
    return hasattr(value, "iloc") and not any(
        isinstance(dtype, np.dtype) and not dtype.isnative for dtype in np.ravel(value.dtypes)
    )


def _as_masked(x: Any, name: str) -> np.ndarray:
    return x if isinstance(x, np.ma.MaskedArray) else as_array(x, name)


def _missing_rows(x: np.ndarray) -> np.ndarray:
    """Which rows have a masked value, NaN, NaT, NA or None."""
    values, missing = np.ma.getdata(x), np.array(np.ma.getmaskarray(x))
    if values.dtype.kind in "fc":
        missing |= np.isnan(values)
    elif values.dtype.kind in "mM":
        missing |= np.isnat(values)
    elif values.dtype.kind == "O":
        missing |= np.frompyfunc(is_missing, 1, 1)(values).astype(bool)
    return np.atleast_1d(missing.reshape(len(missing), -1).any(axis=1))
