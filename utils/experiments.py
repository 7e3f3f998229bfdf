"""The synthetic grids behind Figures 1 and 2: dimensions x mutual information x seeds.

`run_synthetic` measures a sample in full dimension (the base estimate) and in slices (SMI), under
several weight rules from the same neighbours, with slices drawn as in the published runs.
`run_estimators` compares estimators of the slices. A run can be stopped at any time: finished cells
are on disk, and the same call resumes. `compress` reduces a layer before full-dimension estimates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from .estimators import WKL, as_slice_estimator
from .estimators.base import check_sizes
from .grids import Grid, result_path
from .provenance import fingerprint, plain_repr
from .slicing import SMICompressor
from .smi import mutual_information_of_slices, sliced_mutual_information
from .synthetic import (
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    SignFlipped,
    Squared,
)
from .validation import as_generator, as_samples, check_count

__all__ = [
    "EstimatorsConfig",
    "SyntheticConfig",
    "compress",
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
        Repetitions, each with its own samples, rotations and directions.
    seed : int
        Determines the whole run. Each (repetition, dimension) has its own random stream, so that
        it gives the same numbers whatever else is in the grid.
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

    def __post_init__(self) -> None:
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
        Such as `WKL(k=25)`, `KSG()`, `Copula()` or a function of one slice. A `WKL` with several
        weight rules counts as several, from the same neighbours.
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

    def __post_init__(self) -> None:
        _check_grid(self, self.distributions)
        for name in ("estimators", "distributions"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"{name} is empty; give at least one")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for estimator in self.estimators:
            check_sizes(as_slice_estimator(estimator), self.n_samples, "n_samples")

    @property
    def methods(self) -> tuple[Any, ...]:
        """One estimator per result: those with several weight rules are taken apart."""
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


def run_synthetic(
    config: SyntheticConfig,
    *,
    path: str | os.PathLike,
    n_jobs: int = -1,
    overwrite: bool = False,
    ignore_code: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure every point of the grid; resume where an earlier run stopped.

    Parameters
    ----------
    config : SyntheticConfig
    path : path-like
        Result file, ending in .pkl; `~` is the home directory. It is rewritten, whole or not at
        all, after every (seed, dim), and at the end its table is written beside it, as .csv.
    n_jobs : int
        Processes, as in joblib; -1 is one per core. `joblib.parallel_config` chooses another
        backend. It does not change the numbers.
    overwrite : bool
        What to do with a file made with other settings or other code: start anew instead of
        raising.
    ignore_code : bool
        Whether to use a file although the code of an estimator, a distribution or this grid has
        changed since, for changes that cannot change numbers. A file without a record of its
        code, or from another version of Python, is taken as it is.
    progress : bool
        Show, in one line, what was loaded from the file, and a progress bar over (seed, dim).

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
        If `path` does not end in .pkl, is damaged, or holds a run with other settings or other
        code (and not `overwrite`).
    KeyboardInterrupt, OSError
        On Ctrl-C, and when the disk is full; the message says how to resume.
    """
    cells = [
        (config, seed, dim) for seed in range(config.n_seeds) for dim in range(len(config.dims))
    ]
    # Large dimensions first: the last processes to finish then have little left to do.
    cells.sort(key=lambda cell: -config.dims[cell[2]])
    estimator = WKL(config.k, config.weights)
    return Grid(
        measure=_measure_cell,
        settings=asdict(config),
        code=_code_of(_measure_cell, [estimator], [config.distribution]),
        path=result_path(path),
        label=f"{config.distribution}: seeds x dims" if progress else None,
    ).run(
        cells,
        _empty_results(config),
        n_jobs=n_jobs,
        overwrite=overwrite,
        ignore_code=ignore_code,
    )


def run_estimators(
    config: EstimatorsConfig,
    *,
    path: str | os.PathLike,
    n_jobs: int = -1,
    overwrite: bool = False,
    ignore_code: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the slices of every point of a grid with several estimators.

    Parameters, errors and what happens to an interrupted run as for `run_synthetic`.

    Parameters
    ----------
    config : EstimatorsConfig
    path, n_jobs, overwrite, ignore_code, progress
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
    return Grid(
        measure=_estimate_cell,
        settings={field.name: getattr(config, field.name) for field in fields(config)}
        | {"estimators": [plain_repr(each) for each in config.estimators]},
        code=_code_of(_estimate_cell, config.estimators, config.distributions),
        path=result_path(path),
        label="estimators x distributions x seeds x dims" if progress else None,
    ).run(
        cells,
        _empty_estimates(config),
        n_jobs=n_jobs,
        overwrite=overwrite,
        ignore_code=ignore_code,
    )


def _code_of(measure, estimators, distributions):
    parts = {plain_repr(estimator): [estimator] for estimator in estimators}
    parts |= {f"distribution {name!r}": [DISTRIBUTIONS[name]] for name in distributions}
    return fingerprint({"grid": [measure], **parts})


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
    results["methods"] = [plain_repr(method) for method in config.methods]
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


def _samples(config, distribution, seed_index, dim) -> Iterator[tuple]:
    """One sample per true value, and generators for the base estimate and for the slices."""
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


def correlations(results: Mapping[str, Any], quantity: str) -> np.ndarray:
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


def compress(
    x: Any,
    n_components: int,
    *,
    method: str = "pca",
    rng: np.random.Generator | int | None = None,
) -> np.ndarray:
    """Reduce samples to a few components, as the published runs do before they estimate MI.

    Parameters
    ----------
    x : array-like, shape (n, ...)
        Such as the outputs of a layer; flattened to (n, d).
    n_components : int
        How many to keep; all if there are fewer.
    method : {"pca", "first"}
        Principal components, or the first coordinates as they are.
    rng : Generator, int or None
        Seeds the randomised decomposition that "pca" uses for large arrays.

    Returns
    -------
    array, shape (n, min(n_components, d)), or fewer principal components if n is smaller

    Raises
    ------
    ValueError, TypeError
        If `method` is neither of the two, `n_components` is not a whole number of at least 1, or
        `x` is not finite real numbers.
    """
    if method not in ("pca", "first"):
        raise ValueError(f"method={method!r}; choose 'pca' or 'first'")
    n_components = check_count(n_components, "n_components")
    x = as_samples(x, "x")
    if method == "first":
        return x[:, :n_components]
    # Its import takes a quarter of a second, and nothing else here needs it.
    from sklearn.decomposition import PCA

    seed = int(as_generator(rng).integers(2**32))
    return PCA(min(n_components, *x.shape), random_state=seed).fit_transform(x)
