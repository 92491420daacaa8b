"""Pages of links that many projects are looked for in."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import trio

from p2pcdn.index.freshness import Freshness
from p2pcdn.index.heaps import HEAP_KEPT_S, Answer, Heaps
from p2pcdn.world import Index
from tests.worlds import INDEX

FIRST, OTHER = INDEX, replace(INDEX, key="f" * 16)


class Page(Answer):
    """One that tells when nobody holds it."""


async def test_a_heap_is_read_once_for_a_while_and_takes_no_memory_for_ever(autojump_clock: trio.abc.Clock) -> None:
    heaps = Heaps()
    held: list[weakref.ref[Answer]] = []

    async def ask() -> Answer:
        page = Page(bytes(1000), {}, "https://heap.example/", Freshness(0.0, 0.0))
        held.append(weakref.ref(page))
        return page

    async def look(index: Index) -> None:
        assert await heaps.of(index, ask) is not None

    for _ in range(3):
        await look(FIRST)
    assert len(held) == 1
    await trio.sleep(HEAP_KEPT_S + 1)
    await look(OTHER)
    gc.collect()
    assert [one() is None for one in held] == [True, False]
