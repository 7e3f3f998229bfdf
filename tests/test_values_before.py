"""Values of the estimating half are those that were saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from values_before import CASES, SAVED, measure

EXPECTED = json.loads(SAVED.read_text())


def test_every_case_is_saved():
    assert list(EXPECTED) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_values_are_as_saved(name):
    got = measure(name)
    for quantity, expected in EXPECTED[name].items():
        # Other BLAS kernels, and loops compiled for any processor, moved numbers by up to 7 % of
        # this tolerance.
        np.testing.assert_allclose(got[quantity], expected, rtol=1e-9, atol=1e-12, err_msg=quantity)
