"""Short tables of saved results, as the notebooks show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .estimators import neighbor_weights
from .experiments import correlations
from .plotting.style import name_of_rule
from .results import SavedResults, load_results

__all__ = [
    "benchmark",
    "classifier_ends",
    "compare_estimators",
    "compare_planes",
    "compare_starts",
    "compare_with_exact",
    "compare_with_mutinfo",
    "compare_with_published",
    "describe_training",
    "first_and_last",
    "published",
    "starts_of_other_seeds",
    "weight_norms",
]

_QUANTITIES = {"information_x": "I(X; L)", "information_y": "I(L; Y)"}


def published(figure: str) -> dict[str, Any]:
    """The numbers read off a published figure.

    Parameters
    ----------
    figure : {"figure_1", "figure_2", "figure_3"}

    Raises
    ------
    FileNotFoundError
        Outside a clone, which alone has them.
    """
    path = Path(__file__).parents[1] / "results" / "published" / "figures.json"
    return json.loads(path.read_text(encoding="utf-8"))[figure]


def benchmark(name: str, *, index: Sequence[str], data: str | None = None) -> pd.DataFrame:
    """What a script in `benchmarks/` has saved in results/paper.

    Parameters
    ----------
    name : str
        Of the result file.
    index : sequence of str
        Columns that say what was measured.
    data : str or None
        Only the rows whose "data" is this.
    """
    rows = load_results(name, directory="results/paper").results["rows"]
    chosen = [row for row in rows if data is None or row["data"] == data]
    return pd.DataFrame(chosen).set_index(list(index)).dropna(axis=1, how="all")


def describe_training(smi: SavedResults, aemi: SavedResults) -> str:
    """The training that two results come from, and whether it is the same one."""
    same = all(
        np.array_equal(values, aemi.results["history"].get(name))
        for name, values in smi.results["history"].items()
        if name in aemi.results["history"]
    )
    return (
        f"{smi.settings['images']}, {smi.settings['epochs']} epochs; "
        f"{'one training' if same else 'two different trainings'}"
    )


def compare_with_exact(rows: Mapping[str, tuple[float, Mapping[str, Any]]]) -> pd.DataFrame:
    """Exact values beside estimates by rule.

    Parameters
    ----------
    rows : dict of str to (exact value, dict of estimates by rule)

    Returns
    -------
    DataFrame
        One row per quantity, one column per rule.
    """
    return pd.DataFrame(
        {
            name: {"exact": f"{exact:.4f}"}
            | {
                name_of_rule(rule): f"{estimate.value:.4f} +- {estimate.std_error:.4f}"
                for rule, estimate in estimates.items()
            }
            for name, (exact, estimates) in rows.items()
        }
    ).T


def weight_norms(k: int, dims: Sequence[int]) -> dict[str, list[float]]:
    """The 1-norm of the published weights and of the k-th neighbour's, by rule."""
    return {
        rule: [float(np.abs(neighbor_weights(rule, k, dim)).sum()) for dim in dims]
        for rule in ("mutinfo", "kth")
    }


def compare_with_published(
    results: Mapping[str, Any], published: Mapping[str, Any]
) -> pd.DataFrame:
    """Figure 2's correlations for the published weights: one row per quantity, one column per dim.

    Parameters
    ----------
    results : dict
        From `run_synthetic` at the published sizes.
    published : dict
        "correlation_mi" and "correlation_smi", for the same dimensions.
    """
    rule = results["weights"].index("mutinfo")
    rows: dict[str, Any] = {}
    for name, quantity in (("SMI", "smi"), ("MI", "base")):
        values = correlations(results, quantity)[rule]
        rows |= {
            name: values.mean(axis=0),
            f"{name}, between seeds": values.std(axis=0),
            f"{name}, published": published[f"correlation_{name.lower()}"],
        }
    return pd.DataFrame(rows, index=pd.Index(results["dims"], name="dimension")).T.round(3)


def compare_with_mutinfo(saved: SavedResults) -> pd.DataFrame:
    """The mutinfo library's estimators beside ours, slice by slice: one row for each of theirs.

    Parameters
    ----------
    saved : SavedResults
        From `benchmarks/mutinfo.py`.

    Returns
    -------
    DataFrame
        The largest difference of any slice that is not clipped at 0, the share of those that are,
        and means over the slices of dependent and of independent data.
    """
    is_dependent = np.array(saved.settings["mutual_informations"]) > 0.0
    rows = {}
    for y, values in saved.results.items():
        for name in saved.settings["counterparts"].keys() & values.keys():
            counterpart = saved.settings["counterparts"][name]
            theirs, ours = values[name], values[counterpart]
            is_clipped = theirs == 0.0
            rows[y, name] = {
                "ours": counterpart,
                "largest difference": f"{np.abs(theirs - ours)[~is_clipped].max():.0e}",
                "clipped at 0": f"{is_clipped.mean():.0%}",
            } | {
                f"{data}: theirs, ours": f"{theirs[:, of].mean():.3f}, {ours[:, of].mean():.3f}"
                for data, of in (("dependent", is_dependent), ("independent", ~is_dependent))
            }
    return pd.DataFrame(rows).T.sort_index(ascending=False)


