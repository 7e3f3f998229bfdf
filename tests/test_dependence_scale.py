"""The scale on which layers of different width are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from utils import (
    Gaussian,
    sliced_mutual_information,
    watch,
)
from utils.dependence_scale import effective_dimension, full_dependence
from utils.directions import Directions


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_full_dependence_is_the_mean_over_slices(dim):
    # -1/2 log(1 - <t, u>^2) over independent unit vectors, without any estimator.
    theta = np.random.default_rng(0).standard_normal((2, 200_000, dim))
    theta /= np.linalg.norm(theta, axis=2, keepdims=True)
    values = -0.5 * np.log1p(-((theta[0] * theta[1]).sum(axis=1) ** 2))
    error = values.std() / math.sqrt(values.size)
    assert abs(full_dependence(dim, dim) - values.mean()) < 4 * error


def test_no_normal_pair_exceeds_the_scale_by_more_than_second_order():
    # Components of variances a and b, fully correlated: E r^2 = sum(a b) / (sum(a) sum(b)), which
    # is 1 / sqrt(dim_x dim_y) if a and b are proportional, and less if not.
    rng = np.random.default_rng(0)
    for a, b in ((np.ones(20), np.ones(20)), (np.ones(30), np.arange(30) < 10.0)):
        x = rng.standard_normal((4000, len(a))) * np.sqrt(a)
        estimate = sliced_mutual_information(
            x, x * np.sqrt(b / a), estimator=Gaussian(), n_projections=1000, rng=0
        )
        dims = [variances.sum() ** 2 / (variances**2).sum() for variances in (a, b)]
        scale = full_dependence(*dims)
        value, error = estimate.value - estimate.independent_value, 4 * estimate.std_error
        assert value < scale + error
        if len(np.unique(b)) == 1:
            assert value > scale - error


@pytest.mark.parametrize(
    "variances", [np.ones(20), np.arange(1.0, 41.0), np.r_[100.0, np.ones(30)]]
)
def test_the_effective_dimension_is_seen_in_slices(variances):
    dim = len(variances)
    exact = variances.sum() ** 2 / (variances**2).sum()
    x = np.random.default_rng(0).standard_normal((4000, dim)) * np.sqrt(variances)
    slices = Directions(dim, 2000, rng=1).theta() @ x.T
    # The fourth moment of 2000 directions, known to 3 %, and n samples add 1 / n to the inverse.
    assert effective_dimension(slices, dim) == pytest.approx(exact, rel=0.1)


def test_shares_are_of_the_labels_entropy():
    # A layer that is the class, far apart: one random slice tells 10 classes nearly always.
    labels = np.arange(500) % 4
    x = torch.tensor(labels[:, None] + 0.001 * np.random.default_rng(0).standard_normal((500, 1)))
    model = nn.Sequential(nn.Identity())
    plane = watch(model, x, labels, layers={"x": model[0]}, n_projections=50, rng=0)
    plane.measure(1)
    share = plane.to_frame().query("quantity == 'information_y'")["share"].item()
    # KSG of four separate classes of 125: log 4 less the bias of its digammas.
    assert share == pytest.approx(1.0, abs=0.02)
