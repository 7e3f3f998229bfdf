"""Sliders above a picture, to play with sliced mutual information in a notebook.

Each function here returns an `Explorer`. As the last line of a cell it shows itself: with its
sliders in a running notebook, as a picture of its state on a page that runs nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .estimators import KSG, WKL, Copula, Gaussian
from .experiments import DISTRIBUTIONS
from .slicing import SMICompressor
from .smi import mutual_information_of_slices, sliced_mutual_information
from .synthetic import CorrelatedNormal

__all__ = ["Explorer", "explore_smi"]

# The colours of `utils.plotting`, without the second that seaborn takes to be imported.
_BLUE, _ORANGE, _GREY = "#0173b2", "#de8f05", "#949494"
_WIDTH, _HEIGHT, _DPI = 1000, 340, 100
_DIMS = (1, 2, 3, 5, 10, 20, 50)
_ESTIMATORS = {
    "Copula": Copula(),
    "KSG": KSG(),
    "WKL": WKL(),
    "Gaussian": Gaussian(),
}
_N_SHOWN = 20
_LARGEST_MI = 5.0
_MI_LABELS = {
    "sign-flipped": "MI before the signs are flipped (nat)",
    "squared": "MI of a linear relation with as much noise (nat)",
}


class Explorer:
    """Controls above one picture, which is drawn anew when a control moves.

    Parameters
    ----------
    controls : dict of str to ipywidgets widget
        Each with a `value`.
    draw : callable
        `draw(axes, **values)` gets cleared axes and the value of each control by its name, and
        returns what it has drawn.

    Attributes
    ----------
    controls : dict
        As given. Setting `explorer.controls[name].value` is the same as moving the slider.
    widget : ipywidgets.VBox
        The controls and the picture.
    shown : dict
        What `draw` returned last.
    """

    def __init__(
        self,
        controls: dict[str, Any],
        draw: Callable[..., dict[str, Any]],
        *,
        n_panels: int = 3,
    ):
        self.controls = controls
        self.shown: dict[str, Any] = {}
        self._draw = draw
        # Not by pyplot, which would keep every figure, and show it once more below the cell.
        self._figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        self._axes = self._figure.subplots(1, n_panels)
        for axis in self._axes:
            _set_style(axis)
        self._figure.subplots_adjust(left=0.065, right=0.985, bottom=0.15, top=0.9, wspace=0.26)
        # A picture is replaced in one step: nothing flickers, nothing on the page moves.
        size = {"width": f"{_WIDTH}px", "height": f"{_HEIGHT}px", "max_width": "100%"}
        self._picture = widgets.Image(
            format="png", layout=widgets.Layout(object_fit="contain", **size)
        )
        row = widgets.HBox(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([row, self._picture])
        self._redraw()
        for control in controls.values():
            control.observe(self._redraw, names="value")

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={getattr(control, 'label', None) or control.value}"
            for name, control in self.controls.items()
        )
        return f"Explorer({values})"

    @property
    def picture(self) -> bytes:
        """The picture of the present state, a PNG file."""
        return self._picture.value

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        # In one bundle, of which a running notebook takes the widget and all others the picture.
        png = base64.b64encode(self.picture).decode()
        view = self.widget._repr_mimebundle_()
        return view | {"image/png": png, "text/plain": repr(self)}

    def _redraw(self, change: Any = None) -> None:
        for axis in self._axes:
            _wipe(axis)
        values = {name: control.value for name, control in self.controls.items()}
        self.shown = self._draw(self._axes, **values)
        file = io.BytesIO()
        self._figure.savefig(file, format="png", dpi=_DPI)
        self._picture.value = file.getvalue()


def explore_smi() -> Explorer:
    """Sliced mutual information of data whose mutual information is known.

    Left the samples in one slice, in the middle the information of all slices, right the estimate
    with bars of two standard errors, against the exact value where it is known.

    Returns
    -------
    Explorer
        Controls: "distribution", "mutual_information" (nat), "dim", "n_samples", "n_projections",
        "estimator" and "slice", the one that is drawn.

    Examples
    --------
    >>> explore_smi()
    """
    controls = {
        "distribution": _dropdown("data", list(DISTRIBUTIONS)),
        "mutual_information": widgets.FloatSlider(
            2.0, min=0.0, max=_LARGEST_MI, step=0.25, description="MI (nat)"
        ),
        "dim": _steps("dimension", _DIMS, 3),
        "n_samples": _steps("samples", (100, 200, 500, 1000, 2000, 5000), 1000),
        "n_projections": _steps("slices", (20, 50, 100, 200, 500, 1000), 200),
        "estimator": _dropdown("estimator", list(_ESTIMATORS.items())),
        "slice": widgets.IntSlider(1, min=1, max=_N_SHOWN, description="slice drawn"),
    }
    return Explorer(controls, _draw_smi)


def _draw_smi(
    axes: Any,
    *,
    distribution: str,
    mutual_information: float,
    dim: int,
    n_samples: int,
    n_projections: int,
    estimator: Any,
    slice: int,
) -> dict[str, Any]:
    pair = DISTRIBUTIONS[distribution](mutual_information, dim, dim, rng=0)
    x, y = pair.sample(n_samples, rng=1)
    options = {"estimator": estimator, "rng": 2}
    smi = sliced_mutual_information(x, y, n_projections=n_projections, **options)
    x_slice, y_slice = (
        SMICompressor(dim, _N_SHOWN, rng=seed)(samples)[slice - 1 : slice]
        for seed, samples in ((3, x), (4, y))
    )
    of_slice = mutual_information_of_slices(x_slice, y_slice, **options).value
    exact = pair.sliced_mutual_information
    _draw_slice(axes[0], x_slice[0], y_slice[0], f"slice {slice}: {of_slice:.3f} nat", _ORANGE)

    counts, edges = np.histogram(smi.per_slice, bins=30)
    axes[1].stairs(counts, edges, fill=True, color=_BLUE, alpha=0.5)
    axes[1].axvline(of_slice, color=_ORANGE, label=f"slice {slice}")
    axes[1].axvline(smi.value, color=_BLUE, label="SMI, the mean")
    _label(
        axes[1], f"information in {n_projections} slices", "information of a slice (nat)", "slices"
    )
    axes[1].set(xlim=_range(edges), ylim=(0.0, 1.1 * counts.max()))
    axes[1].legend(loc="upper right", fontsize=9)

    values, curve = _normal_smi(dim)
    what = "exact SMI" if exact is not None else "SMI of normal data"
    axes[2].plot(values, curve, color="black", lw=1, ls="--", label=what)
    _draw_estimate(axes[2], mutual_information, smi)
    highest = max(curve[-1], smi.value + 2.0 * smi.std_error)
    title = f"SMI: {smi.value:.3f} +- {smi.std_error:.3f} nat"
    title += "" if exact is None else f", exact {exact:.3f}"
    _label(axes[2], title, _MI_LABELS.get(distribution, "MI (nat)"), "SMI (nat)")
    axes[2].set(
        xlim=(-0.1, _LARGEST_MI + 0.1),
        ylim=(min(-0.05 * highest, smi.value - 3.0 * smi.std_error), 1.3 * highest),
    )
    axes[2].legend(loc="upper left", fontsize=9)
    return {"estimate": smi, "exact": exact, "slice": of_slice}


@cache
def _normal_smi(dim):
    """Exact SMI of normal data over their MI: two arrays."""
    values = np.linspace(0.0, _LARGEST_MI, 21)
    pairs = [CorrelatedNormal(value, dim, dim) for value in values]
    return values, np.array([pair.sliced_mutual_information for pair in pairs])


def _set_style(axis: Axes) -> None:
    # Axis by axis, since a cell may be changing the style of all figures meanwhile.
    axis.set_facecolor("white")
    axis.grid(True, color="0.9", lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=3, labelsize=9)
    axis.locator_params(nbins=5)


def _wipe(axis: Axes) -> None:
    """Remove what is drawn, and leave the ticks: to make them anew takes longer than the rest."""
    for container in list(axis.containers):
        container.remove()
    for artist in [*axis.lines, *axis.collections, *axis.patches, *axis.texts]:
        artist.remove()


def _label(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    # At a given height, the title is not moved out of the way of ticks, which takes long.
    axis.set_title(title, y=1.02, fontsize=11)
    axis.set_xlabel(xlabel, fontsize=10)
    axis.set_ylabel(ylabel, fontsize=10)


def _draw_slice(axis: Axes, x: np.ndarray, y: np.ndarray, title: str, color: str) -> None:
    axis.plot(x, y, ".", ms=3, alpha=0.5, color=color)
    _label(axis, title, "slice of x", "slice of y")
    axis.set(xlim=_range(x), ylim=_range(y))


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _draw_estimate(axis: Axes, position: float, smi: Any) -> None:
    """A point with bars of two standard errors, and what permuted samples give."""
    if np.isfinite(smi.independent_value):
        error = 2.0 * smi.independent_error
        low, high = smi.independent_value - error, smi.independent_value + error
        axis.axhspan(low, high, color=_GREY, alpha=0.4, lw=0, label="permuted samples")
    axis.errorbar(
        position, smi.value, 2.0 * smi.std_error, fmt="o", ms=5, color=_BLUE, label="estimate"
    )


def _dropdown(description: str, options: list[Any]) -> widgets.Dropdown:
    return widgets.Dropdown(options=options, description=description)


def _steps(description: str, options: tuple[int, ...], value: int) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(options=options, value=value, description=description)
