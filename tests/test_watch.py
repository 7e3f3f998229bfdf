"""Watching any network: the five lines on networks of all kinds, and the numbers that they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from trained import layer_outputs
from watched import IMAGES, N, X, Y, digits, made, seeded, small_mlp

from utils import (
    WKL,
    CorrelatedNormal,
    SMICompressor,
    mutual_information_of_slices,
    sliced_mutual_information,
    watch,
)
from utils.dependence_scale import full_dependence
from utils.networks import CLASSIFIER_LAYERS, Classifier


@pytest.fixture
def mlp():
    return small_mlp()


@pytest.fixture(scope="module")
def images():
    data = digits()
    return data.test_images[::2], data.test_labels[::2]


# The five lines, on networks of all kinds


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(28, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        return self.head(self.lstm(images[:, 0])[1][0][-1])


class Shared(nn.Module):
    """An in-place activation that is used twice, and a tuple for output."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(784, 9), nn.Linear(9, 9)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images):
        hidden = self.relu(self.first(images.flatten(1)))
        return hidden, self.relu(self.second(hidden))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Sigmoid(),
        nn.Linear(120, 10),
    )


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(inplace=True), nn.Linear(16, 3))


NETWORKS = {
    "MLP": (plain, None, ["1", "2", "3"]),
    "LeNet": (lenet, ["0", "3", "9"], ["0", "3", "9"]),
    "LSTM": (Recurrent, None, ["lstm", "head"]),
    "used twice, tuple output": (
        Shared,
        ["first", "relu", "second"],
        ["first", "relu", "second", "relu (2)"],
    ),
    "compiled": (lambda: torch.compile(plain()), None, ["1", "2", "3"]),
    "DataParallel": (lambda: nn.DataParallel(plain()), None, ["1", "2", "3"]),
    "bfloat16": (lambda: plain().bfloat16(), None, ["1", "2", "3"]),
    "float16": (lambda: plain().half(), None, ["1", "2", "3"]),
    "wrapped whole": (lambda: nn.Sequential(Shared()), ["0"], ["0"]),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_five_lines_measure_any_network(kind):
    build, layers, expected = NETWORKS[kind]
    model = made(build)
    plane = watch(model, IMAGES, Y, layers=layers, n_projections=20, rng=0)
    for epoch in range(1, 3):
        plane.measure(epoch)
    assert plane.plot().axes
    results = plane.results()
    assert results["layers"] == expected
    for quantity in ("information_x", "information_y"):
        assert np.isfinite(results[quantity]).all()
        # The network did not learn, the directions are the same: so are the numbers.
        np.testing.assert_array_equal(results[quantity][..., 0], results[quantity][..., 1])


@pytest.mark.long
def test_the_five_lines_measure_resnet18():
    from torchvision.models import resnet18

    model = made(resnet18)
    x, y = seeded(2, 512, 3, 64, 64), torch.arange(512) % 10
    plane = watch(model, x, y, n_projections=50, batch_size=64, rng=0)
    plane.measure(1)
    results = plane.results()
    # Convolutions, their norms, activations (of each block called twice), and the last layer.
    assert len(results["layers"]) == 20 + 20 + 17 + 1
    assert np.isfinite([results["information_x"], results["information_y"]]).all()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.long
def test_the_five_lines_measure_a_vision_transformer_at_four_layers():
    from torchvision.models import vit_b_16

    model = made(lambda: vit_b_16(image_size=32))
    layers = [f"encoder.layers.encoder_layer_{i}" for i in (0, 3, 7, 11)]
    x = seeded(2, N, 3, 32, 32)
    for pool in ("first", None):
        plane = watch(model, x, Y, layers=layers, pool=pool, n_projections=50, rng=0)
        plane.measure(1)
        results = plane.results()
        assert results["layers"] == layers
        assert np.isfinite([results["information_x"], results["information_y"]]).all()


# The numbers


@pytest.mark.parametrize("estimator", [WKL(k=3, weights=("mutinfo", "kth")), WKL(k=3)])
def test_the_classifiers_numbers_are_those_of_its_outputs_on_the_same_directions(images, estimator):
    x, y = images[0][:300], images[1][:300]
    model, p = made(Classifier), 40
    plane = watch(
        model,
        x,
        y,
        layers=CLASSIFIER_LAYERS,
        estimator=estimator,
        n_projections=p,
        batch_size=100,
        rng=7,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        plane.measure(1)
        torch.manual_seed(5)
        outputs = layer_outputs(model, x, batch_size=100)
    results = plane.results()
    assert results["layers"] == list(outputs)
    image_slices = slices_of(plane, "inputs", x.flatten(1).numpy())
    for j, (name, output) in enumerate(outputs.items()):
        slices = slices_of(plane, name, output)
        for quantity, other, discrete in (
            ("information_x", image_slices, False),
            ("information_y", y, True),
        ):
            direct = mutual_information_of_slices(
                slices if discrete else image_slices,
                other if discrete else slices,
                y_discrete=discrete,
                estimator=estimator,
                rng=plane.state_dict()["settings"]["seed"],
            )
            direct = direct if isinstance(direct, dict) else {"estimate": direct}
            for i, rule in enumerate(results["rules"]):
                numbers = [results[quantity + end][i, j, 0] for end in ("", "_error")]
                expected = [direct[rule].value, direct[rule].std_error]
                np.testing.assert_allclose(numbers, expected, atol=1e-5)


def slices_of(plane, name, rows):
    """Slices by SMICompressor, on the directions of a plane."""
    compressor = SMICompressor(rows.shape[1], 1, rng=0)
    compressor.theta = plane.directions(name).theta()
    return compressor(rows)


def test_the_numbers_are_those_of_sliced_mutual_information(mlp):
    # On other directions, hence the tolerance: 4 standard errors of the difference over slices.
    plane = watch(mlp, X, Y, layers=["0"], n_projections=2000, estimator=WKL(k=5), rng=0)
    plane.measure(1)
    outputs = mlp[0](X).detach().numpy()
    frame = plane.to_frame().set_index("quantity")
    for quantity, direct in (
        ("information_x", sliced_mutual_information(X, outputs, estimator=WKL(k=5), rng=1)),
        (
            "information_y",
            sliced_mutual_information(outputs, Y, y_discrete=True, estimator=WKL(k=5), rng=1),
        ),
    ):
        error = 4 * 2 * direct.slicing_error
        assert abs(frame.loc[quantity, "value"] - direct.value) < error
        assert frame.loc[quantity, "independent_value"] == pytest.approx(
            direct.independent_value, abs=5 * direct.independent_error
        )


def test_the_same_rng_gives_the_same_record_and_another_does_not(mlp):
    def values(rng):
        plane = watch(mlp, X, Y, n_projections=10, rng=rng)
        plane.measure(1)
        return plane.results()["information_y"]

    np.testing.assert_array_equal(values(3), values(3))
    assert not np.array_equal(values(3), values(4))


def test_targets_of_regression_are_measured_as_numbers():
    # The linear layer passes on two numbers with a known correlation with the target.
    pair = CorrelatedNormal(mutual_information=1.0, dim_x=2, dim_y=2)
    x, y = pair.sample(1000, rng=0)
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    plane = watch(model, torch.tensor(x), y, layers={"same": model}, n_projections=400, rng=0)
    plane.measure(1)
    row = plane.to_frame().query("quantity == 'information_y'").iloc[0]
    assert abs(row["value"] - pair.sliced_mutual_information) < 4 * row["std_error"]


def test_a_column_of_targets_may_be_flat_or_not(mlp):
    target = X[:, 0] + 0.1 * X[:, 1]
    values = []
    for labels in (target, target[:, None], target[:, None].numpy()):
        plane = watch(mlp, X, labels, n_projections=20, rng=0)
        plane.measure(1)
        values.append(plane.results()["information_y"])
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])
    assert (values[0] > 0.05).all()


