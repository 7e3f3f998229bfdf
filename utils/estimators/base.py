"""What an estimator of slices is, and how a plain function becomes one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..ties import break_ties
from ..validation import (
    Labels,
    Samples,
    UnmeasurableError,
    as_continuous,
    as_labels,
    as_samples,
    check_aligned,
    check_paired,
    check_spread,
)

__all__ = [
    "Estimate",
    "FunctionEstimator",
    "SliceEstimator",
    "as_slice_estimator",
    "check_class_sizes",
    "check_sizes",
    "labelled_samples",
    "paired_samples",
    "samples_for",
]

_PROTOCOL = (
    "slice_terms",
    "slice_terms_labels",
    "by_rule",
    "min_samples",
    "slice_statistics",
    "slice_statistics_labels",
    "ties",
    "has_terms",
    "in_processes",
)


@dataclass(frozen=True)
class Estimate:
    """An estimate in nats, and its standard error over the choice of samples.

    Parameters
    ----------
    value : float
    std_error : float
        The spread of the pointwise terms over the root of their number. Bias is not in it. Nor is
        the correlation of terms whose samples are each other's neighbours: on independent normal
        data the true spread is 1.07 times this for k = 1 and 1.4 times for k = 5 or more.
    pointwise : array, shape (n,)
        What each sample contributes: `value` is their mean. Empty if the estimator gives no terms.
    """

    value: float
    std_error: float
    pointwise: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def __float__(self) -> float:
        return self.value

    @classmethod
    def of_terms(cls, terms: np.ndarray) -> Estimate:
        """Mean and standard error of independent pointwise terms."""
        return cls(float(terms.mean()), float(terms.std(ddof=1) / math.sqrt(len(terms))), terms)


class SliceEstimator(Protocol):
    """Measures the mutual information of many one-dimensional pairs at once.

    Subclass it and write `slice_terms`; `CONTRIBUTING.md` has an example of 30 lines. Everything
    else has a default.
    """

    ties: str = "warn"
    """What to do about equal rows: "keep" them, "break" them at random, or also "warn" of more than
    1 % of them and of equally spaced values, and refuse more than a third."""

    has_terms: bool = True
    """Whether `slice_terms` gives one term per sample, and not only one number per slice."""

    in_processes: bool = False
    """Whether slices are measured in processes, since the interpreter's lock is held."""

    @property
    def min_samples(self) -> int:
        """The fewest samples (with labels: in every class) that can be measured."""
        return 2

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pointwise terms of the mutual information of pairs of one-dimensional variables.

        Parameters
        ----------
        x, y : arrays, shape (n_slices, n), float64
            One slice per row, centred; finite, and without equal rows unless `ties` is "keep".

        Returns
        -------
        array, shape (n_results, n_slices, n)
            The mean over the last axis is the estimate of each slice, in nats. Most estimators have
            one result.
        """
        ...

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """Pointwise terms of the mutual information of one-dimensional variables and labels.

        Parameters
        ----------
        x : array, shape (n_slices, n), float64
        labels : Labels
            The class of each sample.

        Returns
        -------
        array, shape (n_results, n_slices, n)
        """
        raise NotImplementedError

    def slice_statistics(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What a test of independence compares, shape (n_results, n_statistics, n_slices).

        The first is the estimate. If there are more, these are compared in its place, each in units
        of its spread over permutations, and the largest counts.
        """
        return self.slice_terms(x, y).mean(axis=-1)[:, None]

    def slice_statistics_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The same with labels."""
        return self.slice_terms_labels(x, labels).mean(axis=-1)[:, None]

    def by_rule(self, results: Sequence[Any]) -> Any:
        """What a caller gets: the one result there is, or a dict of several by name."""
        return results[0]


@dataclass(frozen=True, eq=False)
class FunctionEstimator(SliceEstimator):
    """A function of one slice as an estimator of slices.

    Parameters
    ----------
    function : callable
        `function(x, y) -> float`, in nats. x and y have shape (n, 1); labels come as codes from 0,
        shape (n,).
    """

    function: Callable[[np.ndarray, np.ndarray], float]

    ties = "keep"
    has_terms = False
    in_processes = True

    def slice_terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """One number per slice, shape (1, n_slices, 1)."""
        return self._values((row[:, None], other[:, None]) for row, other in zip(x, y, strict=True))

    def slice_terms_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """One number per slice, shape (1, n_slices, 1)."""
        return self._values((row[:, None], labels.codes) for row in x)

    def mutual_information(self, x: np.ndarray, y: np.ndarray) -> Estimate:
        """What the function makes of blocks of columns, (n, k_x) and (n, k_y)."""
        return Estimate(self._as_number(self.function(x, y)), math.nan)

    def mutual_information_labels(self, x: np.ndarray, labels: np.ndarray) -> Estimate:
        """What the function makes of a block of columns, (n, k_x), and codes of labels."""
        return Estimate(self._as_number(self.function(x, labels)), math.nan)

    def _values(self, pairs):
        values = [self._as_number(self.function(x, y)) for x, y in pairs]
        return np.array(values)[None, :, None]

    def _as_number(self, value):
        if np.ndim(value) == 0 and not isinstance(value, (str, bytes)):
            try:
                return float(value)
            except (TypeError, ValueError):
                pass
        raise TypeError(
            f"estimator={self.function!r} returned a {type(value).__name__} of shape "
            f"{np.shape(value)}; let it return one number per slice"
        )

    def __repr__(self) -> str:
        return repr(self.function)


def as_slice_estimator(estimator: Any, *, y_discrete: bool = False) -> SliceEstimator:
    """Return an estimator of slices: `estimator` itself, or a function turned into one.

    Parameters
    ----------
    estimator : SliceEstimator or callable
    y_discrete : bool
        Whether it has to measure labels.

    Raises
    ------
    TypeError
        If it is a class, neither of the two, lacks something of the `SliceEstimator` protocol, or
        does not measure labels.
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; give an object of it, as "
            f"{estimator.__name__}()"
        )
    if not hasattr(estimator, "slice_terms"):
        if callable(estimator):
            return FunctionEstimator(estimator)
        raise TypeError(
            f"estimator={estimator!r} cannot measure a slice; give WKL(), Copula(), a function "
            f"f(x, y) -> float, or an object with the methods of utils.estimators.SliceEstimator"
        )
    missing = [name for name in _PROTOCOL if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"estimator={estimator!r} lacks {', '.join(missing)}; let its class inherit from "
            f"utils.estimators.SliceEstimator, which has a default for all but slice_terms"
        )
    if y_discrete and type(estimator).slice_terms_labels is SliceEstimator.slice_terms_labels:
        raise TypeError(
            f"estimator={estimator!r} does not measure labels; use Copula(), KSG() or WKL(), or "
            f"write slice_terms_labels"
        )
    return estimator


