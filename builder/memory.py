"""Keeps the memory of buffers for the next one, where the system's allocator would give it back."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3) in glibc's malloc.h."""
_KEPT_BYTES = 16 << 20
_MAPPED_BYTES = 4 << 20


def keep_buffers() -> bool:
    """Let freed buffers stay with this process; False where the C library can't be told.

    A build frees some ten thousand buffers of 256 KiB to 1 MiB a gigabyte. glibc maps many anew, or
    cuts the heap behind them, and the kernel then clears every page again. bench/cold.py with and
    without: 3 to 9 % less processor time, a process larger by 8 MB. Kept are up to 16 MiB in each
    of glibc's arenas.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    settings = ((_M_MMAP_THRESHOLD, _MAPPED_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
