"""Figures: saved results on axes. Nothing is estimated here, and nothing is shown by itself."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from .experiments import correlations

__all__ = [
    "plot_correlations",
    "plot_estimates",
    "plot_estimators",
    "plot_exact_smi",
    "plot_information_over_epochs",
    "plot_information_planes",
    "plot_metrics",
    "plot_misleading",
    "plot_reconstructions",
    "plot_weight_norms",
    "save_figure",
    "set_style",
]

_PALETTE = sns.color_palette("colorblind")
_COLORS = {
    ("base", "mutinfo"): _PALETTE[7],
    ("base", "kth"): _PALETTE[0],
    ("smi", "mutinfo"): _PALETTE[1],
    ("smi", "kth"): _PALETTE[2],
}
_RULES = {"mutinfo": "published weights", "kth": "k-th neighbour"}
_QUANTITIES = {"base": "MI estimate", "smi": "SMI estimate"}


def set_style():
    """Set the one style of all figures, for the rest of the session."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "axes.titlesize": "medium",
            "grid.linewidth": 0.6,
            "legend.fontsize": "small",
        },
    )


def save_figure(figure, name, *, directory):
    """Save a figure as `name`.png and `name`.pdf.

    Parameters
    ----------
    figure : matplotlib Figure
    name : str
    directory : path-like
        Made if it is not there.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / f"{name}.png")
    # Without the date, the same results give the same file.
    figure.savefig(directory / f"{name}.pdf", metadata={"CreationDate": None})


def plot_estimates(results, *, dims, title):
    """Figure 1: estimates over the true MI, a column a dimension, MI above and SMI below.

    Parameters
    ----------
    results : dict
        From `run_synthetic`.
    dims : sequence of int
        Which dimensions to show, among those in `results`.
    title : str

    Returns
    -------
    matplotlib Figure
        Lines are means over the seeds, bands the least and greatest seed; legends give the mean
        correlation with the true MI. An MI curve that leaves twice the true range is not drawn:
        a note in the panel says how far it goes.
    """
    truth = results["mutual_informations"]
    figure, axes = plt.subplots(
        2, len(dims), figsize=(3.2 * len(dims) + 0.8, 6.4), sharex=True, squeeze=False
    )
    figure.suptitle(title)
    for column, dim in zip(axes.T, dims, strict=True):
        at = _position(results, dim)
        column[0].set_title(f"dimension {dim} + {dim}")
        for axis, quantity in zip(column, _QUANTITIES, strict=True):
            _truth_line(axis, results, quantity, at)
            notes = []
            for rule, name in enumerate(results["weights"]):
                values = results[quantity][rule, :, at]
                correlation = correlations(results, quantity)[rule, :, at].mean()
                label = f"{_RULES.get(name, name)}: r = {correlation:.3f}"
                color = _COLORS.get((quantity, name))
                if quantity == "base" and np.abs(values).max() > 2.0 * truth.max() + 1.0:
                    notes.append(
                        f"{label},\nfrom {values.min():.0f} to {values.max():.0f} nat: off the axes"
                    )
                else:
                    _band(axis, truth, values, color, label)
            if quantity == "base":
                axis.set_ylim(-2.5, 1.75 * truth.max())
            for note in notes:
                axis.text(
                    0.96,
                    0.05,
                    note,
                    transform=axis.transAxes,
                    ha="right",
                    va="bottom",
                    fontsize="x-small",
                    color="0.3",
                )
            axis.legend(loc="upper left", handlelength=1.2, framealpha=0.6)
        column[1].set_xlabel("true MI (nat)")
        # Room for the legend above the curves.
        low, high = column[1].get_ylim()
        column[1].set_ylim(low, high + 0.45 * (high - low))
    for axis, label in zip(axes[:, 0], _QUANTITIES.values(), strict=True):
        axis.set_ylabel(f"{label} (nat)")
    return figure


def plot_exact_smi(results, *, title):
    """Figure 1b: estimated over exact SMI, a panel a weight rule, a colour a dimension.

    Parameters
    ----------
    results : dict
        From `run_synthetic` on a distribution that knows its SMI ("smi_exact").
    title : str

    Returns
    -------
    matplotlib Figure
        Points are means over the seeds, bars the standard deviation between seeds.
    """
    rules = results["weights"]
    figure, axes = plt.subplots(
        1,
        len(rules),
        figsize=(5.0 * len(rules) + 0.8, 4.4),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    figure.suptitle(title)
    shown = [dim for dim in results["dims"] if dim > 1]
    colors = sns.color_palette("viridis", len(shown))
    for axis, values, rule in zip(axes[0], results["smi"], rules, strict=True):
        for dim, color in zip(shown, colors, strict=True):
            at = _position(results, dim)
            axis.errorbar(
                results["smi_exact"][at],
                values[:, at].mean(axis=0),
                values[:, at].std(axis=0),
                fmt="o",
                ms=4,
                lw=1,
                color=color,
                label=f"{dim}",
            )
        reach = results["smi_exact"][[_position(results, dim) for dim in shown]].max()
        axis.plot([0, reach], [0, reach], color="black", lw=1, ls="--", zorder=0)
        axis.set(xlabel="exact SMI (nat)", title=_RULES.get(rule, rule))
        # Linear to 0.01 nat, where noise may be negative; logarithmic above.
        axis.set(xscale="symlog", yscale="symlog")
        axis.set_xscale("symlog", linthresh=0.01)
        axis.set_yscale("symlog", linthresh=0.01)
    axes[0, 0].set_ylabel("estimated SMI (nat)")
    axes[0, -1].legend(title="dimension", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_correlations(panels, *, published=None):
    """Figure 2: correlation of the estimates with the true MI over the dimension.

    Parameters
    ----------
    panels : dict of str to SavedResults
        Saved results of `run_synthetic` by panel title.
    published : dict or None
        "dim", "correlation_mi" and "correlation_smi" of normal data, drawn as faint markers in the
        panels of normal data.

    Returns
    -------
    matplotlib Figure
        Lines are means over the seeds, bands the least and greatest seed; dashed, what an
        estimator without any error would give in slices, where that is known.
    """
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(4.6 * len(panels) + 0.8, 4.6),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, (title, saved) in zip(axes[0], panels.items(), strict=True):
        results = saved.results
        if "smi_exact" in results:
            axis.plot(
                results["dims"],
                correlations(results, "smi_exact"),
                color="black",
                lw=1,
                ls="--",
                label="exact SMI",
            )
        for quantity, name in _QUANTITIES.items():
            for rule, values in zip(
                results["weights"], correlations(results, quantity), strict=True
            ):
                _band(
                    axis,
                    results["dims"],
                    values,
                    _COLORS.get((quantity, rule)),
                    f"{name}, {_RULES.get(rule, rule)}",
                )
            if published is not None and saved.settings["distribution"] == "normal":
                axis.plot(
                    published["dim"],
                    published[{"base": "correlation_mi", "smi": "correlation_smi"}[quantity]],
                    ls="",
                    marker={"base": "x", "smi": "o"}[quantity],
                    mfc="none",
                    ms=6,
                    color="0.45",
                    label=f"published {name.split()[0]}",
                    zorder=3,
                )
        axis.axhline(0, color="black", lw=0.8)
        axis.set(xscale="log", xlabel="dimension of x and of y", title=title, ylim=(-0.6, 1.05))
        axis.set_xticks(results["dims"], results["dims"], rotation=60, fontsize="small")
        axis.minorticks_off()
    axes[0, 0].set_ylabel("correlation with the true MI")
    # The first panel has every kind of line.
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, -1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_estimators(results, uncorrelated, truth, *, title):
    """Figure 2, continued: which estimator of slices follows MI, and which sees what is not linear.

    Parameters
    ----------
    results : dict
        From `run_estimators`: a panel a distribution, correlation with the true MI over the
        dimension.
    uncorrelated : dict
        From `run_estimators` with the same estimators, on data without correlation: one more
        panel, estimated over true SMI.
    truth : dict
        The same grid as `uncorrelated`, measured by one estimator on many more samples.
    title : str

    Returns
    -------
    matplotlib Figure
        Lines and points are means over the seeds; bands the least and greatest seed, bars the
        standard deviation between seeds.
    """
    distributions = results["distributions"]
    n_columns = -(-(len(distributions) + 1) // 2)
    figure, axes = plt.subplots(2, n_columns, figsize=(5.2 * n_columns + 1.6, 8.6), squeeze=False)
    figure.suptitle(title)
    *panels, last = axes.ravel()[: len(distributions) + 1]
    colors = sns.color_palette("colorblind", len(results["methods"]))
    markers = [marker for marker, _ in zip(cycle("oxs+"), uncorrelated["distributions"])]
    names = [_method_label(method) for method in results["methods"]]
    for at, (axis, distribution) in enumerate(zip(panels, distributions, strict=True)):
        if distribution == "normal":
            exact = correlations(results, "smi_exact")
            axis.plot(results["dims"], exact, color="black", lw=1, ls="--", label="exact SMI")
        for method, color, name in zip(correlations(results, "smi"), colors, names, strict=True):
            _band(axis, results["dims"], method[at], color, name, alpha=0.08)
        axis.axhline(0, color="black", lw=0.8)
        axis.set(
            xscale="log",
            ylim=(-0.6, 1.05),
            title=f"{distribution} data",
            xlabel="dimension of x and of y",
            ylabel="correlation with the true MI",
        )
        axis.set_xticks(results["dims"], results["dims"])
        axis.minorticks_off()
    true_smi = truth["smi"][0].mean(axis=1)
    for method, color in zip(uncorrelated["smi"], colors, strict=True):
        for values, true_values, marker in zip(method, true_smi, markers, strict=True):
            last.errorbar(
                true_values.ravel(),
                values.mean(axis=0).ravel(),
                values.std(axis=0).ravel(),
                fmt=marker,
                ms=4,
                lw=0.8,
                color=color,
                alpha=0.8,
            )
    for name, marker in zip(uncorrelated["distributions"], markers, strict=True):
        last.plot([], [], color="0.3", ls="", marker=marker, ms=4, label=name)
    reach = true_smi.max()
    last.plot([0, reach], [0, reach], color="black", lw=1, ls="--", zorder=0, label="no error")
    last.set(
        title="without linear correlation",
        xlabel="true SMI (nat), from many samples",
        ylabel="estimated SMI (nat)",
    )
    # Linear to 0.01 nat, where noise may be negative; logarithmic above.
    last.set_xscale("symlog", linthresh=0.01)
    last.set_yscale("symlog", linthresh=0.01)
    last.set_xlim(left=-0.002)
    last.legend(loc="upper left")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    for axis in axes.ravel()[len(distributions) + 1 :]:
        axis.remove()
    return figure


def _method_label(method):
    if "mutinfo" in method:
        return "first neighbour (published weights)"
    return method.replace(", weights='kth'", "")


def plot_misleading(results):
    """Three ways in which sliced mutual information differs from mutual information.

    Parameters
    ----------
    results : dict
        "growing", "repeated" and "dims", each a dict of arrays: see `Synthetic_tests_SMI`.

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
        axes[0].plot(growing["mutual_information"], exact, color=line[0].get_color(), lw=1, ls="--")
    axes[0].set(xlabel="true MI (nat)", title="SMI goes flat while MI grows")
    axes[0].legend()
    axes[1].errorbar(repeated["times"], repeated["smi"], 2.0 * repeated["std_error"], **bars)
    axes[1].set(
        xlabel="times that one coordinate of each is repeated",
        title="SMI grows; MI stays at 1 nat",
        xticks=repeated["times"],
        ylim=(0.0, None),
    )
    line = axes[2].errorbar(
        dims["dims"], dims["smi"], 2.0 * dims["std_error"], label="estimate", **bars
    )
    axes[2].plot(dims["dims"], dims["exact"], color=line[0].get_color(), lw=1, ls="--")
    axes[2].fill_between(
        dims["dims"], *dims["null"].T, color="0.5", alpha=0.3, lw=0, label="permuted samples"
    )
    axes[2].set(
        xscale="log",
        xlabel="dimension of x and of y",
        title="SMI shrinks with the dimension; MI stays at 2 nat",
    )
    axes[2].set_yscale("symlog", linthresh=0.01)
    axes[2].set_ylim(-0.005, 5.0)
    axes[2].set_xticks(dims["dims"], dims["dims"])
    axes[2].minorticks_off()
    axes[2].legend()
    for axis in axes:
        axis.set_ylabel("SMI (nat)")
    return figure


