"""Three ways in which sliced mutual information differs from mutual information."""

from __future__ import annotations

from typing import Any

import numpy as np

from .results import save_results
from .smi import independence_test, sliced_mutual_information
from .synthetic import CorrelatedNormal, SharedCoordinate
from .validation import as_generator

__all__ = ["run_misleading"]

_GROWING = np.linspace(0.0, 30.0, 11), np.array([2, 5, 10])
_TIMES = np.array([1, 2, 3, 5, 10, 20])
_DIMS = np.array([1, 2, 3, 5, 10, 20, 50, 100])
_N_NOISE = 9
# Of permuted samples: of more slices, the mean hardly spreads less, since they share the samples.
_MAX_NULL_SLICES = 200


def run_misleading(
    *, n_samples: int, n_projections: int, directory: Any, rng: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """Measure SMI where MI grows, where a coordinate is repeated, and where dimensions are added.

    Parameters
    ----------
    n_samples, n_projections : int
        Of each measurement.
    directory : path-like
        Where the results are saved, as "misleading".
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.

    Returns
    -------
    dict of str to dict
        "growing": SMI, arrays (n_dims, n_values), of normal data of growing "mutual_information".
        "repeated": of one shared coordinate of 1 nat beside 9 of noise, repeated "times" times.
        "dims": of normal data of 2 nat in more and more dimensions, and "null", the central 95 % of
        what permuted samples give. All have "smi", "std_error" and "exact", in nats.
    """
    data_rng, slice_rng = as_generator(rng).spawn(2)

    def measure(pairs):
        found = []
        for pair in pairs:
            x, y = pair.sample(n_samples, rng=data_rng)
            found.append(
                sliced_mutual_information(x, y, n_projections=n_projections, rng=slice_rng)
            )
        return {
            "exact": np.array([pair.sliced_mutual_information for pair in pairs]),
            "smi": np.array([smi.value for smi in found]),
            "std_error": np.array([smi.std_error for smi in found]),
        }

    values, dims = _GROWING
    pairs = [CorrelatedNormal(value, dim, dim, rng=data_rng) for dim in dims for value in values]
    growing = {name: array.reshape(len(dims), -1) for name, array in measure(pairs).items()}
    repeated = measure([SharedCoordinate(1.0, 1 + _N_NOISE, times) for times in _TIMES.tolist()])
    pairs = [CorrelatedNormal(2.0, dim, dim, rng=data_rng) for dim in _DIMS]
    shrinking = measure(pairs)
    shrinking["null"] = np.array(
        [
            _null_quantiles(pair.sample(n_samples, rng=data_rng), n_projections, slice_rng)
            for pair in pairs
        ]
    )
    results = {
        "growing": {"mutual_information": values, "dims": dims, **growing},
        "repeated": {"times": _TIMES, **repeated},
        "dims": {"dims": _DIMS, **shrinking},
    }
    settings = {"n_samples": n_samples, "n_projections": n_projections}
    save_results("misleading", results, settings=settings, directory=directory)
    return results


def _null_quantiles(samples, n_projections, rng):
    n_projections = min(-(-n_projections // 4), _MAX_NULL_SLICES)
    test = independence_test(*samples, n_projections=n_projections, n_permutations=99, rng=rng)
    return np.quantile(test.null_values, [0.025, 0.975])
