"""Runs that are stopped in every way, in processes of their own, and what they leave behind.

    python interrupted.py FOLDER [training]

With `training` there are runs of that too, which need PyTorch. Reads cases, one per line, as JSON:
["stop", run, signal, times] or ["fill_disk", run, n_saves]. To each it answers with a line:
["did", report] or ["failed", reason]. Children are forked, so that imports, kernels and the numbers
of each run left alone are paid for once.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from functools import cache
from pathlib import Path

import numpy as np
from elsewhere import GRID
from tqdm import tqdm

from utils import load_results, run_synthetic, save_results

FOLDER = Path(sys.argv[1])
N_SAVES = 10


def saves(folder):
    """Count to N_SAVES on disk."""
    path = folder / "run.pkl"
    count = load_results("run", directory=folder).results["count"] if path.exists() else 0
    for number in range(count + 1, N_SAVES + 1):
        state = {"count": number, "array": np.full(30_000, number)}
        save_results("run", state, settings={}, directory=folder, csv=False)
    return {"count": np.array(N_SAVES)}


def grid(folder):
    results = run_synthetic(GRID, path=folder / "run.pkl", n_jobs=1, progress=False)
    return {name: results[name] for name in ("base", "smi", "smi_std_error")}


RUNS = {run.__name__: run for run in (saves, grid)}


def progress(name, folder):
    """How far the state on disk is; raises if it is not whole."""
    if name == "saves":
        state = load_results("run", directory=folder).results
        assert (state["array"] == state["count"]).all()
        return int(state["count"])
    if name == "grid":
        results = load_results("run", directory=folder).results
        np.testing.assert_array_equal(np.isfinite(results["smi"]).all((0, 3)), results["done"])
        return int(results["done"].sum())
    return of_trainings().progress(name, folder)


def of_trainings():
    """The runs that need PyTorch, where they are asked for."""
    import interrupted_training

    return interrupted_training


def start(name, folder, prepare=lambda: None):
    """A child that does the run; what it said and its numbers are beside the folder."""
    folder.with_suffix(".npz").unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sys.stdout = sys.stderr = open(folder.with_suffix(".log"), "w", buffering=1)  # noqa: SIM115
        # The one that forked processes share would stay locked by one that is killed with it.
        tqdm.set_lock(threading.RLock())
        # Ignored where the tests run in the background of a shell, and that is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()
        np.savez(folder.with_suffix(".npz"), **RUNS[name](folder))
        status = 0
    except BaseException:
        resource.setrlimit(resource.RLIMIT_FSIZE, [resource.RLIM_INFINITY] * 2)
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_over(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def written(folder):
    """What is on disk, and when it was written."""
    return [(path, path.stat().st_mtime_ns) for path in folder.glob("run.p*")]


def said(folder):
    return folder.with_suffix(".log").read_text()


def assert_same_numbers(folder, other):
    with np.load(folder.with_suffix(".npz")) as got, np.load(other.with_suffix(".npz")) as expected:
        assert got.files == expected.files
        for name in expected.files:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def assert_tidy(folder, killed=False):
    # The copy that a killed writer was at is left for ten minutes.
    names = {path.name for path in folder.iterdir() if not (killed and path.suffix == ".tmp")}
    assert names in ({"run.pkl"}, {"run.pkl", "run.csv"}, {"run.pt"})


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@cache
def alone(name):
    """The folder of a run that nobody stops, and how long it takes."""
    folder = fresh(FOLDER / f"{name} alone")
    began = time.monotonic()
    assert ended(start(name, folder)) == 0, said(folder)
    return folder, time.monotonic() - began


def stop(name, signal_name, times):
    """Stop a run at random moments, and start it again, until it was stopped so many times.

    Whenever it comes to its end, its numbers must be those of the run left alone, and it starts
    anew.
    """
    stop_by = signal.Signals[signal_name]
    moments = random.SystemRandom()
    reference, duration = alone(name)
    folder = fresh(FOLDER / name)
    stopped, finished, reached = 0, 0, []
    while True:
        before = progress(name, folder) if any(folder.glob("run.*")) else 0
        found = written(folder)
        child = start(name, folder)
        if stopped < times:
            # A gentle stop is asked for its message, so the run must have begun to work, and have
            # saved; so must half of those that are killed.
            at_work = stop_by != signal.SIGKILL or moments.random() < 0.5
            while at_work and written(folder) == found and not is_over(child):
                time.sleep(0.001)
            time.sleep(moments.uniform(0, duration / 3))
            os.kill(child, stop_by)
        status = ended(child)
        if status == 0:
            finished += 1
            assert_same_numbers(folder, reference)
            assert_tidy(folder, killed=stop_by == signal.SIGKILL)
            if stopped == times:
                return {"stopped": stopped, "finished": finished, "reached": reached}
            assert finished < 20 * times, f"{signal_name} does not stop it"
            fresh(folder)
            continue
        assert stopped < times, said(folder)
        stopped += 1
        if stop_by == signal.SIGKILL:
            assert status == -signal.SIGKILL, said(folder)
        elif name != "saves":
            assert "Stopped: " in said(folder), said(folder)
            # It says where to go on from.
            assert str(folder / "run.p") in said(folder), said(folder)
            assert_tidy(folder)
        # What was on disk is there still, or something further.
        if any(folder.glob("run.*")):
            reached.append(progress(name, folder))
            assert reached[-1] >= before
        else:
            assert before == 0


def fill_disk(name, n_saves):
    """Let the disk be full after so many saves, then make room and go on."""
    reference, _ = alone(name)
    folder = fresh(FOLDER / f"{name} full")

    def limit():
        # A process that may write files of so many bytes and no more is as good as a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        replace, replaced = os.replace, []

        def replace_and_count(*paths):
            replace(*paths)
            if Path(paths[1]).suffix != ".csv":
                replaced.append(paths)
            if len(replaced) == n_saves:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

        os.replace = replace_and_count

    assert ended(start(name, folder, limit)) == 1, "it did not fail"
    message = said(folder)
    assert progress(name, folder) == n_saves
    assert_tidy(folder)
    assert ended(start(name, folder)) == 0, said(folder)
    assert_same_numbers(folder, reference)
    return message


def warm_up():
    """Pay once for what every child would: kernels, and PyTorch's late imports."""
    tqdm.monitor_interval = 0
    run_synthetic(GRID, path=FOLDER / "warm.pkl", n_jobs=1, progress=False)
    if "training" in sys.argv:
        RUNS.update(of_trainings().RUNS)
    assert threading.active_count() == 1, "a thread that is running would be missing in a fork"


def main():
    warm_up()
    for line in sys.stdin:
        case, *arguments = json.loads(line)
        faulthandler.dump_traceback_later(1800, exit=True)
        try:
            answer = ["did", {"stop": stop, "fill_disk": fill_disk}[case](*arguments)]
        except Exception:
            answer = ["failed", traceback.format_exc()]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
