"""Trainings that are stopped, for `interrupted.py`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from utils.information_plane import InformationPlane
from utils.mnist import ImageData
from utils.networks import CLASSIFIER_LAYERS
from utils.training import train_autoencoder, train_classifier

N_EPOCHS = 8


def training(folder, train, **settings):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((150, 1, 28, 28)).astype(np.float32))
    labels = torch.arange(150) % 10
    data = ImageData("noise", images[:100], labels[:100], images[100:], labels[100:])
    settings |= {"batch_size": 50, "rng": 7, "checkpoint": folder / "run.pt"}
    run = train(data, epochs=N_EPOCHS, learning_rate=1e-3, **settings)
    return run.history


def classifier(folder):
    def spread(layer):
        estimate = SimpleNamespace(value=layer.std(), std_error=0.1)
        return {"spread": estimate, "spread again": estimate}

    plane = InformationPlane(
        spread, spread, layers=CLASSIFIER_LAYERS, epochs=range(1, N_EPOCHS + 1, 2)
    )
    history = training(folder, train_classifier, on_epoch_end=plane)
    return {**history, **plane.results()}


def autoencoder(folder):
    return training(folder, train_autoencoder)


RUNS = {run.__name__: run for run in (classifier, autoencoder)}


def progress(name, folder):
    """How many epochs the checkpoint holds; raises if it is not whole."""
    content = torch.load(folder / "run.pt", weights_only=True)
    lengths = {len(values) for values in content["history"].values()}
    if name == "classifier":
        lengths.add(content["callbacks"]["information plane"]["last_epoch"])
    assert len(lengths) == 1
    return lengths.pop()


# What is imported late, by the first of them.
torch.optim.Adam([torch.zeros(1)])
