"""Damaged result files, checkpoints and images are refused or read as they were, and run nothing.

The everyday run takes a few mutated copies of each; `make fuzz` takes 2000 new ones.
"""

from __future__ import annotations

import resource
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG

from utils.results import load_results, save_results

ROOT = Path(__file__).resolve().parents[1]
N_COPIES = 2000 if LONG else 60
COMMANDS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "os.remove")
commands_run: list[str] = []


def note_commands(event, arguments):
    if event in COMMANDS:
        commands_run.append(event)


# For good: a hook cannot be taken away.
sys.addaudithook(note_commands)


def mutated(content, rng):
    """A copy with one thing wrong, or several."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        # Most of a file is numbers; its structure lies at the ends.
        n = len(content)
        if n == 0:
            break
        start = int(
            rng.choice(
                [rng.integers(n), rng.integers(min(n, 300)), n - 1 - rng.integers(min(n, 300))]
            )
        )
        length = int(rng.choice([1, 4, rng.integers(1, 1000)]))
        kind = rng.integers(6)
        if kind == 0:
            content[start] ^= 1 << rng.integers(8)
        elif kind == 1:
            content[start : start + length] = rng.bytes(length)
        elif kind == 2:
            del content[start : start + length]
        elif kind == 3:
            content[start:start] = content[:length]
        elif kind == 4:
            content[start : start + length] = bytes(length)
        else:
            del content[max(start, 1) :]
    return bytes(content)


def survive(path, read, is_equal, errors):
    """Let `read` meet mutated copies of the file at `path`; return how many it refused."""
    whole = path.read_bytes()
    rng = np.random.default_rng(None if LONG else 0)
    commands_run.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_refused = 0
    for _ in range(N_COPIES):
        content = mutated(whole, rng)
        path.write_bytes(content)
        try:
            found = read()
        except errors as error:
            assert path.parent.name in str(error)
            n_refused += 1
        else:
            assert is_equal(found), content[:300]
    path.write_bytes(whole)
    assert is_equal(read())
    assert commands_run == []
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 2**20  # kB
    return n_refused


def are_equal(one, other):
    """Whether containers, numbers, arrays and tensors are the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(are_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(are_equal, one, other))
    if hasattr(one, "shape"):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and (np.asarray(one).tobytes() == np.asarray(other).tobytes())
        )
    return one == other or repr(one) == repr(other)


@pytest.mark.parametrize("name", ["estimators", "mnist_smi", "misleading"])
def test_mutated_results(name, tmp_path):
    real = load_results(name, directory=ROOT / "results" / "paper")
    path = save_results(name, real.results, settings=real.settings, directory=tmp_path)
    n_refused = survive(
        path,
        lambda: load_results(name, directory=tmp_path),
        lambda saved: (
            are_equal(saved.results, real.results) and are_equal(saved.settings, real.settings)
        ),
        ValueError,
    )
    assert n_refused > 0.9 * N_COPIES


@pytest.mark.parametrize(
    "instruction",
    [b"r" + struct.pack("<I", 2**29), b"p536870912\n", b"\x96" + struct.pack("<Q", 2**32)],
    ids=["a number of 4 bytes", "a number in digits", "a length"],
)
def test_short_results_that_would_fill_the_memory_are_refused(instruction, tmp_path):
    (tmp_path / "short.pkl").write_bytes(b"\x80\x05}" + instruction + b".")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="short.pkl is not a readable result file"):
        load_results("short", directory=tmp_path)
    # The first two are places for 2^29 addresses of 8 bytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # kB


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a training."""
    pytest.importorskip("torch", reason="trainings need PyTorch")
    from interrupted_training import classifier

    folder = tmp_path_factory.mktemp("trained")
    classifier(folder)
    return folder / "run.pt"


def test_mutated_checkpoints(trained, tmp_path):
    from utils.checkpoints import read_checkpoint

    path = shutil.copy(trained, tmp_path / "run.pt")
    real = read_checkpoint(path)
    n_refused = survive(
        path, lambda: read_checkpoint(path), lambda found: are_equal(found, real), ValueError
    )
    assert n_refused > 0.5 * N_COPIES


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_mutated_images(file, tmp_path):
    pytest.importorskip("torchvision", reason="images need PyTorch")
    from test_mnist import write_idx_files

    from utils.mnist import load_images

    raw = tmp_path / "MNIST" / "raw"
    write_idx_files(raw, n_train=20)
    # Of files that nobody has published, a changed pixel cannot be told, but all else can.
    survive(
        raw / file,
        lambda: load_images("mnist", root=tmp_path, download=False),
        lambda data: (
            data.train_images.shape == (20, 1, 28, 28)
            and data.train_labels.shape == (20,)
            and set(data.train_labels.tolist()) <= set(range(10))
        ),
        RuntimeError,
    )


def test_a_checkpoint_whose_tensors_pass_for_folders_is_refused(trained, tmp_path):
    from utils.checkpoints import read_checkpoint

    path = shutil.copy(trained, tmp_path / "run.pt")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    # Its attributes in the directory at the end, 8 bytes before its name: PyTorch reads zeros.
    content[content.rindex(largest.filename.encode()) - 8] = 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        read_checkpoint(path)
