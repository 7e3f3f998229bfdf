"""How often value +- 1.96 std_error holds the true sliced mutual information.

    SMI_DATA=... python -m benchmarks.coverage --save      # results/paper/coverage.pkl

500 data sets per case, measured by the default estimator; 3000 samples and 400 slices. Where the
truth comes from:

* independent data and single dimensions know it, and so do normal data;
* marginals that are not normal: that of normal data, times a ratio: what 32 x 32 cells of nearly
  equal counts show of the data, over what they show of the normal data that they were made from, in
  200,000 samples and the same 1000 slices. What cells hide is hidden of both;
* sign-flipped, redundant and labelled normal data: every slice has a known density, whose
  information is integrated numerically; the mean over 100,000 slices or more;
* layer: `KSG(k=5)` of all 60,000 images of MNIST, of which a data set is a random twentieth.

"truth error" is the standard error of the truth; "bias" the mean error over the data sets; "ratio"
the spread of the values over their root mean square `std_error`. The data sets of a case are
measured in parallel, on all cores, or as many as LOKY_MAX_CPU_COUNT says.
"""

from __future__ import annotations

from functools import cache

import joblib
import numpy as np
from scipy.special import ndtr
from scipy.stats import norm, t

from utils import (
    KSG,
    CorrelatedNormal,
    CorrelatedUniform,
    SignFlipped,
    sample_spherical,
    sliced_mutual_information,
)

from .rows import measured_rows, options

TRUTH_SAMPLES, TRUTH_SLICES, TRUTH_SETS = 200_000, 250, 4
CELLS = 32
GRID = np.linspace(-8.0, 8.0, 401)


class CorrelatedStudent(CorrelatedNormal):
    """Components with Student's t distribution with 5 degrees of freedom."""

    sliced_mutual_information = None

    def _marginal(self, values):
        return t.ppf(ndtr(values), 5)


class CorrelatedLognormal(CorrelatedNormal):
    """Components with the standard lognormal distribution."""

    sliced_mutual_information = None

    def _marginal(self, values):
        return np.exp(values)


class Pair:
    """Data of `utils.synthetic`, and what is known of their SMI."""

    y_discrete = False

    def __init__(self, distribution, information, dim):
        self.distribution = distribution(information, dim, dim, rng=0)
        self.normal = CorrelatedNormal(information, dim, dim, rng=0)
        self.dim = dim
        self.is_exact = information == 0 or dim == 1 or distribution is CorrelatedNormal

    def sample(self, n, rng):
        return self.distribution.sample(n, rng=rng)

    def truth(self):
        if self.is_exact:
            return self.normal.sliced_mutual_information, 0.0
        seen = []
        for seed in range(TRUTH_SETS):
            theta, phi = (
                sample_spherical(self.dim, TRUTH_SLICES, rng=[seed, side]) for side in (0, 1)
            )
            # The same generator draws the same normal data before their marginals are changed.
            pairs = [
                pair.sample(TRUTH_SAMPLES, rng=[seed, 987])
                for pair in (self.distribution, self.normal)
            ]
            for directions in zip(theta, phi, strict=True):
                seen.append([information_of_cells(*pair, *directions) for pair in pairs])
        of_data, of_normal = np.transpose(seen)
        ratio = of_data.sum() / of_normal.sum()
        error = np.std(of_data - ratio * of_normal, ddof=1) / np.sqrt(len(seen)) / of_normal.mean()
        exact = self.normal.sliced_mutual_information
        return exact * ratio, exact * error


def information_of_cells(x, y, theta, phi):
    """Information of one slice in cells of nearly equal counts, less what chance adds to it."""
    codes = []
    for side in (x @ theta, y @ phi):
        some = np.sort(side[: 1000 * CELLS])
        codes.append(np.searchsorted(some[1000::1000], side))
    counts = np.bincount(codes[0] * CELLS + codes[1], minlength=CELLS**2).reshape(CELLS, CELLS)
    shares = counts / len(x)
    expected = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    information = np.sum(shares * np.log(np.maximum(shares / expected, 1e-300)))
    return information - (CELLS - 1) ** 2 / (2 * len(x))


class Flipped(Pair):
    """A slice is an even mixture of two normal pairs, of correlations r and -r."""

    def __init__(self, information, dim):
        super().__init__(SignFlipped, information, dim)

    def truth(self):
        theta, phi = np.random.default_rng(0).standard_normal((2, 10**6, self.dim))
        cosines = np.sum(theta * phi, axis=1)
        cosines /= np.linalg.norm(theta, axis=1) * np.linalg.norm(phi, axis=1)
        correlations = np.linspace(0.0, self.normal.correlation, 200)
        values = np.interp(
            np.abs(self.normal.correlation * cosines),
            correlations,
            [_flipped_information(r) for r in correlations],
        )
        return values.mean(), values.std() / 1e3


def _flipped_information(correlation):
    x, y = np.meshgrid(GRID, GRID)
    inside = np.sqrt(1.0 - correlation**2)
    conditional = 0.5 * (
        norm.pdf(y, correlation * x, inside) + norm.pdf(y, -correlation * x, inside)
    )
    log_ratio = np.log(np.maximum(conditional, 1e-300)) - norm.logpdf(y)
    return np.sum(norm.pdf(x) * conditional * log_ratio) * (GRID[1] - GRID[0]) ** 2


