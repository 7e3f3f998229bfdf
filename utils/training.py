"""Train the networks: one loop for both, interruptible, and unaware of what callbacks measure.

What a run computes depends on its seed and its settings, not on its callbacks. The random numbers
of each epoch follow from the seed and the epoch's number alone, so an epoch is the same whether
the run was interrupted before it or not. PyTorch's own generator is restored after the run.
"""

from __future__ import annotations

import copy
import math
import numbers
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from .checkpoints import (
    TrainingState,
    read_checkpoint,
    resume_error,
    resume_hint,
    resume_report,
    stateful,
    write_checkpoint,
)
from .epochs import (
    FOR_CALLBACKS,
    FOR_EPOCHS,
    FOR_WEIGHTS,
    Task,
    TrainingSetEvaluation,
    classification_scores,
    cuda_devices,
    record_metrics,
    run_epoch,
    seed_torch,
)
from .interruption import Stopped
from .mnist import ImageData, check_classes, check_images
from .networks import Autoencoder, Classifier
from .provenance import fingerprint
from .validation import as_generator, check_count

__all__ = ["TrainingRun", "train_autoencoder", "train_classifier"]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network, and how it got there.

    Parameters
    ----------
    model : torch.nn.Module
        The network after the last epoch, in evaluation mode.
    history : dict of str to array, shape (n_epochs,)
        What was recorded after each epoch, by metric.
    """

    model: nn.Module
    history: dict[str, np.ndarray]

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        epochs = len(self.history["train_loss"])
        return f"TrainingRun({type(self.model).__name__}, {epochs} epochs: {last})"


Callback = Callable[[int, nn.Module, ImageData], Any]


def train_classifier(
    data: ImageData,
    *,
    epochs: int,
    learning_rate: float = 1e-5,
    batch_size: int = 1024,
    noise: float = 1e-3,
    evaluate_training: bool = False,
    on_epoch_end: Callback | Sequence[Callback] | None = None,
    checkpoint: str | os.PathLike | None = None,
    overwrite: bool = False,
    ignore_code: bool = False,
    rng: np.random.Generator | int | None = None,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> TrainingRun:
    """Train the noisy convolutional classifier with Adam on the negative log-likelihood.

    Parameters
    ----------
    data : ImageData
        Images of the ten classes. Each class must be among the training images. If some are missing
        from the test images, `test_roc_auc` is that of the others, and NaN if only one is left.
    epochs : int
        Number of passes over the training images.
    learning_rate : float
        Adam's step size.
    batch_size : int
        Images per step.
    noise : float
        Relative noise before each layer, see `Classifier`.
    evaluate_training : bool
        Whether to record the metrics of all training images in evaluation mode as well, as
        `train_eval_loss`, `train_eval_accuracy` and `train_eval_roc_auc`. It takes another pass
        per epoch, and works for a finished training too, whose checkpoint has every network.
    on_epoch_end : callable, sequence of callables or None
        Called after each epoch as `callback(epoch, model, data)`, with epochs counted from 1, the
        model in evaluation mode and gradients off. A callback cannot disturb the training by
        drawing random numbers. A callback whose attribute `awaits_start` is true is also called
        before the training, with epoch 0. If it has `name`, `last_epoch`, `state_dict()` and
        `load_state_dict(state)`, the checkpoint keeps its state under its name: plain containers,
        numbers, strings and tensors.
    checkpoint : path-like or None
        Where to save the run after each epoch; `~` is the home directory. If the file exists, the
        run resumes from it. It holds the network of every epoch: a callback with a state that has
        missed some of them is shown these first, without training again.
    overwrite : bool
        What to do with a checkpoint of other settings or other code, or with what a callback
        recorded under other settings: start anew instead of raising.
    ignore_code : bool
        Whether to resume although the code of the network or of the loop has changed since, for
        changes that cannot change numbers. A checkpoint without a record of its code, or from
        another version of Python, is taken as it is.
    rng : Generator, int or None
        Passed to `numpy.random.default_rng`; initial weights, order of images, dropout and noise
        follow from it. With None, a resumed run keeps the seed of its checkpoint.
    device : str, torch.device or None
        CPU or a CUDA device; None means CUDA if there is one.
    progress : bool
        Whether to show a progress bar and, in one line, what was loaded from a checkpoint.

    Returns
    -------
    TrainingRun
        With history `train_loss`, `train_accuracy`, `train_roc_auc` and the same three for the
        test images. ROC AUC is the one-vs-one average (Hand and Till 2001). The test metrics
        belong to the network at the end of the epoch. The training metrics are averages over the
        batches of the epoch, each before its step and with dropout on; they take no further pass.

    Raises
    ------
    ValueError
        If an argument is out of range, a class is missing from the training images, or
        `checkpoint` is damaged or holds a run of other settings, other code or more epochs.
    FloatingPointError
        If the loss is no longer finite.
    KeyboardInterrupt, OSError
        On Ctrl-C, and when the disk is full; the message says how to resume.

    Warns
    -----
    UserWarning
        If a class is missing from the test images.

    Notes
    -----
    The same `rng` gives the same numbers, bit for bit, on one machine's CPU with one number of
    threads, interrupted or not. CUDA sums in any order, so that runs agree up to rounding only,
    unless `torch.use_deterministic_algorithms(True)` forbids it, which is slower (65 times on an
    H100).
    """
    check_images(data)
    check_classes(data)
    noise = _as_finite(noise, "noise")
    task = Task(
        name="classifier",
        build=lambda: Classifier(noise=noise),
        loss=lambda outputs, images, labels: nn.functional.nll_loss(outputs, labels),
        scores=classification_scores,
        keep_epochs=True,
    )
    return _train(
        task,
        data,
        network={"noise": noise},
        evaluate_training=evaluate_training,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        on_epoch_end=on_epoch_end,
        checkpoint=checkpoint,
        overwrite=overwrite,
        ignore_code=ignore_code,
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
    on_epoch_end: Callback | Sequence[Callback] | None = None,
    checkpoint: str | os.PathLike | None = None,
    overwrite: bool = False,
    ignore_code: bool = False,
    rng: np.random.Generator | int | None = None,
    device: str | torch.device | None = None,
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
        Standard deviation of the noise on the code in training, relative to the code, see
        `Autoencoder`.
    epochs, learning_rate, batch_size, on_epoch_end, checkpoint, overwrite, ignore_code
        As in `train_classifier`, but the checkpoint holds the last epoch's network alone.
    rng, device, progress
        As in `train_classifier`.

    Returns
    -------
    TrainingRun
        With history `train_loss` (averaged over the epoch's batches, dropout and noise on) and
        `test_loss`.

    Raises
    ------
    ValueError, FloatingPointError
        As in `train_classifier`.
    """
    check_images(data)
    latent, noise = check_count(latent, "latent"), _as_finite(noise, "noise")
    task = Task(
        name="autoencoder",
        build=lambda: Autoencoder(latent=latent, noise=noise),
        loss=lambda outputs, images, labels: nn.functional.l1_loss(outputs, images),
        scores=None,
        keep_epochs=False,
    )
    return _train(
        task,
        data,
        network={"latent": latent, "noise": noise},
        evaluate_training=False,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        on_epoch_end=on_epoch_end,
        checkpoint=checkpoint,
        overwrite=overwrite,
        ignore_code=ignore_code,
        rng=rng,
        device=device,
        progress=progress,
    )


