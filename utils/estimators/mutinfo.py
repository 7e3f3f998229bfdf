"""The mutinfo library both ways: its estimators on slices, and ours where it expects its own.

Two libraries have this name. The newer one (github.com/VanessB/mutinfo) has estimators that are
called, `estimator(x, y)`; the older one (github.com/VanessB/Information-v3) has objects with `fit`
and `estimate`. They are recognised by what they have, so neither is imported here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .base import SliceEstimator, check_is_object
from .functions import FunctionEstimator

__all__ = ["from_mutinfo", "is_of_mutinfo", "to_mutinfo"]

_INSTALL = "install it by `pip install -r requirements-mutinfo.txt`"
# What the older library calls the kinds of its variables.
_KINDS = ("_X_is_discrete", "_Y_is_discrete")


def is_of_mutinfo(estimator: Any) -> bool:
    """Whether its class, or a base of it, comes from one of the libraries named mutinfo."""
    classes = type(estimator).__mro__
    return any(base.__module__.partition(".")[0] == "mutinfo" for base in classes)


def from_mutinfo(estimator: Any) -> SliceEstimator:
    """Turn an estimator of the mutinfo library into an estimator of slices.

    It gets slices of mean 0 and variance 1. The mean over the slices of the errors that the library
    gives becomes the sampling error; `Estimate.std_error` of the older library adds the errors of
    three entropies, and so is much too large.

    With labels, the older library measures its discrete form. The newer one has none: where it
    estimates entropies, I(x; labels) = H(x) - sum over classes p H(x | class).

    Parameters
    ----------
    estimator : object
        Of the newer library, such as `mutinfo.estimators.knn.KSG(k_neighbors=5)`, or of the older
        one, such as `mutinfo.estimators.mutual_information.MutualInfoEstimator()`, whose own
        settings of what is discrete do not matter.

    Returns
    -------
    SliceEstimator
        Its `slice_terms_labels` raises TypeError where the library does not measure labels.

    Raises
    ------
    TypeError
        If it is a class, cannot be called with (x, y), or has `fit` and `estimate` and is not of
        the older library.

    Examples
    --------
    >>> from mutinfo.estimators.knn import KSG
    >>> sliced_mutual_information(x, y, estimator=KSG(k_neighbors=5), rng=0)
    """
    check_is_object(estimator)
    if hasattr(estimator, "fit") and hasattr(estimator, "estimate"):
        if not all(hasattr(estimator, name) for name in _KINDS):
            raise TypeError(
                f"estimator={estimator!r} has fit and estimate, but does not say what is discrete, "
                f"as MutualInfoEstimator of mutinfo 0.0.1 and 0.0.2 does; give an object of that"
            )
        return _OlderEstimator(partial(_fit_and_estimate, estimator, False), estimator)
    return _NewerEstimator(_with_error(estimator), estimator)


class _MutinfoEstimator(FunctionEstimator):
    """A function of a pair, made of an estimator of the library."""

    def __init__(self, function, estimator):
        self.estimator = estimator
        super().__init__(function)

    def __repr__(self) -> str:
        return f"from_mutinfo({self.estimator!r})"


class _NewerEstimator(_MutinfoEstimator):
    @property
    def ties(self):
        """Entropies "warn" of ties: logarithms of distances mean little where values repeat."""
        return "warn" if hasattr(self.estimator, "entropy") else "break"

    @property
    def min_samples(self) -> int:
        """One more than neighbours."""
        return getattr(self.estimator, "k_neighbors", 1) + 1

    def function_of_labels(self) -> Callable[..., Any]:
        """H(x) - sum over classes p H(x | class)."""
        entropy = getattr(self.estimator, "entropy", None)
        if entropy is None:
            raise TypeError(
                f"estimator={self.estimator!r} does not measure labels: its library takes their "
                f"codes for numbers, and it has no `entropy`; use mutinfo's WKL, or Copula(), "
                f"KSG() or WKL() of this package"
            )
        return partial(_less_entropies_of_classes, _with_error(entropy))


class _OlderEstimator(_MutinfoEstimator):
    ties = "warn"

    def function_of_labels(self) -> Callable[..., Any]:
        """The library's own discrete form."""
        return partial(_fit_and_estimate, self.estimator, True)


def _with_error(function):
    """The function, which also returns its error if it has one."""
    try:
        has_error = "std" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        has_error = False
    return partial(function, std=True) if has_error else function


def _less_entropies_of_classes(entropy, x, codes):
    parts = [(x, 1.0)]
    parts += [(x[codes == code], -np.mean(codes == code)) for code in np.unique(codes)]
    value = error = 0.0
    for samples, weight in parts:
        result = entropy(samples)
        part, its_error = result if isinstance(result, tuple) else (result, 0.0)
        value += weight * part
        error += abs(weight) * its_error
    return value, error


def _fit_and_estimate(estimator, y_is_discrete, x, y):
    # Fitting changes it, and another thread may be using it.
    own = copy.copy(estimator)
    for name, is_discrete in zip(_KINDS, (False, y_is_discrete), strict=True):
        setattr(own, name, is_discrete)
    own.fit(x, y)
    return own.estimate(x, y)


def to_mutinfo(estimator: Any) -> Any:
    """Turn an estimator of this package into one of the newer mutinfo library.

    The library's `SMI`, `PCMI` and tests then accept it. Samples of both variables come as arrays
    of shapes (n, d); one column of integers, booleans or strings as `y` counts as labels.

    Parameters
    ----------
    estimator : object
        Has `mutual_information`: `Copula`, `KSG`, `WKL` with one weight rule, or `Gaussian`.

    Returns
    -------
    mutinfo.estimators.base.InformationEstimator
        Called as `(x, y, std=False)`, it gives the value in nats, not clipped at zero; with `std`
        (value, standard error).

    Raises
    ------
    ImportError
        If the newer mutinfo library is not installed.
    TypeError
        If the estimator is a class, has no `mutual_information` or gives several results.

    Examples
    --------
    >>> from mutinfo.estimators.smi import SMI
    >>> SMI(to_mutinfo(KSG(k=5)))(x, y)
    """
    if isinstance(estimator, type) or not hasattr(estimator, "mutual_information"):
        raise TypeError(
            f"estimator={estimator!r} has no samples to measure by mutual_information; give an "
            f"object such as Copula(), KSG(), WKL() or Gaussian()"
        )
    if isinstance(getattr(estimator, "weights", None), tuple):
        raise TypeError(f"estimator={estimator!r} gives several results; name one weight rule")
    try:
        from .inside_mutinfo import InsideMutinfo
    except ModuleNotFoundError as error:
        found = "an older one is, which cannot be installed beside it"
        missing = "is not installed" if error.name == "mutinfo" else f"is not installed ({found})"
        raise ImportError(
            f"the newer mutinfo library, github.com/VanessB/mutinfo, {missing}; {_INSTALL}"
        ) from error
    return InsideMutinfo(estimator)
