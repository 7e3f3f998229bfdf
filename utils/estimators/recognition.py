"""Whatever a caller gives becomes an estimator of slices."""

from __future__ import annotations

from typing import Any

from .base import SliceEstimator, check_is_object
from .functions import FunctionEstimator
from .mutinfo import from_mutinfo, is_of_mutinfo

__all__ = ["as_slice_estimator"]

_PROTOCOL = [name for name in vars(SliceEstimator) if not name.startswith("_")]


def as_slice_estimator(estimator: Any, *, y_discrete: bool = False) -> SliceEstimator:
    """Return an estimator of slices: `estimator` itself, or one made of it.

    Parameters
    ----------
    estimator : SliceEstimator, callable, or estimator of the mutinfo library
    y_discrete : bool
        Whether it has to measure labels.

    Raises
    ------
    TypeError
        If it is a class, none of these, a function that does not take two arguments, lacks
        something of the `SliceEstimator` protocol, or does not measure labels.

    Warns
    -----
    UserWarning
        If it is a function that cannot be pickled, and so runs in threads.
    """
    check_is_object(estimator)
    if not hasattr(estimator, "slice_terms"):
        make = from_mutinfo if is_of_mutinfo(estimator) else FunctionEstimator
        estimator = make(estimator)
    missing = [name for name in _PROTOCOL if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"estimator={estimator!r} lacks {', '.join(missing)}; let its class inherit from "
            f"utils.estimators.SliceEstimator, which has a default for all but slice_terms"
        )
    if y_discrete and isinstance(estimator, FunctionEstimator):
        estimator.function_of_labels()
    if y_discrete and type(estimator).slice_terms_labels is SliceEstimator.slice_terms_labels:
        raise TypeError(
            f"estimator={estimator!r} does not measure labels; use Copula(), KSG(), WKL() or "
            f"Gaussian(), or write slice_terms_labels"
        )
    return estimator
