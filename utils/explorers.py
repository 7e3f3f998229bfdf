"""Sliders above a picture, to play with sliced mutual information in a notebook.

Each function here returns an `Explorer`. As the last line of a cell it shows itself: with its
sliders in a running notebook, as a picture on a page where nothing runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np

from .estimators import KSG, WKL, Copula, Gaussian
from .experiments import DISTRIBUTIONS
from .slicing import SMICompressor
from .sliders import Explorer, dropdown, limits, name_axes, slider, steps
from .smi import mutual_information_of_slices, sliced_mutual_information
from .synthetic import CorrelatedNormal, SharedCoordinate
from .validation import as_continuous, as_generator, as_labels, as_samples, check_paired

__all__ = [
    "Explorer",
    "explore_misleading",
    "explore_slices",
    "explore_smi",
    "explore_training",
]

# The colours of `utils.plotting`, without the second that seaborn takes to be imported.
_BLUE, _ORANGE, _GREEN, _GREY = "#0173b2", "#de8f05", "#029e73", "#949494"
_ESTIMATORS: dict[str, Any] = {"Copula": Copula, "KSG": KSG, "WKL": WKL, "Gaussian": Gaussian}
_DIMS = (1, 2, 3, 5, 10, 20, 50)
_REPETITIONS = (1, 2, 3, 5, 10, 20)
_SAMPLES = (100, 200, 500, 1000, 2000, 5000)
_SLICES = (20, 50, 100, 200, 500, 1000)
_MAX_MI, _MAX_MISLEADING_MI = 5.0, 10.0
_MI_LABELS = {
    "sign-flipped": "MI before the signs are flipped (nat)",
    "squared": "MI of a linear relation with as much noise (nat)",
}


def explore_smi() -> Explorer:
    """Sliced mutual information of data whose mutual information is known.

    Left the samples in one slice, in the middle the information of all slices, right the estimate
    with bars of two standard errors, and the exact value where it is known.

    Returns
    -------
    Explorer
        Controls: "distribution", "mutual_information" (nat), "dim", "n_samples", "n_projections",
        "estimator", and "slice_number", which of 20 slices is drawn. Shown: "estimate", "exact"
        and "slice", the information of the one that is drawn.
    """
    controls = {
        "distribution": dropdown("data", DISTRIBUTIONS),
        "mutual_information": slider("MI (nat)", 2.0, _MAX_MI),
        "dim": steps("dimension", _DIMS, 3),
        "n_samples": steps("samples", _SAMPLES, 500),
        "n_projections": steps("slices", _SLICES, 200),
        "estimator": dropdown("estimator", _ESTIMATORS),
        "slice_number": widgets.IntSlider(1, min=1, max=20, description="slice drawn"),
    }
    return Explorer(controls, _draw_smi)


def _draw_smi(axes, *, distribution, mutual_information, dim, slice_number, **sizes):
    pair = DISTRIBUTIONS[distribution](mutual_information, dim, dim, rng=0)
    x, y = pair.sample(sizes["n_samples"], rng=1)
    n_projections, estimator = sizes["n_projections"], _ESTIMATORS[sizes["estimator"]]()
    smi = sliced_mutual_information(x, y, estimator=estimator, n_projections=n_projections, rng=2)
    x_slice, y_slice = (
        SMICompressor(dim, slice_number, rng=seed)(samples)[-1:]
        for seed, samples in ((3, x), (4, y))
    )
    value = mutual_information_of_slices(x_slice, y_slice, estimator=estimator, rng=5).value
    exact = pair.sliced_mutual_information

    title = f"slice {slice_number}: {value:.3f} nat"
    _draw_slice(axes[0], x_slice[0], y_slice[0], title, _ORANGE)

    counts, edges = np.histogram(smi.per_slice, bins=30)
    axes[1].stairs(counts, edges, fill=True, color=_BLUE, alpha=0.5)
    axes[1].axvline(value, color=_ORANGE, label=f"slice {slice_number}")
    axes[1].axvline(smi.value, color=_BLUE, label="SMI")
    name_axes(axes[1], f"{n_projections} slices", "information in a slice (nat)", "slices")
    axes[1].set(xlim=limits(edges, value), ylim=(0.0, 1.1 * counts.max()))
    axes[1].legend(loc="upper right", fontsize=9)

    truth, curve = _normal_smi(dim)
    what = "exact SMI" if exact is not None else "exact SMI of normal data"
    axes[2].plot(truth, curve, color="black", lw=1, ls="--", label=what)
    _draw_estimate(axes[2], mutual_information, smi)
    name_axes(axes[2], "SMI over MI", _MI_LABELS.get(distribution, "MI (nat)"), "SMI (nat)")
    bar = 2.0 * smi.std_error
    low, high = limits(curve, smi.value - bar, smi.value + bar)
    axes[2].set(xlim=limits(truth), ylim=(low, high + 0.3 * (high - low)))
    axes[2].legend(loc="upper left", fontsize=9)
    return _headline(smi, exact), {"estimate": smi, "exact": exact, "slice": value}


@cache
def _normal_smi(dim):
    """MI of normal data, and their exact SMI."""
    values = np.linspace(0.0, _MAX_MI, 21)
    return values, [CorrelatedNormal(each, dim, dim).sliced_mutual_information for each in values]


def explore_misleading() -> Explorer:
    """Three ways in which sliced mutual information is not mutual information.

    x and y share one coordinate, of known MI. Each has more coordinates of pure noise, and the
    shared one may be repeated; neither changes the MI. Solid black is MI, dashed the exact SMI,
    and the point an estimate with bars of two standard errors.

    Returns
    -------
    Explorer
        Controls: "mutual_information" (nat), "dim", the number of different coordinates of each,
        and "repetitions" of the shared one. Shown: "estimate" and "exact".
    """
    controls = {
        "mutual_information": slider("MI (nat)", 1.0, _MAX_MISLEADING_MI),
        "dim": steps("dimension", _DIMS, 5),
        "repetitions": steps("repetitions", _REPETITIONS, 1),
    }
    return Explorer(controls, _draw_misleading)


def _draw_misleading(axes, *, mutual_information, dim, repetitions):
    state = (mutual_information, dim, repetitions)
    x, y = SharedCoordinate(*state).sample(1000, rng=1)
    smi = sliced_mutual_information(x, y, n_projections=200, rng=2)
    exact = _shared_smi(*state)
    panels = (
        ("More MI: SMI goes flat", "MI (nat)", np.linspace(0.0, _MAX_MISLEADING_MI, 41)),
        ("More noise: SMI shrinks", "dimension", np.array(_DIMS)),
        ("More repetitions: SMI grows", "repetitions", np.array(_REPETITIONS)),
    )
    for at, (axis, (title, xlabel, values)) in enumerate(zip(axes, panels, strict=True)):
        curve = [_shared_smi(*state[:at], value, *state[at + 1 :]) for value in values.tolist()]
        truth = values if at == 0 else np.full(len(values), mutual_information)
        axis.plot(values, truth, color="black", lw=1)
        axis.plot(values, curve, color=_BLUE, lw=1, ls="--")
        _draw_estimate(axis, state[at], smi)
        if at == 0:
            for name, height in (("MI", truth[-1]), ("exact SMI", curve[-1])):
                axis.text(values[-1], height, name, ha="right", va="bottom", fontsize=9)
            axis.text(values[-1], 0.0, "permuted samples", ha="right", va="top", fontsize=9)
        if axis.get_yscale() == "linear":
            # Linear to 0.001 nat, where noise may be negative; logarithmic above.
            axis.set_yscale("symlog", linthresh=1e-3)
            axis.yaxis.set_major_formatter("{x:g}")  # 0.01, which is drawn faster than a power
            axis.tick_params(labelleft=at == 0)
        name_axes(axis, title, xlabel, "nat" if at == 0 else "")
        axis.set(xlim=limits(values), ylim=(-1e-3, 30.0))
    headline = f"MI {mutual_information:.2f} nat, {_headline(smi, exact)}"
    return headline, {"estimate": smi, "exact": exact}


@cache
def _shared_smi(mutual_information, dim, repetitions):
    return SharedCoordinate(mutual_information, dim, repetitions).sliced_mutual_information


def explore_training(
    rows: Mapping[str, Mapping[str, Any]], *, history: Mapping[str, Any] | None = None
) -> Explorer:
    """The information plane, epoch by epoch.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by title, one panel per row, all of the same layers
        and weight rules. The slider has their common epochs.
    history : dict or None
        Metrics over the epochs, from `train_classifier`, for one more panel.

    Returns
    -------
    Explorer
        Controls: "epoch", with a play button, "rule" and "layers". Shown: "epoch".

    Raises
    ------
    ValueError
        If there are no rows, or they differ in their layers or rules or have no epoch in common.
    """
    from .plotting import name_of_rule  # takes seaborn, which is slow to import

    layers, rules, epochs = _common_axes(rows)
    controls = {
        "epoch": steps("epoch", epochs, epochs[-1]),
        "rule": dropdown("weights", [(name_of_rule(rule), rule) for rule in rules]),
        # The last layer's values, of probabilities, are far from the others'.
        "layers": widgets.SelectMultiple(
            options=layers, value=layers[:-1] or layers, rows=len(layers), description="layers"
        ),
    }

    def draw(axes, *, epoch, rule, layers):
        for axis, (name, results) in zip(axes, rows.items(), strict=False):
            _draw_plane(axis, name, results, epoch, rule, layers)
        if layers:
            axes[len(rows) - 1].legend(loc="lower right", fontsize=9)
        if history is not None:
            _draw_history(axes[-1], history, epoch)
        return f"epoch {epoch}", {"epoch": epoch}

    explorer = Explorer(controls, draw, n_panels=len(rows) + (history is not None))
    for name in ("rule", "layers"):
        controls[name].layout.width = "228px"  # beside the slider, on the screen of a laptop
    play = widgets.Play(value=len(epochs) - 1, min=0, max=len(epochs) - 1, interval=250)
    widgets.jslink((play, "value"), (controls["epoch"], "index"))
    row = explorer.widget.children[0]
    row.children = (play, *row.children)
    return explorer


def _common_axes(rows):
    """The layers, rules and epochs of all rows."""
    if not rows:
        raise ValueError("rows is empty; give at least one result of an information plane")
    first = next(iter(rows.values()))
    for name, results in rows.items():
        for axis in ("layers", "rules"):
            if list(results[axis]) != list(first[axis]):
                raise ValueError(
                    f"rows[{name!r}] has {axis} {results[axis]}, and the first row {first[axis]}; "
                    f"give results of one network and the same weight rules"
                )
    epochs = sorted(set.intersection(*(set(map(int, row["epochs"])) for row in rows.values())))
    if not epochs:
        raise ValueError(f"{list(rows)} have no epoch in common; give results of one training")
    return list(first["layers"]), list(first["rules"]), epochs


def _draw_plane(axis, name, results, epoch, rule, layers):
    """The way of each layer up to an epoch, and faintly the rest of it."""
    last = np.searchsorted(results["epochs"], epoch)
    colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(results["layers"])))
    at_rule = list(results["rules"]).index(rule)
    at_layers = [list(results["layers"]).index(layer) for layer in layers]
    colors = colors[at_layers]
    x, x_error, y, y_error = (
        results[f"information_{quantity}"][at_rule, at_layers]
        for quantity in ("x", "x_error", "y", "y_error")
    )
    for layer, color, xs, ys in zip(layers, colors, x, y, strict=True):
        axis.plot(xs, ys, color=color, lw=1, alpha=0.25)
        axis.plot(xs[: last + 1], ys[: last + 1], color=color, lw=1.5, label=layer)
    name_axes(axis, name, "I(X; L) (nat)", "I(L; Y) (nat)")
    if layers:
        _draw_bars(axis, x[:, last], x_error[:, last], y[:, last], y_error[:, last], colors)
        axis.set(xlim=limits(x), ylim=limits(y))


def _draw_bars(axis, x, x_error, y, y_error, colors):
    # For all layers at once, which takes a third of the time of `errorbar` for each.
    axis.hlines(y, x - 2.0 * x_error, x + 2.0 * x_error, colors=colors, lw=1)
    axis.vlines(x, y - 2.0 * y_error, y + 2.0 * y_error, colors=colors, lw=1)
    axis.scatter(x, y, c=colors, s=25, zorder=3)


def _draw_history(axis, history, epoch):
    names = {"loss": "loss (nat)", "accuracy": "accuracy", "roc_auc": "ROC AUC"}
    for (name, label), color in zip(names.items(), (_BLUE, _ORANGE, _GREEN), strict=True):
        values = np.asarray(history[f"test_{name}"])
        epochs = np.arange(1, len(values) + 1)
        n = min(max(epoch, 1), len(values))
        axis.plot(epochs, values, color=color, lw=1, alpha=0.25)
        axis.plot(epochs[:n], values[:n], color=color, label=f"{label}: {values[n - 1]:.3f}")
        axis.plot(epochs[n - 1], values[n - 1], "o", color=color, ms=5)
    name_axes(axis, "test images", "epoch", "")
    axis.set(xlim=limits(epochs), ylim=limits(0.0, 1.0, history["test_loss"]))
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
        "permuted", the information of each slice, best first.

    Raises
    ------
    ValueError, TypeError
        As `sliced_mutual_information`.
    """
    x = as_samples(x, "x")
    labels = as_labels(y, "y") if y_discrete else None
    y = as_continuous(y, "y") if labels is None else labels.codes
    check_paired(x, y)
    n = len(x)
    order, jitter = as_generator(1).permutation(n), as_generator(2).uniform(-0.3, 0.3, n)
    sizes = [size for size in _SAMPLES if size < n] + [n] * (n <= _SAMPLES[-1])
    controls = {
        "n_samples": steps("samples", sizes, min(1000, sizes[-1])),
        "n_projections": steps("slices", _SLICES, 100),
        "estimator": dropdown("estimator", _ESTIMATORS),
        "rank": widgets.IntSlider(1, min=1, max=_SLICES[0], description="rank drawn"),
    }

    @lru_cache(maxsize=1)  # another rank shows other slices of the same measurement
    def measure(n_samples, n_projections, estimator):
        rows = order[:n_samples]
        x_slices = SMICompressor(x.shape[1], n_projections, rng=1)(x[rows])
        if labels is None:
            other = heights = SMICompressor(y.shape[1], n_projections, rng=2)(y[rows])
        else:
            other = y[rows]
            heights = np.broadcast_to(other + jitter[rows], x_slices.shape)
        # The last axis is that of the samples, of slices and of labels.
        permuted = np.take(other, as_generator(3).permutation(n_samples), axis=-1)
        options = {"estimator": _ESTIMATORS[estimator](), "y_discrete": y_discrete, "rng": 4}
        smi, chance = (
            mutual_information_of_slices(x_slices, each, **options).per_slice
            for each in (other, permuted)
        )
        return x_slices, heights, smi, -np.sort(-chance)

    def draw(axes, *, rank, **sizes):
        x_slices, heights, smi, chance = measure(**sizes)
        best = np.argsort(-smi)
        _draw_ranking(axes[0], smi[best], chance, rank)
        for axis, at, color in ((axes[1], rank - 1, _ORANGE), (axes[2], -rank, _GREEN)):
            one = best[at]
            title = f"slice {at % len(best) + 1}: {smi[one]:.3f} nat"
            _draw_slice(axis, x_slices[one], heights[one], title, color)
            if labels is not None:
                names = [str(name) for name in labels.names]
                axis.set(ylabel="", yticks=range(len(names)), yticklabels=names)
        n_above = np.count_nonzero(smi > chance[0])
        headline = f"{n_above} of {len(smi)} slices are above all those of permuted samples"
        return headline, {"values": smi[best], "permuted": chance}

    return Explorer(controls, draw)


