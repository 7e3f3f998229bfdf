"""Watching any network: the five lines, the numbers, what is recorded, and what is said."""

from __future__ import annotations

import gc
import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from utils import (
    WKL,
    CorrelatedNormal,
    Gaussian,
    SMICompressor,
    mutual_information_of_slices,
    sliced_mutual_information,
    watch,
)
from utils.dependence_scale import effective_dimension, full_dependence
from utils.directions import Directions
from utils.mnist import load_images
from utils.networks import CLASSIFIER_LAYERS, Classifier
from utils.plotting import plot_information_over_epochs, plot_information_planes
from utils.results import load_results, save_results
from utils.training import layer_outputs, train_classifier

N = 150


def seeded(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, IMAGES, Y = seeded(0, N, 6), seeded(1, N, 1, 28, 28), torch.arange(N) % 3


def made(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


@pytest.fixture
def mlp():
    return made(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


@pytest.fixture(scope="module")
def images():
    data = load_images("mnist-5k")
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
    assert np.isfinite(results["information_x"]).all()


@pytest.mark.long
def test_the_five_lines_measure_a_vision_transformer_at_four_layers():
    from torchvision.models import vit_b_16

    model = made(lambda: vit_b_16(image_size=32))
    layers = [f"encoder.layers.encoder_layer_{i}" for i in (0, 3, 7, 11)]
    plane = watch(model, seeded(2, N, 3, 32, 32), Y, layers=layers, pool="first", rng=0)
    plane.measure(1)
    results = plane.results()
    assert results["layers"] == layers
    assert np.isfinite(results["information_x"]).all()


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


# The scale


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_full_dependence_is_the_mean_over_slices(dim):
    # -1/2 log(1 - <t, u>^2) over independent unit vectors, without any estimator.
    theta = np.random.default_rng(0).standard_normal((2, 200_000, dim))
    theta /= np.linalg.norm(theta, axis=2, keepdims=True)
    values = -0.5 * np.log1p(-((theta[0] * theta[1]).sum(axis=1) ** 2))
    error = values.std() / math.sqrt(values.size)
    assert abs(full_dependence(dim, dim) - values.mean()) < 4 * error


def test_no_normal_pair_exceeds_the_scale_by_more_than_second_order():
    # Components of variances a and b, fully correlated: E r^2 = sum(a b) / (sum(a) sum(b)), which
    # is 1 / sqrt(dim_x dim_y) if a and b are proportional, and less if not.
    rng = np.random.default_rng(0)
    for a, b in ((np.ones(20), np.ones(20)), (np.ones(30), np.arange(30) < 10.0)):
        x = rng.standard_normal((4000, len(a))) * np.sqrt(a)
        estimate = sliced_mutual_information(
            x, x * np.sqrt(b / a), estimator=Gaussian(), n_projections=1000, rng=0
        )
        dims = [variances.sum() ** 2 / (variances**2).sum() for variances in (a, b)]
        scale = full_dependence(*dims)
        value, error = estimate.value - estimate.independent_value, 4 * estimate.std_error
        assert value < scale + error
        if len(np.unique(b)) == 1:
            assert value > scale - error


@pytest.mark.parametrize(
    "variances", [np.ones(20), np.arange(1.0, 41.0), np.r_[100.0, np.ones(30)]]
)
def test_the_effective_dimension_is_seen_in_slices(variances):
    dim = len(variances)
    exact = variances.sum() ** 2 / (variances**2).sum()
    x = np.random.default_rng(0).standard_normal((4000, dim)) * np.sqrt(variances)
    slices = Directions(dim, 2000, rng=1).theta() @ x.T
    # The fourth moment of 2000 directions, known to 3 %, and n samples add 1 / n to the inverse.
    assert effective_dimension(slices, dim) == pytest.approx(exact, rel=0.1)


def test_shares_are_of_the_labels_entropy():
    # A layer that is the class, far apart: one random slice tells 10 classes nearly always.
    labels = np.arange(500) % 4
    x = torch.tensor(labels[:, None] + 0.001 * np.random.default_rng(0).standard_normal((500, 1)))
    model = nn.Sequential(nn.Identity())
    plane = watch(model, x, labels, layers={"x": model[0]}, n_projections=50, rng=0)
    plane.measure(1)
    share = plane.to_frame().query("quantity == 'information_y'")["share"].item()
    # KSG of four separate classes of 125: log 4 less the bias of its digammas.
    assert share == pytest.approx(1.0, abs=0.02)


# The record


def test_the_table_is_tidy(mlp):
    plane = watch(
        mlp, X, Y, n_projections=10, estimator=WKL(k=3, weights=("kth", "mutinfo")), rng=0
    )
    for epoch in (0, 5):
        plane.measure(epoch)
    frame, results = plane.to_frame(), plane.results()
    assert frame.columns.tolist() == [
        "epoch",
        "layer",
        "rule",
        "quantity",
        "value",
        "std_error",
        "independent_value",
        "share",
    ]
    assert len(frame) == 2 * 3 * 2 * 2
    names = ("information_x", "information_y")
    cells = itertools.product(
        names, enumerate((0, 5)), enumerate("012"), enumerate(("kth", "mutinfo"))
    )
    for row, (name, (i, epoch), (j, layer), (k, rule)) in zip(
        frame.itertuples(), cells, strict=True
    ):
        assert (row.epoch, row.layer, row.rule, row.quantity) == (epoch, layer, rule, name)
        assert row.value == results[name][k, j, i]
        assert row.std_error == results[f"{name}_error"][k, j, i]
        assert row.share == row.value / results[f"{name}_full"][k, j, i]


def test_results_are_saved_and_drawn_as_before(mlp, tmp_path):
    plane = watch(mlp, X, Y, n_projections=10, rng=0)
    for epoch in (1, 2):
        plane.measure(epoch)
    save_results("plane", plane.results(), settings={}, directory=tmp_path)
    rows = {"SMI": load_results("plane", directory=tmp_path).results}
    plot_information_planes(rows, layers=["0", "2"], rule="estimate", title="").canvas.draw()
    plot_information_over_epochs(rows, rule="estimate", title="").canvas.draw()


@pytest.mark.parametrize("rng", [0, None])
def test_a_killed_run_that_is_resumed_gives_the_same_record(mlp, rng, tmp_path):
    whole = watch(mlp, X, Y, n_projections=10, rng=rng)
    for epoch in (1, 2, 3):
        with torch.no_grad():
            mlp[0].weight.add_(0.3 * seeded(epoch, 8, 6))
        whole.measure(epoch)
        if epoch == 2:
            torch.save(whole.state_dict(), tmp_path / "plane.pt")
    resumed = watch(mlp, X, Y, n_projections=10, rng=rng)
    resumed.load_state_dict(torch.load(tmp_path / "plane.pt", weights_only=True))
    assert resumed.last_epoch == 2
    resumed.measure(3)
    assert resumed.state_dict() == whole.state_dict()
    with pytest.raises(ValueError, match="epoch=3, but .* already seen epoch 3"):
        resumed.measure(3)


def test_a_record_of_other_settings_is_refused(mlp):
    state = watch(mlp, X, Y, n_projections=10, rng=0).state_dict()
    for options in ({"n_projections": 11}, {"rng": 1}, {"noise": 0.1}, {"estimator": WKL(k=3)}):
        other = watch(mlp, X, Y, **{"n_projections": 10, "rng": 0, **options})
        with pytest.raises(ValueError, match="settings=.*choose the same"):
            other.load_state_dict(state)


def test_epochs_are_chosen_and_may_start_at_0(mlp):
    plane = watch(mlp, X, Y, n_projections=5, epochs=[0, 2, 3], rng=0)
    for epoch in range(5):
        plane.measure(epoch)
    assert plane.results()["epochs"].tolist() == [0, 2, 3]
    assert plane.last_epoch == 4
    again = watch(mlp, X, Y, n_projections=5, rng=0)
    again.measure(0)
    with pytest.raises(ValueError, match="epoch=0, but .* seen epoch 0"):
        again.measure(0)


def test_a_dead_layer_is_marked_and_the_others_are_measured(mlp):
    with torch.no_grad():
        mlp[0].bias.fill_(-1e3)
    plane = watch(mlp, X, Y, n_projections=10, between=True, rng=0)
    with pytest.warns(UserWarning, match="constant, the same for every input"):
        plane.measure(1)
    results = plane.results()
    assert np.isfinite(results["information_x"][0, 0]).all()
    assert np.isnan(results["information_x"][0, 1:]).all()
    assert np.isnan(results["information_between"][0, 0]).all()
    assert {note["layer"] for note in results["notes"]} == {"0", "1", "2"}
    assert plane.plot().axes


def test_noise_makes_layers_tell_less(mlp):
    # SMI of the first layer with the input, on the same directions.
    values = []
    for noise in (0.0, 1.0, 10.0):
        plane = watch(mlp, X, layers=["0"], n_projections=100, noise=noise, rng=0)
        plane.measure(1)
        values.append(plane.to_frame()["value"].item())
    assert values[0] > values[1] > values[2]


# Who is measured


def test_the_training_may_build_the_network(images):
    data = load_images("mnist-5k")
    few = type(data)(
        data.name,
        data.train_images[::10],
        data.train_labels[::10],
        data.test_images[::5],
        data.test_labels[::5],
    )
    plane = watch(
        Classifier,
        few.test_images,
        few.test_labels,
        layers=CLASSIFIER_LAYERS,
        n_projections=10,
        rng=0,
    )
    run = train_classifier(few, epochs=2, learning_rate=1e-3, on_epoch_end=plane, rng=0)
    results = plane.results()
    assert results["epochs"].tolist() == [1, 2]
    assert results["layers"] == list(CLASSIFIER_LAYERS)
    assert not any(module._forward_hooks for module in run.model.modules())
    with pytest.raises(RuntimeError, match="no model to measure; give watch a model"):
        plane.measure(3)


def test_a_model_that_is_gone_is_not_measured(mlp):
    model = made(lambda: nn.Sequential(nn.Linear(6, 8)))
    plane = watch(model, X, Y, n_projections=5, rng=0)
    plane.measure(1)
    del model
    gc.collect()
    with pytest.raises(RuntimeError, match="is gone; call watch with the new one"):
        plane.measure(2)
    assert plane.results()["epochs"].tolist() == [1]


def test_a_failed_measurement_leaves_record_and_network_as_they_were(mlp):
    plane = watch(mlp, X, Y, n_projections=5, estimator=WKL(k=3), rng=0)
    plane.measure(1)
    mlp.train()
    failing = mlp[2].register_forward_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        plane.measure(2)
    failing.remove()
    assert not any(module._forward_hooks for module in mlp.modules())
    assert all(module.training for module in mlp.modules())
    assert plane.results()["epochs"].tolist() == [1]
    plane.measure(2)
    assert plane.results()["epochs"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 3}, TypeError, "model is a int; give a torch.nn.Module"),
        ({"labels": Y[1:]}, ValueError, "labels has 149 samples and inputs have 150"),
        ({"labels": Y.reshape(50, 3)}, ValueError, r"labels has shape \(50, 3\)"),
        ({"layers": ["fc"]}, ValueError, "no module 'fc'; near ones are"),
        ({"estimator": WKL}, TypeError, "estimator=WKL is a class"),
        ({"estimator": 3}, TypeError, "estimator=3 "),
        ({"n_projections": 0}, ValueError, "n_projections=0 is too small"),
        ({"epochs": 3}, TypeError, "epochs=3 is one number"),
        ({"rng": "a"}, TypeError, "rng='a' cannot seed"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(mlp, change, error, message):
    arguments = {"model": mlp, "inputs": X, "labels": Y, **change}
    with pytest.raises(error, match=message):
        watch(**arguments)


def test_a_loader_brings_the_labels(mlp):
    held = watch(mlp, X, Y, n_projections=10, rng=0)
    loaded = watch(mlp, DataLoader(TensorDataset(X, Y), batch_size=256), n_projections=10, rng=0)
    for plane in (held, loaded):
        plane.measure(1)
    assert loaded.state_dict() == held.state_dict()
    fewer = watch(mlp, DataLoader(TensorDataset(X), batch_size=64), Y[1:], rng=0)
    with pytest.raises(ValueError, match="labels has 149 samples and inputs have 150"):
        fewer.measure(1)


# What is shown


def test_a_line_per_epoch_is_printed_outside_notebooks(mlp, capsys):
    plane = watch(mlp, X, Y, n_projections=10, live=True, rng=0)
    for epoch in (1, 2):
        plane.measure(epoch)
    lines = capsys.readouterr().out.splitlines()
    results = plane.results()
    assert len(lines) == 2
    numbers = " / ".join(
        f"{results[name][0, 0, 1]:.3f}" for name in ("information_x", "information_y")
    )
    assert lines[1].startswith(f"epoch 2, I(X; L) / I(L; Y) in nat: 0 {numbers}, 1 ")


def test_notebooks_show_one_picture_that_is_replaced(mlp, monkeypatch):
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("updated", picture))

    def display(picture, *, display_id):
        shown.append(("displayed", picture))
        return Handle()

    monkeypatch.setattr("IPython.get_ipython", type("ZMQInteractiveShell", (), {}))
    monkeypatch.setattr("IPython.display.display", display)
    plane = watch(mlp, X, Y, n_projections=10, live=True, rng=0)
    open_before = plt.get_fignums()
    for epoch in (1, 2, 3):
        plane.measure(epoch)
    assert [how for how, _ in shown] == ["displayed", "updated", "updated"]
    assert all(picture.data.startswith(b"\x89PNG") for _, picture in shown)
    assert plt.get_fignums() == open_before


def test_what_cannot_be_drawn_says_so(mlp):
    plane = watch(mlp, X, Y, n_projections=5, rng=0)
    with pytest.raises(ValueError, match="nothing was measured so far"):
        plane.plot()
    plane.measure(1)
    with pytest.raises(ValueError, match="rule='kth'; choose one of estimate"):
        plane.plot(rule="kth")


# Other people's training loops


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_lightning_calls_it(tmp_path):
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")

    class Network(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, x):
            return self.body(x)

        def training_step(self, batch, batch_number):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    class Watch(lightning.Callback):
        def __init__(self, plane):
            self.plane = plane

        def on_train_epoch_end(self, trainer, module):
            self.plane(trainer.current_epoch + 1, module)

    model = made(Network)
    plane = watch(model, X, Y, layers=["body.*"], n_projections=20, rng=0)
    trainer = lightning.Trainer(
        max_epochs=3,
        callbacks=[Watch(plane)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(X, Y), batch_size=50))
    assert plane.results()["epochs"].tolist() == [1, 2, 3]
    assert plane.results()["layers"] == ["body.0", "body.1", "body.2"]
    assert np.isfinite(plane.results()["information_y"]).all()


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_the_trainer_of_hugging_face_calls_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=3,
    )
    model = made(lambda: transformers.BertForSequenceClassification(config))
    ids = torch.randint(50, (N, 9), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    class Watch(transformers.TrainerCallback):
        def __init__(self, plane):
            self.plane = plane

        def on_epoch_end(self, args, state, control, model=None, **others):
            self.plane(round(state.epoch), model)

    layers = ["bert.encoder.layer.*", "classifier"]
    plane = watch(model, inputs, Y, layers=layers, pool="first", n_projections=20, rng=0)
    examples = [
        {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": int(label)}
        for row, label in zip(ids, Y, strict=True)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=tmp_path,
        num_train_epochs=2,
        per_device_train_batch_size=50,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    transformers.Trainer(model, arguments, train_dataset=examples, callbacks=[Watch(plane)]).train()
    results = plane.results()
    assert results["epochs"].tolist() == [1, 2]
    assert results["layers"] == ["bert.encoder.layer.0", "bert.encoder.layer.1", "classifier"]
    assert np.isfinite(results["information_y"]).all()
    assert np.isnan(results["information_x"]).all()
