"""Reading layers: the right tensors, projected as they should be, and a network left as it was."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from utils.directions import Directions
from utils.layers import LayerReader, find_layers

N, WIDTH = 60, 12


def seeded(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = seeded(0, N, WIDTH)


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


@pytest.fixture
def blocks():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blocks()


def expected(model, x=X):
    """What the layers of `Blocks` give, by the formulas."""
    results = {}
    with torch.no_grad():
        for i, block in enumerate(model.blocks):
            results[f"blocks.{i}.linear"] = x @ block.linear.weight.T + block.linear.bias
            results[f"blocks.{i}.relu"] = x = results[f"blocks.{i}.linear"].clamp(min=0)
            results[f"blocks.{i}"] = x
        results["head"] = x @ model.head.weight.T + model.head.bias
    return {name: layer.numpy() for name, layer in results.items()}


def names(model, layers):
    return [layer.name for layer in find_layers(model, layers)]


# Which layers


def test_layers_are_found_by_names_and_wildcards(blocks):
    leaves = ["blocks.0.linear", "blocks.0.relu", "blocks.1.linear", "blocks.1.relu", "head"]
    assert names(blocks, None) == [*leaves, "unused"]
    assert names(blocks, ["head", "blocks.1"]) == ["head", "blocks.1"]
    # One part of a name, not what is inside.
    assert names(blocks, ["blocks.*"]) == ["blocks.0", "blocks.1"]
    assert names(blocks, ["blocks.*.rel?"]) == ["blocks.0.relu", "blocks.1.relu"]
    assert names(blocks, ["blocks.0", "blocks.*"]) == ["blocks.0", "blocks.1"]


def test_layers_get_names_of_ones_own(blocks):
    found = find_layers(
        blocks, {"first": "blocks.0", "last": blocks.head, "p": ("head", torch.exp)}
    )
    assert [layer.name for layer in found] == ["first", "last", "p"]
    assert [layer.module for layer in found] == [blocks.blocks[0], blocks.head, blocks.head]


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (["blocks.0.linaer"], ValueError, "no module 'blocks.0.linaer'; near ones are blocks.0.l"),
        (["encoder.*"], ValueError, r"no module 'encoder\.\*'; near ones are"),
        ("head", TypeError, r"layers='head' is one name; give a list, as \['head'\]"),
        ([3], TypeError, "layers holds 3; give names"),
        ({"a": 3}, TypeError, r"layers\['a'\]=3 is a int; give the name"),
        ({"a": ("head", 3)}, TypeError, "has 3 in second place; give a function"),
        ({"a": nn.Linear(2, 2)}, ValueError, r"layers\['a'\] is not part of the model"),
        ([], ValueError, r"layers=\[\] leaves no layer"),
    ],
)
def test_layers_that_are_not_there_are_refused(blocks, layers, error, message):
    with pytest.raises(error, match=message):
        find_layers(blocks, layers)


# What is read


def test_outputs_are_those_of_the_formulas_although_activations_work_in_place(blocks):
    read = LayerReader(X, layers=["blocks.*", "blocks.*.*", "head"], batch_size=25)(blocks)
    by_formula = expected(blocks)
    assert list(read) == list(by_formula)  # in the order of the pass
    for name, layer in by_formula.items():
        # 1e-6: float32 sums of 12 numbers of order 1, in another order.
        np.testing.assert_allclose(read[name], layer, atol=1e-6)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_a_wrapped_network_goes_by_its_own_names(blocks, wrap):
    read = LayerReader(X, layers=["blocks.*", "head"])(wrap(blocks))
    np.testing.assert_allclose(read["head"], expected(blocks)["head"], atol=1e-6)


def test_what_is_compiled_inside_is_read(blocks):
    blocks.blocks[1] = torch.compile(blocks.blocks[1])
    blocks.head.compile()
    assert "blocks.1.relu" in names(blocks, None)
    read = LayerReader(X, layers=["blocks.1.relu", "head"])(blocks)
    plain = blocks.blocks[1]._orig_mod
    blocks.blocks[1] = plain
    np.testing.assert_allclose(read["blocks.1.relu"], expected(blocks)["blocks.1.relu"], atol=1e-6)
    np.testing.assert_allclose(read["head"], expected(blocks)["head"], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_float_are_given_their_own_and_read_in_float32_or_better(blocks, dtype):
    exact = expected(blocks)["blocks.1"]
    read = LayerReader(X, layers=["blocks.1"])(blocks.to(dtype))["blocks.1"]
    # Two layers of 12 products, each rounded to the type's precision at numbers up to some 3.
    np.testing.assert_allclose(read, exact, atol=max(20 * torch.finfo(dtype).eps, 1e-6))
    sliced = LayerReader(X, layers=["blocks.1"], n_projections=5)(blocks)["blocks.1"]
    assert sliced.dtype == np.float64


@dataclass
class Output:
    text: str
    ids: torch.Tensor
    hidden: torch.Tensor


OUTPUTS = {
    "tuple": lambda x: (None, x, -x),
    "dict": lambda x: {"ids": x.long(), "hidden": x, "other": -x},
    "ordered": lambda x: OrderedDict(hidden=x),
    "dataclass": lambda x: Output("a", x.long(), x),
    "nested": lambda x: ([x.long(), {"a": (x, -x)}],),
}


class Gives(nn.Module):
    """Gives what a function makes of the input."""

    def __init__(self, function):
        super().__init__()
        self.inner = nn.Identity()
        self.inner.forward = function

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_first_tensor_of_floats_is_read(kind):
    read = LayerReader(X, layers=["inner"], batch_size=7)(Gives(OUTPUTS[kind]))
    np.testing.assert_array_equal(read["inner"], X.numpy())


def test_another_tensor_can_be_selected_and_a_function_of_it_measured():
    model = Gives(OUTPUTS["tuple"])
    read = LayerReader(X, layers=["inner"], select=lambda output: output[2])(model)
    np.testing.assert_array_equal(read["inner"], -X.numpy())
    layers = {"exp": ("inner", lambda output: output[1].exp()), "plain": "inner"}
    read = LayerReader(X, layers=layers)(model)
    np.testing.assert_array_equal(read["exp"], X.exp().numpy())
    np.testing.assert_array_equal(read["plain"], X.numpy())


TOKENS = seeded(1, N, 5, 4)
POOLED = {
    "mean": TOKENS.mean(1),
    "first": TOKENS[:, 0],
    "last": TOKENS[:, -1],
    None: TOKENS.flatten(1),
}


@pytest.mark.parametrize("pool", POOLED)
def test_tokens_are_pooled_or_flattened(pool):
    read = LayerReader(TOKENS, layers=["inner"], pool=pool, batch_size=9)(Gives(lambda x: x))
    np.testing.assert_allclose(read["inner"], POOLED[pool].numpy(), atol=1e-6)


def test_a_function_pools_images():
    images = seeded(1, N, 3, 4, 4)
    pool = lambda output: output.amax((2, 3))  # noqa: E731
    read = LayerReader(images, layers=["inner"], pool=pool)(Gives(lambda x: x))
    np.testing.assert_array_equal(read["inner"], images.amax((2, 3)).numpy())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_outputs_have_a_row_per_sample(kind, batch_first):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rnn = kind(4, 3, batch_first=batch_first)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = rnn

        def forward(self, x):
            return self.rnn(x if batch_first else x.transpose(0, 1))

    read = LayerReader(TOKENS, batch_size=13)(Network())["rnn"]
    with torch.no_grad():
        output, _ = rnn(TOKENS if batch_first else TOKENS.transpose(0, 1))
    output = output if batch_first else output.transpose(0, 1)
    np.testing.assert_allclose(read, output.flatten(1).numpy(), atol=1e-6)


def test_a_module_called_twice_is_two_layers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(-self.relu(x.clone()) + 0.5)

    read = LayerReader(X, batch_size=25)(Twice())
    assert list(read) == ["relu", "relu (2)"]
    np.testing.assert_array_equal(read["relu"], X.clamp(min=0).numpy())
    np.testing.assert_array_equal(read["relu (2)"], (0.5 - X.clamp(min=0)).clamp(min=0).numpy())


def test_modules_that_share_weights_or_have_two_names_are_read(blocks):
    blocks.blocks[1].linear.weight = blocks.blocks[0].linear.weight
    blocks.alias = blocks.head
    read = LayerReader(X, layers=["blocks.1.linear", "alias"])(blocks)
    for name, same in (("blocks.1.linear", "blocks.1.linear"), ("alias", "head")):
        np.testing.assert_allclose(read[name], expected(blocks)[same], atol=1e-6)


def test_the_inner_layers_of_pytorchs_fused_transformer_are_read():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    read = LayerReader(TOKENS, layers=["linear1", "norm2"])(layer)
    assert read["linear1"].shape == (N, 5 * 8)
    with torch.no_grad():
        output = layer.eval()(TOKENS)
    # 1e-5: the fused form, without hooks, adds up in another order.
    np.testing.assert_allclose(read["norm2"], output.flatten(1).numpy(), atol=1e-5)


# Inputs


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, 2)

    def forward(self, x, other, scale=1):
        return self.linear(x + other) * scale


def test_inputs_come_in_many_forms(blocks):
    whole = LayerReader(X, layers=["head"])(blocks)["head"]
    loader = DataLoader(TensorDataset(X, torch.arange(N) % 3), batch_size=11)
    forms = {
        "array": X.numpy(),
        "float64 array": X.double().numpy(),
        "nested list": X.tolist(),
        "list of one": [X],
        "dict": {"x": X},
        "loader with labels": loader,
        "loader without": DataLoader(TensorDataset(X), batch_size=11),
        "list of batches": [(X[:20], torch.zeros(20)), (X[20:], torch.zeros(N - 20))],
        "list of dicts": [{"x": X[:20]}, {"x": X[20:], "labels": torch.zeros(N - 20)}],
    }
    for name, inputs in forms.items():
        read = LayerReader(inputs, layers=["head"])(blocks)["head"]
        np.testing.assert_allclose(read, whole, atol=1e-6, err_msg=name)
    reader = LayerReader(loader, layers=["head"], n_projections=3)
    reader(blocks)
    np.testing.assert_array_equal(reader.labels, np.arange(N) % 3)


def test_several_inputs_are_arguments():
    model, other = Two(), seeded(3, N, WIDTH)
    whole = model.linear(X + other).detach().numpy()
    loader = DataLoader(TensorDataset(X, other, torch.arange(N)), batch_size=20)
    for inputs in ([X, other], {"other": other, "x": X}, loader):
        read = LayerReader(inputs, layers=["linear"], n_projections=4)
        read(model)
        assert read.widths == {"inputs": 2 * WIDTH, "linear": 2}
        np.testing.assert_allclose(
            LayerReader(inputs, layers=["linear"])(model)["linear"], whole, atol=1e-6
        )


def test_token_ids_are_no_numbers_and_the_bytes_of_images_are():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(256, 4)

        def forward(self, input_ids):
            return self.embedding(input_ids.long())

    ids = torch.arange(N * 3).reshape(N, 3)
    for inputs, has_slices in ((ids, False), (ids.to(torch.uint8), True)):
        reader = LayerReader({"input_ids": inputs}, n_projections=4)
        assert reader(Bag())["embedding"].shape == (N, 4)
        assert (reader.input_slices is not None) == has_slices


def test_inputs_that_change_are_refused(blocks):
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="a DataLoader that shuffles.*shuffle=False"):
        LayerReader(DataLoader(TensorDataset(X), shuffle=True, generator=generator))
    with pytest.raises(TypeError, match="generator, which can be read only once"):
        LayerReader(batch for batch in [X])

    class Reordered:
        def __iter__(self):
            return iter([X[torch.randperm(N, generator=generator)]])

    reader = LayerReader(Reordered(), layers=["head"], n_projections=3)
    reader(blocks)
    with pytest.raises(ValueError, match="not those of the first pass.*shuffle=False"):
        reader(blocks)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([X, X[1:]], {}, ValueError, r"inputs have \[59, 60\] samples"),
        (3, {}, TypeError, "inputs=3 is a int; give a tensor"),
        (X, {"pool": "sum"}, ValueError, "pool='sum'; choose 'mean', 'first', 'last'"),
        (X, {"noise": -1.0}, ValueError, r"noise=-1\.0; a standard deviation"),
        (X, {"n_projections": 0}, ValueError, "n_projections=0 is too small"),
        (X, {"batch_size": 1.5}, TypeError, r"batch_size=1\.5 is a float"),
    ],
)
def test_bad_options_are_named(inputs, options, error, message):
    with pytest.raises(error, match=message):
        LayerReader(inputs, **options)


def test_outputs_that_cannot_be_read_are_named(blocks):
    with pytest.raises(ValueError, match=r"'inner' gives shape \(12, 60\) for 60 samples"):
        LayerReader(X, layers=["inner"])(Gives(lambda x: x.T))
    with pytest.raises(TypeError, match="holds no tensor of floats; let select") as failure:
        LayerReader(X, layers=["inner"])(Gives(lambda x: x.long()))
    assert failure.value.__notes__ == ["while reading layer 'inner'"]
    with pytest.raises(ValueError, match="layers: unused not called in a pass"):
        LayerReader(X, layers=["head", "unused"])(blocks)
    ragged = [(TOKENS[:20],), (TOKENS[20:, :3],)]
    with pytest.raises(ValueError, match="is 12 wide, and was 20 wide before; pad all"):
        LayerReader(ragged, layers=["inner"])(Gives(lambda x: x))


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
    reader = LayerReader(X, layers=["blocks.1", "head"], n_projections=20, batch_size=17, seed=5)
    slices, outputs = reader(blocks), expected(blocks)
    for name in ("blocks.1", "head"):
        theta = reader.directions(name).theta()
        assert slices[name].shape == (N, 20)
        np.testing.assert_allclose(
            slices[name], (outputs[name] - outputs[name][0]) @ theta.T, atol=1e-5
        )
    inputs = reader.directions("inputs").theta() @ (X.double() - X[0].double()).numpy().T
    np.testing.assert_allclose(reader.input_slices, inputs, atol=1e-12)


def test_directions_of_a_layer_depend_on_its_name_and_the_seed_alone(blocks):
    alone = LayerReader(X, layers=["head"], n_projections=6, seed=1)(blocks)
    among = LayerReader(X, n_projections=6, seed=1)(blocks)
    other = LayerReader(X, layers=["head"], n_projections=6, seed=2)(blocks)
    np.testing.assert_array_equal(alone["head"], among["head"])
    assert not np.allclose(alone["head"], other["head"])
    # Two layers of one width are not projected alike, or they would seem to depend on each other.
    blocks.alias = blocks.head
    named = LayerReader(X, layers=["head", "alias"], n_projections=6, seed=1)(blocks)
    assert not np.allclose(named["head"], named["alias"])


def test_a_constant_unit_gives_exactly_nothing():
    constant = X.clone()
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
    reader = LayerReader(X, n_projections=4, training_mode=training_mode)
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
    reader = LayerReader(X, n_projections=4)
    with pytest.raises(RuntimeError):
        reader(model)
    model.error = None
    undisturbed = LayerReader(X, n_projections=4)(model)
    for name, layer in reader(model).items():
        np.testing.assert_array_equal(layer, undisturbed[name])


def test_a_network_in_training_is_evaluated_or_not_as_asked():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(WIDTH, WIDTH))
    layers = {"dropped": "0"}
    model.train()
    quiet = LayerReader(X, layers=layers)(model)["dropped"]
    np.testing.assert_array_equal(quiet, X.numpy())
    noisy = LayerReader(X, layers=layers, training_mode=True)(model)["dropped"]
    # 720 numbers, each dropped with probability 1/2: 4 standard deviations are 0.075.
    assert abs((noisy == 0.0).mean() - 0.5) < 0.075


def test_measuring_does_not_change_a_training():
    def train(reads):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        reader = LayerReader(X, n_projections=4, training_mode=True)
        for _ in range(3):
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
            if reads:
                reader(model)
        return model[0].weight.detach()

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(train(True), train(False))
