"""Explorers, driven without a browser: every control, every value."""

import base64
import ctypes
import gc
import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import MethodType

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.artist import Artist
from PIL import Image

from utils import CorrelatedNormal, load_results
from utils.explorers import explore_misleading, explore_slices, explore_smi, explore_training

ROOT = Path(__file__).parents[1]


def training():
    results = {
        name: load_results(f"mnist_{name}", directory=ROOT / "results/paper").results
        for name in ("aemi", "smi")
    }
    rows = {name.upper(): saved["plane"] for name, saved in results.items()}
    return explore_training(rows, history=results["smi"]["history"])


def slices():
    return explore_slices(*CorrelatedNormal(3.0, 5, 4, rng=0).sample(3000, rng=1))


def labelled_slices():
    x, y = CorrelatedNormal(3.0, 5, 1, rng=0).sample(600, rng=1)
    return explore_slices(x, np.where(y[:, 0] > 0, "positive", "negative"), y_discrete=True)


EXPLORERS = (explore_smi, explore_misleading, training, slices, labelled_slices)


@pytest.fixture(scope="module", params=EXPLORERS, ids=lambda make: make.__name__)
def explorer(request):
    """One explorer for all tests, which leave its controls where they were."""
    return request.param()


def values_of(control):
    """Every value that a control can be moved to."""
    if isinstance(control, widgets.SelectMultiple):
        return [(), *((option,) for option in control.options), tuple(control.options)]
    if hasattr(control, "options"):
        # A choice, or its name and the choice.
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    n_steps = round((control.max - control.min) / control.step)
    return [control.min + step * control.step for step in range(n_steps + 1)]


def assert_finite(numbers):
    for value in numbers.values():
        if value is not None:
            assert np.isfinite(getattr(value, "value", value)).all()


def move_through(explorer, values_of):
    """Move every control; the picture must follow, and come back."""
    for control in explorer.controls.values():
        start, start_picture = control.value, explorer.picture
        for value in values_of(control):
            control.value = value
            assert_finite(explorer.shown)
            assert (explorer.picture == start_picture) == (value == start)
        control.value = start
        assert explorer.picture == start_picture


def test_every_control_changes_the_picture(explorer):
    move_through(explorer, lambda control: [values_of(control)[0], values_of(control)[-1]])


@pytest.mark.long
def test_every_control_goes_through_every_value(explorer):
    move_through(explorer, values_of)


@pytest.mark.parametrize("estimator", ["Copula", "KSG", "WKL", "Gaussian"])
def test_the_estimate_agrees_with_the_exact_value(estimator):
    explorer = explore_smi()
    explorer.controls["estimator"].value = estimator
    for dim in (1, 3):
        explorer.controls["dim"].value = dim
        estimate, exact = explorer.shown["estimate"], explorer.shown["exact"]
        assert exact == CorrelatedNormal(2.0, dim, dim).sliced_mutual_information
        # 0.02: the bias of WKL at k = 5 and 1000 samples, about 0.015; that of others is less.
        assert abs(estimate.value - exact) < 4.0 * estimate.std_error + 0.02


def test_misleading_data_keep_their_mutual_information_and_change_the_sliced():
    explorer = explore_misleading()
    shown = {}
    for dim, repetitions in ((1, 1), (10, 1), (10, 20)):
        explorer.controls["dim"].value = dim
        explorer.controls["repetitions"].value = repetitions
        estimate, exact = explorer.shown["estimate"], explorer.shown["exact"]
        # 0.005: the bias of Copula at 1000 samples is less than half of it.
        assert abs(estimate.value - exact) < 4.0 * estimate.std_error + 0.005
        shown[dim, repetitions] = exact
    assert shown[1, 1] == pytest.approx(1.0)
    assert shown[10, 1] < 0.01 < 0.1 < shown[10, 20]


def test_the_slices_are_in_order_and_carry_more_than_permuted_ones():
    shown = slices().shown
    for values in shown.values():
        assert (np.diff(values) <= 0).all()
    assert shown["values"][0] > 10 * shown["permuted"][0]


def test_normal_classes_are_among_the_estimators_of_labels():
    explorer = labelled_slices()
    explorer.controls["estimator"].value = "Gaussian"
    assert explorer.shown["values"][0] > explorer.shown["permuted"][0]


def test_one_output_has_the_widget_and_the_picture(explorer):
    data, _ = DisplayFormatter().format(explorer)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.widget.model_id
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.size == (1000, 360)
    assert data["text/plain"] == repr(explorer)
    assert repr(explorer).startswith("Explorer(")


