"""A small world on virtual time: a real store on the real file system, everything inline, and an upstream by script.

For the rooms of `p2pcdn/` that wait and decide. What comes over real sockets is tested in `end_to_end/`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from p2pcdn.counters import Counters
from p2pcdn.errors import P2pcdnError, Unavailable
from p2pcdn.store import Store, StoreLimits
from p2pcdn.swarm import Swarm
from p2pcdn.world import Index, UpstreamResponse
from p2pcdn_daemon.doors.disk import RealDisk

P = ParamSpec("P")
T = TypeVar("T")

INDEX = Index("https://index.example/simple/", "0123456789abcdef", 0, "lan", private=False)
SECOND = Index("https://second.example/simple/", "fedcba9876543210", 1, "lan", private=False)
LIMITS = StoreLimits(size_bytes=1 << 30, keep_for_s=None, pages_bytes=1 << 26, reserve_bytes=0)


class InlineThreads:
    """Threads without threads, so that virtual time stands still while they work."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await trio.lowlevel.checkpoint()
        return function(*args, **kwargs)


class InlineDisk(RealDisk):
    """The real file system, every call on the loop."""

    def __init__(self) -> None:
        self._run = _inline  # type: ignore[assignment]


async def _inline(call: Callable[..., T], *arguments: object, **_: object) -> T:
    await trio.lowlevel.checkpoint()
    return call(*arguments)


@dataclass
class VirtualClock:
    """A wall clock that goes with trio's; `ahead_s` sets it forward or back."""

    ahead_s: float = 1_800_000_000.0

    def now(self) -> float:
        return trio.current_time() + self.ahead_s


@dataclass
class Answer:
    """What the scripted upstream says. Chunks come `pause_s` apart; after `cut_after` bytes the connection breaks."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    pause_s: float = 0.0
    chunk_size_bytes: int = 65536
    cut_after: int | None = None
    error: P2pcdnError | None = None


Script = Callable[[str, Mapping[str, str]], Answer | Awaitable[Answer]]


@dataclass
class ScriptedUpstream:
    """An upstream that answers what `script` says for a URL and its request headers; it knows Range by itself."""

    script: Script
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @asynccontextmanager
    async def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        self.asked.append((url, dict(headers or {})))
        answer = self.script(url, headers or {})
        if not isinstance(answer, Answer):
            answer = await answer
        await trio.sleep(answer.delay_s)
        if answer.error is not None:
            raise answer.error
        status, extra, body = _ranged(answer, (headers or {}).get("range"))
        described = {"content-length": str(len(body)), **extra, **answer.headers}
        yield UpstreamResponse(status, described, url, _chunks(answer, body))


def _ranged(answer: Answer, wished: str | None) -> tuple[int, dict[str, str], bytes]:
    if wished is None or answer.status != 200:
        return answer.status, {}, answer.body
    first, last = wished.removeprefix("bytes=").split("-")
    size = len(answer.body)
    if not first:
        first, last = str(max(0, size - int(last))), ""
    start, end = int(first), min(int(last) + 1 if last else size, size)
    return 206, {"content-range": f"bytes {start}-{end - 1}/{size}"}, answer.body[start:end]


async def _chunks(answer: Answer, body: bytes) -> AsyncGenerator[bytes]:
    sent = 0
    for at in range(0, len(body), answer.chunk_size_bytes):
        if answer.pause_s:
            await trio.sleep(answer.pause_s)
        chunk = body[at : at + answer.chunk_size_bytes]
        if answer.cut_after is not None and sent + len(chunk) > answer.cut_after:
            raise Unavailable("the connection was cut")
        sent += len(chunk)
        yield chunk


@asynccontextmanager
async def open_store(directory: Path, limits: StoreLimits = LIMITS) -> AsyncIterator[Store]:
    """A store of its own in a directory of a test."""
    store = await Store.open(
        directory / "store",
        disk=InlineDisk(),
        threads=InlineThreads(),
        clock=VirtualClock(),
        random=random.Random(7),
        limits=limits,
    )
    try:
        yield store
    finally:
        await store.close()


def lonely_swarm(store: Store, counters: Counters) -> Swarm:
    """A swarm that knows nobody."""

    class NoNetwork:
        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            raise OSError("no network")

    return Swarm(
        store=store,
        network=NoNetwork(),
        discoveries=(),
        clock=VirtualClock(),
        threads=InlineThreads(),
        random=random.Random(2),
        counters=counters,
        static_peers=(),
        version="0",
    )
