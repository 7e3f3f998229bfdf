"""Sizes of the notebooks' runs: "quick" for a laptop, "paper" as published, "tiny" for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .interruption import MissingRunError, ParameterError
from .results import SavedResults, load_results

__all__ = ["load_run", "results_directory", "settings_of"]

_NOTEBOOKS = {
    "mnist_smi": "MNIST-SMI.ipynb",
    "mnist_trainings": "MNIST-SMI.ipynb",
    "mnist_aemi": "MNIST-AEMI.ipynb",
}

_PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        # Figures 1 and 2.
        "synthetic": {
            "dims": (1, 2, 6, 10, 20, 50),
            "mutual_informations": tuple(np.linspace(0, 4, 11)),
            "n_samples": 1000,
            "n_projections": 400,
            "n_seeds": 3,
        },
        # Figure 2, continued: correlated data, data without correlation, and their true SMI.
        "estimators": {
            "distributions": ("normal", "uniform", "cubed"),
            "dims": (10, 50),
            "mutual_informations": tuple(np.linspace(0, 4, 6)),
            "n_samples": 1000,
            "n_projections": 200,
            "n_seeds": 3,
        },
        "uncorrelated": {
            "distributions": ("sign-flipped", "squared"),
            "dims": (2, 5, 10),
            "mutual_informations": (0.0, 0.5, 1.0, 2.0, 4.0),
            "n_samples": 1000,
            "n_projections": 400,
            "n_seeds": 3,
        },
        "truth": {"n_samples": 10_000, "n_projections": 100, "n_seeds": 1},
        "misleading": {"n_samples": 3000, "n_projections": 400},
        # Figure 3.
        "classifier": {
            "images": "mnist-5k",
            "epochs": 20,
            "learning_rate": 3e-4,
            "batch_size": 128,
            "measured_after": (0, 1, 2, 3, 5, 7, 10, 13, 16, 20),
            "n_projections": 400,
            "n_other_starts": 3,
            "n_other_trainings": 1,
        },
        "aemi": {},
        "autoencoder": {"epochs": 40, "batch_size": 128},
    },
    "paper": {
        "synthetic": {
            "dims": (1, 2, 5, 6, 8, 10, 20, 30, 40, 50, 75, 100),
            "mutual_informations": tuple(np.linspace(0, 4, 21)),
            "n_samples": 3000,
            "n_projections": 2000,
            "n_seeds": 10,
        },
        "estimators": {
            "distributions": ("normal", "uniform", "cubed"),
            "dims": (10, 20, 50, 100, 200),
            "mutual_informations": tuple(np.linspace(0, 4, 11)),
            "n_samples": 3000,
            "n_projections": 500,
            "n_seeds": 2,
        },
        "uncorrelated": {
            "distributions": ("sign-flipped", "squared"),
            "dims": (2, 5, 10),
            "mutual_informations": (0.0, 0.5, 1.0, 2.0, 4.0),
            "n_samples": 3000,
            "n_projections": 1000,
            "n_seeds": 2,
        },
        "truth": {"n_samples": 20_000, "n_projections": 200, "n_seeds": 1},
        "misleading": {"n_samples": 3000, "n_projections": 2000},
        "classifier": {
            "images": "mnist",
            "epochs": 300,
            "learning_rate": 1e-5,
            "batch_size": 1024,
            "measured_after": (1, *range(2, 51, 2), *range(60, 301, 10)),
            "n_projections": 1000,
            "n_other_starts": 10,
            "n_other_trainings": 1,
        },
        # Autoencoder + PCA is measured after every epoch.
        "aemi": {"measured_after": tuple(range(1, 301))},
        "autoencoder": {"epochs": 200, "batch_size": 2048},
    },
    # Large enough to run, and too small to mean anything.
    "tiny": {
        "synthetic": {
            "dims": (1, 2, 6, 10),
            "mutual_informations": (0.0, 2.0, 4.0),
            "n_samples": 200,
            "n_projections": 20,
            "n_seeds": 2,
        },
        "estimators": {
            "distributions": ("normal", "uniform", "cubed"),
            "dims": (3, 10),
            "mutual_informations": (0.0, 2.0, 4.0),
            "n_samples": 200,
            "n_projections": 20,
            "n_seeds": 2,
        },
        "uncorrelated": {
            "distributions": ("sign-flipped", "squared"),
            "dims": (2, 5),
            "mutual_informations": (0.0, 2.0),
            "n_samples": 200,
            "n_projections": 20,
            "n_seeds": 2,
        },
        "truth": {"n_samples": 500, "n_projections": 20, "n_seeds": 1},
        "misleading": {"n_samples": 200, "n_projections": 20},
        "classifier": {
            "images": "mnist-5k",
            "epochs": 3,
            "learning_rate": 1e-3,
            "batch_size": 128,
            "measured_after": (0, 1, 3),
            "n_projections": 20,
            "n_other_starts": 2,
            "n_other_trainings": 1,
        },
        "aemi": {},
        "autoencoder": {"epochs": 2, "batch_size": 256},
    },
}


def settings_of(profile: str, experiment: str) -> dict[str, Any]:
    """The sizes of one experiment.

    Parameters
    ----------
    profile : {"quick", "paper", "tiny"}
    experiment : str
        "synthetic", "estimators", "uncorrelated", "truth", "misleading", "classifier", "aemi" or
        "autoencoder".

    Returns
    -------
    dict
        A copy, to change as one likes.

    Raises
    ------
    ValueError
        If there is no such profile or experiment.
    """
    _check(profile, _PROFILES, "profile")
    _check(experiment, _PROFILES[profile], "experiment")
    return dict(_PROFILES[profile][experiment])


def results_directory(profile: str) -> Path:
    """Where the results of a profile are, such as "results/quick".

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    _check(profile, _PROFILES, "profile")
    return Path("results") / profile


def load_run(profile: str, name: str) -> SavedResults:
    """What a notebook has saved in a profile.

    Parameters
    ----------
    profile : {"quick", "paper", "tiny"}
    name : {"mnist_smi", "mnist_trainings", "mnist_aemi"}

    Raises
    ------
    ValueError
        If there is no such profile or name.
    FileNotFoundError
        If the notebook has not run in this profile; the message names it.
    """
    _check(name, _NOTEBOOKS, "name")
    try:
        return load_results(name, directory=results_directory(profile))
    except FileNotFoundError:
        raise MissingRunError(
            f"{_NOTEBOOKS[name]} has not run with PROFILE = {profile!r}, or in another folder than "
            f"{Path.cwd()}. Run it first; `make figures PROFILE={profile}` runs all notebooks"
        ) from None


def _check(value, choices, name):
    if value not in choices:
        raise ParameterError(f"{name}={value!r} is unknown; choose among {tuple(choices)}")
