"""What the layers of any torch module give, read by hooks and projected batch by batch.

A forward hook sees the output of a module before anything else can change it. The output is
projected there and then, on its own device, so that a layer is kept as one number per sample and
direction, however wide it is. Hooks live for one pass.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .batches import as_batches
from .directions import Directions
from .validation import as_array, check_count

__all__ = ["INPUTS", "Layer", "LayerReader", "as_choice", "find_layers", "unwrapped"]

INPUTS = "inputs"
"""The name of the inputs, among those of the layers."""

_ACTIVATIONS = tuple(getattr(nn.modules.activation, name) for name in nn.modules.activation.__all__)
_POOLS = {
    "mean": lambda tokens: tokens.mean(dim=1),
    "first": lambda tokens: tokens[:, 0],
    "last": lambda tokens: tokens[:, -1],
}


class Layer(NamedTuple):
    """A module that is watched.

    Parameters
    ----------
    name : str
        The name of the layer in the results.
    module : nn.Module
    transform : callable or None
        Applied to what the module returns.
    is_named : bool
        Whether it was asked for by its name, and not by a wildcard.
    """

    name: str
    module: nn.Module
    transform: Callable[[Any], Any] | None
    is_named: bool


def as_choice(layers: Any) -> Any:
    """A choice of layers that can be read again and again: a list, a mapping or None.

    Raises
    ------
    TypeError
        If it is a single name, or something else.
    """
    if layers is None or isinstance(layers, Mapping):
        return layers
    if isinstance(layers, str):
        raise TypeError(f"layers={layers!r} is one name; give a list, as [{layers!r}]")
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers={layers!r} is no list of names; give one, or a dict")
    return list(layers)


def find_layers(model: nn.Module, layers: Any = None) -> list[Layer]:
    """The modules that a choice of layers stands for.

    Parameters
    ----------
    model : nn.Module
        Inside `torch.compile` and `nn.DataParallel`, modules keep their own names.
    layers : list of str, dict or None
        As for `watch`. `*` and `?` stand for parts of a name between two dots: "blocks.*" means
        "blocks.0", "blocks.1" and so on, not what is inside these.

    Returns
    -------
    list of Layer

    Raises
    ------
    ValueError, TypeError
        If a name is unknown, a module is not part of the model, or nothing is left.
    """
    layers = as_choice(layers)
    modules = {
        name.replace("_orig_mod.", ""): module
        for name, module in unwrapped(model).named_modules(remove_duplicate=False)
    }
    if layers is None:
        found = [
            Layer(name.replace("_orig_mod.", ""), module, None, False)
            for name, module in unwrapped(model).named_modules()
            if _is_leaf(module)
        ]
    elif isinstance(layers, Mapping):
        found = [_named_layer(name, value, modules) for name, value in layers.items()]
    else:
        found = [layer for pattern in layers for layer in _matches(pattern, modules)]
        found = list({layer.name: layer for layer in found}.values())
    if not found:
        raise ValueError(f"layers={layers!r} leaves no layer to measure; give names of modules")
    if any(layer.name == INPUTS for layer in found):
        raise ValueError(
            f"layers: the name {INPUTS!r} is that of the inputs; give the module another, as "
            f"layers={{'name': model.{INPUTS}}}"
        )
    return found


def _is_leaf(module):
    if isinstance(module, nn.MultiheadAttention):
        return True  # its only child is never called
    has_parameters = any(True for _ in module.parameters(recurse=False))
    is_leaf = not any(True for _ in module.children())
    return is_leaf and (has_parameters or isinstance(module, _ACTIVATIONS))


def _named_layer(name, value, modules):
    transform = None
    if isinstance(value, tuple):
        value, transform = value
        if not callable(transform):
            raise TypeError(
                f"layers[{name!r}] has {transform!r} in second place; give a function of the output"
            )
    if isinstance(value, str):
        return Layer(name, _module(value, modules), transform, True)
    if not isinstance(value, nn.Module):
        raise TypeError(
            f"layers[{name!r}]={value!r} has type {type(value).__name__}; give the name of a "
            f"module, a module, or a pair of one of them and a function"
        )
    if not any(value is module for module in modules.values()):
        raise ValueError(f"layers[{name!r}] is not part of the model; give one of its modules")
    return Layer(name, value, transform, True)


def _matches(pattern, modules):
    if not isinstance(pattern, str):
        raise TypeError(
            f"layers holds {pattern!r}; give names of modules, or a dict of names and modules"
        )
    if not set(pattern) & set("*?"):
        return [Layer(pattern, _module(pattern, modules), None, True)]
    parts = pattern.split(".")
    found = [
        Layer(name, module, None, False)
        for name, module in modules.items()
        if name
        and name.count(".") == len(parts) - 1
        and all(map(fnmatchcase, name.split("."), parts))
    ]
    return found or [_module(pattern, modules)]


def _module(name, modules):
    if name and name in modules:
        return modules[name]
    names = [known for known in modules if known]
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:8]
    raise ValueError(f"layers: the model has no module {name!r}; near ones are {', '.join(near)}")


class LayerReader:
    """Reads the outputs of layers for the same inputs, pass by pass.

    Parameters
    ----------
    inputs : tensor, array, list or dict of these, or iterable of batches
        See `as_batches`.
    layers : list of str, dict or None
        See `find_layers`.
    n_projections : int or None
        Number of random directions on which a layer is projected; None keeps the outputs whole.
    select, pool, noise, training_mode, batch_size
        As for `watch`.
    seed : int
        Determines directions and noise, together with the layer's name.

    Attributes
    ----------
    input_slices : array, shape (n_projections, n), or None
        Slices of the inputs, after the first pass; None for token ids, which are not numbers.
    widths : dict of str to int
        Numbers per sample, by layer; those of the inputs under the name "inputs".
    labels : array or None
        The labels that came with the inputs, after the first pass.
    """

    def __init__(
        self,
        inputs: Any,
        *,
        layers: Any = None,
        n_projections: int | None = None,
        select: Callable[[Any], torch.Tensor] | None = None,
        pool: Any = None,
        noise: float = 0.0,
        training_mode: bool = False,
        batch_size: int = 256,
        seed: int = 0,
    ):
        if n_projections is not None:
            check_count(n_projections, "n_projections")
        if pool is not None and not callable(pool) and pool not in _POOLS:
            raise ValueError(f"pool={pool!r}; choose {', '.join(map(repr, _POOLS))} or a function")
        if not 0.0 <= noise < float("inf"):
            raise ValueError(f"noise={noise!r}; a standard deviation is 0 or more")
        self._batches = as_batches(inputs, batch_size)
        self._choice, self._n_projections = as_choice(layers), n_projections
        self._select, self._pool = select or _first_tensor, pool
        self._noise, self._training_mode, self._seed = noise, training_mode, seed
        self._directions: dict[str, Directions] = {}
        self.input_slices: np.ndarray | None = None
        self.widths: dict[str, int] = {}
        self.labels: np.ndarray | None = None
        self._checksums: np.ndarray | None = None

    @property
    def n_samples(self) -> int | None:
        """How many inputs there are; None if only the first pass shows it."""
        return self._batches.n_samples

    def __call__(self, model: nn.Module, *, seed: int | None = None) -> dict[str, np.ndarray]:
        """Pass the inputs through the network once.

        Parameters
        ----------
        model : nn.Module
            Its modes, buffers and hooks, and the state of PyTorch's random numbers, are restored,
            whatever happens.
        seed : int or None
            Draws directions and noise anew; None keeps those of the last pass.

        Returns
        -------
        dict of str to array, shape (n, n_projections) or (n, width)
            By layer, in the order in which layers were first reached. Where a module is called
            more than once, the calls after the first are "name (2)" and so on.

        Raises
        ------
        ValueError, TypeError
            If a layer is unknown, is not reached, gives no tensor of floats with as many rows as
            there are samples, or changes its width; if the inputs are not those of the first pass.
        """
        model = unwrapped(model)
        layers = find_layers(model, self._choice)
        is_first = self._checksums is None
        if seed is not None and seed != self._seed:
            self._seed, self._directions, self.input_slices = seed, {}, None
        needs_inputs = self._n_projections is not None and self.input_slices is None
        reading = _Pass()
        checksums, labels = [], []
        with ExitStack() as stack:
            stack.enter_context(_undisturbed(model, training_mode=self._training_mode))
            for layer in layers:
                hook = partial(self._read, reading, layer)
                stack.callback(layer.module.register_forward_hook(hook).remove)
            device, dtype = _place(model)
            for batch in self._batches:
                reading.start_batch(batch.n)
                values = batch.values() if needs_inputs else None
                if values is not None:
                    self._keep(reading, INPUTS, values)
                if is_first or self.n_samples is None:
                    checksums.append(batch.checksums())
                    labels.append(batch.labels)
                moved = batch.to(device, dtype)
                model(*moved.args, **moved.kwargs)
        if not reading.n:
            raise ValueError("inputs hold no batch; give at least one sample")
        _check_reached(layers, reading)
        outputs = reading.joined(axis=0 if self._n_projections is None else 1)
        if is_first and labels[0] is not None:
            self.labels = np.concatenate([as_array(each, "labels") for each in labels])
        if checksums:
            self._check_same(np.concatenate(checksums))
        if needs_inputs:
            self.input_slices = outputs.pop(INPUTS, None)
        return outputs if self._n_projections is None else {k: v.T for k, v in outputs.items()}

    def directions(self, name: str) -> Directions:
        """The directions of a layer that has been read, or of the inputs, by the name "inputs".

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if name not in self.widths:
            raise ValueError(
                f"name={name!r} has not been measured; choose among {list(self.widths)}"
            )
        if name not in self._directions:
            rng = self._rng_of(f"directions of {name}")
            n_projections = check_count(self._n_projections, "n_projections")
            self._directions[name] = Directions(self.widths[name], n_projections, rng=rng)
        return self._directions[name]

    def _read(self, reading, layer, module, arguments, output):
        number = reading.calls[layer.name] = reading.calls.get(layer.name, 0) + 1
        name = layer.name if number == 1 else f"{layer.name} ({number})"
        try:
            self._keep(reading, name, self._rows(reading, layer, name, output))
        except (TypeError, ValueError) as error:
            error.add_note(f"while reading layer {name!r}")
            raise

    def _rows(self, reading, layer, name, output):
        """What is measured of an output, (n, width)."""
        tensor = self._select(output if layer.transform is None else layer.transform(output))
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"select gave a {type(tensor).__name__}; let it return a tensor")
        if not tensor.is_floating_point():
            raise TypeError(f"select gave {tensor.dtype}; let it return a tensor of floats")
        if tensor.dim() == 3 and getattr(layer.module, "batch_first", True) is False:
            tensor = tensor.transpose(0, 1)
        n = reading.n_in_batch
        if tensor.dim() == 0 or len(tensor) != n:
            raise ValueError(
                f"layer {name!r} gives shape {tuple(tensor.shape)} for {n} samples; let select "
                f"return a tensor whose first dimension is the samples"
            )
        if callable(self._pool):
            tensor = self._pool(tensor)
        elif self._pool is not None and tensor.dim() == 3:
            tensor = _POOLS[self._pool](tensor)
        rows = tensor.reshape(n, -1)
        if not self._noise:
            return rows
        if name not in reading.generators:
            seed = int(self._rng_of(f"noise of {name}").integers(2**63))
            reading.generators[name] = torch.Generator(rows.device).manual_seed(seed)
        # Not in half precision, which would round the noise away.
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        noise = torch.empty_like(rows).normal_(generator=reading.generators[name])
        return torch.addcmul(rows, rows, noise, value=self._noise)

    def _keep(self, reading, name, rows):
        width = rows.shape[1]
        if width == 0:
            raise ValueError(f"{name!r} has no numbers, shape {tuple(rows.shape)}; leave it out")
        if self.widths.setdefault(name, width) != width:
            raise ValueError(
                f"layer {name!r} is {width} wide, and was {self.widths[name]} wide before; pad all "
                f"batches to one length, or choose pool"
            )
        if self._n_projections is None:
            # A copy: the next module may work in place.
            reading.add(name, rows.to("cpu", torch.float32, copy=True))
            return
        # Centred by the first sample: constant units give exactly 0.
        center = reading.centers.setdefault(name, rows[0].clone())
        reading.add(name, self.directions(name).project(rows, center))

    def _rng_of(self, purpose):
        """A generator for one purpose, independent of what else is watched."""
        key = zlib.crc32(purpose.encode())
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(key,)))

    def _check_same(self, checksums):
        if self._checksums is None:
            self._checksums = checksums
        elif self._checksums.shape != checksums.shape or not np.allclose(
            self._checksums, checksums, rtol=1e-5, atol=0.0, equal_nan=True
        ):
            raise ValueError(
                "inputs are not those of the first pass, in the same order; a layer is compared "
                "with the same samples after every epoch: use shuffle=False, and no random "
                "augmentation"
            )


