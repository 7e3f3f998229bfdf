"""The synthetic grid behind Figures 1 and 2: dimensions x mutual information x seeds.

Each point measures one sample in full dimension (the base estimate) and in slices (SMI), under
several weight rules from the same neighbours, with slices drawn as in the published runs. A run can
be stopped at any time: what is done is on disk, and the same call goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

from .estimators import WKL
from .interruption import stopped_by_sigterm
from .results import load_results, save_results
from .smi import sliced_mutual_information
from .synthetic import CorrelatedCubed, CorrelatedNormal, CorrelatedUniform
from .validation import check_count, check_neighbors

__all__ = ["SyntheticConfig", "correlations", "run_synthetic"]

DISTRIBUTIONS = {
    "normal": CorrelatedNormal,
    "uniform": CorrelatedUniform,
    "cubed": CorrelatedCubed,
}
_QUANTITIES = ("base", "base_std_error", "smi", "smi_std_error")


@dataclass(frozen=True)
class SyntheticConfig:
    """What to measure; saved beside the results.

    Parameters
    ----------
    distribution : {"normal", "uniform", "cubed"}
        Both vectors have this kind of components.
    dims : tuple of int
        Dimensions of each of the two vectors.
    mutual_informations : tuple of float
        True values in nats.
    n_samples, n_projections : int
    k : int
        Neighbours of the WKL estimator.
    weights : tuple of str
        Weight rules, see `estimators.neighbor_weights`; all from the same neighbours.
    n_seeds : int
        Repetitions, each with samples, rotations and directions of its own.
    seed : int
        The whole run follows from it. A (repetition, dimension) has a random stream of its own, so
        that it gives the same numbers whatever else is in the grid.
    """

    distribution: str = "normal"
    dims: tuple[int, ...] = (1, 2, 5, 10)
    mutual_informations: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0)
    n_samples: int = 3000
    n_projections: int = 2000
    k: int = 5
    weights: tuple[str, ...] = ("mutinfo", "kth")
    n_seeds: int = 10
    seed: int = 0

    def __post_init__(self):
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution={self.distribution!r} is unknown; choose among "
                f"{tuple(DISTRIBUTIONS)}"
            )
        for name in ("dims", "mutual_informations", "weights"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"{name} is empty; give at least one value")
        dims = tuple(check_count(dim, "a value of dims") for dim in self.dims)
        object.__setattr__(self, "dims", dims)
        values = tuple(float(value) for value in self.mutual_informations)
        object.__setattr__(self, "mutual_informations", values)
        object.__setattr__(self, "weights", tuple(self.weights))
        for value in values:
            CorrelatedNormal(value, min(dims), min(dims))
        for name in ("n_samples", "n_projections", "n_seeds"):
            check_count(getattr(self, name), name)
        check_count(self.seed, "seed", least=0)
        WKL(self.k, self.weights)
        check_neighbors(self.n_samples, self.k, "n_samples")


def run_synthetic(config, *, path, n_jobs=-1, overwrite=False, progress=True):
    """Measure every point of the grid; continue where an earlier run stopped.

    Parameters
    ----------
    config : SyntheticConfig
    path : path-like
        Result file, ending in .pkl. It is rewritten, whole or not at all, after every (seed, dim).
    n_jobs : int
        Processes, as in joblib; -1 is one a core. `joblib.parallel_config` chooses another backend.
        It does not change the numbers.
    overwrite : bool
        What to do with a file made with other settings: start anew instead of raising.
    progress : bool
        Show a progress bar, over (seed, dim), with the time left.

    Returns
    -------
    dict
        "dims", "mutual_informations", "weights": the axes; "base", "smi" and their
        "base_std_error", "smi_std_error": arrays (n_weights, n_seeds, n_dims, n_values) in nats,
        NaN where "done" (n_seeds, n_dims) is False, which no finished run has; "smi_exact":
        (n_dims, n_values), for the distributions that know it.

    Raises
    ------
    ValueError
        If `path` does not end in .pkl, or holds a run with other settings (and not `overwrite`).
    KeyboardInterrupt, OSError
        On Ctrl-C and SIGTERM, and when the disk is full: after saying how to go on.
    """
    path = Path(path)
    if path.suffix != ".pkl":
        raise ValueError(f"path={str(path)!r} must end in .pkl")
    settings = asdict(config)
    results = _resume(path, settings, overwrite) if path.exists() else None
    results = results or _empty_results(config)
    cells = [tuple(cell) for cell in np.argwhere(~results["done"])]
    # Large dimensions first: the last processes to finish then have little left to do.
    cells.sort(key=lambda cell: -config.dims[cell[1]])
    finished = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(_measure_cell)(config, *cell) for cell in cells
    )
    bar = tqdm(
        finished,
        desc=f"{config.distribution}: seeds x dims",
        unit="cell",
        initial=results["done"].size - len(cells),
        total=results["done"].size,
        disable=not progress,
    )
    n_saved = results["done"].sum()
    try:
        with stopped_by_sigterm():
            for seed, dim, values in bar:
                for name in _QUANTITIES:
                    results[name][:, seed, dim] = values[name]
                results["done"][seed, dim] = True
                save_results(path.stem, results, settings=settings, directory=path.parent)
                n_saved = results["done"].sum()
    except (KeyboardInterrupt, OSError):
        tqdm.write(
            f"Stopped with {n_saved} of {results['done'].size} cells in {path}; the same call "
            f"goes on from there."
        )
        raise
    return results


def _resume(path, settings, overwrite):
    saved = load_results(path.stem, directory=path.parent)
    changed = [name for name in settings if saved.settings.get(name) != settings[name]]
    if changed and overwrite:
        return None
    if changed:
        differences = "; ".join(
            f"{name} was {saved.settings.get(name)!r} and is now {settings[name]!r}"
            for name in changed
        )
        raise ValueError(
            f"{path} holds a run with other settings ({differences}). Give another "
            f"path, or overwrite=True to start anew"
        )
    return saved.results


def _empty_results(config):
    n_values = len(config.mutual_informations)
    shape = (len(config.weights), config.n_seeds, len(config.dims), n_values)
    results = {name: np.full(shape, np.nan) for name in _QUANTITIES}
    results["done"] = np.zeros((config.n_seeds, len(config.dims)), bool)
    results["dims"] = np.array(config.dims)
    results["mutual_informations"] = np.array(config.mutual_informations)
    results["weights"] = list(config.weights)
    if config.distribution == "normal":
        results["smi_exact"] = np.array(
            [
                [
                    CorrelatedNormal(value, dim, dim).sliced_mutual_information
                    for value in config.mutual_informations
                ]
                for dim in config.dims
            ]
        )
    return results


def _measure_cell(config, seed_index, dim_index):
    dim = config.dims[dim_index]
    root = np.random.SeedSequence(config.seed, spawn_key=(seed_index, dim))
    estimator = WKL(config.k, config.weights)
    values = {name: [] for name in _QUANTITIES}
    for true_value, stream in zip(
        config.mutual_informations, root.spawn(len(config.mutual_informations)), strict=True
    ):
        rotation, sample, base, slices = map(np.random.default_rng, stream.spawn(4))
        pair = DISTRIBUTIONS[config.distribution](true_value, dim, dim, rng=rotation)
        x, y = pair.sample(config.n_samples, rng=sample)
        estimates = {
            "base": estimator.mutual_information(x, y, rng=base),
            "smi": sliced_mutual_information(
                x,
                y,
                estimator=estimator,
                rng=slices,
                n_projections=config.n_projections,
                directions="paired blocks",
            ),
        }
        for name, by_rule in estimates.items():
            values[name].append([by_rule[rule].value for rule in config.weights])
            values[f"{name}_std_error"].append([by_rule[rule].std_error for rule in config.weights])
    return seed_index, dim_index, {name: np.array(value).T for name, value in values.items()}


def correlations(results, quantity):
    """Correlation of an estimate with the true MI over the grid, a number a seed and dimension.

    Parameters
    ----------
    results : dict
        From `run_synthetic`.
    quantity : {"base", "smi", "smi_exact"}

    Returns
    -------
    array, shape (n_weights, n_seeds, n_dims); for "smi_exact" (n_dims,)
        Pearson's correlation.
    """
    truth = results["mutual_informations"] - results["mutual_informations"].mean()
    values = results[quantity] - results[quantity].mean(axis=-1, keepdims=True)
    return (values @ truth) / np.sqrt((values**2).sum(axis=-1) * (truth**2).sum())