def plot_weight_norms(dims, norms):
    """How much a weight rule multiplies noise, over the dimension.

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
        axis.plot(
            dims,
            values,
            marker="o",
            ms=4,
            color=_COLORS["base", rule],
            label=_RULES.get(rule, rule),
        )
    axis.set(
        yscale="log",
        xticks=dims,
        xlabel="joint dimension (of x and y together)",
        ylabel="1-norm of the weights",
        title="What the weights do to the noise",
    )
    axis.legend()
    return figure


def plot_information_planes(rows, *, layers, rule, title, label_entropy=None):
    """Figure 3: I(L;Y) over I(X;L), a row a way of measuring, a column a layer.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by row title.
    layers : sequence of str
        Which layers to show.
    rule : str
        Which weight rule.
    title : str
    label_entropy : float or None
        Entropy of the labels in nats, which I(L;Y) cannot exceed.

    Returns
    -------
    matplotlib Figure
        A point an epoch, coloured by it, with bars of two standard errors; a faint line joins them
        in order, and a star is the last. Values that no information can have, negative or above
        the labels' entropy, are shaded where they are in sight.
    """
    figure, axes = plt.subplots(
        len(rows),
        len(layers),
        figsize=(2.9 * len(layers) + 1.2, 2.9 * len(rows) + 0.6),
        squeeze=False,
    )
    figure.suptitle(title)
    last_epoch = max(results["epochs"][-1] for results in rows.values())
    norm = plt.Normalize(1, last_epoch)
    for row, (name, results) in zip(axes, rows.items(), strict=True):
        at_rule = results["rules"].index(rule)
        for axis, layer in zip(row, layers, strict=True):
            at = at_rule, results["layers"].index(layer)
            x, y = results["information_x"][at], results["information_y"][at]
            axis.errorbar(
                x,
                y,
                xerr=2.0 * results["information_x_error"][at],
                yerr=2.0 * results["information_y_error"][at],
                color="0.75",
                lw=0.8,
                elinewidth=0.4,
                errorevery=max(1, len(x) // 25),
                zorder=1,
            )
            points = axis.scatter(
                x, y, c=results["epochs"], cmap="viridis", norm=norm, s=14, zorder=2
            )
            axis.scatter(x[-1:], y[-1:], marker="*", s=120, fc="none", ec="black", zorder=3)
            _mark_impossible(axis, label_entropy=label_entropy, x_is_information=True)
            n_gaps = np.count_nonzero(np.isnan(x + y))
            axis.set_title(f"{layer}, {n_gaps} epochs not measured" if n_gaps else layer)
        row[0].set_ylabel(f"{name}\n\nI(L; Y) (nat)")
    for axis in axes[-1]:
        axis.set_xlabel("I(X; L) (nat)")
    ticks = plt.MaxNLocator(6, integer=True)
    figure.colorbar(points, ax=axes, label="epoch", pad=0.01, ticks=ticks)
    return figure


def plot_information_over_epochs(rows, *, rule, title, label_entropy=None):
    """I(X;L) and I(L;Y) of every layer over the epochs, with bands of two standard errors.

    Parameters
    ----------
    rows : dict of str to dict
        Results of `InformationPlane.results` by row title.
    rule : str
        Which weight rule.
    title : str
    label_entropy : float or None
        Entropy of the labels in nats, which I(L;Y) cannot exceed.

    Returns
    -------
    matplotlib Figure
        The last layer has panels of its own. Values that no information can have are shaded.
    """
    first = next(iter(rows.values()))
    layers = first["layers"]
    # The probabilities' values are far from the others': panels of their own.
    groups = [layers[:-1], layers[-1:]]
    figure, axes = plt.subplots(
        len(rows), 4, figsize=(16.0, 3.4 * len(rows) + 0.5), sharex=True, squeeze=False
    )
    figure.suptitle(title)
    colors = dict(zip(layers, sns.color_palette("viridis", len(layers)), strict=True))
    for row, (name, results) in zip(axes, rows.items(), strict=True):
        at_rule = results["rules"].index(rule)
        panels = [
            (quantity, label, group)
            for quantity, label in (("information_x", "I(X; L)"), ("information_y", "I(L; Y)"))
            for group in groups
        ]
        for axis, (quantity, label, group) in zip(row, panels, strict=True):
            for layer in group:
                at = at_rule, results["layers"].index(layer)
                value, error = results[quantity][at], 2.0 * results[f"{quantity}_error"][at]
                epochs, color = results["epochs"], colors[layer]
                axis.plot(epochs, value, color=color, lw=1.4, label=layer)
                axis.fill_between(
                    epochs, value - error, value + error, color=color, alpha=0.2, lw=0
                )
            limit = label_entropy if quantity == "information_y" else None
            _mark_impossible(axis, label_entropy=limit)
            axis.set(ylabel=f"{label} (nat)", title=name)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    handles = [line for axis in axes[0, :2] for line in axis.get_lines()]
    axes[0, -1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_metrics(history, *, title):
    """Loss, accuracy and ROC AUC over the epochs.

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
    figure, axes = plt.subplots(1, len(names), figsize=(12.0, 3.6))
    figure.suptitle(title)
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for part in ("train", "test"):
            values = history[f"{part}_{name}"]
            axis.plot(np.arange(1, len(values) + 1), values, label=f"{part} images")
        axis.set(xlabel="epoch", ylabel=label)
    axes[0].legend()
    return figure


