"""Tasks over cores, or over the workers of a cluster: in order, and bounded.

Compiled kernels release the interpreter's lock, so that threads suffice; a plain Python function
holds it and goes to processes, through joblib. Where joblib's backend is a cluster (Dask, Ray),
tasks that may travel go there.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import cache
from itertools import chain, islice
from typing import Any
from weakref import WeakKeyDictionary

import joblib
from joblib.parallel import get_active_backend
from numba.core.compiler_lock import global_compiler_lock
from threadpoolctl import OpenBLASController, ThreadpoolController

__all__ = ["cpu_count", "map_in_order", "one_blas_thread", "with_one_blas_thread"]

# Tasks handed out ahead of the one whose result is next: enough that no thread is idle.
_QUEUED_PER_THREAD = 4
# The process that has joblib's workers; a process forked from it cannot reach them.
_PROCESS = os.getpid()
# A fork waits until no thread compiles: else the child would find the compiler locked for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
# How many times in a row the data may be lost from a cluster's workers before it counts as broken.
_MAX_LOSSES = 3
# Functions, and the data that they hold, on the workers; dropped when the caller drops them.
_on_workers: WeakKeyDictionary = WeakKeyDictionary()


def cpu_count() -> int:
    """How many cores to use: joblib's count, which `LOKY_MAX_CPU_COUNT` limits."""
    return joblib.cpu_count()


def map_in_order(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    consume: Callable[[Any], None],
    *,
    in_processes: bool = False,
    in_place: bool = False,
    may_travel: bool = False,
) -> None:
    """Hand the function's result for each task to `consume`, in the order of the tasks.

    Inside a worker (a process, or a thread that is not the main one) everything runs in place,
    since the other cores have work of their own. Tasks are drawn a few ahead of the next result.
    Meanwhile, matrix products take one thread.

    Parameters
    ----------
    function : callable
        `function(task)`.
    tasks : iterable
        Drawn and consumed in the caller's thread.
    consume : callable
        `consume(result)`.
    in_processes : bool
        Spread over processes instead of threads; in a process that was forked, over threads.
    in_place : bool
        Spread nothing: for tasks that take less time than handing them to a thread.
    may_travel : bool
        Spread over the workers of a cluster, if joblib's active backend is one: for a function
        that changes nothing, and tasks and results that are small beside the work. The function
        travels once, with the data that it holds, as long as it is the same object.
    """
    tasks = iter(tasks)
    first_tasks = list(islice(tasks, 2))
    is_worker = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    is_spread = not (in_place or is_worker or len(first_tasks) < 2)
    cluster = _active_cluster() if is_spread and may_travel else None
    n_jobs = cpu_count() if is_spread else 1
    tasks = chain(first_tasks, tasks)
    with one_blas_thread:
        if cluster is not None:
            _map_on_cluster(cluster, function, tasks, consume)
        elif n_jobs == 1:
            for task in tasks:
                consume(function(task))
        elif in_processes and os.getpid() == _PROCESS:
            _map_in_processes(function, tasks, consume, n_jobs)
        else:
            _map_in_threads(function, tasks, consume, n_jobs)


def _map_in_threads(function, tasks: Iterator, consume, n_jobs):
    pool = ThreadPoolExecutor(n_jobs)
    futures: deque = deque()
    try:
        while True:
            for task in islice(tasks, _QUEUED_PER_THREAD * n_jobs - len(futures)):
                futures.append(pool.submit(function, task))
            if not futures:
                return
            consume(futures.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)


def _map_in_processes(function, tasks, consume, n_jobs):
    with warnings.catch_warnings():
        # joblib replaces workers that grow by 300 MB, as by importing PyTorch, and nothing is lost.
        # But where warnings are errors, its warning would end the thread that replaces them, and
        # the call would wait for ever.
        warnings.filterwarnings("ignore", "A worker stopped", UserWarning)
        results = joblib.Parallel(n_jobs, return_as="generator")(
            joblib.delayed(function)(task) for task in tasks
        )
        for result in results:
            consume(result)


def _active_cluster():
    """joblib's active backend, unless it is one of its own, which do not leave this machine."""
    backend = get_active_backend()[0]
    return None if type(backend).__module__ == "joblib._parallel_backends" else backend


def _map_on_cluster(backend, function, tasks, consume):
    client = getattr(backend, "client", None)
    if hasattr(client, "scatter"):
        _map_with_dask(client, function, tasks, consume)
        return
    results = joblib.Parallel(n_jobs=-1, return_as="generator")(
        joblib.delayed(with_one_blas_thread)(function, task) for task in tasks
    )
    for result in results:
        consume(result)


def _map_with_dask(client, function, tasks, consume):
    n_queued = _QUEUED_PER_THREAD * max(1, sum(client.ncores().values()))
    queue: deque = deque()
    n_losses = 0

    def submit(task):
        function_there = _sent_to_workers(client, function)
        future = client.submit(with_one_blas_thread, function_there, task, pure=False)
        queue.append((task, future))

    try:
        while True:
            for task in islice(tasks, n_queued - len(queue)):
                submit(task)
            if not queue:
                return
            try:
                result = queue[0][1].result()
            except CancelledError:
                # The last worker that had the function has died: Dask repeats tasks, not data.
                n_losses += 1
                if n_losses > _MAX_LOSSES:
                    raise
                _on_workers.pop(function, None)
                for _ in range(len(queue)):
                    submit(queue.popleft()[0])
                continue
            n_losses = 0
            queue.popleft()
            consume(result)
    finally:
        client.cancel([future for _, future in queue])


def _sent_to_workers(client, function):
    future = _on_workers.get(function)
    if future is None or future.client is not client:
        future = client.scatter(function, broadcast=True, hash=False)
        _on_workers[function] = future
    return future


def with_one_blas_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a worker; matrix products in it take one thread."""
    with one_blas_thread:
        return function(*arguments)


class _OneBlasThread:
    """A context in which matrix products take one thread, in the whole process.

    Several threads would add up sums in another order, and round them differently. Contexts may
    overlap in any order: the first to enter sets the limit, the last to leave restores the limit
    that was there before.
    """

    def __init__(self):
        self._reset()
        # A fork may come while another thread holds the lock.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset_in_child)

    def _reset(self):
        self._lock = threading.Lock()
        self._n_inside = 0
        self._limiter: Any = None

    def _reset_in_child(self):
        limiter = self._limiter
        self._reset()
        if limiter is not None:
            _restore(limiter)

    def __enter__(self):
        with self._lock:
            if self._n_inside == 0:
                _let_any_thread_limit()
                self._limiter = _thread_pools().limit(limits=1, user_api="blas")
            self._n_inside += 1

    def __exit__(self, *exception):
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                _restore(self._limiter)
                self._limiter = None


def _restore(limiter):
    _let_any_thread_limit()
    limiter.restore_original_limits()
    _let_any_thread_limit()


def _let_any_thread_limit():
    # From threadpoolctl 3.8 on, OpenBLAS takes limits from the first thread that has set one, and
    # silently ignores all others.
    release = getattr(OpenBLASController, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


one_blas_thread = _OneBlasThread()


@cache
def _thread_pools():
    # Looking for the libraries takes milliseconds. NumPy's, which multiplies, is loaded by now.
    return ThreadpoolController()
