"""How much of a training is chance: the same network from other seeds, and from fewer images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .information_plane import InformationPlane
from .mnist import ImageData
from .training import train_classifier

__all__ = ["measure_other_starts", "train_others"]


def measure_other_starts(
    data: ImageData,
    make_plane: Callable[[], InformationPlane],
    *,
    seeds: Iterable[int],
    **training: Any,
) -> dict[str, np.ndarray]:
    """Measure networks of other seeds after their first epoch.

    Parameters
    ----------
    data : ImageData
    make_plane : callable
        Makes an `InformationPlane` that measures after epoch 1.
    seeds : iterable of int
    **training
        For `train_classifier`.

    Returns
    -------
    dict of str to array
        "information_x" and "information_y", shape (n_seeds, n_rules, n_layers), in nats.
    """
    starts = []
    for seed in seeds:
        plane = make_plane()
        train_classifier(data, epochs=1, on_epoch_end=plane, rng=seed, **training)
        starts.append(plane.results())
    return {
        quantity: np.array([start[quantity][:, :, 0] for start in starts])
        for quantity in ("information_x", "information_y")
    }


def train_others(
    data: ImageData, *, seed: int, n_other_seeds: int, directory: Any, **training: Any
) -> dict[str, Mapping[str, np.ndarray]]:
    """Train from other seeds, and from the same seed with five sixths of the images.

    Parameters
    ----------
    data : ImageData
    seed : int
        The seed of the training that these are compared with; the other seeds follow it.
    n_other_seeds : int
    directory : path-like
        Where the checkpoints are.
    **training
        For `train_classifier`.

    Returns
    -------
    dict of str to dict
        Histories, by what was changed.
    """
    kept = np.arange(len(data.train_labels)) % 6 != 5
    fewer = replace(
        data, train_images=data.train_images[kept], train_labels=data.train_labels[kept]
    )
    runs = {f"seed {other}": (data, other) for other in range(seed + 1, seed + 1 + n_other_seeds)}
    runs[f"{kept.sum()} images"] = (fewer, seed)
    return {
        name: train_classifier(
            images, rng=run_seed, checkpoint=Path(directory) / f"classifier {name}.pt", **training
        ).history
        for name, (images, run_seed) in runs.items()
    }
