"""README: short, and what it shows runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code, folder):
    # As a file in the clone, so that worker processes can import it.
    script = folder / "snippet.py"
    script.write_text(code, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_short():
    words = [word for word in README.split() if any(map(str.isalnum, word))]
    assert len(words) < 900


def test_the_files_that_it_names_exist():
    for path in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_as_it_stands(number, tmp_path):
    printed = run(SNIPPETS[number], tmp_path)
    shown = re.findall(r"```python\n.*?```\n\n((?:    [^\n]+\n)*)", README, flags=re.DOTALL)[number]
    for line in shown.splitlines():
        assert line.strip() in printed


def test_its_speed_table_is_that_of_the_measurements():
    results = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    of_sizes = [
        dict(re.findall(r"^\| (.*?) \| ([\d.]+) \|", part, flags=re.MULTILINE))
        for part in re.findall(r"of [\d,]+ samples\n(.*?)\n(?=## )", results, flags=re.DOTALL)
    ]
    names = {
        "ball trees": "ball trees, k = 5 (the reference's method)",
        "ennemi": "ennemi, k = 5",
        "scikit-learn": "scikit-learn mutual_info_regression, 3 neighbours",
        "mutinfo, WKL": "mutinfo WKL, k = 5",
        "infomeasure": "infomeasure, KL entropies, k = 4",
        "`Copula()`": "**ours**, Copula, the default",
    }
    for name, measured in names.items():
        shown = re.search(rf"^\| ([\d.]+) \| ([\d.]+) \| {re.escape(name)}", README, re.MULTILINE)
        for cell, milliseconds in zip(shown.groups(), of_sizes, strict=True):
            ratio = float(milliseconds[measured]) / float(milliseconds["**ours**, WKL, k = 5"])
            assert cell == (f"{ratio:.1f}" if ratio < 1 else f"{ratio:.0f}"), name
