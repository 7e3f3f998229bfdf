"""README: short, and what it shows runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils.experiments import correlations
from utils.results import load_results

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
    assert len(README.split()) < 900


def test_captions_are_short():
    captions = re.findall(r"^\*\*Figure[^*]*\*\*(?: \(.*?\)\.)? (.*)$", README, re.MULTILINE)
    assert len(captions) == 4
    assert all(len(caption.split()) <= 40 for caption in captions)


def test_the_exact_smi_correlates_as_it_says():
    results = load_results("synthetic_normal", directory=ROOT / "results" / "paper").results
    (least,) = re.findall(r"exact SMI .* correlates above ([\d.]+)\.", README)
    assert correlations(results, "smi_exact").min() > float(least)


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
        shown = re.search(rf"^{re.escape(name)}.* \| ([\d.]+) \| ([\d.]+)$", README, re.MULTILINE)
        for cell, milliseconds in zip(shown.groups(), of_sizes, strict=True):
            ratio = float(milliseconds[measured]) / float(milliseconds["**ours**, WKL, k = 5"])
            assert cell == (f"{ratio:.1f}" if ratio < 1 else f"{ratio:.0f}"), name
