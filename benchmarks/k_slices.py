"""k-sliced mutual information against exact values, and how it converges in k.

    python -m benchmarks.k_slices --save     # results/paper/k_slices.pkl

"redundant" data are those of "Curse of slicing" (arXiv 2506.04053, table 1): x = A z in five
dimensions, A = 0.01 I + 1 1', then whitened or standardised, and y = x + 0.1 e; 10,000 samples,
slices of two dimensions, `KSG(k=1)`. "exact" is `normal_sliced_information`; "mean" and "spread"
are over 20 data sets, "error" the mean of their `std_error`, "within 3" the share of them within 3
errors of the exact value.

"convergence" is one data set of `CorrelatedNormal(2, 5, 5)`, 3000 samples, slices of k = 1 to 5
dimensions: from SMI to the mutual information.
"""

from __future__ import annotations

import numpy as np

from utils import (
    KSG,
    Copula,
    CorrelatedNormal,
    normal_sliced_information,
    sliced_mutual_information,
)

from .rows import measured_rows, name_of, options

DIM, NOISE = 5, 0.1
INFORMATION = 2.0
CONVERGING = (Copula(), KSG(k=5))
REDUNDANT = [{"data": "redundant", "scaling": scaling} for scaling in ("whitened", "standardised")]
CONVERGENCE = [{"data": "convergence", "k": k} for k in range(1, DIM + 1)]


def mixing(scaling):
    """What makes x of z, scaled to unit covariance or to unit variances."""
    mixed = 0.01 * np.eye(DIM) + np.ones((DIM, DIM))
    covariance = mixed @ mixed.T
    if scaling == "standardised":
        return mixed / np.sqrt(np.diag(covariance))[:, None]
    variances, axes = np.linalg.eigh(covariance)
    return (axes / np.sqrt(variances)) @ axes.T @ mixed


def redundant(scaling, *, settings):
    mixed = mixing(scaling)
    covariance = mixed @ mixed.T
    covariances = covariance, covariance + NOISE**2 * np.eye(DIM), covariance
    exact = normal_sliced_information(*covariances, 2)
    found = []
    for seed in range(settings.seed, settings.seed + settings.sets):
        z, noise = np.random.default_rng(seed).standard_normal((2, settings.samples, DIM))
        x = z @ mixed.T
        result = sliced_mutual_information(
            x,
            x + NOISE * noise,
            estimator=KSG(k=1),
            slice_dims=2,
            n_projections=settings.slices,
            rng=seed,
        )
        found.append([result.value, result.std_error])
    values, errors = np.transpose(found)
    return {
        "exact": exact.value,
        "exact error": exact.std_error,
        "mean": float(values.mean()),
        "spread": float(values.std(ddof=1)),
        "error": float(errors.mean()),
        "within 3": float(np.mean(np.abs(values - exact.value) < 3.0 * errors)),
    }


def convergence(k, *, settings):
    """One point of the figure: exact and estimated information of slices of k dimensions."""
    pair = CorrelatedNormal(INFORMATION, DIM, DIM, rng=0)
    x, y = pair.sample(settings.convergence_samples, rng=1)
    row = {"exact": pair.k_sliced_mutual_information(k, rel_error=3e-4).value}
    for estimator in CONVERGING:
        result = sliced_mutual_information(
            x, y, estimator=estimator, slice_dims=k, n_projections=100, rng=2
        )
        row |= {name_of(estimator): result.value, f"{name_of(estimator)} error": result.std_error}
    return row


def measure(data, *, settings, **case):
    return {"redundant": redundant, "convergence": convergence}[data](**case, settings=settings)


def main():
    settings, save = options(
        __doc__, samples=10_000, convergence_samples=3000, slices=32, sets=20, seed=7000
    )
    measured_rows(
        "k_slices",
        CONVERGENCE + REDUNDANT,
        lambda **case: measure(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    main()
