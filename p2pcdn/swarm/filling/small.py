"""Small blobs from peers: whoever asks in the same moment shares one question to each peer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.tools import Tools, leave_alone, refuse, sealed_port
from p2pcdn.swarm.wire.connection import Answer
from p2pcdn.swarm.wire.messages import (
    HAVE_SIZE_BYTES_MAX,
    IDS_MAX,
    SMALL_SIZE_BYTES_MAX,
    AskHave,
    AskSmall,
    decode_have,
    decode_small,
)


@dataclass(slots=True, eq=False)
class _Wish:
    """One blob that somebody waits for."""

    sha256: Sha256
    id: str
    size_bytes_max: int
    sealed: bool = False  # private: asked for over TLS
    over: trio.Event = field(default_factory=trio.Event)
    content: bytes | None = None
    taken: bool = False  # asked of a peer just now


@dataclass(slots=True)
class _Batch:
    """Wishes that go out together. left: peers that may still give one."""

    wishes: list[_Wish]
    left: int
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    @property
    def over(self) -> bool:
        return self.left == 0 or all(wish.over.is_set() for wish in self.wishes)


class SmallReads:
    """Used on trio's thread; its questions run in the nursery given here."""

    def __init__(self, tools: Tools, whom: Callable[[], list[Peer]], nursery: trio.Nursery) -> None:
        self._tools = tools
        self._whom = whom
        self._nursery = nursery
        self._waiting: list[_Wish] = []
        self._running = False
        self._asked_at: dict[Peer, float] = {}  # those that owe an answer

    async def read(self, sha256: Sha256, id_: str, size_bytes_max: int, *, sealed: bool = False) -> bytes | None:
        """The blob, right by its sha256, or None where nobody gave it. sealed: a private one, only over TLS."""
        wish = _Wish(sha256, id_, size_bytes_max, sealed)
        self._waiting.append(wish)
        if not self._running:
            self._running = True
            self._nursery.start_soon(self._ask_for_all)
        await wish.over.wait()
        return wish.content

    async def _ask_for_all(self) -> None:
        try:
            while self._waiting:
                # Those who are about to ask, too, in the same turn of the loop.
                await trio.lowlevel.checkpoint()
                sealed = self._waiting[0].sealed
                wishes = [wish for wish in self._waiting if wish.sealed == sealed][:IDS_MAX]
                self._waiting = [wish for wish in self._waiting if wish not in wishes]
                await self._ask(wishes, sealed)
        finally:
            self._running = False
            for wish in self._waiting:
                wish.over.set()

    async def _ask(self, wishes: list[_Wish], sealed: bool) -> None:
        peers = [peer for peer in self._whom() if not sealed or sealed_port(peer)]
        batch = _Batch(wishes, len(peers))
        try:
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(self._of_peer, peer, batch, len(peers) == 1)
                while not batch.over:
                    await batch.changed.park()
                nursery.cancel_scope.cancel()
        finally:
            for wish in wishes:
                wish.over.set()

    async def _of_peer(self, peer: Peer, batch: _Batch, alone: bool) -> None:
        try:
            patience_s = self._tools.exchange.patience.no_progress_s
            with trio.move_on_after(patience_s) as patience:
                await self._take_all(peer, batch, alone)
            asked_at = self._asked_at.pop(peer, math.inf)
            # Not one that waits for what another is giving.
            if patience.cancelled_caught and trio.current_time() - asked_at > patience_s / 2:
                self._tools.peers.failed(peer, "no answer in time", trio.current_time(), silent=True)
        except Unavailable as error:
            leave_alone(self._tools, peer, error)
        except RemoteProtocolError as error:
            self._tools.peers.lied(peer, f"small files: {error}", trio.current_time())
            self._tools.counters.refused_pieces[str(peer.address)] += 1
        finally:
            self._asked_at.pop(peer, None)
            batch.left -= 1
            batch.changed.unpark_all()

    async def _take_all(self, peer: Peer, batch: _Batch, alone: bool) -> None:
        """Asks until the peer has given what it has, leaving to others what they are giving just now."""
        held = list(batch.wishes) if alone else await self._held(peer, batch.wishes)
        while held := [wish for wish in held if not wish.over.is_set()]:
            mine = [wish for wish in held if not wish.taken]
            if not mine:
                await batch.changed.park()
            elif not await self._take(peer, mine, batch):
                return

    @asynccontextmanager
    async def _ask_one(
        self, peer: Peer, question: AskHave | AskSmall, size_bytes_max: int, wishes: list[_Wish]
    ) -> AsyncIterator[Answer]:
        """All wishes of a batch are sealed, or none is."""
        exchange, port = self._tools.exchange, sealed_port(peer) if wishes[0].sealed else 0
        async with exchange.question(peer.address):
            self._asked_at[peer] = trio.current_time()
            async with exchange.ask(peer.address, question, size_bytes_max, sealed_port=port) as answer:
                del self._asked_at[peer]
                yield answer

    async def _held(self, peer: Peer, wishes: list[_Wish]) -> list[_Wish]:
        question = AskHave(tuple(wish.id for wish in wishes))
        async with self._ask_one(peer, question, HAVE_SIZE_BYTES_MAX, wishes) as answer:
            if answer.status != 200:
                return []
            sizes = decode_have(bytes(answer.body), len(wishes))
        self._tools.peers.is_there(peer, trio.current_time())
        return [
            wish
            for wish, size in zip(wishes, sizes, strict=True)
            if size is not None and size <= wish.size_bytes_max and wish.sha256 not in peer.distrusted
        ]

    async def _take(self, peer: Peer, mine: list[_Wish], batch: _Batch) -> int:
        for wish in mine:
            wish.taken = True
        try:
            question = AskSmall(tuple(wish.id for wish in mine))
            async with self._ask_one(peer, question, SMALL_SIZE_BYTES_MAX, mine) as answer:
                if answer.status != 200:
                    return 0
                contents = decode_small(bytes(answer.body), len(mine))
            return sum([self._settle(peer, wish, content) for wish, content in zip(mine, contents, strict=True)])
        finally:
            for wish in mine:
                wish.taken = False
            batch.changed.unpark_all()

    def _settle(self, peer: Peer, wish: _Wish, content: bytes | None) -> bool:
        if content is None or wish.over.is_set():
            return False
        if len(content) > wish.size_bytes_max or Sha256.of(content) != wish.sha256:
            refuse(
                self._tools, peer, wish.sha256, "a small file", f"{len(content)} bytes that its sha256 does not name"
            )
            return False
        wish.content = content
        wish.over.set()
        self._tools.peers.gave(peer, len(content), trio.current_time())
        self._tools.counters.peer_bytes[str(peer.address)] += len(content)
        return True
