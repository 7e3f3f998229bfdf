"""The estimating half needs neither PyTorch nor Matplotlib, and nor do its tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
# As if it were not installed.
WITHOUT_TORCH = """
import sys

class WithoutTorch:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *arguments):
        if name.partition(".")[0] in ("torch", "torchvision"):
            return None
        return self.finder.find_spec(name, *arguments)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(WithoutTorch, sys.meta_path)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
OF_NETWORKS = {
    "test_information_plane.py",
    "test_layers.py",
    "test_mnist.py",
    "test_networks.py",
    "test_notebooks.py",
    "test_plotting.py",
    "test_training.py",
}


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


OPTIONAL = ("torch", "matplotlib", "seaborn", "ipywidgets", "mutinfo")


def test_importing_the_package_imports_nothing_optional(tmp_path):
    # One that is there even where the library is not.
    (tmp_path / "mutinfo").mkdir()
    (tmp_path / "mutinfo" / "__init__.py").touch()
    code = f"import sys, utils; print([name for name in {OPTIONAL} if name in sys.modules])"
    done = run(code, PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert done.stdout == "[]\n", done.stderr
    # Had it been imported, it would show.
    done = run(f"import mutinfo; {code}", PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert done.stdout == "['mutinfo']\n", done.stderr


@pytest.mark.long
def test_tests_of_the_estimating_half_run_without_torch():
    files = sorted(str(path) for path in TESTS.glob("test_*.py") if path.name not in OF_NETWORKS)
    # All are collected and some run; those of tensors are skipped, and say so.
    done = run(WITHOUT_TORCH, "-p", "no:cacheprovider", "-rs", "-k", "haar or weights", *files)
    said = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == 0, said
    assert "SKIPPED [1] tests/test_tensors.py" in said
    assert int(re.search(r"(\d+) passed", said)[1]) > 30, said
