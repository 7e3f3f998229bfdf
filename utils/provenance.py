"""What a result was made with: date, versions, commit, and a fingerprint of the code that ran.

Settings do not say everything: with the same settings, a grid has other numbers once the estimator
has been edited. So result files and checkpoints hold a fingerprint of the code that makes their
numbers, and a run resumes only from a file made with the same code.
"""

from __future__ import annotations

import datetime
import dis
import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["changed_code", "fingerprint", "local_time", "plain_repr", "provenance"]

_VERSIONS_OF = ("numpy", "scipy", "numba", "scikit-learn", "torch")
_PACKAGE = __name__.partition(".")[0]

# The modules of this package that make the numbers: estimators, data, networks. What lies between
# them (checks, scheduling, averages over slices) is held fixed by the tests.
_FOLLOWED = (
    "epochs",
    "estimators",
    "experiments",
    "kernels",
    "networks",
    "slicing",
    "synthetic",
    "training",
)

# Methods that compute nothing, mostly made by `dataclass`, differently from version to version.
_NOT_COMPUTING = ("__repr__", "__eq__", "__hash__", "__replace__")

_SIGNATURE_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR
_CONSTANTS = (type(None), bool, int, float, complex, str, bytes, np.generic)


def provenance(code: Mapping[str, str] | None = None) -> dict[str, Any]:
    """When, where and with what a result was made.

    Parameters
    ----------
    code : mapping or None
        The `fingerprint` of the code that made it.

    Returns
    -------
    dict
        `date` (UTC, ISO 8601), `versions` of Python and of the packages, `machine`, `cpus`,
        `commit` of the clone, `modified`: whether the package's files differ from those of the
        commit (both None outside a clone, or without git); and `code`, if given.
    """
    commit, modified = _commit_of(Path(__file__).resolve().parent)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": dict(_versions()),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "commit": commit,
        "modified": modified,
        **({} if code is None else {"code": dict(code)}),
    }


@functools.cache
def _versions():
    versions = {"python": platform.python_version()}
    for package in _VERSIONS_OF:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def local_time(date: str) -> str:
    """A date of `provenance` as this machine's clock would show it, to the minute."""
    return datetime.datetime.fromisoformat(date).astimezone().strftime("%Y-%m-%d %H:%M")


# ----------------------------------------------------------------------------------- fingerprints


