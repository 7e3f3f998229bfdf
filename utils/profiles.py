"""Sizes of the notebooks' runs: "quick" for a laptop, "paper" as published, "tiny" for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .interruption import MissingRunError, ParameterError
from .results import SavedResults, load_results

__all__ = ["PROFILES", "load_run", "results_directory", "settings_of"]

_NOTEBOOKS = {
    "mnist_smi": "MNIST-SMI.ipynb",
    "mnist_trainings": "MNIST-SMI.ipynb",
    "mnist_aemi": "MNIST-AEMI.ipynb",
}

PROFILES = ("quick", "paper", "tiny")


def _up_to_4(n):
    """So many values, evenly spaced from 0 to 4 nats."""
    return tuple(np.linspace(0, 4, n))


_CORRELATED, _UNCORRELATED = ("normal", "uniform", "cubed"), ("sign-flipped", "squared")
_FEW_DIMS, _FEW_VALUES = (2, 5, 10), (0.0, 0.5, 1.0, 2.0, 4.0)
_MEASURED_AFTER = (
    (0, 1, 2, 3, 4, 5, 6, 8, 11, 14),
    (1, *range(2, 51, 2), *range(60, 301, 10)),
    (0, 1, 3),
)
# By experiment and setting: the values of the three profiles, in the order above. "tiny" is large
# enough to run, and too small to mean anything.
_SETTINGS: dict[str, dict[str, tuple[Any, Any, Any]]] = {
    # Figures 1 and 2.
    "synthetic": {
        "dims": (
            (1, 2, 6, 10, 20, 50),
            (1, 2, 5, 6, 8, 10, 20, 30, 40, 50, 75, 100),
            (1, 2, 6, 10),
        ),
        "mutual_informations": (_up_to_4(7), _up_to_4(21), _up_to_4(3)),
        "n_samples": (1000, 3000, 200),
        "n_projections": (400, 2000, 20),
        "n_seeds": (2, 10, 2),
    },
    # Figure 2, continued: correlated data, data without correlation, and their true SMI.
    "estimators": {
        "distributions": (_CORRELATED, _CORRELATED, _CORRELATED),
        "dims": ((10, 50), (10, 20, 50, 100, 200), (3, 10)),
        "mutual_informations": (_up_to_4(5), _up_to_4(11), _up_to_4(3)),
        "n_samples": (1000, 3000, 200),
        "n_projections": (200, 500, 20),
        "n_seeds": (1, 2, 2),
    },
    "uncorrelated": {
        "distributions": (_UNCORRELATED, _UNCORRELATED, _UNCORRELATED),
        "dims": (_FEW_DIMS, _FEW_DIMS, (2, 5)),
        "mutual_informations": (_FEW_VALUES, _FEW_VALUES, (0.0, 2.0)),
        "n_samples": (1000, 3000, 200),
        "n_projections": (200, 1000, 20),
        "n_seeds": (1, 2, 2),
    },
    "truth": {
        "n_samples": (5000, 20_000, 500),
        "n_projections": (100, 200, 20),
        "n_seeds": (1, 1, 1),
    },
    "misleading": {"n_samples": (1000, 3000, 200), "n_projections": (100, 2000, 20)},
    # Figure 3.
    "classifier": {
        "images": ("mnist-5k", "mnist", "mnist-5k"),
        "epochs": (14, 300, 3),
        "learning_rate": (4e-4, 1e-5, 1e-3),
        "batch_size": (128, 1024, 128),
        "measured_after": _MEASURED_AFTER,
        "n_projections": (300, 1000, 20),
        "n_other_starts": (2, 10, 2),
        "n_other_trainings": (1, 1, 1),
    },
    # Autoencoder + PCA: at full size it is measured after every epoch.
    "aemi": {"measured_after": (_MEASURED_AFTER[0], tuple(range(1, 301)), _MEASURED_AFTER[2])},
    "autoencoder": {
        "epochs": (20, 200, 2),
        "learning_rate": (2e-3, 1e-3, 1e-3),
        "batch_size": (128, 2048, 256),
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
        Yours to change.

    Raises
    ------
    ValueError
        If there is no such profile or experiment.
    """
    _check(profile, PROFILES, "profile")
    _check(experiment, _SETTINGS, "experiment")
    at = PROFILES.index(profile)
    return {name: values[at] for name, values in _SETTINGS[experiment].items()}


def results_directory(profile: str) -> Path:
    """Where the results of a profile are, such as "results/quick".

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    _check(profile, PROFILES, "profile")
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
            f"There are no results of {_NOTEBOOKS[name]} with PROFILE = {profile!r} under "
            f"{Path.cwd()}; run it first: `make figures PROFILE={profile}` runs all notebooks"
        ) from None


def _check(value, choices, name):
    if value not in choices:
        raise ParameterError(f"{name}={value!r} is unknown; choose among {tuple(choices)}")
