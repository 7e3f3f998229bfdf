"""The law of cost that CONTRIBUTING states holds where it was not fitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import checks
from utils.results import load_results

RESULTS = Path(__file__).resolve().parents[1] / "results" / "paper"


@pytest.fixture
def rows():
    if not (RESULTS / "scale.pkl").exists():
        pytest.skip("`python -m benchmarks.scale --save` has not been run yet")
    return load_results("scale", directory=RESULTS).results["rows"]


def test_the_law_holds_within_a_quarter_where_it_was_not_fitted(rows):
    ratios = {(row["kind"], row["estimator"], row["samples"]): ratio for row, ratio in checks(rows)}
    assert len(ratios) == 6
    for case, ratio in ratios.items():
        assert 0.75 < ratio < 1.25, case
