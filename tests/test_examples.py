"""The examples run wherever they and the clone are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "Your_network.ipynb"


@pytest.mark.long
@pytest.mark.parametrize("folder", [ROOT, ROOT / "examples"], ids=["clone", "examples"])
def test_your_network_runs_from_either_folder(folder, tmp_path):
    output = tmp_path / "run.ipynb"
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), str(output)]
    command += ["--kernel", "python3", "--cwd", str(folder), "-p", "EPOCHS", "1"]
    command += ["-p", "N_PROJECTIONS", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    pictures = [
        item
        for cell in json.loads(output.read_text())["cells"]
        for item in cell.get("outputs", ())
        if "image/png" in item.get("data", {})
    ]
    # Redrawn in place: one picture for the live plane, and one for each of the other two.
    assert len(pictures) == 3


@pytest.mark.long
def test_a_clone_that_was_moved_runs_when_started_elsewhere(tmp_path):
    clone = tmp_path / "Prüf stand"
    for name in ("utils", "examples", "results/paper"):
        shutil.copytree(ROOT / name, clone / name)
    notebook = clone / "examples" / "Which_estimator.ipynb"
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute"]
    done = subprocess.run(
        [*command, str(notebook)], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert notebook.with_suffix(".nbconvert.ipynb").exists()
