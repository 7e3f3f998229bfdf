"""Stopped at any moment, or on a full disk, a run loses nothing; `make fuzz` kills 100 times."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LONG

ROOT = Path(__file__).resolve().parents[1]
HAS_TORCH = importlib.util.find_spec("torch") is not None
of_training = pytest.mark.skipif(not HAS_TORCH, reason="trainings need PyTorch")
RUNS = {
    "saves": "saves",
    "grid": "grid",
    "classifier": pytest.param("classifier", marks=of_training),
    "autoencoder": pytest.param("autoencoder", marks=[of_training, pytest.mark.long]),
}
every_run = pytest.mark.parametrize("what", RUNS.values())


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Do a case in the process that stops runs, and return its report."""
    folder = tmp_path_factory.mktemp("stopped")
    with subprocess.Popen(
        [sys.executable, ROOT / "tests" / "interrupted.py", folder, *["training"] * HAS_TORCH],
        # One thread each, which survives a fork.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(*case):
            print(json.dumps(case), file=process.stdin, flush=True)
            outcome, report = json.loads(process.stdout.readline())
            assert outcome == "did", report
            return report

        yield ask
        process.stdin.close()


@every_run
def test_killed_at_random_moments_it_ends_with_the_numbers_of_a_run_left_alone(what, ask):
    times = 25 if LONG else 2
    report = ask("stop", what, "SIGKILL", times)
    assert report["stopped"] == times
    assert report["finished"] >= 1


@pytest.mark.parametrize("what", [run for name, run in RUNS.items() if name != "saves"])
def test_interrupted_it_says_where_to_go_on_from_and_tidies_up(what, ask):
    times = 5 if LONG else 1
    assert ask("stop", what, "SIGINT", times)["stopped"] == times


@every_run
def test_a_full_disk_leaves_the_last_state_and_the_run_goes_on_when_there_is_room(what, ask):
    said = ask("fill_disk", what, 3)
    assert "too large" in said or "No space" in said
    if what != "saves":
        assert f"{what} full/run.p" in said


def test_a_notebook_shows_the_sentence_alone():
    shells = pytest.importorskip("IPython.core.interactiveshell")
    from IPython.utils.capture import capture_output

    shell = shells.InteractiveShell()
    with capture_output() as shown:
        shell.run_cell(
            "from utils.interruption import Stopped\nraise Stopped('stopped with 3 of 9 cells')"
        )
    assert shown.stdout.strip() == "stopped with 3 of 9 cells"
    assert shown.stderr == ""
