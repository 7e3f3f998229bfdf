"""Random calls of all public functions for a long time: `make soak`, half an hour.

Two processes call from four threads each. One of them is killed again and again, and a new one
takes its place; both write the same result files. Every number is compared to the bit with that of
the same call in one thread. At the end the other process must hold no more memory than at the
beginning, and its numerical libraries as many threads as before; no call may take minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

import utils
import utils.parallel
from utils import (
    KSG,
    WKL,
    Copula,
    Gaussian,
    SMICompressor,
    SyntheticConfig,
    berrett_weights,
    independence_test,
    load_results,
    max_sliced_mutual_information,
    mutual_information_of_slices,
    normal_sliced_information,
    run_synthetic,
    sample_spherical,
    sample_stiefel,
    save_results,
    sliced_mutual_information,
)
from utils.pointwise import PointwiseSMI

ROOT = Path(__file__).resolve().parents[1]
N_THREADS, N_SEEDS = 4, 3
# Of the whole process's computing time, so that a busy machine does not look like a call without
# end; and of the clock, after the time is over.
MAX_CPU_SECONDS, MAX_LATE_SECONDS = 600, 1800
MAX_GROWTH = 20.0  # MB
SECONDS_BETWEEN_KILLS = 5, 25


def data(seed):
    """Numbers with labels that depend on them."""
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(50, 1500)), int(rng.integers(1, 12))
    x = rng.standard_normal((n, dim))
    y = x[:, :3] ** 2 + rng.standard_normal((n, 1))
    return x, y, np.argsort(y[:, 0]) % 3


def sliced(estimator, **options):
    def call(seed):
        x, y, _ = data(seed)
        found = sliced_mutual_information(
            x, y, estimator=estimator, n_projections=60, rng=seed, **options
        )
        return [found.value, found.std_error, *found.per_slice]

    return call


def labelled(estimator):
    def call(seed):
        x, _, labels = data(seed)
        found = sliced_mutual_information(
            x, labels, estimator=estimator, n_projections=60, y_discrete=True, rng=seed
        )
        return [found.value, *found.per_slice]

    return call


def tested(seed):
    x, y, _ = data(seed)
    groups = np.arange(len(x)) // 5
    found = independence_test(x, y, n_projections=10, n_permutations=19, groups=groups, rng=seed)
    return [found.p_value, *found.null_values]


def largest(seed):
    x, y, _ = data(seed)
    found = max_sliced_mutual_information(x, y, n_projections=20, n_permutations=9, rng=seed)
    return [found.value, found.p_value, *found.theta[0]]


def of_slices(seed):
    x, y, _ = data(seed)
    pair = (SMICompressor(values.shape[1], 20, rng=seed)(values) for values in (x, y))
    return mutual_information_of_slices(*pair, rng=seed).per_slice


def in_full(seed):
    x, y, labels = data(seed)
    x = x[:, :3]
    return [
        *(one.mutual_information(x, y, rng=seed).value for one in (WKL(), KSG(), Copula())),
        Gaussian().mutual_information(x, y).value,
        WKL().mutual_information_labels(x, labels, rng=seed).value,
        WKL().entropy(x, rng=seed).value,
    ]


def pointwise(seed):
    x, _, labels = data(seed)
    return PointwiseSMI(n_projections=10, rng=seed).fit(x, labels).transform(x[:20]).ravel()


def drawn(seed):
    frame = sample_stiefel(8, 3, rng=seed)
    exact = normal_sliced_information(np.eye(4), np.eye(4), 0.5 * np.eye(4), 2, rng=seed)
    numbers = sample_spherical(7, 5, rng=seed), frame, berrett_weights(20, 4), [exact.value]
    return np.concatenate([np.ravel(some) for some in numbers])


def grid(seed):
    config = SyntheticConfig(
        dims=(2,), mutual_informations=(1.0,), n_samples=100, n_projections=20, n_seeds=1, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        found = run_synthetic(config, path=Path(folder) / "grid.pkl", n_jobs=1, progress=False)
    return np.ravel(found["smi"])


def saved(seed):
    """Write a file that all threads and processes write, and read what one of them has written."""
    save_results("soak", {"seed": seed, "values": np.full(1000, seed)}, settings={})
    found = load_results("soak").results
    return [float((found["values"] == found["seed"]).all())]


def watched(seed):
    from torch import nn, tensor

    x, _, labels = data(seed)
    layer = nn.Linear(x.shape[1], 4).requires_grad_(False)
    for parameter in layer.parameters():
        rng = np.random.default_rng(seed)
        parameter.copy_(tensor(rng.standard_normal(parameter.shape)))
    model = nn.Sequential(layer, nn.Tanh())
    plane = utils.watch(model, x.astype(np.float32), labels, n_projections=10, rng=seed)
    plane.measure(1)
    return [plane.results()[name][0, -1, 0] for name in ("information_x", "information_y")]


def correlation(x, y):
    return float(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2)


CALLS: dict[str, Callable] = {
    **{f"slices by {one!r}": sliced(one) for one in (WKL(), KSG(), Copula(), Gaussian())},
    **{f"labels by {one!r}": labelled(one) for one in (WKL(), KSG(), Copula(), Gaussian())},
    "slices by a function": sliced(correlation),
    "slices to a tolerance": sliced(Copula(), tol=0.05),
    "frames": sliced(Copula(), slice_dims=2),
    "independence_test": tested,
    "max_sliced_mutual_information": largest,
    "mutual_information_of_slices": of_slices,
    "full dimension": in_full,
    "PointwiseSMI": pointwise,
    "directions": drawn,
    "run_synthetic": grid,
    "result files": saved,
}
if find_spec("torch") is not None:
    CALLS["watch"] = watched


# -------------------------------------------------------------------------------------- one process


def outcome(name, seed):
    """The numbers of a call as bytes, or the text of its error."""
    try:
        return np.asarray(CALLS[name](seed), dtype=float).tobytes()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def memory():
    """Megabytes that this process holds."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Caller:
    """Calls in one thread until the time is over, and what went wrong."""

    def __init__(self, expected, deadline):
        self.expected, self.deadline = expected, deadline
        self.wrong: list[str] = []
        self.n_calls: Counter[str] = Counter()
        self.current, self.since = "start", time.process_time()

    def run(self):
        choices = random.SystemRandom()
        while time.monotonic() < self.deadline:
            name, seed = choices.choice([*self.expected])
            self.current, self.since = f"{name}, seed {seed}", time.process_time()
            if outcome(name, seed) != self.expected[name, seed]:
                self.wrong.append(self.current)
            self.n_calls[name] += 1
        self.current = ""


