"""How many slices each way of choosing directions needs, against 2000 independent ones.

    python -m benchmarks.directions --save      # results/paper/directions.pkl

For one sample of each kind of data, the spread of SMI over sets of 2000 directions. Variances fall
as one over the number of slices, so 2000 times the ratio of two is the number needed for the error
of 2000 independent ones. "sobol" are pairs of directions from a scrambled Sobol sequence. Of normal
data, SMI is the closed form of the distribution; of the others, `Copula` of 1000 samples. A number
from m sets is known to 2 / sqrt(m): 20 % for 100, 6 % for 1000.

Where "crossed" falls back on independent directions, it is 2000 and not measured.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from utils import Copula, CorrelatedCubed
from utils.slicing import DIRECTIONS, direction_pairs

from .rows import mean_information, measured_rows

INFORMATION = 2.0
N_SAMPLES = 1000
DESIGNS = ("independent", *(name for name in DIRECTIONS if name != "independent"), "sobol")


def cubed(dim, rng):
    return CorrelatedCubed(INFORMATION, dim, dim, rng=rng).sample(N_SAMPLES, rng=rng)


def uncorrelated(dim, rng):
    x = rng.standard_normal((N_SAMPLES, dim))
    return x, rng.choice([-1.0, 1.0], (N_SAMPLES, 1)) * x


SAMPLERS = {"cubed": cubed, "uncorrelated": uncorrelated}
DATA = ("normal", *SAMPLERS)


def directions_of(design, dim, n_slices, rng):
    """Pairs of directions, two arrays (n_slices, dim)."""
    if design == "sobol":
        points = qmc.Sobol(2 * dim, rng=rng).random(n_slices)
        vectors = ndtri(np.clip(points, 1e-12, 1 - 1e-12)).reshape(n_slices, 2, dim)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        return vectors[:, 0], vectors[:, 1]
    x_rng, y_rng = rng.spawn(2)
    groups = direction_pairs(
        dim, dim, n_slices, directions=design, n_groups=50, x_rng=x_rng, y_rng=y_rng
    )
    pairs = [(theta[rows[:, 0]], phi[rows[:, 1]]) for theta, phi, rows in groups]
    return tuple(map(np.vstack, zip(*pairs, strict=True)))


def normal_values(dim, pairs):
    """SMI by each set of directions, of normal data."""
    # Rotations, which change nothing, are left out: the covariance is r times the identity.
    squared = -np.expm1(-2.0 * INFORMATION / dim)
    for theta, phi in pairs:
        products = np.einsum("ij,ij->i", theta, phi)
        yield -0.5 * np.log1p(-squared * products**2).mean()


def copula_values(data, dim, pairs, seed):
    x, y = SAMPLERS[data](dim, np.random.default_rng([seed, dim]))
    for theta, phi in pairs:
        yield mean_information(Copula(), x, y, theta, phi)[0]


def slices_needed(data, dim, n_sets, *, settings):
    variances = {}
    for design in DESIGNS:
        if design == "crossed" and settings.slices < 16 * dim**2:
            variances[design] = variances["independent"]
            continue
        rngs = np.random.default_rng([settings.seed, dim, 1]).spawn(n_sets)
        pairs = (directions_of(design, dim, settings.slices, rng) for rng in rngs)
        if data in SAMPLERS:
            values = copula_values(data, dim, pairs, settings.seed)
        else:
            values = normal_values(dim, pairs)
        variances[design] = np.var(list(values), ddof=1)
    return {
        design: float(2000 * variance / variances["independent"])
        for design, variance in variances.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument(
        "--sets", type=int, nargs=3, default=[1000, 100, 100], help="a kind of data"
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 30, 100])
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--save", action="store_true")
    settings = parser.parse_args()
    measured_rows(
        "directions",
        [
            {"data": data, "dim": dim, "n_sets": n_sets}
            for data, n_sets in zip(DATA, settings.sets, strict=True)
            for dim in settings.dims
        ],
        lambda **case: slices_needed(**case, settings=settings),
        settings={"slices": settings.slices, "seed": settings.seed},
        save=settings.save,
    )


if __name__ == "__main__":
    main()
