"""Networks that are watched in the tests, and what they are given."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import nn

from utils.mnist import load_images
from utils.networks import Classifier


def seeded(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


# For `watch`

N = 150
X, IMAGES, Y = seeded(0, N, 6), seeded(1, N, 1, 28, 28), torch.arange(N) % 3


def small_mlp():
    return made(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


@cache
def digits():
    """The small set of images, which takes seconds to read."""
    return load_images("mnist-5k")


@cache
def tenth_of_digits():
    return thinned(digits(), 10)


def thinned(data, step):
    return replace(
        data,
        train_images=data.train_images[::step],
        train_labels=data.train_labels[::step],
        test_images=data.test_images[::step],
        test_labels=data.test_labels[::step],
    )


def untrained_classifier():
    return made(Classifier)


# For the layers of a network

N_ROWS, WIDTH = 60, 12
ROWS = seeded(0, N_ROWS, WIDTH)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.linear(x))


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def two_blocks():
    return made(Blocks)


def expected(model, x=ROWS):
    """What the layers of `Blocks` give, by the formulas."""
    results = {}
    with torch.no_grad():
        for i, block in enumerate(model.blocks):
            results[f"blocks.{i}.linear"] = x @ block.linear.weight.T + block.linear.bias
            results[f"blocks.{i}.relu"] = x = results[f"blocks.{i}.linear"].clamp(min=0)
            results[f"blocks.{i}"] = x
        results["head"] = x @ model.head.weight.T + model.head.bias
    return {name: layer.numpy() for name, layer in results.items()}


class Gives(nn.Module):
    """Gives what a function makes of the input."""

    def __init__(self, function):
        super().__init__()
        self.inner = nn.Identity()
        self.inner.forward = function

    def forward(self, x):
        return self.inner(x)
