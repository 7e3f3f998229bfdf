"""The normal rows of table 1 of "Curse of Slicing" (arXiv 2506.04053), measured again.

    python -m benchmarks.curse_of_slicing --save      # results/paper/curse_of_slicing.pkl

x = A z with A = 0.01 I + 1 1' and z standard normal of 5 dimensions, whitened or standardised, then
y = x + 0.1 e; 10,000 samples, 128 slices by `KSG(k=1)`. Beside the published numbers: the exact
value, an average of -1/2 log(1 - r^2) over 10^6 slices, and the default estimator.
"""

from __future__ import annotations

import numpy as np

from utils import KSG, Copula, sliced_mutual_information

from .rows import measured_rows, name_of, options

DIM, NOISE = 5, 0.1
PUBLISHED = {"whitened": "0.14 +- 0.02", "standardised": "1.83 +- 0.05"}
ESTIMATORS = KSG(k=1), Copula()


def mixing_of(scaling):
    """The matrix that makes x of independent normal variables."""
    if scaling == "whitened":
        return np.eye(DIM)
    mixing = 0.01 * np.eye(DIM) + 1.0
    return mixing / np.linalg.norm(mixing, axis=1, keepdims=True)


def exact(scaling, n_slices=10**6):
    mixing = mixing_of(scaling)
    theta, phi = np.random.default_rng(0).standard_normal((2, n_slices, DIM))
    of_x, of_y = theta @ mixing, phi @ mixing
    r2 = np.sum(of_x * of_y, axis=1) ** 2 / np.sum(of_x**2, axis=1)
    r2 /= np.sum(of_y**2, axis=1) + NOISE**2 * np.sum(phi**2, axis=1)
    return float(np.mean(-0.5 * np.log1p(-r2)))


def measured(scaling, *, settings):
    row = {"published": PUBLISHED[scaling], "exact": exact(scaling)}
    values = {name_of(estimator): [] for estimator in ESTIMATORS}
    for seed in range(*settings.seeds):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((settings.samples, DIM)) @ mixing_of(scaling).T
        y = x + NOISE * rng.standard_normal(x.shape)
        for estimator in ESTIMATORS:
            smi = sliced_mutual_information(
                x, y, estimator=estimator, n_projections=settings.slices, rng=rng
            )
            values[name_of(estimator)].append(smi.value)
    for name, found in values.items():
        row |= {name: float(np.mean(found)), f"{name} between seeds": float(np.std(found, ddof=1))}
    return row


def main():
    settings, save = options(__doc__, samples=10_000, slices=128, seeds=(7200, 7220))
    measured_rows(
        "curse_of_slicing",
        [{"scaling": scaling} for scaling in PUBLISHED],
        lambda **case: measured(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    main()
