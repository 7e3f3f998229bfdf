"""Stopped at any moment, or on a full disk, a run loses nothing; `make fuzz` kills 100 times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LONG

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("saves", "grid", "classifier", "autoencoder")


def run_script(arguments, folder):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        # One thread each, which survives a fork.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600 if LONG else 600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def stop(what, signal, times, folder):
    script = ROOT / "tests" / "interrupted.py"
    return json.loads(run_script([script, what, signal, times, folder], folder))


@pytest.mark.parametrize("what", RUNS)
def test_killed_at_random_moments_it_ends_with_the_numbers_of_a_run_left_alone(what, tmp_path):
    times = 25 if LONG else 3
    report = stop(what, "SIGKILL", times, tmp_path)
    assert report["stopped"] == times
    assert report["finished"] >= 1


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("what", RUNS[1:])
def test_told_to_stop_it_says_how_to_go_on_and_tidies_up(what, signal, tmp_path):
    assert stop(what, signal, 5 if LONG else 1, tmp_path)["stopped"] >= 1


# A process that may write files of so many bytes and no more is as good as a full disk.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import utils.results
from interrupted import RUNS, progress

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
what, limit_from = sys.argv[1], int(sys.argv[2])
folder = Path(".")
replaced = []
replace = utils.results.os.replace

def replace_and_count(*paths):
    replace(*paths)
    replaced.append(paths)
    if len(replaced) == limit_from:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

utils.results.os.replace = replace_and_count
try:
    RUNS[what](folder)
except OSError as error:
    said = str(error) + "".join(getattr(error, "__notes__", ()))
else:
    raise SystemExit("it did not fail")
assert progress(what, folder) == len(replaced) == limit_from, (progress(what, folder), replaced)
assert not list(folder.glob(".*")), list(folder.glob(".*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
RUNS[what](folder)
print(said)
"""


@pytest.mark.parametrize("what", RUNS)
def test_a_full_disk_leaves_the_last_state_and_the_run_goes_on_when_there_is_room(what, tmp_path):
    script = tmp_path.with_suffix(".py")
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{FULL_DISK}")
    said = run_script([script, what, 3], tmp_path)
    assert "too large" in said or "No space" in said
    if what != "saves":
        assert "goes on from there" in said
