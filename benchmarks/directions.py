"""How many slices each way of choosing directions needs, against 2000 independent ones.

    python benchmarks/directions.py

For one sample of each kind of data, the spread of SMI over sets of directions, all of as many
slices. Variances fall as one over the number of slices, so the ratio of two is that of the numbers
needed for the same error. "sobol" are pairs of directions from a scrambled Sobol sequence.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from utils import (
    Copula,
    CorrelatedCubed,
    CorrelatedNormal,
    Gaussian,
    mutual_information_of_slices,
    sliced_mutual_information,
)

N_SAMPLES = 1000
DESIGNS = ("independent", "paired blocks", "crossed", "sobol")


def normal(dim, rng):
    return CorrelatedNormal(2.0, dim, dim, rng=rng).sample(N_SAMPLES, rng=rng)


def cubed(dim, rng):
    return CorrelatedCubed(2.0, dim, dim, rng=rng).sample(N_SAMPLES, rng=rng)


def uncorrelated(dim, rng):
    x = rng.standard_normal((N_SAMPLES, dim))
    return x, rng.choice([-1.0, 1.0], (N_SAMPLES, 1)) * x


def sobol_slices(x, y, n_projections, rng):
    dims = x.shape[1], y.shape[1]
    points = qmc.Sobol(sum(dims), rng=rng).random(n_projections)
    vectors = ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    for samples, directions in zip((x, y), np.split(vectors, [dims[0]], axis=1), strict=True):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        yield directions @ (samples - samples.mean(axis=0)).T


def spread(x, y, design, estimator, n_projections, n_sets, seed):
    values = []
    for rng in np.random.default_rng(seed).spawn(n_sets):
        if design == "sobol":
            slices = sobol_slices(x, y, n_projections, rng)
            smi = mutual_information_of_slices(*slices, estimator=estimator)
        else:
            smi = sliced_mutual_information(
                x, y, estimator=estimator, n_projections=n_projections, directions=design, rng=rng
            )
        values.append(smi.value)
    return np.std(values, ddof=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=256)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 30, 100])
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    print(f"{settings}; the numbers are known to {1 / np.sqrt(settings.sets / 4):.0%} or so")
    print("data          dim " + "".join(f"{design:>15}" for design in DESIGNS))
    cases = ((normal, Gaussian()), (cubed, Copula()), (uncorrelated, Copula()))
    for data, estimator in cases:
        for dim in settings.dims:
            x, y = data(dim, np.random.default_rng([settings.seed, dim]))
            spreads = np.array(
                [
                    spread(x, y, design, estimator, settings.slices, settings.sets, settings.seed)
                    for design in DESIGNS
                ]
            )
            needed = 2000 * (spreads / spreads[0]) ** 2
            row = "".join(f"{number:15.0f}" for number in needed)
            print(f"{data.__name__:13} {dim:3d} {row}", flush=True)


if __name__ == "__main__":
    main()
