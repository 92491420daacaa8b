"""Stores on the real disk, for the tests of this room."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from p2pcdn.digest import Sha256
from p2pcdn.store import Blob, Origin, Store, StoreLimits
from p2pcdn_daemon.doors.disk import RealDisk
from p2pcdn_daemon.doors.threads import TrioThreads

MIB = 1024 * 1024
WHEEL = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "lan")


class HandClock:
    """A wall clock that only the test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


def limits(
    size_bytes: int = 1 << 40, keep_for_s: float | None = None, pages_bytes: int = 1 << 30, reserve_bytes: int = 0
) -> StoreLimits:
    return StoreLimits(size_bytes, keep_for_s, pages_bytes, reserve_bytes)


async def open_store(directory: Path, **settings: Any) -> Store:
    """A store; the caller closes it."""
    return await Store.open(
        directory,
        disk=settings.pop("disk", None) or RealDisk(),
        threads=TrioThreads(),
        clock=settings.pop("clock", None) or HandClock(),
        random=random.Random(settings.pop("seed", 7)),
        limits=limits(**settings),
    )


@asynccontextmanager
async def opened(directory: Path, **settings: Any) -> AsyncIterator[Store]:
    store = await open_store(directory, **settings)
    try:
        yield store
    finally:
        await store.close()


async def keep(store: Store, content: bytes, origin: Origin = WHEEL) -> Blob:
    partial = await store.grow(Sha256.of(content), len(content), origin)
    for offset in range(0, len(content), MIB):
        await partial.write(offset, content[offset : offset + MIB])
    return await partial.finish()


def content_of(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)
