"""Train the networks: one loop for both, interruptible, and blind to what is measured on the way.

What a run computes depends on its seed and on its settings, not on who watches. The random numbers
of each epoch come from the seed and the epoch's number alone, so an epoch is the same whether the
run got there in one go or in ten, and whatever a callback drew in between. PyTorch's own generator
is lent for the time of the run and handed back as it was.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm.auto import tqdm

from .mnist import ImageData
from .networks import Autoencoder, Classifier
from .results import replace_atomically

__all__ = ["TrainingRun", "layer_outputs", "train_autoencoder", "train_classifier"]

CHECKPOINT_FORMAT = "smi-experiments checkpoint 1"

# A batch goes through the network in parts of this many images, their gradients summed: the same
# gradient, but the activations stay in a processor's cache (on 2 cores: 9 s an epoch of the
# autoencoder instead of 14 s). A GPU takes the whole batch at once.
_PART_ON_CPU = 256

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


def train_classifier(
    data: ImageData,
    *,
    epochs: int,
    learning_rate: float = 1e-5,
    batch_size: int = 1024,
    noise: float = 1e-3,
    on_epoch_end=None,
    checkpoint=None,
    rng=None,
    device=None,
    progress: bool = False,
) -> TrainingRun:
    """Train the noisy convolutional classifier with Adam on the negative log-likelihood.

    Parameters
    ----------
    data : ImageData
        Images of the ten classes, each class present in both parts.
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
        nothing in the training. One with `state_dict()` and `load_state_dict(state)` has its
        state kept in the checkpoint: plain containers, numbers, strings and tensors.
    checkpoint : path-like or None
        Where to save the run after each epoch. If the file is there, the run goes on from it.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`; initial weights, order of images, dropout and noise
        follow from it. With None, a run that goes on from a checkpoint keeps the one it had.
    device : str, torch.device or None
        CPU or a CUDA device; None means CUDA if there is one.
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
        If an argument is out of range, a class is missing, or `checkpoint` holds a run of other
        settings or of more epochs.
    FloatingPointError
        If the loss is no longer finite.

    Notes
    -----
    The same `rng` gives the same numbers, bit for bit, on one machine's CPU with one number of
    threads, interrupted or not. On CUDA this holds after
    `torch.use_deterministic_algorithms(True)`.
    """
    _check_images(data)
    for part, labels in (("training", data.train_labels), ("test", data.test_labels)):
        if labels.unique().tolist() != list(range(10)):
            raise ValueError(
                f"data: the {part} labels are {labels.unique().tolist()}, but the ROC AUC needs "
                f"each class from 0 to 9; give more images"
            )
    task = _Task(
        name="classifier",
        build=lambda: Classifier(noise=noise),
        loss=lambda outputs, images, labels: nn.functional.nll_loss(outputs, labels),
        scores=_classification_scores,
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
    epochs, learning_rate, batch_size, on_epoch_end, checkpoint, rng, device, progress
        As in `train_classifier`.

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
    _check_count("latent", latent)
    task = _Task(
        name="autoencoder",
        build=lambda: Autoencoder(latent=latent, noise=noise),
        loss=lambda outputs, images, labels: nn.functional.l1_loss(outputs, images),
        scores=None,
    )
    return _train(
        task,
        data,
        network={"latent": int(latent), "noise": float(noise)},
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        on_epoch_end=on_epoch_end,
        checkpoint=checkpoint,
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
    _check_count("batch_size", batch_size)
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
                {name: layer.flatten(1).cpu() for name, layer in outputs.items()}
                for outputs in (model.layers(part.to(device)) for part in images.split(batch_size))
            ]
    finally:
        model.train(was_training)
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _train(
    task, data, *, network, epochs, learning_rate, batch_size, on_epoch_end, checkpoint, rng,
    device, progress,
):
    _check_count("epochs", epochs)
    _check_count("batch_size", batch_size)
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
        "batch_size": int(batch_size),
    }
    saved = _read_checkpoint(checkpoint)
    seed = saved["settings"]["seed"] if saved and rng is None else _draw_seed(rng)
    settings["seed"] = seed

    with torch.random.fork_rng(devices=_cuda_devices(device)):
        _seed_torch(device, seed, _INITIAL, 0)
        model = task.build().to(device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        history = {}
        if saved:
            _check_resumable(saved, settings, epochs, callbacks, checkpoint)
            history = _restore(saved, model, optimizer, callbacks)
        _run_epochs(
            task, data, model, optimizer, history, callbacks, settings, epochs=epochs,
            checkpoint=checkpoint, device=device, progress=progress,
        )
    model.eval()
    return TrainingRun(model, {name: np.array(values) for name, values in history.items()})


def _run_epochs(
    task, data, model, optimizer, history, callbacks, settings, *, epochs, checkpoint, device,
    progress,
):
    seed, batch_size = settings["seed"], settings["batch_size"]
    train = data.train_images.to(device), data.train_labels.to(device)
    test = data.test_images.to(device), data.test_labels.to(device)
    done = len(history.get("train_loss", ()))
    with tqdm(
        total=epochs, initial=done, desc=task.name, unit="epoch", disable=not progress
    ) as bar:
        try:
            for epoch in range(done + 1, epochs + 1):
                _seed_torch(device, seed, _EPOCH, epoch)
                metrics = {
                    "train": _go_through(task, model, *train, batch_size, optimizer),
                    "test": _go_through(task, model, *test, batch_size),
                }
                _record(history, metrics, epoch, task)
                for callback in callbacks:
                    _seed_torch(device, seed, _CALLBACK, epoch)
                    model.eval()
                    with torch.no_grad():
                        callback(epoch, model, data)
                if checkpoint is not None:
                    _write_checkpoint(checkpoint, settings, model, optimizer, history, callbacks)
                done = epoch
                bar.update()
                bar.set_postfix({name: f"{value:.4f}" for name, value in metrics["test"].items()})
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_go_on(done, epochs, checkpoint)) from None


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
    # Float32 rows add up to 1 only roughly, and scikit-learn checks.
    probabilities = log_probabilities.double().softmax(dim=1).cpu().numpy()
    roc_auc = roc_auc_score(labels.cpu().numpy(), probabilities, multi_class="ovo")
    return {"accuracy": accuracy, "roc_auc": float(roc_auc)}


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


def _write_checkpoint(path, settings, model, optimizer, history, callbacks):
    content = {
        "format": CHECKPOINT_FORMAT,
        "settings": settings,  # with the seed: all random numbers follow from it and the epoch
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "callbacks": [callback.state_dict() for callback in _with_state(callbacks)],
    }
    with replace_atomically(path) as temporary:
        torch.save(content, temporary)


def _read_checkpoint(path):
    if path is None or not Path(path).exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        readable = content["format"] == CHECKPOINT_FORMAT
    # What PyTorch raises on files that are cut short, or are something else.
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError) as error:
        raise ValueError(
            f"checkpoint={str(path)!r} cannot be read as a checkpoint; name another file, or delete "
            f"this one to start afresh"
        ) from error
    if not readable:
        raise ValueError(
            f"checkpoint={str(path)!r} has format {content['format']!r} and this code reads "
            f"{CHECKPOINT_FORMAT!r}; name another file"
        )
    return content


def _check_resumable(saved, settings, epochs, callbacks, path):
    remedy = f"use the settings of the checkpoint {str(path)!r}, or name another file"
    before = saved["settings"]
    labels = {"seed": "the seed that rng gives"}
    differences = [
        f"{labels.get(name, name)} was {before.get(name)!r} and is now {settings.get(name)!r}"
        for name in {**before, **settings}
        if before.get(name) != settings.get(name)
    ]
    if differences:
        raise ValueError(f"checkpoint of another run: {'; '.join(differences)}; {remedy}")
    done = len(saved["history"]["train_loss"])
    if done > epochs:
        raise ValueError(
            f"epochs={epochs}, but the checkpoint {str(path)!r} is already at epoch {done}; ask "
            f"for {done} or more, or name another file"
        )
    n_before, n_now = len(saved["callbacks"]), len(_with_state(callbacks))
    if n_before != n_now:
        raise ValueError(
            f"on_epoch_end has {n_now} callbacks with a state, and the checkpoint was written "
            f"with {n_before}; {remedy}"
        )


def _restore(saved, model, optimizer, callbacks):
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    for callback, state in zip(_with_state(callbacks), saved["callbacks"], strict=True):
        callback.load_state_dict(state)
    return saved["history"]


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
    return int(np.random.default_rng(rng).integers(2**63))


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
    return callbacks


def _with_state(callbacks):
    return [callback for callback in callbacks if hasattr(callback, "state_dict")]


def _check_images(data):
    if not isinstance(data, ImageData):
        raise TypeError(f"data is a {type(data).__name__}; give what load_images returns")


def _check_count(name, value):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r} is not a whole number")
    if value < 1:
        raise ValueError(f"{name}={value}; give at least 1")
