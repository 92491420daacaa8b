"""Pages of links that hold files of many projects (pip's find-links): read once for all that are asked for soon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from p2pcdn.index.freshness import Freshness
from p2pcdn.world import Index

# A resolution asks for some hundred projects within seconds, and such a page may have megabytes.
HEAP_KEPT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an index answered for a page. body: b"" where it is unchanged. fresh: for how long it counts as new."""

    body: bytes
    headers: dict[str, str]
    url: str
    fresh: Freshness
    unchanged: bool = False


@dataclass(slots=True)
class Heaps:
    """Used by one trio loop."""

    _known: dict[str, tuple[float, Answer | None]] = field(default_factory=dict)
    _turns: dict[str, trio.Lock] = field(default_factory=dict)

    async def of(self, index: Index, ask: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
        """The page of links, None where there is none; asked for by one at a time. Raises what `ask` raises."""
        async with self._turns.setdefault(index.key, trio.Lock()):
            asked_at, answer = self._known.get(index.key, (-HEAP_KEPT_S, None))
            if trio.current_time() - asked_at >= HEAP_KEPT_S or index.key not in self._known:
                answer = await ask()
                self._forget_old()
                self._known[index.key] = (trio.current_time(), answer)
            return answer

    def _forget_old(self) -> None:
        """A heap may have 128 MiB, and each command of a user's may name another."""
        before = trio.current_time() - HEAP_KEPT_S
        self._known = {key: known for key, known in self._known.items() if known[0] > before}
