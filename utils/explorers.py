"""Sliders above a picture, to play with sliced mutual information in a notebook.

Each function here returns an `Explorer`. As the last line of a cell it shows itself: with its
sliders in a running notebook, as a picture on a page where nothing runs.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .estimators import KSG, WKL, Copula, Gaussian
from .experiments import DISTRIBUTIONS
from .slicing import SMICompressor
from .smi import mutual_information_of_slices, sliced_mutual_information
from .synthetic import CorrelatedNormal
from .validation import (
    as_array,
    as_continuous,
    as_generator,
    as_labels,
    as_samples,
    check_paired,
)

__all__ = [
    "Explorer",
    "explore_misleading",
    "explore_slices",
    "explore_smi",
    "explore_training",
]

# The colours of `utils.plotting`, without the second that seaborn takes to be imported.
_BLUE, _ORANGE, _GREEN, _GREY = "#0173b2", "#de8f05", "#029e73", "#949494"
_WIDTH, _HEIGHT, _DPI = 1000, 340, 100
_ESTIMATORS = {kind.__name__: kind() for kind in (Copula, KSG, WKL, Gaussian)}
_DIMS = (1, 2, 3, 5, 10, 20, 50)
_REPETITIONS = (1, 2, 3, 5, 10, 20)
_SAMPLES = (100, 200, 500, 1000, 2000, 5000)
_SLICES = (20, 50, 100, 200, 500, 1000)
_N_SHOWN = 20  # slices to choose the one that is drawn from
_MAX_MI = 5.0
_MAX_MISLEADING_MI = 10.0
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
        `draw(axes, **values)` gets empty axes and the value of each control by its name, and
        returns a dict of what it has drawn.
    n_panels : int
        How many axes, side by side.

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
        self._axes = self._figure.subplots(1, n_panels, squeeze=False)[0]
        self._figure.subplots_adjust(left=0.065, right=0.985, bottom=0.15, top=0.9, wspace=0.26)
        for axis in self._axes:
            _set_style(axis)
        # A picture is replaced in one step: nothing flickers, nothing on the page moves.
        size = {"width": f"{_WIDTH}px", "height": f"{_HEIGHT}px", "max_width": "100%"}
        self._picture = widgets.Image(
            format="png", layout=widgets.Layout(object_fit="contain", **size)
        )
        row = widgets.HBox(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([row, self._picture])
        self._redraw()
        for control in controls.values():
            control.observe(self._move, names="value")

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

    def _move(self, change: Any) -> None:
        try:
            self._redraw()
        except ValueError as error:
            # What is raised here would be seen in a log at most.
            self._wipe()
            self._figure.text(0.5, 0.5, str(error), ha="center", color="firebrick", wrap=True)
            self._show()

    def _redraw(self) -> None:
        self._wipe()
        values = {name: control.value for name, control in self.controls.items()}
        self.shown = self._draw(self._axes, **values)
        self._show()

    def _wipe(self) -> None:
        """Remove what is drawn, and leave the ticks, which take longest to make."""
        for axis in self._axes:
            for container in list(axis.containers):
                container.remove()
            for artist in [*axis.lines, *axis.collections, *axis.patches, *axis.texts]:
                artist.remove()
        for text in list(self._figure.texts):
            text.remove()

    def _show(self) -> None:
        file = io.BytesIO()
        self._figure.savefig(file, format="png", dpi=_DPI)
        self._picture.value = file.getvalue()


def explore_smi() -> Explorer:
    """Sliced mutual information of data whose mutual information is known.

    Left the samples in one slice, in the middle the information of all slices, right the estimate
    with bars of two standard errors, and the exact value where it is known.

    Returns
    -------
    Explorer
        Controls: "distribution", "mutual_information" (nat), "dim", "n_samples", "n_projections",
        "estimator", and "slice_number", which of 20 slices is drawn. Shown: "estimate", "exact"
        and "slice".

    Examples
    --------
    >>> explore_smi()
    """
    controls = {
        "distribution": _dropdown("data", DISTRIBUTIONS),
        "mutual_information": _slider("MI (nat)", 2.0, 0.0, _MAX_MI),
        "dim": _steps("dimension", _DIMS, 3),
        "n_samples": _steps("samples", _SAMPLES, 1000),
        "n_projections": _steps("slices", _SLICES, 200),
        "estimator": _dropdown("estimator", _ESTIMATORS),
        "slice_number": widgets.IntSlider(1, min=1, max=_N_SHOWN, description="slice drawn"),
    }
    return Explorer(controls, _draw_smi)


def _draw_smi(
    axes,
    *,
    distribution,
    mutual_information,
    dim,
    n_samples,
    n_projections,
    estimator,
    slice_number,
):
    pair = DISTRIBUTIONS[distribution](mutual_information, dim, dim, rng=0)
    x, y = pair.sample(n_samples, rng=1)
    estimator = _ESTIMATORS[estimator]
    smi = sliced_mutual_information(x, y, estimator=estimator, n_projections=n_projections, rng=2)
    of_slice = slice(slice_number - 1, slice_number)
    x_slice, y_slice = (
        SMICompressor(dim, _N_SHOWN, rng=seed)(samples)[of_slice]
        for seed, samples in ((3, x), (4, y))
    )
    value = mutual_information_of_slices(x_slice, y_slice, estimator=estimator, rng=5).value
    exact = pair.sliced_mutual_information

    _draw_slice(axes[0], x_slice[0], y_slice[0], _ORANGE)
    axes[0].set_title(f"slice {slice_number}: {value:.3f} nat")

    counts, edges = np.histogram(smi.per_slice, bins=30)
    axes[1].stairs(counts, edges, fill=True, color=_BLUE, alpha=0.5)
    axes[1].axvline(value, color=_ORANGE, label=f"slice {slice_number}")
    axes[1].axvline(smi.value, color=_BLUE, label="SMI, the mean")
    _label(axes[1], f"{n_projections} slices", "information in a slice (nat)", "slices")
    axes[1].set(xlim=_limits(edges, value), ylim=(0.0, 1.1 * counts.max()))
    axes[1].legend(loc="upper right", fontsize=9)

    curve = _normal_smi(dim)
    what = "exact SMI" if exact is not None else "exact SMI of normal data"
    axes[2].plot(*curve, color="black", lw=1, ls="--", label=what)
    _draw_estimate(axes[2], mutual_information, smi)
    known = "" if exact is None else f", exact {exact:.3f}"
    _label(
        axes[2],
        f"SMI {smi.value:.3f} +- {smi.std_error:.3f}{known} nat",
        _MI_LABELS.get(distribution, "MI (nat)"),
        "SMI (nat)",
    )
    bar = 2.0 * smi.std_error
    low, high = _limits(curve[1], smi.value - bar, smi.value + bar)
    axes[2].set(xlim=(-0.1, _MAX_MI + 0.1), ylim=(low, high + 0.3 * (high - low)))
    axes[2].legend(loc="upper left", fontsize=9)
    return {"estimate": smi, "exact": exact, "slice": value}


@cache
def _normal_smi(dim):
    """Exact SMI of normal data over their MI: two arrays."""
    values = np.linspace(0.0, _MAX_MI, 21)
    pairs = [CorrelatedNormal(value, dim, dim) for value in values]
    return values, np.array([pair.sliced_mutual_information for pair in pairs])


def explore_misleading() -> Explorer:
    """Three ways in which sliced mutual information is not mutual information.

    x and y share one coordinate, of known MI. Each has more coordinates of pure noise, and the
    shared one may be repeated; neither changes the MI. Solid black is MI, dashed the exact SMI,
    and the point an estimate with bars of two standard errors.

    Returns
    -------
    Explorer
        Controls: "mutual_information" (nat), "repetitions" of the shared coordinate, and "dim", the
        number of different coordinates of each. Shown: "estimate" and "exact".

    Examples
    --------
    >>> explore_misleading()
    """
    controls = {
        "mutual_information": _slider("MI (nat)", 1.0, 0.0, _MAX_MISLEADING_MI),
        "repetitions": _steps("repetitions", _REPETITIONS, 1),
        "dim": _steps("dimension", _DIMS, 5),
    }
    return Explorer(controls, _draw_misleading)


def _draw_misleading(axes, *, mutual_information, repetitions, dim):
    generators = as_generator(0).spawn(3)
    shared = CorrelatedNormal(mutual_information, 1, 1, rng=0).sample(1000, rng=generators[0])
    x, y = (
        np.hstack([np.tile(column, repetitions), rng.standard_normal((len(column), dim - 1))])
        for column, rng in zip(shared, generators[1:], strict=True)
    )
    smi = sliced_mutual_information(x, y, n_projections=200, rng=1)
    state = (mutual_information, repetitions, dim)
    exact = _repeated_smi(*state)
    panels = (
        ("More MI: SMI goes flat", "MI (nat)", np.linspace(0.0, _MAX_MISLEADING_MI, 41)),
        ("Repeated coordinate: SMI grows", "repetitions", np.array(_REPETITIONS)),
        ("More noise: SMI shrinks", "dimension", np.array(_DIMS)),
    )
    for at, (axis, (title, xlabel, values)) in enumerate(zip(axes, panels, strict=True)):
        curve = [_repeated_smi(*state[:at], value, *state[at + 1 :]) for value in values]
        truth = values if at == 0 else np.full(len(values), mutual_information)
        axis.plot(values, truth, color="black", lw=1, label="MI")
        axis.plot(values, curve, color=_BLUE, lw=1, ls="--", label="exact SMI")
        _draw_estimate(axis, state[at], smi)
        if axis.get_yscale() == "linear":
            # Linear to 0.001 nat, where noise may be negative; logarithmic above.
            axis.set_yscale("symlog", linthresh=1e-3)
        _label(axis, title, xlabel, "nat")
        axis.set(xlim=_limits(values), ylim=(-1e-3, 15.0))
    axes[2].legend(loc="lower right" if exact > 0.03 else "center right", fontsize=9)
    return {"estimate": smi, "exact": exact}


def _repeated_smi(mutual_information, repetitions, dim):
    """Exact SMI of `dim` normal coordinates of each, one of them shared and repeated.

    A slice is normal with correlation r s t, where s^2 = n w / (n w + 1 - w) is the part of the
    slice's variance that its n repetitions have, w ~ Beta(1/2, (dim - 1)/2), and t the same of y.
    With w = sin^2 a the integrals are smooth.
    """
    if dim == 1:
        return mutual_information
    nodes, weights = np.polynomial.legendre.leggauss(100)
    angles = 0.25 * math.pi * (nodes + 1.0)
    weights = weights * np.cos(angles) ** (dim - 2)
    weights /= weights.sum()
    part = repetitions * np.sin(angles) ** 2
    part /= part + np.cos(angles) ** 2
    correlation = CorrelatedNormal(mutual_information, 1, 1, rng=0).correlation
    return float(-0.5 * weights @ np.log1p(-(correlation**2) * np.outer(part, part)) @ weights)


def explore_training(
    rows: Mapping[str, Mapping[str, Any]], *, history: Mapping[str, Any] | None = None
) -> Explorer:
    """The information plane, epoch by epoch.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by title, a panel each; all of the same layers and
        weight rules. The slider has the epochs that all of them have.
    history : dict of str to array or None
        Loss and accuracy over the epochs, from `train_classifier`, for one more panel.

    Returns
    -------
    Explorer
        Controls: "epoch", with a play button, "rule" and "layers".

    Raises
    ------
    ValueError
        If there are no rows, or they differ in their layers or rules or have no epoch in common.

    Examples
    --------
    >>> explore_training({"SMI": plane.results()}, history=history)
    """
    if not rows:
        raise ValueError("rows is empty; give at least one result of an information plane")
    first = next(iter(rows.values()))
    for name, results in rows.items():
        for axis in ("layers", "rules"):
            if list(results[axis]) != list(first[axis]):
                raise ValueError(
                    f"rows[{name!r}] has {axis} {results[axis]} and others have {first[axis]}; "
                    f"give results of the same network and weight rules"
                )
    epochs = sorted(set.intersection(*(set(map(int, row["epochs"])) for row in rows.values())))
    if not epochs:
        raise ValueError(f"{list(rows)} have no epoch in common; give results of one training")
    layers = list(first["layers"])
    controls = {
        "epoch": _steps("epoch", epochs, epochs[-1]),
        "rule": widgets.Dropdown(options=list(first["rules"]), description="weights"),
        "layers": widgets.SelectMultiple(
            options=layers, value=layers, rows=len(layers), description="layers"
        ),
    }

    def draw(axes, *, epoch, rule, layers):
        for axis, (name, results) in zip(axes, rows.items(), strict=False):
            _draw_plane(axis, name, results, epoch, rule, layers)
        if history is not None:
            _draw_history(axes[-1], history, epoch)
        return {"epoch": epoch}

    explorer = Explorer(controls, draw, n_panels=len(rows) + (history is not None))
    play = widgets.Play(min=0, max=len(epochs) - 1, value=len(epochs) - 1, interval=250)
    widgets.jslink((play, "value"), (controls["epoch"], "index"))
    row = explorer.widget.children[0]
    row.children = (play, *row.children)
    return explorer


def _draw_plane(axis, name, results, epoch, rule, layers):
    """The way of each layer up to an epoch, and faintly the rest of it."""
    last = np.searchsorted(results["epochs"], epoch)
    colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(results["layers"])))
    ends = []
    for layer in layers:
        row = list(results["layers"]).index(layer)
        at = list(results["rules"]).index(rule), row
        x, y = results["information_x"][at], results["information_y"][at]
        ends += [(x[~np.isnan(x)], y[~np.isnan(y)])]
        axis.plot(x, y, color=colors[row], lw=1, alpha=0.25)
        axis.plot(x[: last + 1], y[: last + 1], color=colors[row], lw=1.5)
        bars = {f"{side}err": 2.0 * results[f"information_{side}_error"][at][last] for side in "xy"}
        axis.errorbar(x[last], y[last], **bars, color=colors[row], fmt="o", ms=5, elinewidth=1)
        axis.annotate(
            layer, (x[last], y[last]), (5, 4), textcoords="offset points", fontsize=9, clip_on=True
        )
    _label(axis, f"{name}, epoch {epoch}", "I(X; L) (nat)", "I(L; Y) (nat)")
    if ends:
        axis.set(
            xlim=_limits(*(x for x, _ in ends), margin=0.12),
            ylim=_limits(*(y for _, y in ends), margin=0.12),
        )


def _draw_history(axis, history, epoch):
    names = {"loss": "loss (nat)", "accuracy": "accuracy", "roc_auc": "ROC AUC"}
    for (name, label), color in zip(names.items(), (_BLUE, _ORANGE, _GREEN), strict=True):
        values = np.asarray(history[f"test_{name}"])
        epochs = np.arange(1, len(values) + 1)
        at = min(max(epoch, 1), len(values)) - 1
        axis.plot(epochs, values, color=color, lw=1, alpha=0.25)
        axis.plot(
            epochs[: at + 1], values[: at + 1], color=color, label=f"{label}: {values[at]:.3f}"
        )
        axis.plot(epochs[at], values[at], "o", color=color, ms=5)
    _label(axis, f"test images, epoch {epoch}", "epoch", "")
    axis.set(xlim=_limits(epochs), ylim=(0.0, 1.05 * max(1.0, np.max(history["test_loss"]))))
    axis.legend(loc="upper right", fontsize=9)


def explore_slices(x: Any, y: Any, *, y_discrete: bool = False) -> Explorer:
    """Which slices of your own arrays carry the information.

    Left the slices in order of their information, beside those of permuted samples, which carry
    none; then the samples in one of the best slices and in one of the worst.

    Parameters
    ----------
    x, y, y_discrete
        As for `sliced_mutual_information`.

    Returns
    -------
    Explorer
        Controls: "n_samples", drawn from those given, "n_projections", "estimator" and "rank": 1 is
        the best slice and the worst, 2 the second best and the second worst. Shown: "values" and
        "permuted", of each slice, best first.

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`.

    Examples
    --------
    >>> explore_slices(x, y)
    """
    samples = as_samples(x, "x")
    y = as_array(y, "y") if y_discrete else as_continuous(y, "y")
    check_paired(samples, y)
    n = len(samples)
    sizes = [size for size in _SAMPLES if size < n] + [n] * (n <= _SAMPLES[-1])
    estimators = [name for name in _ESTIMATORS if not (y_discrete and name == "Gaussian")]
    order = as_generator(0).permutation(n)
    controls = {
        "n_samples": _steps("samples", sizes, min(1000, sizes[-1])),
        "n_projections": _steps("slices", _SLICES, 100),
        "estimator": _dropdown("estimator", estimators),
        "rank": widgets.IntSlider(1, min=1, max=_SLICES[0], description="rank drawn"),
    }

    def draw(axes, *, n_samples, n_projections, estimator, rank):
        rows = order[:n_samples]
        x_slices = SMICompressor(samples.shape[1], n_projections, rng=1)(samples[rows])
        y_rows = y[rows]
        if not y_discrete:
            y_rows = SMICompressor(y.shape[1], n_projections, rng=2)(y_rows)
        # The last axis is that of the samples, of slices and of labels.
        permuted = np.take(y_rows, as_generator(3).permutation(n_samples), axis=-1)
        options = {"estimator": _ESTIMATORS[estimator], "y_discrete": y_discrete, "rng": 4}
        smi, null = (
            mutual_information_of_slices(x_slices, other, **options) for other in (y_rows, permuted)
        )
        best = np.argsort(-smi.per_slice)
        _draw_ranking(axes[0], smi.per_slice[best], -np.sort(-null.per_slice), rank)
        for axis, at, color in ((axes[1], rank - 1, _ORANGE), (axes[2], -rank, _GREEN)):
            one = best[at]
            if y_discrete:
                _draw_classes(axis, x_slices[one], as_labels(y_rows, "y"), color)
            else:
                _draw_slice(axis, x_slices[one], y_rows[one], color)
            place = at % n_projections + 1
            axis.set_title(f"slice {place} of {n_projections}: {smi.per_slice[one]:.3f} nat")
        return {"values": smi.per_slice[best], "permuted": null.per_slice}

    return Explorer(controls, draw)


def _draw_ranking(axis, values, permuted, rank):
    places = np.arange(1, len(values) + 1)
    axis.plot(places, permuted, color=_GREY, lw=1.5, label="permuted samples")
    axis.plot(places, values, color=_BLUE, lw=1.5, label="slices, best first")
    axis.plot(places[rank - 1], values[rank - 1], "o", color=_ORANGE)
    axis.plot(places[-rank], values[-rank], "o", color=_GREEN)
    n_above = np.count_nonzero(values > permuted.max())
    _label(axis, f"mean {values.mean():.3f} nat; {n_above} above chance", "slice", "nat")
    axis.set(xlim=_limits(places), ylim=_limits(values, permuted))
    axis.legend(loc="upper right", fontsize=9)


def _draw_classes(axis, x, labels, color):
    heights = labels.codes + as_generator(0).uniform(-0.3, 0.3, len(labels))
    axis.plot(x, heights, ".", ms=3, alpha=0.5, color=color)
    _label(axis, "", "slice of x", "class")
    axis.set(xlim=_limits(x), ylim=_limits(heights))
    axis.set_yticks(range(len(labels.names)), [str(name) for name in labels.names])


def _draw_slice(axis, x, y, color):
    axis.plot(x, y, ".", ms=3, alpha=0.5, color=color)
    _label(axis, "", "slice of x", "slice of y")
    axis.set(xlim=_limits(x), ylim=_limits(y))


def _draw_estimate(axis, position, smi):
    """A point with bars of two standard errors, and what permuted samples give."""
    if np.isfinite(smi.independent_value):
        error = 2.0 * smi.independent_error
        low, high = smi.independent_value - error, smi.independent_value + error
        axis.axhspan(low, high, color=_GREY, alpha=0.4, lw=0, label="permuted samples")
    axis.errorbar(
        position, smi.value, 2.0 * smi.std_error, fmt="o", ms=5, color=_BLUE, label="estimate"
    )


def _set_style(axis: Axes) -> None:
    # Axis by axis, since a cell may be changing the style of all figures meanwhile.
    axis.set_facecolor("white")
    axis.grid(True, color="0.9", lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=3, labelsize=9)
    axis.locator_params(nbins=5)


def _label(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    # At a given height, the title is not moved out of the way of ticks, which takes long.
    axis.set_title(title, y=1.02, fontsize=11)
    axis.set_xlabel(xlabel, fontsize=10)
    axis.set_ylabel(ylabel, fontsize=10)


def _limits(*values: Any, margin: float = 0.05) -> tuple[float, float]:
    joined = np.hstack(values)
    low, high = float(joined.min()), float(joined.max())
    width = margin * (high - low) or 0.5
    return low - width, high + width


def _dropdown(description: str, options: Mapping[str, Any]) -> widgets.Dropdown:
    return widgets.Dropdown(options=list(options), description=description)


def _slider(description: str, value: float, low: float, high: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(value, min=low, max=high, step=0.25, description=description)


def _steps(description: str, options: Sequence[int], value: int) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(options=options, value=value, description=description)
