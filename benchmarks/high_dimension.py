"""How well the default estimator follows mutual information in 100 and 200 dimensions.

    python -m benchmarks.high_dimension --save      # results/paper/high_dimension.pkl

Correlation between the true mutual information, 21 values from 0 to 4 nats, and its sliced
estimate: 3000 samples and 2000 slices per value, one data set each. Mean and least over the seeds.
"""

from __future__ import annotations

import numpy as np

from utils import CorrelatedCubed, CorrelatedNormal, CorrelatedUniform, sliced_mutual_information

from .rows import measured_rows, options

DATA = {"normal": CorrelatedNormal, "uniform": CorrelatedUniform, "cubed": CorrelatedCubed}
CASES = (("normal", 100), ("normal", 200), ("uniform", 100), ("cubed", 100))
INFORMATION = np.linspace(0.0, 4.0, 21)


def correlation(data, dim, *, settings):
    found = []
    for seed in range(*settings.seeds):
        values = []
        for number, information in enumerate(INFORMATION):
            pair = DATA[data](information, dim, dim, rng=[seed, number])
            x, y = pair.sample(settings.samples, rng=[seed, number, dim])
            smi = sliced_mutual_information(x, y, n_projections=settings.slices, rng=[seed, number])
            values.append(smi.value)
        found.append(np.corrcoef(INFORMATION, values)[0, 1])
    return {
        "mean": float(np.mean(found)),
        "between seeds": float(np.std(found, ddof=1)),
        "least": float(np.min(found)),
    }


def main():
    settings, save = options(__doc__, samples=3000, slices=2000, seeds=(7100, 7120))
    measured_rows(
        "high_dimension",
        [{"data": data, "dim": dim} for data, dim in CASES],
        lambda **case: correlation(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    main()
