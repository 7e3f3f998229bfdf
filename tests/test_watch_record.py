"""What `watch` records and how it is resumed, who is measured, and what is left if it fails."""

from __future__ import annotations

import gc
import itertools
import math
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watched import X, Y, made, seeded, small_mlp

from utils import WKL, Gaussian, sliced_mutual_information, watch
from utils.networks import CLASSIFIER_LAYERS, Classifier
from utils.training import train_classifier


@pytest.fixture
def mlp():
    return small_mlp()


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


class Constant:
    """An estimator whose `repr` holds its address in memory."""

    def __call__(self, x, y):
        return 0.5


def test_a_record_by_a_function_is_resumed_in_a_new_process(mlp):
    first, second = Constant(), Constant()
    assert repr(first) != repr(second)  # as in a new process
    plane = watch(mlp, X, Y, estimator=first, n_projections=5, rng=0)
    plane.measure(1)
    resumed = watch(mlp, X, Y, estimator=second, n_projections=5, rng=0)
    resumed.load_state_dict(plane.state_dict())
    assert resumed.state_dict() == plane.state_dict()


def test_a_record_of_other_settings_is_refused(mlp):
    state = watch(mlp, X, Y, n_projections=10, rng=0).state_dict()
    for options in (
        {"n_projections": 11},
        {"rng": 1},
        {"noise": 0.1},
        {"estimator": WKL(k=3)},
        {"between": True},
        {"select": torch.abs},
    ):
        other = watch(mlp, X, Y, **{"n_projections": 10, "rng": 0, **options})
        with pytest.raises(ValueError, match="settings=.*choose the same"):
            other.load_state_dict(state)


def test_a_record_that_is_refused_leaves_the_seed_as_it_was(mlp):
    state = watch(mlp, X, Y, n_projections=11, rng=0).state_dict()
    plane = watch(mlp, X, Y, n_projections=10)
    before = plane.state_dict()
    with pytest.raises(ValueError, match="settings=.*choose the same"):
        plane.load_state_dict(state)
    assert plane.state_dict() == before
    plane.measure(1)
    twin = watch(mlp, X, Y, n_projections=10)
    twin.load_state_dict(before)
    twin.measure(1)
    assert twin.state_dict() == plane.state_dict()


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


# New directions at every epoch


def measured_often(mlp, n_epochs, **options):
    """What is recorded of one layer of a network that does not learn."""
    options = {"layers": ["0"], "estimator": Gaussian(), "n_projections": 50, "rng": 0, **options}
    plane = watch(mlp, X, X[:, :2], **options)
    for epoch in range(1, n_epochs + 1):
        plane.measure(epoch)
    return plane.results()


def test_new_directions_make_the_slicing_errors_of_epochs_independent(mlp):
    anew = measured_often(mlp, 40, new_directions=True)
    same = measured_often(mlp, 3)
    outputs = mlp[0](X).detach().numpy()
    for name, other in (("information_x", X), ("information_y", X[:, :2])):
        assert (same[name] == same[name][..., :1]).all()
        many = sliced_mutual_information(
            other, outputs, estimator=Gaussian(), n_projections=5000, rng=1
        )
        values = anew[name][0, 0]
        scatter, expected = values.std(ddof=1), many.per_slice.std() / math.sqrt(50)
        # A standard deviation of 40 numbers is known to 11 %, four times which is allowed; blocks
        # of orthogonal directions make it smaller, in 6 and 8 dimensions by less than half.
        assert 0.5 * (1 - 0.45) * expected < scatter < (1 + 0.45) * expected
        assert abs(values.mean() - many.value) < 4 * scatter / math.sqrt(40)
        # The correlation of neighbours has standard error 1 / sqrt(39).
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / math.sqrt(39)


def test_new_directions_follow_from_the_epoch_and_resume(mlp, tmp_path):
    options = {"n_projections": 10, "noise": 0.01, "new_directions": True, "between": True}
    whole = watch(mlp, X, X[:, 0], rng=0, **options)
    for epoch in (1, 2, 5):
        whole.measure(epoch)
        if epoch == 2:
            torch.save(whole.state_dict(), tmp_path / "plane.pt")
    for rng in (0, None):
        resumed = watch(mlp, X, X[:, 0], rng=rng, **options)
        resumed.load_state_dict(torch.load(tmp_path / "plane.pt", weights_only=True))
        resumed.measure(5)
        assert resumed.state_dict() == whole.state_dict()
    with pytest.raises(ValueError, match=r"settings=.*'new_directions': True"):
        watch(mlp, X, X[:, 0], n_projections=10, rng=0).load_state_dict(whole.state_dict())


# Who is measured


def test_the_training_may_build_the_network(few):
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


def test_a_model_that_is_gone_is_not_measured():
    model = made(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU())).train()
    kept = model[0]
    plane = watch(model, X, Y, n_projections=5, rng=0)
    plane.measure(1)
    del model
    gc.collect()
    with pytest.raises(RuntimeError, match="is gone; call watch with the new one"):
        plane.measure(2)
    assert plane.results()["epochs"].tolist() == [1]
    assert not kept._forward_hooks and kept.training


