"""What a run that can resume raises when it is interrupted."""

from __future__ import annotations

__all__ = ["Stopped"]


class Stopped(KeyboardInterrupt):
    """Ctrl-C in a run that can resume; its message says how.

    Notebooks show the message and no traceback, which would say nothing about the cause.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
