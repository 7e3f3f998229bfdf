"""Reading layers: which are found, and the right tensors of all kinds of networks and inputs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import data
from torch.utils.data import DataLoader, TensorDataset
from watched import N_ROWS, ROWS, WIDTH, Gives, expected, seeded, two_blocks

from utils.layers import LayerReader, find_layers


@pytest.fixture
def blocks():
    return two_blocks()


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
        ({"a": 3}, TypeError, r"layers\['a'\]=3 has type int; give the name"),
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
    read = LayerReader(ROWS, layers=["blocks.*", "blocks.*.*", "head"], batch_size=25)(blocks)
    by_formula = expected(blocks)
    assert list(read) == list(by_formula)  # in the order of the pass
    for name, layer in by_formula.items():
        # 1e-6: float32 sums of 12 numbers of order 1, in another order.
        np.testing.assert_allclose(read[name], layer, atol=1e-6)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_a_wrapped_network_goes_by_its_own_names(blocks, wrap):
    read = LayerReader(ROWS, layers=["blocks.*", "head"])(wrap(blocks))
    np.testing.assert_allclose(read["head"], expected(blocks)["head"], atol=1e-6)


def test_what_is_compiled_inside_is_read(blocks):
    blocks.blocks[1] = torch.compile(blocks.blocks[1])
    blocks.head.compile()
    assert "blocks.1.relu" in names(blocks, None)
    read = LayerReader(ROWS, layers=["blocks.1.relu", "head"])(blocks)
    plain = blocks.blocks[1]._orig_mod
    blocks.blocks[1] = plain
    np.testing.assert_allclose(read["blocks.1.relu"], expected(blocks)["blocks.1.relu"], atol=1e-6)
    np.testing.assert_allclose(read["head"], expected(blocks)["head"], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_float_are_given_their_own_and_read_in_float32_or_better(blocks, dtype):
    exact = expected(blocks)["blocks.1"]
    read = LayerReader(ROWS, layers=["blocks.1"])(blocks.to(dtype))["blocks.1"]
    # Two layers of 12 products, each rounded to the type's precision at numbers up to some 3.
    np.testing.assert_allclose(read, exact, atol=max(20 * torch.finfo(dtype).eps, 1e-6))
    sliced = LayerReader(ROWS, layers=["blocks.1"], n_projections=5)(blocks)["blocks.1"]
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


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_first_tensor_of_floats_is_read(kind):
    read = LayerReader(ROWS, layers=["inner"], batch_size=7)(Gives(OUTPUTS[kind]))
    np.testing.assert_array_equal(read["inner"], ROWS.numpy())


def test_another_tensor_can_be_selected_and_a_function_of_it_measured():
    model = Gives(OUTPUTS["tuple"])
    read = LayerReader(ROWS, layers=["inner"], select=lambda output: output[2])(model)
    np.testing.assert_array_equal(read["inner"], -ROWS.numpy())
    layers = {"exp": ("inner", lambda output: output[1].exp()), "plain": "inner"}
    read = LayerReader(ROWS, layers=layers)(model)
    np.testing.assert_array_equal(read["exp"], ROWS.exp().numpy())
    np.testing.assert_array_equal(read["plain"], ROWS.numpy())


TOKENS = seeded(1, N_ROWS, 5, 4)
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
    images = seeded(1, N_ROWS, 3, 4, 4)
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

    read = LayerReader(ROWS, batch_size=25)(Twice())
    assert list(read) == ["relu", "relu (2)"]
    np.testing.assert_array_equal(read["relu"], ROWS.clamp(min=0).numpy())
    np.testing.assert_array_equal(read["relu (2)"], (0.5 - ROWS.clamp(min=0)).clamp(min=0).numpy())


def test_modules_that_share_weights_or_have_two_names_are_read(blocks):
    blocks.blocks[1].linear.weight = blocks.blocks[0].linear.weight
    blocks.alias = blocks.head
    read = LayerReader(ROWS, layers=["blocks.1.linear", "alias"])(blocks)
    for name, same in (("blocks.1.linear", "blocks.1.linear"), ("alias", "head")):
        np.testing.assert_allclose(read[name], expected(blocks)[same], atol=1e-6)


def test_the_inner_layers_of_pytorchs_fused_transformer_are_read():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    read = LayerReader(TOKENS, layers=["linear1", "norm2"])(layer)
    assert read["linear1"].shape == (N_ROWS, 5 * 8)
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
    whole = LayerReader(ROWS, layers=["head"])(blocks)["head"]
    loader = DataLoader(TensorDataset(ROWS, torch.arange(N_ROWS) % 3), batch_size=11)
    forms = {
        "array": ROWS.numpy(),
        "float64 array": ROWS.double().numpy(),
        "nested list": ROWS.tolist(),
        "list of one": [ROWS],
        "dict": {"x": ROWS},
        "loader with labels": loader,
        "loader without": DataLoader(TensorDataset(ROWS), batch_size=11),
        "list of batches": [(ROWS[:20], torch.zeros(20)), (ROWS[20:], torch.zeros(N_ROWS - 20))],
        "list of dicts": [
            {"x": ROWS[:20]},
            {"x": ROWS[20:], "labels": torch.zeros(N_ROWS - 20)},
        ],
    }
    for name, inputs in forms.items():
        read = LayerReader(inputs, layers=["head"])(blocks)["head"]
        np.testing.assert_allclose(read, whole, atol=1e-6, err_msg=name)
    reader = LayerReader(loader, layers=["head"], n_projections=3)
    reader(blocks)
    np.testing.assert_array_equal(reader.labels, np.arange(N_ROWS) % 3)


def test_several_inputs_are_arguments():
    model, other = Two(), seeded(3, N_ROWS, WIDTH)
    whole = model.linear(ROWS + other).detach().numpy()
    loader = DataLoader(TensorDataset(ROWS, other, torch.arange(N_ROWS)), batch_size=20)
    for inputs in ([ROWS, other], {"other": other, "x": ROWS}, loader):
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

    ids = torch.arange(N_ROWS * 3).reshape(N_ROWS, 3)
    for inputs, has_slices in ((ids, False), (ids.to(torch.uint8), True)):
        reader = LayerReader({"input_ids": inputs}, n_projections=4)
        assert reader(Bag())["embedding"].shape == (N_ROWS, 4)
        assert (reader.input_slices is not None) == has_slices


@pytest.mark.parametrize("kind", ["shuffle", "subset", "weighted", "batches", "distributed"])
def test_loaders_that_shuffle_are_refused(kind):
    dataset = TensorDataset(ROWS)
    options = {
        "shuffle": {"shuffle": True},
        "subset": {"sampler": data.SubsetRandomSampler(range(9))},
        "weighted": {"sampler": data.WeightedRandomSampler(torch.ones(N_ROWS), 9)},
        "batches": {"batch_sampler": data.BatchSampler(data.RandomSampler(dataset), 9, False)},
        "distributed": {"sampler": data.DistributedSampler(dataset, 2, 0)},
    }
    with pytest.raises(ValueError, match="a DataLoader that shuffles.*shuffle=False"):
        LayerReader(DataLoader(dataset, **options[kind]))
    in_order = data.DistributedSampler(dataset, 2, 0, shuffle=False)
    LayerReader(DataLoader(dataset, sampler=in_order))


@pytest.mark.parametrize("rows", [ROWS, torch.eye(WIDTH).repeat(5, 1)], ids=["numbers", "one-hot"])
def test_inputs_in_another_order_are_refused(blocks, rows):
    class Reordered:
        def __init__(self, *orders):
            self.orders = iter(orders)

        def __iter__(self):
            return iter([rows[next(self.orders)]])

    order = torch.arange(N_ROWS)
    reader = LayerReader(Reordered(order, order, order.flip(0)), layers=["head"], n_projections=3)
    reader(blocks)
    reader(blocks)
    with pytest.raises(ValueError, match="not those of the first pass.*shuffle=False"):
        reader(blocks)


def test_inputs_that_can_be_read_only_once_are_refused():
    with pytest.raises(TypeError, match="generator, which can be read only once"):
        LayerReader(batch for batch in [ROWS])


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([ROWS, ROWS[1:]], {}, ValueError, r"inputs have \[59, 60\] samples"),
        (3, {}, TypeError, "inputs=3 has type int; give a tensor"),
        (ROWS, {"pool": "sum"}, ValueError, "pool='sum'; choose 'mean', 'first', 'last'"),
        (ROWS, {"noise": -1.0}, ValueError, r"noise=-1\.0; a standard deviation"),
        (ROWS, {"n_projections": 0}, ValueError, "n_projections=0 is too small"),
        (ROWS, {"batch_size": 1.5}, TypeError, r"batch_size=1\.5 has type float"),
    ],
)
def test_bad_options_are_named(inputs, options, error, message):
    with pytest.raises(error, match=message):
        LayerReader(inputs, **options)


def test_outputs_that_cannot_be_read_are_named(blocks):
    with pytest.raises(ValueError, match=r"'inner' gives shape \(12, 60\) for 60 samples"):
        LayerReader(ROWS, layers=["inner"])(Gives(lambda x: x.T))
    with pytest.raises(TypeError, match="holds no tensor of floats; let select") as failure:
        LayerReader(ROWS, layers=["inner"])(Gives(lambda x: x.long()))
    assert failure.value.__notes__ == ["while reading layer 'inner'"]
    with pytest.raises(TypeError, match=r"select gave torch.int64; let it return a tensor of fl"):
        LayerReader(ROWS, layers=["inner"], select=torch.Tensor.long)(Gives(lambda x: x))
    with pytest.raises(ValueError, match="layers: unused were not called in the forward pass"):
        LayerReader(ROWS, layers=["head", "unused"])(blocks)
    ragged = [(TOKENS[:20],), (TOKENS[20:, :3],)]
    with pytest.raises(ValueError, match="is 12 wide, and was 20 wide before; pad all"):
        LayerReader(ragged, layers=["inner"])(Gives(lambda x: x))
