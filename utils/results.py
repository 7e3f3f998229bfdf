"""Result files: what a run found, how it was asked for, and what it ran on.

A result file is a pickle of plain containers, numbers, strings and numpy arrays, and nothing
else: it can be read without this repository, and reading it here executes nothing. It is written
whole or not at all, so an interrupted run leaves the last complete state. A checksum follows the
pickle, where other readers of pickles do not look.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import pickle
import pickletools
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .provenance import provenance
from .tables import as_csv, tidy_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SavedResults", "load_results", "replace_atomically", "save_results", "save_table"]

FORMAT = "smi-experiments results"
FORMAT_VERSION = 2  # 1 had no checksum

# A temporary file that has not been touched for so long is left over from a crash.
_ABANDONED_AFTER = 600.0  # seconds

_MAX_DEPTH = 100

_DAMAGED = "its checksum is not that of its content; make it anew, or take it from a backup"
_CHECKSUM = b"\nsha256 "
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
        When and with what it was made, see `utils.provenance.provenance`. The oldest files
        of format version 1 lack the commit and the code's fingerprint.
    """

    results: dict[str, Any]
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """The results as one tidy table, one row per number.

        Returns
        -------
        pandas.DataFrame
            With the columns of `utils.tables.tidy_columns`: `part`, `quantity`, the axes, `value`
            and `std_error`. The file of the same name that ends in .csv holds the same table.
        """
        import pandas as pd

        return pd.DataFrame(tidy_columns(self.results))

    def __repr__(self) -> str:
        return (
            f"SavedResults(results={sorted(self.results)}, settings={self.settings}, "
            f"provenance={self.provenance})"
        )


@contextmanager
def replace_atomically(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and put that file in the place of `path` at the end.

    If the block raises, or the process dies, the old file stays as it was. Of several writers, on
    one machine or several, the last to finish wins. The temporary file of a writer that died is
    removed by a later writer, after ten minutes.

    Parameters
    ----------
    path : path-like
        The file to replace; its directory is made if it is missing. `~` is the home directory.

    Yields
    ------
    pathlib.Path
        A file beside `path`, so that the final rename stays on one disk.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.name}.", ".tmp"
    # A process id alone is not unique on a disk that machines or containers share.
    writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f"{before}{writer}{after}")
    try:
        temporary.touch()
        # By the disk's own clock, which may differ from this machine's.
        abandoned = temporary.stat().st_mtime - _ABANDONED_AFTER
        for left in path.parent.glob(f"{glob.escape(before)}*-*-*{after}"):
            with suppress(OSError):  # another user's, or removed by another writer
                if left.stat().st_mtime < abandoned:
                    left.unlink()
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_results(
    name: str,
    results: dict[str, Any],
    *,
    settings: dict[str, Any],
    directory: str | os.PathLike = "results/quick",
    code: Mapping[str, str] | None = None,
    csv: bool = True,
) -> Path:
    """Write a result file, whole or not at all, and its table for other tools beside it.

    Parameters
    ----------
    name : str
        File name without its ending.
    results, settings : dict
        What was found and what was asked for: dicts, lists, tuples, strings, numbers, None and
        numpy arrays of numbers, booleans or strings. Nothing else, so that anybody can read it.
    directory : path-like
        Where to write; made if it is missing. `~` is the home directory.
    code : mapping or None
        Fingerprint of the code that made the results, from `utils.provenance.fingerprint`.
    csv : bool
        Whether to write `directory/name.csv` as well, with the table of `SavedResults.to_frame`.
        Switch it off for arrays of many millions of numbers.

    Returns
    -------
    pathlib.Path
        The file written, `directory/name.pkl`.

    Raises
    ------
    TypeError
        If something in `results` or `settings` is of another kind (long doubles too, which only
        some machines have), is nested more than 100 deep or holds itself; names where it is.
    """
    _check_plain(results, "results")
    _check_plain(settings, "settings")
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "results": results,
        "settings": settings,
        "provenance": provenance(code),
    }
    path = Path(directory).expanduser() / f"{name}.pkl"
    data = pickle.dumps(content, protocol=4)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(data + _CHECKSUM + hashlib.sha256(data).hexdigest().encode())
    if csv:
        save_table(name, results, directory=directory)
    return path


