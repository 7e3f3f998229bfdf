"""Cases of the estimating half, whose values are kept in a file.

`Copula`, `max_sliced_mutual_information` and `PointwiseSMI` have none: their own tests compare them
with exact values.

A case is a function without arguments, which builds its data from seeds. A group whose values are
meant to change is deleted, here and in the file. `python -m tests.values_before` writes the file
anew, with the code as it is.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from utils import (
    KSG,
    WKL,
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    Gaussian,
    SignFlipped,
    SMICompressor,
    Squared,
    SyntheticConfig,
    independence_test,
    load_results,
    mutual_information_of_slices,
    run_synthetic,
    sample_spherical,
    sample_stiefel,
    sliced_mutual_information,
)
from utils.estimators import berrett_weights, neighbor_weights
from utils.experiments import correlations

SAVED = Path(__file__).parent / "data" / "values_before.json"
RULES = ("kth", "berrett", "mutinfo")
DIMS = (1, 2, 3, 8)
BERRETT_DIMS = (1, 2, 3, 7)  # in 8 no k has weights
QUANTITIES = {
    *("value", "std_error", "slicing_error", "sampling_error", "per_slice", "pointwise"),
    *("n_samples", "n_projections", "p_value", "null_values"),
}


# -------------------------------------------------------------------------------------------- data


def pair(dim_x, dim_y):
    """Normal samples; each column of y that x has too is noise plus that column."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, dim_x)), rng.standard_normal((300, dim_y))
    shared = min(dim_x, dim_y)
    y[:, :shared] += x[:, :shared]
    return x, y


def labelled(dim, sizes=(80, 100, 120)):
    """Normal classes of shifted means, in random order."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = rng.standard_normal((len(labels), dim))
    x[:, 0] += labels
    return x, labels


def slices(n_slices=30):
    """Centred pairs of one-dimensional samples, one row per slice."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n_slices, 300))
    y += x * np.linspace(-1.0, 1.0, n_slices)[:, None]
    return x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)


def offsets_and_scales():
    x, y = pair(4, 4)
    return 1e7 + x, (y - 20.0) * [1e-3, 1.0, 1e2, 1e4]


def repeated(n_repeated):
    """The last rows repeat others, of x and of y not the same ones."""
    x, y = pair(3, 3)
    x[-n_repeated:], y[-n_repeated:] = x[:n_repeated], y[n_repeated : 2 * n_repeated]
    return x, y


def tied_slices():
    x, y = slices()
    x[3, :2] = x[3, 2]
    return x, y


def names_of_unequal_classes():
    x, labels = labelled(30, sizes=(10, 250, 40))
    return 1e5 + x, np.array(["cat", "dog", "owl"])[labels]


def rectified():
    x, labels = labelled(3)
    return np.maximum(x, 0.0), labels


# -------------------------------------------------------------- what is measured, with no defaults


def smi(data, estimator, *, n_projections=60, **options):
    """Single slices and the sampling error: the mean over slices has been given controls since."""
    options |= {"n_projections": n_projections, "rng": 1}
    results = sliced_mutual_information(*data, estimator=estimator, **options)
    if not isinstance(results, dict):
        return {"per_slice": results.per_slice, "sampling_error": results.sampling_error}
    return {
        f"{rule} {name}": getattr(result, name)
        for rule, result in results.items()
        for name in ("per_slice", "sampling_error")
    }


smi_labels = partial(smi, y_discrete=True)


def precomputed(data, estimator):
    return mutual_information_of_slices(*data, estimator=estimator, rng=1)


def precomputed_labels(data, estimator):
    x, labels = data
    return mutual_information_of_slices(x.T, labels, estimator=estimator, y_discrete=True, rng=1)


def independence(data, estimator, *, n_projections=20):
    options = {"n_projections": n_projections, "n_permutations": 19, "rng": 1}
    return independence_test(*data, estimator=estimator, **options)


def squared_correlation(x, y):
    """A measure of slices that is no estimator."""
    return np.corrcoef(x.ravel(), y.ravel())[0, 1] ** 2


def samples(distribution):
    found = {}
    for dims in ((1, 1), (3, 5)):
        source = distribution(1.5, *dims, rng=2)
        x, y = source.sample(50, rng=3)
        found |= {f"x {dims}": x, f"y {dims}": y, f"correlation {dims}": source.correlation}
    return found


