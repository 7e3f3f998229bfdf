"""Watch what the layers of a network know about the input and the label, while it learns.

`watch` measures the layers of any torch module by sliced mutual information. `InformationPlane`
records them, and takes other measures as well.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from .dependence_scale import effective_dimension, full_dependence
from .directions import Directions
from .estimators import Copula
from .estimators.recognition import as_slice_estimator
from .layers import INPUTS, LayerReader, as_choice, find_layers, unwrapped
from .plane_callback import RULE, InformationPlane, problem_of
from .provenance import plain_repr
from .slicing import SMICompressor
from .smi import mutual_information_of_slices
from .validation import (
    UnmeasurableError,
    as_array,
    as_generator,
    as_labels,
    as_samples,
    check_count,
    is_one_hot,
    warn_caller,
)

__all__ = ["InformationPlane", "watch"]

# Labels with no more different values than this are more likely classes than measurements.
_FEW_VALUES = 20


def watch(
    model: Any,
    inputs: Any,
    labels: Any = None,
    *,
    layers: Any = None,
    estimator: Any = Copula(),
    n_projections: int = 1000,
    epochs: Collection[int] | None = None,
    between: bool = False,
    select: Callable[[Any], Any] | None = None,
    pool: Any = None,
    noise: float = 0.0,
    training_mode: bool = False,
    batch_size: int = 256,
    new_directions: bool = False,
    name: str = "sliced mutual information",
    live: bool = False,
    rng: Any = None,
) -> InformationPlane:
    """Watch what the layers L of a network know, by sliced mutual information.

    I(X; L) against the inputs and I(L; Y) against the labels, on random directions that are the
    same at every epoch, so that what changes is the network. A layer is projected as it comes,
    batch by batch: what is kept of it is (n, n_projections), however wide it is.

    Parameters
    ----------
    model : nn.Module or a class of them
        What `plane.measure(epoch)` measures. It is not kept alive. Give its class where the
        training builds the network itself: then `plane(epoch, model, data)`, as a callback,
        measures the network that it is given.
    inputs : tensor, array, list or dict of these, or iterable of batches
        The same for every epoch, best held back from the training; 1000 samples are plenty. A
        list holds the positional arguments of the network, a dict its keyword arguments, each of
        shape (n, ...). A `DataLoader` (not shuffled) gives tensors, dicts or tuples
        (inputs, labels). Integers are token ids or masks: they go to the network, and I(X; L) is
        not measured if there is nothing else (see `between`).
    labels : array-like, shape (n,) or (n, ...), or None
        Classes of any kind, or floats for regression, which are sliced too. None means the labels
        in the batches; without these, I(L; Y) is not measured.
    layers : list of str, dict or None
        Names of modules, as in `model.named_modules()`; `*` stands for one part of a name, as in
        "blocks.*". A dict gives them names of your own; its values are names or modules, or pairs
        `(name or module, function)` to measure a function of the output. None means every module
        without children that has parameters or is an activation. Functions that are no modules,
        such as `torch.relu`, are not seen.
    estimator : SliceEstimator or callable
        See `sliced_mutual_information`.
    n_projections : int
        Number of slices.
    epochs : collection of int or None
        After which epochs to measure, counted from 1, and 0 for before the training; None means
        whenever it is called.
    between : bool
        Whether to measure each layer against the next one that the network reaches, too.
    select : callable or None
        What to take of a module's output; None means the first tensor of floats in it. For an LSTM
        this is the output of every step; `select=lambda output: output[1][0][-1]` takes the last
        state.
    pool : "mean", "first", "last", callable or None
        What becomes of tokens, an output of shape (n, tokens, width): their mean, the first or the
        last; None flattens them. A callable gets every output.
    noise : float
        Standard deviation of Gaussian noise on what is measured, relative to each number. The
        network itself runs without it. See Notes.
    training_mode : bool
        Whether the network is in training mode, with its dropout and noise. What a pass does to its
        buffers, such as running means, is undone.
    batch_size : int
        Samples per pass, where `inputs` does not come in batches.
    new_directions : bool
        Whether to draw directions, and noise, anew for every epoch. See Notes.
    name : str
        The name under which a checkpoint keeps what was recorded.
    live : bool
        Redraw a figure after every measured epoch; outside notebooks print a line.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`. Directions and noise follow from it, for each layer by
        its name alone. The network's own random numbers are PyTorch's, which are as before after
        every measurement.

    Returns
    -------
    InformationPlane

    Raises
    ------
    ValueError, TypeError
        If a layer is unknown, the labels are not as many as the inputs, a loader shuffles, or an
        option is out of range.

    Warns
    -----
    UserWarning
        If labels are floats with few different values, which are more likely classes.

    Notes
    -----
    *A deterministic network* has infinite mutual information with a continuous input, or as much as
    finitely many samples allow, whatever it has learned (Goldfeld et al. 2019, "Estimating
    information flow in deep neural networks", section 2). Slices lose most of it, so that the SMI
    is finite and changes, but it says how much of a layer a random projection shows, not how much
    there is. `noise=1e-3` measures a layer whose numbers are known to three digits, for which
    I(X; L) is finite.

    *The same directions at every epoch* make smooth curves: the error due to finitely many slices
    shifts all epochs of a layer alike, so that steps smaller than the error bars can be seen. It
    does not average out over epochs. `new_directions=True` makes these errors independent from
    epoch to epoch: curves jitter, the inputs are sliced anew, and means and fits over epochs get
    closer to the truth. The samples stay the same, and so does their error.

    *Layers of different width* cannot be compared by their SMI: random slices of wide data tell
    less. `to_frame()` has, beside each value, `independent_value`, what permuted samples give, and
    `share`, the value divided by what full dependence would give. For I(L; Y) with classes this is
    the entropy of the labels, which no slice can exceed. It is the same for all layers, so that the
    effect of width stays. Otherwise it is the SMI of normal variables that determine each other, in
    as many dimensions as the two vary in (`full_dependence`, `effective_dimension`): a scale that
    takes their dimensions into account, but no bound, since data that are not normal can have
    shares above 1. Neither is a share of the mutual information, most of which slices do not see.

    Examples
    --------
    >>> plane = watch(model, x_test, y_test, layers=["conv1", "fc"])
    >>> for epoch in range(1, 11):
    ...     train_one_epoch()
    ...     plane.measure(epoch)
    >>> plane.plot()
    """
    layers = as_choice(layers)
    reader = partial(
        LayerReader,
        inputs,
        layers=layers,
        n_projections=check_count(n_projections, "n_projections"),
        select=select,
        pool=pool,
        noise=noise,
        training_mode=training_mode,
        batch_size=batch_size,
    )
    plane = _SlicedPlane(
        reader,
        labels,
        estimator,
        n_projections,
        between=between,
        new_directions=new_directions,
        rng=rng,
    )
    settings = {
        "estimator": plain_repr(estimator),
        "n_projections": n_projections,
        "noise": float(noise),
        "pool": pool if pool is None or isinstance(pool, str) else "function",
        "training_mode": training_mode,
        "seed": plane.seed,
    }
    # Settings that older recordings do not have; made with one of them, they cannot resume.
    more = {"new_directions": new_directions, "between": between, "select": select is not None}
    settings |= {option: True for option, is_given in more.items() if is_given}
    plane._prepare(_as_model(model, layers), epochs, name, settings, live)
    plane.label_entropy = plane._target and plane._target.entropy  # also if nothing is measured
    return plane


class _SlicedPlane(InformationPlane):
    """An information plane by slices of inputs, layers and labels."""

    def __init__(self, reader, labels, estimator, n_projections, *, between, new_directions, rng):
        self.seed = self._epoch_seed = int(as_generator(rng).integers(2**62))
        self._has_new_directions = new_directions
        self._adopts_seed = rng is None
        self._make_reader = reader
        self._reader = reader(seed=self.seed)
        self._n_projections = n_projections
        self._target = None if labels is None else _as_target(labels)
        self._target_slices = None
        self._estimator = as_slice_estimator(
            estimator, y_discrete=self._target is not None and self._target.is_discrete
        )
        self._estimates = {"information_x": self._about_inputs, "information_y": self._about_labels}
        if between:
            self._estimates["information_between"] = self._about_next
        n = self._reader.n_samples
        if n is not None and self._target is not None:
            self._target.check_length(n)

    def directions(self, name: str) -> Directions:
        """The directions of a layer that has been measured, or of the inputs, by "inputs".

        Raises
        ------
        ValueError
            If there is no such layer, or nothing has been measured.
        """
        return self._reader.directions(name)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a recording; without an `rng` of its own, on the recording's directions."""
        before = self.seed, self._epoch_seed, self._reader
        if self._adopts_seed:
            seed = state["settings"].get("seed", self.seed)
            self._adopt(seed, seed, self._make_reader(seed=seed))
        try:
            super().load_state_dict(state)
        except BaseException:
            self._adopt(*before)
            raise

    def _adopt(self, seed, epoch_seed, reader):
        self.seed = self._record.settings["seed"] = seed
        self._epoch_seed, self._reader = epoch_seed, reader

    def _read(self, epoch, model, data):
        if self._has_new_directions:
            self._epoch_seed = _seed_of_epoch(self.seed, epoch)
        layers = self._reader(model, seed=self._epoch_seed)
        if self._reader.input_slices is None:
            self._estimates.pop("information_x", None)
        if self._target is None and self._reader.labels is not None:
            self._target = _as_target(self._reader.labels)
            as_slice_estimator(self._estimator, y_discrete=self._target.is_discrete)
        if self._target is None:
            self._estimates.pop("information_y", None)
        else:
            self._target.check_length(len(next(iter(layers.values()))))
            self.label_entropy = self._target.entropy
            if not self._target.is_discrete:
                self._target_slices = self._target.slices(self._n_projections, self._epoch_seed)
        return layers

    def _about_inputs(self, layers, name):
        slices = _measurable(self._reader.input_slices, INPUTS)
        dims = self._dimension(slices, INPUTS), self._dimension(layers[name].T, name)
        return self._estimate_of(slices, layers[name].T, full=full_dependence(*dims))

    def _about_labels(self, layers, name):
        target, slices = self._target, layers[name].T
        if target.is_discrete:
            return self._estimate_of(slices, target.values, full=target.entropy, y_discrete=True)
        other = _measurable(self._target_slices, "labels")
        dims = effective_dimension(other, target.values.shape[1]), self._dimension(slices, name)
        return self._estimate_of(slices, other, full=full_dependence(*dims))

    def _about_next(self, layers, name):
        names = list(layers)
        following = names[names.index(name) + 1 :]
        if not following:
            return None
        slices, others = layers[name].T, layers[following[0]].T
        _measurable(others, following[0])
        dims = self._dimension(slices, name), self._dimension(others, following[0])
        return self._estimate_of(slices, others, full=full_dependence(*dims))

    def _estimate_of(self, slices, other, *, full, y_discrete=False):
        found = mutual_information_of_slices(
            slices, other, estimator=self._estimator, y_discrete=y_discrete, rng=self._epoch_seed
        )
        full = min(full, math.log(slices.shape[1]))  # the most that ranks can tell
        by_rule = found if isinstance(found, Mapping) else {RULE: found}
        return {
            rule: _LayerEstimate(
                estimate.value, estimate.std_error, estimate.independent_value, full
            )
            for rule, estimate in by_rule.items()
        }

    def _dimension(self, slices, name):
        return effective_dimension(slices, self._reader.widths[name])


def _measurable(slices, name):
    problem = problem_of(slices.T)
    if problem:
        raise UnmeasurableError(f"{name} {problem}")
    return slices


@dataclass(frozen=True)
class _LayerEstimate:
    value: float
    std_error: float
    independent_value: float
    full_value: float


@dataclass(frozen=True, eq=False)
class _Target:
    """What I(L; Y) is about.

    Parameters
    ----------
    values : array, shape (n,) of classes or (n, dim) of numbers
    entropy : float or None
        Of the classes, in nats.
    """

    values: np.ndarray
    entropy: float | None

    @property
    def is_discrete(self) -> bool:
        """Whether there are classes."""
        return self.entropy is not None

    def check_length(self, n: int) -> None:
        """Raise ValueError unless there are `n` samples."""
        if len(self.values) != n:
            raise ValueError(
                f"labels has {len(self.values)} samples and inputs have {n}; give one label per "
                f"sample, in the same order"
            )

    def slices(self, n_projections: int, seed: int) -> np.ndarray:
        """Numbers on random directions, (n_projections, n)."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        return SMICompressor(self.values.shape[1], n_projections, rng=rng)(self.values)


def _as_target(labels):
    array = as_array(labels, "labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if is_one_hot(array):
        array = array.argmax(axis=1)
    if array.dtype.kind == "f" and array.ndim > 0:
        n_values = len(np.unique(array)) if array.ndim == 1 else math.inf
        if n_values <= min(_FEW_VALUES, len(array) / 10):
            warn_caller(
                f"labels are floats of {n_values} different values, and are measured as numbers; "
                f"if they are classes, give labels.astype(int), or labels.long() of a tensor"
            )
        return _Target(as_samples(array, "labels"), None)
    sizes = as_labels(array, "labels").sizes
    shares = sizes / sizes.sum()
    return _Target(array, float(-(shares * np.log(shares)).sum()))


def _seed_of_epoch(seed, epoch):
    """From the epoch alone, so that a resumed recording draws what an uninterrupted one does."""
    sequence = np.random.SeedSequence(seed, spawn_key=(1, epoch))
    return int(np.random.default_rng(sequence).integers(2**62))


def _as_model(model, layers):
    """A function that gives the model, as long as there is one; None for a class."""
    if isinstance(model, type) and issubclass(model, nn.Module):
        return None
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model has type {type(model).__name__}; give a torch.nn.Module, or the class of one "
            f"that the training builds"
        )
    find_layers(model, layers)
    # A wrapper (`torch.compile`, `DataParallel`) may have been made for this call alone.
    reference = weakref.ref(unwrapped(model))

    def current():
        if reference() is None:
            raise RuntimeError("the model that was watched is gone; call watch with the new one")
        return reference()

    return current
