"""Training: it learns, it repeats, it survives being killed, and nobody who watches disturbs it."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import dumps, loads
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from utils.checkpoints import CHECKPOINT_FORMAT
from utils.information_plane import InformationPlane
from utils.mnist import load_images
from utils.networks import GaussianNoise
from utils.training import layer_outputs, train_autoencoder, train_classifier

# A training small enough to be done many times; several parts a batch, and a last short batch.
SMALL = {"epochs": 4, "learning_rate": 1e-3, "batch_size": 300, "rng": 3}
TRAIN = {"classifier": train_classifier, "autoencoder": train_autoencoder}
both_networks = pytest.mark.parametrize("train", TRAIN.values(), ids=TRAIN)


@pytest.fixture(scope="module")
def digits():
    return load_images("mnist-5k")


@pytest.fixture(scope="module")
def few(digits):
    return thinned(digits, 5)


def thinned(data, step):
    return replace(
        data,
        train_images=data.train_images[::step],
        train_labels=data.train_labels[::step],
        test_images=data.test_images[::step],
        test_labels=data.test_labels[::step],
    )


@pytest.fixture(scope="module")
def undisturbed(few):
    return {train: train(few, **SMALL) for train in TRAIN.values()}


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


# Learning


@pytest.fixture(scope="module")
def reader(digits):
    quarter = replace(
        digits, train_images=digits.train_images[::4], train_labels=digits.train_labels[::4]
    )
    return train_classifier(
        quarter, epochs=4, learning_rate=1e-2, batch_size=25, evaluate_training=True, rng=0
    )


@both_networks
def test_the_loss_falls(undisturbed, train):
    history = undisturbed[train].history
    for name in ("train_loss", "test_loss"):
        assert history[name][-1] < history[name][0]


def test_the_classifier_learns_to_read(reader):
    assert reader.history.keys() == {
        f"{part}_{metric}"
        for part in ("train", "test", "train_eval")
        for metric in ("loss", "accuracy", "roc_auc")
    }
    assert all(values.shape == (4,) for values in reader.history.values())
    assert reader.history["train_loss"][-1] < 0.5 * reader.history["train_loss"][0]
    # Over 4 seeds: accuracy 0.886 +- 0.010, ROC AUC 0.9929 +- 0.0012; less 4 standard deviations.
    assert reader.history["test_accuracy"][-1] > 0.846
    assert reader.history["test_roc_auc"][-1] > 0.9881


@pytest.mark.long
def test_the_autoencoder_learns_to_draw(digits):
    run = train_autoencoder(digits, epochs=6, learning_rate=3e-3, batch_size=50, rng=0)
    assert run.history.keys() == {"train_loss", "test_loss"}
    # What the best constant picture leaves: each pixel's median.
    constant = digits.train_images.median(dim=0).values
    baseline = (digits.test_images - constant).abs().mean().item()
    # Over 4 seeds: 0.773 +- 0.032 of it; plus 4 standard deviations.
    assert run.history["test_loss"][-1] < 0.90 * baseline


@pytest.mark.parametrize("part", ["test", "train_eval"])
def test_metrics_are_those_of_the_final_network(digits, reader, part):
    images, labels = digits.test_images, digits.test_labels.numpy()
    if part == "train_eval":
        images, labels = digits.train_images[::4], digits.train_labels[::4].numpy()
    # 1e-3 of noise moves hardly any decision: the metrics are recomputed with other noise.
    layers = layer_outputs(reader.model, images, rng=0)
    probabilities = layers["exp(layer 5)"].astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    roc_auc = roc_auc_score(labels, probabilities, multi_class="ovo")
    loss = -layers["layer 5"][np.arange(len(labels)), labels].mean()
    assert reader.history[f"{part}_accuracy"][-1] == pytest.approx(accuracy, abs=0.003)
    assert reader.history[f"{part}_roc_auc"][-1] == pytest.approx(roc_auc, abs=1e-4)
    assert reader.history[f"{part}_loss"][-1] == pytest.approx(loss, abs=1e-3)


def test_a_finished_training_is_evaluated_without_training_again(few, undisturbed, tmp_path):
    live = train_classifier(few, **SMALL, evaluate_training=True)
    checkpoint = tmp_path / "run.pt"
    train_classifier(few, **{**SMALL, "epochs": 3}, checkpoint=checkpoint)
    late = train_classifier(few, **SMALL, evaluate_training=True, checkpoint=checkpoint)
    assert_same_run(late, live)
    for name, values in undisturbed[train_classifier].history.items():
        np.testing.assert_array_equal(live.history[name], values, err_msg=name)
    # It stays in the checkpoint, whether asked for again or not.
    train_classifier(few, **SMALL, checkpoint=checkpoint)
    again = train_classifier(few, **SMALL, evaluate_training=True, checkpoint=checkpoint)
    assert_same_run(again, live)


def test_a_batch_in_parts_is_one_step_on_the_whole_batch(few, monkeypatch):
    # No dropout and no noise, so that only the summing of gradients differs.
    monkeypatch.setattr("utils.networks._DROPOUT", 0.0)
    settings = {**SMALL, "noise": 0.0}
    in_parts = train_classifier(few, **settings)
    monkeypatch.setattr("utils.epochs._PART_ON_CPU", 10**6)
    whole = train_classifier(few, **settings)
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(in_parts.history[name], whole.history[name], rtol=1e-4)


# Repeating


@both_networks
def test_the_same_rng_gives_the_same_run(few, undisturbed, train):
    assert_same_run(train(few, **SMALL), undisturbed[train])


@both_networks
def test_another_rng_gives_another_run(few, undisturbed, train):
    other = train(few, **{**SMALL, "rng": 4})
    assert (other.history["train_loss"] != undisturbed[train].history["train_loss"]).all()


def test_a_generator_is_drawn_from(few):
    rng = np.random.default_rng(3)
    first = train_classifier(few, **{**SMALL, "epochs": 1, "rng": rng})
    second = train_classifier(few, **{**SMALL, "epochs": 1, "rng": rng})
    assert first.history["train_loss"][0] != second.history["train_loss"][0]


@both_networks
def test_the_callers_random_numbers_are_left_alone(few, train):
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    run = train(few, **{**SMALL, "epochs": 1})
    if train is train_classifier:
        layer_outputs(run.model, few.test_images, rng=0)
    assert torch.equal(torch_before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_epochs_differ_from_one_another(few):
    # A learning rate of next to nothing leaves the network; order, dropout and noise move on.
    run = train_classifier(few, **{**SMALL, "learning_rate": 1e-30})
    assert len(set(run.history["train_loss"])) == SMALL["epochs"]


# Callbacks


@pytest.mark.parametrize("n_callbacks", [1, 2])
def test_callbacks_do_not_disturb_the_training(few, undisturbed, n_callbacks):
    recorders = [Recorder(f"recorder {number}") for number in range(n_callbacks)]
    run = train_classifier(few, **SMALL, on_epoch_end=recorders)
    assert_same_run(run, undisturbed[train_classifier])
    assert [epoch for epoch, *_ in recorders[0].seen] == [1, 2, 3, 4]
    # The random numbers that a callback gets do not depend on who was asked before it.
    assert recorders[0].seen == recorders[-1].seen
    assert len({number for _, number, _ in recorders[0].seen}) == 4


def test_a_plain_function_is_a_callback(few):
    calls = []
    train_classifier(
        few,
        **{**SMALL, "epochs": 2},
        on_epoch_end=lambda epoch, model, data: calls.append((epoch, data is few)),
    )
    assert calls == [(1, True), (2, True)]


def test_a_callback_that_leaves_training_mode_on_does_not_disturb(few, undisturbed):
    run = train_classifier(few, **SMALL, on_epoch_end=lambda epoch, model, data: model.train())
    assert_same_run(run, undisturbed[train_classifier])
    assert not run.model.training


# Interruptions


@both_networks
def test_a_resumed_run_is_the_uninterrupted_one(few, undisturbed, train, tmp_path):
    checkpoint = tmp_path / "sub" / "run.pt"
    for epochs in (1, 3, 4):
        run = train(few, **{**SMALL, "epochs": epochs}, checkpoint=checkpoint)
        assert len(run.history["train_loss"]) == epochs
    assert_same_run(run, undisturbed[train])
    assert [path.name for path in checkpoint.parent.iterdir()] == ["run.pt"]


def test_a_finished_run_is_read_and_not_trained_again(few, undisturbed, tmp_path):
    checkpoint = tmp_path / "run.pt"
    train_classifier(few, **SMALL, checkpoint=checkpoint)
    written = checkpoint.read_bytes()
    calls = []
    run = train_classifier(
        few, **SMALL, checkpoint=checkpoint, on_epoch_end=lambda *call: calls.append(call)
    )
    assert_same_run(run, undisturbed[train_classifier])
    assert calls == []
    assert checkpoint.read_bytes() == written


def test_without_an_rng_a_checkpoint_keeps_its_own(few, undisturbed, tmp_path):
    checkpoint = tmp_path / "run.pt"
    train_classifier(few, **{**SMALL, "epochs": 2}, checkpoint=checkpoint)
    run = train_classifier(few, **{**SMALL, "rng": None}, checkpoint=checkpoint)
    assert_same_run(run, undisturbed[train_classifier])


def test_what_a_callback_recorded_is_carried_by_the_checkpoint(few, tmp_path):
    alone = Recorder()
    train_classifier(few, **SMALL, on_epoch_end=alone)
    for epochs in (2, 4):
        resumed = Recorder()
        train_classifier(
            few,
            **{**SMALL, "epochs": epochs},
            on_epoch_end=resumed,
            checkpoint=tmp_path / "run.pt",
        )
    assert resumed.seen == alone.seen
    assert resumed.called == [3, 4]


def test_a_failing_callback_ends_the_training_and_the_epoch_before_is_kept(
    few, undisturbed, tmp_path
):
    checkpoint = tmp_path / "run.pt"

    def fail(epoch, model, data):
        if epoch == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_classifier(few, **SMALL, on_epoch_end=fail, checkpoint=checkpoint)
    assert len(torch.load(checkpoint, weights_only=True)["history"]["train_loss"]) == 2
    run = train_classifier(few, **SMALL, checkpoint=checkpoint)
    assert_same_run(run, undisturbed[train_classifier])


@pytest.mark.parametrize("saved", [True, False])
def test_an_interrupt_says_how_to_go_on(few, undisturbed, tmp_path, saved):
    checkpoint = tmp_path / "run.pt" if saved else None
    before = torch.get_rng_state()

    def interrupt(epoch, model, data):
        if epoch == 3:
            raise KeyboardInterrupt

    said = f"stopped after 2 of 4 epochs.*{' resumes' if saved else 'nothing was saved'}"
    with pytest.raises(KeyboardInterrupt, match=said):
        train_classifier(few, **SMALL, on_epoch_end=interrupt, checkpoint=checkpoint)
    assert torch.equal(before, torch.get_rng_state())
    if saved:
        run = train_classifier(few, **SMALL, checkpoint=checkpoint)
        assert_same_run(run, undisturbed[train_classifier])


# A finished training, seen by somebody new


def test_a_late_callback_is_shown_every_epoch_as_if_it_had_been_there(few, tmp_path):
    there, late = Recorder("there"), Recorder("late")
    live = train_classifier(few, **SMALL, on_epoch_end=there)
    train_classifier(
        few,
        **{**SMALL, "epochs": 2},
        on_epoch_end=Recorder("there"),
        checkpoint=tmp_path / "run.pt",
    )
    run = train_classifier(few, **SMALL, on_epoch_end=late, checkpoint=tmp_path / "run.pt")
    assert_same_run(run, live)
    assert late.seen == there.seen
    # What the first one recorded is still there, and goes on where it was.
    back = Recorder("there")
    train_classifier(few, **SMALL, on_epoch_end=back, checkpoint=tmp_path / "run.pt")
    assert back.seen == there.seen
    assert back.called == [3, 4]


def test_a_late_callback_is_refused_where_the_networks_are_not_kept(few, tmp_path):
    arguments = {**SMALL, "checkpoint": tmp_path / "run.pt"}
    train_autoencoder(few, **arguments)
    with pytest.raises(ValueError, match="'late' has not seen the epochs up to .* name another"):
        train_autoencoder(few, **arguments, on_epoch_end=Recorder("late"))


def test_two_callbacks_of_one_name_are_refused(few):
    with pytest.raises(ValueError, match="give each its own name"):
        train_classifier(few, **SMALL, on_epoch_end=[Recorder(), Recorder()])


def spread(layer):
    return {"rule": SimpleNamespace(value=layer.std(), std_error=0.0)}


def test_overwrite_starts_anew_what_was_made_otherwise(few, tmp_path):
    checkpoint = tmp_path / "run.pt"
    train_classifier(few, **{**SMALL, "rng": 7}, checkpoint=checkpoint)
    run = train_classifier(few, **SMALL, checkpoint=checkpoint, overwrite=True)
    assert_same_run(run, train_classifier(few, **SMALL))
    # A recording made otherwise is made again, from the same training.
    first = InformationPlane(spread, spread, settings={"k": 5})
    train_classifier(few, **SMALL, checkpoint=checkpoint, on_epoch_end=first)
    other = InformationPlane(spread, spread, settings={"k": 6})
    with pytest.raises(ValueError, match=r"made with \{'k': 5\}"):
        train_classifier(few, **SMALL, checkpoint=checkpoint, on_epoch_end=other)
    train_classifier(few, **SMALL, checkpoint=checkpoint, on_epoch_end=other, overwrite=True)
    np.testing.assert_array_equal(
        first.results()["information_x"], other.results()["information_x"]
    )


@pytest.fixture(scope="module")
def half_run(few, tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("half") / "run.pt"
    train_classifier(few, **{**SMALL, "epochs": 2}, on_epoch_end=Recorder(), checkpoint=checkpoint)
    return checkpoint


# A checkpoint knows the code


class LouderNoise(GaussianNoise):
    def forward(self, x):
        return super().forward(x) * 1.5


def edited_forward(self, x):
    return x if not self.training else nn.functional.dropout(x, 0.5)


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("utils.networks._DROPOUT", 0.3),
        ("utils.networks.GaussianNoise", LouderNoise),
        ("utils.networks.GaussianNoise.forward", edited_forward),
    ],
)
def test_an_edited_network_does_not_resume_the_old_training(
    few, half_run, tmp_path, monkeypatch, what, edit
):
    checkpoint = tmp_path / "run.pt"
    checkpoint.write_bytes(half_run.read_bytes())
    monkeypatch.setattr(what, edit)
    arguments = {**SMALL, "epochs": 2, "checkpoint": checkpoint}
    complaint = r"code of the network has changed since the checkpoint .*run\.pt.*overwrite=True"
    with pytest.raises(ValueError, match=complaint):
        train_classifier(few, **arguments)
    assert checkpoint.read_bytes() == half_run.read_bytes()
    old = train_classifier(few, **arguments, ignore_code=True)
    anew = train_classifier(few, **arguments, overwrite=True)
    assert not np.any(old.history["train_loss"] == anew.history["train_loss"])
    # What was trained anew is today's.
    assert_same_run(train_classifier(few, **arguments), anew)


def test_a_checkpoint_without_a_record_of_its_code_resumes_with_a_note(
    few, half_run, undisturbed, tmp_path, capsys
):
    content = torch.load(half_run, weights_only=True)
    assert content["provenance"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    del content["provenance"]
    checkpoint = tmp_path / "run.pt"
    torch.save(content, checkpoint)
    run = train_classifier(few, **SMALL, checkpoint=checkpoint, progress=True)
    assert_same_run(run, undisturbed[train_classifier])
    said = capsys.readouterr().out
    assert re.fullmatch(
        rf"2 of 4 epochs loaded from {checkpoint} of 20\d\d-\d\d-\d\d \d\d:\d\d; "
        r"its code cannot be compared; 2 left to train\n",
        said,
    )
    # It has one now, and says nothing of it; without progress nothing is said at all.
    train_classifier(few, **SMALL, checkpoint=checkpoint, progress=True)
    assert "nothing left to train" in (said := capsys.readouterr().out)
    assert "compared" not in said
    train_classifier(few, **SMALL, checkpoint=checkpoint)
    assert capsys.readouterr() == ("", "")


def test_a_home_directory_is_expanded_and_any_folder_name_works(few, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = {**SMALL, "epochs": 1, "checkpoint": "~/Übung 1/mein Lauf.pt"}
    first = train_classifier(few, **arguments)
    assert [path.name for path in (tmp_path / "Übung 1").iterdir()] == ["mein Lauf.pt"]
    assert_same_run(train_classifier(few, **arguments), first)
    assert not Path("~").exists()


def test_every_damaged_part_of_a_checkpoint_is_noticed(few, half_run, tmp_path):
    whole = half_run.read_bytes()
    checkpoint = tmp_path / "run.pt"
    expected = train_classifier(few, **{**SMALL, "epochs": 2}, checkpoint=half_run)
    rng = np.random.default_rng(0)
    n_refused = 0
    for place in rng.integers(len(whole), size=40):
        changed = bytes([whole[place] ^ (1 << rng.integers(8))])
        checkpoint.write_bytes(whole[:place] + changed + whole[place + 1 :])
        try:
            run = train_classifier(few, **{**SMALL, "epochs": 2}, checkpoint=checkpoint)
        except ValueError as error:
            assert "run.pt" in str(error)
            n_refused += 1
        else:  # padding between the tensors
            assert_same_run(run, expected)
    assert n_refused > 20


# Refusals


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"batch_size": 200}, "batch_size was 300 and is now 200"),
        ({"learning_rate": 0.1}, "learning_rate was 0.001 and is now 0.1"),
        ({"noise": 0.5}, "noise was 0.001 and is now 0.5"),
        ({"rng": 4}, "the seed that rng gives was .* and is now"),
        ({"epochs": 1}, "epochs=1, but the checkpoint .* is already at epoch 2; ask for 2 or more"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(few, half_run, change, complaint):
    before = half_run.read_bytes()
    arguments = {**SMALL, "on_epoch_end": Recorder(), **change}
    with pytest.raises(ValueError, match=complaint) as refusal:
        train_classifier(few, **arguments, checkpoint=half_run)
    assert "name another file" in str(refusal.value)
    assert half_run.read_bytes() == before


def test_a_checkpoint_of_other_data_or_of_another_network_is_refused(few, digits, half_run):
    with pytest.raises(ValueError, match="training images was 800 and is now 4000"):
        train_classifier(digits, **SMALL, checkpoint=half_run)
    with pytest.raises(ValueError, match="data was 'mnist-5k' and is now 'mine'"):
        train_classifier(replace(few, name="mine"), **SMALL, checkpoint=half_run)
    with pytest.raises(ValueError, match="network was 'classifier' and is now 'autoencoder'"):
        train_autoencoder(few, **SMALL, checkpoint=half_run)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_file_that_is_no_checkpoint_is_refused(few, half_run, tmp_path, content):
    checkpoint = tmp_path / "run.pt"
    checkpoint.write_bytes(half_run.read_bytes()[:5000] if content is None else content)
    with pytest.raises(ValueError, match=r"cannot be read.*delete this one to start afresh"):
        train_classifier(few, **SMALL, checkpoint=checkpoint)


def test_a_file_of_other_tensors_is_refused(few, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        train_classifier(few, **SMALL, checkpoint=tmp_path / "run.pt")
    torch.save({"format": "another"}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="has format 'another' and this code reads"):
        train_classifier(few, **SMALL, checkpoint=tmp_path / "run.pt")


class Touches:
    """Pickles as a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (torch.save, partial(torch.load, weights_only=False)),
        # In the protocol that PyTorch itself reads.
        (
            lambda content, path: path.write_bytes(dumps(content, 2)),
            lambda path: loads(path.read_bytes()),
        ),
    ],
    ids=["torch", "pickle"],
)
def test_a_checkpoint_runs_nothing(few, tmp_path, write, read):
    trace, checkpoint = tmp_path / "trace", tmp_path / "run.pt"
    write({"format": CHECKPOINT_FORMAT, "settings": {"seed": Touches(trace)}}, checkpoint)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        train_classifier(few, **SMALL, checkpoint=checkpoint)
    assert not trace.exists()
    # It is a hostile file indeed.
    read(checkpoint)
    assert trace.exists()


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"epochs": 0}, ValueError, "epochs=0 is too small; give at least 1"),
        ({"epochs": 2.5}, TypeError, r"epochs=2\.5 is a float"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan"),
        ({"noise": -1.0}, ValueError, "sigma=-1.0"),
        ({"device": "meta"}, ValueError, "device='meta'; choose 'cpu', 'cuda' or None"),
        ({"on_epoch_end": 3}, TypeError, "on_epoch_end: 3 cannot be called"),
        ({"on_epoch_end": [print, 3]}, TypeError, "on_epoch_end: 3 cannot be called"),
    ],
)
def test_bad_arguments_are_named(few, change, error, complaint):
    with pytest.raises(error, match=complaint):
        train_classifier(few, **{**SMALL, **change})


