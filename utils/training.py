"""Train the networks: one loop for both, interruptible, and blind to what is measured on the way.

What a run computes depends on its seed and on its settings, not on who watches. The random numbers
of each epoch come from the seed and the epoch's number alone, so an epoch is the same whether the
run got there in one go or in ten, and whatever a callback drew in between. PyTorch's own generator
is lent for the time of the run and handed back as it was.
"""

from __future__ import annotations

import copy
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from .mnist import ImageData
from .networks import Autoencoder, Classifier
from .results import replace_atomically
from .validation import as_generator, check_count

__all__ = ["TrainingRun", "layer_outputs", "train_autoencoder", "train_classifier"]

CHECKPOINT_FORMAT = "smi-experiments checkpoint 1"

# A batch goes through the network in parts of this many images, their gradients summed: the same
# gradient, but the activations stay in a processor's cache (on 2 cores: 9 s an epoch of the
# autoencoder instead of 14 s). A GPU takes the whole batch at once.
_PART_ON_CPU = 256

_CLASSES = list(range(10))

# What random numbers are for; each purpose has a stream of its own.
_INITIAL, _EPOCH, _CALLBACK = range(3)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network, and how it got there.

    Parameters
    ----------
    model : torch.nn.Module
        The network after the last epoch, in evaluation mode.
    history : dict of str to array, shape (n_epochs,)
        What was recorded after each epoch, by name.
    """

    model: nn.Module
    history: dict[str, np.ndarray]

    def __repr__(self):
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        epochs = len(self.history["train_loss"])
        return f"TrainingRun({type(self.model).__name__}, {epochs} epochs: {last})"


class _Task(NamedTuple):
    """What is trained: everything in which the two public functions differ."""

    name: str
    build: Callable  # () -> model
    loss: Callable  # (outputs, images, labels) -> mean over the images
    scores: Callable | None  # (all outputs, all labels) -> dict of further metrics
    keep_epochs: bool  # whether the network of every epoch stays in the checkpoint


class _Run(NamedTuple):
    """A training under way: what a checkpoint holds, and where it goes."""

    settings: dict
    model: nn.Module
    optimizer: torch.optim.Optimizer
    history: dict[str, list[float]]
    callbacks: Sequence[Callable]
    checkpoint: str | os.PathLike | None
    device: torch.device
    parameters: list[torch.Tensor] | None  # of every epoch, each in one vector, if they are kept
    other_states: dict[str, dict]  # of callbacks that are in the checkpoint, but not in this run


def train_classifier(
    data: ImageData,
    *,
    epochs: int,
    learning_rate: float = 1e-5,
    batch_size: int = 1024,
    noise: float = 1e-3,
    on_epoch_end=None,
    checkpoint=None,
    overwrite: bool = False,
    rng=None,
    device=None,
    progress: bool = False,
) -> TrainingRun:
    """Train the noisy convolutional classifier with Adam on the negative log-likelihood.

    Parameters
    ----------
    data : ImageData
        Images of the ten classes. Each must be among the training images; of the test images the
        ROC AUC is that of the classes that are there, and NaN for a single one.
    epochs : int
        How often the training images are gone through.
    learning_rate : float
        Adam's step size.
    batch_size : int
        Images a step.
    noise : float
        Relative noise before each layer, see `Classifier`.
    on_epoch_end : callable, sequence of callables or None
        Called after each epoch as `callback(epoch, model, data)`, epochs counted from 1, the
        model in evaluation mode, gradients off. What a callback does with random numbers changes
        nothing in the training. One with `name`, `last_epoch`, `state_dict()` and
        `load_state_dict(state)` has its state kept in the checkpoint under its name: plain
        containers, numbers, strings and tensors.
    checkpoint : path-like or None
        Where to save the run after each epoch. If the file is there, the run goes on from it. It
        holds the network of every epoch: a callback with a state that has not seen some of them,
        because it is new, is shown these first, and nothing is trained twice.
    overwrite : bool
        What to do with a checkpoint of other settings, or with what a callback recorded under
        other settings: start that anew instead of raising.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`; initial weights, order of images, dropout and noise
        follow from it. With None, a run that goes on from a checkpoint keeps the one it had.
    device : str, torch.device or None
        CPU or a CUDA device; None means CUDA if there is one. On a CPU a run repeats
        bit for bit. A graphics card adds up in any order, so that runs agree up to rounding only,
        unless `torch.use_deterministic_algorithms(True)` forbids it, which takes many times longer
        (on an H100, 65 times).
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    TrainingRun
        With history `train_loss`, `train_accuracy`, `train_roc_auc` and the same three for the
        test images. ROC AUC is the one-vs-one average (Hand and Till 2001). The test metrics
        belong to the network at the end of the epoch. The training metrics are those of the
        epoch's own batches, as the network was when it met them and with dropout on; they cost no
        further pass.

    Raises
    ------
    ValueError
        If an argument is out of range, a class is missing from the training images, or
        `checkpoint` holds a run of other settings or of more epochs.
    FloatingPointError
        If the loss is no longer finite.
    KeyboardInterrupt, OSError
        On Ctrl-C, and when the disk is full; the message says how to go on.

    Warns
    -----
    UserWarning
        If a class is missing from the test images.

    Notes
    -----
    The same `rng` gives the same numbers, bit for bit, on one machine's CPU with one number of
    threads, interrupted or not. On CUDA this holds after
    `torch.use_deterministic_algorithms(True)`.
    """
    _check_images(data)
    learned, tested = data.train_labels.unique().tolist(), data.test_labels.unique().tolist()
    if learned != _CLASSES:
        raise ValueError(
            f"data: the training labels are {learned}, but the classifier is to learn each class "
            f"from 0 to 9; give more images"
        )
    if not set(tested) <= set(_CLASSES):
        raise ValueError(f"data: the test labels are {tested}; give classes from 0 to 9")
    if tested != _CLASSES:
        auc = f"the average over pairs of the {len(tested)} others" if len(tested) > 1 else "NaN"
        warnings.warn(
            f"data: no test image is of the classes {sorted(set(_CLASSES) - set(tested))}; "
            f"test_roc_auc is {auc}",
            UserWarning,
            stacklevel=2,
        )
    task = _Task(
        name="classifier",
        build=lambda: Classifier(noise=noise),
        loss=lambda outputs, images, labels: nn.functional.nll_loss(outputs, labels),
        scores=_classification_scores,
        keep_epochs=True,
    )
    return _train(
        task,
        data,
        network={"noise": float(noise)},
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        on_epoch_end=on_epoch_end,
        checkpoint=checkpoint,
        overwrite=overwrite,
        rng=rng,
        device=device,
        progress=progress,
    )


def train_autoencoder(
    data: ImageData,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    batch_size: int = 2048,
    latent: int = 4,
    noise: float = 0.1,
    on_epoch_end=None,
    checkpoint=None,
    overwrite: bool = False,
    rng=None,
    device=None,
    progress: bool = False,
) -> TrainingRun:
    """Train the convolutional autoencoder with Adam on the mean absolute error of a pixel.

    Parameters
    ----------
    data : ImageData
        Images; the labels are not used.
    latent : int
        Length of the code.
    noise : float
        Standard deviation of the noise on the code in training, see `Autoencoder`.
    epochs, learning_rate, batch_size, on_epoch_end, checkpoint, overwrite, rng, device, progress
        As in `train_classifier`, but the checkpoint holds the last epoch's network alone.

    Returns
    -------
    TrainingRun
        With history `train_loss` (of the epoch's own batches, dropout and noise on) and
        `test_loss`.

    Raises
    ------
    ValueError, FloatingPointError
        As in `train_classifier`.
    """
    _check_images(data)
    latent = check_count(latent, "latent")
    task = _Task(
        name="autoencoder",
        build=lambda: Autoencoder(latent=latent, noise=noise),
        loss=lambda outputs, images, labels: nn.functional.l1_loss(outputs, images),
        scores=None,
        keep_epochs=False,
    )
    return _train(
        task,
        data,
        network={"latent": latent, "noise": float(noise)},
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        on_epoch_end=on_epoch_end,
        checkpoint=checkpoint,
        overwrite=overwrite,
        rng=rng,
        device=device,
        progress=progress,
    )


def layer_outputs(
    model: Classifier, images: torch.Tensor, *, batch_size: int = 1000, rng=None
) -> dict[str, np.ndarray]:
    """What each layer of a classifier gives for some images, in evaluation mode.

    Parameters
    ----------
    model : Classifier
        Its mode (training or evaluation) is left as it was.
    images : tensor, shape (n, 1, 28, 28)
        Normalised images.
    batch_size : int
        How many images go through at once; what the noise is depends on it.
    rng : Generator, int or None
        Seeds the layers' noise; PyTorch's generator is as before afterwards. With None the noise
        is drawn from PyTorch's generator as it stands, which in a training callback follows from
        the training's `rng` and the epoch.

    Returns
    -------
    dict of str to array, shape (n, width), float32
        By layer name, in the network's order; a layer of channels is flattened.
    """
    check_count(batch_size, "batch_size")
    device = next(model.parameters()).device
    if rng is not None:
        with torch.random.fork_rng(devices=_cuda_devices(device)):
            _seed_torch(device, _draw_seed(rng), _CALLBACK, 0)
            return layer_outputs(model, images, batch_size=batch_size)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = [
                {name: layer.flatten(1).float().cpu() for name, layer in outputs.items()}
                for outputs in (model.layers(part.to(device)) for part in images.split(batch_size))
            ]
    finally:
        model.train(was_training)
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _train(
    task,
    data,
    *,
    network,
    epochs,
    learning_rate,
    batch_size,
    on_epoch_end,
    checkpoint,
    overwrite,
    rng,
    device,
    progress,
):
    epochs = check_count(epochs, "epochs")
    batch_size = check_count(batch_size, "batch_size")
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate={learning_rate!r}; give a positive number")
    device = _as_device(device)
    callbacks = _as_callbacks(on_epoch_end)
    settings = {
        "network": task.name,
        **network,
        "data": data.name,
        "training images": len(data.train_images),
        "test images": len(data.test_images),
        "learning_rate": float(learning_rate),
        "batch_size": batch_size,
    }
    saved = _read_checkpoint(checkpoint)
    seed = saved["settings"]["seed"] if saved and rng is None else _draw_seed(rng)
    settings["seed"] = seed
    if saved:
        problem = _why_not_resumable(saved, settings, epochs, checkpoint)
        if problem and not overwrite:
            raise ValueError(problem)
        saved = None if problem else saved

    with torch.random.fork_rng(devices=_cuda_devices(device)):
        _seed_torch(device, seed, _INITIAL, 0)
        model = task.build().to(device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        kept = [] if task.keep_epochs else None
        run = _Run(settings, model, optimizer, {}, callbacks, checkpoint, device, kept, {})
        if saved:
            _restore(saved, run, overwrite)
            _replay(run, data, progress)
        _run_epochs(task, data, run, epochs, progress)
    model.eval()
    return TrainingRun(model, {name: np.array(values) for name, values in run.history.items()})


def _run_epochs(task, data, run, epochs, progress):
    seed, batch_size = run.settings["seed"], run.settings["batch_size"]
    model, device = run.model, run.device
    train = data.train_images.to(device), data.train_labels.to(device)
    test = data.test_images.to(device), data.test_labels.to(device)
    done = len(run.history.get("train_loss", ()))
    with tqdm(
        total=epochs, initial=done, desc=task.name, unit="epoch", disable=not progress
    ) as bar:
        try:
            for epoch in range(done + 1, epochs + 1):
                _seed_torch(device, seed, _EPOCH, epoch)
                metrics = {
                    "train": _go_through(task, model, *train, batch_size, run.optimizer),
                    "test": _go_through(task, model, *test, batch_size),
                }
                _record(run.history, metrics, epoch, task)
                if run.parameters is not None:
                    vectors = [part.detach().cpu().reshape(-1) for part in model.parameters()]
                    run.parameters.append(torch.cat(vectors))
                for callback in run.callbacks:
                    _call(callback, epoch, model, data, run)
                if run.checkpoint is not None:
                    _write_checkpoint(run)
                done = epoch
                bar.update()
                bar.set_postfix({name: f"{value:.4f}" for name, value in metrics["test"].items()})
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_go_on(done, epochs, run.checkpoint)) from None
        except OSError as error:
            error.add_note(_how_to_go_on(done, epochs, run.checkpoint))
            raise


def _call(callback, epoch, model, data, run):
    """Show a callback the network; its random numbers depend on the seed and the epoch alone."""
    _seed_torch(run.device, run.settings["seed"], _CALLBACK, epoch)
    model.eval()
    with torch.no_grad():
        callback(epoch, model, data)


def _replay(run, data, progress):
    """Show callbacks with a state the epochs of the checkpoint that they have not seen."""
    done = len(run.history["train_loss"])
    behind = [callback for callback in _with_state(run.callbacks) if callback.last_epoch < done]
    if not behind:
        return
    if not run.parameters:
        raise ValueError(
            f"on_epoch_end: {behind[0].name!r} has not seen the epochs up to {done}, and the "
            f"checkpoint {str(run.checkpoint)!r} does not hold their networks; name another file "
            f"to train anew"
        )
    model = copy.deepcopy(run.model)
    first = min(callback.last_epoch for callback in behind) + 1
    for epoch in tqdm(
        range(first, done + 1), desc="epochs of the checkpoint", unit="epoch", disable=not progress
    ):
        start = 0
        with torch.no_grad():
            for parameter in model.parameters():
                # Copied in place: the parameter keeps its layout in memory, and so its numbers.
                values = run.parameters[epoch - 1][start : start + parameter.numel()]
                parameter.copy_(values.view(parameter.shape))
                start += parameter.numel()
        for callback in behind:
            if callback.last_epoch < epoch:
                _call(callback, epoch, model, data, run)
        _write_checkpoint(run)


def _go_through(task, model, images, labels, batch_size, optimizer=None):
    """Go through all images once, in random order and learning if there is an optimizer."""
    learning = optimizer is not None
    model.train(learning)
    n_images = len(images)
    order = torch.randperm(n_images) if learning else torch.arange(n_images)
    part_size = _PART_ON_CPU if images.device.type == "cpu" else batch_size
    total = 0.0
    collected = []
    with torch.set_grad_enabled(learning):
        for batch in order.to(images.device).split(batch_size):
            if learning:
                optimizer.zero_grad()
            for part in batch.split(part_size):
                outputs = model(images[part])
                loss = task.loss(outputs, images[part], labels[part])
                if learning:
                    (loss * (len(part) / len(batch))).backward()
                total += loss.item() * len(part)
                if task.scores:
                    collected.append(outputs.detach())
            if learning:
                optimizer.step()
    scores = task.scores(torch.cat(collected), labels[order]) if task.scores else {}
    return {"loss": total / n_images, **scores}


def _classification_scores(log_probabilities, labels):
    accuracy = (log_probabilities.argmax(dim=1) == labels).double().mean().item()
    if not torch.isfinite(log_probabilities).all():
        return {"accuracy": accuracy, "roc_auc": float("nan")}
    # Float32 rows add up to 1 only roughly.
    probabilities = log_probabilities.double().softmax(dim=1).cpu().numpy()
    return {"accuracy": accuracy, "roc_auc": _roc_auc(probabilities, labels.cpu().numpy())}


def _roc_auc(probabilities, labels):
    """Area under the ROC curve, averaged over ordered pairs of the classes that are there.

    Of a pair, how often an image of the first has the higher probability of the first, ties by half
    (Hand and Till 2001, eq. 3 and 7). NaN for a single class.
    """
    areas = []
    sizes = np.bincount(labels)
    for first in np.flatnonzero(sizes):
        own = np.sort(probabilities[labels == first, first])
        ranks = np.searchsorted(own, probabilities[:, first], "left").astype(float)
        ranks += np.searchsorted(own, probabilities[:, first], "right")
        not_above = np.bincount(labels, ranks) / (2 * len(own))
        others = (sizes > 0) & (np.arange(len(sizes)) != first)
        areas += list(1 - not_above[others] / sizes[others])
    return float(np.mean(areas)) if areas else float("nan")


def _record(history, metrics, epoch, task):
    for part, values in metrics.items():
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the {task.name}'s {part} loss is {values['loss']} in epoch {epoch}; try a lower "
                f"learning_rate, and look for values in the images that are not finite"
            )
    for part, values in metrics.items():
        for name, value in values.items():
            history.setdefault(f"{part}_{name}", []).append(value)


def _write_checkpoint(run):
    content = {
        "format": CHECKPOINT_FORMAT,
        "settings": run.settings,  # with the seed: random numbers follow from it and the epoch
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history,
        "callbacks": {
            **run.other_states,
            **{callback.name: callback.state_dict() for callback in _with_state(run.callbacks)},
        },
    }
    if run.parameters is not None:
        content["parameters"] = torch.stack(run.parameters)
    # By way of memory: PyTorch's own writer ends on a full disk with errors of all sorts.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replace_atomically(run.checkpoint) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _read_checkpoint(path):
    if path is None or not Path(path).exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        readable = content["format"] == CHECKPOINT_FORMAT
    # What PyTorch raises on files that are cut short, or are something else.
    except (RuntimeError, OSError, EOFError, LookupError, TypeError, UnpicklingError) as error:
        raise ValueError(
            f"checkpoint={str(path)!r} cannot be read as a checkpoint; name another file, or "
            f"delete this one to start afresh"
        ) from error
    if not readable:
        raise ValueError(
            f"checkpoint={str(path)!r} has format {content['format']!r} and this code reads "
            f"{CHECKPOINT_FORMAT!r}; name another file"
        )
    return content


def _why_not_resumable(saved, settings, epochs, path):
    remedy = (
        f"use the settings of the checkpoint {str(path)!r}, name another file, or overwrite=True"
    )
    before = saved["settings"]
    labels = {"seed": "the seed that rng gives"}
    differences = [
        f"{labels.get(name, name)} was {before.get(name)!r} and is now {settings.get(name)!r}"
        for name in {**before, **settings}
        if before.get(name) != settings.get(name)
    ]
    if differences:
        return f"checkpoint of another run: {'; '.join(differences)}; {remedy}"
    done = len(saved["history"]["train_loss"])
    if done > epochs:
        return (
            f"epochs={epochs}, but the checkpoint {str(path)!r} is already at epoch {done}; ask "
            f"for {done} or more, name another file, or overwrite=True"
        )
    return None


def _restore(saved, run, overwrite):
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.history.update(saved["history"])
    if run.parameters is not None:
        run.parameters.extend(saved["parameters"])
    run.other_states.update(saved["callbacks"])
    for callback in _with_state(run.callbacks):
        state = run.other_states.pop(callback.name, None)
        try:
            if state is not None:
                callback.load_state_dict(state)
        except ValueError:
            if not overwrite:
                raise


def _how_to_go_on(done, epochs, checkpoint):
    if checkpoint is None:
        return (
            f"stopped after {done} of {epochs} epochs, and nothing was saved; with checkpoint=... "
            f"a run can be taken up where it stopped"
        )
    return (
        f"stopped after {done} of {epochs} epochs; run the same again, with "
        f"checkpoint={str(checkpoint)!r}, and it goes on from there"
    )


def _draw_seed(rng):
    return int(as_generator(rng).integers(2**63))


def _seed_torch(device, seed, purpose, number):
    """Seed PyTorch's generators on the CPU and on `device`, and on no other."""
    words = np.random.SeedSequence(seed, spawn_key=(purpose, number)).generate_state(1, np.uint64)
    torch.default_generator.manual_seed(int(words[0] >> 1))
    for cuda_device in _cuda_devices(device):
        with torch.cuda.device(cuda_device):
            torch.cuda.manual_seed(int(words[0] >> 1))


def _cuda_devices(device):
    return [device] if device.type == "cuda" else []


def _as_device(device):
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={str(device)!r}; choose 'cpu', 'cuda' or None")
    return device


def _as_callbacks(on_epoch_end):
    if on_epoch_end is None:
        return ()
    is_sequence = isinstance(on_epoch_end, (list, tuple))
    callbacks = tuple(on_epoch_end) if is_sequence else (on_epoch_end,)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"on_epoch_end: {callback!r} cannot be called; give functions")
    names = [callback.name for callback in _with_state(callbacks)]
    if len(set(names)) < len(names):
        raise ValueError(f"on_epoch_end has callbacks named {names}; give each a name of its own")
    return callbacks


def _with_state(callbacks):
    return [callback for callback in callbacks if hasattr(callback, "state_dict")]


def _check_images(data):
    if not isinstance(data, ImageData):
        raise TypeError(f"data is a {type(data).__name__}; give what load_images returns")
