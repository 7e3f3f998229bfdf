"""Tables: every number of a result is in one row, beside the axes that it belongs to."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from utils.results import load_results, save_results

GRID = {
    "smi": np.arange(24.0).reshape(2, 1, 3, 4),
    "smi_std_error": np.arange(24.0).reshape(2, 1, 3, 4) / 100,
    "done": np.ones((1, 3), bool),
    "dims": np.array([1, 5, 10]),
    "mutual_informations": np.array([0.0, 1.0, 2.0, 4.0]),
    "smi_exact": np.arange(12.0).reshape(3, 4),
    "weights": ["mutinfo", "kth"],
}
PLANE = {
    "epochs": np.array([2, 4]),
    "layers": ["layer 1", "layer 2", "layer 3"],
    "rules": ["kth"],
    "information_x": np.array([[[0.1, 0.2], [0.3, np.nan], [0.5, 0.6]]]),
    "information_x_error": np.full((1, 3, 2), 0.01),
    "information_between": np.full((1, 3, 2), np.nan),  # not measured
    "notes": [],
}
HISTORY = {"train_loss": np.array([2.0, 1.0]), "test_loss": np.array([2.1, 1.1])}


def table(results, tmp_path):
    save_results("any", results, settings={}, directory=tmp_path)
    return load_results("any", directory=tmp_path).to_frame()


def only(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_grid_has_its_axes(tmp_path):
    frame = table(GRID, tmp_path)
    assert len(frame) == 24 + 12
    row = only(frame, quantity="smi", weights="kth", seed=0, dim=5, mutual_information=4.0)
    assert row["value"] == GRID["smi"][1, 0, 1, 3]
    assert row["std_error"] == GRID["smi_std_error"][1, 0, 1, 3]
    exact = only(frame, quantity="smi_exact", dim=10, mutual_information=1.0)
    assert exact["value"] == GRID["smi_exact"][2, 1]
    assert pd.isna(exact["weights"])


def test_a_grid_of_estimators_has_its_axes(tmp_path):
    compared = {name: GRID[name] for name in ("dims", "mutual_informations")}
    compared |= {"methods": ["KSG(k=5)"], "distributions": ["normal", "cubed"]}
    compared |= {"smi": np.arange(24.0).reshape(1, 2, 1, 3, 4), "done": np.ones((1, 2, 1, 3))}
    frame = table(compared, tmp_path)
    row = only(frame, distribution="cubed", dim=1, mutual_information=2.0, method="KSG(k=5)")
    assert row["value"] == compared["smi"][0, 1, 0, 0, 2]


def test_planes_and_histories_are_parts(tmp_path):
    frame = table({"plane": PLANE, "history": HISTORY}, tmp_path)
    row = only(frame, part="plane", quantity="information_x", layer="layer 3", epoch=4)
    assert (row["value"], row["std_error"], row["rule"]) == (0.6, 0.01, "kth")
    assert np.isnan(only(frame, part="plane", layer="layer 2", epoch=4)["value"])
    assert only(frame, part="history", quantity="test_loss", epoch=2)["value"] == 1.1
    assert len(frame) == 6 + 4


def test_other_arrays_have_counted_axes(tmp_path):
    results = {"a": {"b": np.arange(6).reshape(2, 3)}, "text": "so", "list": [1, [2, 3]], "no": {}}
    frame = table(results, tmp_path)
    assert only(frame, part="a", quantity="b", axis_1=1, axis_2=2)["value"] == 5
    assert only(frame, quantity="text")["value"] == "so"
    assert frame[frame["part"] == "list"]["value"].tolist() == [1, 2, 3]


def test_the_file_beside_the_pickle_is_the_same_table(tmp_path):
    frame = table({"grid": GRID, "plane": PLANE, "history": HISTORY}, tmp_path)
    back = pd.read_csv(tmp_path / "any.csv")
    assert back.columns.tolist() == frame.columns.tolist()
    pd.testing.assert_series_equal(back["value"], frame["value"].astype(float), rtol=0)
    with open(tmp_path / "any.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows if row["part"] == "plane"][:1] == ["layer 1"]


@pytest.mark.parametrize("value", [np.float32(0.1), 0.1, 1 / 3, 1e-300, 12345678901234567])
def test_numbers_keep_all_their_digits(value, tmp_path):
    table({"number": value}, tmp_path)
    with open(tmp_path / "any.csv", newline="", encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["value"]) == float(value)


def test_no_table_is_written_on_request(tmp_path):
    save_results("any", GRID, settings={}, directory=tmp_path, csv=False)
    assert [path.name for path in tmp_path.iterdir()] == ["any.pkl"]


def test_rows_are_a_table_already(tmp_path):
    rows = [{"data": "normal", "bias": 0.25}, {"data": "cubed", "bias": -0.5, "note": "few"}]
    save_results("benchmark", {"rows": rows}, settings={}, directory=tmp_path)
    with open(tmp_path / "benchmark.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read == [
        {"data": "normal", "bias": "0.25", "note": ""},
        {"data": "cubed", "bias": "-0.5", "note": "few"},
    ]