def plain_repr(value: object) -> str:
    """`repr(value)` without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def fingerprint(parts: Mapping[str, Iterable[object]]) -> dict[str, str]:
    """Hash the code of functions, classes and objects, and of what they call.

    References are followed into the caller's own code (notebook, script, modules that are not
    installed) and into those modules of this package that make numbers, but not into libraries,
    lists, sets and dicts. The bytecode, the constants and the names used count. Comments,
    docstrings, messages (strings with a blank in them) and names of local variables do not.

    Parameters
    ----------
    parts : mapping of str to iterable
        Functions, classes, instances and constants, by the name that an error message uses.

    Returns
    -------
    dict of str to str
        A hash by name, and under "python" the version whose bytecode was hashed.
    """
    hashes = {name: _hash_of(objects) for name, objects in parts.items()}
    return {"python": "{}.{}".format(*sys.version_info), **hashes}


def changed_code(before: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str] | None:
    """Compare two fingerprints.

    Parameters
    ----------
    before : mapping or None
        The fingerprint in a file, or None if the file has none.
    now : mapping
        The fingerprint of the present code.

    Returns
    -------
    list of str or None
        The names whose code differs. None if they cannot be compared: the file has no fingerprint,
        or one from another version of Python, whose bytecode differs.
    """
    if before is None or before.get("python") != now["python"]:
        return None
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _hash_of(objects):
    lines: set[str] = set()
    seen: dict[int, object] = {}  # kept alive, so that no address is used twice
    pending = list(objects)
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        line, references = _describe(value)
        lines.add(line)
        pending += references
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _describe(value):
    """One line that changes whenever `value` does, and what `value` refers to."""
    value = getattr(value, "py_func", value)  # of a function that numba compiles
    if isinstance(value, functools._lru_cache_wrapper):
        value = value.__wrapped__
    if isinstance(value, _CONSTANTS):
        return repr(value), []
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array {value.dtype} {value.shape} {content}", []
    if isinstance(value, (tuple, frozenset)):
        return f"{type(value).__name__} of {len(value)}", list(value)
    if isinstance(value, (list, set, dict)):  # which may change while the code runs
        return "", []
    if isinstance(value, functools.partial):
        return "partial", [value.func, *value.args, *value.keywords.items()]
    if isinstance(value, MethodType):
        return f"method {value.__name__}", [value.__func__, value.__self__]
    if isinstance(value, (staticmethod, classmethod)):
        return type(value).__name__, [value.__func__]
    if isinstance(value, property):
        return "property", [value.fget]
    if isinstance(value, functools.cached_property):
        return "property", [value.func]
    if isinstance(value, (FunctionType, type)) and not _is_followed(value.__module__):
        return f"{value.__module__}.{value.__qualname__}", []
    if isinstance(value, FunctionType):
        return _describe_function(value)
    if isinstance(value, type):
        return _describe_class(value)
    return _describe_instance(value)


def _describe_function(function):
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    names = list(_names_in(function.__code__))
    used = [function.__globals__[name] for name in names if name in function.__globals__]
    for module in [each for each in used if isinstance(each, ModuleType)]:
        if _is_followed(module.__name__):
            used += [getattr(module, name) for name in names if hasattr(module, name)]
    references = [
        each
        for each in (*used, *cells, *defaults)
        if not (isinstance(each, ModuleType) or _is_message(each))
    ]
    where = f"{function.__module__}.{function.__qualname__}"
    return f"{where} {_bytecode(function.__code__)}", references


def _describe_class(kind):
    members = [
        (name, member)
        for name, member in vars(kind).items()
        # What a dataclass generates follows from its fields.
        if not (name.startswith("__") and not isinstance(member, FunctionType))
        and name not in _NOT_COMPUTING
    ]
    references = [
        member
        for _, member in members
        if _is_code(member) or (_is_constant(member) and not _is_message(member))
    ]
    fields = vars(kind).get("__dataclass_fields__", {})
    references += [field.default for field in fields.values() if _is_constant(field.default)]
    names = sorted(name for name, member in members if _is_code(member))
    return f"class {kind.__module__}.{kind.__qualname__} {names}", [*references, *kind.__bases__]


def _describe_instance(value):
    kind = type(value)
    if not _is_followed(kind.__module__):
        return plain_repr(value)[:10_000], []
    state = getattr(value, "__dict__", {})
    constants = {name: each for name, each in state.items() if _is_constant(each)}
    held = [each for each in state.values() if isinstance(each, np.ndarray) or _is_code(each)]
    return f"{kind.__qualname__} {plain_repr(sorted(constants.items()))}", [kind, *held]


def _is_code(value):
    wrappers = (FunctionType, MethodType, type, staticmethod, classmethod, property)
    return isinstance(value, (*wrappers, functools.partial, functools.cached_property)) or hasattr(
        value, "py_func"
    )


def _is_constant(value):
    if isinstance(value, (tuple, frozenset)):
        return all(_is_constant(each) for each in value)
    return isinstance(value, _CONSTANTS)


def _is_message(value):
    return isinstance(value, str) and " " in value


def _is_followed(module):
    """Whether a module is the caller's own, or one of this package that makes numbers."""
    top, _, rest = (module or "__main__").partition(".")
    if top == _PACKAGE:
        return rest.partition(".")[0] in _FOLLOWED
    if top in ("__main__", "__mp_main__"):
        return True
    if top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"} & set(Path(file).parts)


def _is_filled(cell):
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # a variable that is not assigned yet
        return False
    return True


def _names_in(code):
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _bytecode(code):
    """What a function does: its instructions with their constants and the names of globals."""
    lines = [str((code.co_argcount, code.co_kwonlyargcount, code.co_flags & _SIGNATURE_FLAGS))]
    for instruction in dis.get_instructions(code):
        operand = instruction.arg
        if instruction.opcode in dis.hasconst:
            operand = _operand(instruction.argval)
        elif instruction.opcode in dis.hasname:
            operand = instruction.argval
        lines.append(f"{instruction.opname} {operand}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _operand(constant):
    if isinstance(constant, CodeType):
        return _bytecode(constant)
    if isinstance(constant, frozenset):  # in an order that differs from process to process
        return sorted(map(repr, constant))
    return "a message" if _is_message(constant) else repr(constant)


# --------------------------------------------------------------------------------------------- git


@functools.cache
def _commit_of(package):
    """The commit of the clone that a package lies in, and whether its files were edited since.

    Only the package's own files count: results and notebooks change in every run.
    """
    root = package.parent
    if not (root / ".git").exists():  # git would look for a clone in the folders above
        return None, None
    git = ["git", "--no-optional-locks", "-C", str(root)]
    status = ["status", "--porcelain", "--", f"{package.name}/*.py"]
    try:
        commit, changes = (
            subprocess.run([*git, *command], capture_output=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], status)
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or a clone that it cannot read
        return None, None
    return commit.decode(), bool(changes)
