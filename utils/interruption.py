"""Errors whose message says everything: notebooks show it without a traceback."""

from __future__ import annotations

__all__ = ["MissingRunError", "ParameterError", "Stopped"]


class _SaysAll(BaseException):
    """IPython shows such an error as its message alone; elsewhere it is as any other."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Stopped(_SaysAll, KeyboardInterrupt):
    """Ctrl-C in a run that can resume; its message says how."""


class ParameterError(_SaysAll, ValueError):
    """A parameter of a notebook that has no such value; its message names those that it has."""


class MissingRunError(_SaysAll, FileNotFoundError):
    """Results that no run has saved; its message names the notebook to run."""
