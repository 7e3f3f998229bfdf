"""How the kernels are compiled, and where the compiled code is kept.

Numba keeps machine code beside the source. Three things are added here: code is compiled anew when
any file of this package has changed (a kernel may be inlined into another file's), a damaged cache
file is dropped instead of ending every later call, and where no directory can be written to, code
is kept in a temporary one.
"""

from __future__ import annotations

import atexit
import hashlib
import pickle
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

from numba import njit
from numba.core import caching

__all__ = ["compiled", "fused", "inlined", "kernel", "reassociated", "reduction", "uncounted"]

# Counting references to the arrays that a function is handed would take longer than the search of
# one group of points. Such a function must not make arrays.
uncounted = {"_nrt": False}


@cache
def _source_stamp() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


@cache
def _temporary_directory() -> str:
    directory = tempfile.mkdtemp(prefix="smi-kernels-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    warnings.warn(
        f"no cache directory can be written to, so the kernels are compiled anew in every process "
        f"(into {directory}); set NUMBA_CACHE_DIR to a directory of yours to keep them",
        RuntimeWarning,
        stacklevel=2,
    )
    return directory


class _TemporaryLocator(caching.UserProvidedCacheLocator):
    """The last resort: a directory of this process."""

    def __init__(self, py_func, py_file):
        super().__init__(py_func, py_file)
        self._cache_path = _temporary_directory()

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func, py_file)


class _CacheFiles(caching.CompileResultCacheImpl):
    _locator_classes = (
        caching.UserProvidedCacheLocator,
        caching.InTreeCacheLocator,
        caching.UserWideCacheLocator,
        _TemporaryLocator,
    )


class _KernelCache(caching.FunctionCache):
    _impl_class = _CacheFiles

    def __init__(self, py_func):
        super().__init__(py_func)
        self._cache_file._source_stamp = _source_stamp()

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        # What reading a file ends with that was cut short.
        except (EOFError, pickle.UnpicklingError, ValueError, LookupError, TypeError):
            self.flush()
            return None


def _cached(**options):
    def decorate(function):
        dispatcher = njit(nogil=True, error_model="numpy", **options)(function)
        # With the compiler switched off (NUMBA_DISABLE_JIT=1) it is the function itself.
        if dispatcher is not function:
            dispatcher._cache = _KernelCache(function)
        return dispatcher

    return decorate


# Threads run side by side, since compiled code lets go of the interpreter.
compiled = _cached()
kernel = _cached(**uncounted)
# Sums in any order, so that vector lanes can share them; the same order every time.
reassociated = _cached(fastmath={"reassoc"})
# A product and a sum in one step.
fused = _cached(fastmath={"contract"})
reduction = _cached(**uncounted, fastmath={"reassoc", "nnan", "nsz"})
# A call hands over the seven numbers of every array, which would take as long as what is called.
inlined = njit(inline="always")
