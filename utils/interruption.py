"""SIGTERM like Ctrl-C: a run that is told to stop says how to go on, and tidies up."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

__all__ = ["stopped_by_sigterm"]


@contextmanager
def stopped_by_sigterm():
    """Raise KeyboardInterrupt in the block on SIGTERM, which `kill` and batch systems send.

    Where somebody else handles the signal already, or outside the main thread, where Python
    allows no handler, nothing is changed.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not ours:
        yield
        return

    def stop(*_):
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
