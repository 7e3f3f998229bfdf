"""A network is fed the same numbers in whatever form they come, and what it cannot eat is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="networks need PyTorch")

from utils import watch  # noqa: E402

N = 60
WHOLE = np.random.default_rng(0).integers(0, 100, (N, 3))
LABELS = np.arange(N) % 2


class Folded(torch.nn.Module):
    """Numbers of any type folded by one activation."""

    def __init__(self):
        super().__init__()
        self.activation = torch.nn.Tanh()

    def forward(self, inputs):
        if inputs.is_complex():
            inputs = torch.view_as_real(inputs)
        return self.activation(inputs.reshape(len(inputs), -1).double() / 100)


def measured(inputs, labels=LABELS):
    model = Folded()
    plane = watch(model, inputs, labels, n_projections=5, rng=0)
    plane.measure(1)
    return plane.to_frame()[["layer", "quantity", "value", "std_error"]]


FORMS = {
    "other byte order": WHOLE.astype(">f8"),
    "long doubles": WHOLE.astype(np.longdouble),
    "steps backwards": WHOLE[::-1].astype(float).copy()[::-1],
    "a frame of several types": pd.DataFrame(WHOLE).astype({0: float, 1: "Int64", 2: "float32"}),
    "a nullable frame": pd.DataFrame(WHOLE).astype("Float64"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_inputs_does_not_matter(form):
    pd.testing.assert_frame_equal(measured(FORMS[form]), measured(WHOLE.astype(float)))


def test_a_list_of_numbers_is_one_argument():
    numbers = np.random.default_rng(1).standard_normal(N)
    pd.testing.assert_frame_equal(measured(list(numbers)), measured(numbers))
    with pytest.raises(ValueError, match=r"inputs have \[0\] samples"):
        measured(np.float64(1.0))


def test_the_imaginary_part_of_inputs_is_measured():
    numbers = WHOLE.astype(float)
    # Real and imaginary parts beside each other, as the network takes them.
    pairs = np.stack([numbers, numbers[:, ::-1]], axis=-1)
    complex_numbers = torch.tensor(pairs[..., 0] + 1j * pairs[..., 1])
    expected = measured(pairs)
    assert set(expected["quantity"]) == {"information_x", "information_y"}
    pd.testing.assert_frame_equal(measured(complex_numbers), expected)


def spoiled(value):
    inputs = WHOLE.astype(float)
    inputs[7, 1] = value
    return inputs


@pytest.mark.parametrize(
    ("inputs", "note"),
    [
        (spoiled(np.inf), "inputs holds values that are not finite"),
        (np.full((N, 3), 0.1), "is constant"),
    ],
)
def test_inputs_that_cannot_be_measured_are_noted(inputs, note):
    model = Folded()
    plane = watch(model, inputs, LABELS, n_projections=5, rng=0)
    with pytest.warns(UserWarning, match="recorded as NaN"):
        plane.measure(1)
    assert any(note in one["note"] for one in plane.results()["notes"])


class Scaled(Folded):
    """The same, with a factor as its first argument."""

    def forward(self, scale, inputs):
        return super().forward(scale * inputs)


def test_a_scalar_among_the_arguments_belongs_to_no_sample():
    inputs, model = torch.tensor(WHOLE.astype(float)), Scaled()

    def measured_with(inputs):
        batches = [
            {"scale": torch.tensor(1.0), "inputs": inputs[rows], "labels": LABELS[rows]}
            for rows in (slice(0, 40), slice(40, N))
        ]
        loader = torch.utils.data.DataLoader(batches, batch_size=None)
        plane = watch(model, loader, n_projections=5, rng=0)
        plane.measure(1)
        return plane.to_frame()[["layer", "quantity", "value", "std_error"]]

    pd.testing.assert_frame_equal(measured_with(inputs), measured(inputs))
    with pytest.raises(TypeError, match=r"a batch holds \['Tensor', 'str'\] and no tensor with"):
        measured_with("text" * N)


def test_token_ids_have_no_note():
    model = Folded()
    plane = watch(model, torch.tensor(WHOLE), LABELS, n_projections=5, rng=0)
    plane.measure(1)
    assert list(plane.to_frame()["quantity"]) == ["information_y"]
    assert plane.results()["notes"] == []


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (WHOLE.astype(str), LABELS, r"inputs has dtype <U\d+; give real numbers"),
        (np.empty((N, 0)), LABELS, "'inputs' has no numbers"),
        (WHOLE.astype(float), 3.0, r"labels has shape \(\)"),
    ],
)
def test_what_cannot_be_fed_is_named(inputs, labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        measured(inputs, labels)


def test_a_single_class_has_no_share():
    model = Folded()
    plane = watch(model, WHOLE.astype(float), np.zeros(N, int), n_projections=5, rng=0)
    plane.measure(1)
    frame = plane.to_frame().set_index("quantity")
    assert np.isnan(frame.loc["information_y", "share"])
    assert abs(frame.loc["information_y", "value"]) < 1e-12


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_full_dependence_has_no_unit(scale):
    x = np.random.default_rng(0).standard_normal((N, 3))
    shares = []
    for inputs in (x, x * scale):
        model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Flatten(), torch.nn.Dropout())
        plane = watch(model, inputs, layers=["1"], n_projections=5, rng=0)
        plane.measure(1)
        shares.append(plane.to_frame()["share"].to_numpy())
    np.testing.assert_allclose(*shares, rtol=1e-9)
