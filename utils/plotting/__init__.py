"""Figures: saved results on axes. Nothing is estimated here, and nothing is shown by itself.

`utils.plotting.synthetic` draws Figures 1 and 2, `utils.plotting.networks` Figure 3; what they
share is in `utils.plotting.style`.
"""

from .networks import (
    plot_images,
    plot_information_over_epochs,
    plot_information_planes,
    plot_metrics,
)
from .style import name_of_rule, save_figure
from .synthetic import (
    plot_correlations,
    plot_estimates,
    plot_estimators,
    plot_exact_smi,
    plot_k_slices,
    plot_misleading,
    plot_weight_norms,
)

__all__ = [
    "name_of_rule",
    "plot_correlations",
    "plot_estimates",
    "plot_estimators",
    "plot_exact_smi",
    "plot_images",
    "plot_information_over_epochs",
    "plot_information_planes",
    "plot_k_slices",
    "plot_metrics",
    "plot_misleading",
    "plot_weight_norms",
    "save_figure",
]
