"""Result files: what a run found, how it was asked for, and what it ran on.

A result file is a pickle of plain containers, numbers, strings and numpy arrays, and nothing
else: it can be read without this repository, and reading it here runs nothing that the file
says. It is written whole or not at all, so an interrupted run leaves the last complete state.
"""

from __future__ import annotations

import datetime
import glob
import importlib.metadata
import io
import os
import pickle
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["SavedResults", "load_results", "replace_atomically", "save_results"]

FORMAT = "smi-experiments results"
FORMAT_VERSION = 1

_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "torch")
_PLAIN_SCALARS = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class SavedResults:
    """A result file's content.

    Parameters
    ----------
    results : dict
        What the run found.
    settings : dict
        What the run was asked for.
    provenance : dict
        When, and with which versions of Python and of the packages, it was made.
    """

    results: dict
    settings: dict
    provenance: dict

    def __repr__(self):
        return (
            f"SavedResults(results={sorted(self.results)}, settings={self.settings}, "
            f"provenance={self.provenance})"
        )


@contextmanager
def replace_atomically(path):
    """Give a temporary path to write to, and put that file in the place of `path` at the end.

    If the block raises, or the process dies, the old file stays as it was. What a process that died
    has left of its own copy is removed by the next one.

    Parameters
    ----------
    path : path-like
        The file to replace; its directory is made if it is not there.

    Yields
    ------
    pathlib.Path
        A file beside `path`, so that the final rename stays on one disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.name}.", ".tmp"
    for left in path.parent.glob(f"{glob.escape(before)}*{after}"):
        process = left.name.removeprefix(before).removesuffix(after)
        if process.isdecimal() and not _is_running(int(process)):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{before}{os.getpid()}{after}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(process):
    try:
        os.kill(process, 0)  # a signal of 0 only asks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def save_results(name, results, *, settings, directory="results/quick"):
    """Write a result file, whole or not at all.

    Parameters
    ----------
    name : str
        File name without its ending.
    results, settings : dict
        What was found and what was asked for: dicts, lists, tuples, strings, numbers, None and
        numpy arrays of numbers, booleans or strings. Nothing else, so that anybody can read it.
    directory : path-like
        Where to write; made if it is not there.

    Returns
    -------
    pathlib.Path
        The file written, `directory/name.pkl`.

    Raises
    ------
    TypeError
        If something in `results` or `settings` is of another kind; names where it is.
    """
    _check_plain(results, "results")
    _check_plain(settings, "settings")
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "results": results,
        "settings": settings,
        "provenance": _provenance(),
    }
    path = Path(directory) / f"{name}.pkl"
    with replace_atomically(path) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=4))
    return path


def load_results(name, *, directory="results/quick"):
    """Read a result file; nothing in it is executed.

    Parameters
    ----------
    name : str
        File name without its ending.
    directory : path-like
        Where it lies.

    Returns
    -------
    SavedResults

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, is not one of ours, or holds anything but plain data.
    """
    path = Path(directory) / f"{name}.pkl"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no result file {path}; run the notebook that makes it, or name another "
            f"directory (results/paper holds the full-size runs)"
        )
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
        _check_plain(content, "content")
    except (
        pickle.UnpicklingError,
        EOFError,
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        ImportError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is not a readable result file: {error}") from error
    keys = {"format", "format_version", "results", "settings", "provenance"}
    if not isinstance(content, dict) or set(content) != keys or content["format"] != FORMAT:
        raise ValueError(f"{path} is a pickle, but not a result file of this repository")
    if content["format_version"] not in range(1, FORMAT_VERSION + 1):
        raise ValueError(
            f"{path} has format version {content['format_version']!r}, and this code reads up to "
            f"{FORMAT_VERSION}; update the repository"
        )
    return SavedResults(content["results"], content["settings"], content["provenance"])


def _provenance():
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def _check_plain(value, where):
    # Types by identity: a subclass (an OrderedDict, a memory map) needs its class to be read back.
    if type(value) in _PLAIN_SCALARS or isinstance(value, (np.bool_, np.number)):
        return
    if type(value) is np.ndarray:
        if value.dtype.kind not in "biufcU":
            raise TypeError(
                f"{where} is an array of dtype {value.dtype}; numbers, booleans and strings can be "
                f"saved"
            )
    elif type(value) is dict:
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    else:
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}; only dicts, lists, "
            f"tuples, strings, numbers, None and numpy arrays can be saved: convert it first"
        )


class _PlainUnpickler(pickle.Unpickler):
    """Finds numpy's own array constructors and nothing else."""

    _ALLOWED = frozenset(
        [("numpy", "ndarray"), ("numpy", "dtype")]
        + [
            (f"numpy.{core}.multiarray", name)
            for core in ("core", "_core")
            for name in ("_reconstruct", "scalar")
        ]
    )

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and only plain data and numpy arrays are read"
            )
        return super().find_class(module, name)
