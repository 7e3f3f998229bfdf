"""One pass over the images: training or testing, its metrics, and its random numbers.

The random numbers of an epoch follow from the seed and the epoch's number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .mnist import ImageData

__all__ = [
    "FOR_CALLBACKS",
    "FOR_EPOCHS",
    "FOR_WEIGHTS",
    "Task",
    "TrainingSetEvaluation",
    "classification_scores",
    "cuda_devices",
    "record_metrics",
    "run_epoch",
    "seed_torch",
]

# On a CPU a batch goes through the network in parts of this many images, their gradients summed:
# the same gradient, but the activations stay in the cache (on 2 cores, an epoch of the autoencoder
# takes 9 s instead of 14 s). A GPU takes the whole batch at once.
_PART_ON_CPU = 256

# Each purpose of random numbers has its own stream.
FOR_WEIGHTS, FOR_EPOCHS, FOR_CALLBACKS = range(3)


class Task(NamedTuple):
    """What is trained: everything in which the two public functions differ."""

    name: str
    build: Callable  # () -> model
    loss: Callable  # (outputs, images, labels) -> mean over the images
    scores: Callable | None  # (all outputs, all labels) -> dict of further metrics
    keep_epochs: bool  # whether the network of every epoch stays in the checkpoint


def run_epoch(
    task: Task,
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_size: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, float]:
    """Pass over all images once and return `loss` and the task's further metrics.

    With an optimizer, train on the images in random order; the metrics are then averages over the
    batches, each before its step. Without an optimizer, evaluate.
    """
    training = optimizer is not None
    model.train(training)
    n_images = len(images)
    order = torch.randperm(n_images) if training else torch.arange(n_images)
    part_size = _PART_ON_CPU if images.device.type == "cpu" else batch_size
    total = 0.0
    collected = []
    with torch.set_grad_enabled(training):
        for batch in order.to(images.device).split(batch_size):
            if optimizer is not None:
                optimizer.zero_grad()
            for part in batch.split(part_size):
                outputs = model(images[part])
                loss = task.loss(outputs, images[part], labels[part])
                if training:
                    (loss * (len(part) / len(batch))).backward()
                total += loss.item() * len(part)
                if task.scores:
                    collected.append(outputs.detach())
            if optimizer is not None:
                optimizer.step()
    scores = task.scores(torch.cat(collected), labels[order]) if task.scores else {}
    return {"loss": total / n_images, **scores}


class TrainingSetEvaluation:
    """Metrics of all training images in evaluation mode.

    A callback, so that it can also be shown the networks of a finished training.
    """

    name = "training images in evaluation mode"

    def __init__(self, task: Task, batch_size: int, device: torch.device):
        self._task, self._batch_size, self._device = task, batch_size, device
        self.last_epoch = 0
        self.history: dict[str, list[float]] = {}

    def __call__(self, epoch: int, model: nn.Module, data: ImageData) -> None:
        """Evaluate the training images."""
        images, labels = data.train_images.to(self._device), data.train_labels.to(self._device)
        metrics = run_epoch(self._task, model, images, labels, self._batch_size)
        for name, value in metrics.items():
            self.history.setdefault(f"train_eval_{name}", []).append(value)
        self.last_epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, for a checkpoint."""
        return {"last_epoch": self.last_epoch, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the recording of `state_dict`."""
        self.last_epoch, self.history = state["last_epoch"], dict(state["history"])


def classification_scores(
    log_probabilities: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    """`accuracy`, and `roc_auc` averaged over pairs of classes; NaN if an output is not finite."""
    accuracy = (log_probabilities.argmax(dim=1) == labels).double().mean().item()
    if not torch.isfinite(log_probabilities).all():
        return {"accuracy": accuracy, "roc_auc": float("nan")}
    # Float32 rows add up to 1 only roughly.
    probabilities = log_probabilities.double().softmax(dim=1).cpu().numpy()
    return {"accuracy": accuracy, "roc_auc": _roc_auc(probabilities, labels.cpu().numpy())}


def _roc_auc(probabilities, labels):
    """Area under the ROC curve, averaged over ordered pairs of the classes present.

    For a pair: how often an image of the first class has the higher probability of that class,
    ties counted half (Hand and Till 2001, eq. 3 and 7). NaN for a single class.
    """
    areas = []
    sizes = np.bincount(labels)
    for first in np.flatnonzero(sizes):
        own = np.sort(probabilities[labels == first, first])
        ranks = np.searchsorted(own, probabilities[:, first], "left").astype(float)
        ranks += np.searchsorted(own, probabilities[:, first], "right")
        not_above = np.bincount(labels, ranks) / (2 * len(own))
        others = (sizes > 0) & (np.arange(len(sizes)) != first)
        areas += list(1 - not_above[others] / sizes[others])
    return float(np.mean(areas)) if areas else float("nan")


def record_metrics(
    history: dict[str, list[float]],
    metrics: dict[str, dict[str, float]],
    epoch: int,
    task: Task,
) -> None:
    """Append the metrics of one epoch to the history.

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the history is then as before.
    """
    for part, values in metrics.items():
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the {task.name}'s {part} loss is {values['loss']} in epoch {epoch}; try a lower "
                f"learning_rate, and look for values in the images that are not finite"
            )
    for part, values in metrics.items():
        for name, value in values.items():
            history.setdefault(f"{part}_{name}", []).append(value)


def seed_torch(device: torch.device, seed: int, purpose: int, number: int) -> None:
    """Seed PyTorch's generators on the CPU and on `device`, and on no other."""
    words = np.random.SeedSequence(seed, spawn_key=(purpose, number)).generate_state(1, np.uint64)
    torch.default_generator.manual_seed(int(words[0] >> 1))
    for cuda_device in cuda_devices(device):
        with torch.cuda.device(cuda_device):
            torch.cuda.manual_seed(int(words[0] >> 1))


def cuda_devices(device: torch.device) -> list[torch.device]:
    """The CUDA devices whose generators a run on `device` uses: itself or none."""
    return [device] if device.type == "cuda" else []
