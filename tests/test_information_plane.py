"""The information plane: what is asked, when, of which layers, and how it is kept."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from trained import layer_outputs, plane_of

from utils.information_plane import InformationPlane
from utils.results import load_results, save_results
from utils.training import train_classifier

Estimate = namedtuple("Estimate", "value std_error")
LAYERS = ["layer 1", "layer 2", "layer 3", "layer 4", "layer 5", "exp(layer 5)"]
WIDTHS = [1352, 400, 32, 32, 10, 10]
SMALL = {"learning_rate": 1e-3, "batch_size": 300, "rng": 3}


class Counting:
    """An estimator whose answers say what it was asked, and how often."""

    def __init__(self, offset=0.0):
        self.calls = []
        self.offset = offset

    def __call__(self, layer):
        self.calls.append(layer)
        width = layer.shape[1] + self.offset
        return {"width": Estimate(width, 0.5), "call": Estimate(len(self.calls), width / 10)}


def test_each_layer_is_measured_at_each_chosen_epoch(few):
    about_x, about_y = Counting(), Counting(offset=1000)
    plane = plane_of(about_x, about_y, epochs=[1, 3, 4])
    train_classifier(few, epochs=5, on_epoch_end=plane, **SMALL)

    results = plane.results()
    assert results["epochs"].tolist() == [1, 3, 4]
    assert results["layers"] == LAYERS
    assert results["rules"] == ["width", "call"]
    for name in ("information_x", "information_x_error", "information_y", "information_y_error"):
        assert results[name].shape == (2, 6, 3)
    widths = np.repeat(np.array(WIDTHS, dtype=float)[:, None], 3, axis=1)
    np.testing.assert_array_equal(results["information_x"][0], widths)
    np.testing.assert_array_equal(results["information_y"][0], widths + 1000)
    np.testing.assert_array_equal(results["information_x_error"][0], np.full((6, 3), 0.5))
    np.testing.assert_array_equal(results["information_y_error"][1], (widths + 1000) / 10)
    # Layers in order within an epoch, epochs in order: call 1 to 6, 7 to 12, 13 to 18.
    calls = np.arange(1, 19).reshape(3, 6).T
    np.testing.assert_array_equal(results["information_x"][1], calls)
    np.testing.assert_array_equal(results["information_y"][1], calls)
    assert len(about_x.calls) == len(about_y.calls) == 18


def test_layers_are_read_again_and_checked_at_once(few, classifier):
    plane = InformationPlane(Counting(), Counting(), layers=(f"blocks.{i}" for i in range(3)))
    for epoch in (1, 2):
        plane(epoch, classifier, few)
    assert plane.results()["layers"] == ["blocks.0", "blocks.1", "blocks.2"]
    for layers in ("blocks.0", 3):
        with pytest.raises(TypeError, match="layers="):
            InformationPlane(Counting(), Counting(), layers=layers)


def test_both_functions_see_the_same_outputs_of_the_test_images(few, classifier):
    about_x, about_y = Counting(), Counting()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        plane_of(about_x, about_y)(1, classifier, few)
        torch.manual_seed(5)
        expected = layer_outputs(classifier, few.test_images)
    for layer, seen_by_x, seen_by_y in zip(
        expected.values(), about_x.calls, about_y.calls, strict=True
    ):
        np.testing.assert_array_equal(seen_by_x, layer)
        assert seen_by_x is seen_by_y


def test_without_a_choice_every_epoch_is_measured(few):
    plane = plane_of(Counting(), Counting())
    train_classifier(few, epochs=3, on_epoch_end=plane, **SMALL)
    assert plane.results()["epochs"].tolist() == [1, 2, 3]


def test_two_planes_see_one_and_the_same_training(few):
    # As the notebooks by SMI and by autoencoder do: other measurements, other epochs, which use
    # up random numbers of their own.
    def greedy(layer):
        return {"any": Estimate(float(torch.rand(1000).sum()), 0.0)}

    histories = [
        train_classifier(few, epochs=4, on_epoch_end=plane, **SMALL).history
        for plane in (
            plane_of(Counting(), Counting(), epochs=[1, 3]),
            plane_of(greedy, greedy),
            None,
        )
    ]
    for history in histories[1:]:
        for name in histories[0]:
            np.testing.assert_array_equal(histories[0][name], history[name], err_msg=name)


def spread(layer):
    return {"spread": Estimate(float(layer.std()), abs(float(layer.mean())))}


def test_a_recording_is_taken_up_from_a_checkpoint(few, tmp_path):
    alone = plane_of(spread, spread, epochs=range(1, 6, 2))
    train_classifier(few, epochs=5, on_epoch_end=alone, **SMALL)
    for epochs in (1, 4, 5):
        resumed = plane_of(spread, spread, epochs=range(1, epochs + 1, 2))
        train_classifier(
            few, epochs=epochs, on_epoch_end=resumed, checkpoint=tmp_path / "run.pt", **SMALL
        )
    assert resumed.state_dict() == alone.state_dict()
    assert resumed.results()["epochs"].tolist() == [1, 3, 5]


def test_a_recording_of_other_epochs_or_settings_is_refused(few, classifier):
    plane = plane_of(spread, spread, epochs=[1, 3], settings={"k": 5})
    for epoch in (1, 2, 3):
        plane(epoch, classifier, few)
    state = plane.state_dict()
    plane_of(spread, spread, epochs=[1, 3, 9], settings={"k": 5}).load_state_dict(state)
    for epochs in ([1, 2, 3], [1], None):
        other = plane_of(spread, spread, epochs=epochs, settings={"k": 5})
        with pytest.raises(ValueError, match=r"measured \[1, 3\] up to epoch 3; choose the same"):
            other.load_state_dict(state)
    other = plane_of(spread, spread, epochs=[1, 3], settings={"k": 6})
    with pytest.raises(ValueError, match=r"settings=\{'k': 6\}, but .* was made with \{'k': 5\}"):
        other.load_state_dict(state)


def test_a_state_does_not_change_after_it_was_taken(few, classifier):
    plane = plane_of(spread, spread)
    plane(1, classifier, few)
    state = plane.state_dict()
    plane(2, classifier, few)
    assert state["epochs"] == [1]
    assert len(state["values"]) == 1


def test_results_can_be_saved_and_are_the_callers_own(few, classifier, tmp_path):
    plane = plane_of(spread, spread)
    plane(1, classifier, few)
    results = plane.results()
    save_results("plane", results, settings={}, directory=tmp_path)
    loaded = load_results("plane", directory=tmp_path).results
    np.testing.assert_array_equal(loaded["information_x"], results["information_x"])
    results["information_x"][:] = 0
    assert (plane.results()["information_x"] != 0).all()


def test_before_the_first_measurement_there_are_empty_results():
    results = plane_of(spread, spread).results()
    assert results["epochs"].shape == (0,)
    assert results["information_x"].shape == (0, 0, 0)
    assert results["layers"] == results["rules"] == []


def test_a_failing_estimate_raises_says_where_and_leaves_the_recording_whole(few, classifier):
    def fail(layer):
        if layer.shape[1] == 32 and fail.now:
            raise ZeroDivisionError("constant column")
        return spread(layer)

    fail.now = False
    plane = plane_of(spread, fail)
    plane(1, classifier, few)
    fail.now = True
    with pytest.raises(ZeroDivisionError, match="constant column") as failure:
        plane(2, classifier, few)
    assert failure.value.__notes__ == ["while measuring 'layer 3' after epoch 2"]
    assert plane.results()["epochs"].tolist() == [1]
    assert plane.results()["information_x"].shape == (1, 6, 1)


def test_both_functions_must_give_the_same_rules(few, classifier):
    plane = plane_of(spread, Counting())
    with pytest.raises(ValueError, match=r"estimate_y gave .*\['call', 'width'\] instead of"):
        plane(1, classifier, few)


def test_a_used_plane_is_not_for_a_second_training(few):
    plane = plane_of(spread, spread)
    train_classifier(few, epochs=2, on_epoch_end=plane, **SMALL)
    with pytest.raises(ValueError, match=r"epoch=1, but .* seen epoch 2; make a new one"):
        train_classifier(few, epochs=2, on_epoch_end=plane, **SMALL)


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match="estimate_y=3 cannot be called"):
        plane_of(spread, 3)
    with pytest.raises(TypeError, match="epochs=3 is not several numbers"):
        plane_of(spread, spread, epochs=3)
    with pytest.raises(ValueError, match="element of epochs=-1 is too small; give at least 0"):
        plane_of(spread, spread, epochs=[-1, 1])
    with pytest.raises(TypeError, match=r"element of epochs=1\.5 has type float"):
        plane_of(spread, spread, epochs=[1, 1.5])


@pytest.mark.parametrize(
    ("epoch", "error", "message"),
    [(0.5, TypeError, "epoch=0.5 has type float"), (-1, ValueError, "epoch=-1 is too small")],
)
def test_an_epoch_is_a_whole_number(few, classifier, epoch, error, message):
    with pytest.raises(error, match=message):
        plane_of(spread, spread)(epoch, classifier, few)


def test_epochs_may_come_one_by_one(few, classifier):
    plane = plane_of(spread, spread, epochs=(epoch for epoch in (1, 3)))
    for epoch in np.arange(1, 4):
        plane(epoch, classifier, few)
    assert plane.results()["epochs"].tolist() == [1, 3]


def test_measures_that_return_numbers_and_missing_data_are_told(few, classifier):
    with pytest.raises(TypeError, match=r"returned 1\.0; let it return an estimate"):
        plane_of(lambda layer: 1.0, spread)(1, classifier, few)
    with pytest.raises(TypeError, match="data=None; give the images"):
        plane_of(spread, spread)(1, classifier)