def test_a_model_deleted_in_a_measurement_is_measured_to_the_end(mlp):
    models = [nn.Sequential(mlp[0], mlp[1]).train()]
    plane = watch(models[0], X, Y, n_projections=5, rng=0)
    deleting = mlp[0].register_forward_hook(lambda *_: models.clear())
    plane.measure(1)
    deleting.remove()
    assert plane.results()["epochs"].tolist() == [1]
    assert not any(module._forward_hooks for module in mlp.modules())
    assert all(module.training for module in mlp.modules())


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_a_wrapper_made_for_the_call_need_not_be_kept(mlp, wrap):
    plane = watch(wrap(mlp), X, Y, n_projections=5, rng=0)
    gc.collect()
    plane.measure(1)
    assert plane.results()["layers"] == ["0", "1", "2"]


@pytest.fixture
def listening_to_ctrl_c():
    """A process that a script starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", ["forward", "after a layer", "estimator"])
def test_an_interrupted_measurement_leaves_record_and_network_as_they_were(
    mlp, where, listening_to_ctrl_c, one_core
):
    ways = {"forward": mlp[2].register_forward_pre_hook, "after a layer": mlp.register_forward_hook}
    armed = False

    def interrupt(*arguments):
        if armed:
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C does

    def estimator(x, y):
        interrupt()
        return float((x * y).mean())

    plane = watch(mlp, X, n_projections=5, estimator=estimator, rng=0)
    plane.measure(1)
    before = plane.state_dict()
    mlp.train()
    mlp[1].eval()  # as one freezes it
    interrupting = ways[where](interrupt) if where in ways else None
    armed = True
    with pytest.raises(KeyboardInterrupt):
        plane.measure(2)
    armed = False
    if interrupting is not None:
        interrupting.remove()
    assert not any(module._forward_hooks for module in mlp.modules())
    assert [module.training for module in mlp.modules()] == [True, True, False, True]
    assert plane.state_dict() == before
    plane.measure(2)
    results = plane.results()
    assert results["epochs"].tolist() == [1, 2]
    np.testing.assert_array_equal(
        results["information_x"][..., 0], results["information_x"][..., 1]
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 3}, TypeError, "model has type int; give a torch.nn.Module"),
        ({"labels": Y[1:]}, ValueError, "labels has 149 samples and inputs have 150"),
        ({"labels": Y.reshape(50, 3)}, ValueError, r"labels has shape \(50, 3\)"),
        ({"layers": ["fc"]}, ValueError, "no module 'fc'; near ones are"),
        ({"estimator": WKL}, TypeError, "estimator=WKL is a class"),
        ({"estimator": 3}, TypeError, "estimator=3 "),
        ({"n_projections": 0}, ValueError, "n_projections=0 is too small"),
        ({"epochs": 3}, TypeError, "epochs=3 is not several numbers"),
        ({"rng": "a"}, TypeError, "rng='a' cannot seed"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(mlp, change, error, message):
    arguments = {"model": mlp, "inputs": X, "labels": Y, **change}
    with pytest.raises(error, match=message):
        watch(**arguments)


def test_a_module_cannot_have_the_name_of_the_inputs():
    model = torch.nn.Sequential()
    model.add_module("inputs", torch.nn.Linear(X.shape[1], 3))
    with pytest.raises(ValueError, match="layers: the name 'inputs' is that of the inputs"):
        watch(model, X, Y, n_projections=5, rng=0).measure(1)


def test_one_hot_labels_are_classes(mlp):
    found = []
    for labels in (Y, torch.nn.functional.one_hot(Y).float()):
        plane = watch(mlp, X, labels, n_projections=5, rng=0)
        # A recording that is loaded and drawn, without measuring more, knows it too.
        shares = np.bincount(Y) / len(Y)
        assert plane.label_entropy == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)
        plane.measure(1)
        found.append((plane.label_entropy, plane.results()["information_y"].tolist()))
    assert found[0] == found[1]


def test_directions_of_an_unknown_layer_are_refused(mlp):
    plane = watch(mlp, X, Y, n_projections=5, rng=0)
    plane.measure(1)
    assert plane.directions("0").theta().shape == (5, 8)
    with pytest.raises(ValueError, match=r"name='nope' .*choose among \['inputs', '0', '1', '2'\]"):
        plane.directions("nope")


def test_warnings_name_the_line_of_the_caller(mlp):
    with pytest.warns(UserWarning, match="labels are floats") as caught:
        plane = watch(mlp, X, Y.double(), n_projections=5, rng=0)
    with torch.no_grad():
        mlp[0].weight.zero_()
        mlp[0].bias.zero_()
    with pytest.warns(UserWarning, match="recorded as NaN") as noted:
        plane.measure(1)
    assert {warning.filename for warning in (*caught, *noted)} == {__file__}


def test_a_loader_brings_the_labels(mlp):
    held = watch(mlp, X, Y, n_projections=10, rng=0)
    loaded = watch(mlp, DataLoader(TensorDataset(X, Y), batch_size=256), n_projections=10, rng=0)
    for plane in (held, loaded):
        plane.measure(1)
    assert loaded.state_dict() == held.state_dict()
    fewer = watch(mlp, DataLoader(TensorDataset(X), batch_size=64), Y[1:], rng=0)
    with pytest.raises(ValueError, match="labels has 149 samples and inputs have 150"):
        fewer.measure(1)


def test_batches_are_read_once_an_epoch(mlp):
    class Counting:
        n_times = 0

        def __iter__(self):
            self.n_times += 1
            return iter([(X[:100], Y[:100]), (X[100:], Y[100:])])

    batches = Counting()
    plane = watch(mlp, batches, n_projections=10, rng=0)
    for epoch in (1, 2, 3):
        plane.measure(epoch)
        assert batches.n_times == epoch
    assert np.isfinite(plane.results()["information_y"]).all()