def exact_smi():
    return {
        f"{value} {dims}": CorrelatedNormal(value, *dims).sliced_mutual_information
        for value in (0.0, 0.5, 4.0)
        for dims in ((1, 1), (2, 2), (3, 5), (30, 30))
    }


def compressed(dim, n_projections, x):
    compressor = SMICompressor(dim, n_projections, rng=3)
    return {"theta": compressor.theta, "slices": compressor(x)}


GRID = {
    "dims": (1, 3),
    "mutual_informations": (0.0, 1.0),
    "n_samples": 300,
    "n_projections": 30,
    "n_seeds": 2,
    "seed": 4,
}


def synthetic_grid():
    config = SyntheticConfig(distribution="normal", k=5, weights=("mutinfo", "kth"), **GRID)
    return grid(run_synthetic, config, ("base", "smi"))


def grid(run, config, quantities):
    with tempfile.TemporaryDirectory() as directory:
        run(config, path=Path(directory) / "grid.pkl", n_jobs=1, progress=False)
        results = load_results("grid", directory=directory).results
    names = (*quantities, "base_std_error", "smi_exact")
    found = {name: results[name] for name in names}
    return found | {f"correlations {name}": correlations(results, name) for name in quantities}


# ------------------------------------------------------------------------------------------- cases

