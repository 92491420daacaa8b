"""What comes spoilt is asked for once more: a line or a proxy that spoils bytes mostly does it once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from p2pcdn.errors import DigestMismatch

T = TypeVar("T")


async def or_once_more(ask: Callable[[], Awaitable[T]]) -> T:
    """What is asked for; for who has passed none of it on. Raises DigestMismatch the second time, and what `ask` raises
    otherwise.
    """
    with suppress(DigestMismatch):
        return await ask()
    return await ask()
