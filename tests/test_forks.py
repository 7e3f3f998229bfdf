"""A process that is forked while another thread is at work measures on its own."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from dataclasses import dataclass

import numba
import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

from utils import Gaussian, sliced_mutual_information
from utils.parallel import one_blas_thread

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes"),
    # Python warns of what is tested here.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

X, Y = np.random.default_rng(0).standard_normal((2, 5000, 3))
SECONDS = 60


def product(x, y):
    return float(x[:, 0] @ y[:, 0])


def value_of(estimator):
    return sliced_mutual_information(X, Y, estimator=estimator, n_projections=110, rng=1).value


def value_in_a_child(estimator):
    """What a forked process measures; it is ended, and the test fails, if it takes too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, np.float64(value_of(estimator)).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"the child was still waiting after {SECONDS} seconds")
        time.sleep(0.01)
    with os.fdopen(reading, "rb") as pipe:
        return np.frombuffer(pipe.read())[0]


class AtWork:
    """Another thread that does something, again and again or for a while, while we fork."""

    def __init__(self, work):
        self.work = work
        self.begun, self.stopped = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stopped.is_set():
            self.work(self.begun)

    def __enter__(self):
        self.thread.start()
        assert self.begun.wait(60)

    def __exit__(self, *exception):
        self.stopped.set()
        self.thread.join()


@dataclass(frozen=True)
class Numbered(Gaussian):
    """An estimator whose errors are simulated anew for every number."""

    number: int


NUMBERS = itertools.count()


def measuring(begun):
    begun.set()
    value_of(Gaussian())


def calibrating(begun):
    begun.set()
    value_of(Numbered(next(NUMBERS)))


def compiling(begun):
    with global_compiler_lock:
        begun.set()
        time.sleep(0.2)


def limiting(begun):
    with one_blas_thread:
        begun.set()
        time.sleep(0.2)


@numba.njit
def unchanged(terms):
    return terms


class Compiles(Gaussian):
    """An estimator whose kernel is compiled when it is first called."""

    def slice_terms(self, x, y):
        return unchanged(super().slice_terms(x, y))


@pytest.mark.parametrize("work", [measuring, calibrating, compiling, limiting])
def test_a_fork_while_another_thread_is_at_work_measures(work):
    expected = value_of(Gaussian())
    with AtWork(work):
        assert value_in_a_child(Gaussian()) == expected


def test_a_fork_while_another_thread_compiles_can_compile():
    expected = value_of(Gaussian())
    with AtWork(compiling):
        assert value_in_a_child(Compiles()) == expected


def test_a_fork_of_a_process_with_worker_processes_measures():
    expected = value_of(product)
    assert value_in_a_child(product) == expected
