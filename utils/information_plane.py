"""The information plane: what a layer knows about the input, and what about the label, by epoch.

How information is measured is not this module's business. It is given two functions, and asks
them at chosen epochs of a training about every layer.
"""

from __future__ import annotations

import warnings

import numpy as np

from .training import layer_outputs
from .validation import UnmeasurableError

__all__ = ["InformationPlane"]

_REMEDY = "choose the same, or start a new training with another checkpoint"
_QUANTITIES = (
    "information_x",
    "information_x_error",
    "information_y",
    "information_y_error",
)


class InformationPlane:
    """Record I(X; L) and I(L; Y) of every layer L at chosen epochs; a training callback.

    Pass it to `train_classifier(..., on_epoch_end=...)`. The layers are those of the test images.

    Parameters
    ----------
    estimate_x, estimate_y : callable
        `estimate(layer)` gets a layer's outputs, an array of shape (n, width) whose rows follow
        the test images, and returns a dict of named estimates: objects with `value` and
        `std_error`. The names say by which rule; one measurement may serve several. `estimate_x`
        measures against the images, `estimate_y` against the labels; both give the same rules.
        Whatever concerns the test images alone (projections, codes) is best computed once,
        before the training, and held by the function.
    epochs : collection of int or None
        After which epochs to measure, counted from 1; None means after every one.
    name : str
        Under which a checkpoint keeps what was recorded: two ways of measuring one training need
        two names.
    settings : dict or None
        How the two functions measure, in strings and numbers. A recording that is taken up from a
        checkpoint must have been made with the same, so that no curve is half one measurement
        and half another.

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
        self, estimate_x, estimate_y, *, epochs=None, name="information plane", settings=None
    ):
        for argument, estimate in (("estimate_x", estimate_x), ("estimate_y", estimate_y)):
            if not callable(estimate):
                raise TypeError(
                    f"{argument}={estimate!r} cannot be called; give a function of a layer"
                )
        self._estimate_x = estimate_x
        self._estimate_y = estimate_y
        self._chosen = None if epochs is None else _as_epochs(epochs)
        self.name = name
        self.last_epoch = 0
        self._settings = dict(settings or {})
        self._epochs = []
        self._layers = []
        self._rules = []
        self._values = []  # by epoch, layer, rule; then the four quantities
        self._notes = []

    def __repr__(self):
        return (
            f"InformationPlane({len(self._epochs)} epochs measured, layers={self._layers}, "
            f"rules={self._rules})"
        )

    def __call__(self, epoch: int, model, data) -> None:
        """Measure, if this epoch is one of the chosen.

        Parameters
        ----------
        epoch : int
            Which epoch of the training has just ended.
        model : Classifier
            The network as it is now.
        data : ImageData
            Its test images are used.
        """
        if epoch <= self.last_epoch:
            raise ValueError(
                f"epoch={epoch}, but this InformationPlane has already seen epoch "
                f"{self.last_epoch}; make a new one for a new training"
            )
        if self._chosen is None or epoch in self._chosen:
            self._measure(epoch, layer_outputs(model, data.test_images))
        self.last_epoch = epoch

    def results(self) -> dict:
        """What was recorded so far, in plain containers.

        Returns
        -------
        dict
            `epochs`, array (n_epochs,); `layers` and `rules`, lists of names; and arrays of shape
            (n_rules, n_layers, n_epochs): `information_x`, `information_y` and their standard
            errors `information_x_error`, `information_y_error`, in the unit of the estimates. NaN
            where a layer could not be measured; `notes`, a list of dicts with `epoch`, `layer`,
            `quantity` and `note`, says why, and of which numbers there is something to know.
        """
        shape = (len(self._epochs), len(self._layers), len(self._rules), len(_QUANTITIES))
        # Before the first layer was measured, the rules were not known.
        unmeasured = [[np.nan] * len(_QUANTITIES)] * len(self._rules)
        values = [[layer or unmeasured for layer in epoch] for epoch in self._values]
        by_quantity = np.array(values, dtype=float).reshape(shape).T
        return {
            "epochs": np.array(self._epochs, dtype=int),
            "layers": list(self._layers),
            "rules": list(self._rules),
            **{name: by_quantity[i].copy() for i, name in enumerate(_QUANTITIES)},
            "notes": [dict(note) for note in self._notes],
        }

    def state_dict(self) -> dict:
        """What was recorded, for a checkpoint: lists, strings and numbers."""
        return {
            "settings": dict(self._settings),
            "last_epoch": self.last_epoch,
            "epochs": list(self._epochs),
            "layers": list(self._layers),
            "rules": list(self._rules),
            "values": list(self._values),
            "notes": [dict(note) for note in self._notes],
        }

    def load_state_dict(self, state: dict) -> None:
        """Take up a recording where `state_dict` left it.

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
        if state["settings"] != self._settings:
            raise ValueError(
                f"settings={self._settings}, but the recording to be taken up was made with "
                f"{state['settings']}; {_REMEDY}"
            )
        seen = range(1, state["last_epoch"] + 1)
        wanted = [epoch for epoch in seen if self._chosen is None or epoch in self._chosen]
        if wanted != state["epochs"]:
            raise ValueError(
                f"epochs={_shortened(self._chosen)}, but the recording to be taken up measured "
                f"{_shortened(state['epochs'])} up to epoch {state['last_epoch']}; {_REMEDY}"
            )
        self.last_epoch = state["last_epoch"]
        self._epochs = list(state["epochs"])
        self._layers = list(state["layers"])
        self._rules = list(state["rules"])
        self._values = list(state["values"])
        # States of before there were notes have none.
        self._notes = [dict(note) for note in state.get("notes", ())]

    def _measure(self, epoch, layers):
        rules = list(self._rules)
        measured = {}
        notes = []
        for name, layer in layers.items():
            try:
                about_x, notes_x = _attempt(self._estimate_x, layer)
                about_y, notes_y = _attempt(self._estimate_y, layer)
                rules = rules or list(about_x or about_y or ())
                _check_rules(rules, estimate_x=about_x, estimate_y=about_y)
            except (ArithmeticError, TypeError, ValueError) as error:
                error.add_note(f"while measuring {name!r} after epoch {epoch}")
                raise
            measured[name] = about_x, about_y
            for quantity, texts in (("information_x", notes_x), ("information_y", notes_y)):
                notes += [
                    {"epoch": epoch, "layer": name, "quantity": quantity, "note": text}
                    for text in texts
                ]
        self._say_once(notes)
        # Only now, when the epoch is complete: a failure above leaves the recording as it was.
        self._epochs.append(epoch)
        self._layers = list(layers)
        self._rules = rules
        self._values.append(
            [[_numbers(*pair, rule) for rule in rules] for pair in measured.values()]
        )
        self._notes += notes

    def _say_once(self, notes):
        """Warn of the first note of each layer and quantity."""
        said = {(note["layer"], note["quantity"]) for note in self._notes}
        for note in notes:
            if (note["layer"], note["quantity"]) not in said:
                said.add((note["layer"], note["quantity"]))
                warnings.warn(
                    f"{note['layer']!r} after epoch {note['epoch']}, {note['quantity']}: "
                    f"{note['note']}. The training goes on; further cases are not warned of, but "
                    f"results()['notes'] has them all",
                    UserWarning,
                    stacklevel=4,
                )


