"""Layers as they come: those that can be measured are, and the others are marked, with a note."""

from __future__ import annotations

import warnings
from collections import namedtuple
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from trained import plane_of
from watched import seeded

from utils import (
    WKL,
    SMICompressor,
    mutual_information_of_slices,
    sliced_mutual_information,
)
from utils.information_plane import InformationPlane
from utils.plotting import plot_information_over_epochs, plot_information_planes
from utils.results import load_results, save_results
from utils.training import train_classifier
from utils.validation import UnmeasurableError

Estimate = namedtuple("Estimate", "value std_error")
LAYERS = ["layer 1", "layer 2", "layer 3", "layer 4", "layer 5", "exp(layer 5)"]
SMALL = {"learning_rate": 1e-3, "batch_size": 300, "rng": 3}


def spread(layer):
    return {"spread": Estimate(float(layer.std()), abs(float(layer.mean())))}


N = 100
QUANTITIES = ("information_x", "information_y")


class Given(torch.nn.Module):
    """A network whose layers are given: one to be tried, and one that is in order."""

    def __init__(self, layer):
        super().__init__()
        self.tried, self.sound = torch.nn.Identity(), torch.nn.Identity()
        self.given = layer

    def forward(self, images):
        return self.tried(self.given), self.sound(seeded(1, N, 5))


def activations(*shape):
    return seeded(0, N, *shape)


def with_value(value):
    layer = activations(8)
    layer[3, 2] = value
    return layer


def by_slices(images, labels):
    """As the notebook by SMI measures."""
    estimator = WKL(k=5, weights=("mutinfo", "kth"))
    slices = SMICompressor(28 * 28, 10, rng=0)(images)
    return InformationPlane(
        lambda layer: mutual_information_of_slices(
            slices,
            SMICompressor(layer.shape[1], 10, rng=1)(layer),
            estimator=estimator,
            rng=0,
        ),
        partial(
            sliced_mutual_information,
            y=labels,
            y_discrete=True,
            estimator=estimator,
            n_projections=10,
            rng=0,
        ),
        layers=["tried", "sound"],
    )


def by_components(images, labels):
    """As the notebook by autoencoder + PCA measures, with components for the autoencoder's code."""
    estimator = WKL(k=5, weights=("mutinfo", "kth"))
    pca = PCA(4, random_state=0)
    codes = pca.fit_transform(images.flatten(1))
    return InformationPlane(
        lambda layer: estimator.mutual_information(codes, pca.fit_transform(layer), rng=0),
        lambda layer: estimator.mutual_information_labels(pca.fit_transform(layer), labels, rng=0),
        layers=["tried", "sound"],
    )


both_ways = pytest.mark.parametrize("way", [by_slices, by_components])
MEASURABLE = {
    "most units dead": lambda: torch.cat([activations(5), torch.full((N, 40), 0.1)], 1),
    "float16": lambda: activations(8).half(),
    "bfloat16": lambda: activations(8).bfloat16(),
    "float64": lambda: activations(8).double(),
    "wider than samples": lambda: activations(8, 13, 13),
    "unlike units": lambda: activations(8) * torch.logspace(-6, 6, 8),
}


@both_ways
@pytest.mark.parametrize("case", MEASURABLE)
def test_layers_that_can_be_measured_are(few, way, case):
    plane = way(few.test_images, few.test_labels)
    plane(1, Given(MEASURABLE[case]()), few)
    results = plane.results()
    for quantity in QUANTITIES:
        assert np.isfinite(results[quantity]).all()
    assert [note for note in results["notes"] if "not measured" in note["note"]] == []


@both_ways
def test_a_saturated_layer_is_measured_or_marked_and_what_was_done_is_noted(few, way):
    # The probabilities of a network that is sure of itself: in float32 exactly 0 and 1, mostly.
    logits = 1000 * torch.nn.functional.one_hot(few.test_labels, 10) + 20 * activations(10)
    plane = way(few.test_images, few.test_labels)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        plane(1, Given(logits.softmax(1)), few)
    results = plane.results()
    assert {note["layer"] for note in results["notes"]} <= {"tried"}
    assert len(warned) == len({note["quantity"] for note in results["notes"]})
    for quantity in QUANTITIES:
        notes = [note["note"] for note in results["notes"] if note["quantity"] == quantity]
        if way is by_slices:
            assert any("repeat others, too many" in note for note in notes)
            assert np.isnan(results[quantity][:, 0]).all()  # the layer "tried"
        # Components of equal rows may differ by rounding, which is beyond telling apart.
        elif np.isnan(results[quantity]).any():
            assert any("recorded as NaN" in note for note in notes)


UNMEASURABLE = {
    "all units dead": (lambda: torch.zeros(N, 32), "constant"),
    "stuck at one value": (lambda: torch.full((N, 32), 0.1), "constant"),
    "NaN": (lambda: with_value(float("nan")), "not finite"),
    "infinity": (lambda: with_value(float("-inf")), "not finite"),
    "float16 that overflowed": (lambda: (activations(8) * 1e5).half(), "not finite"),
}


@both_ways
@pytest.mark.parametrize("case", UNMEASURABLE)
def test_a_layer_that_cannot_be_measured_is_marked_and_the_others_are_measured(few, way, case):
    layer, reason = UNMEASURABLE[case]
    plane = way(few.test_images, few.test_labels)
    with pytest.warns(UserWarning) as warned:
        for epoch in (1, 2, 3):
            plane(epoch, Given(layer()), few)
    # Once for each of the two quantities, not once an epoch.
    assert len(warned) == 2
    assert all("recorded as NaN" in str(one.message) for one in warned)
    results = plane.results()
    for quantity in QUANTITIES:
        for name in (quantity, f"{quantity}_error"):
            assert np.isnan(results[name][:, 0]).all()
            assert np.isfinite(results[name][:, 1]).all()
    assert [(note["epoch"], note["layer"], note["quantity"]) for note in results["notes"]] == [
        (epoch, "tried", quantity) for epoch in (1, 2, 3) for quantity in QUANTITIES
    ]
    assert all(reason in note["note"] for note in results["notes"])


