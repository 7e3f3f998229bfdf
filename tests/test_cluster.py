"""On a cluster: grids and single calls survive a lost worker, and take no more cores than given."""

from __future__ import annotations

import os
import signal
import threading
import time

import dask.array as da
import joblib
import numpy as np
import pytest
from distributed import Client, LocalCluster
from elsewhere import GRID, measured, n_threads_used

from utils import (
    WKL,
    Copula,
    Gaussian,
    SliceEstimator,
    independence_test,
    max_sliced_mutual_information,
    sliced_mutual_information,
)
from utils.experiments import run_synthetic
from utils.results import load_results


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_slices_are_spread_over_all_cores():
    assert n_threads_used() >= 3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_no_threads_are_added_to_those_of_joblib(backend):
    used = joblib.Parallel(n_jobs=2, backend=backend)([joblib.delayed(n_threads_used)()] * 2)
    assert used == [1, 1]


def test_no_threads_are_added_to_those_of_a_cluster(client):
    assert client.submit(n_threads_used).result(timeout=60) == 1


@pytest.mark.long
def test_every_kind_of_worker_measures_the_same_bits(client):
    expected = measured()
    assert joblib.Parallel(n_jobs=2)([joblib.delayed(measured)()] * 2) == [expected] * 2
    assert client.submit(measured).result(timeout=120) == expected


@pytest.mark.long
def test_a_grid_on_a_cluster_survives_the_loss_of_a_worker(client, tmp_path):
    pids = client.run(os.getpid)
    done_when_killed = []

    def kill_a_worker_after_the_first_cell():
        while not (tmp_path / "cluster.pkl").exists():
            time.sleep(0.005)
        done_when_killed.append(load_results("cluster", directory=tmp_path).results["done"].sum())
        busy = [worker for worker, tasks in client.processing().items() if tasks]
        os.kill(pids[busy[0]], signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker_after_the_first_cell)
    killer.start()
    with joblib.parallel_config(backend="dask"):
        results = run_synthetic(GRID, path=tmp_path / "cluster.pkl", progress=False)
    killer.join()
    assert done_when_killed[0] < results["done"].size
    assert set(client.run(os.getpid).values()) != set(pids.values())
    alone = run_synthetic(GRID, path=tmp_path / "alone.pkl", n_jobs=1, progress=False)
    assert results.keys() == alone.keys()
    for name in alone:
        np.testing.assert_array_equal(results[name], alone[name], err_msg=name)


# ------------------------------------------------------------------------------- slices of one call


X = np.random.default_rng(0).standard_normal((2000, 5))
Y = X[:, :3] ** 2 + np.random.default_rng(1).standard_normal((2000, 3))
LABELS = np.arange(2000) % 3


class Traced(SliceEstimator):
    """An estimator that leaves a file named by the process in which it measures.

    Parameters
    ----------
    directory : pathlib.Path
    seconds : float
        How much longer than necessary it takes.
    """

    ties = "break"
    has_terms = False

    def __init__(self, directory, seconds=0.0):
        self.directory, self.seconds = directory, seconds
        self.n_sent = 0

    def __getstate__(self):
        self.n_sent += 1
        return self.__dict__

    def slice_terms(self, x, y):
        (self.directory / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return Copula().slice_terms(x, y)

    @property
    def processes(self):
        return {int(path.name) for path in self.directory.iterdir()}


def sliced(**options):
    return sliced_mutual_information(X, Y, n_projections=400, rng=2, **options)


def sliced_labels(**options):
    return sliced_mutual_information(
        X, LABELS, y_discrete=True, n_projections=400, rng=2, **options
    )


def independence(**options):
    return independence_test(X, Y, n_projections=80, n_permutations=5, rng=2, **options)


def max_sliced(**options):
    return max_sliced_mutual_information(
        X, Y, n_projections=600, n_permutations=300, rng=2, **options
    )


def bits(result):
    return {name: np.asarray(value).tobytes() for name, value in vars(result).items()}


@pytest.mark.parametrize("call", [sliced, independence, max_sliced])
def test_one_call_spreads_its_slices_over_the_workers(call, client, tmp_path):
    estimator = Traced(tmp_path)
    with joblib.parallel_config(backend="dask"):
        result = call(estimator=estimator)
    assert estimator.processes >= set(client.run(os.getpid).values())
    # The search of a maximum has 40 steps, and measures and permutes the best of them.
    assert 1 <= estimator.n_sent <= (3 if call is max_sliced else 1)
    assert bits(result) == bits(call(estimator=estimator))


@pytest.mark.parametrize(
    ("call", "estimator"),
    [
        (sliced, Copula()),
        (sliced_labels, Copula()),
        (independence, WKL(5)),
        (max_sliced, Gaussian()),
    ],
)
def test_a_cluster_measures_the_same_bits(call, estimator, client):
    with joblib.parallel_config(backend="dask"):
        result = call(estimator=estimator)
    assert bits(result) == bits(call(estimator=estimator))


def test_workers_project_blocks_and_the_value_of_arrays_comes_back(client):
    blocks = da.from_array(X, chunks=(700, 4)), da.from_array(Y, chunks=(500, 1))
    options = {"n_projections": 120, "rng": 1}
    with joblib.parallel_config(backend="dask"):
        result = sliced_mutual_information(*blocks, **options)
    # Blocks are summed in another order.
    np.testing.assert_allclose(
        result.per_slice, sliced_mutual_information(X, Y, **options).per_slice, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("n_killed", [1, 2])
def test_a_killed_worker_costs_time_only(n_killed, client, tmp_path):
    # With the second, all copies of the data are lost as well.
    estimator = Traced(tmp_path, seconds=0.05)
    client.wait_for_workers(2, timeout=60)  # those that an earlier test has killed
    pids = set(client.run(os.getpid).values())
    finished = threading.Event()

    def kill_workers_at_work():
        while not estimator.processes >= pids:
            if finished.wait(0.005):
                return
        for pid in list(pids)[:n_killed]:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_workers_at_work)
    killer.start()
    with joblib.parallel_config(backend="dask"):
        result = sliced(estimator=estimator)
    finished.set()
    killer.join()
    assert len(pids - set(client.run(os.getpid).values())) == n_killed
    assert bits(result) == bits(sliced(estimator=Traced(tmp_path)))


class Breaks(SliceEstimator):
    """An estimator that raises on some slice."""

    def slice_terms(self, x, y):
        raise ZeroDivisionError("no such slice")


def test_an_error_on_a_worker_is_raised_and_ends_the_tasks(client):
    with joblib.parallel_config(backend="dask"):
        with pytest.raises(ZeroDivisionError, match="no such slice"):
            sliced(estimator=Breaks())
        assert sliced(estimator=Copula()).n_projections == 400
    assert not any(client.processing().values())


class OtherBackend(joblib.parallel.BACKENDS["loky"]):
    """A backend that is not one of joblib's own, as Ray's: of two workers on any machine."""

    def effective_n_jobs(self, n_jobs):
        return 2


def test_any_backend_that_is_not_local_measures_the_slices(tmp_path):
    joblib.register_parallel_backend("other", OtherBackend)
    estimator = Traced(tmp_path)
    with joblib.parallel_config(backend="other", n_jobs=2):
        result = sliced(estimator=estimator)
    assert os.getpid() not in estimator.processes
    assert bits(result) == bits(sliced(estimator=estimator))
