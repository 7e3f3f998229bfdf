"""Run something again and again in processes that are stopped at random moments.

    python interrupted.py WHAT SIGNAL TIMES FOLDER

A process is stopped and followed by another until TIMES were stopped; whenever one comes to its
end, its numbers must be those of the run left alone, and the next one starts anew. What lies on
disk must be a whole state of the run at any time. Children are forked, so that only this process
pays for the imports.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.estimators import WKL
from utils.experiments import SyntheticConfig, run_synthetic
from utils.information_plane import InformationPlane
from utils.mnist import ImageData
from utils.results import load_results, save_results
from utils.training import train_autoencoder, train_classifier

N_SAVES = 60
GRID = SyntheticConfig(
    dims=(1, 2, 3, 4),
    mutual_informations=(0.0, 1.0),
    n_samples=300,
    n_projections=60,
    n_seeds=6,
)


def saves(folder):
    """Count to N_SAVES on disk."""
    path = folder / "run.pkl"
    count = load_results("run", directory=folder).results["count"] if path.exists() else 0
    for number in range(count + 1, N_SAVES + 1):
        state = {"count": number, "array": np.full(100_000, number)}
        save_results("run", state, settings={}, directory=folder)
    return {"count": np.array(N_SAVES)}


def grid(folder):
    results = run_synthetic(GRID, path=folder / "run.pkl", n_jobs=1, progress=False)
    return {name: results[name] for name in ("base", "smi", "smi_std_error")}


def training(folder, train, **settings):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((300, 1, 28, 28)).astype(np.float32))
    labels = torch.arange(300) % 10
    data = ImageData("noise", images[:200], labels[:200], images[200:], labels[200:])
    settings |= {"batch_size": 50, "rng": 7, "checkpoint": folder / "run.pt"}
    run = train(data, epochs=20, learning_rate=1e-3, **settings)
    return run.history


def classifier(folder):
    def spread(layer):
        return {"spread": SimpleNamespace(value=layer.std(), std_error=0.1)}

    plane = InformationPlane(spread, spread)
    history = training(folder, train_classifier, on_epoch_end=plane)
    return {**history, "information": plane.results()["information_x"]}


def autoencoder(folder):
    return training(folder, train_autoencoder)


RUNS = {run.__name__: run for run in (saves, grid, classifier, autoencoder)}


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
    content = torch.load(folder / "run.pt", weights_only=True)
    lengths = {len(values) for values in content["history"].values()}
    if name == "classifier":
        lengths.add(content["callbacks"]["information plane"]["last_epoch"])
    assert len(lengths) == 1
    return lengths.pop()


def start(name, folder):
    """A child that does the run; how far it was and its numbers are beside the folder."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sys.stdout = sys.stderr = open(folder.with_suffix(".log"), "w", buffering=1)  # noqa: SIM115
        np.savez(folder.with_suffix(".npz"), **RUNS[name](folder))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def numbers(folder):
    with np.load(folder.with_suffix(".npz")) as file:
        return {name: file[name] for name in file.files}


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def load_kernels():
    """Once for all children, so that they can get to work; without threads, because they fork."""
    estimator = WKL(GRID.k, GRID.weights)
    for dim in GRID.dims:
        x, y = np.random.default_rng(0).standard_normal((2, 50, dim))
        estimator.mutual_information(x, y)
    estimator.slice_terms(x.T, y.T)


def main(name, signal_name, times, folder):
    stop = signal.Signals[signal_name]
    alone, folder = Path(folder, "alone"), Path(folder, "stopped")
    moments = random.SystemRandom()
    alone.mkdir()
    load_kernels()
    began = time.monotonic()
    assert ended(start(name, alone)) == 0, alone.with_suffix(".log").read_text()
    duration = time.monotonic() - began
    expected = numbers(alone)

    stopped, finished, reached = 0, 0, []
    while True:
        folder.mkdir(exist_ok=True)
        folder.with_suffix(".npz").unlink(missing_ok=True)
        before = progress(name, folder) if any(folder.glob("run.*")) else 0
        child = start(name, folder)
        if stopped < times:
            # A gentle stop is asked for its message, so the run must have begun to work; so must
            # half of those that are killed.
            at_work = stop != signal.SIGKILL or moments.random() < 0.5
            while at_work and not any(folder.glob("run.*")):
                time.sleep(0.001)
            time.sleep(moments.uniform(0, duration / 3))
            os.kill(child, stop)
        status = ended(child)
        log = folder.with_suffix(".log").read_text()
        if status == 0:
            finished += 1
            assert_same(numbers(folder), expected)
            if stopped == times:
                break
            shutil.rmtree(folder)
            continue
        assert stopped < times, log
        stopped += 1
        if stop == signal.SIGKILL:
            assert status == -signal.SIGKILL, log
        elif name != "saves":
            assert "KeyboardInterrupt" in log, log
            assert "goes on from there" in log, log
        # What was on disk is there still, or something further.
        if any(folder.glob("run.*")):
            reached.append(progress(name, folder))
            assert reached[-1] >= before
        else:
            assert before == 0
        if stop != signal.SIGKILL:
            assert not list(folder.glob(".*")), "a stopped run leaves no temporary file"
            shutil.rmtree(folder)
    print(json.dumps({"stopped": stopped, "finished": finished, "reached": reached}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
