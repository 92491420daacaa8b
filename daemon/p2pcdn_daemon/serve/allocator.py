"""How the C library and Python look after memory: little is kept, for a node runs for weeks, and seldom looked for."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

# <malloc.h>: the numbers of what mallopt(3) sets.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Every thread would get a heap of its own, which keeps what was freed in it. Python lets one thread run at a time, so
# that they need no more than one.
ARENAS_MAX = 1
# What is larger goes back to the kernel when it is freed. Unless it is set, glibc raises this to the largest block that
# was ever freed (32 MiB at most), and pages of the index leave holes of that size.
MAPPED_SIZE_BYTES_MIN = 256 * 1024
TRIMMED_SIZE_BYTES_MIN = 1024 * 1024
# Python looks for cycles whenever 700 objects more live than before. A page of an index makes a hundred thousand, in
# cycles none: a fifth of the time to parse it went into looking.
OBJECTS_BETWEEN_LOOKS = 20_000


def keep_little() -> None:
    """To be called before there are threads. Elsewhere than on glibc it does nothing."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):  # musl has no mallopt
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, ARENAS_MAX)
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_SIZE_BYTES_MIN)
        library.mallopt(_M_TRIM_THRESHOLD, TRIMMED_SIZE_BYTES_MIN)


def look_seldom() -> None:
    """To be called when all is imported: what is there then stays, and is not looked through any more."""
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS)
