"""Figure 3: what layers know, over a training; and the training itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .style import index_of, styled

__all__ = [
    "plot_images",
    "plot_information_over_epochs",
    "plot_information_planes",
    "plot_metrics",
]

_IMPOSSIBLE: dict[str, Any] = {"color": "firebrick", "alpha": 0.12, "lw": 0, "zorder": 0}
_IMPOSSIBLE_LABEL = "values that no information can have"
_AXIS_LABELS = {"information_x": "I(X; L), image (nat)", "information_y": "I(L; Y), label (nat)"}
_BARS: dict[str, Any] = {"color": "0.7", "lw": 1.0}


@styled
def plot_information_planes(
    rows: Mapping[str, Mapping[str, Any]],
    *,
    layers: Sequence[str],
    rule: str,
    title: str,
    label_entropy: float | None = None,
    share_axes: bool = True,
    smoothing: float = 0.0,
) -> Figure:
    """Figure 3: I(L; Y) against I(X; L); one row per way of measuring, one column per layer.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by row title.
    layers : sequence of str
        The layers to show.
    rule : str
        The weight rule to show.
    title : str
    label_entropy : float or None
        Entropy of the labels in nats, which I(L; Y) cannot exceed.
    share_axes : bool
        Whether the panels of a row share their axes, so that layers that hardly change look like
        it. If false, each panel is zoomed in on its own values.
    smoothing : float
        Standard deviation, in measured epochs, of a Gaussian filter over the curves; 0 for none.

    Returns
    -------
    matplotlib Figure
        One point per epoch, coloured by epoch, with bars of two standard errors. A star marks the
        last epoch, a ring the turn of I(X; L): its largest value, if it then falls by more than two
        standard errors. Values that no information can have are shaded.

    Raises
    ------
    ValueError
        If nothing was measured, or a layer or the rule is not in the results.
    """
    _check_measured(rows)
    figure, axes = plt.subplots(
        len(rows),
        len(layers),
        figsize=(2.9 * len(layers) + 1.2, 2.9 * len(rows) + 1.0),
        squeeze=False,
        sharex="row" if share_axes else False,
        sharey="row" if share_axes else False,
    )
    figure.suptitle(title)
    norm = plt.Normalize(
        min(results["epochs"][0] for results in rows.values()),
        max(results["epochs"][-1] for results in rows.values()),
    )
    shaded = False
    for row, (name, results) in zip(axes, rows.items(), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            points = _draw_plane(axis, results, layer, rule, norm, smoothing)
        for axis in row:
            axis.xaxis.set_major_locator(plt.MaxNLocator(4))
            shaded |= _mark_impossible(axis, label_entropy=label_entropy, x_is_information=True)
        row[0].set_ylabel(f"{name}\n\n{_AXIS_LABELS['information_y']}")
    for axis in axes[-1]:
        axis.set_xlabel(_AXIS_LABELS["information_x"])
    turns = any(axis.texts for axis in axes.ravel())
    handles = [
        _marker("*", 13, "last epoch"),
        *([_marker("o", 11, "turn of I(X; L), with its epoch")] if turns else []),
        Line2D([], [], **_BARS, label="two standard errors"),
        *([Patch(**_IMPOSSIBLE, label=_IMPOSSIBLE_LABEL)] if shaded else []),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    ticks = plt.MaxNLocator(6, integer=True)
    figure.colorbar(points, ax=axes, label="epoch", pad=0.01, ticks=ticks)
    return figure


def _draw_plane(axis, results, layer, rule, norm, smoothing):
    at = _place(results, layer, rule)
    x, y = (_smoothed(results[name][at], smoothing) for name in _AXIS_LABELS)
    x_error, y_error = (results[f"{name}_error"][at] for name in _AXIS_LABELS)
    axis.errorbar(
        x,
        y,
        xerr=2.0 * x_error,
        yerr=2.0 * y_error,
        color="0.7",
        lw=0.8,
        elinewidth=0.5,
        errorevery=max(1, len(x) // 25),
        zorder=1,
    )
    points = axis.scatter(x, y, c=results["epochs"], cmap="viridis", norm=norm, s=16, zorder=2)
    axis.scatter(x[-1:], y[-1:], marker="*", s=130, fc="none", ec="black", zorder=4)
    turn = _turn(x, x_error)
    if turn is not None:
        axis.scatter(x[turn], y[turn], s=90, fc="none", ec="black", lw=1.2, zorder=3)
        axis.annotate(
            f"{results['epochs'][turn]}",
            (x[turn], y[turn]),
            xytext=(7, -9),
            textcoords="offset points",
            fontsize="small",
        )
    n_gaps = np.count_nonzero(np.isnan(x + y))
    axis.set_title(f"{layer}, {n_gaps} epochs not measured" if n_gaps else layer)
    return points


def _turn(values, errors):
    """The epoch of the largest value, if values then fall by more than two standard errors."""
    if not np.isfinite(values).any():
        return None
    top = int(np.nanargmax(values))
    fall = values[top] - values[-1]
    is_inside = 0 < top < len(values) - 1
    return top if is_inside and fall > 2.0 * np.hypot(errors[top], errors[-1]) else None


@styled
def plot_information_over_epochs(
    rows: Mapping[str, Mapping[str, Any]],
    *,
    rule: str,
    title: str,
    label_entropy: float | None = None,
    smoothing: float = 0.0,
) -> Figure:
    """I(X; L) and I(L; Y) of every layer by epoch, with bands of two standard errors.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by row title.
    rule, title, label_entropy, smoothing
        As for `plot_information_planes`.

    Returns
    -------
    matplotlib Figure
        The last layer has panels of its own. Values that no information can have are shaded.

    Raises
    ------
    ValueError
        If nothing was measured, or the rule is not in the results.
    """
    _check_measured(rows)
    layers = next(iter(rows.values()))["layers"]
    # The last layer often holds probabilities, whose values are far from those of the others.
    groups = [layers[:-1], layers[-1:]] if len(layers) > 1 else [layers]
    panels = [(quantity, group) for quantity in _AXIS_LABELS for group in groups]
    figure, axes = plt.subplots(
        len(rows),
        len(panels),
        figsize=(4.0 * len(panels), 3.4 * len(rows) + 0.5),
        sharex=True,
        squeeze=False,
    )
    figure.suptitle(title)
    colors = dict(zip(layers, sns.color_palette("viridis", len(layers)), strict=True))
    shaded = False
    for row, (name, results) in zip(axes, rows.items(), strict=True):
        for axis, (quantity, group) in zip(row, panels, strict=True):
            for layer in group:
                at = _place(results, layer, rule)
                value = _smoothed(results[quantity][at], smoothing)
                error = 2.0 * results[f"{quantity}_error"][at]
                epochs, color = results["epochs"], colors[layer]
                axis.plot(epochs, value, color=color, lw=1.4, label=layer)
                axis.fill_between(
                    epochs, value - error, value + error, color=color, alpha=0.2, lw=0
                )
            limit = label_entropy if quantity == "information_y" else None
            shaded |= _mark_impossible(axis, label_entropy=limit)
            shown = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
            axis.set(ylabel=_AXIS_LABELS[quantity], title=f"{name}\n{shown}")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    handles = [line for axis in axes[0, : len(groups)] for line in axis.get_lines()]
    handles.append(Patch(color="0.7", lw=0, label="band: two\nstandard errors"))
    if shaded:
        handles.append(Patch(**_IMPOSSIBLE, label="values that no\ninformation can have"))
    axes[0, -1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def plot_metrics(history: Mapping[str, Any], *, title: str) -> Figure:
    """Loss, accuracy and ROC AUC by epoch.

    Parameters
    ----------
    history : dict of str to array
        From `train_classifier`.
    title : str

    Returns
    -------
    matplotlib Figure
    """
    names = {"loss": "loss (nat)", "accuracy": "accuracy", "roc_auc": "ROC AUC, one against one"}
    parts = {
        "train": "training images, with dropout",
        "train_eval": "training images, without dropout",
        "test": "test images, without dropout",
    }
    figure, axes = plt.subplots(1, len(names), figsize=(12.0, 3.6))
    figure.suptitle(title)
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for part, part_label in parts.items():
            if f"{part}_{name}" in history:
                values = history[f"{part}_{name}"]
                axis.plot(np.arange(1, len(values) + 1), values, label=part_label)
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[-1].legend(loc="lower right")
    return figure


@styled
def plot_images(
    rows: Mapping[str, np.ndarray], *, title: str, labels: Sequence[Any] | None = None
) -> Figure:
    """Rows of images, such as originals and their reconstructions.

    Parameters
    ----------
    rows : dict of str to array, shape (n, height, width)
        Images by row title, the same number in every row.
    title : str
    labels : sequence or None
        One label per column.

    Returns
    -------
    matplotlib Figure
    """
    n_images = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(rows), n_images, figsize=(0.9 * n_images + 0.8, 0.9 * len(rows) + 0.7), squeeze=False
    )
    figure.suptitle(title)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image, cmap="gray_r")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    if labels is not None:
        for axis, label in zip(axes[0], labels, strict=True):
            axis.set_title(f"{label}")
    return figure


def _marker(marker, size, label):
    return Line2D([], [], ls="", marker=marker, ms=size, mfc="none", mec="black", label=label)


def _check_measured(rows):
    for name, results in rows.items():
        if len(results["epochs"]) == 0:
            raise ValueError(f"rows[{name!r}] holds no measured epoch; measure one first")


def _place(results, layer, rule):
    return index_of(rule, results["rules"], "rule"), index_of(layer, results["layers"], "layer")


def _smoothed(values, smoothing):
    if not smoothing >= 0:
        raise ValueError(f"smoothing={smoothing!r}; give a number of epochs, 0 for none")
    if smoothing == 0:
        return values
    from scipy.ndimage import gaussian_filter1d

    # An epoch that was not measured has no weight in the means of the others.
    known = np.isfinite(values)
    sums, weights = gaussian_filter1d(
        np.stack([np.where(known, values, 0.0), known]), smoothing, mode="nearest"
    )
    return np.divide(sums, weights, out=np.full(len(values), np.nan), where=known)


def _mark_impossible(axis: Axes, *, label_entropy, x_is_information=False) -> bool:
    """Shade I < 0, and I(L; Y) above the entropy of the labels, where the axes show it."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    exceeds = label_entropy is not None and top > label_entropy
    if x_is_information and left < 0:
        axis.axvspan(left, min(0.0, right), **_IMPOSSIBLE)
    if bottom < 0:
        axis.axhspan(bottom, min(0.0, top), **_IMPOSSIBLE)
    if exceeds:
        axis.axhspan(max(label_entropy, bottom), top, **_IMPOSSIBLE)
        axis.axhline(label_entropy, color="firebrick", lw=0.8, ls="--")
    axis.set_ylim(bottom, top)
    if x_is_information:
        axis.set_xlim(left, right)
    return exceeds or bottom < 0 or (x_is_information and left < 0)
