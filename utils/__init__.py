"""Sliced mutual information: measure it, and test the measure where the answer is known.

The estimators are re-exported here and need neither torch nor matplotlib; the network half is in
`utils.mnist`, `utils.networks`, `utils.training` and `utils.information_plane`, the figures in
`utils.plotting`.
"""

from .estimators import (
    KSG,
    WKL,
    Copula,
    Estimate,
    Gaussian,
    SliceEstimator,
    berrett_weights,
    from_mutinfo,
    to_mutinfo,
)
from .experiments import EstimatorsConfig, SyntheticConfig, run_estimators, run_synthetic
from .results import SavedResults, load_results, save_results
from .slicing import SMICompressor, sample_spherical, sample_stiefel
from .smi import (
    IndependenceTest,
    SlicedEstimate,
    independence_test,
    mutual_information_of_slices,
    sliced_mutual_information,
)
from .synthetic import (
    CorrelatedCubed,
    CorrelatedNormal,
    CorrelatedUniform,
    SignFlipped,
    Squared,
)

__all__ = [
    "KSG",
    "WKL",
    "Copula",
    "CorrelatedCubed",
    "CorrelatedNormal",
    "CorrelatedUniform",
    "Estimate",
    "EstimatorsConfig",
    "Gaussian",
    "IndependenceTest",
    "SMICompressor",
    "SavedResults",
    "SignFlipped",
    "SliceEstimator",
    "SlicedEstimate",
    "Squared",
    "SyntheticConfig",
    "berrett_weights",
    "from_mutinfo",
    "independence_test",
    "load_results",
    "mutual_information_of_slices",
    "run_estimators",
    "run_synthetic",
    "sample_spherical",
    "sample_stiefel",
    "save_results",
    "sliced_mutual_information",
    "to_mutinfo",
]
