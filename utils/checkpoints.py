"""What is saved of a training, and when a run may resume from it.

A checkpoint holds plain containers, numbers, strings and tensors; reading it executes nothing. It
is written whole or not at all.
"""

from __future__ import annotations

import datetime
import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from .provenance import changed_code, local_time, provenance
from .results import replace_atomically

__all__ = [
    "CHECKPOINT_FORMAT",
    "TrainingState",
    "read_checkpoint",
    "resume_error",
    "resume_hint",
    "resume_report",
    "stateful",
    "write_checkpoint",
]

CHECKPOINT_FORMAT = "smi-experiments checkpoint 1"

_KEYS = {"format", "settings", "model", "optimizer", "history", "callbacks"}

# What PyTorch and zipfile raise on files that are cut short, damaged, or something else.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(eq=False)
class TrainingState:
    """A training under way: what a checkpoint holds, and where it goes.

    Parameters
    ----------
    settings : dict
        What determines the numbers, including the seed.
    code : dict of str to str
        Fingerprint of the network and of the loop.
    model, optimizer
        In their state after the last epoch.
    device : torch.device
        The device of the model.
    checkpoint : path-like or None
        The file; None if nothing is saved.
    callbacks : sequence of callables
        The callbacks of this run.
    parameters : list of tensors or None
        The network of every epoch, as one vector each; None if they are not kept.
    history : dict of str to list of float
        What was recorded after each epoch.
    other_states : dict of str to dict
        States of callbacks that are in the checkpoint but not in this run.
    n_saved : int
        How many epochs the file holds; without a file, how many are done.
    """

    settings: dict[str, Any]
    code: dict[str, str]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    checkpoint: str | os.PathLike | None
    callbacks: Sequence[Callable]
    parameters: list[torch.Tensor] | None
    history: dict[str, list[float]] = field(default_factory=dict)
    other_states: dict[str, dict] = field(default_factory=dict)
    n_saved: int = 0

    @property
    def n_epochs(self) -> int:
        """How many epochs are done."""
        return len(self.history.get("train_loss", ()))

    def restore(self, saved: Mapping[str, Any], *, overwrite: bool) -> None:
        """Continue from a checkpoint.

        Parameters
        ----------
        saved : mapping
            From `read_checkpoint`.
        overwrite : bool
            Whether a callback that refuses its saved state starts anew instead of raising.

        Raises
        ------
        ValueError
            If the file's tensors do not fit the network, or a callback refuses its state.
        """
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} holds other tensors than the network has; "
                f"name another file, or delete this one to train anew"
            ) from error
        self.history.update(saved["history"])
        self.n_saved = self.n_epochs
        if self.parameters is not None:
            self.parameters.extend(saved["parameters"])
        self.other_states.update(saved["callbacks"])
        for callback in stateful(self.callbacks):
            state = self.other_states.pop(callback.name, None)
            try:
                if state is not None:
                    callback.load_state_dict(state)
            except ValueError:
                if not overwrite:
                    raise

    def keep_parameters(self) -> None:
        """Keep the network as it is now, if the networks of all epochs are kept."""
        if self.parameters is not None:
            vectors = [part.detach().cpu().reshape(-1) for part in self.model.parameters()]
            self.parameters.append(torch.cat(vectors))

    def load_parameters(self, model: nn.Module, epoch: int) -> None:
        """Load the parameters that were kept of an epoch into a network of the same kind."""
        start = 0
        with torch.no_grad():
            for parameter in model.parameters():
                # In place: another layout in memory would give other roundings.
                values = self.parameters[epoch - 1][start : start + parameter.numel()]  # type: ignore
                parameter.copy_(values.view(parameter.shape))
                start += parameter.numel()


def stateful(callbacks: Iterable[Any]) -> list[Any]:
    """Those callbacks that have a state to be kept."""
    return [callback for callback in callbacks if hasattr(callback, "state_dict")]


def write_checkpoint(run: TrainingState) -> None:
    """Save a training, whole or not at all; nothing if it has no file."""
    if run.checkpoint is None:
        run.n_saved = run.n_epochs
        return
    content = {
        "format": CHECKPOINT_FORMAT,
        "settings": run.settings,  # with the seed: random numbers follow from it and the epoch
        "provenance": provenance(run.code),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history,
        "callbacks": {
            **run.other_states,
            **{callback.name: callback.state_dict() for callback in stateful(run.callbacks)},
        },
    }
    if run.parameters is not None:
        content["parameters"] = torch.stack(run.parameters)
    # Through memory: on a full disk, PyTorch's own writer fails with errors of all sorts.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replace_atomically(run.checkpoint) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    run.n_saved = run.n_epochs


