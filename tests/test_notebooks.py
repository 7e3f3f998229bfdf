"""Every notebook, run top to bottom at a tiny size, in a folder of its own."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from utils import KSG, WKL, load_results, parameters, summaries
from utils.profiles import settings_of

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted([*ROOT.glob("*.ipynb"), *ROOT.glob("examples/*.ipynb")])


def run_notebook(name, folder, **parameters):
    """Run a notebook in `folder`, and return its path there."""
    results = folder / "results"
    results.mkdir(exist_ok=True)
    for given in ("paper", "published"):
        if not (results / given).exists():
            (results / given).symlink_to(ROOT / "results" / given)
    output = folder / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", str(ROOT / f"{name}.ipynb"), str(output)]
    command += ["--kernel", "python3", "--cwd", str(folder), "-y", json.dumps(parameters)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return output


@pytest.fixture(scope="module")
def mnist_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    run_notebook("MNIST-SMI", folder, PROFILE="tiny")
    return folder


@pytest.mark.long
def test_the_synthetic_notebook_runs_and_saves_what_it_shows(tmp_path):
    run_notebook("Synthetic_tests_SMI", tmp_path, PROFILE="tiny")
    tiny = tmp_path / "results" / "tiny"
    for distribution in ("normal", "cubed"):
        saved = load_results(f"synthetic_{distribution}", directory=tiny)
        assert saved.results["done"].all()
        assert saved.settings["n_samples"] == settings_of("tiny", "synthetic")["n_samples"]
    for name in ("estimators", "estimators_uncorrelated", "truth_uncorrelated"):
        assert load_results(name, directory=tiny).results["done"].all()
    for figure in (
        "figure_1",
        "figure_1b",
        "figure_2",
        "figure_2_continued",
        "weight_norms",
        "when_smi_misleads",
    ):
        assert (tiny / f"{figure}.png").stat().st_size > 10_000
        assert (tiny / f"{figure}.pdf").exists()


@pytest.mark.long
def test_the_smi_notebook_measures_the_layers(mnist_folder):
    plane = load_results("mnist_smi", directory=mnist_folder / "results/tiny").results["plane"]
    assert plane["epochs"].tolist() == [0, 1, 3]
    assert plane["information_y"].shape == (2, 6, 3)
    assert np.isfinite(plane["information_x"]).all()


def results_of(name, folder):
    return load_results(name, directory=folder / "results/tiny").results


def assert_same_training(one, other):
    for name, values in one["history"].items():
        if not name.startswith("train_eval"):  # which only one notebook asks for
            np.testing.assert_array_equal(values, other["history"][name])


@pytest.mark.long
def test_both_mnist_notebooks_see_one_training_and_its_figure_is_drawn(mnist_folder):
    run_notebook("MNIST-AEMI", mnist_folder, PROFILE="tiny")
    assert_same_training(
        results_of("mnist_smi", mnist_folder), results_of("mnist_aemi", mnist_folder)
    )
    run_notebook("Plotting_MI_SMI", mnist_folder, PROFILE="tiny")
    assert (mnist_folder / "results/tiny/figure_3_mutinfo.png").stat().st_size > 10_000


@pytest.mark.long
def test_a_training_is_the_same_where_no_checkpoint_is_left(mnist_folder, tmp_path):
    for folder in (mnist_folder, tmp_path):
        run_notebook("MNIST-AEMI", folder, PROFILE="tiny")
    alone, beside = (results_of("mnist_aemi", folder) for folder in (tmp_path, mnist_folder))
    assert_same_training(alone, beside)
    for name in ("information_x", "information_y"):
        np.testing.assert_array_equal(alone["plane"][name], beside["plane"][name])


@pytest.mark.long
def test_the_quick_information_plane_tells_the_story(tmp_path):
    run_notebook("MNIST-SMI", tmp_path, PROFILE="quick")
    plane = load_results("mnist_smi", directory=tmp_path / "results/quick").results["plane"]
    at = plane["rules"].index("kth"), plane["layers"].index("layer 5")
    information, error = plane["information_y"][at], plane["information_y_error"][at]
    assert information[-1] - information[0] > 5 * np.hypot(error[0], error[-1])
    points = np.stack([plane["information_x"][at], information], axis=1)
    assert len(np.unique(points.round(3), axis=0)) >= 8


def test_the_full_runs_are_of_one_training():
    smi, aemi, trainings = (
        load_results(f"mnist_{name}", directory=ROOT / "results/paper").results
        for name in ("smi", "aemi", "trainings")
    )
    for history in (aemi["history"], trainings["histories"]["this training"]):
        for name in ("train_loss", "test_loss", "test_accuracy", "test_roc_auc"):
            np.testing.assert_array_equal(history[name], smi["history"][name])


def test_the_ends_of_trainings_fit_a_page():
    histories = load_results("mnist_trainings", directory=ROOT / "results/paper").results[
        "histories"
    ]
    table = summaries.classifier_ends(histories, summaries.published("figure_3"))
    for name, history in histories.items():
        assert table.loc[name, ("test images", "accuracy")] == f"{history['test_accuracy'][-1]:.3f}"
    assert table.loc["published", ("test images", "accuracy")] == ""  # which it does not tell
    assert len(table.to_string().splitlines()[1]) < 100


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_text_of_a_notebook_is_short(path):
    cells = json.loads(path.read_text())["cells"]
    text = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert len(text.split()) <= 1200


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_as_run_and_define_nothing(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    n_parameter_cells = sum("parameters" in cell["metadata"].get("tags", []) for cell in cells)
    # A page of saved tables has nothing to set.
    assert n_parameter_cells == (path.stem != "Which_estimator")
    for cell in cells:
        lines = "".join(cell["source"]).splitlines()
        assert len(lines) <= 20
        assert sum(line.startswith(("import ", "from ")) for line in lines) <= 8
        assert len(lines) <= 12 or "parameters" not in cell["metadata"].get("tags", [])
        kinds = {output["output_type"] for output in cell["outputs"]}
        assert "error" not in kinds
        # Training prints nothing there.
        assert path.stem != "Your_network" or "stream" not in kinds
        assert not any(line.startswith(("def ", "class ")) for line in cell["source"])
        if "save_figure" in "".join(cell["source"]):
            assert any("image/png" in output.get("data", {}) for output in cell["outputs"])
        # Which only the paper profile writes.
        assert not any("save_" in line and "results/paper" in line for line in lines)


def test_the_tables_of_the_choice_of_estimator_are_those_of_the_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    notebook = json.loads((ROOT / "examples/Which_estimator.ipynb").read_text())
    shell, n_tables = InteractiveShell(), 0
    shell.run_cell("from utils import summaries").raise_error()
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "summaries.benchmark" not in source:
            continue
        tables = [out for out in cell["outputs"] if out["output_type"] == "execute_result"]
        if not tables:  # a figure, which is drawn elsewhere
            continue
        with capture_output(), pd.option_context("display.width", 80, "display.max_columns", 20):
            shown = repr(shell.run_cell(source).result)
        assert shown == "".join(tables[0]["data"]["text/plain"])
        n_tables += 1
    assert n_tables > 5


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("profiles.settings_of('quik', 'synthetic')", "profile='quik' is unknown; choose among"),
        ("profiles.load_run('quick', 'mnist_aemi')", "There are no results of MNIST-AEMI"),
        ("style.index_of('x', ['kth'], 'RULE')", "RULE='x' is not in these"),
    ],
)
def test_wrong_parameters_and_missing_runs_are_told_in_one_sentence(
    code, sentence, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with capture_output() as shown:
        InteractiveShell().run_cell(
            f"from utils import profiles\nfrom utils.plotting import style\n{code}"
        )
    (line,) = shown.stdout.strip().splitlines()
    assert line.startswith(sentence)
    assert shown.stderr == ""


# Two wrong values of every parameter.
WRONG = {
    "PROFILE": ("quik", 3),
    "DISTRIBUTIONS": ("normal", ("normal", "gamma")),
    "ESTIMATORS": ("(KSG, Copula())", "KSG(5)"),
    "FIGURE_1_DIMS": ((), (1, 7)),
    "K": (0, 2.5),
    "SEED": (-1, None),
    "NOISE": (-1, "a lot"),
    "DEVICE": ("gpu", 1.5),
    "COMPRESSION": ("PCA", None),
    "DIMENSIONS": (0, 500),
    "RULE": ("kht", ["kth"]),
    "SMOOTHING": (-0.5, "none"),
}


def parameter_names(cell):
    return [node.targets[0].id for node in ast.parse(cell).body]


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_wrong_parameter_is_told_in_one_sentence(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    at = ["parameters" in cell["metadata"].get("tags", []) for cell in cells].index(True)
    imports, given, first = sources[at - 1 : at + 2]
    assert first.startswith("parameters.check(")
    shell = InteractiveShell()
    shell.run_cell(imports).raise_error()
    for name in parameter_names(given):
        for wrong in WRONG[name]:
            value = wrong if name == "ESTIMATORS" else repr(wrong)
            with capture_output() as shown:
                shell.run_cell(f"{given}\n{name} = {value}")
                shell.run_cell(first)
            (line,) = shown.stdout.strip().splitlines()
            assert re.match(rf"{name} = .* does not work; give .+", line)
            assert shown.stderr == ""


def test_every_parameter_that_the_notebooks_suggest_works():
    for k in (1, 5, 25):
        parameters.check(PROFILE="quick", K=k, NOISE=0, SEED=1, DEVICE="cpu", DIMENSIONS=2)
    for names in (("normal", "uniform"), ["sign-flipped", "squared", "cubed"]):
        parameters.check(PROFILE="paper", DISTRIBUTIONS=names, FIGURE_1_DIMS=(1, 100))
    for estimator in (WKL(5, ("mutinfo", "kth")), KSG(25), lambda x, y: 0.0):
        parameters.check(PROFILE="quick", ESTIMATORS=(estimator,))
    for smoothing in (0, 1.5):
        parameters.check(PROFILE="tiny", RULE="kth", COMPRESSION="first", SMOOTHING=smoothing)


@pytest.mark.long
def test_make_figures_says_in_one_sentence_what_is_missing(tmp_path):
    name = "Plotting_MI_SMI.ipynb"
    shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/paper").symlink_to(ROOT / "results/paper")
    for profile, sentence in (
        ("quik", "PROFILE = 'quik' does not work; give"),
        ("tiny", "There are no results of MNIST-SMI.ipynb with PROFILE = 'tiny'"),
    ):
        done = subprocess.run(
            [sys.executable, ROOT / ".ci/figures.py", profile, name],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stdout == f"{name}\n"
        # Beside it there is a progress bar, and nothing else: no traceback, no warning.
        *bar, line = filter(None, done.stderr.splitlines())
        assert all(state.startswith("Executing") for state in bar)
        assert line.startswith(sentence)
