"""Tables of long measurements: one row per case, saved as soon as it is measured."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import SliceEstimator, load_results, save_results
from utils.provenance import local_time

DIRECTORY = Path("results/paper")
BLOCK = 2**16  # numbers measured together


@dataclass(frozen=True)
class Several(SliceEstimator):
    """Estimators that measure the same slices; the result is a dict by their names."""

    estimators: tuple

    ties = "break"

    @property
    def min_samples(self):
        return max(estimator.min_samples for estimator in self.estimators)

    @property
    def n_pilot_slices(self):
        return max(estimator.n_pilot_slices for estimator in self.estimators)

    def for_slices(self, x, y):
        return Several(tuple(estimator.for_slices(x, y) for estimator in self.estimators))

    def slice_terms(self, x, y):
        return np.concatenate([estimator.slice_terms(x, y) for estimator in self.estimators])

    def by_rule(self, results):
        return dict(zip(map(name_of, self.estimators), results, strict=True))


def name_of(estimator):
    """As one writes it: without what is the default, or of no effect."""
    return re.sub(r", weights='kth'", "", repr(estimator))


def mean_information(estimator, x, y, theta, phi):
    """Mean over given slices, one direction per row, one number for each of `Several`."""
    size = max(1, BLOCK // len(x))
    n_pilot = estimator.n_pilot_slices
    estimator = estimator.for_slices(theta[:n_pilot] @ x.T, phi[:n_pilot] @ y.T)
    values = [
        estimator.slice_terms(theta[i : i + size] @ x.T, phi[i : i + size] @ y.T).mean(axis=2)
        for i in range(0, len(theta), size)
    ]
    return np.concatenate(values, axis=1).mean(axis=1)


def options(description, **defaults):
    """Options of the command line, one for each default, and whether `--save` is among them.

    Parameters
    ----------
    description : str
    **defaults : number or tuple of numbers
        An option takes as many numbers of that type.

    Returns
    -------
    argparse.Namespace, bool
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, tuple):
            several = {"nargs": len(default), "default": list(default)}
            parser.add_argument(flag, type=type(default[0]), **several)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    parser.add_argument("--save", action="store_true", help="keep the rows in results/paper")
    chosen = vars(parser.parse_args())
    save = chosen.pop("save")
    return argparse.Namespace(**chosen), save


def measured_rows(name, cases, measure, *, settings, save):
    """Measure each case, print its row, and with `save` keep all in results/paper/{name}.pkl.

    Parameters
    ----------
    name : str
    cases : list of dict
        What varies, in strings and numbers.
    measure : callable
        `measure(**case)` returns a dict of what was found, by column.
    settings : dict
        What is the same in all rows. A file with the same settings is continued: its rows are not
        measured again.
    save : bool

    Returns
    -------
    list of dict
        One row per case: the case, and what was found.
    """
    rows = _rows_so_far(name, settings) if save else []
    found = []
    for case in cases:
        row = next((row for row in rows if row.items() >= case.items()), None)
        if row is None:
            row = case | measure(**case)
            rows.append(row)
            if save:
                save_results(name, {"rows": rows}, settings=settings, directory=DIRECTORY)
        print("  ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)
        found.append(row)
    return found


def _rows_so_far(name, settings):
    if not (DIRECTORY / f"{name}.pkl").exists():
        return []
    saved = load_results(name, directory=DIRECTORY)
    if saved.settings != settings:
        raise ValueError(
            f"{DIRECTORY / name}.pkl was made with other settings ({saved.settings}); remove it"
        )
    rows, date = saved.results["rows"], local_time(saved.provenance["date"])
    print(f"{len(rows)} rows loaded from {DIRECTORY / name}.pkl of {date}; remove it to start anew")
    return rows


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
