"""The style that all figures share, and how they are saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..interruption import ParameterError

__all__ = ["index_of", "name_of_rule", "save_figure", "spread_labels", "styled", "symlog"]

_STYLE = (
    sns.plotting_context("notebook")
    | sns.axes_style("whitegrid")
    | {
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "axes.prop_cycle": plt.cycler(color=sns.color_palette("colorblind")),
        "axes.titlesize": "medium",
        "grid.linewidth": 0.6,
        "legend.fontsize": "small",
    }
)
_RULES = {"mutinfo": "published weights", "kth": "k-th neighbour"}

Parameters = ParamSpec("Parameters")


def styled(plot: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Make a function draw in the style of this project, without changing the user's own style."""

    @wraps(plot)
    def in_style(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        # Not rc_context: the first figure chooses a backend, which changes settings of its own.
        before = {name: plt.rcParams[name] for name in _STYLE}
        plt.rcParams.update(_STYLE)
        try:
            return plot(*args, **kwargs)
        finally:
            plt.rcParams.update(before)

    return in_style


def save_figure(figure: Figure, name: str, *, directory: Any) -> None:
    """Save a figure as `name`.png and `name`.pdf.

    Parameters
    ----------
    figure : matplotlib Figure
    name : str
    directory : path-like
        Created if it does not exist.
    """
    directory = Path(directory).expanduser()
    directory.mkdir(parents=True, exist_ok=True)
    # Laid out once, not for each file and again for the page: that takes as long as drawing.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    figure.savefig(directory / f"{name}.png", dpi=150)
    # Without the date: the same results then give the same file.
    figure.savefig(directory / f"{name}.pdf", metadata={"CreationDate": None})


def name_of_rule(rule: str) -> str:
    """The name of a weight rule in text and figures."""
    return _RULES.get(rule, rule)


def index_of(value: Any, choices: Sequence[Any], name: str) -> int:
    """The position of a value among those in the results.

    Raises
    ------
    ValueError
        If it is not among them.
    """
    choices = list(choices)
    if value not in choices:
        raise ParameterError(f"{name}={value!r} is not in these results; choose among {choices}")
    return choices.index(value)


def symlog(axis: Axes, *, sides: str) -> None:
    """Scale axes linearly up to 0.01 nat, where noise may be negative, and by logarithms above."""
    for side in sides:
        getattr(axis, f"set_{side}scale")("symlog", linthresh=0.01)


def spread_labels(heights: Sequence[float], *, distance: float) -> np.ndarray:
    """Heights of labels beside their curves, moved apart until none covers another.

    Parameters
    ----------
    heights : sequence of float
        Where the labels would be best.
    distance : float
        The least distance between two of them.

    Returns
    -------
    array
        Heights in the same order.
    """
    order = np.argsort(heights)
    placed = np.array(heights, dtype=float)[order]
    for _ in range(100):
        overlaps = np.maximum(distance - np.diff(placed), 0.0)
        if not overlaps.any():
            break
        placed[:-1] -= overlaps / 2
        placed[1:] += overlaps / 2
    # The inverse of a permutation is its order.
    return placed[np.argsort(order)]
