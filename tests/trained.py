"""Trainings that the tests compare with, and a callback that watches them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from watched import tenth_of_digits

from utils.information_plane import InformationPlane
from utils.layers import LayerReader
from utils.networks import CLASSIFIER_LAYERS
from utils.training import train_autoencoder, train_classifier

# A training small enough to be done many times; several parts per batch, and a last short batch.
SMALL = {"epochs": 4, "learning_rate": 1e-3, "batch_size": 300, "rng": 3}
TRAIN = {"classifier": train_classifier, "autoencoder": train_autoencoder}
both_networks = pytest.mark.parametrize("train", TRAIN.values(), ids=TRAIN)


def layer_outputs(model, images, *, batch_size=1000):
    """The whole outputs of a classifier's layers, in evaluation mode; its noise is PyTorch's."""
    return LayerReader(images, layers=CLASSIFIER_LAYERS, batch_size=batch_size)(model)


def plane_of(estimate_x, estimate_y, **settings):
    """An information plane of the classifier's layers."""
    return InformationPlane(estimate_x, estimate_y, layers=CLASSIFIER_LAYERS, **settings)


def undisturbed_runs():
    return {train: train(tenth_of_digits(), **SMALL) for train in TRAIN.values()}


def assert_same_run(run, other):
    assert run.history.keys() == other.history.keys()
    for name in run.history:
        np.testing.assert_array_equal(run.history[name], other.history[name], err_msg=name)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


class Recorder:
    """A callback with a state, which draws random numbers and runs the network."""

    def __init__(self, name="recorder"):
        self.name = name
        self.last_epoch = 0
        self.seen = []
        self.called = []

    def __call__(self, epoch, model, data):
        assert not model.training
        assert not torch.is_grad_enabled()
        layers = layer_outputs(model, data.test_images[:50])
        self.seen.append([epoch, float(torch.rand(())), float(layers["layer 4"].sum())])
        self.last_epoch = epoch
        self.called.append(epoch)

    def state_dict(self):
        return {"seen": list(self.seen), "last_epoch": self.last_epoch}

    def load_state_dict(self, state):
        self.seen = list(state["seen"])
        self.last_epoch = state["last_epoch"]