class Redundant:
    """Columns that are nearly the same, as in `benchmarks.curse_of_slicing`."""

    y_discrete = False

    def __init__(self, dim):
        mixing = 0.01 * np.eye(dim) + 1.0
        self.mixing = mixing / np.linalg.norm(mixing, axis=1, keepdims=True)

    def sample(self, n, rng):
        rng = np.random.default_rng(rng)
        x = rng.standard_normal((n, len(self.mixing))) @ self.mixing.T
        return x, x + 0.1 * rng.standard_normal(x.shape)

    def truth(self):
        theta, phi = np.random.default_rng(0).standard_normal((2, 10**6, len(self.mixing)))
        of_x, of_y = theta @ self.mixing, phi @ self.mixing
        r2 = np.sum(of_x * of_y, axis=1) ** 2 / np.sum(of_x**2, axis=1)
        r2 /= np.sum(of_y**2, axis=1) + 0.01 * np.sum(phi**2, axis=1)
        values = -0.5 * np.log1p(-r2)
        return values.mean(), values.std() / 1e3


class Classes:
    """Equally likely normal classes, with means and scales of their own."""

    y_discrete = True

    def __init__(self, n_classes, dim):
        rng = np.random.default_rng(n_classes)
        self.means = rng.standard_normal((n_classes, dim))
        self.scales = rng.uniform(0.5, 1.5, (n_classes, dim))

    def sample(self, n, rng):
        rng = np.random.default_rng(rng)
        labels = rng.integers(len(self.means), size=n)
        noise = rng.standard_normal((n, self.means.shape[1]))
        return self.means[labels] + self.scales[labels] * noise, labels

    def truth(self, n_slices=100_000):
        values = []
        for theta in np.random.default_rng(0).standard_normal((n_slices, self.means.shape[1])):
            theta = theta / np.linalg.norm(theta)
            means, scales = self.means @ theta, np.sqrt(self.scales**2 @ theta**2)
            points = np.linspace((means - 8 * scales).min(), (means + 8 * scales).max(), 1000)
            density = norm.pdf(points, means[:, None], scales[:, None]).mean(axis=0)
            entropy = -np.sum(density * np.log(np.maximum(density, 1e-300)))
            entropy *= points[1] - points[0]
            values.append(entropy - norm.entropy(scale=scales).mean())
        return np.mean(values), np.std(values) / np.sqrt(n_slices)


class Layer:
    """Pixels of MNIST's training images, and 128 random rectified units that see them."""

    y_discrete = False

    def __init__(self):
        self.pixels, self.units = _pixels_and_units()

    def sample(self, n, rng):
        rows = np.random.default_rng(rng).choice(len(self.pixels), n, replace=False)
        return self.pixels[rows], self.units[rows]

    def truth(self):
        smi = sliced_mutual_information(
            self.pixels, self.units, estimator=KSG(k=5), n_projections=2000, rng=0
        )
        return smi.value, smi.slicing_error


@cache
def _pixels_and_units():
    from utils.mnist import load_images

    pixels = load_images("mnist").train_images.flatten(1).numpy().astype(np.float64)
    weights = np.random.default_rng(0).standard_normal((pixels.shape[1], 128))
    return pixels, np.maximum(pixels @ weights, 0.0)


CASES = {
    f"{name}, MI {information:g}, {dim} + {dim}": (Pair, distribution, information, dim)
    for dim in (1, 5, 20)
    for information in (0.0, 1.0)
    for name, distribution in (
        ("normal", CorrelatedNormal),
        ("Student 5", CorrelatedStudent),
        ("uniform", CorrelatedUniform),
    )
}
CASES |= {
    "lognormal, MI 1, 5 + 5": (Pair, CorrelatedLognormal, 1.0, 5),
    "sign-flipped, MI 1, 5 + 5": (Flipped, 1.0, 5),
    "redundant, 5 + 5": (Redundant, 5),
    "2 classes, 5": (Classes, 2, 5),
    "10 classes, 5": (Classes, 10, 5),
    "layer, 784 + 128": (Layer,),
}


def coverage(case, *, settings):
    make, *arguments = CASES[case]
    data = make(*arguments)
    exact, truth_error = data.truth()
    found = joblib.Parallel(n_jobs=-1)(
        joblib.delayed(measured)(case, seed, settings) for seed in range(*settings.seeds)
    )
    values, claimed = np.transpose(found)
    errors = values - exact
    return {
        "truth": float(exact),
        "truth error": float(truth_error),
        "bias": float(errors.mean()),
        "std_error": float(claimed.mean()),
        "ratio": float(errors.std(ddof=1) / np.sqrt(np.mean(claimed**2))),
        "coverage": float(np.mean(np.abs(errors) <= 1.96 * claimed)),
    }


def measured(case, seed, settings):
    """Value and std_error of one data set."""
    make, *arguments = CASES[case]
    data = make(*arguments)
    x, y = data.sample(settings.samples, rng=[seed, list(CASES).index(case)])
    smi = sliced_mutual_information(
        x, y, n_projections=settings.slices, y_discrete=data.y_discrete, rng=seed
    )
    return smi.value, smi.std_error


def main():
    settings, save = options(__doc__, samples=3000, slices=400, seeds=(8000, 8500))
    measured_rows(
        "coverage",
        [{"case": case} for case in CASES],
        lambda **case: coverage(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    # By its name in the package, so that worker processes find what it defines.
    from benchmarks.coverage import main as named_main

    named_main()