def _train(
    task,
    data,
    *,
    network,
    epochs,
    learning_rate,
    batch_size,
    evaluate_training,
    on_epoch_end,
    checkpoint,
    overwrite,
    ignore_code,
    rng,
    device,
    progress,
):
    epochs = check_count(epochs, "epochs")
    batch_size = check_count(batch_size, "batch_size")
    learning_rate = _as_finite(learning_rate, "learning_rate")
    if learning_rate == 0:
        raise ValueError("learning_rate=0; give a positive number")
    device = _as_device(device)
    callbacks = _as_callbacks(on_epoch_end)
    evaluation = TrainingSetEvaluation(task, batch_size, device)
    checkpoint = None if checkpoint is None else Path(checkpoint).expanduser()
    saved = read_checkpoint(checkpoint)
    seed = saved["settings"]["seed"] if saved and rng is None else _draw_seed(rng)
    settings = {
        "network": task.name,
        **network,
        "data": data.name,
        "training images": len(data.train_images),
        "test images": len(data.test_images),
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
    }
    with torch.random.fork_rng(devices=cuda_devices(device)):
        seed_torch(device, seed, FOR_WEIGHTS, 0)
        model = task.build().to(device, memory_format=torch.channels_last)
        run = TrainingState(
            settings=settings,
            code=_code_of(task, model),
            model=model,
            optimizer=torch.optim.Adam(model.parameters(), lr=learning_rate),
            device=device,
            checkpoint=checkpoint,
            callbacks=(*callbacks, evaluation) if evaluate_training else callbacks,
            parameters=[] if task.keep_epochs else None,
        )
        if saved:
            _resume(saved, run, epochs, overwrite, ignore_code, progress)
        with _resumable(run, epochs):
            _show_start(task, data, run)
            if saved:
                _replay(run, data, progress)
            _run_epochs(task, data, run, epochs, progress)
    model.eval()
    history = {**run.history, **evaluation.history}
    return TrainingRun(model, {name: np.array(values) for name, values in history.items()})


