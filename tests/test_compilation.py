"""Compiled kernels are kept on disk; whatever befalls that place, they are right."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# In a process of its own, which reads what is kept.
MEASURE = """
import numpy as np
from utils.kernels.sorting import sort_rows
rows = np.random.default_rng(0).standard_normal((2, 1000))
values, order = sort_rows(rows)
np.testing.assert_array_equal(values, np.sort(rows, axis=1))
np.testing.assert_array_equal(np.take_along_axis(rows, order, axis=1), values)
"""


def measure(folder, *, preexec_fn=None, **environment):
    """Sort by the kernels of a package in `folder`; returns what was said."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "default::RuntimeWarning", "-c", MEASURE],
        env={name: value for name, value in environment.items() if value is not None},
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=preexec_fn,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that a first process has filled."""
    folder = tmp_path_factory.mktemp("cache")
    measure(ROOT, NUMBA_CACHE_DIR=str(folder))
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of it, whose files may be damaged."""
    return shutil.copytree(filled, tmp_path / "cache")


def kept(folder):
    """When each index was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbi")}


def emptied(path):
    path.write_bytes(b"")


def cut_short(path):
    os.truncate(path, min(1000, path.stat().st_size // 2))


def overwritten(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


DAMAGES = [
    (".nbc", cut_short),
    pytest.param(".nbi", emptied, marks=pytest.mark.long),
    pytest.param(".nbi", cut_short, marks=pytest.mark.long),
    pytest.param(".nbi", overwritten, marks=pytest.mark.long),
    pytest.param(".nbc", emptied, marks=pytest.mark.long),
    pytest.param(".nbc", overwritten, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("suffix", "damage"), DAMAGES)
def test_what_is_damaged_is_compiled_anew_and_kept(cache, suffix, damage):
    damaged = list(cache.rglob(f"*{suffix}"))
    assert damaged
    for path in damaged:
        damage(path)
    before = kept(cache)
    measure(ROOT, NUMBA_CACHE_DIR=str(cache))
    assert any(written > before.get(path, 0) for path, written in kept(cache).items())


def copy_of_utils(folder):
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=skip)
    return folder


def test_what_is_kept_is_used(cache):
    before = kept(cache)
    assert before
    measure(ROOT, NUMBA_CACHE_DIR=str(cache))
    assert kept(cache) == before


@pytest.mark.long
def test_a_change_of_any_kernel_drops_what_is_kept(tmp_path):
    # A kernel may be inlined into another file's.
    folder, cache = copy_of_utils(tmp_path), tmp_path / "cache"
    measure(folder, NUMBA_CACHE_DIR=str(cache))
    first = kept(cache)
    with (folder / "utils" / "kernels" / "moments.py").open("a") as file:
        file.write("\n# changed\n")
    measure(folder, NUMBA_CACHE_DIR=str(cache))
    second = kept(cache)
    assert second.keys() == first.keys()
    assert all(second[path] > first[path] for path in first)


def without_privileges():
    """Take from root what lets it write where nobody may: PR_CAPBSET_DROP, CAP_DAC_OVERRIDE."""
    ctypes.CDLL(None).prctl(24, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="rights are those of Linux")
def test_an_install_that_cannot_be_written_to_works_without_a_home(tmp_path):
    folder = copy_of_utils(tmp_path)
    every_path = [folder, folder / "utils", *(folder / "utils").rglob("*")]
    for path in reversed(every_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    nowhere = {"NUMBA_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": str(folder / "none")}
    try:
        said = measure(folder, preexec_fn=without_privileges, **nowhere)
    finally:
        for path in every_path:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert "no cache directory can be written to" in said
    assert "NUMBA_CACHE_DIR" in said
    assert not list(folder.rglob("*.nb?"))
