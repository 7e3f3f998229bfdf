"""The information plane: what a layer knows about the input, and what about the label, by epoch.

How information is measured is not this module's business. It is given two functions, and asks
them at chosen epochs of a training about every layer.
"""

from __future__ import annotations

import numpy as np

from .training import layer_outputs

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
    An estimate that raises ends the training; the last checkpoint holds the epochs before.
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
            errors `information_x_error`, `information_y_error`, in the unit of the estimates.
        """
        shape = (len(self._epochs), len(self._layers), len(self._rules), len(_QUANTITIES))
        by_quantity = np.array(self._values, dtype=float).reshape(shape).T
        return {
            "epochs": np.array(self._epochs, dtype=int),
            "layers": list(self._layers),
            "rules": list(self._rules),
            **{name: by_quantity[i].copy() for i, name in enumerate(_QUANTITIES)},
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

    def _measure(self, epoch, layers):
        rules = list(self._rules)
        values = []
        for name, layer in layers.items():
            try:
                about_x, about_y = self._estimate_x(layer), self._estimate_y(layer)
                rules = rules or list(about_x)
                _check_rules(rules, estimate_x=about_x, estimate_y=about_y)
                values.append([_numbers(about_x[rule], about_y[rule]) for rule in rules])
            except Exception as error:
                error.add_note(f"while measuring {name!r} after epoch {epoch}")
                raise
        # Only now, when the epoch is complete: a failure above leaves the recording as it was.
        self._epochs.append(epoch)
        self._layers = list(layers)
        self._rules = rules
        self._values.append(values)


def _numbers(about_x, about_y):
    """The four quantities of one layer by one rule, in the order of `_QUANTITIES`."""
    return [
        float(number)
        for estimate in (about_x, about_y)
        for number in (estimate.value, estimate.std_error)
    ]


def _check_rules(rules, **estimates):
    for name, estimate in estimates.items():
        if sorted(estimate) != sorted(rules):
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