def test_bad_data_and_latent_are_named(few):
    with pytest.raises(TypeError, match="data is a Tensor; give what load_images returns"):
        train_classifier(few.train_images, **SMALL)
    with pytest.raises(TypeError, match="data is a Tensor"):
        train_autoencoder(few.train_images, **SMALL)
    with pytest.raises(ValueError, match="latent=0"):
        train_autoencoder(few, latent=0, **SMALL)
    lacking = replace(few, train_labels=few.train_labels.clamp(max=8))
    with pytest.raises(ValueError, match=r"the training labels are .*each class from 0 to 9"):
        train_classifier(lacking, **SMALL)
    strange = replace(few, test_labels=few.test_labels + 1)
    with pytest.raises(ValueError, match=r"the test labels are .*10\]; give classes from 0 to 9"):
        train_classifier(strange, **SMALL)


@pytest.mark.parametrize("present", [range(1, 9), range(2), range(1)])
def test_a_test_set_without_some_class_goes_on_and_says_so(few, undisturbed, present):
    there = torch.isin(few.test_labels, torch.tensor(present))
    images, labels = few.test_images[there], few.test_labels[there]
    lacking = replace(few, test_images=images, test_labels=labels)
    auc = "NaN" if len(present) == 1 else f"the average over pairs of the {len(present)} others"
    with pytest.warns(
        UserWarning, match=f"no test image is of the classes .*_auc is {auc}"
    ) as said:
        run = train_classifier(lacking, **SMALL)
    assert len(said) == 1
    for name in ("train_loss", "train_roc_auc"):
        np.testing.assert_array_equal(
            run.history[name], undisturbed[train_classifier].history[name]
        )
    if len(present) == 1:
        assert np.isnan(run.history["test_roc_auc"]).all()
        return
    # Hand and Till: of each pair of classes, how well the probability of either one tells them
    # apart. 1e-3 of noise moves few of the ranks.
    probabilities = layer_outputs(run.model, images, rng=0)["exp(layer 5)"].astype(float)
    labels = labels.numpy()
    areas = []
    for one, other in itertools.permutations(present, 2):
        pair = np.isin(labels, [one, other])
        areas.append(roc_auc_score(labels[pair] == one, probabilities[pair, one]))
    assert run.history["test_roc_auc"][-1] == pytest.approx(np.mean(areas), abs=1e-3)


