"""Timing, and tables of it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

REPEATS = 5
PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "ennemi",
    "infomeasure",
    "npeet-plus",
    "mutinfo",
)


def cpu_milliseconds(function, *, repeats=REPEATS):
    """Median processor time of a call, summed over all threads, and what the call returned."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return 1e3 * median(times), result


def wall_seconds(function):
    """Time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def markdown(header, rows):
    """A Markdown table of ready-made cells."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def three_digits(value):
    """A number as it is read: 0.175, 25.3, 1250."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def machine():
    """Processor, cores and versions, in one paragraph."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        entries = dict(line.split(":", 1) for line in lines if ":" in line)
        names = {name.strip(): value.strip() for name, value in entries.items()}
        cpu = names.get("model name", cpu)
        if "model" in names:
            cpu += f" (family {names['cpu family']}, model {names['model']})"
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}. {', '.join(versions)}."