@pytest.mark.long
def test_a_static_page_shows_the_picture(tmp_path):
    cells = ["from utils.explorers import explore_smi\nexplore_smi()"]
    cells += ["from tqdm.notebook import tqdm\nfor i in tqdm(range(2)):\n    pass"]
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for source in cells
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    path = tmp_path / "page.ipynb"
    path.write_text(json.dumps(notebook))
    # The kernel starts in the notebook's folder.
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    nbconvert = [sys.executable, "-m", "nbconvert", str(path), "--to"]
    for command in (
        [*nbconvert, "notebook", "--inplace", "--execute"],
        [sys.executable, str(ROOT / ".ci/static_outputs.py"), str(path)],
        [*nbconvert, "html"],
    ):
        subprocess.run(command, check=True, capture_output=True, env=environment)
    first, second = json.loads(path.read_text())["cells"]
    (output,) = first["outputs"]
    assert set(output["data"]) == {"image/png", "text/plain"}
    assert second["outputs"] == []
    page = path.with_suffix(".html").read_text()
    assert page.count("data:image/png;base64," + output["data"]["image/png"].strip()) == 1
    assert "widget-view" not in page


def _n_kept():
    """How many artists, widgets and bound methods, such as callbacks, there are."""
    # By type: `isinstance` asks modules that load their parts on demand for a class.
    types = [type(thing) for thing in gc.get_objects()]
    return tuple(
        sum(issubclass(each, kind) for each in types)
        for kind in (Artist, widgets.Widget, MethodType)
    )


def test_nothing_is_kept_of_earlier_pictures():
    explorer = training()
    epochs = explorer.controls["epoch"]
    counts, figures = set(), plt.get_fignums()
    for epoch in epochs.options[:4]:
        epochs.value = epoch
        gc.collect()
        counts.add(_n_kept())
    # Ticks come and go with the limits, which do not change here.
    assert len(counts) == 1
    assert plt.get_fignums() == figures


@pytest.mark.long
def test_five_hundred_moves_leave_nothing_behind(explorer):
    controls = list(explorer.controls.values())
    figures = plt.get_fignums()
    # The number of pictures matters, not the data in them.
    start = {name: control.value for name, control in explorer.controls.items()}
    for name in {"n_samples", "n_projections"} & explorer.controls.keys():
        explorer.controls[name].value = explorer.controls[name].options[0]
    # Every value once, so that what is kept for each of them is there.
    move_through(explorer, values_of)

    def moved(n_moves):
        done = 0
        while done < n_moves:
            for control in controls:
                start = control.value
                for value in [*values_of(control)[:10], start]:
                    control.value = value
                    done += 1
        gc.collect()
        return _n_kept(), _resident()

    kept, memory = moved(100)
    more_kept, more_memory = moved(500)
    assert more_kept == kept
    assert plt.get_fignums() == figures
    # 20 MB: a picture of 1000 x 360 takes 1.4, so that 500 of them would take 700.
    print(f"{more_memory - memory:.1f} MB")
    assert more_memory - memory < 20
    for name, value in start.items():
        explorer.controls[name].value = value


def _resident():
    """Memory of this process in MB, without what the allocator keeps for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024.0
    raise AssertionError("no VmRSS")


@pytest.mark.long
def test_moves_are_quick(explorer):
    # 0.2 s of an idle core is the aim; tests share theirs. Processor time, for the same reason.
    control = next(iter(explorer.controls.values()))
    begin, seconds = control.value, []
    for value in values_of(control)[:5] * 2:
        start = time.process_time()
        control.value = value
        seconds.append(time.process_time() - start)
    control.value = begin
    print(f"median {statistics.median(seconds):.3f} s")
    assert statistics.median(seconds) < 0.8


def test_what_cannot_be_measured_is_said_in_the_picture():
    x = np.random.default_rng(0).standard_normal((600, 3))
    # A rare class has too few samples among 100, and enough among 600.
    labels = (np.arange(600) % 60 == 0).astype(int)
    explorer = explore_slices(x, labels, y_discrete=True)
    start = explorer.picture
    explorer.controls["n_samples"].value = 100
    assert explorer.picture != start
    explorer.controls["n_samples"].value = 600
    assert explorer.picture == start


def plane(**changes):
    values = np.zeros((1, 2, 3))
    names = ("information_x", "information_x_error", "information_y", "information_y_error")
    results = {"epochs": [1, 2, 3], "layers": ["a", "b"], "rules": ["kth"]}
    return results | dict.fromkeys(names, values) | changes


def test_a_training_needs_neither_metrics_nor_every_value():
    gap = np.array([[[0.1, np.nan, 0.3], [0.2, 0.3, 0.4]]])
    explorer = explore_training({"SMI": plane(information_x=gap, epochs=np.array([0, 2, 4]))})
    assert explorer.controls["epoch"].options == (0, 2, 4)
    move_through(explorer, values_of)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "rows is empty"),
        ({"a": plane(), "b": plane(layers=["a", "c"])}, "one network"),
        ({"a": plane(), "b": plane(rules=["mutinfo"])}, "weight rules"),
        ({"a": plane(), "b": plane(epochs=[4, 5, 6])}, "no epoch in common"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        explore_training(rows)


def test_arrays_that_cannot_be_measured_are_refused():
    x = np.random.default_rng(0).standard_normal((50, 2))
    with pytest.raises(ValueError, match="x has 50 samples and y has 40"):
        explore_slices(x, x[:40])
    with pytest.raises(TypeError, match="y_discrete=True"):
        explore_slices(x, np.arange(50) % 2)
