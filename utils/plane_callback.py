"""The information plane as a training callback: which layers are measured, when, and what is noted.

How information is measured is not this module's business: it is given functions of a layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from .layers import LayerReader, as_choice
from .plane_figures import LiveView, plot_information
from .plane_record import PlaneRecord, as_epochs
from .validation import UnmeasurableError, check_count, warn_caller

__all__ = ["RULE", "InformationPlane", "problem_of"]

RULE = "estimate"
"""The rule of estimates that do not come by rule."""

# How many test images go through at once; the noise that a network draws depends on it.
_BATCH_SIZE = 1000
_ARGUMENTS = {"information_x": "estimate_x", "information_y": "estimate_y"}


class InformationPlane:
    """Record I(X; L) and I(L; Y) of every layer L at chosen epochs; a training callback.

    `watch` makes one that measures by slices. Made directly, it takes any measure of a layer, such
    as autoencoder + PCA.

    Parameters
    ----------
    estimate_x, estimate_y : callable
        `estimate(layer)` gets a layer's outputs, an array of shape (n, width) whose rows follow
        the inputs, and returns an estimate, an object with `value` and `std_error`, or a dict of
        several by name: one per rule, the same rules from both functions. `estimate_x` measures
        against the inputs, `estimate_y` against the labels. What depends on the inputs alone
        (projections, codes) is best computed once, before the training, and held by the function.
    inputs : tensor, array, list or dict of these, iterable of batches, or None
        See `watch`. None means the `test_images` of the data that a callback is given.
    layers : list of str, dict or None
        Which layers to measure; see `watch`.
    epochs : collection of int or None
        After which epochs to measure, counted from 1, and 0 for before the training; None means
        whenever it is called.
    name : str
        The name under which a checkpoint keeps what was recorded: two ways of measuring one
        training need two names.
    settings : dict or None
        How the two functions measure, in strings and numbers. A recording resumes only with the
        same settings, so that no curve is half one measurement and half another.
    live : bool
        Redraw a figure after every measured epoch; outside notebooks print a line.

    Attributes
    ----------
    name : str
        As given.
    last_epoch : int
        The last epoch seen, measured or not; 0 before the first.

    Notes
    -----
    A layer that cannot be measured (all its units dead, values that are not finite, a class with
    too few samples: an `UnmeasurableError`, or an estimate that is not finite) does not end the
    training: NaN is recorded, and `results()["notes"]` says why. The first such case of each layer
    and quantity is a warning. So is what the estimates warn of, such as ties. Any other error ends
    the training; the last checkpoint holds the epochs before.
    """

    def __init__(
        self,
        estimate_x: Callable[[np.ndarray], Any],
        estimate_y: Callable[[np.ndarray], Any],
        *,
        inputs: Any = None,
        layers: Any = None,
        epochs: Collection[int] | None = None,
        name: str = "information plane",
        settings: Mapping[str, Any] | None = None,
        live: bool = False,
    ):
        for argument, estimate in (("estimate_x", estimate_x), ("estimate_y", estimate_y)):
            if not callable(estimate):
                raise TypeError(
                    f"{argument}={estimate!r} cannot be called; give a function of a layer"
                )
        self._read: Callable[[int, nn.Module, Any], dict[str, np.ndarray]]
        if inputs is None:
            self._read = partial(_read_test_images, as_choice(layers))
        else:
            reader = LayerReader(inputs, layers=layers)
            self._read = lambda epoch, model, data: reader(model)
        self._estimates = {
            "information_x": lambda layers, name: estimate_x(layers[name]),
            "information_y": lambda layers, name: estimate_y(layers[name]),
        }
        self._prepare(None, epochs, name, settings, live)

    def _prepare(self, model, epochs, name, settings, live):
        self.name = name
        self.label_entropy = None
        self._model = model  # a function that returns it, or raises if it is gone
        self._live = LiveView() if live else None
        self._record = PlaneRecord(settings or {}, None if epochs is None else as_epochs(epochs))

    def __repr__(self) -> str:
        return (
            f"InformationPlane({len(self._record.epochs)} epochs measured, "
            f"layers={self._record.layers}, rules={self._record.rules})"
        )

    @property
    def last_epoch(self) -> int:
        """The last epoch seen, measured or not; 0 before the first."""
        return self._record.last_epoch

    @property
    def awaits_start(self) -> bool:
        """Whether epoch 0, before the training, was chosen and is still to be measured."""
        return self._record.chosen is not None and 0 in self._record.chosen and not self._seen_any()

    def _seen_any(self):
        return self._record.last_epoch > 0 or bool(self._record.epochs)

    def measure(self, epoch: int) -> None:
        """Measure the model that `watch` was given, if this epoch is one of the chosen.

        Parameters
        ----------
        epoch : int
            Which epoch of the training has just ended, counted from 1; 0 before the first.

        Raises
        ------
        ValueError
            If a later epoch was seen before, or the inputs are not those of the first pass.
        RuntimeError
            If there is no model to measure.
        """
        if self._model is None:
            raise RuntimeError(
                "there is no model to measure; give watch a model, or call plane(epoch, model)"
            )
        self(epoch, self._model())

    def __call__(self, epoch: int, model: nn.Module, data: Any = None) -> None:
        """The same, as a training callback.

        Parameters
        ----------
        epoch : int
            Which epoch of the training has just ended.
        model : nn.Module
            The network as it is now.
        data : object
            Where no inputs were given, its `test_images` are used.
        """
        epoch = check_count(epoch, "epoch", least=0)
        record = self._record
        repeats_start = epoch == record.last_epoch == 0 and 0 in record.epochs
        if epoch < record.last_epoch or (epoch == record.last_epoch > 0) or repeats_start:
            raise ValueError(
                f"epoch={epoch}, but this InformationPlane has already seen epoch "
                f"{record.last_epoch}; make a new one for a new training"
            )
        if record.chosen is None or epoch in record.chosen:
            self._measure(epoch, self._read(epoch, model, data))
            if self._live is not None:
                self._live(self)
        record.last_epoch = epoch

    def results(self) -> dict[str, Any]:
        """What was recorded so far, in plain containers.

        Returns
        -------
        dict
            `epochs`, array (n_epochs,); `layers` and `rules`, lists of names; and arrays of shape
            (n_rules, n_layers, n_epochs): `information_x`, `information_y` and
            `information_between` (of a layer and the next), in the unit of the estimates; the same
            with `_error`, their standard errors, with `_independent`, what permuted samples give,
            and with `_full`, what full dependence would give (see `watch`). NaN where a layer could
            not be measured. `notes`, a list of dicts with `epoch`, `layer`, `quantity` and `note`,
            says why, and holds the warnings of the estimates.
        """
        return self._record.results()

    def to_frame(self) -> Any:
        """What was recorded, as a tidy table.

        Returns
        -------
        pandas.DataFrame
            Columns `epoch`, `layer`, `rule`, `quantity`, `value`, `std_error`,
            `independent_value`, and `share`: the value divided by what full dependence would give,
            see `watch`.
        """
        return self._record.to_frame()

    def plot(self, *, rule: str | None = None) -> Any:
        """Draw what was recorded: each information over the epochs, and the information plane.

        Parameters
        ----------
        rule : str or None
            Which rule of estimates; None means the first.

        Returns
        -------
        matplotlib Figure
            A notebook shows it if it is the last line of a cell.

        Raises
        ------
        ValueError
            If nothing was measured, or there is no such rule.
        """
        return plot_information(self.results(), rule=rule, label_entropy=self.label_entropy)

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, for a checkpoint: lists, strings and numbers."""
        return self._record.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a recording where `state_dict` left it.

        Parameters
        ----------
        state : dict
            What `state_dict` gave.

        Raises
        ------
        ValueError
            If it was made with other `settings`, or the epochs measured so far are not those that
            this object would have measured.
        """
        self._record.load_state_dict(state)

    def _measure(self, epoch, layers):
        rules = list(self._record.rules)
        measured: dict[str, dict[str, Any]] = {}
        notes = []
        problems = {name: problem_of(layer) for name, layer in layers.items()}
        for name in layers:
            measured[name] = {}
            for quantity, estimate in self._estimates.items():
                try:
                    found, texts = _attempt(partial(estimate, layers, name), problems[name])
                    rules = rules or list(found or ())
                    _check_rules(rules, quantity, found)
                except (ArithmeticError, TypeError, ValueError) as error:
                    error.add_note(f"while measuring {name!r} after epoch {epoch}")
                    raise
                measured[name][quantity] = found
                notes += [
                    {"epoch": epoch, "layer": name, "quantity": quantity, "note": text}
                    for text in texts
                ]
        self._say_once(notes)
        # Only now, when the epoch is complete: a failure above leaves the recording as it was.
        self._record.add(epoch, measured, rules, notes)

    def _say_once(self, notes):
        """Warn of the first note of each layer and quantity."""
        said = {(note["layer"], note["quantity"]) for note in self._record.notes}
        for note in notes:
            if (note["layer"], note["quantity"]) not in said:
                said.add((note["layer"], note["quantity"]))
                warn_caller(
                    f"{note['layer']!r} after epoch {note['epoch']}, {note['quantity']}: "
                    f"{note['note']}. The training goes on; further cases are not warned of, but "
                    f"results()['notes'] has them all"
                )


def _read_test_images(layers, epoch, model, data):
    if data is None:
        raise TypeError("data=None; give the images to measure, or inputs= when this is made")
    return LayerReader(data.test_images, layers=layers, batch_size=_BATCH_SIZE)(model)


def problem_of(layer: np.ndarray) -> str | None:
    """Why a layer cannot be measured; None if it can."""
    # Not left to the estimates, which may see components: those of a constant are rounding errors.
    if not np.isfinite(layer).all():
        return "holds values that are not finite"
    if (layer == layer[0]).all():
        return "is constant, the same for every input"
    return None


def _attempt(estimate, problem):
    """The estimates by rule, None if the layer cannot be measured, and what is to be noted."""
    if problem:
        return None, [f"not measured, recorded as NaN: the layer {problem}"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            estimates = estimate()
        except UnmeasurableError as error:
            return None, [f"not measured, recorded as NaN: {error}"]
    notes = []
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if estimates is None:
        return None, notes
    if not isinstance(estimates, Mapping):
        estimates = {RULE: estimates}
    for found in estimates.values():
        if not (hasattr(found, "value") and hasattr(found, "std_error")):
            raise TypeError(
                f"the function that measures a layer returned {found!r}; let it return an estimate "
                f"with value and std_error, or a dict of them"
            )
    notes += [
        f"the estimate by the rule {rule!r} is {estimate.value}, recorded as NaN"
        for rule, estimate in estimates.items()
        if not np.isfinite(estimate.value)
    ]
    return estimates, notes


def _check_rules(rules, quantity, estimates):
    if estimates is not None and sorted(estimates) != sorted(rules):
        raise ValueError(
            f"{_ARGUMENTS.get(quantity, quantity)} gave estimates by the rules {sorted(estimates)} "
            f"instead of {sorted(rules)}; both functions must give the same rules for every layer"
        )
