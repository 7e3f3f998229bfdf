"""Max-sliced mutual information where the largest slice is known.

    python -m benchmarks.max_sliced --save     # results/paper/max_sliced.pkl

3000 samples, of which half choose the slice. "normal": components i of x and y have correlation
0.9 * 2^-i and all others none, so that the largest is the first. "sine": y = sin(3 a.x) + 0.3 noise
in one dimension, a a random direction in five, where x and y have next to no correlation.
"independent": normal x and y. Relative to the truth: "error" is the mean over data sets, "spread"
their standard deviation, "canonical" the mean of the slice on canonical directions alone. Of
independent data these are in nats. "z" is the mean over its standard error; "found" the share of
p-values up to 0.05.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from utils import max_sliced_mutual_information, sliced_mutual_information

from .rows import measured_rows, options

CORRELATION, NOISE, LEVEL = 0.9, 0.3, 0.05
SINE_DIM = 5


def normal(n, dim, rng):
    x, z = rng.standard_normal((2, n, dim))
    r = CORRELATION * 0.5 ** np.arange(dim)
    return x, r * x + np.sqrt(1.0 - r**2) * z


def sine(n, dim, rng):
    a = rng.standard_normal(dim)
    a /= np.linalg.norm(a)
    x = rng.standard_normal((n, dim))
    return x, np.sin(3.0 * x @ a) + NOISE * rng.standard_normal(n)


def independent(n, dim, rng):
    return rng.standard_normal((2, n, dim))


SAMPLERS = {"normal": normal, "sine": sine, "independent": independent}


def truth_of(data):
    """The information of the best slice; 1 for independent data, whose numbers are nats."""
    if data == "normal":
        return -0.5 * math.log1p(-(CORRELATION**2))
    return sine_information() if data == "sine" else 1.0


def sine_information():
    """I(u; sin(3 u) + noise) of standard normal u: entropy of the sum less that of the noise."""
    # Every u as likely as any other, so that a density is a plain mean.
    values = np.sin(3.0 * norm.ppf((np.arange(4000) + 0.5) / 4000))
    y = np.linspace(-1.0 - 8 * NOISE, 1.0 + 8 * NOISE, 2000)
    density = norm.pdf(y[:, None], values, NOISE).mean(axis=1)
    return float(-np.sum(density * np.log(density)) * (y[1] - y[0]) - norm.entropy(scale=NOISE))


def errors_of(data, dim, n_sets, *, settings):
    truth, found = truth_of(data), []
    for seed in range(settings.seed, settings.seed + n_sets):
        x, y = SAMPLERS[data](settings.samples, dim, np.random.default_rng([seed, dim]))
        result = max_sliced_mutual_information(x, y, n_permutations=99, rng=seed)
        canonical = sliced_mutual_information(x, y, frames="cca", rng=seed)
        found.append([result.value, result.std_error, canonical.value, result.p_value])
    values, errors, canonical, p_values = np.transpose(found)
    shift = 0.0 if data == "independent" else 1.0
    return {
        "truth": truth if shift else 0.0,
        "error": float(values.mean() / truth - shift),
        "spread": float(values.std(ddof=1) / truth),
        "std_error": float(errors.mean() / truth),
        "canonical": float(canonical.mean() / truth - shift),
        "z": float((values.mean() - shift * truth) / values.std(ddof=1) * math.sqrt(n_sets)),
        # Of p-values on a grid of 1 / 100, 0.05 is one.
        "found": float(np.mean(p_values <= LEVEL + 1e-9)),
    }


def main():
    settings, save = options(__doc__, samples=3000, sets=20, independent_sets=100, seed=8000)
    cases = [{"data": "normal", "dim": dim, "n_sets": settings.sets} for dim in (5, 20, 50)]
    cases.append({"data": "sine", "dim": SINE_DIM, "n_sets": settings.sets})
    cases.append({"data": "independent", "dim": 5, "n_sets": settings.independent_sets})
    measured_rows(
        "max_sliced",
        cases,
        lambda **case: errors_of(**case, settings=settings),
        settings={"samples": settings.samples, "seed": settings.seed},
        save=save,
    )


if __name__ == "__main__":
    main()
