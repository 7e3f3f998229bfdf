"""On a cluster: the grid survives a lost worker, and nobody takes more cores than it was given."""

from __future__ import annotations

import os
import signal
import threading
import time
from unittest import mock

import joblib
import numpy as np
import pytest
from distributed import Client, LocalCluster

import utils.experiments
from utils.experiments import SyntheticConfig, run_synthetic
from utils.results import save_results
from utils.smi import sliced_mutual_information

GRID = SyntheticConfig(
    dims=(1, 2, 3, 4),
    mutual_informations=(0.0, 1.5),
    n_samples=500,
    n_projections=200,
    n_seeds=5,
)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


class ThreadsSeen:
    """An estimator that only notes which threads it is called from."""

    k = 1

    def __init__(self):
        self.threads = set()

    def slice_terms(self, x, y):
        self.threads.add(threading.get_ident())
        time.sleep(0.002)
        return np.zeros((1, *x.shape))

    def by_rule(self, results):
        return results[0]


def n_threads_used(_=None):
    """How many threads measure slices, on a machine of (seemingly) three cores."""
    x, y = np.random.default_rng(0).standard_normal((2, 2**14, 2))
    seen = ThreadsSeen()
    with mock.patch.object(utils.smi.joblib, "cpu_count", lambda: 3):
        sliced_mutual_information(x, y, estimator=seen, n_projections=100, rng=0)
    return len(seen.threads)


class CountsThreads:
    """A dataset whose only item is the number of threads used in loading it."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return n_threads_used()


def test_slices_are_spread_over_all_cores():
    assert n_threads_used() >= 3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_no_threads_are_added_to_those_of_joblib(backend):
    used = joblib.Parallel(n_jobs=2, backend=backend)([joblib.delayed(n_threads_used)()] * 2)
    assert used == [1, 1]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_threads_are_added_to_those_of_a_data_loader():
    from torch.utils.data import DataLoader  # here, so that the workers above start without it

    assert list(DataLoader(CountsThreads(), batch_size=None, num_workers=1)) == [1]


def test_no_threads_are_added_to_those_of_a_cluster(client):
    assert client.submit(n_threads_used).result(timeout=60) == 1


def test_a_grid_on_a_cluster_survives_the_loss_of_a_worker(client, tmp_path, monkeypatch):
    pids = client.run(os.getpid)
    done_when_killed = []

    def save_and_kill(name, results, **options):
        if not done_when_killed:
            # Both workers have two or more tasks by now.
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            os.kill(pids[busy[0]], signal.SIGKILL)
            done_when_killed.append(results["done"].sum())
        return save_results(name, results, **options)

    monkeypatch.setattr(utils.experiments, "save_results", save_and_kill)
    with joblib.parallel_config(backend="dask"):
        results = run_synthetic(GRID, path=tmp_path / "cluster.pkl", progress=False)
    assert done_when_killed == [1]
    assert set(client.run(os.getpid).values()) != set(pids.values())
    alone = run_synthetic(GRID, path=tmp_path / "alone.pkl", n_jobs=1, progress=False)
    assert results.keys() == alone.keys()
    for name in alone:
        np.testing.assert_array_equal(results[name], alone[name], err_msg=name)
