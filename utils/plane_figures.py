"""The figure of an information plane, and its redrawing while a network learns."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .plane_record import PlaneRecord

__all__ = ["LiveView", "plot_information"]

_LABELS = {
    "information_x": "I(X; L)",
    "information_y": "I(L; Y)",
    "information_between": "I(L; next L)",
}
# The most names that a legend or a line of text has room for.
_MAX_NAMES = 12


def plot_information(
    results: Mapping[str, Any], *, rule: str | None = None, label_entropy: float | None = None
) -> Any:
    """Draw each information over the epochs, and the information plane.

    Parameters
    ----------
    results : dict
        From `InformationPlane.results`.
    rule : str or None
        Which rule of estimates; None means the first.
    label_entropy : float or None
        Entropy of the labels in nats, which I(L; Y) cannot exceed.

    Returns
    -------
    matplotlib Figure
        Bands and bars are two standard errors. In the plane, a line joins the epochs of a layer in
        order, from a small dot to a star.
    """
    import matplotlib.pyplot as plt

    if not len(results["epochs"]) or not results["rules"]:
        raise ValueError("nothing was measured so far; measure an epoch first")
    rule = results["rules"][0] if rule is None else rule
    if rule not in results["rules"]:
        raise ValueError(f"rule={rule!r}; choose one of {', '.join(results['rules'])}")
    at = results["rules"].index(rule)
    measured = PlaneRecord.measured_information(results)
    has_plane = {"information_x", "information_y"} <= set(measured)
    n_panels = len(measured) + has_plane
    figure, axes = plt.subplots(
        1, n_panels, figsize=(4.2 * n_panels + 1.6, 3.8), squeeze=False, layout="constrained"
    )
    layers = results["layers"]
    colors = plt.get_cmap("viridis")(np.linspace(0.0, 0.92, len(layers)))
    for axis, quantity in zip(axes[0], measured, strict=False):
        _draw_over_epochs(axis, results, quantity, at, colors)
    if label_entropy is not None and "information_y" in measured:
        axis = axes[0, measured.index("information_y")]
        # Only if it is near the curves: far above, it would flatten them.
        if axis.get_ylim()[1] > 0.7 * label_entropy:
            axis.axhline(label_entropy, color="0.3", lw=0.8, ls="--")
            axis.annotate(
                "entropy of the labels",
                (0.02, label_entropy),
                xycoords=("axes fraction", "data"),
                fontsize="small",
                va="bottom",
            )
    if has_plane:
        _draw_plane(axes[0, -1], results, at, colors)
    handles = axes[0, 0].get_lines()[: len(layers)]
    shown = np.unique(np.linspace(0, len(layers) - 1, _MAX_NAMES).round().astype(int))
    axes[0, -1].legend(
        [handles[i] for i in shown],
        [layers[i] for i in shown],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title="layer" if len(shown) == len(layers) else f"{len(shown)} of {len(layers)} layers",
        frameon=False,
    )
    if _in_notebook():
        # Else it would be shown twice: as the value of the cell, and as an open figure.
        plt.close(figure)
    return figure


def _draw_over_epochs(axis, results, quantity, at, colors):
    epochs = results["epochs"]
    for j, (layer, color) in enumerate(zip(results["layers"], colors, strict=True)):
        value, error = results[quantity][at, j], 2.0 * results[f"{quantity}_error"][at, j]
        axis.plot(epochs, value, color=color, marker="o", ms=3, lw=1.4, label=layer)
        axis.fill_between(epochs, value - error, value + error, color=color, alpha=0.15, lw=0)
    axis.set(xlabel="epoch", ylabel="nat", title=_LABELS[quantity])
    axis.xaxis.get_major_locator().set_params(integer=True)


def _draw_plane(axis, results, at, colors):
    for j, color in enumerate(colors):
        x, y = results["information_x"][at, j], results["information_y"][at, j]
        axis.errorbar(
            x,
            y,
            xerr=2.0 * results["information_x_error"][at, j],
            yerr=2.0 * results["information_y_error"][at, j],
            color=color,
            marker=".",
            ms=4,
            lw=0.9,
            elinewidth=0.3,
        )
        axis.plot(x[-1:], y[-1:], marker="*", ms=11, color=color, mec="black", mew=0.6)
    axis.set(xlabel="I(X; L) (nat)", ylabel="I(L; Y) (nat)", title="information plane")


class LiveView:
    """Shows a plane after every measured epoch: one figure in a notebook, else a line of text."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, plane: Any) -> None:
        """Show the plane as it is now."""
        results = plane.results()
        if not results["rules"]:
            return
        if not _in_notebook():
            tqdm.write(_line(results))
            return
        from IPython.display import Image, display

        # Each picture replaces the last one: no output is cleared, nothing flickers.
        buffer = io.BytesIO()
        plane.plot().savefig(buffer, format="png", dpi=80)
        picture = Image(data=buffer.getvalue(), format="png")
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def _line(results):
    """The last epoch in one line."""
    measured = PlaneRecord.measured_information(results)
    layers = results["layers"]
    parts = [
        f"{layer} " + " / ".join(_short(results[quantity][0, j, -1]) for quantity in measured)
        for j, layer in enumerate(layers[:_MAX_NAMES])
    ]
    if len(layers) > _MAX_NAMES:
        parts.append(f"and {len(layers) - _MAX_NAMES} more")
    names = " / ".join(_LABELS[quantity] for quantity in measured)
    return f"epoch {results['epochs'][-1]}, {names} in nat: {', '.join(parts)}"


def _short(value):
    return "-" if np.isnan(value) else f"{value:.3f}"


def _in_notebook():
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"
