"""The mutinfo library both ways: where it is installed, and by its interface where it is not."""

from __future__ import annotations

import importlib.util
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from recorded import recorded_slices

from benchmarks.mutinfo import slices
from utils import (
    KSG,
    WKL,
    Copula,
    CorrelatedNormal,
    Gaussian,
    SavedResults,
    from_mutinfo,
    load_results,
    mutual_information_of_slices,
    sliced_mutual_information,
    summaries,
    to_mutinfo,
)
from utils.estimators import as_slice_estimator

DIRECTORY = Path(__file__).parents[1] / "results" / "paper"
AXES = ("dims", "mutual_informations")


def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


NEWER, OLDER = map(is_there, ("mutinfo.estimators.knn", "mutinfo.estimators.mutual_information"))
needs_newer = pytest.mark.skipif(
    not NEWER, reason="the newer mutinfo library is not installed; see requirements-mutinfo.txt"
)
needs_older = pytest.mark.skipif(
    not OLDER, reason="the older mutinfo library (Information-v3) is not installed"
)


pytestmark = pytest.mark.usefixtures("one_core")


def pair(n=500, scale=1000.0):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n, 2))
    y += x
    return scale * x + 3, y, rng.integers(0, 3, n)


def labelled(n=600):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, n)
    return 100 * (rng.standard_normal((n, 3)) + labels[:, None]), labels


def slices_of(theirs, ours, x, y, **options):
    """What both give of the same slices, (n_slices,) each."""
    x_slices, y = recorded_slices(
        sliced_mutual_information, x, y, estimator=ours, n_projections=20, rng=0, **options
    )
    return [
        mutual_information_of_slices(x_slices, y, estimator=estimator, **options).per_slice
        for estimator in (theirs, ours)
    ]


# ---------------------------------------------------------------------------------- newer library


@needs_newer
def test_their_ksg_is_ours_where_it_is_above_0_at_any_scale():
    from mutinfo.estimators.knn import KSG as TheirKSG

    x, y, _ = pair()
    theirs, ours = slices_of(TheirKSG(k_neighbors=5), KSG(5), x, y)
    above = ours > 0
    assert above.sum() > 10
    # Sums of 500 numbers of the order of 1, added up in another order.
    np.testing.assert_allclose(theirs[above], ours[above], rtol=0, atol=1e-9)
    assert (theirs[~above] == 0).all()


@needs_newer
def test_a_whole_call_recognises_their_estimators_and_gives_their_error():
    from mutinfo.estimators.gaussian import MutualInformation
    from mutinfo.estimators.knn import KSG as TheirKSG

    x, y, _ = pair()
    options = {"n_projections": 20, "rng": 0}
    theirs = sliced_mutual_information(x, y, estimator=TheirKSG(k_neighbors=5), **options)
    explicit = sliced_mutual_information(
        x, y, estimator=from_mutinfo(TheirKSG(k_neighbors=5)), **options
    )
    np.testing.assert_array_equal(theirs.per_slice, explicit.per_slice)
    ours = sliced_mutual_information(x, y, estimator=KSG(5), **options)
    np.testing.assert_allclose(theirs.per_slice, np.maximum(ours.per_slice, 0), rtol=0, atol=1e-9)
    # Slices share samples: the error of their mean is at most the mean of their errors.
    assert theirs.sampling_error >= ours.sampling_error
    gaussian = sliced_mutual_information(x, y, estimator=MutualInformation(), **options)
    assert gaussian.sampling_error == 0
    assert gaussian.value == pytest.approx(ours.value, abs=0.05)


@needs_newer
def test_labels_by_their_entropies_are_our_wkl_and_do_not_depend_on_codes():
    from mutinfo.estimators.knn import WKL as TheirWKL

    x, labels = labelled()
    theirs, ours = slices_of(TheirWKL(k_neighbors=5), WKL(5, "mutinfo"), x, labels, y_discrete=True)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    names = np.array([-1000, 3, 77])[labels]
    again = slices_of(TheirWKL(k_neighbors=5), WKL(5, "mutinfo"), x, names, y_discrete=True)[0]
    np.testing.assert_allclose(again, theirs, rtol=0, atol=1e-9)


