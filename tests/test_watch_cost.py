"""What watching costs beside the network's own pass: memory and time."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from watched import made, seeded

from utils import watch

pytestmark = pytest.mark.long

N, N_PROJECTIONS = 1000, 200

MEMORY = """
import resource
import sys

import torch
from torch import nn

from utils import watch

N, N_PROJECTIONS = map(int, sys.argv[1:])


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


torch.manual_seed(0)
labels = torch.arange(N) % 10
# What the code itself takes, once for all: compiled functions, libraries.
small = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
watch(small, torch.randn(100, 4), labels[:100], n_projections=10, rng=0).measure(1)
model = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.AdaptiveAvgPool2d(1)).eval()
images = torch.randn(N, 3, 56, 56)
with torch.no_grad():
    for batch in images.split(256):
        model(batch)
before = peak()
plane = watch(model, images, labels, layers=["0"], n_projections=N_PROJECTIONS, rng=0)
plane.measure(1)
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_width_of_a_layer():
    command = [sys.executable, "-c", MEMORY, str(N), str(N_PROJECTIONS)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    # Slices of the inputs and of one layer of 802,816 units, and what blocks of a pass need. The
    # layer itself is 3.2 GB for all images.
    assert int(done.stdout) < 2 * N * N_PROJECTIONS * 8 + 300e6


@pytest.fixture
def one_thread():
    # Threads that wait for each other use processor time, too.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def processor_time(model, images, plane):
    """Seconds of a measurement beside those of the network's own pass, by all threads."""

    def measure(epoch):
        start = time.process_time()
        plane.measure(epoch)
        return time.process_time() - start

    def forward():
        start = time.process_time()
        with torch.no_grad():
            for batch in images.split(256):
                model(batch)
        return time.process_time() - start

    measure(1)  # what is done but once: compiled functions, directions, slices of the inputs
    return min(measure(epoch) for epoch in (2, 3)) - min(forward(), forward())


def test_ten_layers_take_seconds(one_thread):
    widths = [784, 4096, 2048, 1024, 1024, 512, 512, 256, 128, 64, 64]
    linear = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = made(lambda: nn.Sequential(*[part for one in linear for part in (one, nn.ReLU())]))
    layers = [f"{2 * i + 1}" for i in range(10)]
    images, labels = seeded(0, N, 784), torch.arange(N) % 10
    plane = watch(model, images, labels, layers=layers, n_projections=N_PROJECTIONS, rng=0)
    # At most 5 seconds on an idle machine, even if nothing gained from a second core; seen: 1.7.
    assert processor_time(model, images, plane) < 5.0


def test_a_wide_convolutional_layer_takes_seconds(one_thread):
    model = made(lambda: nn.Sequential(nn.Conv2d(3, 256, 3, stride=2, padding=1)))
    images, labels = seeded(0, N, 3, 8, 8), torch.arange(N) % 10
    plane = watch(model, images, labels, layers={"(256, 4, 4)": "0"}, rng=0)
    # With as many slices as by default; seen: 0.8.
    assert processor_time(model, images, plane) < 2.0
