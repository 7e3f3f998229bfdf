"""How often value +- 1.96 std_error holds the true sliced mutual information.

    python benchmarks/coverage.py --estimator "Copula()"

Many data sets a case. The truth is 0, exact, or from a long run by finer cells (16 x 16, 200,000
samples). Of `WKL` the mean on independent normal data of as many samples, its documented bias, is
subtracted first. "ratio" is the spread of the values over their root mean square std_error.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import ndtr
from scipy.stats import t

from utils import (
    KSG,
    WKL,
    Copula,
    CorrelatedNormal,
    CorrelatedUniform,
    sliced_mutual_information,
)


class CorrelatedStudent(CorrelatedNormal):
    """Components with Student's t distribution with 5 degrees of freedom."""

    sliced_mutual_information = None

    def _marginal(self, values):
        return t.ppf(ndtr(values), 5)


DATA = {"normal": CorrelatedNormal, "student 5": CorrelatedStudent, "uniform": CorrelatedUniform}
ESTIMATORS = {
    str(estimator): estimator
    for estimator in (Copula(), Copula(k=25), WKL(k=1), WKL(k=5), KSG(k=5))
}


def truth(pair):
    if pair.mutual_information == 0 or pair.dim_x == 1:
        return pair.mutual_information
    if pair.sliced_mutual_information is not None:
        return pair.sliced_mutual_information
    x, y = pair.sample(200_000, rng=987)
    smi = sliced_mutual_information(x, y, estimator=Copula(bins=16), n_projections=500, rng=654)
    return smi.value


def bias_at_independence(estimator, n):
    if not isinstance(estimator, WKL):
        return 0.0
    x, y = np.random.default_rng(321).standard_normal((2, 1000, n))
    return np.mean([estimator.slice_terms(x[i : i + 10], y[i : i + 10]).mean() for i in range(990)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="Copula(bins=8, k=None)")
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--informations", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    estimator = ESTIMATORS[settings.estimator]
    print(settings)
    print("data        dim  MI     truth      error  std_error  ratio  coverage")
    bias = bias_at_independence(estimator, settings.samples)
    for name, distribution in DATA.items():
        for dim in settings.dims:
            for information in settings.informations:
                pair = distribution(information, dim, dim, rng=0)
                exact = truth(pair)
                results = []
                for i in range(settings.sets):
                    key = [settings.seed, i, dim, int(100 * information)]
                    x, y = pair.sample(settings.samples, rng=key)
                    smi = sliced_mutual_information(
                        x, y, estimator=estimator, n_projections=settings.slices, rng=key
                    )
                    results.append((smi.value - bias - exact, smi.std_error))
                errors, claimed = np.array(results).T
                ratio = errors.std(ddof=1) / np.sqrt(np.mean(claimed**2))
                covered = np.mean(np.abs(errors) <= 1.96 * claimed)
                print(
                    f"{name:10} {dim:4d} {information:4.1f} {exact:9.5f} {errors.mean():+10.5f} "
                    f"{claimed.mean():10.5f} {ratio:6.2f} {covered:9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