def work(minutes, expected):
    """Call from four threads, this one among them; say what was found, and whether it is good."""
    libraries = {one["filepath"]: one["num_threads"] for one in threadpool_info()}
    deadline = time.monotonic() + 60 * minutes
    callers = [Caller(expected, deadline) for _ in range(N_THREADS)]
    sizes = []

    def look_after():
        while any(caller.current for caller in callers):
            time.sleep(2)
            sizes.append(memory())
            is_late = time.monotonic() > deadline + MAX_LATE_SECONDS
            slow = [
                caller.current
                for caller in callers
                if caller.current
                and (is_late or time.process_time() - caller.since > MAX_CPU_SECONDS)
            ]
            if slow:
                print(f"no end of {slow}", flush=True)
                faulthandler.dump_traceback()
                os._exit(2)

    threads = [threading.Thread(target=caller.run) for caller in callers[1:]]
    print("calling", flush=True)
    threads.append(threading.Thread(target=look_after))
    for thread in threads:
        thread.start()
    callers[0].run()
    for thread in threads:
        thread.join()
    n_calls = sum((caller.n_calls for caller in callers), Counter())
    wrong = [name for caller in callers for name in caller.wrong]
    # The first third is left to caches.
    third = max(1, len(sizes) // 3)
    growth = min(sizes[-third:]) - min(sizes[third : 2 * third] or sizes)
    # Others are loaded by calls, such as PyTorch's.
    loaded = {one["filepath"]: one["num_threads"] for one in threadpool_info()}
    now = {path: loaded.get(path) for path in libraries}
    rarest = min(n_calls[name] for name in CALLS)
    print(f"{n_calls.total()} calls of {len(n_calls)} functions, {rarest} of the rarest")
    print(f"wrong: {wrong or 'none'}")
    print(f"memory: {sizes[0]:.0f} MB, at last {min(sizes[-third:]):.0f} MB, {growth:+.1f} MB")
    print(f"threads of libraries: {'as before' if now == libraries else (libraries, now)}")
    return not wrong and growth < MAX_GROWTH and now == libraries


# ------------------------------------------------------------------------------------- all together


def in_one_thread():
    """What each call gives where nothing else goes on."""
    utils.parallel.cpu_count = lambda: 1  # type: ignore[assignment]
    return {(name, seed): outcome(name, seed) for name in CALLS for seed in range(N_SEEDS)}


def start(*arguments, folder, **options):
    command = [sys.executable, __file__, "--folder", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


def soak(minutes, folder):
    """Let one process work, and kill others beside it; return whether all went well."""
    if start("--expect", folder=folder).wait() != 0:
        return False
    one = start("--minutes", str(minutes), "--work", folder=folder)
    n_killed, failed = 0, False
    while one.poll() is None:
        other = start("--minutes", str(minutes), "--work", folder=folder, stdout=subprocess.PIPE)
        other.stdout.readline()  # until it calls
        with suppress(subprocess.TimeoutExpired):
            one.wait(timeout=random.uniform(*SECONDS_BETWEEN_KILLS))
        if other.poll() is None:
            other.send_signal(signal.SIGKILL)
            n_killed += 1
        else:
            failed |= other.returncode != 0
        # Not to its end, which workers that outlive the killed process hold open for minutes.
        other.stdout.close()
        other.wait()
    left = [path.name for path in folder.rglob("*") if path.name not in FILES]
    print(f"{n_killed} processes killed; left behind: {len(left)} files")
    return one.returncode == 0 and not failed


FILES = {"expected.pkl", "results", "quick", "soak.pkl", "soak.csv"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--work", action="store_true")
    parser.add_argument("--expect", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.expect:
        (given.folder / "expected.pkl").write_bytes(pickle.dumps(in_one_thread()))
        return True
    if given.work:
        return work(given.minutes, pickle.loads((given.folder / "expected.pkl").read_bytes()))
    with tempfile.TemporaryDirectory() as folder:
        return soak(given.minutes, Path(folder))


if __name__ == "__main__":
    sys.exit(not main())
