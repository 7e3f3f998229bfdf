"""The parameters of the notebooks: which values they may have, and the sentence for all others."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection
from typing import Any

from .estimators import as_slice_estimator
from .estimators.base import check_sizes
from .experiments import DISTRIBUTIONS
from .interruption import ParameterError
from .profiles import PROFILES, settings_of

__all__ = ["check"]

# A class of the quick profile's test images has 100 samples: more than twice the largest k, and
# enough to span the space of the largest code.
_MAX_K, _MAX_DIMENSIONS = 50, 20


def check(**parameters: Any) -> None:
    """Raise an error that shows as one sentence, unless every parameter has a value that works.

    Parameters
    ----------
    **parameters
        By their names in the notebooks, with PROFILE among them.

    Raises
    ------
    ValueError
        If one has another value; the message names it, the value, and those that it may have.
    """
    profile = parameters["PROFILE"]
    _check("PROFILE", profile, _one_of(*PROFILES), '"quick" or "paper"')
    rules = _rules(profile)
    for name, value in parameters.items():
        if name != "PROFILE":
            _check(name, value, *rules[name])


def _check(name, value, is_valid, remedy):
    try:
        if is_valid(value):
            return
    except (TypeError, ValueError) as error:
        remedy = f"{remedy} ({error})"
    raise ParameterError(f"{name} = {value!r} does not work; give {remedy}")


def _rules(profile: str) -> dict[str, tuple[Callable[[Any], bool], str]]:
    """What the value of each parameter must satisfy, and the same in words."""
    dims, names = settings_of(profile, "synthetic")["dims"], tuple(DISTRIBUTIONS)
    n_samples = settings_of(profile, "estimators")["n_samples"]
    return {
        "DISTRIBUTIONS": (_some_of(names), f"a tuple with one or more of {names}"),
        "ESTIMATORS": (
            lambda value: _are_estimators(value, n_samples),
            "a tuple of estimators, such as (KSG(5), Copula())",
        ),
        "FIGURE_1_DIMS": (_some_of(dims), f"a tuple with one or more of {dims}"),
        "K": (_count(1, _MAX_K), f"a whole number from 1 to {_MAX_K}"),
        "SEED": (_count(0, math.inf), "a whole number, at least 0"),
        "NOISE": (_is_size, "a number, at least 0"),
        "DEVICE": (_is_device, '"cpu", or "cuda" where PyTorch finds such a card'),
        "COMPRESSION": (_one_of("pca", "first"), '"pca" or "first"'),
        "DIMENSIONS": (_count(1, _MAX_DIMENSIONS), f"a whole number from 1 to {_MAX_DIMENSIONS}"),
        "RULE": (_one_of("mutinfo", "kth"), '"mutinfo" or "kth"'),
        "SMOOTHING": (_is_size, "a number of epochs, 0 for none"),
    }


def _one_of(*choices):
    return lambda value: isinstance(value, str) and value in choices


def _some_of(choices: Collection[Any]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and all(isinstance(each, (str, numbers.Integral)) and each in choices for each in value)
    )


def _count(least, most):
    return lambda value: (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and least <= value <= most
    )


def _is_size(value):
    return isinstance(value, numbers.Real) and 0 <= value < math.inf


def _are_estimators(value, n_samples):
    if not isinstance(value, (tuple, list)):
        return False
    for estimator in value:
        check_sizes(as_slice_estimator(estimator), n_samples, "a sample")
    return len(value) > 0


def _is_device(value):
    # Only the notebooks that train have a device; the others do without PyTorch.
    import torch

    try:
        kind = torch.device(value).type if isinstance(value, (str, torch.device)) else None
    except RuntimeError:
        return False
    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())