def nearest_distances(x):
    # Exact: floats within a factor of 2 of each other are subtracted without rounding (Sterbenz).
    gaps = np.diff(np.sort(x))
    return np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))


def information_of_labels(x, labels, *, offset=0.0):
    """H(x) - sum p H(x | class) by first neighbours, with something added to every distance."""
    parts = [(1.0, x)] + [(-np.mean(labels == c), x[labels == c]) for c in np.unique(labels)]
    return math.fsum(
        weight * (math.log(len(part) - 1) + np.log(nearest_distances(part) + offset).mean())
        for weight, part in parts
    )


@needs_newer
def test_where_labels_differ_by_more_ours_are_exact():
    from mutinfo.estimators.knn import WKL as TheirWKL

    x, labels = labelled()
    x = x[:, 0] / x[:, 0].std()
    # Two samples of different classes, much nearer to each other than any others.
    x[0], labels[:2] = x[1] + 1e-10, (0, 1)
    x = (x - x.mean()) / x.std()
    ours, theirs = (
        mutual_information_of_slices(x[None], labels, estimator=estimator, y_discrete=True).value
        for estimator in (WKL(5, "mutinfo"), TheirWKL(k_neighbors=5))
    )
    exact = information_of_labels(x, labels)
    # Numbers near 1 are rounded by 1e-16, 1e-6 of that distance: 3e-9 in the mean of 600 terms.
    assert abs(ours - exact) < 1e-8
    assert abs(theirs - exact) > 1e-8
    # Theirs is right for distances that are all longer by 1e-15.
    assert abs(theirs - information_of_labels(x, labels, offset=1e-15)) < 1e-8


@needs_newer
def test_labels_are_refused_where_they_have_no_entropy():
    from mutinfo.estimators.gaussian import MutualInformation
    from mutinfo.estimators.knn import KSG as TheirKSG

    x, labels = labelled()
    for estimator in (TheirKSG(), MutualInformation(), from_mutinfo(TheirKSG())):
        with pytest.raises(TypeError, match=r"does not measure labels: .*no `entropy`; use .*WKL"):
            sliced_mutual_information(x, labels, estimator=estimator, y_discrete=True)


@needs_newer
def test_their_classes_are_refused_and_so_are_estimators_of_one_variable():
    from mutinfo.estimators.gaussian import DifferentialEntropy
    from mutinfo.estimators.knn import KSG as TheirKSG

    x, y, _ = pair()
    for door in (from_mutinfo, as_slice_estimator):
        with pytest.raises(TypeError, match=r"KSG is a class; give an object of it, as KSG\(\)"):
            door(TheirKSG)
    with pytest.raises(TypeError, match=r"DifferentialEntropy\(\) has the parameters \(x"):
        sliced_mutual_information(x, y, estimator=DifferentialEntropy())


@needs_newer
@pytest.mark.parametrize("estimator", [Copula(), KSG(5), WKL(5), Gaussian()])
def test_ours_run_in_their_slicing(estimator):
    from mutinfo.estimators.smi import PCMI, SMI
    from sklearn.base import clone

    x, y, labels = pair()
    inside = pickle.loads(pickle.dumps(clone(to_mutinfo(estimator))))
    expected = estimator.mutual_information(x, y)
    assert inside(x, y) == expected.value
    assert inside(x, y, std=True) == (expected.value, expected.std_error)
    by_labels = estimator.mutual_information_labels(x, labels)
    assert inside(x, labels) == inside(x, labels[:, None]) == by_labels.value
    # They slice by directions of their own, each slice drawn at random.
    exact = sliced_mutual_information(x, y, estimator=estimator, rng=0)
    theirs = float(SMI(inside, n_projection_samples=200)(x, y))
    assert theirs == pytest.approx(exact.value, abs=4 * exact.per_slice.std() / np.sqrt(200))
    assert np.isfinite(float(PCMI(inside)(x, y)))


