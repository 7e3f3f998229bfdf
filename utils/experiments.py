"""The synthetic grids behind Figures 1 and 2: dimensions x mutual information x seeds.

`run_synthetic` measures a sample in full dimension (the base estimate) and in slices (SMI), under
several weight rules from the same neighbours, with slices drawn as in the published runs.
`run_estimators` compares estimators of the slices. A run can be stopped at any time: what is done
is on disk, and the same call goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

from .estimators import WKL, as_slice_estimator
from .estimators.base import check_sizes
from .results import load_results, save_results
from .slicing import SMICompressor
from .smi import mutual_information_of_slices, sliced_mutual_information
from .synthetic import (
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    SignFlipped,
    Squared,
)
from .validation import check_count

__all__ = [
    "EstimatorsConfig",
    "SyntheticConfig",
    "correlations",
    "run_estimators",
    "run_synthetic",
]

DISTRIBUTIONS = {
    "normal": CorrelatedNormal,
    "uniform": CorrelatedUniform,
    "cubed": CorrelatedCubed,
    "sign-flipped": SignFlipped,
    "squared": Squared,
}


@dataclass(frozen=True)
class SyntheticConfig:
    """What to measure; saved beside the results.

    Parameters
    ----------
    distribution : {"normal", "uniform", "cubed", "sign-flipped", "squared"}
        See `utils.synthetic`.
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
        _check_grid(self, (self.distribution,))
        if len(self.weights) == 0:
            raise ValueError("weights is empty; give at least one value")
        object.__setattr__(self, "weights", tuple(self.weights))
        WKL(self.k, self.weights)
        check_sizes(WKL(self.k), self.n_samples, "n_samples")


@dataclass(frozen=True)
class EstimatorsConfig:
    """Which estimators of slices to compare, on what; saved beside the results.

    Parameters
    ----------
    estimators : tuple of estimators
        Such as `WKL(k=25)`, `KSG()` or `Copula()`. A `WKL` with several weight rules counts as
        several, from the same neighbours.
    distributions : tuple of str
        As `SyntheticConfig.distribution`.
    dims, mutual_informations, n_samples, n_projections, n_seeds, seed
        As in `SyntheticConfig`. All estimators see the same samples.
    """

    estimators: tuple = (WKL(),)
    distributions: tuple[str, ...] = ("normal",)
    dims: tuple[int, ...] = (10, 100)
    mutual_informations: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0)
    n_samples: int = 3000
    n_projections: int = 1000
    n_seeds: int = 10
    seed: int = 0

    def __post_init__(self):
        _check_grid(self, self.distributions)
        for name in ("estimators", "distributions"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"{name} is empty; give at least one")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for estimator in self.estimators:
            check_sizes(as_slice_estimator(estimator), self.n_samples, "n_samples")

    @property
    def methods(self):
        """One estimator a result: those with several weight rules are taken apart."""
        return tuple(
            replace(estimator, weights=rule) if isinstance(estimator, WKL) else estimator
            for estimator in self.estimators
            for rule in _rules(estimator)
        )


def _rules(estimator):
    weights = getattr(estimator, "weights", None)
    return weights if isinstance(weights, tuple) else (weights,)


