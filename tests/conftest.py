"""Let the tests import the repository's modules, from wherever pytest is started."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.parallel

# Trainings are compared bit for bit, and a graphics card repeats up to rounding only.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# `make fuzz` sets it: the same tests, with more examples and more kills.
LONG = os.environ.get("SMI_TESTS") == "long"


_COMMON = {
    # The first example compiles; one that hangs is ended by the test's own watch.
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile(
    "everyday", max_examples=300, derandomize=True, database=None, print_blob=False, **_COMMON
)
settings.register_profile("long", max_examples=10_000, print_blob=True, **_COMMON)
settings.load_profile("long" if LONG else "everyday")


@pytest.fixture(scope="session", autouse=True)
def ipython_directory(tmp_path_factory):
    """IPython warns a user who has no home."""
    os.environ.setdefault("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))


@pytest.fixture
def one_core(monkeypatch):
    """Measure in this thread: small calls are over sooner, and a function needs no process."""
    monkeypatch.setattr(utils.parallel, "cpu_count", lambda: 1)


# For trainings; PyTorch is imported only if a test asks for one of these.


@pytest.fixture(scope="session")
def digits():
    import watched

    return watched.digits()


@pytest.fixture(scope="session")
def few():
    import watched

    return watched.tenth_of_digits()


@pytest.fixture(scope="session")
def undisturbed():
    import trained

    return trained.undisturbed_runs()


@pytest.fixture
def classifier():
    import watched

    return watched.untrained_classifier()
