"""Sliced mutual information: measure it, and test the measure where the answer is known.

The estimators are re-exported here and need neither torch nor matplotlib; `watch`, which needs
torch, is loaded when it is asked for. The network half is in `utils.mnist`, `utils.networks`,
`utils.training` and `utils.information_plane`, the figures in `utils.plotting`.
"""

from typing import Any

from .estimates import IndependenceTest, MaxSlicedEstimate, SlicedEstimate
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
from .max_sliced import max_sliced_mutual_information
from .results import SavedResults, load_results, save_results
from .slicing import SMICompressor, sample_spherical, sample_stiefel
from .smi import (
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
    normal_sliced_information,
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
    "MaxSlicedEstimate",
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
    "max_sliced_mutual_information",
    "mutual_information_of_slices",
    "normal_sliced_information",
    "run_estimators",
    "run_synthetic",
    "sample_spherical",
    "sample_stiefel",
    "save_results",
    "sliced_mutual_information",
    "to_mutinfo",
]


def __getattr__(name: str) -> Any:
    if name in ("InformationPlane", "watch"):
        from . import information_plane

        return getattr(information_plane, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
