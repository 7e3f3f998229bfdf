"""Sliders above a picture that follows them, for the explorers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["Explorer", "dropdown", "limits", "name_axes", "slider", "steps"]

_WIDTH, _HEIGHT, _DPI = 1000, 360, 100  # pixels


class Explorer:
    """Controls above one picture, which is drawn anew when a control moves.

    Parameters
    ----------
    controls : dict of str to ipywidgets widget
        Each with a `value`.
    draw : callable
        `draw(axes, **values)` gets empty axes and the value of each control by its name. It
        returns a headline, and a dict of the numbers that it has drawn.
    n_panels : int
        How many axes, side by side.

    Attributes
    ----------
    controls : dict
        As given. Setting `explorer.controls[name].value` is the same as moving the slider.
    widget : ipywidgets.VBox
        The controls and the picture.
    shown : dict
        The numbers in the picture.
    """

    def __init__(
        self,
        controls: dict[str, Any],
        draw: Callable[..., tuple[str, dict[str, Any]]],
        *,
        n_panels: int = 3,
    ):
        self.controls, self._draw = controls, draw
        self.shown: dict[str, Any] = {}
        # Not by pyplot, which would keep every figure, and show it once more below the cell.
        self._figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        self._axes = self._figure.subplots(1, n_panels, squeeze=False)[0]
        self._figure.subplots_adjust(left=0.07, right=0.985, bottom=0.14, top=0.82, wspace=0.36)
        for axis in self._axes:
            _set_style(axis)
        # A picture is replaced in one step: nothing flickers, nothing on the page moves.
        layout = widgets.Layout(
            width=f"{_WIDTH}px", height=f"{_HEIGHT}px", max_width="100%", object_fit="contain"
        )
        self._picture = widgets.Image(format="png", layout=layout)
        wrap = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        row = widgets.HBox(list(controls.values()), layout=wrap)
        self.widget = widgets.VBox([row, self._picture])
        self._redraw()
        for control in controls.values():
            control.observe(self._move, names="value")

    def __repr__(self) -> str:
        values = (f"{name}={control.value}" for name, control in self.controls.items())
        return f"Explorer({', '.join(values)})"

    @property
    def picture(self) -> bytes:
        """The picture of the present state, a PNG file."""
        return self._picture.value

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        # In one bundle, of which a running notebook takes the widget and all others the picture.
        png = base64.b64encode(self.picture).decode()
        return self.widget._repr_mimebundle_() | {"image/png": png, "text/plain": repr(self)}

    def _move(self, change: Any) -> None:
        try:
            self._redraw()
        except ValueError as error:
            # What is raised here would be seen in a log at most.
            self._wipe()
            self._show(str(error), color="firebrick", wrap=True)

    def _redraw(self) -> None:
        self._wipe()
        values = {name: control.value for name, control in self.controls.items()}
        headline, self.shown = self._draw(self._axes, **values)
        self._show(headline)

    def _wipe(self) -> None:
        """Remove what is drawn, and leave the ticks, which take longest to make."""
        for axis in self._axes:
            for container in list(axis.containers):
                container.remove()
            for artist in [*axis.lines, *axis.collections, *axis.patches, *axis.texts]:
                artist.remove()
        for text in list(self._figure.texts):
            text.remove()

    def _show(self, headline: str, **style: Any) -> None:
        self._figure.text(0.5, 0.95, headline, ha="center", va="center", fontsize=12, **style)
        file = io.BytesIO()
        self._figure.savefig(file, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
        self._picture.value = file.getvalue()


def _set_style(axis: Axes) -> None:
    # Axis by axis, since a cell may be changing the style of all figures meanwhile.
    axis.set_facecolor("white")
    axis.grid(True, color="0.9", lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=3, labelsize=9)
    axis.locator_params(nbins=4)


def name_axes(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set the title and the names of both axes."""
    # At a given height, the title is not moved out of the way of ticks, which takes long.
    axis.set_title(title, y=1.02, fontsize=11)
    axis.set_xlabel(xlabel, fontsize=10)
    axis.set_ylabel(ylabel, fontsize=10)


def limits(*values: Any) -> tuple[float, float]:
    """An interval that holds all values, with a margin."""
    joined = np.hstack([np.ravel(each) for each in values])
    low, high = float(np.nanmin(joined)), float(np.nanmax(joined))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def dropdown(description: str, options: Iterable[str | tuple[str, str]]) -> widgets.Dropdown:
    """A choice among values, or pairs of a name and a value; the first is chosen."""
    return widgets.Dropdown(options=list(options), description=description)


def slider(description: str, value: float, high: float) -> widgets.FloatSlider:
    """Numbers from 0 to `high`, a quarter apart."""
    return widgets.FloatSlider(value, min=0.0, max=high, step=0.25, description=description)


def steps(description: str, options: Sequence[int], value: int) -> widgets.SelectionSlider:
    """A slider over these whole numbers."""
    return widgets.SelectionSlider(options=options, value=value, description=description)