def _code_of(task, model):
    layers = {type(module) for module in model.modules()}
    return fingerprint(
        {
            "network": [repr(model), *layers],
            "training loop": [run_epoch, seed_torch, task.loss, task.scores],
        }
    )


def _resume(saved, run, epochs, overwrite, ignore_code, progress):
    path = run.checkpoint
    problem = resume_error(saved, run.settings, run.code, epochs, path, ignore_code=ignore_code)
    if problem and not overwrite:
        raise ValueError(problem)
    if not problem:
        run.restore(saved, overwrite=overwrite)
    if progress:
        replaced = f"{path} holds another run and is replaced; {epochs} epochs to train"
        tqdm.write(replaced if problem else resume_report(saved, run.code, epochs, path))


def _run_epochs(task, data, run, epochs, progress):
    model, device = run.model, run.device
    train = data.train_images.to(device), data.train_labels.to(device)
    test = data.test_images.to(device), data.test_labels.to(device)
    batch_size = run.settings["batch_size"]
    done = run.n_epochs
    with tqdm(
        total=epochs, initial=done, desc=task.name, unit="epoch", disable=not progress
    ) as bar:
        for epoch in range(done + 1, epochs + 1):
            seed_torch(device, run.settings["seed"], FOR_EPOCHS, epoch)
            metrics = {
                "train": run_epoch(task, model, *train, batch_size, run.optimizer),
                "test": run_epoch(task, model, *test, batch_size),
            }
            record_metrics(run.history, metrics, epoch, task)
            run.keep_parameters()
            for callback in run.callbacks:
                _call(callback, epoch, model, data, run)
            write_checkpoint(run)
            bar.update()
            bar.set_postfix({name: f"{value:.4f}" for name, value in metrics["test"].items()})


@contextmanager
def _resumable(run, epochs):
    """Say of a run that is stopped how to resume it."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(resume_hint(run.n_saved, epochs, run.checkpoint)) from None
    except OSError as error:
        error.add_note(resume_hint(run.n_saved, epochs, run.checkpoint))
        raise


def _show_start(task, data, run):
    """Show the network before its training to the callbacks that wait for it."""
    waiting = [callback for callback in run.callbacks if getattr(callback, "awaits_start", False)]
    if waiting:
        seed_torch(run.device, run.settings["seed"], FOR_WEIGHTS, 0)
        start = task.build().to(run.device, memory_format=torch.channels_last)
        for callback in waiting:
            _call(callback, 0, start, data, run)


def _call(callback, epoch, model, data, run):
    """Call a callback; its random numbers follow from the seed and the epoch alone."""
    seed_torch(run.device, run.settings["seed"], FOR_CALLBACKS, epoch)
    model.eval()
    with torch.no_grad():
        callback(epoch, model, data)


def _replay(run, data, progress):
    """Show callbacks with a state the epochs of the checkpoint that they have missed."""
    done = run.n_epochs
    behind = [callback for callback in stateful(run.callbacks) if callback.last_epoch < done]
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
        run.load_parameters(model, epoch)
        for callback in behind:
            if callback.last_epoch < epoch:
                _call(callback, epoch, model, data, run)
        write_checkpoint(run)


def _draw_seed(rng):
    return int(as_generator(rng).integers(2**63))


def _as_device(device):
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    remedy = "choose 'cpu', 'cuda' (or 'cuda:1' and so on) or None"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r}; {remedy}") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device!r}; {remedy}")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}, but PyTorch finds no such card here; {remedy}")
    return found


def _as_finite(value, name):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise ValueError(f"{name}={value!r}; give a finite number that is not negative")
    return float(value)


def _as_callbacks(on_epoch_end):
    if on_epoch_end is None:
        return ()
    is_sequence = isinstance(on_epoch_end, (list, tuple))
    callbacks = tuple(on_epoch_end) if is_sequence else (on_epoch_end,)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"on_epoch_end: {callback!r} cannot be called; give functions")
    names = [callback.name for callback in stateful(callbacks)]
    if len(set(names)) < len(names):
        raise ValueError(f"on_epoch_end has callbacks named {names}; give each its own name")
    return callbacks