def compare_estimators(results: Mapping[str, Any]) -> pd.DataFrame:
    """Mean correlation with the true MI: one row per estimator, one column per data set."""
    found = correlations(results, "smi").mean(axis=2)
    return pd.DataFrame(
        {
            (distribution, dim): found[:, i, j]
            for i, distribution in enumerate(results["distributions"])
            for j, dim in enumerate(results["dims"])
        },
        index=results["methods"],
    ).round(2)


def first_and_last(plane: Mapping[str, Any], *, rules: Sequence[str]) -> pd.DataFrame:
    """Information of each layer at the first and at the last measured epoch.

    Parameters
    ----------
    plane : dict
        From `InformationPlane.results`.
    rules : sequence of str
        One group of columns each.
    """
    epochs = plane["epochs"]
    return pd.DataFrame(
        {
            (name_of_rule(rule), f"{label}, epoch {epochs[at]}"): plane[quantity][
                plane["rules"].index(rule), :, at
            ]
            for rule in rules
            for quantity, label in _QUANTITIES.items()
            for at in (0, -1)
        },
        index=plane["layers"],
    ).round(3)


def starts_of_other_seeds(other_starts: Mapping[str, np.ndarray], *, rule: int) -> dict[str, Any]:
    """The range over other seeds of arrays (n_seeds, n_rules, n_layers), as text, by quantity."""
    return {
        quantity: [_range(column) for column in other_starts[quantity][:, rule].T]
        for quantity in _QUANTITIES
    }


def compare_starts(smi: Mapping[str, Any], published: Mapping[str, Any]) -> pd.DataFrame:
    """Every layer at the first epoch: this network, other seeds, and the published figure.

    Parameters
    ----------
    smi : dict
        Results of `MNIST-SMI`.
    published : dict
        "figure_3" of the published numbers.
    """
    plane, at = smi["plane"], smi["plane"]["rules"].index("mutinfo")
    others = starts_of_other_seeds(smi["other_starts"], rule=at)
    return pd.DataFrame(
        {
            ("I(X; L)", "this network"): plane["information_x"][at, :, 0].round(3),
            ("I(X; L)", "other seeds"): others["information_x"],
            ("I(X; L)", "published, least"): [
                low for low, _ in published["smi_I_XL_range"].values()
            ],
            ("I(L; Y)", "this network"): plane["information_y"][at, :, 0].round(3),
            ("I(L; Y)", "other seeds"): others["information_y"],
            ("I(L; Y)", "published"): [
                first for first, _ in published["smi_I_LY_first_last"].values()
            ],
        },
        index=plane["layers"],
    )


def compare_planes(
    planes: Mapping[str, Mapping[str, Any]], published: Mapping[str, Any]
) -> pd.DataFrame:
    """Ranges and ends of the information of every layer, beside the published figure.

    Parameters
    ----------
    planes : dict of str to dict
        Results of `InformationPlane.results`, by "MI" and "SMI".
    published : dict
        "figure_3" of the published numbers.
    """
    tables = {}
    for name, plane in planes.items():
        at, key = plane["rules"].index("mutinfo"), name.lower()
        x, y = plane["information_x"][at], plane["information_y"][at]
        tables[name] = pd.DataFrame(
            {
                "I(X; L), range": [_range(row) for row in x],
                "published range": [
                    f"{low} to {high}" for low, high in published[f"{key}_I_XL_range"].values()
                ],
                "I(L; Y), first and last": [f"{row[0]:.3f}, {row[-1]:.3f}" for row in y],
                "published": [
                    f"{first}, {last}"
                    for first, last in published[f"{key}_I_LY_first_last"].values()
                ],
            },
            index=plane["layers"],
        )
    return pd.concat(tables)


def classifier_ends(
    histories: Mapping[str, Mapping[str, Any]], published: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """The last epoch's metrics of several trainings: one row each.

    Parameters
    ----------
    histories : dict of str to dict
        From `train_classifier`, by name.
    published : dict or None
        "figure_3" of the published numbers, for one more row.
    """
    rows = {
        name: {metric: values[-1] for metric, values in history.items()}
        for name, history in histories.items()
    }
    if published is not None:
        rows["published"] = {
            metric.removesuffix("_first_last"): last
            for metric, (_, last) in published["classifier"].items()
        }
    # Without the training images in evaluation mode: more columns do not fit a page.
    parts = {"test": "test images", "train": "training images, with dropout"}
    names = {"loss": "loss (nat)", "accuracy": "accuracy", "roc_auc": "ROC AUC"}
    columns = {
        (part_label, label): {
            row: f"{values[key]:.3f}" if (key := f"{part}_{name}") in values else ""
            for row, values in rows.items()
        }
        for part, part_label in parts.items()
        for name, label in names.items()
    }
    return pd.DataFrame(columns)


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"