def plot_reconstructions(originals, reconstructions, *, title):
    """Images above, what an autoencoder makes of them below.

    Parameters
    ----------
    originals, reconstructions : arrays, shape (n, height, width)
    title : str

    Returns
    -------
    matplotlib Figure
    """
    figure, axes = plt.subplots(
        2, len(originals), figsize=(0.9 * len(originals) + 0.8, 2.3), squeeze=False
    )
    figure.suptitle(title)
    for row, images, name in zip(
        axes, (originals, reconstructions), ("original", "from the code"), strict=True
    ):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image, cmap="gray_r")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def _mark_impossible(axis, *, label_entropy, x_is_information=False):
    """Shade I < 0, and I(L;Y) above the entropy of the labels, where the axes show it."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    shade = {"color": "firebrick", "alpha": 0.08, "lw": 0, "zorder": 0}
    if x_is_information and left < 0:
        axis.axvspan(left, min(0.0, right), **shade)
    if bottom < 0:
        axis.axhspan(bottom, min(0.0, top), **shade)
    if label_entropy is not None and top > label_entropy:
        axis.axhspan(max(label_entropy, bottom), top, **shade)
        axis.axhline(label_entropy, color="firebrick", lw=0.8, ls="--")
    axis.set_ylim(bottom, top)
    if x_is_information:
        axis.set_xlim(left, right)


def _truth_line(axis, results, quantity, at):
    truth = results["mutual_informations"]
    if quantity == "base":
        axis.plot(truth, truth, color="black", lw=1, ls="--", label="true MI")
    elif "smi_exact" in results:
        axis.plot(truth, results["smi_exact"][at], color="black", lw=1, ls="--", label="exact SMI")


def _band(axis, x, values, color, label, *, alpha=0.2):
    """Mean over the seeds (first axis) as a line, least and greatest as a band."""
    axis.plot(x, values.mean(axis=0), color=color, marker="o", ms=3, label=label)
    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=alpha, lw=0)


def _position(results, dim):
    dims = list(results["dims"])
    if dim not in dims:
        raise ValueError(f"dim={dim} is not among the dimensions of these results, {dims}")
    return dims.index(dim)
