"""Errors whose message says it all: notebooks show them without a traceback."""

from __future__ import annotations

__all__ = ["MissingRunError", "ParameterError", "Stopped"]


class _MessageOnly(BaseException):
    """IPython shows such an error as its message alone; elsewhere it is as any other."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Stopped(_MessageOnly, KeyboardInterrupt):
    """Ctrl-C in a run that can resume; the message says how."""


class ParameterError(_MessageOnly, ValueError):
    """A parameter with a value that it cannot have; the message names those that it can."""


class MissingRunError(_MessageOnly, FileNotFoundError):
    """Results that no run has saved; the message names the notebook to run."""
