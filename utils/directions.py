"""Random directions for tensors of any width, and projections on their own device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .slicing import sample_spherical
from .validation import as_generator, check_count

__all__ = ["Directions"]

# Directions are stored for layers of up to this many units per direction; of wider ones, all are
# windows of one sequence.
_STORED_UNITS_PER_DIRECTION = 4
# Up to this many units, products are in float64; for wider data they would take longer than the
# rest.
_FLOAT64_UNITS = 2**15
# Entries of the directions that are multiplied at once: 32 MB of float64.
_NUMBERS_PER_BLOCK = 2**22


class Directions:
    """Random directions for wide data, each uniform on the sphere.

    Up to four times as many units as directions, they are those of `sample_spherical`, and stored.
    Beyond that they are windows of one Gaussian sequence, each one step on from the last, with
    random signs of the units (Vybiral 2011, "A variant of the Johnson-Lindenstrauss lemma for
    circulant matrices"): about as many numbers as the data are wide, not that many per direction.
    Each is exactly uniform; two of them are uncorrelated but not quite independent: the mean over
    slices is unbiased, and its variance is higher by a factor of about 1 + n_projections / width,
    at most 2.

    Parameters
    ----------
    width : int
        Numbers per sample.
    n_projections : int
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`.
    """

    def __init__(self, width: int, n_projections: int, *, rng: Any = None):
        self.width = check_count(width, "width")
        self.n_projections = check_count(n_projections, "n_projections")
        rng = as_generator(rng)
        self.is_stored = width <= _STORED_UNITS_PER_DIRECTION * n_projections
        if self.is_stored:
            stored = sample_spherical(width, n_projections, rng=rng).astype(np.float32)
            self._tensors = [torch.from_numpy(stored)]
        else:
            sequence = rng.standard_normal(width + n_projections - 1, dtype=np.float32)
            squares = np.cumsum(np.concatenate([[0.0], sequence.astype(float) ** 2]))
            lengths = np.sqrt(squares[width:] - squares[:n_projections])
            signs = 2.0 * rng.integers(0, 2, width, dtype=np.int8) - 1.0
            numbers = (sequence, signs.astype(np.float32), lengths)
            self._tensors = list(map(torch.from_numpy, numbers))

    def theta(self) -> np.ndarray:
        """The directions themselves, shape (n_projections, width)."""
        if self.is_stored:
            return self._tensors[0].cpu().double().numpy()
        windows = self._windows(slice(0, self.width)).cpu().double().numpy()
        return windows / self._tensors[2].cpu().numpy()[:, None]

    def project(self, rows: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
        """Project centred rows, on their own device, some units at a time.

        Parameters
        ----------
        rows : tensor, shape (n, width)
        center : tensor, shape (width,)

        Returns
        -------
        tensor, shape (n_projections, n), float64 on the CPU
        """
        self._tensors = [_on(rows.device, tensor) for tensor in self._tensors]
        is_exact = self.width <= _FLOAT64_UNITS
        dtype = _widest(rows.device) if is_exact else torch.float32
        projections = torch.zeros(
            (self.n_projections, len(rows)), dtype=_widest(rows.device), device=rows.device
        )
        step = -(-_NUMBERS_PER_BLOCK // max(self.n_projections, len(rows)))
        for start in range(0, self.width, step):
            units = slice(start, start + step)
            centred = rows[:, units].to(dtype) - center[units].to(dtype)
            block = self._tensors[0][:, units] if self.is_stored else self._windows(units)
            projections += block.to(dtype) @ centred.T
        if not self.is_stored:
            projections /= self._tensors[2][:, None]
        return projections.to("cpu", torch.float64)

    def _windows(self, units):
        sequence, signs, _ = self._tensors
        start, stop = units.start, min(units.stop, self.width)
        part = sequence[start : stop + self.n_projections - 1]
        return part.unfold(0, stop - start, 1) * signs[units]


def _widest(device):
    """The widest float that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _on(device, tensor):
    if tensor.device == device:
        return tensor
    return tensor.to("cpu", torch.float32).to(device) if device.type == "mps" else tensor.to(device)
