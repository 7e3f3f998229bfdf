"""Figures draw what was measured, all of it, and leave the user's style as it was."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from utils import plotting
from utils.results import SavedResults

DIMS, VALUES = np.array([2, 5, 10]), np.linspace(0.0, 2.0, 4)


@pytest.fixture(autouse=True)
def no_open_figures():
    before = dict(plt.rcParams)
    yield
    plt.close("all")
    assert dict(plt.rcParams) == before


def grid(**changes):
    """A grid whose estimates are the truth, plus 0.1 for each seed."""
    seeds = 0.1 * np.arange(2)[:, None, None]
    values = np.broadcast_to(VALUES + seeds, (2, 2, 3, 4)).copy()
    return {
        "dims": DIMS,
        "mutual_informations": VALUES,
        "weights": ["mutinfo", "kth"],
        "base": values,
        "smi": 0.1 * values,
        "smi_exact": np.broadcast_to(0.1 * VALUES, (3, 4)),
    } | changes


def estimators(methods, distributions):
    rng = np.random.default_rng(0)
    return {
        "dims": DIMS,
        "mutual_informations": VALUES,
        "methods": methods,
        "distributions": distributions,
        "smi": rng.normal(size=(len(methods), len(distributions), 2, 3, 4)),
        "smi_exact": np.broadcast_to(0.1 * VALUES, (3, 4)),
    }


def plane(values_x, values_y, *, layers=("a", "b"), rules=("kth",), error=0.01):
    shape = (len(rules), len(layers), len(values_x))
    results = {"epochs": np.arange(len(values_x)), "layers": list(layers), "rules": list(rules)}
    for name, values in (("information_x", values_x), ("information_y", values_y)):
        results[name] = np.broadcast_to(np.asarray(values, float), shape)
        results[f"{name}_error"] = np.full(shape, error)
    return results


def texts(figure):
    axes = figure.axes
    found = [text.get_text() for axis in axes for text in axis.texts]
    for legend in [*figure.legends, *(axis.get_legend() for axis in axes)]:
        if legend is not None:
            found += [text.get_text() for text in legend.get_texts()]
    return found


def test_figure_1_draws_means_of_the_seeds_and_names_curves_once():
    figure = plotting.plot_estimates(grid(), dims=(2, 10), title="")
    for axis in figure.axes:
        curves = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
        scale = 1.0 if axis in figure.axes[:2] else 0.1
        for name in ("published weights", "k-th neighbour"):
            np.testing.assert_allclose(curves[name], scale * (VALUES + 0.05), rtol=1e-12)
    assert texts(figure).count("k-th neighbour") == 1


def test_a_curve_off_the_axes_is_not_drawn_and_said():
    wild = grid()
    wild["base"][0, 0, 0] = [-50.0, 80.0, 3.0, 4.0]
    figure = plotting.plot_estimates(wild, dims=(2,), title="")
    assert "published weights" not in [line.get_label() for line in figure.axes[0].get_lines()]
    assert any("off the axes: -50 to 80 nat" in text for text in texts(figure))


def test_published_marks_stand_only_where_sizes_agree():
    published = {
        "sizes": {"n_samples": 10},
        "dim": DIMS,
        "correlation_mi": [1.0, 0.5, 0.0],
        "correlation_smi": [1.0, 1.0, 1.0],
    }
    panels = {
        str(n): SavedResults(grid(), {"n_samples": n, "distribution": "cubed"}, {})
        for n in (10, 20)
    }
    figure = plotting.plot_correlations(panels, published=published)
    marked = [
        any("published figure" in str(line.get_label()) for line in axis.get_lines())
        for axis in figure.axes
    ]
    assert marked == [True, False]


@pytest.mark.parametrize("n_methods", [1, 5, 12])
@pytest.mark.parametrize("n_distributions", [1, 7])
def test_every_estimator_and_distribution_is_drawn(n_methods, n_distributions):
    methods = [f"Method{number}()" for number in range(n_methods)]
    kinds = [f"kind {number}" for number in range(n_distributions)]
    correlated = estimators(methods, ["normal", "uniform"])
    uncorrelated = estimators(methods, kinds)
    figure = plotting.plot_estimators(correlated, uncorrelated, uncorrelated, title="")
    for axis in figure.axes[:2]:
        names = [text.get_text() for text in axis.texts]
        assert {f"Method{number}" for number in range(n_methods)} <= set(names)
    points = [line for line in figure.axes[2].get_lines() if len(line.get_xdata()) == 12]
    assert len(points) == n_methods * n_distributions
    assert {f"{kind} data" for kind in kinds} <= set(texts(figure))


def test_slices_of_more_dimensions_go_from_smi_to_mi():
    table = pd.DataFrame(
        {
            "exact": [0.1, 0.5, 2.0],
            "Copula(k=5)": [0.1, 0.4, 1.5],
            "Copula(k=5) error": [0.01, 0.02, 0.03],
        },
        index=[1, 2, 3],
    )
    (axis,) = plotting.plot_k_slices(table, title="").axes
    shown = [line.get_ydata().tolist() for line in axis.get_lines()]
    assert [table["exact"].tolist(), table["Copula(k=5)"].tolist()] == shown
    bars = [np.ptp(bar[:, 1]) for bar in axis.collections[0].get_segments()]
    np.testing.assert_allclose(bars, [0.04, 0.08, 0.12])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1\nSMI", "2", "3, all\nMI"]
    assert texts(axis.figure) == ["exact value", "Copula"]


@pytest.mark.parametrize(
    ("values", "turn"),
    [
        ([0.1, 0.3, 0.5, 0.2], "2"),  # falls by 0.3, which is more than 2 errors of 0.014
        ([0.1, 0.3, 0.5, 0.49], None),  # falls by 0.01, which is less
        ([0.1, 0.2, 0.3, 0.5], None),  # the largest is the last
        ([0.5, 0.3, 0.2, 0.1], None),  # or the first
    ],
)
def test_the_turn_of_the_information_about_the_input_is_marked(values, turn):
    results = plane(values, [0.1, 0.2, 0.3, 0.4], layers=("a",))
    figure = plotting.plot_information_planes({"SMI": results}, layers=["a"], rule="kth", title="")
    assert [text.get_text() for text in figure.axes[0].texts] == ([turn] if turn else [])


@pytest.mark.parametrize(("top", "explained"), [(0.5, False), (0.9, True)])
def test_impossible_values_are_shaded_and_the_shading_explained(top, explained):
    results = plane([0.1, 0.2], [0.1, top])
    figure = plotting.plot_information_planes(
        {"SMI": results}, layers=["a"], rule="kth", title="", label_entropy=np.log(2)
    )
    assert ("values that no information can have" in texts(figure)) == explained


def test_panels_of_a_row_share_their_axes_or_do_not():
    results = plane(np.zeros(3), np.zeros(3))
    results["information_y"] = np.array([[[0.1, 0.1, 0.1], [0.1, 0.5, 0.9]]])
    for share in (True, False):
        figure = plotting.plot_information_planes(
            {"SMI": results}, layers=["a", "b"], rule="kth", title="", share_axes=share
        )
        assert (figure.axes[0].get_ylim() == figure.axes[1].get_ylim()) == share


def test_smoothing_keeps_the_mean_and_flattens():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    shown = {}
    for smoothing in (0.0, 3.0):
        figure = plotting.plot_information_over_epochs(
            {"SMI": plane(values, values)}, rule="kth", title="", smoothing=smoothing
        )
        shown[smoothing] = figure.axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(shown[0.0], values)
    # A Gaussian filter of width s leaves 1 / (2 sqrt(pi) s) of the variance of white noise: 0.094
    # here, known to 1 / sqrt(200 / 10) of itself.
    assert 0.03 < shown[3.0].var() / values.var() < 0.18
    # An epoch that was not measured is not drawn, and takes no other along.
    values[50] = np.nan
    figure = plotting.plot_information_over_epochs(
        {"SMI": plane(values, values)}, rule="kth", title="", smoothing=3.0
    )
    with_gap = figure.axes[0].get_lines()[0].get_ydata()
    assert np.flatnonzero(np.isnan(with_gap)).tolist() == [50]
    np.testing.assert_allclose(with_gap[100:], shown[3.0][100:], rtol=1e-12)
    with pytest.raises(ValueError, match="smoothing=-1"):
        plotting.plot_information_over_epochs(
            {"SMI": plane(values, values)}, rule="kth", title="", smoothing=-1
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ["c"]}, r"layer='c' .* \['a', 'b'\]"),
        ({"rule": "first"}, r"rule='first' .* \['kth'\]"),
        ({"rows": {"SMI": plane([], [])}}, r"rows\['SMI'\] holds no measured epoch"),
    ],
)
def test_what_is_not_in_the_results_is_named_with_the_choices(change, message):
    call = {"rows": {"SMI": plane([0.1, 0.2], [0.1, 0.2])}, "layers": ["a"], "rule": "kth"}
    with pytest.raises(ValueError, match=message):
        plotting.plot_information_planes(**call | change, title="")
    with pytest.raises(ValueError, match="dim=3"):
        plotting.plot_estimates(grid(), dims=(3,), title="")


def test_images_carry_their_labels():
    figure = plotting.plot_images(
        {"image": np.zeros((3, 4, 4)), "restored": np.ones((3, 4, 4))}, labels=[7, 2, 1], title=""
    )
    assert [axis.get_title() for axis in figure.axes] == ["7", "2", "1", "", "", ""]


def test_the_same_results_give_the_same_files(tmp_path):
    files = []
    for name in ("first", "second"):
        figure = plotting.plot_estimates(grid(), dims=(2,), title="")
        plotting.save_figure(figure, "figure", directory=tmp_path / name)
        files.append([(tmp_path / name / f"figure.{kind}").read_bytes() for kind in ("png", "pdf")])
    assert files[0] == files[1]


def test_one_dimension_has_no_smi_to_compare():
    with pytest.raises(ValueError, match="where SMI is MI; measure more dimensions"):
        plotting.plot_exact_smi(grid(dims=[1]), title="")
