"""Figures: saved results on axes. Nothing is estimated here, and nothing is shown by itself."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from .experiments import correlations

__all__ = [
    "plot_correlations",
    "plot_estimates",
    "plot_exact_smi",
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
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "axes.titlesize": "medium",
        "legend.fontsize": "small",
    })


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
    figure, axes = plt.subplots(2, len(dims), figsize=(3.2 * len(dims) + 0.8, 6.4), sharex=True,
                                squeeze=False)
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
                    notes.append(f"{label},\nfrom {values.min():.0f} to {values.max():.0f} nat: "
                                 f"off the axes")
                else:
                    _band(axis, truth, values, color, label)
            if quantity == "base":
                axis.set_ylim(-2.5, 1.5 * truth.max())
            for note in notes:
                axis.text(0.96, 0.05, note, transform=axis.transAxes, ha="right", va="bottom",
                          fontsize="x-small", color=_COLORS[quantity, "mutinfo"])
            axis.legend(loc="upper left", handlelength=1.2)
        column[1].set_xlabel("true MI (nat)")
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
    figure, axes = plt.subplots(1, len(rules), figsize=(5.0 * len(rules) + 0.8, 4.4), sharex=True,
                                sharey=True, squeeze=False)
    figure.suptitle(title)
    shown = [dim for dim in results["dims"] if dim > 1]
    colors = sns.color_palette("viridis", len(shown))
    for axis, values, rule in zip(axes[0], results["smi"], rules, strict=True):
        for dim, color in zip(shown, colors, strict=True):
            at = _position(results, dim)
            axis.errorbar(results["smi_exact"][at], values[:, at].mean(axis=0),
                          values[:, at].std(axis=0), fmt="o", ms=4, lw=1, color=color,
                          label=f"{dim}")
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
    panels : dict of str to dict
        Results of `run_synthetic` by panel title.
    published : dict or None
        "dim", "correlation_mi" and "correlation_smi", drawn as faint markers in every panel.

    Returns
    -------
    matplotlib Figure
        Lines are means over the seeds, bands the least and greatest seed.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels) + 0.8, 4.6),
                                sharex=True, sharey=True, squeeze=False)
    for axis, (title, results) in zip(axes[0], panels.items(), strict=True):
        for quantity, name in _QUANTITIES.items():
            for rule, values in zip(results["weights"], correlations(results, quantity),
                                    strict=True):
                _band(axis, results["dims"], values, _COLORS.get((quantity, rule)),
                      f"{name}, {_RULES.get(rule, rule)}")
            if published is not None:
                axis.plot(published["dim"],
                          published[{"base": "correlation_mi", "smi": "correlation_smi"}[quantity]],
                          ls="", marker={"base": "x", "smi": "o"}[quantity], mfc="none", ms=6,
                          color="0.45", label=f"published {name.split()[0]}", zorder=3)
        axis.axhline(0, color="black", lw=0.8)
        axis.set(xscale="log", xlabel="dimension of x and of y", title=title, ylim=(-0.6, 1.05))
        axis.set_xticks(results["dims"], results["dims"], rotation=60, fontsize="small")
        axis.minorticks_off()
    axes[0, 0].set_ylabel("correlation with the true MI")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
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
        axis.plot(dims, values, marker="o", ms=4, color=_COLORS["base", rule],
                  label=_RULES.get(rule, rule))
    axis.set(yscale="log", xlabel="joint dimension (of x and y together)",
             ylabel="1-norm of the weights", title="What the weights do to the noise")
    axis.legend()
    return figure


def _truth_line(axis, results, quantity, at):
    truth = results["mutual_informations"]
    if quantity == "base":
        axis.plot(truth, truth, color="black", lw=1, ls="--", label="true MI")
    elif "smi_exact" in results:
        axis.plot(truth, results["smi_exact"][at], color="black", lw=1, ls="--", label="exact SMI")


def _band(axis, x, values, color, label):
    """Mean over the seeds (first axis) as a line, least and greatest as a band."""
    axis.plot(x, values.mean(axis=0), color=color, marker="o", ms=3, label=label)
    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, lw=0)


def _position(results, dim):
    dims = list(results["dims"])
    if dim not in dims:
        raise ValueError(f"dim={dim} is not among the dimensions of these results, {dims}")
    return dims.index(dim)
