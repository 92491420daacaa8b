"""The sizes of the store, scaled down: rare branches of large files come with small ones, and a seed takes no time.

Only sizes that have no meaning beyond this node are touched, and all of them are put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from p2pcdn.fetch import deliver
from p2pcdn.store import hashing, journal, partial, place, resume, verify

PIECE_SIZE_BYTES = 16 * 1024

_SMALL: tuple[tuple[ModuleType, str, int], ...] = (
    *((module, "PIECE_SIZE_BYTES", PIECE_SIZE_BYTES) for module in (hashing, journal, resume)),
    (hashing, "UNIT_SIZE_BYTES_MAX", 4 * PIECE_SIZE_BYTES),
    (partial, "HELD_BACK_SIZE_BYTES", 2048),
    (deliver, "HELD_BACK_SIZE_BYTES", 2048),
    (verify, "UNIT_SIZE_BYTES", PIECE_SIZE_BYTES),
    (place, "BALLAST_SIZE_BYTES", 4096),
)


@contextmanager
def small_store() -> Iterator[None]:
    """Within it the store counts in pieces of 16 KiB, and holds back 2 KiB."""
    before = [getattr(module, name) for module, name, _ in _SMALL]
    try:
        for module, name, size_bytes in _SMALL:
            setattr(module, name, size_bytes)
        yield
    finally:
        for (module, name, _), size_bytes in zip(_SMALL, before, strict=True):
            setattr(module, name, size_bytes)
