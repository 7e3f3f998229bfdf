"""What an estimator of slices is, and the samples that it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    "SliceError",
    "SliceEstimator",
    "check_class_sizes",
    "check_is_object",
    "check_sizes",
    "labelled_samples",
    "paired_samples",
    "samples_for",
]


@dataclass(frozen=True)
class Estimate:
    """An estimate in nats, and its standard error over the choice of samples.

    Parameters
    ----------
    value : float
    std_error : float
        The spread of the pointwise terms over the root of their number. It includes neither bias
        nor the correlation of terms whose samples are each other's neighbours: on independent
        normal data, the true spread is 1.07 times this for k = 1 and 1.4 times for k = 5 or more.
    pointwise : array, shape (n,)
        The contribution of each sample: `value` is their mean. Empty if the estimator has no terms.
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


class SliceError(RuntimeError):
    """A callable estimator failed on a slice.

    Parameters
    ----------
    number : int
        Which slice, counted from 0.
    reason : str
        What failed, and how.
    """

    def __init__(self, number: int, reason: str):
        super().__init__(number, reason)
        self.number, self.reason = number, reason

    def __str__(self) -> str:
        return f"slice {self.number} (counted from 0): {self.reason}"

    def counted_from(self, first: int) -> SliceError:
        """The same error, where slice 0 is slice `first` of the call."""
        return SliceError(first + self.number, self.reason)


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

    n_pilot_slices: int = 0
    """How many slices `for_slices` wants to see."""

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

    def for_slices(self, x: np.ndarray, y: np.ndarray) -> SliceEstimator:
        """The estimator that measures all slices of a call, of which these are the first.

        Parameters
        ----------
        x, y : arrays, shape (n_slices, n), float64
        """
        return self

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

    def slice_class_terms(
        self, values: np.ndarray, order: np.ndarray, labels: Labels, points: np.ndarray
    ) -> np.ndarray:
        """Pointwise mutual information of new points with each class, log p(x | c) / p(x).

        This is what `slice_terms_labels` gives for a sample, for points that are no samples: the
        mean over new samples, each with its own class, is the mutual information.

        Parameters
        ----------
        values, order : arrays, shape (n_slices, n)
            Slices of the samples, from `sort_rows`.
        labels : Labels
            The class of each sample.
        points : array, shape (n_slices, n_points), float64
            Ascending rows.

        Returns
        -------
        array, shape (n_slices, n_classes, n_points)
        """
        raise TypeError(
            f"estimator={self!r} does not measure new points; use Copula(), KSG() or Gaussian(), "
            f"or write slice_class_terms"
        )

    def slice_statistics(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What a test of independence compares, shape (n_results, n_statistics, n_slices).

        The first is the estimate. If there are others, the largest of them is compared instead,
        each in units of its spread over permutations.
        """
        return self.slice_terms(x, y).mean(axis=-1)[:, None]

    def slice_statistics_labels(self, x: np.ndarray, labels: Labels) -> np.ndarray:
        """The same with labels."""
        return self.slice_terms_labels(x, labels).mean(axis=-1)[:, None]

    def by_rule(self, results: Sequence[Any]) -> Any:
        """What the caller gets: the only result, or a dict of several by name."""
        return results[0]


def samples_for(
    estimator: SliceEstimator, values: np.ndarray, name: str, rng: np.random.Generator
) -> Samples:
    """Samples that the estimator can measure: enough of them, with spread, and without ties.

    Parameters
    ----------
    estimator : SliceEstimator
    values : array, shape (n, dim)
        From `as_samples`.
    name : str
        For the errors.
    rng : Generator
        Tells equal rows apart, unless the estimator keeps them.

    Raises
    ------
    UnmeasurableError
        If there are too few samples, if they have no spread, or if too many are equal.
    """
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
    """`samples_for` of x and of y, which are paired row by row; `rngs` holds one for each."""
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


def check_is_object(estimator: Any) -> None:
    """Raise TypeError if a class is given instead of an estimator."""
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; give an object of it, as "
            f"{estimator.__name__}()"
        )


def check_sizes(estimator: SliceEstimator, n: int, name: str) -> None:
    """Raise UnmeasurableError if `n` samples are too few for the estimator."""
    if n < estimator.min_samples:
        raise UnmeasurableError(
            f"{name} has {n} samples, too few for {estimator!r}; give at least "
            f"{estimator.min_samples}, or lower its k if it has one"
        )


def check_class_sizes(estimator: SliceEstimator, labels: Labels, name: str) -> None:
    """Raise UnmeasurableError if some class has too few samples for the estimator."""
    for size, label in zip(labels.sizes, labels.names, strict=True):
        check_sizes(estimator, int(size), f"class {label!r} of {name}")
