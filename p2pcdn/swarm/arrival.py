"""One piece on its way in: each of its parts is checked as soon as it is here, and may be passed on at once."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.http1 import FileSlice
from p2pcdn.swarm.manifest import HASH_SIZE_BYTES, Cut, Manifest, Proof, part_hasher
from p2pcdn.world import DiskFile


class Arrival:
    """Filled by a Download, passed on by the Provider; used on trio's thread.

    parts: the hashes of the piece's parts, which hash to the piece's own. proof: somebody's word for that one; None
    where the manifest `listed_in` proves it. right: how many parts are here and right.
    """

    def __init__(
        self,
        sha256: Sha256,
        cut: Cut,
        index: int,
        parts: bytes,
        proof: Proof | None,
        listed_in: Manifest | None = None,
    ) -> None:
        """Raises RemoteProtocolError where there is not one hash for each part."""
        self.index = index
        self.parts = parts
        self.proof = proof
        self.listed_in = listed_in
        self.right = 0
        self._spans = cut.parts(index)
        if len(parts) != len(self._spans) * HASH_SIZE_BYTES:
            raise RemoteProtocolError(f"piece {index}: another number of parts than it has")
        self._start = cut.span(index)[0]
        self._hash = part_hasher(sha256, cut, index)
        self._body = memoryview(b"")
        self._kept: bool | None = None
        self._changed = trio.lowlevel.ParkingLot()

    def grew(self, body: memoryview) -> None:
        """These bytes of it are here; the view stays good until `end`. Raises RemoteProtocolError for a wrong part."""
        self._body = body
        before = self.right
        while self.right < len(self._spans) and self._spans[self.right][1] <= len(body):
            start, end = self._spans[self.right]
            named = self.parts[self.right * HASH_SIZE_BYTES : (self.right + 1) * HASH_SIZE_BYTES]
            if not hmac.compare_digest(self._hash(body[start:end]), named):
                raise RemoteProtocolError(f"piece {self.index}: bytes that its own hashes do not name")
            self.right += 1
        if self.right > before:
            self._changed.unpark_all()

    @property
    def whole(self) -> bool:
        return self.right == len(self._spans)

    def end(self, *, kept: bool) -> None:
        """kept: it lies on the disk now; else whoever gave it broke off, and so do we."""
        self._kept = kept
        self._body = memoryview(b"")
        self._changed.unpark_all()

    async def passed_on(self, file: DiskFile) -> AsyncIterator[bytes | FileSlice]:
        """The body of an answer: part by part as they come. file: where the piece is once it is kept.

        Raises Unavailable where its own giver breaks off.
        """
        given = 0
        while given < len(self._spans):
            while self._kept is None and self.right <= given:
                await self._changed.park()
            start, end = self._spans[given][0], self._spans[-1][1]
            if self._kept is not None:
                if not self._kept:
                    raise Unavailable(f"Piece {self.index} stopped arriving here.")
                yield FileSlice(file, self._start + start, end - start)
                return
            given = self.right
            yield bytes(self._body[start : self._spans[given - 1][1]])
