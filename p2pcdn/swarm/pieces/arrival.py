"""One piece on its way in: each of its parts is checked as soon as it is here, and may be passed on at once."""

from __future__ import annotations

import hmac

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.http1 import FileSlice, Growing
from p2pcdn.swarm.pieces.manifest import HASH_SIZE_BYTES, Cut, Manifest, Proof, part_hasher
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
        self.kept: bool | None = None
        self._takers: list[PassedOn] = []

    @property
    def span(self) -> tuple[int, int]:
        """Where it stands in the file: [start, end)."""
        return self._start, self._start + self._spans[-1][1]

    @property
    def right_bytes(self) -> memoryview:
        """What is here and right; good until the next wait."""
        return self._body[: self._spans[self.right - 1][1]] if self.right else self._body[:0]

    def grew(self, body: memoryview) -> bool:
        """These bytes of it are here; the view stays good until `end`. Whether one more part is right now.

        Raises RemoteProtocolError for a wrong one.
        """
        self._body = body
        before = self.right
        while self.right < len(self._spans) and self._spans[self.right][1] <= len(body):
            start, end = self._spans[self.right]
            named = self.parts[self.right * HASH_SIZE_BYTES : (self.right + 1) * HASH_SIZE_BYTES]
            if not hmac.compare_digest(self._hash(body[start:end]), named):
                raise RemoteProtocolError(f"piece {self.index}: bytes that its own hashes do not name")
            self.right += 1
        if self.right > before:
            for taker in self._takers:
                taker.grew()
        return self.right > before

    def next_part_bytes(self, body: memoryview) -> int:
        """How many bytes are missing until the next part is here; 0 where all are."""
        return 0 if self.whole else self._spans[self.right][1] - len(body)

    @property
    def whole(self) -> bool:
        return self.right == len(self._spans)

    def end(self, *, kept: bool) -> None:
        """kept: it lies on the disk now; else whoever gave it broke off, and so do we."""
        self.kept = kept
        self._body = memoryview(b"")
        for taker in self._takers:
            taker.wake()

    def passed_on(self, file: DiskFile) -> PassedOn:
        """The body of an answer, part by part as they come. file: where the piece is once it is kept."""
        taker = PassedOn(self, file)
        self._takers.append(taker)
        return taker

    def leave(self, taker: PassedOn) -> None:
        """Its answer is sent, or broken off."""
        self._takers.remove(taker)


class PassedOn(Growing):
    """One answer that gives a piece as it arrives. It raises Unavailable where the piece's own giver breaks off."""

    def __init__(self, arrival: Arrival, file: DiskFile) -> None:
        super().__init__()
        self._arrival = arrival
        self._file = file
        self._given_bytes = 0
        self._waiting: trio.lowlevel.Task | None = None

    def grew(self) -> None:
        """There is more, and it goes out from here if the wire takes all of it; else its own task sends it."""
        if self._waiting is None:
            return
        right = self._arrival.right_bytes
        self._given_bytes += self.push(right[self._given_bytes :])
        if self._given_bytes < len(right) or self._arrival.whole:
            self.wake()

    def wake(self) -> None:
        task, self._waiting = self._waiting, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def __anext__(self) -> bytes | FileSlice:
        arrival, given_bytes = self._arrival, self._given_bytes
        start, end = arrival.span
        while arrival.kept is None and len(arrival.right_bytes) <= given_bytes < end - start:
            await self._wait()
            given_bytes = self._given_bytes
        if given_bytes == end - start:
            raise StopAsyncIteration
        if arrival.kept is None:
            part = bytes(arrival.right_bytes[given_bytes:])
            self._given_bytes += len(part)
            return part
        if not arrival.kept:
            raise Unavailable(f"Piece {arrival.index} stopped arriving here.")
        self._given_bytes = end - start
        return FileSlice(self._file, start + given_bytes, end - start - given_bytes)

    async def _wait(self) -> None:
        self._waiting = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
