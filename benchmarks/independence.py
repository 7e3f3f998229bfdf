"""Size and power of `independence_test`, against the permutation test of distance correlation.

    python -m benchmarks.independence --save      # results/paper/independence.pkl

200 samples, 200 slices, 99 permutations, level 0.05. Numbers are the share of data sets in which
the test says dependent: 1000 of independent data, whose share should be 0.05 (standard error
0.007), and 200 of each kind of dependence (standard error 0.035 at most). Distance correlation:
Szekely, Rizzo and Bakirov 2007, "Measuring and testing dependence by correlation of distances"; for
labels, whose distances are 0 or 1, Lyons 2013, "Distance covariance in metric spaces".
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from utils import Copula, independence_test

from .rows import measured_rows, name_of, options

LEVEL = 0.05
N_PERMUTATIONS = 99
ESTIMATORS = (Copula(),)


def independent(n, dim, rng):
    # Neither normal nor equal in law.
    return rng.standard_t(2, (n, dim)), rng.exponential(size=(n, dim))


def square(noise):
    def sample(n, dim, rng):
        x, z = rng.standard_normal((2, n, dim))
        return x, x**2 + noise * z

    return sample


def sign(n, dim, rng):
    x = rng.standard_normal((n, dim))
    return x, rng.choice([-1.0, 1.0], (n, 1)) * x


def linear(n, dim, rng):
    x, z = rng.standard_normal((2, n, dim))
    return x, 0.2 * x + z


def independent_labels(n, dim, rng):
    return rng.standard_t(2, (n, dim)), rng.integers(4, size=n)


def shifted_class(n, dim, rng):
    labels = rng.integers(4, size=n)
    return rng.standard_normal((n, dim)) + 0.6 * (labels == 0)[:, None], labels


def scaled_class(n, dim, rng):
    labels = rng.integers(4, size=n)
    return rng.standard_normal((n, dim)) * np.where(labels == 0, 1.6, 1.0)[:, None], labels


DEPENDENT = {
    "square + noise": square(1.0),
    "square + 2 noise": square(2.0),
    "sign": sign,
    "linear": linear,
}
LABELLED = {"labels: mean": shifted_class, "labels: scale": scaled_class}
INDEPENDENT = {"independent": independent, "labels: independent": independent_labels}


def distance_correlation_p_value(x, y, n_permutations, rng):
    """Of distance covariance: what it is divided by is the same for all permutations."""
    of_y = (y[:, None] != y).astype(float) if y.ndim == 1 else cdist(y, y)
    x, y = _centered(cdist(x, x)), _centered(of_y)
    value = np.vdot(x, y)
    null_values = []
    for _ in range(n_permutations):
        order = rng.permutation(len(x))
        null_values.append(np.vdot(x, y[order][:, order]))
    # Permutations that leave the value as it is may change its last digits.
    n_as_large = np.count_nonzero(np.array(null_values) >= value * (1 - 1e-12))
    return (1 + n_as_large) / (1 + n_permutations)


def _centered(distances):
    distances = distances - distances.mean(axis=0)
    return distances - distances.mean(axis=1, keepdims=True)


def rejections(data, dim, n_sets, *, settings):
    found = []
    for seed in range(settings.seed, settings.seed + n_sets):
        data_rng, slice_rng, order_rng = np.random.default_rng([seed, dim]).spawn(3)
        x, y = (INDEPENDENT | DEPENDENT | LABELLED)[data](settings.samples, dim, data_rng)
        slices_of = slice_rng.spawn(len(ESTIMATORS))
        options = {"n_projections": settings.slices, "n_permutations": N_PERMUTATIONS}
        options["y_discrete"] = y.ndim == 1
        p_values = [
            independence_test(x, y, estimator=estimator, rng=rng, **options).p_value
            for estimator, rng in zip(ESTIMATORS, slices_of, strict=True)
        ]
        p_values.append(distance_correlation_p_value(x, y, N_PERMUTATIONS, order_rng))
        # Of p-values on a grid of 1 / 100, 0.05 is one.
        found.append(np.array(p_values) <= LEVEL + 1e-9)
    names = [*map(name_of, ESTIMATORS), "distance correlation"]
    return dict(zip(names, map(float, np.mean(found, axis=0)), strict=True))


def main():
    settings, save = options(
        __doc__,
        samples=200,
        slices=200,
        dim=5,
        independent_sets=1000,
        dependent_sets=200,
        seed=5000,
    )
    cases = [(data, settings.dependent_sets) for data in DEPENDENT | LABELLED]
    cases += [(data, settings.independent_sets) for data in INDEPENDENT]
    measured_rows(
        "independence",
        [{"data": data, "dim": settings.dim, "n_sets": n_sets} for data, n_sets in cases],
        lambda **case: rejections(**case, settings=settings),
        settings={
            "samples": settings.samples,
            "slices": settings.slices,
            "seed": settings.seed,
            "estimators": [name_of(estimator) for estimator in ESTIMATORS],
        },
        save=save,
    )


if __name__ == "__main__":
    main()