def test_a_loss_that_is_not_finite_ends_the_training(few):
    broken = replace(few, train_images=few.train_images * float("nan"))
    for train in TRAIN.values():
        with pytest.raises(FloatingPointError, match="train loss is nan in epoch 1; try a lower"):
            train(broken, **SMALL)


# What a run shows


def test_a_run_describes_itself(undisturbed):
    assert repr(undisturbed[train_autoencoder]).startswith("TrainingRun(Autoencoder, 4 epochs: ")


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_shown_only_on_request(few, capsys, progress):
    train_autoencoder(few, **{**SMALL, "epochs": 1}, progress=progress)
    shown = capsys.readouterr().err
    assert ("autoencoder" in shown and "loss=" in shown) if progress else shown == ""


# Layer outputs


@pytest.fixture(scope="module")
def classifier(undisturbed):
    return undisturbed[train_classifier].model


def test_layer_outputs_are_flat_arrays(few, classifier):
    outputs = layer_outputs(classifier, few.test_images, batch_size=70)
    assert {name: layer.shape for name, layer in outputs.items()} == {
        "layer 1": (200, 8 * 13 * 13),
        "layer 2": (200, 16 * 5 * 5),
        "layer 3": (200, 32),
        "layer 4": (200, 32),
        "layer 5": (200, 10),
        "exp(layer 5)": (200, 10),
    }
    assert all(layer.dtype == np.float32 for layer in outputs.values())


def test_layer_outputs_follow_rng_and_keep_the_mode(few, classifier):
    first = layer_outputs(classifier, few.test_images, rng=0)
    again = layer_outputs(classifier, few.test_images, rng=0)
    other = layer_outputs(classifier, few.test_images, rng=1)
    np.testing.assert_array_equal(first["layer 2"], again["layer 2"])
    assert (first["layer 2"] != other["layer 2"]).any()
    classifier.train()
    try:
        in_training = layer_outputs(classifier, few.test_images, rng=0)
        assert classifier.training
    finally:
        classifier.eval()
    # Evaluation all the same: no dropout.
    np.testing.assert_array_equal(first["layer 2"], in_training["layer 2"])


def test_layer_outputs_do_not_depend_on_batches_but_for_the_noise(few, undisturbed):
    quiet = train_classifier(few, **{**SMALL, "epochs": 1, "noise": 0.0}).model
    whole = layer_outputs(quiet, few.test_images, batch_size=200)
    parts = layer_outputs(quiet, few.test_images, batch_size=33)
    for name in whole:
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-4, atol=1e-5)
