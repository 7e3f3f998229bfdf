"""Provenance: the commit, and fingerprints that change with the code alone."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from numba import njit

from utils import KSG, WKL, Copula, load_results, save_results
from utils.provenance import changed_code, fingerprint, plain_repr

ROOT = Path(__file__).resolve().parents[1]


def compiled(source, name="f", **names):
    namespace = {"__name__": "__main__", "np": np, **names}
    exec(dedent(source), namespace)
    return namespace[name]


def code(*objects):
    return fingerprint({"it": objects})["it"]


ORIGINAL = """
def f(x, y, *, k=3):
    return g(x) + k * np.max(y)
"""
SAME = {
    "again": ORIGINAL,
    "a comment, a docstring and names of locals": '''
def f(first, second, *, k=3):
    """What it does."""
    # Why it does it.
    return g(first) + k * np.max(second)
''',
}
OTHER = {
    "a constant": ORIGINAL.replace("k * np", "2 * k * np"),
    "a default": ORIGINAL.replace("k=3", "k=4"),
    "a function of a library": ORIGINAL.replace("max", "min"),
    "an operation": ORIGINAL.replace("+", "-"),
}


def make_g(constant):
    return compiled(f"def g(x): return {constant} * x", "g")


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_changes_no_number_keeps_the_fingerprint(source):
    assert code(compiled(source, g=make_g(1))) == code(compiled(ORIGINAL, g=make_g(1)))


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_changes_numbers_changes_the_fingerprint(source):
    assert code(compiled(source, g=make_g(1))) != code(compiled(ORIGINAL, g=make_g(1)))


def test_what_is_called_counts():
    original = code(compiled(ORIGINAL, g=make_g(1)))
    assert code(compiled(ORIGINAL, g=make_g(2))) != original
    assert code(functools.partial(compiled(ORIGINAL, g=make_g(1)), k=5)) != original
    assert code(njit(make_g(1))) == code(make_g(1))
    assert code(njit(make_g(1))) != code(njit(make_g(2)))


def test_what_is_held_counts_and_what_is_recorded_does_not():
    def holding(value):
        return lambda x: x + value

    assert code(holding(np.zeros(3))) != code(holding(np.ones(3)))
    assert code(holding(1.0)) == code(holding(1.0)) != code(holding(2.0))
    calls = []
    counting = holding(calls)
    before = code(counting)
    calls.append(1)
    assert code(counting) == before


CLASS = """
class Mine(Base):
    factor = 2
    def __init__(self, k):
        self.k = k
    def slice_terms(self, x, y):
        return self.factor * x
"""


def test_classes_and_objects_count_with_their_bases_and_settings():
    base = compiled("class Base:\n    def help(self): return 1", "Base")
    mine = compiled(CLASS, "Mine", Base=base)
    assert code(mine(3)) == code(compiled(CLASS, "Mine", Base=base)(3))
    assert code(mine(3)) != code(mine(4))
    for old, new in (("factor = 2", "factor = 3"), ("* x", "* y"), ("slice_terms", "other")):
        assert code(compiled(CLASS.replace(old, new), "Mine", Base=base)(3)) != code(mine(3))
    other_base = compiled("class Base:\n    def help(self): return 2", "Base")
    assert code(compiled(CLASS, "Mine", Base=other_base)(3)) != code(mine(3))


def test_the_kernels_of_an_estimator_count(monkeypatch):
    before = code(WKL(5)), code(KSG(5))
    assert before[0] != code(WKL(4))
    monkeypatch.setattr(WKL, "slice_terms", lambda self, x, y: 42.0)
    assert (code(WKL(5)) == before[0], code(KSG(5)) == before[1]) == (False, True)


def test_another_process_has_the_same_fingerprint():
    script = (
        "from utils import WKL, Copula; from utils.provenance import fingerprint; "
        "print(fingerprint({'it': (WKL(5), Copula())})['it'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == code(WKL(5), Copula())


def test_fingerprints_are_compared_by_name_and_not_across_versions():
    now = {"python": "3.11", "grid": "a", "WKL()": "b"}
    assert changed_code(now, now) == []
    assert changed_code({**now, "grid": "c"}, now) == ["grid"]
    assert changed_code({"python": "3.11", "grid": "a"}, now) == ["WKL()"]
    assert changed_code({**now, "python": "3.12"}, now) is None
    assert changed_code(None, now) is None


def test_addresses_do_not_count_in_names():
    assert plain_repr(make_g(1)) == plain_repr(make_g(1)) == "<function g>"


# ------------------------------------------------------------------------------------------ commits


def commit_of(folder):
    """The commit that a copy of the package in `folder` would write into its results."""
    file = folder / "utils" / "provenance.py"
    spec = importlib.util.spec_from_file_location("utils.provenance", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.provenance()
    return made["commit"], made["modified"]


@pytest.mark.skipif(shutil.which("git") is None, reason="the clone is made by git")
def test_the_commit_is_recorded_and_whether_the_code_was_edited(tmp_path, monkeypatch):
    clone = tmp_path / "mit Lücke"
    ignored = shutil.ignore_patterns("__pycache__")
    # Contents alone: the files of a clone that only others may write are copied as well.
    shutil.copytree(ROOT / "utils", clone / "utils", ignore=ignored, copy_function=shutil.copyfile)
    for folder in (clone / "utils", *filter(Path.is_dir, (clone / "utils").rglob("*"))):
        folder.chmod(0o755)
    assert commit_of(clone) == (None, None)

    def git(*arguments):
        options = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *options, *arguments], cwd=clone, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init")
    git("add", "utils")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert commit_of(clone) == (commit, False)
    git("pack-refs", "--all")
    assert commit_of(clone) == (commit, False)
    results = clone / "utils" / "results.py"
    results.write_text(results.read_text() + "\n# edited\n")
    assert commit_of(clone) == (commit, True)
    git("checkout", "--detach", "-f")
    assert commit_of(clone) == (commit, False)
    (clone / "utils" / "new.py").write_text("")
    assert commit_of(clone) == (commit, True)
    git("worktree", "add", tmp_path / "tree")
    assert commit_of(tmp_path / "tree") == (commit, False)
    monkeypatch.setenv("PATH", "")  # no git can be found there
    assert commit_of(clone) == (None, None)


def test_the_code_is_kept_in_the_result_file(tmp_path):
    save_results("a", {}, settings={}, directory=tmp_path, code=fingerprint({"it": [WKL(5)]}))
    code_of_file = load_results("a", directory=tmp_path).provenance["code"]
    assert changed_code(code_of_file, fingerprint({"it": [WKL(5)]})) == []
    assert changed_code(code_of_file, fingerprint({"it": [WKL(4)]})) == ["it"]
