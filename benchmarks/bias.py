"""What estimators miss of dependence that is not that of normal data.

    python -m benchmarks.bias --save     # results/paper/smi_bias.pkl

Data of mutual information 2: normal ones whose components are cubed, squashed by tanh, made uniform
or Student t with 3 degrees of freedom (which changes no mutual information), given one random sign
per sample (which takes log 2 away at most), or Y_i = X_i^2 + noise, Y_i = sin(3 X_i) + noise. The
truth is SMI by `KSG(k=5)`, the mean of 5 data sets of 100,000 samples, on the same slices as the
estimates; "truth error" is its relative standard error, and "truth 2" how far `WKL(k=5)` of the
same samples is from it. Numbers are relative errors of the mean over seeds; "spread" is the
standard error of that mean for `Copula()`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm, t

from utils import KSG, WKL, Copula, CorrelatedNormal, Gaussian

from .rows import Several, mean_information, measured_rows, name_of, options

INFORMATION = 2.0
DIMS = 2, 5, 10
ESTIMATORS = Several((Copula(), KSG(k=5), WKL(k=5), Gaussian()))
TRUTHS = Several((KSG(k=5), WKL(k=5)))
MARGINALS = {
    "cubed": lambda z: z**3,
    "tanh": np.tanh,
    "uniform": ndtr,
    "student 3": lambda z: t.ppf(ndtr(z), 3),
}
FUNCTIONS = {"square": np.square, "sin 3x": lambda x: np.sin(3.0 * x)}
DATA = (*MARGINALS, "sign", *FUNCTIONS)


def sampler(data, dim):
    """A function of a number of samples and a generator, that draws (x, y)."""
    if data in FUNCTIONS:
        function, noise = FUNCTIONS[data], noise_for(FUNCTIONS[data], INFORMATION / dim)

        def sample(n, rng):
            x, z = rng.standard_normal((2, n, dim))
            return x, function(x) + noise * z

        return sample
    pair = CorrelatedNormal(INFORMATION, dim, dim, rng=0)

    def sample(n, rng):
        x, y = pair.sample(n, rng=rng)
        if data == "sign":
            return x, rng.choice([-1.0, 1.0], (n, 1)) * y
        return MARGINALS[data](x), MARGINALS[data](y)

    return sample


def noise_for(function, information):
    """The noise with which I(X; f(X) + noise Z) is so much, for standard normal X and Z."""
    # Every X as likely as any other, so that a density is a plain mean.
    values = function(norm.ppf((np.arange(4000) + 0.5) / 4000))

    def excess(noise):
        y = np.linspace(values.min() - 8 * noise, values.max() + 8 * noise, 2000)
        density = norm.pdf(y[:, None], values, noise).mean(axis=1)
        entropy = -np.sum(density * np.log(np.maximum(density, 1e-300))) * (y[1] - y[0])
        return entropy - norm.entropy(scale=noise) - information

    return brentq(excess, 0.02, 20.0, xtol=1e-4)


def relative_errors(data, dim, *, settings):
    sample = sampler(data, dim)
    slices = np.random.default_rng(0).standard_normal((2, settings.slices, dim))
    slices /= np.linalg.norm(slices, axis=2, keepdims=True)
    truths = []
    for seed in range(settings.truth_sets):
        x, y = sample(settings.truth_samples, np.random.default_rng(seed))
        truths.append(mean_information(TRUTHS, x, y, *slices))
    truth, other_truth = np.mean(truths, axis=0)
    truth_error = np.std(truths, axis=0, ddof=1)[0] / np.sqrt(len(truths)) / truth
    values = []
    for seed in range(*settings.seeds):
        x, y = sample(settings.samples, np.random.default_rng([seed, dim]))
        values.append(mean_information(ESTIMATORS, x, y, *slices))
    errors = np.mean(values, axis=0) / truth - 1.0
    spread = np.std(values, axis=0, ddof=1)[0] / np.sqrt(len(values)) / truth
    names = map(name_of, ESTIMATORS.estimators)
    return (
        {
            "truth": float(truth),
            "truth error": float(truth_error),
            "truth 2": float(other_truth / truth - 1.0),
        }
        | dict(zip(names, map(float, errors), strict=True))
        | {"spread": float(spread)}
    )


def main():
    settings, save = options(
        __doc__, samples=3000, truth_samples=100_000, truth_sets=5, slices=100, seeds=(8300, 8340)
    )
    measured_rows(
        "smi_bias",
        [{"data": data, "dim": dim} for dim in DIMS for data in DATA],
        lambda **case: relative_errors(**case, settings=settings),
        settings=vars(settings)
        | {"estimators": [name_of(estimator) for estimator in ESTIMATORS.estimators]},
        save=save,
    )


if __name__ == "__main__":
    main()
