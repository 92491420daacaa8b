"""What a node holds, told to the members of its group: counts, and the short names of all that it would give them.

A page of ten thousand files then costs its asker no question at all. docs/protocol.md, "The room".
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import trio
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1 import Request, Response
from p2pcdn.store import Origin, Store
from p2pcdn.swarm.wire.messages import CBOR_TYPE, PIECE_TYPE

# A short name is the beginning of a blob's id: two of a million blobs share one once in thirty million rooms.
SHORT_SIZE_BYTES = 8
MARK_SIZE_BYTES = 8
# Four numbers and their names.
ROOM_SIZE_BYTES_MAX = 256
# A store of 65,536 files tells all of them, a larger one those that were used last.
NAMES_MAX = 65_536
NAMES_SIZE_BYTES_MAX = MARK_SIZE_BYTES + NAMES_MAX * SHORT_SIZE_BYTES
COUNT_MAX = 1 << 60
# Our own list is made again after a change: at most so often, and not so often that it takes more than a twentieth.
LISTED_EVERY_S = 1.0
# And at the latest after so long, for what was withdrawn changes no number.
LISTED_ANEW_S = 60.0
LISTING_SHARE = 20
# Rows, or names, looked at before others have a turn: a millisecond.
ROWS_AT_ONCE = 256

_ROOM = re.compile(r"/v1/room", re.ASCII)
_NAMES = re.compile(r"/v1/room/names", re.ASCII)
_CBOR = (("content-type", CBOR_TYPE),)
_BYTES = (("content-type", PIECE_TYPE),)


@dataclass(frozen=True, slots=True)
class AskRoom:
    """How much do you hold?"""

    def target(self) -> str:
        return "/v1/room"


@dataclass(frozen=True, slots=True)
class AskNames:
    """What are the short names of it?"""

    def target(self) -> str:
        return "/v1/room/names"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a node would give to members. mark: 8 bytes that change with the list of it."""

    blobs: int
    size_bytes: int
    pages: int
    mark: bytes

    def encode(self) -> bytes:
        return frames.encode({"blobs": self.blobs, "bytes": self.size_bytes, "mark": self.mark, "pages": self.pages})

    @classmethod
    def decode(cls, content: bytes) -> Holding:
        """Raises RemoteProtocolError. Fields of later versions are passed over."""
        fields = frames.decode(content)
        if not isinstance(fields, dict):
            raise RemoteProtocolError("what a node holds is not told in a map")
        mark = fields.get("mark")
        if type(mark) is not bytes or len(mark) != MARK_SIZE_BYTES:
            raise RemoteProtocolError("what a node holds has no mark")
        return cls(_count(fields, "blobs"), _count(fields, "bytes"), _count(fields, "pages"), mark)


@dataclass(frozen=True, slots=True)
class _Own:
    """Our own list. of: what the store said of itself when it was made, which counts until `good_until`."""

    holding: Holding
    names: bytes
    of: tuple[int, int]
    again_at: float
    good_until: float


class OwnHolding:
    """Ours. Used on trio's thread."""

    def __init__(
        self,
        store: Store,
        *,
        id_of: Callable[[Sha256], str],
        gives: Callable[[Origin], bool],
        grouped: bool,
        pages: Callable[[], Awaitable[int]],
    ) -> None:
        """gives: whether a member may be given a blob of this origin. pages: how many project pages it can have."""
        self._store = store
        self._id_of = id_of
        self._gives = gives
        self._grouped = grouped
        self._pages = pages
        self._own: _Own | None = None
        self._listing = trio.Lock()

    def answer(self, request: Request) -> Awaitable[Response] | None:
        """The answer to a member's question about what is here; None where it asks for something else.

        To be called for members only. In open mode there are none: strangers cannot list what a node holds.
        """
        if not self._grouped:
            return None
        if _ROOM.fullmatch(request.path):
            return self._tell_holding()
        return self._tell_names() if _NAMES.fullmatch(request.path) else None

    # --- below

    async def _tell_holding(self) -> Response:
        holding = (await self._listed()).holding
        pages = await self._pages()
        return Response(200, _CBOR, replace(holding, pages=pages).encode())

    async def _tell_names(self) -> Response:
        own = await self._listed()
        return Response(200, _BYTES, own.holding.mark + own.names)

    async def _listed(self) -> _Own:
        async with self._listing:
            summary = self._store.summary()
            now, of = trio.current_time(), (summary.blobs, summary.size_bytes)
            own = self._own
            if own is not None and (now < own.again_at or (own.of == of and now < own.good_until)):
                return own
            blobs, size_bytes, names = await self._list()
            took_s = trio.current_time() - now
            mark = bytes(blake3(names).digest(MARK_SIZE_BYTES))
            again_at = trio.current_time() + max(LISTED_EVERY_S, took_s * LISTING_SHARE)
            good_until = max(again_at, now + LISTED_ANEW_S)
            own = self._own = _Own(Holding(blobs, size_bytes, 0, mark), names, of, again_at, good_until)
            return own

    async def _list(self) -> tuple[int, int, bytes]:
        """How many blobs members may have of us, their bytes, and their short names in order."""
        used: list[tuple[float, bytes]] = []
        size_bytes = 0
        for number, row in enumerate(self._store.rows()):
            if not row.buried and self._gives(row.origin):
                used.append((row.used_at, short_name(self._id_of(row.sha256))))
                size_bytes += row.size_bytes
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        told = used if len(used) <= NAMES_MAX else heapq.nlargest(NAMES_MAX, used)
        return len(used), size_bytes, b"".join(sorted(short for _, short in told))


def short_name(id_: str) -> bytes:
    """The first bytes of a blob's id."""
    return bytes.fromhex(id_[: 2 * SHORT_SIZE_BYTES])


def names_in(told: bytes) -> list[bytes]:
    """The short names of a list."""
    return [told[at : at + SHORT_SIZE_BYTES] for at in range(0, len(told), SHORT_SIZE_BYTES)]


def _count(fields: Mapping[str, Any], name: str) -> int:
    count = fields.get(name)
    if type(count) is not int or not 0 <= count < COUNT_MAX:
        raise RemoteProtocolError("what a node holds is told in something else than numbers")
    return count
