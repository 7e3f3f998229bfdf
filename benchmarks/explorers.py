"""How long the explorers take to show themselves, and to follow a slider.

`python -m benchmarks.explorers` prints the table. Wall times are what a person waits, and belong to
an idle machine; processor times move less where others work.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np

from utils import load_results
from utils.explorers import explore_misleading, explore_slices, explore_smi, explore_training
from utils.synthetic import CorrelatedNormal

from .timing import machine, markdown, three_digits

PAPER = Path(__file__).resolve().parents[1] / "results/paper"
STARTS, MOVES = 5, 30


def training():
    """The explorer of `Plotting_MI_SMI`."""
    smi, aemi = (load_results(f"mnist_{name}", directory=PAPER).results for name in ("smi", "aemi"))
    rows = {"autoencoder + PCA": aemi["plane"], "SMI": smi["plane"]}
    return explore_training(rows, history=smi["history"])


def slices():
    """The explorer of a user's own 3000 samples."""
    return explore_slices(*CorrelatedNormal(3.0, 5, 4, rng=0).sample(3000, rng=1))


# Each with the control that is moved.
EXPLORERS = {
    "explore_smi": (explore_smi, "mutual_information"),
    "explore_misleading": (explore_misleading, "mutual_information"),
    "explore_training": (training, "epoch"),
    "explore_slices": (slices, "rank"),
}


def seconds_of(function):
    """Wall and processor time of a call."""
    start = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def values_of(control):
    """Values to move a control to, none twice in a row."""
    if hasattr(control, "options"):
        return list(control.options)
    return np.arange(control.min, control.max, control.step).tolist()


def table():
    """Median seconds of a start and of a move, at default sizes; compiling is not in them."""
    rows = []
    for name, (make, control_name) in EXPLORERS.items():
        control = make().controls[control_name]  # compiles
        starts = [seconds_of(make) for _ in range(STARTS)]
        values = values_of(control)
        moves = [
            seconds_of(partial(setattr, control, "value", values[at % len(values)]))
            for at in range(1, MOVES + 1)
        ]
        medians = (map(statistics.median, zip(*times, strict=True)) for times in (starts, moves))
        rows.append([name, *(f"{three_digits(each)} s" for pair in medians for each in pair)])
    header = ["explorer", "start", "start, processor time", "move", "move, processor time"]
    return markdown(header, rows)


if __name__ == "__main__":
    print(machine(), table(), sep="\n\n")
