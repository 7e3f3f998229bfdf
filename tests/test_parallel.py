"""Tasks over cores: in order, bounded, and nothing is left behind, whatever ends them."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
from elsewhere import n_threads_used
from threadpoolctl import threadpool_info, threadpool_limits
from tqdm.auto import tqdm

import utils.parallel
import utils.smi
from utils import (
    WKL,
    SliceEstimator,
    SMICompressor,
    independence_test,
    sliced_mutual_information,
)
from utils.parallel import map_in_order, one_blas_thread

# tqdm keeps a thread for its bars, and joblib keeps two for its processes.
KEPT = ("TMonitor", "ExecutorManagerThread", "QueueFeederThread")

X, Y = np.random.default_rng(0).standard_normal((2, 300, 3))


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: 2)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert [t for t in left if not {t.name, type(t).__name__} & set(KEPT)] == []


def blas_threads():
    """How many threads a matrix product may take, of each library that makes them."""
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def blas_threads_are_restored():
    # A number that nothing else sets.
    with threadpool_limits(limits=3, user_api="blas"):
        before = blas_threads()
        assert set(before) == {3}
        yield
        assert blas_threads() == before


# ----------------------------------------------------------------------------------- tasks in order


def slow_if_even(task):
    time.sleep(0.01 * (task % 2 == 0))
    return 10 * task


@pytest.mark.parametrize("n_cores", [1, 2, 3])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 30])
def test_results_come_in_the_order_of_the_tasks(n_cores, n_tasks, monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: n_cores)
    results = []
    map_in_order(slow_if_even, range(n_tasks), results.append)
    assert results == [10 * task for task in range(n_tasks)]


def test_processes_give_the_same_results_in_the_same_order(two_cores):
    results = []
    map_in_order(slow_if_even, range(6), results.append, in_processes=True)
    assert results == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("n_cores", [1, 2, 3])
def test_tasks_are_drawn_a_few_ahead_of_the_results(n_cores, monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: n_cores)
    n_drawn, n_consumed, most_ahead = 0, 0, 0

    def tasks():
        nonlocal n_drawn
        for task in range(200):
            n_drawn += 1
            yield task

    def consume(_):
        nonlocal n_consumed, most_ahead
        most_ahead = max(most_ahead, n_drawn - n_consumed)
        n_consumed += 1

    map_in_order(lambda task: task, tasks(), consume)
    assert n_consumed == n_drawn == 200
    assert most_ahead <= 4 * n_cores + 1
    # Without any ahead, threads would wait for the consumer.
    assert n_cores == 1 or most_ahead > n_cores


def test_tasks_are_spread_over_the_threads(two_cores):
    threads = set()

    def note(_):
        threads.add(threading.get_ident())
        time.sleep(0.01)

    map_in_order(note, range(20), lambda _: None)
    assert len(threads) == 2
    assert n_threads_used() == 3


def test_tasks_are_drawn_and_results_consumed_in_the_callers_thread(two_cores):
    threads = set()

    def tasks():
        for task in range(20):
            threads.add(threading.get_ident())
            yield task

    map_in_order(slow_if_even, tasks(), lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_in_a_thread_of_the_callers_everything_runs_there(two_cores):
    threads = set()

    def call():
        map_in_order(lambda _: threads.add(threading.get_ident()), range(20), lambda _: None)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(threads) == 1


class Stop(BaseException):
    """As KeyboardInterrupt, no Exception."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
@pytest.mark.parametrize("n_cores", [1, 2])
@pytest.mark.parametrize("where", ["task", "consume", "draw"])
def test_what_goes_wrong_is_raised_and_ends_the_tasks(where, n_cores, error, monkeypatch):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: n_cores)
    begun = []

    def fail_at(place, task):
        if place == where and task == 5:
            raise error("the fifth")
        return task

    def measure(task):
        begun.append(task)
        time.sleep(0.002)
        return fail_at("task", task)

    tasks = (fail_at("draw", task) for task in range(1000))
    with pytest.raises(error, match="the fifth"):
        map_in_order(measure, tasks, lambda task: fail_at("consume", task))
    # Those that were on their way, and none of the hundreds that come after.
    assert len(begun) <= 6 + 4 * n_cores + 1


# ----------------------------------------------------------------------------- threads of a product


class Looks(SliceEstimator):
    """An estimator that only notes how many threads a matrix product may take."""

    has_terms = False

    def __init__(self):
        self.seen = set()

    def slice_terms(self, x, y):
        self.seen.update(blas_threads())
        return np.zeros((1, *x.shape))


