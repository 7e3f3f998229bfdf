"""What was measured of the layers of a network, by epoch: kept, saved, resumed, tabulated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .validation import check_count

__all__ = ["INFORMATION", "PlaneRecord", "as_epochs"]

INFORMATION = ("information_x", "information_y", "information_between")
"""I(X; L), I(L; Y), and that of a layer and the next."""

_ATTRIBUTES = {
    "": "value",
    "_error": "std_error",
    "_independent": "independent_value",
    "_full": "full_value",
}
_QUANTITIES = [information + suffix for information in INFORMATION for suffix in _ATTRIBUTES]
_REMEDY = "choose the same, or start a new training with another checkpoint"


class PlaneRecord:
    """Numbers of every layer at every measured epoch.

    Parameters
    ----------
    settings : dict
        How they are measured, in strings and numbers.
    chosen : list of int or None
        After which epochs to measure; None means after every one that is asked for.
    """

    def __init__(self, settings: Mapping[str, Any], chosen: list[int] | None):
        self.settings = dict(settings)
        self.chosen = chosen
        self.last_epoch = 0
        self.epochs: list[int] = []
        self.layers: list[str] = []
        self.rules: list[str] = []
        self.notes: list[dict[str, Any]] = []
        # By epoch, layer, rule and quantity; quantities that were not measured are missing.
        self._values: list[list[list[dict[str, float]]]] = []

    def add(
        self,
        epoch: int,
        measured: Mapping[str, Mapping[str, Mapping[str, Any] | None]],
        rules: Sequence[str],
        notes: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep one more epoch.

        Parameters
        ----------
        epoch : int
        measured : dict of dict of dict
            Estimates by layer, by which information, and by rule; None where there is none.
        rules : sequence of str
        notes : sequence of dict
        """
        if self.layers and list(measured) != self.layers:
            raise ValueError(
                f"layers {list(measured)} after epoch {epoch}, but {self.layers} before; make a "
                f"new plane for another network"
            )
        self.epochs.append(epoch)
        self.layers = list(measured)
        self.rules = list(rules)
        self._values.append(
            [[_numbers(estimates, rule) for rule in rules] for estimates in measured.values()]
        )
        self.notes += [dict(note) for note in notes]

    def results(self) -> dict[str, Any]:
        """What was recorded so far, in plain containers; see `InformationPlane.results`."""
        shape = (len(self.rules), len(self.layers), len(self.epochs))
        arrays = {quantity: np.full(shape, np.nan) for quantity in _QUANTITIES}
        for i, epoch in enumerate(self._values):
            for j, layer in enumerate(epoch):
                # The rules are unknown, and their list empty, until a layer has been measured.
                for k, numbers in enumerate(layer):
                    for quantity, number in numbers.items():
                        arrays[quantity][k, j, i] = number
        return {
            "epochs": np.array(self.epochs, dtype=int),
            "layers": list(self.layers),
            "rules": list(self.rules),
            **arrays,
            "notes": [dict(note) for note in self.notes],
        }

    def to_frame(self) -> Any:
        """The same as a tidy table; see `InformationPlane.to_frame`."""
        import pandas as pd

        results = self.results()
        rows = [
            [epoch, layer, rule, quantity]
            + [results[quantity + suffix][k, j, i] for suffix in _ATTRIBUTES]
            for quantity in self.measured_information(results)
            for i, epoch in enumerate(results["epochs"])
            for j, layer in enumerate(results["layers"])
            for k, rule in enumerate(results["rules"])
            # The last layer has no next one.
            if quantity != "information_between" or j + 1 < len(results["layers"])
        ]
        names = ["epoch", "layer", "rule", "quantity", *_ATTRIBUTES.values()]
        frame = pd.DataFrame(rows, columns=names)
        full = frame.pop("full_value")
        frame["share"] = frame["value"] / full.where(full > 0)
        return frame

    @staticmethod
    def measured_information(results: Mapping[str, Any]) -> list[str]:
        """Those of `INFORMATION` that were measured, or tried, anywhere."""
        tried = {note["quantity"] for note in results["notes"]}
        return [
            name
            for name in INFORMATION
            if name in tried or np.isfinite(results.get(name, np.nan)).any()
        ]

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, in lists, strings and numbers."""
        return {
            "settings": dict(self.settings),
            "chosen": None if self.chosen is None else list(self.chosen),
            "last_epoch": self.last_epoch,
            "epochs": list(self.epochs),
            "layers": list(self.layers),
            "rules": list(self.rules),
            "values": list(self._values),
            "notes": [dict(note) for note in self.notes],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a record; see `InformationPlane.load_state_dict`."""
        if state["settings"] != self.settings:
            raise ValueError(
                f"settings={self.settings}, but the recording to be resumed was made with "
                f"{state['settings']}; {_REMEDY}"
            )
        chose_freely = self.chosen is None and state["chosen"] is None
        seen = range(1, state["last_epoch"] + 1)
        wanted = [epoch for epoch in seen if self.chosen is None or epoch in self.chosen]
        # Epoch 0 does not count: a recording that has begun cannot measure it any more.
        if not chose_freely and wanted != [epoch for epoch in state["epochs"] if epoch]:
            raise ValueError(
                f"epochs={_shortened(self.chosen)}, but the recording to be resumed measured "
                f"{_shortened(state['epochs'])} up to epoch {state['last_epoch']}; {_REMEDY}"
            )
        self.last_epoch = state["last_epoch"]
        self.epochs = list(state["epochs"])
        self.layers = list(state["layers"])
        self.rules = list(state["rules"])
        self._values = list(state["values"])
        self.notes = [dict(note) for note in state["notes"]]


def as_epochs(epochs: Collection[int]) -> list[int]:
    """Epochs in order, or TypeError or ValueError."""
    if not isinstance(epochs, Iterable):
        raise TypeError(f"epochs={epochs!r} is not several numbers; give them, as range(1, 11)")
    return sorted({check_count(epoch, "an element of epochs", least=0) for epoch in epochs})


def _numbers(estimates, rule):
    """All numbers of one layer by one rule, by quantity."""
    numbers = {}
    for information, by_rule in estimates.items():
        estimate = by_rule and by_rule[rule]
        is_measured = estimate is not None and np.isfinite(estimate.value)
        for suffix, attribute in _ATTRIBUTES.items():
            if is_measured and hasattr(estimate, attribute):
                numbers[information + suffix] = float(getattr(estimate, attribute))
    return numbers


def _shortened(epochs):
    if epochs is None:
        return "None (every epoch)"
    return f"[{', '.join(map(str, epochs[:8]))}{', ...' if len(epochs) > 8 else ''}]"
