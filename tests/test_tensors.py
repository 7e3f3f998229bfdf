"""PyTorch's tensors are measured like arrays, and what numpy cannot hold of them is refused.

The only tests of the estimating half that need PyTorch.
"""

from __future__ import annotations

import numpy as np
import pytest
from elsewhere import n_threads_used

from utils import (
    WKL,
    Gaussian,
    SMICompressor,
    mutual_information_of_slices,
    sliced_mutual_information,
)

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.standard_normal((40, 2))
LABELS = np.arange(40) % 2


def smi(x, y, **options):
    return sliced_mutual_information(x, y, estimator=WKL(5), n_projections=10, rng=0, **options)


WITH_NAN = X.copy()
WITH_NAN[7, 1] = np.nan
BAD_TENSORS = {
    "a missing value": (torch.tensor(WITH_NAN), ValueError, "NaN or infinity .*row 7"),
    "sparse": (torch.tensor(X).to_sparse(), TypeError, "cannot be converted.*numpy"),
    "complex": (torch.tensor(X).to(torch.complex64), TypeError, "complex64; give .*imag"),
    "to be conjugated": (torch.tensor(X * 1j).conj(), TypeError, "complex128; give .*imag"),
}
MEASURES = {
    "slices": smi,
    "WKL": lambda x, y: WKL(5).mutual_information(x, y),
    "Gaussian": lambda x, y: Gaussian().mutual_information(x, y),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
@pytest.mark.parametrize("measure", MEASURES)
def test_tensors_that_cannot_be_measured_are_refused_by_name(measure, case):
    bad, error, message = BAD_TENSORS[case]
    with pytest.raises(error, match=f"^x .*{message}"):
        MEASURES[measure](bad, Y)
    with pytest.raises(error, match=f"^y .*{message}"):
        MEASURES[measure](X, bad)
    with pytest.raises(error, match=f"^x .*{message}"):
        SMICompressor(3, 2, rng=0)(bad)


def test_a_tensor_of_integers_is_not_taken_for_measurements():
    for measure in MEASURES.values():
        with pytest.raises(TypeError, match=r"^y is one column .*y_discrete=True"):
            measure(X, torch.tensor(LABELS))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("with_gradients", [False, True])
def test_tensors_are_measured_like_arrays(dtype, with_gradients):
    x, y = X.astype(dtype), Y.astype(dtype)
    x_tensor, y_tensor = (torch.tensor(v, requires_grad=with_gradients) for v in (x, y))
    for name, measure in MEASURES.items():
        assert measure(x_tensor, y_tensor).value == measure(x, y).value, name
    got = smi(x_tensor, torch.tensor(LABELS), y_discrete=True)
    assert got.value == smi(x, LABELS, y_discrete=True).value
    got = mutual_information_of_slices(x_tensor.T, x_tensor.T**2, estimator=WKL(5), rng=0)
    expected = mutual_information_of_slices(x.T, x.T**2, estimator=WKL(5), rng=0)
    # A square of PyTorch's may be rounded otherwise.
    assert got.value == pytest.approx(expected.value, abs=1e-9 if dtype == "float64" else 1e-3)


SHORT = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("dtype", SHORT)
def test_short_floats_are_measured_as_the_numbers_they_hold(dtype):
    x, y = (torch.tensor(values).to(getattr(torch, dtype)) for values in (X, Y))
    x_plain, y_plain = (values.double().numpy() for values in (x, y))
    for name, measure in MEASURES.items():
        assert measure(x, y).value == pytest.approx(measure(x_plain, y_plain).value, abs=1e-6), name
    labels = torch.tensor(LABELS).to(getattr(torch, dtype))
    got = smi(X, labels[:, None], y_discrete=True)
    assert got.value == smi(X, LABELS, y_discrete=True).value


def test_the_imaginary_part_of_a_conjugate_is_measured():
    z = torch.tensor(X + 1j * X[::-1].copy())
    assert smi(z.conj().imag, Y).value == pytest.approx(smi(-X[::-1], Y).value, abs=1e-9)


def test_a_function_may_return_a_tensor():
    value = sliced_mutual_information(
        X, Y, estimator=lambda x, y: torch.tensor(1.0), n_projections=1, rng=0
    ).value
    assert value == 1.0


class CountsThreads:
    """A dataset whose only item is the number of threads used in loading it."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return n_threads_used()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_threads_are_added_to_those_of_a_data_loader():
    loader = torch.utils.data.DataLoader(CountsThreads(), batch_size=None, num_workers=1)
    assert list(loader) == [1]
