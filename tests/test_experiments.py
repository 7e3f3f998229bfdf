"""The grid: resumable, repeatable cell by cell, and careful with files that are not its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.estimators import KSG, WKL, Copula, SliceEstimator
from utils.experiments import (
    DISTRIBUTIONS,
    EstimatorsConfig,
    SyntheticConfig,
    compress,
    correlations,
    run_estimators,
    run_synthetic,
)
from utils.results import load_results, save_results
from utils.slicing import SMICompressor
from utils.smi import mutual_information_of_slices, sliced_mutual_information
from utils.synthetic import CorrelatedNormal

ROOT = Path(__file__).resolve().parents[1]
TINY = SyntheticConfig(
    dims=(1, 3),
    mutual_informations=(0.0, 1.5),
    n_samples=100,
    n_projections=10,
    n_seeds=2,
    seed=3,
)
ARRAYS = ("base", "base_std_error", "smi", "smi_std_error")


def run(config, path, **options):
    return run_synthetic(config, path=path, **{"n_jobs": 1, "progress": False, **options})


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "tiny.pkl"
    return run(TINY, path), path


def compare(estimators, path, **options):
    """Few slices of a grid of four cells per estimator."""
    config = EstimatorsConfig(
        estimators=estimators,
        dims=(1, 2),
        mutual_informations=(1.0, 2.0),
        n_samples=50,
        n_projections=3,
        n_seeds=2,
    )
    return run_estimators(config, path=path, **{"n_jobs": 1, "progress": False, **options})


def test_results_are_arrays_over_weights_seeds_dims_and_values(tiny):
    results, path = tiny
    for name in ARRAYS:
        assert results[name].shape == (2, 2, 2, 2)
        assert np.isfinite(results[name]).all()
    assert results["done"].all()
    assert results["dims"].tolist() == [1, 3]
    assert results["mutual_informations"].tolist() == [0.0, 1.5]
    assert results["weights"] == ["mutinfo", "kth"]
    saved = load_results(path.stem, directory=path.parent)
    assert_same(saved.results, results)
    assert saved.settings["n_samples"] == 100
    assert saved.settings["dims"] == (1, 3)


def test_the_numbers_are_those_of_the_estimators(tiny):
    results, _ = tiny
    streams = np.random.SeedSequence(3, spawn_key=(1, 3)).spawn(2)
    estimator = WKL(5, ("mutinfo", "kth"))
    for position, (value, stream) in enumerate(zip((0.0, 1.5), streams, strict=True)):
        rotation, sample, base, slices = map(np.random.default_rng, stream.spawn(4))
        x, y = CorrelatedNormal(value, 3, 3, rng=rotation).sample(100, rng=sample)
        x_rng, y_rng, measure_rng = slices.spawn(3)
        pairs = SMICompressor(3, 10, rng=x_rng)(x), SMICompressor(3, 10, rng=y_rng)(y)
        expected = {
            "base": estimator.mutual_information(x, y, rng=base),
            "smi": mutual_information_of_slices(*pairs, estimator=estimator, rng=measure_rng),
        }
        for name, by_rule in expected.items():
            for rule, estimate in enumerate(by_rule.values()):
                assert results[name][rule, 1, 1, position] == estimate.value
                assert results[f"{name}_std_error"][rule, 1, 1, position] == estimate.std_error


def test_exact_values_come_with_the_normal_distribution_alone(tiny, tmp_path):
    expected = [
        [CorrelatedNormal(value, dim, dim).sliced_mutual_information for value in (0.0, 1.5)]
        for dim in (1, 3)
    ]
    np.testing.assert_array_equal(tiny[0]["smi_exact"], expected)
    for distribution in ("uniform", "cubed"):
        config = replace(TINY, distribution=distribution, dims=(1,), n_seeds=1)
        results = run(config, tmp_path / f"{distribution}.pkl")
        assert "smi_exact" not in results
        assert np.isfinite(results["smi"]).all()


def test_every_distribution_is_its_own(tmp_path):
    smi = {}
    for distribution in DISTRIBUTIONS:
        config = replace(TINY, distribution=distribution, dims=(3,), n_seeds=1)
        smi[distribution] = run(config, tmp_path / f"{distribution}.pkl")["smi"].ravel()
    assert not np.any(smi["normal"] == smi["uniform"])
    assert not np.any(smi["normal"] == smi["cubed"])


def test_a_part_of_the_grid_gives_the_same_numbers(tiny, tmp_path):
    whole, _ = tiny
    one_dim = run(replace(TINY, dims=(3,)), tmp_path / "dims.pkl")
    one_seed = run(replace(TINY, n_seeds=1, dims=(3, 1)), tmp_path / "seeds.pkl")
    for name in ARRAYS:
        np.testing.assert_array_equal(one_dim[name], whole[name][:, :, 1:])
        np.testing.assert_array_equal(one_seed[name], whole[name][:, :1, ::-1])


def test_seeds_and_values_are_measured_on_different_samples(tiny):
    results, _ = tiny
    # Not the errors: two may both be the least there is, that of independent data.
    for name in ("base", "smi"):
        assert len(np.unique(results[name][0])) == results[name][0].size


def test_another_seed_gives_other_numbers(tiny, tmp_path):
    other = run(replace(TINY, seed=4), tmp_path / "grid.pkl")
    for name in ("base", "smi"):
        assert not np.any(other[name] == tiny[0][name])


def test_the_number_of_processes_does_not_change_the_numbers(tmp_path):
    # Wide enough for the linear algebra library to use its own threads where it may.
    config = replace(TINY, dims=(3, 30), n_samples=500)
    alone = run(config, tmp_path / "1.pkl", n_jobs=1)
    assert_same(run(config, tmp_path / "2.pkl", n_jobs=2), alone)


def test_values_below_zero_are_kept_without_a_warning(tmp_path):
    # Cubed data have tails that mislead WKL. A warning would be an error here.
    config = replace(TINY, distribution="cubed", dims=(1,), mutual_informations=(0.0,))
    results = run(replace(config, n_samples=1000), tmp_path / "grid.pkl")
    assert (results["smi"] < -5.0 * results["smi_std_error"]).any()
    # A call of its own still warns afterwards.
    x, y = np.random.default_rng(0).lognormal(sigma=3, size=(2, 300, 1))
    with pytest.warns(UserWarning, match="is never negative"):
        sliced_mutual_information(x, y, estimator=WKL(5))


def test_the_file_is_whole_after_every_cell(tmp_path, one_core):
    seen = set()

    def look(x, y):
        if not (tmp_path / "grid.pkl").exists():
            seen.add(0)
            return 0.0
        assert os.listdir(tmp_path) == ["grid.pkl"]
        saved = load_results("grid", directory=tmp_path).results
        np.testing.assert_array_equal(np.isfinite(saved["smi"]).all(axis=(0, 4)), saved["done"][0])
        seen.add(int(saved["done"].sum()))
        return 0.0

    compare((look,), tmp_path / "grid.pkl")
    assert seen == {0, 1, 2, 3}
    assert sorted(os.listdir(tmp_path)) == ["grid.csv", "grid.pkl"]


LONG = replace(TINY, dims=(1, 2, 3, 4), n_samples=400, n_projections=100, n_seeds=5)
RUN = """
import sys
from utils.experiments import SyntheticConfig, run_synthetic
run_synthetic({config!r}, path={path!r}, n_jobs=2, progress=False)
"""


@pytest.mark.long
def test_a_killed_run_with_worker_processes_resumes_where_it_stopped(tmp_path, capsys):
    path = tmp_path / "grid.pkl"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(config=LONG, path=str(path))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # A group of its own, so that the worker processes it leaves can be ended too.
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    half = load_results("grid", directory=tmp_path).results
    assert 0 < half["done"].sum() < 20
    resumed = run(LONG, path, progress=True)
    done = half["done"].sum()
    said = capsys.readouterr().out
    assert re.search(rf"{done} of 20 cells loaded .*; {20 - done} left to measure", said)
    assert_same(resumed, run(LONG, tmp_path / "uninterrupted.pkl"))


def test_a_finished_run_is_only_read(tiny, capsys):
    results, path = tiny
    before = path.stat().st_mtime_ns
    assert_same(run(TINY, path), results)
    assert capsys.readouterr().out == ""
    assert_same(run(TINY, path, progress=True), results)
    assert path.stat().st_mtime_ns == before
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"4 of 4 cells loaded from {path} of 20\d\d-\d\d-\d\d \d\d:\d\d; nothing left to measure",
        line,
    )


def test_an_estimator_of_other_code_does_not_get_the_old_grid(tmp_path, one_core):
    def make(answer):
        class Mine(SliceEstimator):
            has_terms = False

            def slice_terms(self, x, y):
                return np.full((1, len(x), 1), answer)

            def __repr__(self):
                return "Mine()"

        return Mine()

    def make_function(helper):
        def mine(x, y):
            return helper(x)

        return mine

    path = tmp_path / "grid.pkl"
    for old, new, name in (
        (make(1.0), make(42.0), r"Mine\(\)"),
        (make_function(lambda x: 1.0), make_function(lambda x: 42.0), "mine"),
        (make_function(np.min), make_function(np.max), "mine"),
    ):
        before = compare((old,), path, overwrite=True)
        assert_same(compare((old,), path), before)
        with pytest.raises(ValueError, match=rf"code of .*{name}.* has changed since .*grid\.pkl"):
            compare((new,), path)
        assert_same(compare((new,), path, ignore_code=True), before)
        after = compare((new,), path, overwrite=True)
        assert not np.any(after["smi"] == before["smi"])


def test_the_code_of_the_grid_itself_counts(tiny, tmp_path, monkeypatch):
    _, path = tiny
    copied = tmp_path / "grid.pkl"
    copied.write_bytes(path.read_bytes())

    def sample(self, n, *, rng=None):
        return np.ones((2, n, self.dim_x))

    monkeypatch.setattr(CorrelatedNormal, "sample", sample)
    with pytest.raises(ValueError, match="code of distribution 'normal' has changed"):
        run(TINY, copied)


def test_a_file_without_a_record_of_its_code_is_taken_with_a_note(tiny, tmp_path, capsys):
    results, path = tiny
    saved = load_results(path.stem, directory=path.parent)
    save_results("old", saved.results, settings=saved.settings, directory=tmp_path, csv=False)
    assert_same(run(TINY, tmp_path / "old.pkl", progress=True), results)
    assert "its code cannot be compared; nothing left to measure" in capsys.readouterr().out
    # It gets its table all the same.
    assert (tmp_path / "old.csv").read_bytes() == path.with_suffix(".csv").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"distribution": "cubed"},
        {"dims": (1, 2)},
        {"mutual_informations": (0.0, 2.0)},
        {"n_samples": 101},
        {"n_projections": 11},
        {"k": 4},
        {"weights": ("kth",)},
        {"n_seeds": 3},
        {"seed": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_refused_by_name(tiny, change):
    _, path = tiny
    before = path.read_bytes()
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match="other settings") as raised:
        run(replace(TINY, **change), path)
    message = str(raised.value)
    assert str(path) in message
    assert f"{name} was {getattr(TINY, name)!r} and is now {value!r}" in message
    assert path.read_bytes() == before


def test_settings_that_the_file_alone_has_count(tiny, tmp_path):
    _, path = tiny
    saved = load_results(path.stem, directory=path.parent)
    save_results(
        "more",
        saved.results,
        settings={**saved.settings, "weights_of": np.arange(2)},
        directory=tmp_path,
        code=saved.provenance["code"],
    )
    with pytest.raises(ValueError, match="weights_of was array.* and is now None"):
        run(TINY, tmp_path / "more.pkl")


def test_other_settings_start_anew_when_told_to(tiny, tmp_path):
    results, path = tiny
    copied = tmp_path / "grid.pkl"
    copied.write_bytes(path.read_bytes())
    config = replace(TINY, dims=(3,))
    again = run(config, copied, overwrite=True)
    np.testing.assert_array_equal(again["smi"], results["smi"][:, :, 1:])
    assert load_results("grid", directory=tmp_path).settings["dims"] == (3,)


def test_a_file_of_another_kind_is_refused(tmp_path):
    save_results("other", {"accuracy": 0.9}, settings={"epochs": 3}, directory=tmp_path)
    with pytest.raises(ValueError, match=r"other\.pkl.*other settings.*n_samples was None"):
        run(TINY, tmp_path / "other.pkl")
    with pytest.raises(ValueError, match=r"grid\.txt.*\.pkl"):
        run(TINY, tmp_path / "grid.txt")


def test_lists_and_numpy_numbers_are_settings_too(tiny, tmp_path):
    config = SyntheticConfig(
        dims=[1, 3],
        mutual_informations=np.array([0, 1.5]),
        n_samples=np.int64(100),
        n_projections=10,
        weights=["mutinfo", "kth"],
        n_seeds=2,
        seed=3,
    )
    assert config == TINY
    assert_same(run(config, tiny[1]), tiny[0])


@pytest.mark.parametrize("progress", [False, True])
def test_the_progress_bar_is_on_stderr_when_asked_for(progress, tmp_path, capfd):
    config = replace(TINY, dims=(1,), n_seeds=1)
    run(config, tmp_path / "grid.pkl", progress=progress)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert ("seeds x dims" in printed.err) == progress
    assert bool(printed.err) == progress


COMPARED = EstimatorsConfig(
    estimators=(KSG(3), WKL(5, ("mutinfo", "kth")), Copula(2)),
    distributions=("sign-flipped", "normal"),
    dims=(2, 1),
    mutual_informations=(0.0, 1.0, 3.0),
    n_samples=60,
    n_projections=7,
    n_seeds=2,
    seed=5,
)


def test_estimators_are_compared_on_the_same_samples(tmp_path):
    results = run_estimators(COMPARED, path=tmp_path / "all.pkl", n_jobs=1, progress=False)
    assert results["done"].all()
    assert results["methods"] == [
        "KSG(k=3)",
        "WKL(k=5, weights='mutinfo')",
        "WKL(k=5, weights='kth')",
        "Copula(k=2)",
    ]
    assert results["smi"].shape == results["smi_std_error"].shape == (4, 2, 2, 2, 3)
    assert correlations(results, "smi").shape == (4, 2, 2, 2)

    def streams():
        # Anew for every call, since a generator counts what was spawned from it.
        stream = np.random.SeedSequence(5, spawn_key=(1, 2)).spawn(3)[2]
        return map(np.random.default_rng, stream.spawn(4))

    rotation, sample, _, _ = streams()
    x, y = CorrelatedNormal(3.0, 2, 2, rng=rotation).sample(60, rng=sample)
    for method, estimator in enumerate((KSG(3), WKL(5, "mutinfo"), WKL(5), Copula(2))):
        *_, slices = streams()
        estimate = sliced_mutual_information(x, y, estimator=estimator, n_projections=7, rng=slices)
        assert results["smi"][method, 1, 1, 0, 2] == pytest.approx(estimate.value, rel=1e-12)
        error = results["smi_std_error"][method, 1, 1, 0, 2]
        assert error == pytest.approx(estimate.std_error, rel=1e-9)


def test_a_comparison_of_estimators_resumes_where_it_stopped(tmp_path, one_core):
    path, calls, stop_at = tmp_path / "all.pkl", [], [25]

    def spread(x, y):
        if len(calls) == stop_at[0]:
            raise KeyboardInterrupt
        calls.append(len(x))
        return float(np.ptp(x - y))

    # Dimension 1 takes one slice, 2 takes three: 16 calls in 4 cells, per estimator.
    estimators = (KSG(3), spread, Copula(2))
    stop_at[0] = 9
    with pytest.raises(KeyboardInterrupt, match=rf"of 12 cells in {path}; the same call resumes"):
        compare(estimators, path)
    done = load_results("all", directory=tmp_path).results["done"]
    assert 4 < done.sum() < 8
    calls.clear()
    stop_at[0] = None
    resumed = compare(estimators, path)
    assert 0 < len(calls) < 16
    assert_same(resumed, compare(estimators, tmp_path / "whole.pkl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimators": ()}, "estimators is empty"),
        ({"distributions": ()}, "distributions is empty"),
        ({"distributions": ("normal", "cauchy")}, "'cauchy' is unknown"),
        ({"n_samples": 5}, "n_samples has 5 samples"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(COMPARED, **change)


def test_a_class_of_estimators_is_refused():
    with pytest.raises(TypeError, match="is a class; give an object"):
        replace(COMPARED, estimators=(KSG(), float))


def test_first_coordinates_are_the_first_and_components_have_the_most_variance():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2, 5)) * np.arange(1, 11).reshape(2, 5)
    flat = x.reshape(200, 10)
    np.testing.assert_array_equal(compress(x, 4, method="first"), flat[:, :4])
    components = compress(x, 4, rng=0)
    # The variances along principal axes are the largest eigenvalues of the covariance.
    expected = np.sort(np.linalg.eigvalsh(np.cov(flat.T)))[::-1][:4]
    np.testing.assert_allclose(components.var(axis=0, ddof=1), expected, rtol=1e-9)
    assert compress(x[:, 0, :3], 4, rng=0).shape == compress(x[:, 0, :3], 4, method="first").shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components=0 is too small"),
        ({"n_components": 2, "method": "last"}, "method='last'; choose 'pca' or 'first'"),
    ],
)
def test_a_compression_that_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compress(np.eye(3), **arguments)


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run(replace(TINY, dims=(1,), n_seeds=1), "~/runs/grid.pkl")
    assert sorted(os.listdir(tmp_path / "runs")) == ["grid.csv", "grid.pkl"]
    assert not Path("~").exists()
