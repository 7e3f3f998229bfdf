"""Estimators on independent data that are not normal, and the default on damaged data.

    python -m benchmarks.robustness --save      # results/paper/robustness.pkl

3000 samples and 2000 slices per data set, with a fresh seed for each. "independent": x and y are
independent, so that the truth is 0; "largest" is the default's largest distance from 0 in units of
its `std_error`. "compared": the same of all estimators by 200 slices, the mean over data sets and
their standard deviation, which is the noise. "damaged": normal data of mutual information 2 in
which one value of x is 1e6, or one column of x is -9999 in 5 % of the rows; "clean" is the
value before the damage.
"""

from __future__ import annotations

import warnings

import numpy as np

from utils import KSG, WKL, Copula, CorrelatedNormal, Gaussian, sliced_mutual_information

from .rows import measured_rows, name_of, options

ESTIMATORS = Copula(), KSG(k=5), WKL(k=5), Gaussian()
COMPARED_SLICES = 200


def _student(degrees):
    return lambda rng, shape: rng.standard_t(degrees, shape)


def _two_far_clusters(rng, shape):
    return rng.standard_normal(shape) + rng.choice([-1000.0, 1000.0], (shape[0], 1))


KINDS = {
    "normal": np.random.Generator.standard_normal,
    "uniform": np.random.Generator.random,
    "cubed": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "lognormal 1": lambda rng, shape: rng.lognormal(0.0, 1.0, shape),
    "lognormal 2": lambda rng, shape: rng.lognormal(0.0, 2.0, shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "Cauchy": np.random.Generator.standard_cauchy,
    "Student 1 rows": lambda rng, shape: (
        rng.standard_normal(shape) / np.abs(rng.standard_normal((shape[0], 1)))
    ),
    "Student 2": _student(2),
    "Student 3": _student(3),
    "gamma 0.3": lambda rng, shape: rng.gamma(0.3, size=shape),
    "rounded to 0.1": lambda rng, shape: np.round(rng.standard_normal(shape), 1),
    "two far clusters": _two_far_clusters,
}


def _spike(x, rng):
    x[0, 0] = 1e6


def _missing_code(x, rng):
    x[rng.random(len(x)) < 0.05, 0] = -9999.0


DAMAGES = {"one value of 1e6": _spike, "-9999 in 5 %": _missing_code}


def independent(kind, dim, *, settings):
    found = []
    for seed in range(*settings.seeds):
        rng = np.random.default_rng([seed, dim])
        x, y = (KINDS[kind](rng, (settings.samples, dim)) for _ in range(2))
        found.append(sliced_mutual_information(x, y, n_projections=settings.slices, rng=seed))
    values = np.array([result.value for result in found])
    errors = np.array([result.std_error for result in found])
    return {
        "mean": float(values.mean()),
        "std_error": float(errors.mean()),
        "largest": float(np.abs(values / errors).max()),
    }


def compared(kind, dim, *, settings):
    values = {name_of(estimator): [] for estimator in ESTIMATORS}
    for seed in range(*settings.seeds):
        rng = np.random.default_rng([seed, dim])
        x, y = (KINDS[kind](rng, (settings.samples, dim)) for _ in range(2))
        for estimator in ESTIMATORS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of `WKL`, far below 0
                smi = sliced_mutual_information(
                    x, y, estimator=estimator, n_projections=COMPARED_SLICES, rng=seed
                )
            values[name_of(estimator)].append(smi.value)
    means = {f"{name} mean": float(np.mean(found)) for name, found in values.items()}
    return means | {f"{name} noise": float(np.std(found, ddof=1)) for name, found in values.items()}


def damaged(kind, dim, *, settings):
    clean, after = [], []
    for seed in range(*settings.seeds):
        rng = np.random.default_rng([seed, dim])
        x, y = CorrelatedNormal(2.0, dim, dim, rng=rng).sample(settings.samples, rng=rng)
        options = {"n_projections": settings.slices, "rng": seed}
        clean.append(float(sliced_mutual_information(x, y, **options)))
        DAMAGES[kind](x, rng)
        after.append(float(sliced_mutual_information(x, y, **options)))
    ratios = np.array(after) / clean
    return {
        "clean": float(np.mean(clean)),
        "damaged": float(np.mean(after)),
        "ratio": float(np.mean(after) / np.mean(clean)),
        "least": float(ratios.min()),
        "greatest": float(ratios.max()),
    }


def main():
    settings, save = options(__doc__, samples=3000, slices=2000, seeds=(7000, 7020))
    cases = [("damaged", kind, dim) for kind in DAMAGES for dim in (2, 5)]
    cases += [("independent", kind, dim) for kind in KINDS for dim in (1, 2, 5)]
    cases += [("compared", kind, 5) for kind in KINDS]
    measures = {"damaged": damaged, "independent": independent, "compared": compared}
    measured_rows(
        "robustness",
        [{"data": data, "kind": kind, "dim": dim} for data, kind, dim in cases],
        lambda data, **case: measures[data](**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    main()