def _attempt(estimate, layer):
    """What an estimate gives, None if the layer cannot be measured, and what there is to note."""
    # Here and not in the estimates, which may see components: of a constant, rounding errors.
    for problem, found in (
        ("holds values that are not finite", not np.isfinite(layer).all()),
        ("is constant, the same for every image", (layer == layer[0]).all()),
    ):
        if found:
            return None, [f"not measured, recorded as NaN: the layer {problem}"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            estimates = estimate(layer)
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
    notes += [
        f"the estimate by the rule {rule!r} is {estimate.value}, recorded as NaN"
        for rule, estimate in estimates.items()
        if not np.isfinite(estimate.value)
    ]
    return estimates, notes


def _numbers(about_x, about_y, rule):
    """The four quantities of one layer by one rule, in the order of `_QUANTITIES`."""
    numbers = []
    for estimates in (about_x, about_y):
        estimate = estimates and estimates[rule]
        if estimate is None or not np.isfinite(estimate.value):
            numbers += [float("nan")] * 2
        else:
            numbers += [float(estimate.value), float(estimate.std_error)]
    return numbers


def _check_rules(rules, **estimates):
    for name, estimate in estimates.items():
        if estimate is not None and sorted(estimate) != sorted(rules):
            raise ValueError(
                f"{name} gave estimates by the rules {sorted(estimate)} instead of "
                f"{sorted(rules)}; both functions must give the same rules for every layer"
            )


def _as_epochs(epochs):
    if isinstance(epochs, (int, np.integer)):
        raise TypeError(f"epochs={epochs!r} is one number; give several, such as range(1, 11)")
    epochs = list(epochs)
    for epoch in epochs:
        if not isinstance(epoch, (int, np.integer)) or epoch < 1:
            raise ValueError(f"epochs holds {epoch!r}; give whole numbers from 1")
    return sorted({int(epoch) for epoch in epochs})


def _shortened(epochs, most=8):
    if epochs is None:
        return "None (every epoch)"
    return f"[{', '.join(map(str, epochs[:most]))}{', ...' if len(epochs) > most else ''}]"
