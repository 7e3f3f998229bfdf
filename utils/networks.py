"""The networks: a noisy convolutional classifier, and an autoencoder of images.

Both take images of shape (n, 1, 28, 28). Where random numbers are needed (dropout, noise) they
come from PyTorch's own generator; whoever runs a network decides how that is seeded.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = [
    "CLASSIFIER_LAYERS",
    "Autoencoder",
    "Classifier",
    "ConvDecoder",
    "ConvEncoder",
    "GaussianNoise",
]

_DROPOUT = 0.1

CLASSIFIER_LAYERS = {f"layer {number}": f"blocks.{number - 1}" for number in range(1, 6)} | {
    "exp(layer 5)": ("blocks.4", torch.exp)
}
"""The classifier's layers as `watch` takes them; the last one is its probabilities."""


class GaussianNoise(nn.Module):
    """Add Gaussian noise to whatever passes through.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, at least 0; 0 switches it off.
    proportional : bool
        If true, the noise on a value x has standard deviation `sigma * |x|`, so that a zero
        stays zero; if false it is `sigma` everywhere.
    in_evaluation : bool
        Whether the noise stays on in evaluation mode.
    """

    def __init__(self, sigma: float, *, proportional: bool = False, in_evaluation: bool = False):
        super().__init__()
        if not sigma >= 0:
            raise ValueError(f"sigma={sigma!r}; a standard deviation is 0 or more")
        self.sigma = float(sigma)
        self.proportional = proportional
        self.in_evaluation = in_evaluation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with noise added, or `x` itself where the noise is off."""
        if self.sigma == 0 or not (self.training or self.in_evaluation):
            return x
        noise = _standard_normal_like(x)
        if self.proportional:
            return torch.addcmul(x, x, noise, value=self.sigma)
        return torch.add(x, noise, alpha=self.sigma)

    def extra_repr(self) -> str:
        """What `print(network)` shows in the brackets."""
        return (
            f"sigma={self.sigma}, proportional={self.proportional}, "
            f"in_evaluation={self.in_evaluation}"
        )


def _standard_normal_like(x):
    """As `torch.randn_like`, drawn in the order of x's memory.

    PyTorch fills contiguous memory some fifteen times faster than the channels-last layout.
    """
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return torch.randn_like(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return torch.randn_like(x)


class Classifier(nn.Module):
    """A convolutional classifier with noisy layers, which hold finite information.

    Three convolutions (layers 1 to 3, which have 8 x 13 x 13, 16 x 5 x 5 and 32 x 1 x 1 values)
    and two linear layers (4 and 5, which have 32 and 10). Before each comes noise in proportion
    to the signal, which stays on in evaluation: a network without noise carries infinite
    information about a continuous input (Goldfeld et al. 2019, section 2).

    Parameters
    ----------
    noise : float
        Standard deviation of the noise relative to the signal.
    """

    def __init__(self, *, noise: float = 1e-3):
        super().__init__()
        widths = ((1, 8), (8, 16), (16, 32))
        blocks = [
            nn.Sequential(
                nn.Dropout(_DROPOUT),
                GaussianNoise(noise, proportional=True, in_evaluation=True),
                nn.Conv2d(before, after, kernel_size=3),
                nn.MaxPool2d(2),
                nn.LeakyReLU(),
            )
            for before, after in widths
        ]
        blocks.append(
            nn.Sequential(
                nn.Flatten(),
                GaussianNoise(noise, proportional=True, in_evaluation=True),
                nn.Linear(32, 32),
                nn.LeakyReLU(),
            )
        )
        blocks.append(
            nn.Sequential(
                GaussianNoise(noise, proportional=True, in_evaluation=True),
                nn.Linear(32, 10),
                nn.LogSoftmax(dim=1),
            )
        )
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of the ten classes' probabilities, (n, 10)."""
        for block in self.blocks:
            images = block(images)
        return images


class ConvEncoder(nn.Sequential):
    """Images (n, 1, 28, 28) to codes (n, latent) with values between 0 and 1.

    Parameters
    ----------
    latent : int
        Length of a code.
    """

    def __init__(self, *, latent: int = 4):
        blocks = []
        for before, after in ((1, 8), (8, 16), (16, 32)):
            blocks += [
                nn.Dropout(_DROPOUT),
                nn.Conv2d(before, after, kernel_size=3, padding="same"),
                nn.MaxPool2d(2),
                nn.LeakyReLU(),
            ]
        super().__init__(
            *blocks,
            nn.Flatten(),
            nn.Linear(32 * 3 * 3, 128),
            nn.LeakyReLU(),
            nn.Linear(128, latent),
            nn.Sigmoid(),
        )


class ConvDecoder(nn.Sequential):
    """Codes (n, latent) back to images (n, 1, 28, 28).

    Parameters
    ----------
    latent : int
        Length of a code.
    """

    def __init__(self, *, latent: int = 4):
        super().__init__(
            nn.Linear(latent, 128),
            nn.LeakyReLU(),
            nn.Linear(128, 32 * 7 * 7),
            nn.LeakyReLU(),
            nn.Unflatten(1, (32, 7, 7)),
            nn.Conv2d(32, 16, kernel_size=3, padding="same"),
            nn.Upsample(scale_factor=2),
            nn.LeakyReLU(),
            nn.Conv2d(16, 8, kernel_size=3, padding="same"),
            nn.Upsample(scale_factor=2),
            nn.LeakyReLU(),
            nn.Conv2d(8, 1, kernel_size=3, padding="same"),
        )


class Autoencoder(nn.Module):
    """Encoder and decoder, with noise on the code while training.

    Parameters
    ----------
    latent : int
        Length of a code.
    noise : float
        Standard deviation of the noise on the code relative to the code; off in evaluation.
    """

    def __init__(self, *, latent: int = 4, noise: float = 0.1):
        super().__init__()
        self.encoder = ConvEncoder(latent=latent)
        self.noise = GaussianNoise(noise, proportional=True)
        self.decoder = ConvDecoder(latent=latent)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the reconstructions, of the images' shape."""
        return self.decoder(self.noise(self.encoder(images)))