def test_floats_that_look_like_classes_are_warned_of(mlp):
    with pytest.warns(UserWarning, match="floats of 3 different values.*labels.long"):
        watch(mlp, X, Y.float())


def test_without_labels_the_inputs_alone_are_measured(mlp):
    plane = watch(mlp, X, n_projections=10, rng=0)
    plane.measure(1)
    results = plane.results()
    assert np.isfinite(results["information_x"]).all()
    assert np.isnan(results["information_y"]).all()
    assert results["notes"] == []
    assert set(plane.to_frame()["quantity"]) == {"information_x"}
    assert len(plane.plot().axes) == 1


def test_token_ids_leave_the_labels_and_the_layers_between():
    model = made(lambda: nn.Sequential(nn.Embedding(50, 6), nn.Linear(6, 4), nn.Flatten()))
    ids = torch.randint(50, (N, 7), generator=torch.Generator().manual_seed(0))
    plane = watch(model, ids, Y, n_projections=300, pool="mean", between=True, rng=0)
    plane.measure(1)
    frame = plane.to_frame()
    assert set(frame["quantity"]) == {"information_y", "information_between"}
    between = frame[frame["quantity"] == "information_between"]
    # The second layer is a linear function of the first.
    assert between["layer"].tolist() == ["0"]
    assert between["value"].item() > 5 * between["std_error"].item()


def test_layers_of_one_width_are_measured_between_on_independent_directions():
    # Of two layers that are the same 50 independent numbers, slices on the same directions would
    # share everything, and slices on independent ones next to nothing: full_dependence(50, 50).
    x = seeded(3, 1000, 50)
    model = nn.Sequential(nn.Identity(), nn.Identity())
    layers = {"a": model[0], "b": model[1]}
    plane = watch(model, x, layers=layers, n_projections=300, between=True, rng=0)
    plane.measure(1)
    between = plane.to_frame().query("quantity == 'information_between'").iloc[0]
    exact = full_dependence(50, 50)
    assert abs(between["value"] - exact) < 4 * between["std_error"]
    assert between["share"] == pytest.approx(1.0, abs=4 * between["std_error"] / exact)


def test_noise_makes_layers_tell_less(mlp):
    # SMI of the first layer with the input, on the same directions.
    values = []
    for noise in (0.0, 1.0, 10.0):
        plane = watch(mlp, X, layers=["0"], n_projections=100, noise=noise, rng=0)
        plane.measure(1)
        values.append(plane.to_frame()["value"].item())
    assert values[0] > values[1] > values[2]