@needs_newer
@pytest.mark.parametrize("slice_dims", [2, (2, None)])
def test_their_slices_of_more_dimensions_agree_with_ours(slice_dims):
    from mutinfo.estimators.smi import SMI

    x, y = CorrelatedNormal(2.0, 4, 4, rng=0).sample(1000, rng=1)
    inside = SMI(to_mutinfo(Gaussian()), projection_dim=slice_dims, n_projection_samples=100)
    ours = sliced_mutual_information(
        x, y, estimator=Gaussian(), slice_dims=slice_dims, n_projections=500, rng=0
    )
    # Ours is free of the error of slicing by its control variate, theirs has that of 100 slices.
    assert float(inside(x, y)) == pytest.approx(ours.value, abs=4 * ours.per_slice.std() / 10)


@needs_newer
def test_their_own_ksg_and_ours_agree_within_their_slicing():
    from mutinfo.estimators.knn import KSG as TheirKSG

    x, y, _ = pair(scale=1.0)
    # In one dimension and on standardised data: one slice, the same numbers.
    x, y = (values[:, :1] / values[:, :1].std() for values in (x, y))
    assert to_mutinfo(KSG(5))(x, y) == pytest.approx(TheirKSG(k_neighbors=5)(x, y), abs=1e-9)


# ---------------------------------------------------------------------------------- older library


def older(k=5):
    from mutinfo.estimators.mutual_information import MutualInfoEstimator

    return MutualInfoEstimator(
        entropy_estimator_params={"method": "KL", "functional_params": {"k_neighbours": k}}
    )


@needs_older
def test_every_slice_of_the_older_library_is_our_wkl_with_its_weights():
    x, y, _ = pair()
    theirs, ours = slices_of(older(), WKL(5, "mutinfo"), x, y)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    x, labels = labelled()
    theirs, ours = slices_of(older(), WKL(5, "mutinfo"), x, labels, y_discrete=True)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    got = sliced_mutual_information(x, labels, estimator=older(), y_discrete=True, n_projections=5)
    assert got.sampling_error > 0


class MutualInfoEstimator:
    """The interface of the older library, and the entropies of a fitted normal distribution."""

    def __init__(self, X_is_discrete=False, Y_is_discrete=False):
        self._X_is_discrete, self._Y_is_discrete = X_is_discrete, Y_is_discrete

    def fit(self, x, y):
        self._n_fitted = len(x)

    def estimate(self, x, y):
        assert self._n_fitted == len(x)
        assert not self._X_is_discrete
        assert x.shape == (len(x), 1)
        if self._Y_is_discrete:
            parts = [(np.mean(y == code), x[y == code].var()) for code in np.unique(y)]
            return -0.5 * sum(p * np.log(variance) for p, variance in parts), 0.25
        assert y.shape == x.shape
        return -0.5 * np.log(1 - np.mean(x * y) ** 2), 0.25


def test_the_older_interface_is_fitted_anew_for_every_slice():
    for is_discrete in (True, False):
        theirs = MutualInfoEstimator(X_is_discrete=True, Y_is_discrete=is_discrete)
        state = dict(vars(theirs))
        x, y, _ = pair()
        of_theirs, ours = slices_of(from_mutinfo(theirs), Gaussian(), x, y)
        np.testing.assert_allclose(of_theirs, ours, rtol=0, atol=1e-9)
        x, labels = labelled()
        got = sliced_mutual_information(
            x, labels, estimator=from_mutinfo(theirs), n_projections=5, y_discrete=True
        )
        assert got.value > 0
        assert got.sampling_error == 0.25
        assert vars(theirs) == state


# ------------------------------------------------------------------------------ committed results


