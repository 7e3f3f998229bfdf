"""How well `Copula` follows mutual information in high dimension, by its number of cells.

    python -m benchmarks.bins --save            # results/paper/copula_bins.pkl
    python -m benchmarks.bins --seeds 500 505   # those the default was chosen on

Correlation of SMI with the true information, which goes over linspace(0, 4, 21): 3000 samples and
2000 slices a point, data and slices of their own for every point, as in `run_synthetic`. All
numbers of cells measure the same slices. "cpu s" is the processor time of a point, all of them
together; of one alone with `--bins`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from utils import Copula, sliced_mutual_information
from utils.experiments import DISTRIBUTIONS

from .rows import Several, measured_rows, name_of

INFORMATIONS = np.linspace(0.0, 4.0, 21)
CASES = (("normal", 100), ("uniform", 100), ("cubed", 100), ("normal", 50))


def correlations(distribution, dim, seed, *, estimator, settings):
    start = time.process_time()
    root = np.random.SeedSequence(seed, spawn_key=(dim,))
    values = []
    for information, stream in zip(INFORMATIONS, root.spawn(len(INFORMATIONS)), strict=True):
        rotation, sample, slices = map(np.random.default_rng, stream.spawn(3))
        pair = DISTRIBUTIONS[distribution](information, dim, dim, rng=rotation)
        x, y = pair.sample(settings.samples, rng=sample)
        smi = sliced_mutual_information(
            x, y, estimator=estimator, n_projections=settings.slices, rng=slices
        )
        values.append([estimate.value for estimate in smi.values()])
    row = {
        name: float(np.corrcoef(INFORMATIONS, column)[0, 1])
        for name, column in zip(smi, np.transpose(values), strict=True)
    }
    return row | {"cpu s": (time.process_time() - start) / len(INFORMATIONS)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--bins", type=int, nargs="+", default=[3, 4, 6, 8])
    parser.add_argument("--seeds", type=int, nargs=2, default=[1000, 1010], help="first and stop")
    parser.add_argument("--save", action="store_true")
    settings = parser.parse_args()
    estimator = Several(tuple(Copula(bins=bins) for bins in settings.bins))
    # So that the simulations, which are made once, are not in the time of the first point.
    noise = np.random.default_rng(0).standard_normal((2, 1, settings.samples))
    estimator.slice_terms(*noise)
    rows = measured_rows(
        "copula_bins",
        [
            {"distribution": distribution, "dim": dim, "seed": seed}
            for distribution, dim in CASES
            for seed in range(*settings.seeds)
        ],
        lambda **case: correlations(**case, estimator=estimator, settings=settings),
        settings={"samples": settings.samples, "slices": settings.slices, "bins": settings.bins},
        save=settings.save,
    )
    for distribution, dim in CASES:
        of_case = [row for row in rows if (row["distribution"], row["dim"]) == (distribution, dim)]
        print(f"mean and least, {distribution}, d = {dim}:", end="")
        for name in map(name_of, estimator.estimators):
            values = [row[name] for row in of_case]
            print(f"  {name} {np.mean(values):.4f} {min(values):.4f}", end="")
        print()


if __name__ == "__main__":
    main()
