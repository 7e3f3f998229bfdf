"""Training: it learns, it repeats, it survives being killed, and nobody who watches disturbs it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from trained import SMALL, TRAIN, Recorder, assert_same_run, both_networks, layer_outputs

from utils.training import train_autoencoder, train_classifier

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
    layers = layer_outputs(reader.model, images)
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
        layer_outputs(run.model, few.test_images)
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


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"epochs": 0}, ValueError, "epochs=0 is too small; give at least 1"),
        ({"epochs": 2.5}, TypeError, r"epochs=2\.5 has type float"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan"),
        ({"noise": -1.0}, ValueError, "noise=-1.0; give a finite number"),
        ({"noise": "a"}, ValueError, "noise='a'; give"),
        ({"noise": float("inf")}, ValueError, "noise=inf; give"),
        ({"learning_rate": "a"}, ValueError, "learning_rate='a'; give"),
        ({"device": "gpu"}, ValueError, "device='gpu'; choose 'cpu', 'cuda'"),
        ({"device": 1.5}, ValueError, "device=1.5; choose"),
        ({"device": "meta"}, ValueError, "device='meta'; choose 'cpu', 'cuda'"),
        ({"on_epoch_end": 3}, TypeError, "on_epoch_end: 3 cannot be called"),
        ({"on_epoch_end": [print, 3]}, TypeError, "on_epoch_end: 3 cannot be called"),
    ],
)
def test_bad_arguments_are_named(few, change, error, complaint):
    with pytest.raises(error, match=complaint):
        train_classifier(few, **{**SMALL, **change})


def test_bad_data_and_latent_are_named(few):
    with pytest.raises(TypeError, match="data has type Tensor; give what load_images returns"):
        train_classifier(few.train_images, **SMALL)
    with pytest.raises(TypeError, match="data has type Tensor"):
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
    assert [warning.filename for warning in said] == [__file__]
    for name in ("train_loss", "train_roc_auc"):
        np.testing.assert_array_equal(
            run.history[name], undisturbed[train_classifier].history[name]
        )
    if len(present) == 1:
        assert np.isnan(run.history["test_roc_auc"]).all()
        return
    # Hand and Till: of each pair of classes, how well the probability of either one tells them
    # apart. 1e-3 of noise moves few of the ranks.
    probabilities = layer_outputs(run.model, images)["exp(layer 5)"].astype(float)
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


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_shown_only_on_request(few, capsys, progress):
    train_autoencoder(few, **{**SMALL, "epochs": 1}, progress=progress)
    shown = capsys.readouterr().err
    assert ("autoencoder" in shown and "loss=" in shown) if progress else shown == ""