def read_checkpoint(path: str | os.PathLike | None) -> dict[str, Any] | None:
    """Read a checkpoint; nothing in it is executed.

    Parameters
    ----------
    path : path-like or None
        `~` is the home directory.

    Returns
    -------
    dict or None
        None if there is no such file. The oldest checkpoints have no `provenance`.

    Raises
    ------
    ValueError
        If the file is damaged, or is something else.
    """
    if path is None or not Path(path).expanduser().exists():
        return None
    try:
        content = _load_checked(Path(path).expanduser())
        file_format = content["format"]
        readable = file_format == CHECKPOINT_FORMAT
        if readable:
            _check_structure(content)
    except _UNREADABLE as error:
        raise ValueError(
            f"checkpoint={str(path)!r} cannot be read as a checkpoint; name another file, or "
            f"delete this one to start afresh"
        ) from error
    if not readable:
        raise ValueError(
            f"checkpoint={str(path)!r} has format {file_format!r} and this code reads "
            f"{CHECKPOINT_FORMAT!r}; name another file"
        )
    return content


def _load_checked(path):
    # PyTorch does not verify the checksums that it writes.
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED for each in members):
            raise ValueError("PyTorch does not compress")
        # With attributes, its reader may take a member for a folder, and read zeros.
        if any(each.external_attr for each in members):
            raise ValueError("PyTorch gives its members no attributes")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_structure(content):
    """Raise one of `_UNREADABLE` if something is missing that resuming needs."""
    if not content.keys() >= _KEYS:
        raise ValueError(f"{sorted(_KEYS - content.keys())} are missing")
    lengths = {len(values) for values in content["history"].values()}
    if len(lengths) != 1 or not isinstance(content["settings"]["seed"], int):
        raise ValueError("the history's lengths differ")
    if "parameters" in content and len(content["parameters"]) != lengths.pop():
        raise ValueError("the networks of some epochs are missing")


def resume_error(
    saved: Mapping[str, Any],
    settings: Mapping[str, Any],
    code: Mapping[str, str],
    epochs: int,
    path: str | os.PathLike,
    *,
    ignore_code: bool,
) -> str | None:
    """Why a run cannot resume from a checkpoint, and what to do; None if it can."""
    before = saved["settings"]
    labels = {"seed": "the seed that rng gives"}
    differences = [
        f"{labels.get(name, name)} was {before.get(name)!r} and is now {settings.get(name)!r}"
        for name in {**before, **settings}
        if before.get(name) != settings.get(name)
    ]
    if differences:
        return (
            f"checkpoint of another run: {'; '.join(differences)}; use the settings of the "
            f"checkpoint {str(path)!r}, name another file, or overwrite=True"
        )
    changed = _changed_code(saved, code)
    if changed and not ignore_code:
        return (
            f"the code of the {' and the '.join(changed)} has changed since the checkpoint "
            f"{str(path)!r} was made ({_date(saved, path)}); name another file, overwrite=True to "
            f"train anew, or ignore_code=True if the change cannot change numbers"
        )
    done = len(saved["history"]["train_loss"])
    if done > epochs:
        return (
            f"epochs={epochs}, but the checkpoint {str(path)!r} is already at epoch {done}; ask "
            f"for {done} or more, name another file, or overwrite=True"
        )
    return None


def resume_report(
    saved: Mapping[str, Any], code: Mapping[str, str], epochs: int, path: str | os.PathLike
) -> str:
    """One line: what was loaded, from which file of which date, and what is left to train."""
    done = len(saved["history"]["train_loss"])
    left = f"{epochs - done} left to train" if done < epochs else "nothing left to train"
    compared = "" if _changed_code(saved, code) is not None else "; its code cannot be compared"
    return f"{done} of {epochs} epochs loaded from {path} of {_date(saved, path)}{compared}; {left}"


def resume_hint(done: int, epochs: int, checkpoint: str | os.PathLike | None) -> str:
    """What to tell whoever stopped a run."""
    if checkpoint is None:
        return (
            f"stopped after {done} of {epochs} epochs, and nothing was saved; with checkpoint=... "
            f"a stopped run can resume"
        )
    return (
        f"stopped after {done} of {epochs} epochs; the same call with "
        f"checkpoint={str(checkpoint)!r} resumes"
    )


def _changed_code(saved, code):
    return changed_code(saved.get("provenance", {}).get("code"), code)


def _date(saved, path):
    if "provenance" in saved:
        return local_time(saved["provenance"]["date"])
    written = datetime.datetime.fromtimestamp(Path(path).expanduser().stat().st_mtime)
    return written.strftime("%Y-%m-%d %H:%M")