@pytest.fixture(scope="module")
def committed():
    """What both libraries gave of the slices of benchmarks/mutinfo.py, by "pairs" or "labels"."""
    return load_results("mutinfo", directory=DIRECTORY)


@pytest.mark.parametrize(
    ("y", "name"),
    [
        ("pairs", "mutinfo 2026.5 KSG"),
        ("pairs", "mutinfo 2026.5 gaussian"),
        ("pairs", "mutinfo 0.0.1 MutualInfoEstimator"),
        ("labels", "mutinfo 2026.5 WKL"),
        ("labels", "mutinfo 0.0.1 MutualInfoEstimator"),
    ],
)
def test_committed_slices_of_theirs_are_ours_where_they_are_not_clipped(committed, y, name):
    theirs = committed.results[y][name]
    ours = committed.results[y][committed.settings["counterparts"][name]]
    is_clipped = theirs == 0
    assert is_clipped.any() == (name == "mutinfo 2026.5 KSG")
    assert (ours[is_clipped] <= 0).all()
    np.testing.assert_allclose(theirs[~is_clipped], ours[~is_clipped], rtol=0, atol=1e-9)


def test_committed_values_of_ours_are_those_of_this_code(committed):
    dim, mutual_information = (committed.settings[name][-1] for name in AXES)
    x, y, labels = slices(dim, mutual_information)
    for kind, other in (("pairs", y), ("labels", labels)):
        got = mutual_information_of_slices(
            x, other, estimator=WKL(5, "mutinfo"), y_discrete=kind == "labels"
        )
        expected = committed.results[kind]["WKL(5, 'mutinfo')"][-1, -1]
        # Products of matrices are summed up in another order elsewhere.
        np.testing.assert_allclose(got.per_slice, expected, rtol=0, atol=1e-9)


def test_the_table_says_how_far_theirs_are_from_ours():
    ours = np.array([[[-0.01, 0.02], [0.5, 0.7]]])
    theirs = np.array([[[0.0, 0.02], [0.5, 0.702]]])
    settings = {"mutual_informations": [0.0, 1.0], "counterparts": {"theirs": "ours"}}
    saved = SavedResults({"pairs": {"theirs": theirs, "ours": ours}}, settings, {})
    table = summaries.compare_with_mutinfo(saved)
    assert table.loc[("pairs", "theirs")].to_dict() == {
        "ours": "ours",
        "largest difference": "2e-03",
        "clipped at 0": "25%",
        "dependent: theirs, ours": "0.601, 0.600",
        "independent: theirs, ours": "0.010, 0.005",
    }


# --------------------------------------------------------------------------------------- bad input


def test_the_wrong_thing_is_told_what_is_wanted():
    with pytest.raises(TypeError, match=r"3 cannot measure a slice; give .* of the mutinfo lib"):
        from_mutinfo(3)
    with pytest.raises(TypeError, match="MutualInfoEstimator is a class; give an object of it"):
        from_mutinfo(MutualInfoEstimator)
    unlike = MutualInfoEstimator()
    del unlike._Y_is_discrete
    with pytest.raises(TypeError, match=r"does not say what is discrete, .*0\.0\.1 and 0\.0\.2"):
        from_mutinfo(unlike)
    for estimator in (KSG, np.mean, older if OLDER else 3):
        with pytest.raises(TypeError, match="no samples to measure by mutual_information"):
            to_mutinfo(estimator)
    with pytest.raises(TypeError, match="several results; name one weight rule"):
        to_mutinfo(WKL(5, ("kth", "mutinfo")))


@pytest.mark.skipif(NEWER, reason="the newer mutinfo library is installed")
def test_without_the_newer_library_the_error_says_how_to_install_it():
    found = r"\(an older one is, .*\)" if OLDER else ""
    with pytest.raises(
        ImportError, match=rf"is not installed ?{found}; .*requirements-mutinfo\.txt"
    ):
        to_mutinfo(KSG(5))