def _draw_ranking(axis, values, permuted, rank):
    places = np.arange(1, len(values) + 1)
    axis.plot(places, permuted, color=_GREY, lw=1.5, label="permuted samples")
    axis.plot(places, values, color=_BLUE, lw=1.5, label="your samples")
    axis.plot(places[rank - 1], values[rank - 1], "o", color=_ORANGE)
    axis.plot(places[-rank], values[-rank], "o", color=_GREEN)
    name_axes(axis, f"mean of the slices: {values.mean():.3f} nat", "slice, best first", "nat")
    axis.set(xlim=limits(places), ylim=limits(values, permuted))
    axis.legend(loc="upper right", fontsize=9)


def _draw_slice(axis, x, y, title, color):
    axis.plot(x, y, ".", ms=3, alpha=0.5, color=color)
    name_axes(axis, title, "slice of x", "slice of y")
    axis.set(xlim=limits(x), ylim=limits(y))


def _draw_estimate(axis, position, smi):
    """A point with bars of two standard errors, and what permuted samples give."""
    if math.isfinite(smi.independent_value):
        error = 2.0 * smi.independent_error
        low, high = smi.independent_value - error, smi.independent_value + error
        axis.axhspan(low, high, color=_GREY, alpha=0.4, lw=0, label="permuted samples")
    bar = 2.0 * smi.std_error
    axis.errorbar(position, smi.value, bar, fmt="o", ms=5, color=_BLUE, label="estimate")


def _headline(smi, exact):
    known = "" if exact is None else f", exact {exact:.4f}"
    return f"SMI {smi.value:.4f} ± {smi.std_error:.4f}{known} nat"
