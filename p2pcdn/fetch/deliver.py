"""The bytes of a file as a client gets them: following a growing file, the end held back until all is proven."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, P2pcdnError, RemoteProtocolError, StoreStopped, Unavailable
from p2pcdn.fetch.origin import OriginReader, Wanted
from p2pcdn.http1 import FileSlice
from p2pcdn.store import HELD_BACK_SIZE_BYTES, Partial

log = logging.getLogger(__name__)

# A growing file goes out in slices of at most this size, so that many clients advance together.
SLICE_SIZE_BYTES = 4 * 1024 * 1024
# A passing file that has not begun by then gets its head all the same: pip hangs up after 15 s.
PASSING_BEGINS_S = 10.0
# Bytes of a passing file that wait for a slow client; beyond it the upstream waits too.
PASSING_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class Delivery:
    """Gives ranges of files to clients. `nursery` holds the readers of files that pass through unkept."""

    origin: OriginReader
    nursery: trio.Nursery

    async def follow(
        self, wanted: Wanted, growing: Partial, start: int, end: int | None, size_bytes: int | None = None
    ) -> AsyncGenerator[bytes | FileSlice]:
        """The bytes [start, end) of a growing file; to its end where `end` is None because nobody knows it yet.

        size_bytes: of the whole, as the client was told; None: he was not.

        Raises what stopped the file, and RemoteProtocolError where the client was told another size than it has; the
        response is then broken off. Where the store stops in the middle (disk full),
        the rest comes from the upstream, unkept but still checked.
        """
        at = start
        with growing.reader() as file:
            try:
                while (until := await _sendable(growing, at, end, size_bytes)) > at:
                    yield FileSlice(file, at, until - at)
                    at = until
                return
            except StoreStopped:
                passed = start
            async with aclosing(self.pass_through(wanted, start, end)) as passing:
                async for chunk in passing:
                    sent = chunk[: max(0, at - passed)]
                    if sent and await file.pread(len(sent), passed) != sent:
                        # The hash speaks of what passes now, and not of what went out before.
                        raise RemoteProtocolError(f"{wanted.file.filename} came twice, and not as the same bytes.")
                    passed += len(chunk)
                    yield chunk[len(sent) :]

    async def pass_through(self, wanted: Wanted, start: int, end: int | None) -> AsyncGenerator[bytes]:
        """The bytes [start, end) straight from the upstream, for when nothing can be kept.

        All of the file is read and hashed, whatever part is asked for: the held-back end comes when the hash is right.
        Raises DigestMismatch and what the upstream raises; its first part is empty and comes once the upstream gives
        something, so that a refusal can still become a status.
        """
        send, receive = trio.open_memory_channel[bytes](PASSING_CHUNKS)
        outcome: list[P2pcdnError] = []
        begun = trio.Event()
        self.nursery.start_soon(self._read_passing, wanted, start, end, send, outcome, begun)
        with receive:
            with trio.move_on_after(PASSING_BEGINS_S):
                await begun.wait()
            if not outcome:
                yield b""
            async for chunk in receive:
                yield chunk
        if outcome:
            raise outcome[0]

    async def _read_passing(
        self,
        wanted: Wanted,
        start: int,
        end: int | None,
        send: trio.MemorySendChannel[bytes],
        outcome: list[P2pcdnError],
        begun: trio.Event,
    ) -> None:
        hasher = hashlib.sha256()
        held = bytearray()

        async def take(at: int, content: bytes) -> None:
            begun.set()
            hasher.update(content)
            held.extend(content[max(0, start - at) : None if end is None else max(0, end - at)])
            if len(held) > HELD_BACK_SIZE_BYTES:
                out = bytes(held[:-HELD_BACK_SIZE_BYTES])
                del held[:-HELD_BACK_SIZE_BYTES]
                await send.send(out)

        with send:
            try:
                await self.origin.read(wanted, take)
                _check(wanted, Sha256(hasher.hexdigest()))
                await send.send(bytes(held))
            except P2pcdnError as error:
                outcome.append(error)
            except trio.BrokenResourceError:
                return  # the client went away; nobody else reads this
            except Exception:  # in the node's nursery it would end everything
                log.exception("%s did not pass through", wanted.file.filename)
                outcome.append(Unavailable(f"A fault of this node stopped {wanted.file.filename}; its log says why."))
            finally:
                begun.set()


async def _sendable(growing: Partial, at: int, end: int | None, size_bytes: int | None) -> int:
    """Waits until bytes from `at` on may go out, and says to where; `at` itself where the range is over."""
    while end is None or at < end:
        until = await growing.readable(at)
        if size_bytes is not None and growing.size_bytes != size_bytes:
            # All that he was promised would be whole to him, and is not: the page was wrong (`Partial.correct_size`).
            raise RemoteProtocolError(
                f"{growing.origin.filename} has {growing.size_bytes} bytes, and its index says {size_bytes}; who asks"
                " again gets it."
            )
        if end is not None:
            until = min(until, end if growing.proven.is_set() else end - HELD_BACK_SIZE_BYTES)
        if until > at:
            return min(until, at + SLICE_SIZE_BYTES)
        if growing.proven.is_set():
            break
        # All that is left of the range is its held-back end.
        await growing.wait_proven()
    return at


def _check(wanted: Wanted, got: Sha256) -> None:
    if wanted.file.sha256 is not None and got != wanted.file.sha256:
        raise DigestMismatch(wanted.file.filename, expected=f"sha256:{wanted.file.sha256}", got=f"sha256:{got}")
