"""What the room holds together: counts for people, and which files a page may still list when no upstream answers.

In a group each member is asked for the short names of all that it would give, once, and again when that has changed
(`holding.py` tells ours). In open mode nobody tells anybody what it has, and neighbours are asked about the files of
one page, the newest first. docs/protocol.md, "The room".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.swarm.group.holding import (
    MARK_SIZE_BYTES,
    NAMES_SIZE_BYTES_MAX,
    ROOM_SIZE_BYTES_MAX,
    ROWS_AT_ONCE,
    SHORT_SIZE_BYTES,
    AskNames,
    AskRoom,
    Holding,
    names_in,
    short_name,
)
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.neighbours.silence import heard_again
from p2pcdn.swarm.pieces.tools import Tools, leave_alone
from p2pcdn.swarm.wire.messages import HAVE_SIZE_BYTES_MAX, IDS_MAX, AskHave, decode_have
from p2pcdn.world import Share

# All that is remembered of others; a room of thirty with a thousand files each takes 240 KB.
REMEMBERED_SIZE_BYTES_MAX = 64 * 1024 * 1024
# Members that are asked, and how many at once; a larger room has everything somewhere among these.
ASKED_MAX = 256
ASKED_AT_ONCE = 64
# How long an answer counts: somebody in the room has perhaps fetched something meanwhile.
KNOWN_S = 5.0
# Where nobody said anything, one that is silent is waited for; the page itself may have taken nine seconds (pip: 15).
SILENCE_WAIT_S = 5.0
# In open mode: how many neighbours are asked, about how many files of a page, and how many answers are remembered.
OPEN_ASKED_MAX = 16
FILES_ASKED_MAX = 2048
ANSWERS_REMEMBERED_MAX = 50_000


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """For `status`: how many members answered when they were asked last, and what they hold, copies counted twice."""

    members: int
    blobs: int
    size_bytes: int
    pages: int


@dataclass(slots=True)
class _Other:
    """What a member told. names: as it came, under the mark of then; empty where it was never asked for."""

    holding: Holding
    names: bytes = b""
    names_mark: bytes = b""


class Nearby:
    """Used on trio's thread."""

    def __init__(
        self, tools: Tools, whom: Callable[[], Sequence[Peer]], *, id_of: Callable[[Sha256], str], grouped: bool
    ) -> None:
        """whom: all neighbours that may be asked now."""
        self._tools = tools
        self._whom = whom
        self._id_of = id_of
        self._grouped = grouped
        self._others: dict[Peer, _Other] = {}
        self._names: frozenset[bytes] = frozenset()
        self._looking = trio.Lock()
        self._looked_at: dict[bool, float] = {}  # by whether the names were asked for, too
        self._answers: OrderedDict[Sha256, tuple[float, bool]] = OrderedDict()

    async def held_nearby(self, sha256s: Sequence[Sha256], share: Share) -> set[Sha256]:
        """Which of these files a living neighbour would give. share: to whom their index lets them go.

        sha256s: the likeliest to be wanted first. Takes 3 s at the most, and nearly always milliseconds or nothing;
        some seconds more where all that have ever said what they have are silent.
        """
        if share == "never" or (share == "group" and not self._grouped) or not sha256s:
            return set()
        if not self._grouped:
            asked = sha256s[:FILES_ASKED_MAX]
            near = await self._ask_about(asked)
            return near or (await self._ask_about(asked) if await self._heard_again() else near)
        await self.look_around(names=True)
        if not self._names and await self._heard_again():
            self._looked_at.pop(True, None)
            await self.look_around(names=True)
        names, near = self._names, set()
        for number, one in enumerate(sha256s if names else ()):
            if short_name(self._id_of(one)) in names:
                near.add(one)
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return near

    async def look_around(self, *, names: bool = False) -> None:
        """Asks the members of the group what they hold, unless they said so just now. names: which files, too."""
        if not self._grouped:
            return
        async with self._looking:
            if trio.current_time() - self._looked_at.get(names, -KNOWN_S) < KNOWN_S:
                return
            peers = self._whom()[:ASKED_MAX]
            # What one said that is only silent now counts still.
            kept = {*peers, *self._tools.peers.silent(trio.current_time())}
            self._others = {peer: other for peer, other in self._others.items() if peer in kept}
            await self._of_each(peers, lambda peer: self._look_at(peer, names))
            self._looked_at[False] = trio.current_time()
            if names:
                self._looked_at[True] = trio.current_time()
                self._names = frozenset(short for other in self._others.values() for short in names_in(other.names))

    def status(self) -> RoomStatus:
        """As of the last `look_around`."""
        holdings = [other.holding for other in self._others.values()]
        return RoomStatus(
            members=len(holdings),
            blobs=sum(holding.blobs for holding in holdings),
            size_bytes=sum(holding.size_bytes for holding in holdings),
            pages=sum(holding.pages for holding in holdings),
        )

    # --- below

    async def _heard_again(self) -> bool:
        """Waits for one that is silent: it may have all of it."""
        return await heard_again(self._tools.peers, trio.current_time() + SILENCE_WAIT_S)

    async def _of_each(self, peers: Sequence[Peer], ask: Callable[[Peer], Awaitable[None]]) -> None:
        """Asks them all, some at once. Who is silent is left alone; who breaks the protocol has a strike."""
        at_once = trio.CapacityLimiter(ASKED_AT_ONCE)
        under_way: set[Peer] = set()

        async def ask_one(peer: Peer) -> None:
            async with at_once:
                under_way.add(peer)
                try:
                    await ask(peer)
                except Unavailable as error:
                    leave_alone(self._tools, peer, error)
                except RemoteProtocolError as error:
                    self._tools.peers.lied(peer, f"what it holds: {error}", trio.current_time())
                    self._tools.counters.refused_pieces[str(peer.address)] += 1
                under_way.discard(peer)

        patience_s = self._tools.exchange.patience.no_progress_s
        with trio.move_on_after(patience_s) as patience:
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(ask_one, peer)
        if patience.cancelled_caught:
            now = trio.current_time()
            for peer in under_way:
                # Not one that has many questions and answers one after the other.
                if peer.last_seen is None or now - peer.last_seen > patience_s / 2:
                    self._tools.peers.failed(peer, "no answer in time", now, silent=True)

    async def _look_at(self, peer: Peer, names: bool) -> None:
        content = await self._ask(peer, AskRoom(), ROOM_SIZE_BYTES_MAX)
        if content is None:
            self._others.pop(peer, None)  # one of open mode, or of another time
            return
        holding = Holding.decode(content)
        other = self._others.setdefault(peer, _Other(holding))
        other.holding = holding
        if not names or other.names_mark == holding.mark:
            return
        remembered = sum(len(other.names) for other in self._others.values()) - len(other.names)
        if remembered + NAMES_SIZE_BYTES_MAX > REMEMBERED_SIZE_BYTES_MAX:
            return
        content = await self._ask(peer, AskNames(), NAMES_SIZE_BYTES_MAX)
        if content is None:
            return
        if len(content) < MARK_SIZE_BYTES or len(content) % SHORT_SIZE_BYTES:
            raise RemoteProtocolError("a list of short names is cut in the middle of one")
        # It may have changed since; then its mark says which one this is.
        other.names_mark, other.names = content[:MARK_SIZE_BYTES], content[MARK_SIZE_BYTES:]

    async def _ask_about(self, sha256s: Sequence[Sha256]) -> set[Sha256]:
        """In open mode: asks neighbours which of these they have, unless they said so just now.

        While one is silent, that nobody has one is not remembered.
        """
        now = trio.current_time()
        peers = self._whom()[:OPEN_ASKED_MAX]
        unknown = [one for one in sha256s if self._answers.get(one, (-KNOWN_S, False))[0] + KNOWN_S <= now]
        found: set[Sha256] = set()

        async def ask(peer: Peer) -> None:
            for start in range(0, len(unknown), IDS_MAX):
                batch = [one for one in unknown[start : start + IDS_MAX] if one not in found]
                if not batch:
                    continue
                content = await self._ask(peer, AskHave(tuple(map(self._id_of, batch))), HAVE_SIZE_BYTES_MAX)
                if content is None:
                    return
                sizes = decode_have(content, len(batch))
                found.update(one for one, size in zip(batch, sizes, strict=True) if size is not None)

        if unknown and peers:
            await self._of_each(peers, ask)
            silent = bool(self._tools.peers.silent(trio.current_time()))
            for one in unknown:
                self._answers.pop(one, None)
                if one in found or not silent:
                    self._answers[one] = trio.current_time(), one in found
            forget_oldest(self._answers, ANSWERS_REMEMBERED_MAX)
        return {one for one in sha256s if self._answers.get(one, (0.0, False))[1]} if peers else set()

    async def _ask(self, peer: Peer, question: AskRoom | AskNames | AskHave, size_bytes_max: int) -> bytes | None:
        """The body of its answer, None where it gives none. Raises Unavailable, RemoteProtocolError."""
        exchange = self._tools.exchange
        async with (
            exchange.question(peer.address),
            exchange.ask(peer.address, question, size_bytes_max) as answer,
        ):
            self._tools.peers.is_there(peer, trio.current_time())
            return bytes(answer.body) if answer.status == 200 else None
