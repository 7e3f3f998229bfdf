"""An estimator of slices made of a plain function of one slice."""

from __future__ import annotations

import hashlib
import inspect
import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from joblib import wrap_non_picklable_objects

from ..validation import Labels, UnmeasurableError, warn_caller
from .base import Estimate, SliceError, SliceEstimator
from .preparation import standardize

__all__ = ["FunctionEstimator"]

_WANTED = "give a function f(x, y) -> value in nats, or (value, error), of one slice"


class FunctionEstimator(SliceEstimator):
    """A function of one slice as an estimator of slices.

    Every slice has mean 0 and variance 1 when the function gets it. The function runs in parallel
    processes; one that cannot be pickled runs in threads, with a warning.

    Parameters
    ----------
    function : callable
        `function(x, y)` -> value, or (value, standard error over the choice of samples), in nats.
        x and y have shape (n, 1); labels come as codes from 0, int64 of shape (n,). If it has a
        parameter `rng`, it gets a numpy Generator of its own for every slice, seeded by the numbers
        in that slice: the same slices give the same values, in any order and on any number of
        cores.

    Raises
    ------
    TypeError
        If it cannot be called, or not with two arguments.
    """

    ties = "keep"
    has_terms = False

    def __init__(self, function: Callable[..., Any]):
        _check_signature(function)
        self.function = function
        self.in_processes = self._can_be_pickled()

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The value and the error of each slice, shape (2, n_slices, 1)."""
        rows = zip(standardize(x), standardize(y), strict=True)
        return self._values(self.function, ((row[:, None], other[:, None]) for row, other in rows))

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The value and the error of each slice, shape (2, n_slices, 1)."""
        pairs = ((row[:, None], labels.codes) for row in standardize(x))
        return self._values(self.function_of_labels(), pairs)

    def mutual_information(self, x: np.ndarray, y: np.ndarray) -> dict[str, Estimate]:
        """The value and the error of one slice of more dimensions, (n, k_x) and (n, k_y)."""
        return self._estimates(self.function, standardize(x.T).T, standardize(y.T).T)

    def mutual_information_labels(self, x: np.ndarray, labels: np.ndarray) -> dict[str, Estimate]:
        """The same of a slice, (n, k_x), and codes of labels."""
        return self._estimates(self.function_of_labels(), standardize(x.T).T, labels)

    def _estimates(self, function, x, y):
        values = self._values(function, [(x, y)])[:, 0, 0]
        return {
            name: Estimate(float(value), math.nan)
            for name, value in zip(("value", "error"), values, strict=True)
        }

    def function_of_labels(self) -> Callable[..., Any]:
        """The function that measures labels; raises TypeError if there is none."""
        return self.function

    def by_rule(self, results: Sequence[Any]) -> Any:
        """The values; their sampling error is the mean of the errors that the function gave.

        Slices share their samples, so their errors do not average out: the error of the mean is at
        most the mean of the errors.
        """
        values, errors = results
        if not hasattr(values, "sampling_error"):
            return values
        sampling_error = float(errors.per_slice.mean())
        std_error = float(np.hypot(values.slicing_error, sampling_error))
        return replace(values, sampling_error=sampling_error, std_error=std_error)

    def _values(self, function, pairs: Iterable[tuple[np.ndarray, np.ndarray]]):
        takes_rng = _takes_rng(function)
        results = []
        for number, (x, y) in enumerate(pairs):
            options = {"rng": _generator_of(x, y)} if takes_rng else {}
            try:
                result = function(x, y, **options)
            except UnmeasurableError:
                raise
            except Exception as error:  # anything: the function is not ours
                reason = f"estimator={self!r} raised {type(error).__name__}: {error}"
                raise SliceError(number, reason) from error
            results.append(self._value_and_error(result))
        return np.transpose(results)[:, :, None]

    def _value_and_error(self, result):
        pair = result if isinstance(result, tuple) else (result, 0.0)
        if len(pair) == 2 and all(map(_is_number, pair)):
            return [float(number) for number in pair]
        raise TypeError(
            f"estimator={self!r} returned a {type(result).__name__} of shape "
            f"{_shape(result)}; let it return one number per slice, or (value, error)"
        )

    def _can_be_pickled(self):
        try:
            # As joblib does it, which manages lambdas and functions of a notebook too.
            pickle.dumps(wrap_non_picklable_objects(self.function))
        except Exception as error:  # anything: what it holds says itself how it is pickled
            warn_caller(
                f"estimator={self!r} cannot be sent to other processes ({error}), so its slices "
                f"are measured in threads, which wait for each other while Python runs"
            )
            return False
        return True

    def __repr__(self) -> str:
        return repr(self.function)


def _is_number(value):
    if np.ndim(value) != 0 or isinstance(value, (str, bytes)):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _shape(result):
    try:
        return np.shape(result)
    except ValueError:
        return "that varies"


def _parameters(function):
    """The parameters of a function, or None if Python does not know them."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _check_signature(function):
    if not callable(function):
        raise TypeError(
            f"estimator={function!r} cannot measure a slice; give Copula(), KSG(), an estimator of "
            f"the mutinfo library, a function f(x, y) -> value in nats, or an object with the "
            f"methods of utils.estimators.SliceEstimator"
        )
    signature = _parameters(function)
    if signature is None:
        return
    options = {"rng": None} if _takes_rng(function) else {}
    try:
        signature.bind(None, None, **options)
    except TypeError as error:
        raise TypeError(
            f"estimator={function!r} has the parameters {signature} ({error}); {_WANTED}"
        ) from error


def _takes_rng(function):
    if isinstance(function, partial) and "rng" in function.keywords:
        return False
    signature = _parameters(function)
    return signature is not None and "rng" in signature.parameters


def _generator_of(x, y):
    digest = hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