GROUPS = {
    "weights": {
        "kth": lambda: {d: neighbor_weights("kth", 5, d) for d in DIMS},
        "mutinfo": lambda: {d: neighbor_weights("mutinfo", 5, d) for d in DIMS},
        "berrett": lambda: {d: neighbor_weights("berrett", 25, d) for d in BERRETT_DIMS},
        "berrett_weights": lambda: {d: berrett_weights(5, d) for d in BERRETT_DIMS},
    },
    "directions": {
        "stiefel": lambda: {d: sample_stiefel(d, rng=3) for d in (1, 2, 5, 30)},
        "spherical": lambda: {d: sample_spherical(d, 3 * d, rng=3) for d in (1, 2, 5, 30)},
        "compressor": lambda: compressed(4, 12, 1e3 + pair(4, 1)[0]),
        "compressor of images": lambda: compressed(6, 6, pair(6, 1)[0].reshape(300, 2, 3)),
    },
    # More directions than columns, but not a multiple of them.
    "last block cut": {
        "spherical": lambda: {d: sample_spherical(d, d + 1, rng=3) for d in (2, 5, 30)},
    },
    "distributions": {
        "normal": lambda: samples(CorrelatedNormal),
        "uniform": lambda: samples(CorrelatedUniform),
        "cubed": lambda: samples(CorrelatedCubed),
        "sign-flipped": lambda: samples(SignFlipped),
        "squared": lambda: samples(Squared),
        "exact SMI": exact_smi,
    },
    "entropy": {
        "WKL": lambda: {d: WKL(k=5).entropy(1e4 + 3.0 * pair(d, 1)[0]) for d in DIMS},
        "WKL by rule": lambda: {
            d: WKL(k=8, weights=RULES).entropy(pair(d, 1)[0]) for d in BERRETT_DIMS
        },
        "Gaussian": lambda: {d: Gaussian().entropy(1e4 + 3.0 * pair(d, 1)[0]) for d in DIMS},
    },
    "mutual information": {
        "WKL": lambda: {d: WKL(k=5).mutual_information(*pair(d, d)) for d in DIMS},
        "WKL by rule": lambda: WKL(k=16, weights=RULES).mutual_information(*pair(1, 3)),
        "WKL ties": lambda: WKL(k=5).mutual_information(*repeated(2), rng=1),
        "KSG": lambda: {d: KSG(k=5).mutual_information(*pair(d, d)) for d in DIMS},
        "Gaussian": lambda: {d: Gaussian().mutual_information(*pair(d, d)) for d in DIMS},
    },
    "mutual information with labels": {
        "WKL": lambda: {d: WKL(k=5).mutual_information_labels(*labelled(d)) for d in DIMS},
        "WKL by rule": lambda: WKL(k=8, weights=RULES).mutual_information_labels(*labelled(3)),
        "KSG": lambda: {d: KSG(k=5).mutual_information_labels(*labelled(d)) for d in DIMS},
    },
    "slice terms": {
        "WKL": lambda: dict(enumerate(WKL(k=5, weights=RULES).slice_terms(*slices()))),
        "KSG": lambda: KSG(k=5).slice_terms(*slices()),
        "Gaussian": lambda: Gaussian().slice_terms(*slices()),
    },
    "SMI": {
        "WKL k=1": lambda: smi(pair(3, 3), WKL(k=1)),
        "WKL k=5": lambda: smi(pair(3, 3), WKL(k=5)),
        "WKL k=25": lambda: smi(pair(3, 3), WKL(k=25)),
        "WKL berrett": lambda: smi(pair(3, 3), WKL(k=5, weights="berrett")),
        "WKL mutinfo": lambda: smi(pair(3, 3), WKL(k=5, weights="mutinfo")),
        "WKL by rule": lambda: smi(pair(2, 5), WKL(k=5, weights=RULES)),
        "WKL 1 dimension": lambda: smi(pair(1, 1), WKL(k=5)),
        "WKL 1 and 4 dimensions": lambda: smi(pair(1, 4), WKL(k=5)),
        "WKL 30 dimensions": lambda: smi(pair(30, 30), WKL(k=5)),
        "KSG k=1": lambda: smi(pair(10, 2), KSG(k=1)),
        "KSG k=5": lambda: smi(pair(3, 3), KSG(k=5)),
        "Gaussian": lambda: smi(pair(5, 5), Gaussian(), n_projections=500),
        "function": lambda: smi(pair(3, 3), squared_correlation),
    },
    "SMI of other data": {
        "single precision": lambda: smi([v.astype(np.float32) for v in pair(4, 4)], WKL(k=5)),
        "offsets and scales": lambda: smi(offsets_and_scales(), WKL(k=5)),
        "images": lambda: smi([v.reshape(300, 2, 2) for v in pair(4, 4)], WKL(k=1)),
        "heavy tails": lambda: smi([v**3 for v in pair(3, 3)], KSG(k=5)),
        "ties": lambda: smi(repeated(2), WKL(k=5)),
        "many ties": lambda: smi(repeated(30), KSG(k=5)),
    },
    "SMI with labels": {
        "WKL k=1": lambda: smi_labels(labelled(3), WKL(k=1)),
        "WKL k=5": lambda: smi_labels(labelled(3), WKL(k=5)),
        "WKL k=25": lambda: smi_labels(labelled(10), WKL(k=25)),
        "WKL by rule, 1 dimension": lambda: smi_labels(labelled(1), WKL(k=5, weights=RULES)),
        "WKL names": lambda: smi_labels(names_of_unequal_classes(), WKL(k=5)),
        "KSG": lambda: smi_labels(labelled(3), KSG(k=5)),
        "KSG rectified": lambda: smi_labels(rectified(), KSG(k=5)),
        "function": lambda: smi_labels(labelled(3), squared_correlation),
    },
    "precomputed slices": {
        "WKL": lambda: precomputed(slices(), WKL(k=5, weights=RULES)),
        "WKL tied": lambda: precomputed(tied_slices(), WKL(k=5)),
        "KSG": lambda: precomputed(slices(n_slices=120), KSG(k=5)),
        "function": lambda: precomputed(slices(), squared_correlation),
        "WKL labels": lambda: precomputed_labels(labelled(8), WKL(k=5)),
        "KSG labels": lambda: precomputed_labels(labelled(8), KSG(k=5)),
    },
    "independence": {
        "WKL": lambda: independence(pair(3, 3), WKL(k=5, weights=RULES)),
        "KSG 1 dimension": lambda: independence(pair(1, 1), KSG(k=5)),
    },
    "paired blocks": {"synthetic grid": synthetic_grid},
}
CASES = {f"{group}: {name}": case for group in GROUPS for name, case in GROUPS[group].items()}


# ----------------------------------------------------------------------------------------- numbers


def measure(name):
    """The numbers of a case, a list for each quantity."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* repeat others", UserWarning)
        return dict(numbers(CASES[name]()))


def numbers(result, prefix=""):
    """Yield a name and a few numbers for each part of a result."""
    if hasattr(result, "value"):
        result = {name: getattr(result, name) for name in dir(result) if name in QUANTITIES}
    if isinstance(result, dict):
        for name, part in result.items():
            yield from numbers(part, f"{prefix}{name} ")
    else:
        yield prefix.strip() or "all", summary(np.ravel(result).astype(float))


def summary(values):
    """A short array itself; of a long one size, mean, standard deviation, first three and last."""
    if len(values) > 8:
        values = np.array([len(values), values.mean(), values.std(), *values[:3], values[-1]])
    return values.tolist()


def main():
    lines = [f"{json.dumps(name)}: {json.dumps(measure(name))}" for name in CASES]
    SAVED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