def test_matrix_products_take_one_thread_while_slices_are_measured(two_cores):
    # More of them may sum in another way, on some machines and for some shapes.
    for measure, options in (
        (sliced_mutual_information, {"n_projections": 20}),
        (independence_test, {"n_projections": 2, "n_permutations": 1}),
    ):
        looks = Looks()
        measure(X, Y, estimator=looks, rng=0, **options)
        assert looks.seen == {1}


def test_full_dimension_and_compressors_do_not_depend_on_the_threads_of_a_product():
    x, y = np.random.default_rng(0).standard_normal((2, 500, 30))
    seen = set()
    for n_threads in (1, 2, 3):
        with threadpool_limits(limits=n_threads, user_api="blas"):
            # These weights multiply what rounding leaves, and so show it.
            estimate = WKL(weights="mutinfo").mutual_information(x, y)
            slices = SMICompressor(30, 100, rng=0)(x)
        seen.add((estimate, slices.tobytes()))
    assert len(seen) == 1


class WaitsFor(SliceEstimator):
    """An estimator whose first slice begins one event and waits for another."""

    has_terms = False

    def __init__(self, begun, may_end):
        self.begun, self.may_end = begun, may_end

    def slice_terms(self, x, y):
        self.begun.set()
        assert self.may_end.wait(60)
        return np.zeros((1, *x.shape))


def test_calls_of_two_threads_that_overlap_leave_the_limit_as_it_was():
    # The one that begins first ends first: each alone would restore what it found.
    begun, may_end = ([threading.Event() for _ in range(2)] for _ in range(2))

    def call(i):
        estimator = WaitsFor(begun[i], may_end[i])
        sliced_mutual_information(X, Y, estimator=estimator, n_projections=1)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(2)]
    for thread, event in zip(threads, begun, strict=True):
        thread.start()
        assert event.wait(60)
    assert set(blas_threads()) == {1}
    for thread, event in zip(threads, may_end, strict=True):
        event.set()
        thread.join(60)
        assert not thread.is_alive()
        assert set(blas_threads()) == ({1} if thread is threads[0] else {3})


def test_contexts_within_each_other_leave_the_limit_as_it_was():
    with one_blas_thread:
        with one_blas_thread:
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {3}


class Fails(SliceEstimator):
    """An estimator that raises at its third call."""

    has_terms = False

    def __init__(self, error):
        self.error = error
        self.n_calls = 0

    def slice_terms(self, x, y):
        self.n_calls += 1
        if self.n_calls == 3:
            raise self.error
        return np.zeros((1, *x.shape))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("n_cores", [1, 2])
def test_an_exception_whose_traceback_is_kept_leaves_the_limit_as_it_was(
    error, n_cores, monkeypatch
):
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: n_cores)
    try:
        sliced_mutual_information(X, Y, estimator=Fails(error), n_projections=200)
    except (ValueError, KeyboardInterrupt) as raised:
        kept = raised  # as IPython does, and with it every frame of the call
    assert kept.__traceback__ is not None
    assert set(blas_threads()) == {3}
    # And the next call limits and restores again.
    looks = Looks()
    sliced_mutual_information(X, Y, estimator=looks, n_projections=5)
    assert looks.seen == {1}


@pytest.fixture
def lock_of_bars():
    """tqdm keeps its lock where writing fails; whoever comes next would wait for ever."""
    original = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    yield
    tqdm.set_lock(original)


class Slow(SliceEstimator):
    """Long enough at work for a bar to move."""

    has_terms = False
    n_calls = 0

    def slice_terms(self, x, y):
        self.n_calls += 1
        time.sleep(0.05)
        return np.zeros((1, *x.shape))


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_in_a_progress_bar_leaves_the_limit_as_it_was(
    error, two_cores, lock_of_bars, monkeypatch
):
    slow = Slow()

    class Closed:
        """A stderr that is gone once the call is at work."""

        def write(self, _):
            if slow.n_calls:
                raise error("no window")

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Closed())
    with pytest.raises(error, match="no window") as kept:
        sliced_mutual_information(X, Y, estimator=slow, n_projections=40, progress=True)
    assert kept.value.__traceback__ is not None
    assert slow.n_calls < 20  # it was the bar that moved
    assert set(blas_threads()) == {3}


def test_a_call_without_a_bar_does_not_wait_for_the_lock_of_bars():
    holder, done = threading.Event(), threading.Event()

    def hold():
        with tqdm.get_lock():
            holder.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    holder.wait(60)
    try:
        measured = threading.Thread(
            target=lambda: sliced_mutual_information(X, Y, n_projections=5, rng=0), daemon=True
        )
        measured.start()
        measured.join(60)
        assert not measured.is_alive()
    finally:
        done.set()
        thread.join()