@both_ways
def test_a_missing_class_is_one_class_less(few, way):
    lacking = replace(few, test_labels=few.test_labels.clamp(max=8))
    plane = way(few.test_images, lacking.test_labels)
    plane(1, Given(activations(8)), lacking)
    assert np.isfinite(plane.results()["information_y"]).all()
    assert plane.results()["notes"] == []


@both_ways
def test_a_class_of_too_few_samples_leaves_the_information_about_the_images(few, way):
    labels = few.test_labels.clamp(max=8)
    labels[:2] = 9
    plane = way(few.test_images, labels)
    with pytest.warns(UserWarning, match="class 9 .*has 2 samples, too few for"):
        plane(1, Given(activations(8)), few)
    results = plane.results()
    assert np.isfinite(results["information_x"]).all()
    assert np.isnan(results["information_y"]).all()
    assert [note["quantity"] for note in results["notes"]] == ["information_y"] * 2


def sometimes(layer, failing):
    if failing(layer):
        raise UnmeasurableError("all the same")
    return spread(layer)


def test_a_training_goes_on_and_its_checkpoint_carries_the_notes(few, tmp_path):
    def narrow(layer):
        return layer.shape[1] == 32 and len(calls) < 12

    calls = []
    about_y = lambda layer: (calls.append(1), sometimes(layer, narrow))[1]  # noqa: E731
    settings = {**SMALL, "checkpoint": tmp_path / "run.pt"}
    plane = plane_of(spread, about_y)
    with pytest.warns(UserWarning, match="information_y: not measured, recorded as NaN"):
        train_classifier(few, epochs=3, on_epoch_end=plane, **settings)
    results = plane.results()
    nan = np.isnan(results["information_y"][0])
    assert nan.sum() == 4 and nan[2:4, :2].all()
    assert np.isfinite(results["information_x"]).all()
    assert len(results["notes"]) == 4

    resumed = plane_of(spread, spread)
    train_classifier(few, epochs=4, on_epoch_end=resumed, **settings)
    assert resumed.results()["notes"] == results["notes"]
    save_results("plane", resumed.results(), settings={}, directory=tmp_path)
    saved = load_results("plane", directory=tmp_path).results
    assert saved["notes"] == results["notes"]
    np.testing.assert_array_equal(saved["information_y"][:, :, :3], results["information_y"])


def test_what_was_said_before_a_checkpoint_is_not_said_again(few, classifier):
    def fails(layer):
        raise UnmeasurableError("all the same")

    plane, resumed = plane_of(fails, spread), plane_of(fails, spread)
    with pytest.warns(UserWarning, match="all the same"):
        plane(1, classifier, few)
    resumed.load_state_dict(plane.state_dict())
    resumed(2, classifier, few)
    assert len(resumed.results()["notes"]) == 12


def test_epochs_without_any_measurable_layer_are_gaps(few, classifier):
    dead = plane_of(
        lambda layer: sometimes(layer, lambda _: dead.last_epoch < 1),
        lambda layer: sometimes(layer, lambda _: dead.last_epoch < 1),
    )
    with pytest.warns(UserWarning, match="all the same"):
        dead(1, classifier, few)
    dead(2, classifier, few)
    results = dead.results()
    assert results["rules"] == ["spread"]
    assert np.isnan(results["information_x"][0, :, 0]).all()
    assert np.isfinite(results["information_x"][0, :, 1]).all()


def test_an_estimate_that_is_not_finite_is_marked(few, classifier):
    def infinite(layer):
        return {"spread": Estimate(1.0, 0.1), "other": Estimate(float("-inf"), 0.0)}

    plane = plane_of(infinite, infinite)
    with pytest.warns(UserWarning, match="by the rule 'other' is -inf, recorded as NaN"):
        plane(1, classifier, few)
    results = plane.results()
    assert (results["information_x"][0] == 1.0).all()
    assert np.isnan(results["information_x"][1]).all()
    assert len(results["notes"]) == 12


def test_other_errors_and_other_warnings_are_left_as_they_are(few, classifier):
    def refuses(layer):
        raise ValueError("x has 3 samples and y has 4")

    with pytest.raises(ValueError, match="3 samples"):
        plane_of(spread, refuses)(1, classifier, few)

    def warns(layer):
        warnings.warn("divide by zero", RuntimeWarning, stacklevel=2)
        return spread(layer)

    plane = plane_of(spread, warns)
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        plane(1, classifier, few)
    assert plane.results()["notes"] == []


def test_gaps_are_drawn(few, classifier):
    plane = plane_of(spread, lambda layer: sometimes(layer, lambda x: x.shape[1] == 10))
    with pytest.warns(UserWarning, match="all the same"):
        for epoch in (1, 2):
            plane(epoch, classifier, few)
    rows = {"row": plane.results()}
    figure = plot_information_planes(
        rows, layers=LAYERS, rule="spread", title="", label_entropy=2.3
    )
    titles = [axis.get_title() for axis in figure.axes[:6]]
    assert titles == [*LAYERS[:4], *(f"{name}, 2 epochs not measured" for name in LAYERS[4:])]
    figure.canvas.draw()
    figure = plot_information_over_epochs(rows, rule="spread", title="")
    figure.canvas.draw()
