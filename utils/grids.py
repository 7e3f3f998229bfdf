"""Grids of cells: measured on all cores, saved after each cell, resumed from the file."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from tqdm.auto import tqdm

from .interruption import Stopped
from .provenance import changed_code, local_time
from .results import load_results, save_results, save_table

__all__ = ["Grid", "result_path"]


def result_path(path: str | os.PathLike) -> Path:
    """The path of a result file, which must end in .pkl; `~` is the home directory."""
    expanded = Path(path).expanduser()
    if expanded.suffix != ".pkl":
        raise ValueError(f"path={str(path)!r} must end in .pkl")
    return expanded


@dataclass(frozen=True)
class Grid:
    """A run of many cells, measured one by one, and the file that holds the finished ones.

    Parameters
    ----------
    measure : callable
        `measure(*cell)` returns the cell's index in "done", the place of its values in the arrays
        of the results, and a dict of them.
    settings : dict
        What determines the numbers.
    code : dict of str to str
        Fingerprint of the code that makes them.
    path : pathlib.Path
        Result file, from `result_path`.
    label : str or None
        Of the progress bar; None shows nothing.
    """

    measure: Callable[..., tuple[tuple, tuple, dict[str, Any]]]
    settings: dict[str, Any]
    code: dict[str, str]
    path: Path
    label: str | None

    def run(
        self,
        cells: Sequence[tuple],
        results: dict[str, Any],
        *,
        n_jobs: int,
        overwrite: bool,
        ignore_code: bool,
    ) -> dict[str, Any]:
        """Measure the cells that the file does not have, and save after each.

        Parameters
        ----------
        cells : sequence of tuple
            Arguments of `measure`; the first is the config, the others index "done".
        results : dict
            Empty arrays to be filled, and "done".
        n_jobs, overwrite, ignore_code
            As for `run_synthetic`.

        Returns
        -------
        dict
            The results, filled.
        """
        if self.path.exists():
            results = self._load(overwrite, ignore_code) or results
        pending = [cell for cell in cells if not results["done"][cell[1:]]]
        bar = tqdm(
            joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
                joblib.delayed(_measure_quietly)(self.measure, cell) for cell in pending
            ),
            desc=self.label,
            unit="cell",
            initial=len(cells) - len(pending),
            total=len(cells),
            disable=self.label is None,
        )
        n_saved = len(cells) - len(pending)
        try:
            for cell, place, values in bar:
                for name in values:
                    results[name][place] = values[name]
                results["done"][cell] = True
                n_done = int(results["done"].sum())
                self._save(results)
                n_saved = n_done
            if pending:
                save_table(self.path.stem, results, directory=self.path.parent)
        except (KeyboardInterrupt, OSError) as error:
            hint = (
                f"stopped with {n_saved} of {len(cells)} cells in {self.path}; the same call "
                f"resumes"
            )
            if isinstance(error, KeyboardInterrupt):
                raise Stopped(hint) from None
            error.add_note(hint)
            raise
        if not self.path.with_suffix(".csv").exists():
            with suppress(OSError):  # a finished run may lie where nothing can be written
                save_table(self.path.stem, results, directory=self.path.parent)
        return results

    def _save(self, results):
        save_results(
            self.path.stem,
            results,
            settings=self.settings,
            directory=self.path.parent,
            code=self.code,
            csv=False,
        )

    def _load(self, overwrite, ignore_code):
        """The results in the file; None if they are to be measured anew."""
        saved = load_results(self.path.stem, directory=self.path.parent)
        date = local_time(saved.provenance["date"])
        changed = changed_code(saved.provenance.get("code"), self.code)
        problem = self._difference(saved, changed if not ignore_code else None, date)
        if problem and not overwrite:
            raise ValueError(problem)
        if self.label is not None:
            done = saved.results.get("done", np.zeros(0))
            left = f"{int(np.sum(~done))} left" if not np.all(done) else "nothing left"
            compared = "" if changed is not None else "; its code cannot be compared"
            tqdm.write(
                f"{self.path} of {date} holds another run and is replaced"
                if problem
                else f"{int(np.sum(done))} of {np.size(done)} cells loaded from {self.path} of "
                f"{date}{compared}; {left} to measure"
            )
        return None if problem else saved.results

    def _difference(self, saved, changed, date):
        differences = "; ".join(
            f"{name} was {saved.settings.get(name)!r} and is now {self.settings.get(name)!r}"
            for name in {**saved.settings, **self.settings}
            if name not in self.settings or saved.settings.get(name) != self.settings[name]
        )
        if differences:
            return (
                f"{self.path} holds a run with other settings ({differences}). Give another path, "
                f"or overwrite=True to start anew"
            )
        if changed:
            return (
                f"the code of {', '.join(changed)} has changed since {self.path} was made "
                f"({date}). Give another path, overwrite=True to start anew, or ignore_code=True "
                f"if the change cannot change numbers"
            )
        return None


def _measure_quietly(measure, cell):
    # Filters belong to the process, so that threads would undo each other's.
    if threading.current_thread() is not threading.main_thread():
        return measure(*cell)
    # Values below 0 are a finding: a grid keeps them, and compares the estimators that give them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is never negative", UserWarning)
        return measure(*cell)
