"""Small data, and short calls that refuse what they are given in their place."""

from __future__ import annotations

import numpy as np

from utils import WKL, sliced_mutual_information

N = 40
X = np.random.default_rng(0).standard_normal((N, 3))
Y = np.random.default_rng(1).standard_normal((N, 2))
LABELS = np.arange(N) % 2


def smi(x, y, **options):
    options = {"estimator": WKL(5), "n_projections": 3, "rng": 0, **options}
    return sliced_mutual_information(x, y, **options)


def smi_labels(x, y, **options):
    return smi(x, y, y_discrete=True, **options)