def _check_grid(config, distributions):
    for distribution in distributions:
        if distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution={distribution!r} is unknown; choose among {tuple(DISTRIBUTIONS)}"
            )
    for name in ("dims", "mutual_informations"):
        if len(getattr(config, name)) == 0:
            raise ValueError(f"{name} is empty; give at least one value")
    dims = tuple(check_count(dim, "a value of dims") for dim in config.dims)
    object.__setattr__(config, "dims", dims)
    values = tuple(float(value) for value in config.mutual_informations)
    object.__setattr__(config, "mutual_informations", values)
    for value in values:
        CorrelatedNormal(value, min(dims), min(dims))
    for name in ("n_samples", "n_projections", "n_seeds"):
        check_count(getattr(config, name), name)
    check_count(config.seed, "seed", least=0)


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
        On Ctrl-C, and when the disk is full: after saying how to go on.
    """
    cells = [
        (config, seed, dim) for seed in range(config.n_seeds) for dim in range(len(config.dims))
    ]
    # Large dimensions first: the last processes to finish then have little left to do.
    cells.sort(key=lambda cell: -config.dims[cell[2]])
    return _run_cells(
        _measure_cell,
        cells,
        _empty_results(config),
        settings=asdict(config),
        path=path,
        n_jobs=n_jobs,
        overwrite=overwrite,
        progress=progress and f"{config.distribution}: seeds x dims",
    )


def run_estimators(config, *, path, n_jobs=-1, overwrite=False, progress=True):
    """Measure the slices of every point of a grid with several estimators.

    Parameters, errors and what happens to an interrupted run as for `run_synthetic`.

    Parameters
    ----------
    config : EstimatorsConfig
    path, n_jobs, overwrite, progress
        As for `run_synthetic`.

    Returns
    -------
    dict
        "methods" (names), "distributions", "dims", "mutual_informations": the axes; "smi" and
        "smi_std_error": arrays (n_methods, n_distributions, n_seeds, n_dims, n_values) in nats,
        NaN where not "done"; "smi_exact": (n_dims, n_values), of the normal distribution.
    """
    cells = [
        (config, estimator, distribution, seed, dim)
        for estimator in range(len(config.estimators))
        for dim in np.argsort(config.dims)[::-1].tolist()
        for distribution in range(len(config.distributions))
        for seed in range(config.n_seeds)
    ]
    return _run_cells(
        _estimate_cell,
        cells,
        _empty_estimates(config),
        settings=asdict(config) | {"estimators": [repr(each) for each in config.estimators]},
        path=path,
        n_jobs=n_jobs,
        overwrite=overwrite,
        progress=progress and "estimators x distributions x seeds x dims",
    )


def _run_cells(measure, cells, results, *, settings, path, n_jobs, overwrite, progress):
    """Fill results cell by cell, those that are in the file already left out.

    `measure(*cell)` returns where its values belong, and a dict of them.
    """
    path = Path(path)
    if path.suffix != ".pkl":
        raise ValueError(f"path={str(path)!r} must end in .pkl")
    if path.exists():
        results = _resume(path, settings, overwrite) or results
    # A cell begins with the config.
    missing = [cell for cell in cells if not results["done"][cell[1:]]]
    finished = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(measure)(*cell) for cell in missing
    )
    bar = tqdm(
        finished,
        desc=progress or None,
        unit="cell",
        initial=len(cells) - len(missing),
        total=len(cells),
        disable=not progress,
    )
    n_saved = len(cells) - len(missing)
    try:
        for cell, place, values in bar:
            for name in values:
                results[name][place] = values[name]
            results["done"][cell] = True
            save_results(path.stem, results, settings=settings, directory=path.parent)
            n_saved = results["done"].sum()
    except (KeyboardInterrupt, OSError):
        tqdm.write(
            f"Stopped with {n_saved} of {len(cells)} cells in {path}; the same call "
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
    shape = (len(config.weights), *_grid_shape(config))
    results = {
        f"{quantity}{suffix}": np.full(shape, np.nan)
        for quantity in ("base", "smi")
        for suffix in ("", "_std_error")
    }
    results["done"] = np.zeros(shape[1:3], bool)
    results |= _axes(config, exact=config.distribution == "normal")
    results["weights"] = list(config.weights)
    return results


def _empty_estimates(config):
    shape = (len(config.methods), len(config.distributions), *_grid_shape(config))
    results = {name: np.full(shape, np.nan) for name in ("smi", "smi_std_error")}
    results["done"] = np.zeros((len(config.estimators), *shape[1:4]), bool)
    results |= _axes(config, exact=True)
    results["distributions"] = list(config.distributions)
    results["methods"] = [repr(method) for method in config.methods]
    return results


def _grid_shape(config):
    return config.n_seeds, len(config.dims), len(config.mutual_informations)


def _axes(config, *, exact):
    axes = {
        "dims": np.array(config.dims),
        "mutual_informations": np.array(config.mutual_informations),
    }
    if exact:
        axes["smi_exact"] = np.array(
            [
                [
                    CorrelatedNormal(value, dim, dim).sliced_mutual_information
                    for value in config.mutual_informations
                ]
                for dim in config.dims
            ]
        )
    return axes


def _samples(config, distribution, seed_index, dim):
    """A sample a true value, and generators for the base estimate and for the slices."""
    root = np.random.SeedSequence(config.seed, spawn_key=(seed_index, dim))
    streams = root.spawn(len(config.mutual_informations))
    for value, stream in zip(config.mutual_informations, streams, strict=True):
        rotation, sample, base, slices = map(np.random.default_rng, stream.spawn(4))
        pair = DISTRIBUTIONS[distribution](value, dim, dim, rng=rotation)
        yield *pair.sample(config.n_samples, rng=sample), base, slices


def _measure_cell(config, seed_index, dim_index):
    estimator = WKL(config.k, config.weights)
    values = {}
    for x, y, base, slices in _samples(
        config, config.distribution, seed_index, config.dims[dim_index]
    ):
        estimates = {
            "base": estimator.mutual_information(x, y, rng=base),
            "smi": _published_slices(x, y, estimator, config.n_projections, slices),
        }
        for name, by_rule in estimates.items():
            _append(values, name, by_rule.values())
    place = (slice(None), seed_index, dim_index)
    return place[1:], place, {name: np.transpose(column) for name, column in values.items()}


def _published_slices(x, y, estimator, n_projections, rng):
    """SMI from slices drawn as in the published runs: orthonormal blocks, paired in order."""
    if x.shape[1] == 1:
        return sliced_mutual_information(x, y, estimator=estimator, rng=rng)
    x_rng, y_rng, measure_rng = rng.spawn(3)
    slices = [
        SMICompressor(samples.shape[1], n_projections, rng=side_rng)(samples)
        for samples, side_rng in ((x, x_rng), (y, y_rng))
    ]
    return mutual_information_of_slices(*slices, estimator=estimator, rng=measure_rng)


def _estimate_cell(config, estimator_index, distribution_index, seed_index, dim_index):
    estimator = config.estimators[estimator_index]
    values = {}
    for x, y, _, slices in _samples(
        config, config.distributions[distribution_index], seed_index, config.dims[dim_index]
    ):
        smi = sliced_mutual_information(
            x, y, estimator=estimator, n_projections=config.n_projections, rng=slices
        )
        _append(values, "smi", smi.values() if isinstance(smi, dict) else [smi])
    n_methods = [len(_rules(each)) for each in config.estimators]
    first = sum(n_methods[:estimator_index])
    cell = (estimator_index, distribution_index, seed_index, dim_index)
    place = (slice(first, first + n_methods[estimator_index]), *cell[1:])
    return cell, place, {name: np.transpose(column) for name, column in values.items()}


def _append(values, name, estimates):
    values.setdefault(name, []).append([each.value for each in estimates])
    values.setdefault(f"{name}_std_error", []).append([each.std_error for each in estimates])


def correlations(results, quantity):
    """Correlation of an estimate with the true MI over the grid.

    Parameters
    ----------
    results : dict
        From `run_synthetic` or `run_estimators`.
    quantity : {"base", "smi", "smi_exact"}

    Returns
    -------
    array
        Pearson's correlation: the shape of the quantity in the results, without its last axis.
    """
    truth = results["mutual_informations"] - results["mutual_informations"].mean()
    values = results[quantity] - results[quantity].mean(axis=-1, keepdims=True)
    return (values @ truth) / np.sqrt((values**2).sum(axis=-1) * (truth**2).sum())
