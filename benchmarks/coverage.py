"""How often value +- 1.96 std_error holds the true sliced mutual information.

    python -m benchmarks.coverage --save      # results/paper/coverage.pkl

500 data sets a case, 3000 samples and 400 slices. The truth is exact for independent data, in one
dimension and for normal data. For the others it is that of normal data plus the mean difference,
on the same slices, of `KSG(k=5)` of 100,000 samples and of the closed form of the normal data
they were made from, which takes most of the noise away; "truth error" is its standard error.

"bias" is the mean error over the data sets; "ratio" the spread of the values over their root mean
square std_error; "coverage" as above. Of `WKL` the value of permuted samples, its bias if there
were no dependence, is subtracted: the mean over the data sets of a case.

The data sets of a case are measured in parallel, on all cores, or as many as LOKY_MAX_CPU_COUNT
says.
"""

from __future__ import annotations

import argparse

import joblib
import numpy as np
from scipy.special import ndtr
from scipy.stats import t

from utils import (
    KSG,
    WKL,
    Copula,
    CorrelatedNormal,
    CorrelatedUniform,
    Gaussian,
    sliced_mutual_information,
)

from .rows import Several, measured_rows, name_of


class CorrelatedStudent(CorrelatedNormal):
    """Components with Student's t distribution with 5 degrees of freedom."""

    sliced_mutual_information = None

    def _marginal(self, values):
        return t.ppf(ndtr(values), 5)


DATA = {"normal": CorrelatedNormal, "student 5": CorrelatedStudent, "uniform": CorrelatedUniform}
WKLS = WKL(k=1), WKL(k=5)
ESTIMATORS = Several((Copula(), KSG(k=5), *WKLS))
TRUTH_SAMPLES, TRUTH_SLICES, TRUTH_SETS = 100_000, 200, 10


def truth(pair, dim):
    """The true SMI, and its standard error."""
    if pair.mutual_information == 0 or dim == 1:
        return pair.mutual_information, 0.0
    normal = CorrelatedNormal(pair.mutual_information, dim, dim, rng=0)
    if type(pair) is CorrelatedNormal:
        return normal.sliced_mutual_information, 0.0
    differences = []
    for seed in range(TRUTH_SETS):
        slicing = {"n_projections": TRUTH_SLICES, "rng": seed}
        # The same generator draws the same normal data before their marginals are changed.
        x, y = pair.sample(TRUTH_SAMPLES, rng=[seed, 987])
        smi = sliced_mutual_information(x, y, estimator=KSG(k=5), **slicing)
        x, y = normal.sample(TRUTH_SAMPLES, rng=[seed, 987])
        control = sliced_mutual_information(x, y, estimator=Gaussian(), **slicing)
        # The closed form's own bias is 1 / 2 n.
        differences.append(smi.value - control.value + 0.5 / TRUTH_SAMPLES)
    value = normal.sliced_mutual_information + np.mean(differences)
    return value, np.std(differences, ddof=1) / np.sqrt(TRUTH_SETS)


def coverage(data, dim, information, *, settings):
    pair = DATA[data](information, dim, dim, rng=0)
    exact, truth_error = truth(pair, dim)
    found = joblib.Parallel(n_jobs=-1)(
        joblib.delayed(measured)(pair, dim, seed, settings) for seed in range(*settings.seeds)
    )
    row = {"truth": exact, "truth error": float(truth_error)}
    for estimator in ESTIMATORS.estimators:
        name = name_of(estimator)
        values, claimed = np.transpose([result[name] for result, _ in found])
        errors = values - exact
        if estimator in WKLS:
            subtracted = np.mean([biases[name] for _, biases in found])
            errors -= subtracted
            row[f"{name} subtracted"] = float(subtracted)
        row |= {
            f"{name} bias": float(errors.mean()),
            f"{name} std_error": float(claimed.mean()),
            f"{name} ratio": float(errors.std(ddof=1) / np.sqrt(np.mean(claimed**2))),
            f"{name} coverage": float(np.mean(np.abs(errors) <= 1.96 * claimed)),
        }
    return row


def measured(pair, dim, seed, settings):
    """Value and std_error of each estimator on one data set, and the `WKL`s' permuted values."""
    x, y = pair.sample(settings.samples, rng=[seed, dim, int(100 * pair.mutual_information)])
    smi = sliced_mutual_information(
        x, y, estimator=ESTIMATORS, n_projections=settings.slices, rng=seed
    )
    # One slice a data set does not say enough where there is only one.
    orders = [
        np.random.default_rng([seed, shuffle]).permutation(len(x))
        for shuffle in range(20 if dim == 1 else 1)
    ]
    shuffled = [
        sliced_mutual_information(x, y[order], estimator=Several(WKLS), n_projections=100, rng=seed)
        for order in orders
    ]
    return (
        {name: (result.value, result.std_error) for name, result in smi.items()},
        {name: np.mean([results[name].value for results in shuffled]) for name in shuffled[0]},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--informations", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--seeds", type=int, nargs=2, default=[2000, 2500], help="first and stop")
    parser.add_argument("--save", action="store_true")
    settings = parser.parse_args()
    measured_rows(
        "coverage",
        [
            {"data": data, "dim": dim, "information": information}
            for dim in settings.dims
            for information in settings.informations
            for data in DATA
        ],
        lambda **case: coverage(**case, settings=settings),
        settings={
            "samples": settings.samples,
            "slices": settings.slices,
            "seeds": settings.seeds,
            "estimators": [name_of(estimator) for estimator in ESTIMATORS.estimators],
        },
        save=settings.save,
    )


if __name__ == "__main__":
    # By its name in the package, so that worker processes find what it defines.
    from benchmarks.coverage import main as named_main

    named_main()
