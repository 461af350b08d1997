"""Memory: how much there is, and what has been freed back to the system."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["physical", "return_freed"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def physical() -> float:
    """Bytes of memory that the machine has; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def return_freed() -> None:
    """Let the C library return what it keeps of freed memory; where that is not glibc do nothing.

    Arrays of up to 32 MB come from a heap that shrinks at its end only: after many of them a fit
    may hold 100 MB in holes, which what is larger cannot use. It takes some milliseconds.
    """
    if _trim is not None:
        _trim(0)
