"""A pass through a network: layers are projected as they should be, all else stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from watched import N_ROWS, ROWS, WIDTH, Gives, expected, seeded, two_blocks

from utils.directions import Directions
from utils.layers import LayerReader


@pytest.fixture
def blocks():
    return two_blocks()


# Projections


@pytest.mark.parametrize("width", [1, 7, 40, 41, 5000, 40_000])
def test_directions_are_unit_vectors_and_rows_are_projected_on_them(width):
    directions = Directions(width, 10, rng=0)
    assert directions.is_stored == (width <= 40)
    theta = directions.theta()
    assert theta.shape == (10, width)
    np.testing.assert_allclose(np.linalg.norm(theta, axis=1), 1.0, rtol=1e-6)
    rows = seeded(2, 30, width) + 100.0
    projected = directions.project(rows, rows[0]).numpy()
    exact = theta @ (rows - rows[0]).double().numpy().T
    # In float32, 6e-8 times the root of 40,000 products whose sum is of order 1, four times.
    np.testing.assert_allclose(projected, exact, atol=1e-12 if width < 2**15 else 5e-5)


def test_windows_of_a_sequence_are_uniform_directions_that_are_uncorrelated():
    # Of a uniform direction in d dimensions, E t_i^2 = 1 / d, E t_i^4 = 3 / (d (d + 2)); of two
    # independent ones, E <t, u>^2 = 1 / d. A vector that is smooth shows windows without signs.
    d, p, repeats = 45, 11, 4000
    smooth = np.ones(d) / np.sqrt(d)
    slices = np.array([Directions(d, p, rng=seed).theta() @ smooth for seed in range(repeats)])
    squares = slices**2
    n = slices.size
    for power, moment in ((squares, 1 / d), (squares**2, 3 / (d * (d + 2)))):
        # 4 standard errors, those of independent slices doubled, which is the most there can be.
        assert abs(power.mean() - moment) < 8 * power.std() / np.sqrt(n)
    correlations = np.corrcoef(slices.T)[np.triu_indices(p, 1)]
    # Each of 55 correlations has standard error 1 / sqrt(repeats).
    assert np.abs(correlations).max() < 4.5 / np.sqrt(repeats)
    # The mean of squares is as quiet as of independent slices, or has twice the variance at most.
    assert squares.mean(axis=1).var() < 2.2 * squares.var() / p


def test_what_is_kept_is_the_projection_of_the_outputs(blocks):
    reader = LayerReader(ROWS, layers=["blocks.1", "head"], n_projections=20, batch_size=17, seed=5)
    slices, outputs = reader(blocks), expected(blocks)
    for name in ("blocks.1", "head"):
        theta = reader.directions(name).theta()
        assert slices[name].shape == (N_ROWS, 20)
        np.testing.assert_allclose(
            slices[name], (outputs[name] - outputs[name][0]) @ theta.T, atol=1e-5
        )
    inputs = reader.directions("inputs").theta() @ (ROWS.double() - ROWS[0].double()).numpy().T
    np.testing.assert_allclose(reader.input_slices, inputs, atol=1e-12)
    once = reader.input_slices
    reader(blocks)
    assert reader.input_slices is once


def test_another_seed_is_other_directions_of_layers_and_inputs(blocks):
    reader = LayerReader(ROWS, layers=["head"], n_projections=6, noise=0.1, seed=1)
    reader(blocks)
    changed = reader(blocks, seed=2)
    fresh = LayerReader(ROWS, layers=["head"], n_projections=6, noise=0.1, seed=2)
    np.testing.assert_array_equal(changed["head"], fresh(blocks)["head"])
    np.testing.assert_array_equal(reader.input_slices, fresh.input_slices)


def test_directions_of_a_layer_depend_on_its_name_and_the_seed_alone(blocks):
    alone = LayerReader(ROWS, layers=["head"], n_projections=6, seed=1)(blocks)
    among = LayerReader(ROWS, n_projections=6, seed=1)(blocks)
    other = LayerReader(ROWS, layers=["head"], n_projections=6, seed=2)(blocks)
    np.testing.assert_array_equal(alone["head"], among["head"])
    assert not np.allclose(alone["head"], other["head"])
    # Two layers of one width are not projected alike, or they would seem to depend on each other.
    blocks.alias = blocks.head
    named = LayerReader(ROWS, layers=["head", "alias"], n_projections=6, seed=1)(blocks)
    assert not np.allclose(named["head"], named["alias"])


def test_a_constant_unit_gives_exactly_nothing():
    constant = ROWS.clone()
    constant[:] = 0.1
    read = LayerReader(constant, layers=["inner"], n_projections=5, batch_size=7)
    assert (read(Gives(lambda x: x))["inner"] == 0.0).all()


def test_noise_is_relative_to_each_number_and_the_same_in_every_pass():
    x = torch.tensor([0.0, 1e-3, 1.0, 1e3]).expand(5000, 4)
    model = Gives(lambda x: x)
    reader = LayerReader(x, layers=["inner"], noise=0.1, seed=3)
    read = reader(model)["inner"]
    deviations = (read - x.numpy()) / np.maximum(x.numpy(), 1e-30)
    assert (read[:, 0] == 0.0).all()
    for column in deviations.T[1:]:
        # 5000 normal numbers: the mean is known to 0.1 / 71, the deviation to 0.1 / 100.
        assert abs(column.mean()) < 4 * 0.1 / 71
        assert abs(column.std() - 0.1) < 4 * 0.1 / 100
    np.testing.assert_array_equal(read, reader(model)["inner"])
    other = LayerReader(x, layers=["inner"], noise=0.1, seed=4)(model)["inner"]
    assert not np.array_equal(read, other)


# What is left of a pass


def state_of(model):
    return [(module.training, len(module._forward_hooks)) for module in model.modules()]


class Fails(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.sound = nn.Linear(WIDTH, WIDTH)
        self.normal = nn.BatchNorm1d(WIDTH)
        self.error = error

    def forward(self, x):
        x = self.normal(self.sound(x))
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("training_mode", [False, True])
@pytest.mark.parametrize("error", [None, RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_pass_leaves_no_trace_whatever_happens(error, training_mode):
    model = Fails(error)
    model.train()
    model.normal.eval()  # as one freezes it
    before = state_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    torch_state, grad = torch.get_rng_state(), torch.is_grad_enabled()
    reader = LayerReader(ROWS, n_projections=4, training_mode=training_mode)
    if error is None:
        reader(model)
    else:
        with pytest.raises(type(error)):
            reader(model)
    assert state_of(model) == before[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[1][name]), name
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.is_grad_enabled() == grad


def test_a_failed_pass_can_be_repeated():
    model = Fails(RuntimeError("out of memory"))
    reader = LayerReader(ROWS, n_projections=4)
    with pytest.raises(RuntimeError):
        reader(model)
    model.error = None
    undisturbed = LayerReader(ROWS, n_projections=4)(model)
    for name, layer in reader(model).items():
        np.testing.assert_array_equal(layer, undisturbed[name])


def test_a_network_in_training_is_evaluated_or_not_as_asked():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(WIDTH, WIDTH))
    layers = {"dropped": "0"}
    model.train()
    quiet = LayerReader(ROWS, layers=layers)(model)["dropped"]
    np.testing.assert_array_equal(quiet, ROWS.numpy())
    noisy = LayerReader(ROWS, layers=layers, training_mode=True)(model)["dropped"]
    # 720 numbers, each dropped with probability 1/2: 4 standard deviations are 0.075.
    assert abs((noisy == 0.0).mean() - 0.5) < 0.075


def test_measuring_does_not_change_a_training():
    def train(reads):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        reader = LayerReader(ROWS, n_projections=4, training_mode=True)
        for _ in range(3):
            optimizer.zero_grad()
            model(ROWS).square().mean().backward()
            optimizer.step()
            if reads:
                reader(model)
        return model[0].weight.detach()

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(train(True), train(False))
