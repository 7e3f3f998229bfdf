"""What tests have done in other processes; it needs no test tools, so that these start fast."""

from __future__ import annotations

import hashlib
import threading
import time
from unittest import mock

import numpy as np

import utils.parallel
from utils import (
    KSG,
    WKL,
    Copula,
    SliceEstimator,
    SyntheticConfig,
    independence_test,
    mutual_information_of_slices,
    sliced_mutual_information,
)

# Small enough to be measured many times, with cells long enough to be stopped in.
GRID = SyntheticConfig(
    dims=(1, 2, 3),
    mutual_informations=(1.0,),
    n_samples=300,
    n_projections=40,
    n_seeds=4,
)


def measured():
    """Fingerprints of what the functions give; each has several tasks, of several blocks."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 30))
    y = x[:, :4] + rng.standard_normal((300, 4))
    tied = x.copy()
    tied[:2] = x[0]  # fewer equal rows than there is a warning for
    labels = np.arange(300) % 3
    options = {"estimator": WKL(5), "n_projections": 600, "rng": 1}
    results = [
        sliced_mutual_information(x, y, **options),
        sliced_mutual_information(x, y, **{**options, "estimator": KSG(5)}),
        sliced_mutual_information(x, y, **{**options, "estimator": Copula()}),
        sliced_mutual_information(x[:, :2], y[:, :2], tol=0.01, **options),
        sliced_mutual_information(x, labels, **{**options, "estimator": Copula()}, y_discrete=True),
        sliced_mutual_information(x, labels, y_discrete=True, **options),
        sliced_mutual_information(tied, y, **options),
        mutual_information_of_slices(x.T[:4], y.T, estimator=WKL(5), rng=1),
    ]
    test = independence_test(x, y, estimator=WKL(5), n_projections=60, n_permutations=5, rng=1)
    numbers = [
        np.concatenate([[result.value, result.std_error], result.per_slice, result.pointwise])
        for result in results
    ]
    return [hashlib.sha256(some.tobytes()).hexdigest() for some in [*numbers, test.null_values]]


class ThreadsSeen(SliceEstimator):
    """An estimator that only notes which threads it is called from."""

    has_terms = False

    def __init__(self):
        self.threads = set()

    def slice_terms(self, x, y):
        self.threads.add(threading.get_ident())
        time.sleep(0.002)
        return np.zeros((1, *x.shape))


def n_threads_used():
    """How many threads measure slices, on a machine of (seemingly) three cores."""
    x, y = np.random.default_rng(0).standard_normal((2, 2**14, 2))
    seen = ThreadsSeen()
    with mock.patch.object(utils.parallel, "cpu_count", lambda: 3):
        sliced_mutual_information(x, y, estimator=seen, n_projections=100, rng=0)
    return len(seen.threads)
