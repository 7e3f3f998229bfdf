"""Stopped at any moment, or on a full disk, a run loses nothing; `make fuzz` kills 100 times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import LONG
from utils.interruption import stopped_by_sigterm

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("saves", "grid", "classifier", "autoencoder")


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Do a case in the process that stops runs, and return its report."""
    folder = tmp_path_factory.mktemp("stopped")
    with subprocess.Popen(
        [sys.executable, ROOT / "tests" / "interrupted.py", folder],
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


@pytest.mark.parametrize("what", RUNS)
def test_killed_at_random_moments_it_ends_with_the_numbers_of_a_run_left_alone(what, ask):
    times = 25 if LONG else 2
    report = ask("stop", what, "SIGKILL", times)
    assert report["stopped"] == times
    assert report["finished"] >= 1


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("what", RUNS[1:])
def test_told_to_stop_it_says_how_to_go_on_and_tidies_up(what, by, ask):
    times = 5 if LONG else 1
    assert ask("stop", what, by, times)["stopped"] == times


def test_sigterm_is_like_ctrl_c_during_a_run_and_only_where_nobody_else_handles_it():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), stopped_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def of_the_caller(*_):
        pass

    signal.signal(signal.SIGTERM, of_the_caller)
    try:
        with stopped_by_sigterm():
            assert signal.getsignal(signal.SIGTERM) is of_the_caller
        assert signal.getsignal(signal.SIGTERM) is of_the_caller
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def in_a_thread():
        # Python allows no handler here.
        with stopped_by_sigterm():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_a_thread).result() is signal.SIG_DFL


@pytest.mark.parametrize("what", RUNS)
def test_a_full_disk_leaves_the_last_state_and_the_run_goes_on_when_there_is_room(what, ask):
    said = ask("fill_disk", what, 3)
    assert "too large" in said or "No space" in said
    if what != "saves":
        assert "goes on from there" in said
