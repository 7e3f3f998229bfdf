"""The mutinfo library's estimators on slices of the normal pairs of Figure 1, beside ours.

    python -m benchmarks.mutinfo      # results/paper/mutinfo.pkl

What is installed is measured: the newer library by requirements-mutinfo.txt, the older one
(Information-v3 0.0.1, which needs scikit-learn below 1.3) in another environment, since both have
the same name. What the file holds of the other one is kept if the settings are the same; ours is
measured anew.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from utils import (
    KSG,
    WKL,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    load_results,
    mutual_information_of_slices,
    save_results,
    summaries,
)

DIRECTORY = Path("results/paper")
NAME = "mutinfo"
SETTINGS = {
    "dims": [1, 2, 6, 10],
    "mutual_informations": [0.0, 1.0, 2.0, 3.0, 4.0],
    "n_samples": 3000,
    "n_projections": 50,
    "k": 5,
    "n_classes": 3,
    "seed": 0,
    # Theirs, and which of ours is the same estimator.
    "counterparts": {
        "mutinfo 2026.5 KSG": "KSG(5)",
        "mutinfo 2026.5 WKL": "WKL(5, 'mutinfo')",
        "mutinfo 2026.5 gaussian": "Gaussian()",
        "mutinfo 0.0.1 MutualInfoEstimator": "WKL(5, 'mutinfo')",
    },
}
OURS = {
    "KSG(5)": KSG(5),
    "WKL(5, 'mutinfo')": WKL(5, "mutinfo"),
    "Gaussian()": Gaussian(),
}
MEASURE_LABELS = {
    "mutinfo 2026.5 WKL",
    "mutinfo 0.0.1 MutualInfoEstimator",
    "WKL(5, 'mutinfo')",
}


def newer_estimators():
    neighbors = importlib.import_module("mutinfo.estimators.knn")
    gaussian = importlib.import_module("mutinfo.estimators.gaussian")
    return {
        "mutinfo 2026.5 KSG": neighbors.KSG(k_neighbors=5),
        "mutinfo 2026.5 WKL": neighbors.WKL(k_neighbors=5),
        "mutinfo 2026.5 gaussian": gaussian.MutualInformation(),
    }


def older_estimators():
    module = importlib.import_module("mutinfo.estimators.mutual_information")
    parameters = {"method": "KL", "functional_params": {"k_neighbours": 5}}
    estimator = module.MutualInfoEstimator(entropy_estimator_params=parameters)
    return {"mutinfo 0.0.1 MutualInfoEstimator": estimator}


def installed_estimators():
    """Theirs by name; none where no library of that name is installed."""
    found = {}
    for estimators in (newer_estimators, older_estimators):
        try:
            found |= estimators()
        except ImportError:
            continue
    return found


def slices(dim, mutual_information):
    """Slices of x and of y, (n_slices, n) each, and labels that depend on x."""
    rngs = np.random.default_rng([SETTINGS["seed"], dim, int(10 * mutual_information)]).spawn(4)
    pair = CorrelatedNormal(mutual_information, dim, dim, rng=rngs[0])
    x, y = pair.sample(SETTINGS["n_samples"], rng=rngs[1])
    projected = [
        SMICompressor(dim, SETTINGS["n_projections"], rng=rng)(values)
        for rng, values in zip(rngs[2:], (x, y), strict=True)
    ]
    edges = np.quantile(y[:, 0], np.arange(1, SETTINGS["n_classes"]) / SETTINGS["n_classes"])
    return *projected, np.digitize(y[:, 0], edges)


def per_slice(estimator, *, y_discrete):
    """The value of every slice, (n_dims, n_mutual_informations, n_slices)."""
    values = []
    for dim in SETTINGS["dims"]:
        for mutual_information in SETTINGS["mutual_informations"]:
            x, y, labels = slices(dim, mutual_information)
            estimate = mutual_information_of_slices(
                x, labels if y_discrete else y, estimator=estimator, y_discrete=y_discrete, rng=0
            )
            values.append(estimate.per_slice)
    shape = len(SETTINGS["dims"]), len(SETTINGS["mutual_informations"]), -1
    return np.reshape(values, shape)


def main():
    results = {"pairs": {}, "labels": {}}
    if (DIRECTORY / f"{NAME}.pkl").exists():
        saved = load_results(NAME, directory=DIRECTORY)
        results = saved.results if saved.settings == SETTINGS else results
    for name, estimator in (OURS | installed_estimators()).items():
        print(name, flush=True)
        results["pairs"][name] = per_slice(estimator, y_discrete=False)
        if name in MEASURE_LABELS:
            results["labels"][name] = per_slice(estimator, y_discrete=True)
    save_results(NAME, results, settings=SETTINGS, directory=DIRECTORY)
    print(summaries.compare_with_mutinfo(load_results(NAME, directory=DIRECTORY)).to_string())


if __name__ == "__main__":
    main()