def samples_for(estimator: SliceEstimator, x: Any, name: str, rng: np.random.Generator) -> Samples:
    """Samples that the estimator can measure: enough of them, with spread, and without ties.

    Parameters
    ----------
    estimator : SliceEstimator
    x : array-like, shape (n, ...)
    name : str
        For the errors.
    rng : Generator
        Tells equal rows apart, unless the estimator keeps them.

    Raises
    ------
    ValueError, TypeError
        See `utils.validation`.
    """
    values = as_samples(x, name)
    check_sizes(estimator, len(values), name)
    check_spread(values, name)
    samples = Samples.of(values)
    if estimator.ties == "keep":
        return samples
    return break_ties(samples, name, rng, warns=estimator.ties == "warn")


def paired_samples(
    estimator: SliceEstimator,
    x: Any,
    y: Any,
    rngs: Sequence[np.random.Generator],
) -> tuple[Samples, Samples]:
    """`samples_for` of x and of y, whose rows belong together; `rngs` are one for each."""
    check_aligned(x, y)
    x, y = as_samples(x, "x"), as_continuous(y, "y")
    check_paired(x, y)
    return samples_for(estimator, x, "x", rngs[0]), samples_for(estimator, y, "y", rngs[1])


def labelled_samples(
    estimator: SliceEstimator,
    x: Any,
    labels: Any,
    rng: np.random.Generator,
    *,
    name: str = "labels",
) -> tuple[Samples, Labels]:
    """`samples_for` of x, and the labels of its rows."""
    check_aligned(x, labels, names=("x", name))
    x, labels = as_samples(x, "x"), as_labels(labels, name)
    check_paired(x, labels)
    check_class_sizes(estimator, labels, name)
    return samples_for(estimator, x, "x", rng), labels


def check_sizes(estimator: SliceEstimator, n: int, name: str) -> None:
    """Raise UnmeasurableError if `n` samples are too few for the estimator."""
    if n < estimator.min_samples:
        raise UnmeasurableError(
            f"{name} has {n} samples, too few for {estimator!r}; give at least "
            f"{estimator.min_samples}, or lower its k"
        )


def check_class_sizes(estimator: SliceEstimator, labels: Labels, name: str) -> None:
    """Raise UnmeasurableError if some class has too few samples for the estimator."""
    for size, label in zip(labels.sizes, labels.names, strict=True):
        check_sizes(estimator, int(size), f"class {label!r} of {name}")
