"""Figures 1 and 2: estimates on data whose information is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments import correlations
from ..results import SavedResults
from .style import index_of, name_of_rule, spread_labels, styled, symlog

__all__ = [
    "plot_correlations",
    "plot_estimates",
    "plot_estimators",
    "plot_exact_smi",
    "plot_k_slices",
    "plot_misleading",
    "plot_weight_norms",
]

_PALETTE = sns.color_palette("colorblind")
# The published weights are drawn below the k-th neighbour, as a wider line that shows where both
# agree.
_LINES: dict[str, dict[str, Any]] = {
    "mutinfo": {"color": _PALETTE[1], "lw": 4.0, "ms": 0, "alpha": 0.75},
    "kth": {"color": _PALETTE[0], "lw": 1.4, "ms": 3.5},
}
_EXACT: dict[str, Any] = {"color": "black", "lw": 1.2, "ls": (0, (5, 3)), "zorder": 4}
_QUANTITIES = {"base": "MI", "smi": "SMI"}


@styled
def plot_estimates(results: Mapping[str, Any], *, dims: Sequence[int], title: str) -> Figure:
    """Figure 1: estimates against the true MI; one column per dimension, MI above, SMI below.

    Parameters
    ----------
    results : dict
        From `run_synthetic`.
    dims : sequence of int
        The dimensions to show, among those in `results`.
    title : str

    Returns
    -------
    matplotlib Figure
        Lines are means over the seeds, bands reach from the smallest to the largest seed. Each
        panel gives the mean correlation r with the true MI. An MI curve that exceeds twice the true
        range is not drawn; its panel says how far it goes.
    """
    truth = results["mutual_informations"]
    figure, axes = plt.subplots(
        2, len(dims), figsize=(3.2 * len(dims) + 0.8, 6.6), sharex=True, squeeze=False
    )
    figure.suptitle(title)
    for column, dim in zip(axes.T, dims, strict=True):
        at = index_of(dim, results["dims"], "dim")
        column[0].set_title(f"dimension {dim} + {dim}")
        for axis, quantity in zip(column, _QUANTITIES, strict=True):
            _draw_estimates(axis, results, quantity, at)
        column[0].set_ylim(-2.5, 1.5 * truth.max())
        column[1].set_xlabel("true MI (nat)")
    for axis, name in zip(axes[:, 0], _QUANTITIES.values(), strict=True):
        axis.set_ylabel(f"estimated {name} (nat)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_estimates(axis, results, quantity, at):
    truth = results["mutual_informations"]
    exact = {"base": truth, "smi": results["smi_exact"][at] if "smi_exact" in results else None}
    if exact[quantity] is not None:
        axis.plot(truth, exact[quantity], label="exact value", **_EXACT)
    notes = []
    for number, rule in enumerate(results["weights"]):
        values = results[quantity][number, :, at]
        correlation = correlations(results, quantity)[number, :, at].mean()
        note = f"{name_of_rule(rule)}: r = {correlation:.3f}"
        if quantity == "base" and np.abs(values).max() > 2.0 * truth.max() + 1.0:
            note += f"\n(off the axes: {values.min():.0f} to {values.max():.0f} nat)"
        else:
            _band(axis, truth, values, name_of_rule(rule), **_line(rule))
        notes.append(note)
    axis.text(0.04, 0.96, "\n".join(notes), transform=axis.transAxes, va="top", fontsize="x-small")
    if quantity == "smi":
        axis.set_ylim(top=1.3 * axis.get_ylim()[1])


@styled
def plot_exact_smi(results: Mapping[str, Any], *, title: str) -> Figure:
    """Figure 1b: estimated against exact SMI; one panel per weight rule, one colour per dimension.

    Parameters
    ----------
    results : dict
        From `run_synthetic` on a distribution that knows its SMI ("smi_exact").
    title : str

    Returns
    -------
    matplotlib Figure
        Points are means over the seeds, bars the standard deviation between seeds.

    Raises
    ------
    ValueError
        If all data have one dimension, where SMI is MI.
    """
    rules = results["weights"]
    if max(results["dims"]) == 1:
        raise ValueError("results['dims'] is [1], where SMI is MI; measure more dimensions")
    figure, axes = _panels(len(rules), width=5.0, height=4.4)
    figure.suptitle(title)
    shown = [at for at, dim in enumerate(results["dims"]) if dim > 1]
    colors = sns.color_palette("viridis", len(shown))
    for axis, values, rule in zip(axes, results["smi"], rules, strict=True):
        for at, color in zip(shown, colors, strict=True):
            axis.errorbar(
                results["smi_exact"][at],
                values[:, at].mean(axis=0),
                values[:, at].std(axis=0),
                fmt="o",
                ms=4,
                lw=1,
                color=color,
                label=f"{results['dims'][at]}",
            )
        reach = results["smi_exact"][shown].max()
        axis.plot([0, reach], [0, reach], **_EXACT)
        axis.set(xlabel="exact SMI (nat)", title=name_of_rule(rule))
        symlog(axis, sides="xy")
    axes[0].set_ylabel("estimated SMI (nat)")
    axes[-1].legend(title="dimension", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def plot_correlations(
    panels: Mapping[str, SavedResults], *, published: Mapping[str, Any] | None = None
) -> Figure:
    """Figure 2: correlation of the estimates with the true MI, by dimension.

    Parameters
    ----------
    panels : dict of str to SavedResults
        Saved results of `run_synthetic` by panel title.
    published : dict or None
        "dim", "correlation_mi", "correlation_smi" and the "sizes" (settings) that they were
        published for; drawn as markers in the panels whose settings agree with these sizes.

    Returns
    -------
    matplotlib Figure
        Lines are means over the seeds, bands reach from the smallest to the largest seed; dashed,
        what an estimator without any error would give in slices, where that is known.
    """
    figure, axes = _panels(len(panels), width=4.6, height=5.2)
    handles: dict[str, Any] = {}
    for axis, (title, saved) in zip(axes, panels.items(), strict=True):
        _draw_correlations(axis, saved.results)
        if published is not None and published["sizes"].items() <= saved.settings.items():
            for quantity, marker in (("mi", "x"), ("smi", "o")):
                axis.plot(
                    published["dim"],
                    published[f"correlation_{quantity}"],
                    ls="",
                    marker=marker,
                    mfc="none",
                    ms=7,
                    color="0.3",
                    label=f"{quantity.upper()}, published figure",
                    zorder=5,
                )
        if saved.settings["distribution"] == "normal":
            axis.annotate(
                "MI looks perfect here only because\nwhitening reveals it in normal data",
                (0.96, 0.04),
                xycoords="axes fraction",
                ha="right",
                fontsize="x-small",
                style="italic",
            )
        axis.axhline(0, color="black", lw=0.8)
        axis.set(xscale="log", xlabel="dimension of x and of y", title=title, ylim=(-0.6, 1.05))
        axis.set_xticks(saved.results["dims"], saved.results["dims"], rotation=60, fontsize="small")
        axis.minorticks_off()
        new_handles, labels = axis.get_legend_handles_labels()
        handles |= dict(zip(labels, new_handles, strict=True))
    axes[0].set_ylabel("correlation with the true MI")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def _draw_correlations(axis, results):
    if "smi_exact" in results:
        axis.plot(results["dims"], correlations(results, "smi_exact"), label="exact SMI", **_EXACT)
    for quantity, name in _QUANTITIES.items():
        for rule, values in zip(results["weights"], correlations(results, quantity), strict=True):
            line = _line(rule) | {"lw": 1.6, "alpha": 1.0, "ls": {"MI": ":", "SMI": "-"}[name]}
            _band(axis, results["dims"], values, f"{name}, {name_of_rule(rule)}", **line)


@styled
def plot_estimators(
    results: Mapping[str, Any],
    uncorrelated: Mapping[str, Any],
    truth: Mapping[str, Any],
    *,
    title: str,
) -> Figure:
    """Figure 2, continued: which estimators of slices follow MI, and which see only correlation.

    Parameters
    ----------
    results : dict
        From `run_estimators`: one panel per distribution, correlation with the true MI by
        dimension.
    uncorrelated : dict
        From `run_estimators` with the same estimators, on data without correlation: one more
        panel, estimated against true SMI.
    truth : dict
        The same grid as `uncorrelated`, measured by one estimator on many more samples.
    title : str

    Returns
    -------
    matplotlib Figure
        Means over the seeds.
    """
    distributions, dims = results["distributions"], results["dims"]
    n_columns = -(-(len(distributions) + 1) // 2)
    figure, axes = plt.subplots(2, n_columns, figsize=(6.4 * n_columns, 8.4), squeeze=False)
    figure.suptitle(title)
    *panels, last = axes.ravel()[: len(distributions) + 1]
    names = [_method_label(method) for method in results["methods"]]
    # The two rules of weights come first, in the colours of Figures 1 and 2.
    palette = cycle([_PALETTE[1], _PALETTE[0], *_PALETTE[2:]])
    colors = [color for color, _ in zip(palette, names, strict=False)]
    means = correlations(results, "smi").mean(axis=2)
    lowest, highest = -0.4, 1.15
    for at, (axis, distribution) in enumerate(zip(panels, distributions, strict=True)):
        # A curve that leaves the panel keeps its label inside.
        ends = np.clip(means[:, at, -1], lowest + 0.04, highest)
        heights = spread_labels(ends, distance=0.085)
        for values, name, color, height in zip(means[:, at], names, colors, heights, strict=True):
            axis.plot(dims, values, color=color, marker="o", ms=4)
            axis.annotate(
                name,
                (dims[-1], height),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                color=color,
                annotation_clip=False,
            )
        if distribution == "normal":
            axis.plot(dims, correlations(results, "smi_exact"), **_EXACT)
            axis.annotate("exact SMI", (dims[0], 1.02), va="bottom", fontsize="small")
        axis.axhline(0, color="black", lw=0.8)
        axis.set(
            xscale="log",
            ylim=(lowest, highest),
            title=f"{distribution} data",
            xlabel="dimension of x and of y",
            ylabel="correlation with the true MI",
        )
        axis.set_xticks(dims, dims)
        axis.minorticks_off()
    _draw_uncorrelated(last, uncorrelated, truth["smi"][0].mean(axis=1), names, colors)
    for axis in axes.ravel()[len(distributions) + 1 :]:
        axis.remove()
    return figure


def _draw_uncorrelated(axis, uncorrelated, true_smi, names, colors):
    markers = dict(zip(uncorrelated["distributions"], cycle("oxs+^v"), strict=False))
    for method, color in zip(uncorrelated["smi"], colors, strict=True):
        for values, true_values, marker in zip(method, true_smi, markers.values(), strict=True):
            axis.plot(
                true_values.ravel(), values.mean(axis=0).ravel(), marker, ms=5, color=color, mew=1.4
            )
    for name, color in zip(names, colors, strict=True):
        axis.plot([], [], "s", color=color, label=name)
    for distribution, marker in markers.items():
        axis.plot([], [], marker, color="0.3", ms=5, mew=1.4, label=f"{distribution} data")
    reach = true_smi.max()
    axis.plot([0, reach], [0, reach], label="estimate = truth", **_EXACT)
    axis.set(
        title="data without correlation",
        xlabel="true SMI (nat), from many samples",
        ylabel="estimated SMI (nat)",
    )
    symlog(axis, sides="xy")
    axis.set_xlim(left=-0.002)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _method_label(method):
    if method.startswith("WKL"):
        return "WKL, " + name_of_rule("mutinfo" if "mutinfo" in method else "kth")
    return method.replace("(k=5)", "").replace("()", "")


@styled
def plot_misleading(results: Mapping[str, Any]) -> Figure:
    """Three ways in which sliced mutual information differs from mutual information.

    Parameters
    ----------
    results : dict
        From `misleading.run_misleading`.

    Returns
    -------
    matplotlib Figure
        Points are estimates with bars of two standard errors; dashed, exact values.
    """
    figure, axes = plt.subplots(1, 3, figsize=(15.0, 4.6))
    growing, repeated, dims = results["growing"], results["repeated"], results["dims"]
    bars = {"fmt": "o", "ms": 4, "lw": 1}
    for dim, exact, smi, error in zip(
        growing["dims"], growing["exact"], growing["smi"], growing["std_error"], strict=True
    ):
        line = axes[0].errorbar(
            growing["mutual_information"], smi, 2.0 * error, label=f"dimension {dim}", **bars
        )
        axes[0].plot(
            growing["mutual_information"], exact, **_EXACT | {"color": line[0].get_color()}
        )
    axes[0].set(xlabel="true MI (nat)", title="MI grows without limit, SMI levels off")
    axes[0].legend()
    axes[1].errorbar(repeated["times"], repeated["smi"], 2.0 * repeated["std_error"], **bars)
    axes[1].set(
        xlabel="copies of one dependent coordinate, beside 9 of noise",
        title="MI stays at 1 nat, SMI grows",
        xticks=repeated["times"],
        ylim=(0.0, None),
    )
    line = axes[2].errorbar(
        dims["dims"], dims["smi"], 2.0 * dims["std_error"], label="estimate", **bars
    )
    axes[2].plot(dims["dims"], dims["exact"], **_EXACT | {"color": line[0].get_color()})
    axes[2].fill_between(
        dims["dims"], *dims["null"].T, color="0.5", alpha=0.3, lw=0, label="permuted samples"
    )
    axes[2].set(
        xscale="log",
        xlabel="dimension of x and of y",
        title="MI stays at 2 nat, SMI shrinks with the dimension",
    )
    symlog(axes[2], sides="y")
    axes[2].set_ylim(-0.005, 5.0)
    axes[2].set_xticks(dims["dims"], dims["dims"])
    axes[2].minorticks_off()
    axes[2].legend()
    for axis in axes:
        axis.set_ylabel("SMI (nat)")
    return figure


@styled
def plot_k_slices(table: pd.DataFrame, *, title: str) -> Figure:
    """Information of slices of k dimensions: from SMI at k = 1 to MI at k = d.

    Parameters
    ----------
    table : DataFrame
        One row per k, with "exact" and, for each estimator, its value under its name and the
        standard error under "name error": `summaries.benchmark("k_slices", ...)`.
    title : str

    Returns
    -------
    matplotlib Figure
        Points are estimates with bars of two standard errors; dashed, exact values.
    """
    dims = list(table.index)
    names = [name for name in table if f"{name} error" in table]
    figure, axis = plt.subplots(figsize=(7.2, 4.6))
    axis.plot(dims, table["exact"], marker="s", ms=3.5, label="exact value", **_EXACT)
    # Estimators that agree show as rings around points.
    for name, size in zip(names, cycle((9, 4)), strict=False):
        axis.errorbar(
            dims,
            table[name],
            2.0 * table[f"{name} error"],
            fmt="o-",
            ms=size,
            lw=1.2,
            mfc="none" if size == 9 else None,
            label=_method_label(name),
        )
    ends = {dims[0]: "1\nSMI", dims[-1]: f"{dims[-1]}, all\nMI"}
    axis.set_xticks(dims, [ends.get(k, k) for k in dims])
    axis.set(xlabel="dimensions of a slice, k", ylabel="information (nat)", title=title)
    axis.legend()
    return figure


@styled
def plot_weight_norms(dims: Sequence[int], norms: Mapping[str, Sequence[float]]) -> Figure:
    """By how much weight rules multiply noise, by dimension.

    Parameters
    ----------
    dims : sequence of int
    norms : dict of str to sequence of float
        The 1-norm of the weights in each dimension, by rule.

    Returns
    -------
    matplotlib Figure
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for rule, values in norms.items():
        axis.plot(dims, values, "o-", ms=4, color=_line(rule)["color"], label=name_of_rule(rule))
    axis.set(
        yscale="log",
        xticks=dims,
        xlabel="joint dimension (of x and y together)",
        ylabel="1-norm of the weights",
        title="By how much the weights multiply noise",
    )
    axis.legend()
    return figure


def _panels(n, *, width, height):
    """A figure with a row of panels that share their axes."""
    size = (width * n + 0.8, height)
    figure, axes = plt.subplots(1, n, figsize=size, sharex=True, sharey=True, squeeze=False)
    return figure, axes[0]


def _line(rule):
    return _LINES.get(rule, {"color": "0.4", "lw": 1.4, "ms": 3.5})


def _band(axis: Axes, x, values, label: str, *, color, **line) -> None:
    """Draw the mean over the seeds (first axis) as a line, smallest to largest as a band."""
    axis.plot(x, values.mean(axis=0), color=color, marker="o", label=label, **line)
    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, lw=0)