class _Pass:
    """What one pass has read so far."""

    def __init__(self):
        self.parts: dict[str, list[torch.Tensor]] = {}
        self.rows: dict[str, int] = {}
        self.centers: dict[str, torch.Tensor] = {}
        self.generators: dict[str, torch.Generator] = {}
        self.calls: dict[str, int] = {}
        self.n = self.n_in_batch = 0

    def start_batch(self, n):
        self.calls.clear()
        self.n += n
        self.n_in_batch = n

    def add(self, name, part):
        self.parts.setdefault(name, []).append(part)
        self.rows[name] = self.rows.get(name, 0) + self.n_in_batch

    def joined(self, axis):
        return {name: torch.cat(parts, dim=axis).numpy() for name, parts in self.parts.items()}


def _check_reached(layers, reading):
    never = [layer.name for layer in layers if layer.is_named and layer.name not in reading.rows]
    if never:
        raise ValueError(
            f"layers: {', '.join(never)} were not called in the forward pass; choose the module "
            f"around it"
        )
    for name, n in reading.rows.items():
        if n != reading.n:
            raise ValueError(
                f"layer {name!r} was reached by {n} of {reading.n} samples; choose layers that "
                f"every batch goes through as often"
            )
    if not set(reading.rows) - {INPUTS}:
        raise ValueError("layers: none of the modules chosen was called in the forward pass")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without `torch.compile`, `DataParallel` and the like around it.

    Compiled code does not call hooks, and copies on several devices finish in any order.
    """
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrapped(model.module)
    inside = getattr(model, "_orig_mod", None)
    return unwrapped(inside) if isinstance(inside, nn.Module) else model


@contextmanager
def _undisturbed(model: nn.Module, *, training_mode: bool) -> Iterator[None]:
    """A pass that leaves no trace in modes, buffers or PyTorch's random numbers."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if training_mode else []
    tensors = [*model.parameters(), *model.buffers()]
    cuda_devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=list(cuda_devices)))
        stack.enter_context(torch.no_grad())
        if any(hasattr(module, "_orig_mod") or module._compiled_call_impl for module, _ in modes):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            model.train(training_mode)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for buffer, before in buffers:
                buffer.copy_(before)


def _place(model):
    """The device and the float type of a network; None where it has no parameters."""
    tensors = [*model.parameters(), *model.buffers()]
    dtypes = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return tensors[0].device if tensors else None, dtypes[0] if dtypes else None


def _first_tensor(output):
    found = next(_float_tensors(output), None)
    if found is None:
        raise TypeError(
            f"an output of type {type(output).__name__} holds no tensor of floats; let select "
            f"return one"
        )
    return found


def _float_tensors(output):
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield output
        return
    if isinstance(output, Mapping):
        children = list(output.values())
    elif isinstance(output, (list, tuple)):
        children = list(output)
    elif is_dataclass(output):
        children = [getattr(output, field.name) for field in fields(output)]
    else:
        return
    for child in children:
        yield from _float_tensors(child)
