"""Memory that is used again: who borrows it, how much stays, and when it goes back to the system."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.store.buffers import BUFFERS_KEPT, Buffers
from tests.store.stores import MIB, WHEEL, content_of, opened

CONTENT = content_of(12, 6 * MIB + 1234)


def test_what_was_given_back_is_lent_again() -> None:
    buffers = Buffers()
    with buffers.borrow(100) as first:
        first[:5] = b"hello"
    with buffers.borrow(50) as second:
        assert second.nbytes == 50
        assert bytes(second[:5]) == b"hello", "the same memory"


def test_two_who_borrow_at_once_do_not_share() -> None:
    buffers = Buffers()
    with buffers.borrow(10) as one, buffers.borrow(10) as other:
        one[:3], other[:3] = b"one", b"two"
        assert bytes(one[:3]) == b"one"


def test_a_larger_wish_gets_larger_memory() -> None:
    buffers = Buffers()
    with buffers.borrow(10):
        pass
    with buffers.borrow(10_000) as large:
        assert large.nbytes == 10_000
        large[-1:] = b"x"
    assert len(buffers) == 1


def test_no_more_than_a_few_are_kept() -> None:
    buffers = Buffers()
    with ExitStack() as borrowed:
        for _ in range(BUFFERS_KEPT + 3):
            borrowed.enter_context(buffers.borrow(10))
    assert len(buffers) == BUFFERS_KEPT
    buffers.clear()
    assert len(buffers) == 0


async def test_a_store_keeps_none_while_nothing_arrives(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    borrowed: list[int] = []
    borrow = Buffers.borrow

    def noted(self: Buffers, size_bytes: int) -> AbstractContextManager[memoryview]:
        borrowed.append(size_bytes)
        return borrow(self, size_bytes)

    monkeypatch.setattr(Buffers, "borrow", noted)
    async with opened(directory) as store:
        partial = await store.grow(Sha256.of(CONTENT), len(CONTENT), WHEEL)
        await partial.write(0, CONTENT)
        blob = await partial.finish()
        assert borrowed, "its bytes were hashed in lent memory"
        assert max(borrowed) <= 4 * MIB
        assert len(store._arrivals.buffers) == 0
        assert await blob.read() == CONTENT
