"""On a cluster: the grid survives a lost worker, and nobody takes more cores than it was given."""

from __future__ import annotations

import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest
from distributed import Client, LocalCluster
from elsewhere import GRID, measured, n_threads_used

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
