"""KSG and Ross: counts of neighbours, against all pairs and scikit-learn."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from utils import KSG

DRAW = {
    "normal": lambda rng, *shape: rng.standard_normal(shape),
    "uniform": lambda rng, *shape: rng.random(shape),
    "cauchy": lambda rng, *shape: rng.standard_cauchy(shape),
}


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (2, 1), (3, 5)])
@pytest.mark.parametrize("k", [1, 5])
def test_ksg_is_that_of_all_pairs(kind, dim_x, dim_y, k):
    rng = np.random.default_rng([dim_x, dim_y, k])
    x, y = DRAW[kind](rng, 300, dim_x), DRAW[kind](rng, 300, dim_y)
    y[:, 0] += x[:, 0]
    terms = naive.ksg_terms(x, y, k)
    got = KSG(k).mutual_information(x, y)
    # Counts are whole numbers: the same, or off by much more than the rounding of a sum.
    assert got.value == pytest.approx(terms.mean(), abs=1e-12)
    assert got.std_error == pytest.approx(terms.std(ddof=1) / math.sqrt(300), abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 5])
def test_labelled_ksg_is_that_of_all_pairs(dim, k):
    rng = np.random.default_rng([dim, k])
    labels = rng.integers(0, 3, 300)
    x = rng.standard_normal((300, dim)) + labels[:, None]
    terms = naive.ross_terms(x, labels, k)
    got = KSG(k).mutual_information_labels(x, labels)
    assert got.value == pytest.approx(terms.mean(), abs=1e-12)


def test_scikit_learn_finds_the_same_ksg():
    for seed, strength in enumerate((0.3, 1.0, 5.0)):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((500, 1))
        y = strength * x**2 + rng.standard_normal((500, 1))
        theirs = mutual_info_regression(x, y[:, 0], n_neighbors=5, random_state=0)[0]
        assert theirs > 0
        # It adds noise of 1e-10, which moves no count here.
        assert KSG(5).mutual_information(x, y).value == pytest.approx(theirs, abs=1e-12)
        labels = np.digitize(y[:, 0], [0, 1, 2])
        theirs = mutual_info_classif(x, labels, n_neighbors=5, random_state=0)[0]
        assert theirs > 0
        got = KSG(5).mutual_information_labels(x, labels).value
        assert got == pytest.approx(theirs, abs=1e-12)


@pytest.mark.filterwarnings("ignore:.* repeat others:UserWarning")
def test_ksg_takes_ties_constant_columns_and_offsets():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 200, 2)).astype(float)
    assert math.isfinite(KSG(3).mutual_information(x, y, rng=0).value)
    x, y = rng.standard_normal((200, 2)), rng.standard_normal((200, 1))
    y[:, 0] += x[:, 0]
    expected = KSG(3).mutual_information(x, y).value
    wide = np.hstack([x, np.full((200, 1), 0.1)])
    assert KSG(3).mutual_information(wide, y).value == expected
    got = KSG(3).mutual_information(x * 1e-150, y * 1e150).value
    assert got == pytest.approx(expected, abs=1e-12)
