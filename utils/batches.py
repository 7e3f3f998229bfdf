"""Inputs of a network become one form: batches of arguments, the same in every pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from .validation import as_array, as_samples, check_count

__all__ = ["Batch", "Batches", "as_batches"]

_LABEL_KEYS = ("labels", "label")


@dataclass(frozen=True, eq=False)
class Batch:
    """The arguments of one call of the network.

    Parameters
    ----------
    args : tuple
        Positional arguments.
    kwargs : dict of str to object
        Keyword arguments.
    labels : tensor or None
        The labels in the batch, if there are any.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: Any = None

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The arguments that are tensors with rows; a scalar belongs to no sample."""
        return [
            argument
            for argument in self._arguments
            if isinstance(argument, torch.Tensor) and argument.dim()
        ]

    @property
    def _arguments(self):
        return (*self.args, *self.kwargs.values())

    @property
    def n(self) -> int:
        """How many samples there are."""
        if not self.tensors:
            raise TypeError(
                f"inputs: a batch holds {[type(each).__name__ for each in self._arguments]} and no "
                f"tensor with rows; give tensors, or (inputs, labels)"
            )
        return len(self.tensors[0])

    def values(self) -> torch.Tensor | None:
        """The inputs as numbers, (n, width); None if they are all token ids and masks.

        Floats and the bytes of images are numbers; distances between other integers mean nothing.
        """
        numbers = [
            tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]
            for tensor in map(_real, self.tensors)
            if tensor.is_floating_point() or tensor.dtype == torch.uint8
        ]
        return torch.cat(numbers, dim=1) if numbers else None

    def checksums(self) -> np.ndarray:
        """One number per sample, by which it can be recognised."""
        sums = [
            _weighted_sums(tensor.reshape(len(tensor), -1).to("cpu", torch.float64))
            for tensor in map(_real, self.tensors)
            if len(tensor) == self.n
        ]
        return torch.stack(sums).sum(dim=0).numpy()

    def to(self, device: torch.device | None, dtype: torch.dtype | None) -> Batch:
        """The batch on a device, its floats in the given type."""

        def moved(argument):
            if not isinstance(argument, torch.Tensor):
                return argument
            return argument.to(device, dtype if argument.is_floating_point() else None)

        return Batch(
            tuple(map(moved, self.args)),
            {name: moved(argument) for name, argument in self.kwargs.items()},
            self.labels,
        )


class Batches:
    """Batches that can be read again and again.

    Parameters
    ----------
    batches : iterable of batches
        Tensors, arrays or dicts of them, alone or as (inputs, labels).
    """

    n_samples: int | None = None
    """How many there are, if known: only of inputs in memory, which are the same in every pass."""

    def __init__(self, batches: Iterable[Any]):
        if hasattr(batches, "__next__"):
            raise TypeError(
                f"inputs has type {type(batches).__name__}, which can be read only once; give a "
                f"list or a DataLoader"
            )
        if isinstance(batches, DataLoader) and _shuffles(batches):
            raise ValueError(
                "inputs is a DataLoader that shuffles, and a layer is compared with the same "
                "samples, in the same order, after every epoch; make it with shuffle=False"
            )
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return map(_as_batch, self._batches)


class _HeldBatches(Batches):
    """Batches of arrays in memory."""

    n_samples: int

    def __init__(self, args: list[Any], kwargs: dict[str, Any], batch_size: int):
        lengths = {len(array) if array.ndim else 0 for array in (*args, *kwargs.values())}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"inputs have {sorted(lengths)} samples; give as many in each of them, at least 1"
            )
        self._args, self._kwargs, self._batch_size = args, kwargs, batch_size
        self.n_samples = lengths.pop()

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.n_samples, self._batch_size):
            rows = slice(start, start + self._batch_size)
            yield Batch(
                tuple(_as_tensor(array[rows]) for array in self._args),
                {name: _as_tensor(array[rows]) for name, array in self._kwargs.items()},
            )


def as_batches(inputs: Any, batch_size: int) -> Batches:
    """Return inputs of any accepted kind as batches.

    Parameters
    ----------
    inputs : tensor, array, list of these, dict of these, or iterable of batches
        A list holds the positional arguments of the network, a dict its keyword arguments, each of
        shape (n, ...). Anything else is read batch by batch: tensors, dicts, or tuples
        (inputs, labels).
    batch_size : int
        Samples per batch, where `inputs` does not come in batches.

    Raises
    ------
    ValueError, TypeError
        If arguments differ in length, or the inputs cannot be read again in the same order.
    """
    batch_size = check_count(batch_size, "batch_size")
    if isinstance(inputs, Mapping):
        return _HeldBatches([], {name: _held(array) for name, array in inputs.items()}, batch_size)
    if isinstance(inputs, (list, tuple)) and inputs and all(map(_has_rows, inputs)):
        return _HeldBatches(list(map(_held, inputs)), {}, batch_size)
    if _is_array(inputs) or (isinstance(inputs, list) and not _holds_batches(inputs)):
        return _HeldBatches([_held(inputs)], {}, batch_size)
    if not isinstance(inputs, Iterable):
        raise TypeError(
            f"inputs={inputs!r} has type {type(inputs).__name__}; give a tensor, an array, a list "
            f"or dict of these, or a DataLoader"
        )
    return Batches(inputs)


def _shuffles(loader):
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, DistributedSampler):
        return sampler.shuffle
    return isinstance(sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler))


def _weighted_sums(rows):
    # Plain sums are the same for all rows that are one-hot or normalised.
    golden_ratio = (1.0 + 5.0**0.5) / 2.0
    weights = 1.0 + torch.arange(rows.shape[1], dtype=torch.float64) * golden_ratio % 1.0
    return rows @ weights


def _is_array(value):
    return isinstance(value, torch.Tensor) or hasattr(value, "__array__")


def _has_rows(value):
    return _is_array(value) and getattr(value, "ndim", 1) > 0


def _holds_batches(batches):
    return bool(batches) and isinstance(batches[0], (tuple, Mapping))


def _held(array):
    """A tensor, or an array of a type that PyTorch has as well."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    numbers = as_array(array, "inputs")
    if numbers.dtype.kind not in "biufc":
        numbers = as_samples(array, "inputs")
    # PyTorch has no long doubles, and only one byte order.
    native = np.dtype({"g": "d", "G": "D"}.get(numbers.dtype.char, numbers.dtype.char))
    return numbers.astype(native, copy=False)


def _as_tensor(array):
    if isinstance(array, torch.Tensor):
        return array
    # A copy of the rows: PyTorch warns of read-only memory, such as memory maps, and refuses
    # negative strides.
    return torch.from_numpy(np.array(_held(array), order="C"))


def _real(tensor):
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _as_batch(batch):
    labels = None
    if isinstance(batch, (list, tuple)):
        if len(batch) > 1:
            *batch, labels = batch
        batch = batch[0] if len(batch) == 1 else batch
    if isinstance(batch, Mapping):
        kwargs = {
            name: _as_tensor(value) if _is_array(value) else value for name, value in batch.items()
        }
        found = [kwargs.pop(key) for key in _LABEL_KEYS if key in kwargs]
        return Batch((), kwargs, found[0] if labels is None and found else labels)
    args = batch if isinstance(batch, (list, tuple)) else [batch]
    return Batch(
        tuple(_as_tensor(value) if _is_array(value) else value for value in args), {}, labels
    )
