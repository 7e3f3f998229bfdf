"""Let the tests import the repository's modules, from wherever pytest is started."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

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
