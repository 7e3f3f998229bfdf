"""Checkpoints: a training goes on where it stopped, and takes no file that is not its own."""

from __future__ import annotations

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
from torch import nn
from trained import SMALL, Recorder, assert_same_run, both_networks

from utils.checkpoints import CHECKPOINT_FORMAT
from utils.information_plane import InformationPlane
from utils.networks import GaussianNoise
from utils.training import train_autoencoder, train_classifier

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


def test_an_interrupt_while_saved_epochs_are_shown_says_how_to_go_on(few, tmp_path):
    settings = {**SMALL, "checkpoint": tmp_path / "run.pt"}
    train_classifier(few, **settings)
    late = Recorder("late")

    def interrupted(epoch, model, data):
        if epoch == 3:
            raise KeyboardInterrupt
        late(epoch, model, data)

    interrupted.name, interrupted.last_epoch = "late", 0
    interrupted.state_dict, interrupted.load_state_dict = late.state_dict, late.load_state_dict
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 4 of 4 epochs.* resumes"):
        train_classifier(few, **settings, on_epoch_end=interrupted)


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
    arguments = {**SMALL, "epochs": 2}
    made_otherwise = {**arguments, "rng": 7}
    arguments["checkpoint"] = checkpoint = tmp_path / "run.pt"
    train_classifier(few, **made_otherwise, checkpoint=checkpoint)
    run = train_classifier(few, **arguments, overwrite=True)
    assert_same_run(run, train_classifier(few, **{**SMALL, "epochs": 2}))
    # A recording made otherwise is made again, from the same training.
    first = InformationPlane(spread, spread, settings={"k": 5})
    train_classifier(few, **arguments, on_epoch_end=first)
    other = InformationPlane(spread, spread, settings={"k": 6})
    with pytest.raises(ValueError, match=r"made with \{'k': 5\}"):
        train_classifier(few, **arguments, on_epoch_end=other)
    train_classifier(few, **arguments, on_epoch_end=other, overwrite=True)
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
    with pytest.raises(ValueError, match="training images was 400 and is now 4000"):
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