def save_table(
    name: str, results: dict[str, Any], *, directory: str | os.PathLike = "results/quick"
) -> Path:
    """Write results as comma-separated values, for R, a spreadsheet or pandas.

    Parameters
    ----------
    name : str
        File name without its ending.
    results : dict
        As for `save_results`, which calls this.
    directory : path-like
        As for `save_results`.

    Returns
    -------
    pathlib.Path
        The file written, `directory/name.csv`: the table of `SavedResults.to_frame`.
    """
    path = Path(directory).expanduser() / f"{name}.csv"
    with replace_atomically(path) as temporary:
        temporary.write_text(as_csv(results), encoding="utf-8", newline="")
    return path


def load_results(name: str, *, directory: str | os.PathLike = "results/quick") -> SavedResults:
    """Read a result file; nothing in it is executed.

    Parameters
    ----------
    name : str
        File name without its ending.
    directory : path-like
        Where it lies. `~` is the home directory.

    Returns
    -------
    SavedResults

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or damaged, is not one of ours, or holds anything but plain data.
    """
    path = Path(directory).expanduser() / f"{name}.pkl"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no result file {path.absolute()}; run the notebook that makes it, or name "
            f"another directory (results/paper in the clone holds the full-size runs; a relative "
            f"path starts from the folder in which Python runs)"
        )
    data, has_checksum, checksum = path.read_bytes().rpartition(_CHECKSUM)
    if not has_checksum:
        data = checksum
    elif checksum != hashlib.sha256(data).hexdigest().encode():
        raise ValueError(f"{path} is damaged: {_DAMAGED}")
    try:
        _check_instructions(data)
        content = _PlainUnpickler(io.BytesIO(data)).load()
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
    if content["format_version"] > 1 and not has_checksum:
        raise ValueError(f"{path} is cut short: {_DAMAGED}")
    return SavedResults(content["results"], content["settings"], content["provenance"])


def _check_plain(value, where, inside=()):
    """Raise a TypeError that says where something is that cannot be saved.

    `inside` holds the identities of the containers around the value.
    """
    # Types by identity: a subclass (an OrderedDict, a memory map) needs its class to be read back.
    if type(value) in _PLAIN_SCALARS:
        return
    if isinstance(value, (np.bool_, np.number)) or type(value) is np.ndarray:
        _check_dtype(value, where)
        return
    if type(value) not in (dict, list, tuple):
        raise TypeError(
            f"{where} has type {type(value).__module__}.{type(value).__qualname__}; only dicts, "
            f"lists, tuples, strings, numbers, None and numpy arrays can be saved: convert it first"
        )
    if id(value) in inside:
        raise TypeError(f"{where} is a {type(value).__name__} that holds itself; save a copy")
    if len(inside) == _MAX_DEPTH:
        raise TypeError(
            f"{where} is a {type(value).__name__} inside {_MAX_DEPTH} others; nest them less"
        )
    inside = (*inside, id(value))
    if type(value) is dict:
        for key, item in value.items():
            _check_plain(key, f"a key of {where}", inside)
            _check_plain(item, f"{where}[{key!r}]", inside)
    else:
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]", inside)


def _check_dtype(value, where):
    kind = "array" if type(value) is np.ndarray else type(value).__qualname__
    if value.dtype.char in "gG":
        raise TypeError(
            f"{where} has type {kind} and dtype {value.dtype}, which other machines cannot read; "
            f"convert it by astype(float) or astype(complex)"
        )
    if value.dtype.kind not in "biufcU":
        raise TypeError(
            f"{where} has type {kind} and dtype {value.dtype}; only numbers, booleans and strings "
            f"can be saved"
        )


def _check_instructions(data):
    """Refuse a pickle whose reading would take memory out of all proportion to its length."""
    # Python reserves room for all numbers below that of the object. Lengths are compared with the
    # length of the file by `genops` itself.
    for n_before, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if instruction.name.endswith("PUT") and int(argument) > n_before:
            raise pickle.UnpicklingError(
                f"it keeps {n_before} objects at most as number {argument}"
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

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and only plain data and numpy arrays are read"
            )
        return super().find_class(module, name)
