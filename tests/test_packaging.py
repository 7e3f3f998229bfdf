"""The installed package is the code of the clone, and what is said about it is true."""

from __future__ import annotations

import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

import utils

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*")

USE = """
import json, sys
import numpy as np
import {name} as package

rng = np.random.default_rng(0)
x, noise = rng.standard_normal((2, {n}, 3))
value = {measure}
print(json.dumps({{
    "names": package.__all__,
    "file": package.__file__,
    "heavy": sorted({{"torch", "matplotlib", "pandas", "utils"}} & set(sys.modules)),
    "value": value,
}}))
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments, python=sys.executable, **options):
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    return run(python, "-m", "pip", arguments[0], *quiet, *arguments[1:], **options)


# Small enough for kernels that are not compiled; and what a user calls.
SMALL = {
    "n": 40,
    "measure": "package.independence_test(x, x + noise, n_projections=3, n_permutations=3, rng=0)"
    ".null_values.tolist()",
}
USUAL = {"n": 1000, "measure": "package.sliced_mutual_information(x, x + noise, rng=0).value"}


def use(name, cwd, *, python=sys.executable, compiled=False, **environment):
    """What a program finds that measures with the package of this name."""
    code = USE.format(name=name, **(USUAL if compiled else SMALL))
    variables = {**os.environ, "NUMBA_DISABLE_JIT": "0" if compiled else "1", **environment}
    return json.loads(run(python, "-c", code, cwd=cwd, env=variables))


def requirements(file):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and line[0] not in "#-"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is packaged, so that building leaves nothing in the clone."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "utils", copy / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    """A folder into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip("wheel", "--wheel-dir", str(folder / "wheels"), str(source))
    wheels = list((folder / "wheels").iterdir())
    assert [wheel.name for wheel in wheels] == [f"slicedmi-{PROJECT['version']}-py3-none-any.whl"]
    pip("install", "--target", str(folder / "site"), str(wheels[0]))
    return folder / "site"


def test_the_wheel_has_every_file_of_the_clone_and_no_other(installed):
    there = {path.relative_to(ROOT / "utils") for path in (ROOT / "utils").rglob("*.py")}
    assert {path.relative_to(installed / "slicedmi") for path in installed.rglob("*.py")} == there


def test_the_wheel_works_in_another_folder_and_gives_what_the_clone_gives(installed, tmp_path):
    found = use("slicedmi", tmp_path, PYTHONPATH=str(installed))
    in_clone = use("utils", ROOT)
    assert Path(found["file"]).is_relative_to(installed)
    assert found["names"] == in_clone["names"] == utils.__all__
    assert found["heavy"] == []
    # The same code on the same numbers, in one thread: the same bits.
    assert found["value"] == in_clone["value"]


@pytest.mark.long  # compiles the kernels anew
def test_the_wheel_compiles_and_caches_where_it_is_installed(installed, tmp_path):
    # Correlation sqrt(1/2) t between slices, t^2 ~ Beta(1/2, 1): SMI = -1/2 E log(1 - t^2 / 2).
    smi = quad(lambda t: -0.5 * math.log1p(-0.5 * t**2), 0.0, 1.0)[0]
    for _ in range(2):
        found = use("slicedmi", tmp_path, compiled=True, PYTHONPATH=str(installed))
        # 0.0125: bias 0.0004 + 4 * 0.003, over 100 other seeds.
        assert abs(found["value"] - smi) < 0.0125
    assert list((installed / "slicedmi" / "kernels" / "__pycache__").glob("*.nbc"))


@pytest.mark.long  # makes an environment
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_an_editable_installation_works_and_leaves_nothing_that_git_sees(source, tmp_path):
    clone = shutil.copytree(source, tmp_path / "clone")
    git = ("git", "-C", str(clone))
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    before = run(*git, "status", "--porcelain")
    venv.create(tmp_path / "venv", with_pip=True, symlinks=os.name != "nt")
    scripts = sysconfig.get_path("scripts", "venv", {"base": str(tmp_path / "venv")})
    python = str(Path(scripts) / "python")
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # The dependencies, and no setuptools older than the one that builds.
    shutil.rmtree(Path(purelib) / "setuptools", ignore_errors=True)
    for path in Path(purelib).glob("setuptools-*"):
        shutil.rmtree(path)
    (Path(purelib) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip("install", "--editable", str(clone), python=python)
    found = use("slicedmi", tmp_path, python=python)
    assert Path(found["file"]).is_relative_to(clone)
    assert found["names"] == utils.__all__
    assert run(*git, "status", "--porcelain") == before


def test_requirements_are_those_of_the_package_and_its_extras():
    extras = PROJECT["optional-dependencies"]
    declared = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    assert requirements("requirements.txt") == declared


def test_the_table_of_dependencies_is_complete():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in requirements(file):
            assert re.search(rf"\b{NAME.match(line).group()}\b", table), line


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example of an estimator in CONTRIBUTING.md, as a file."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 32
    path = tmp_path_factory.mktemp("example") / "example.py"
    path.write_text(code, encoding="utf-8")
    return path


def test_the_example_of_an_estimator_runs_as_it_stands(example):
    # From the clone, as its reader would, and nothing comes with a warning.
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = run(sys.executable, "-W", "error", str(example), cwd=ROOT, env=variables)
    value, error = map(float, re.match(r"SlicedEstimate\((\S+) \+- (\S+) nat", printed).groups())
    # x and x^2 + noise depend on each other, and the example sees it.
    assert value > 10 * error


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_the_example_of_an_estimator_is_right(correlation, example, tmp_path):
    definitions, _ = example.read_text(encoding="utf-8").split("\n\n\nrng = ")
    (tmp_path / "definitions.py").write_text(definitions, encoding="utf-8")
    estimator = runpy.run_path(str(tmp_path / "definitions.py"))["Histogram"](n_bins=5)
    n_slices, n = 400, 2000
    x, noise = np.random.default_rng(0).standard_normal((2, n_slices, n))
    y = correlation * x + math.sqrt(1.0 - correlation**2) * noise
    # The truth of the grid: the probability of each cell from the normal distribution function.
    edges = norm.ppf(np.arange(6) / 5).clip(-9.0, 9.0)
    corners = np.stack(np.meshgrid(edges, edges), axis=-1)
    cov = [[1.0, correlation], [correlation, 1.0]]
    cells = np.diff(np.diff(multivariate_normal(cov=cov).cdf(corners), axis=0), axis=1)
    truth = (cells * np.log(25.0 * cells)).sum()
    values = estimator.slice_terms(x, y)[0].mean(axis=-1)
    # Next to Miller's bias, 16 / 2n = 0.004, what is left is of order 1 / n^2 at independence and
    # at most a tenth of it elsewhere (equally filled rows and columns have no noise of their own).
    assert abs(values.mean() - truth) < 4e-4 + 4.0 * values.std(ddof=1) / math.sqrt(n_slices)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_an_index_for_pytorch_is_for_pytorch_alone():
    command = ("make", "--dry-run", "--always-make", ".venv/installed")
    plain = [line for line in run(*command, cwd=ROOT).splitlines() if "pip install" in line]
    lines = run(*command, "TORCH_INDEX=file:///an/index", cwd=ROOT).splitlines()
    first, *others = [line for line in lines if "pip install" in line]
    assert others == plain
    assert "--index-url file:///an/index" in first
    listed = re.search(r"\$\((grep .*)\)", first).group(1)
    names = [NAME.match(line).group() for line in run("sh", "-c", listed, cwd=ROOT).splitlines()]
    assert names == ["torch", "torchvision"]
