"""One question over one connection: sent, and its answer waited for under a watchdog."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from p2pcdn.errors import Unanswered, Unavailable
from p2pcdn.swarm.neighbours.line import Line
from p2pcdn.swarm.neighbours.link import Link
from p2pcdn.swarm.wire.connection import Answer, Reading

# A neighbour that says nothing for so long has gone, and whoever waits goes elsewhere.
NO_PROGRESS_S = 3.0
# One that lets bytes drip to keep us waiting: so many must come in that time, or a quarter of the piece, or all that is
# left.
PROGRESS_SIZE_BYTES_MIN = 256 * 1024
# More than a head: a part of a piece.
PART_SIZE_BYTES_MIN = 1024
# An answer that is not whole after this part of the watchdog's time is read as it comes.
SLOW_PART = 1 / 6


class Stale(Exception):
    """The connection ended before the first byte of an answer: the other end had closed it while it was idle."""


async def converse(line: Line, link: Link, request: bytes, reading: Reading, no_progress_s: float) -> Answer:
    """Asks on one connection, and closes it unless a whole answer came.

    no_progress_s: the watchdog's. Raises Stale, RemoteProtocolError, Unavailable (it broke in the middle), and of these
    Unanswered where too little came for so long.
    """
    whole = False
    try:
        answer = await _watched(line, link, request, reading, no_progress_s)
        whole = True
        return answer
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        if not reading.begun:
            raise Stale from error
        raise Unavailable("The connection broke in the middle of an answer.") from error
    finally:
        if not whole:
            await link.close()


async def _watched(line: Line, link: Link, request: bytes, reading: Reading, no_progress_s: float) -> Answer:
    """Reads it in few large parts; where it is slow as it comes, so that the watchdog sees every byte."""
    progress = _Progress(min(PROGRESS_SIZE_BYTES_MIN, reading.body_size_bytes_max // 4), trio.current_time())
    unsent = link.send_now(request)
    # A busy neighbour has often answered before we look, and where nothing is waited for no watchdog need run.
    came = None if unsent else link.read_now(reading.space())
    if came is not None and (answer := _take(line, reading, came, progress)) is not None:
        return answer
    with trio.move_on_after(no_progress_s * SLOW_PART if link.waits_for_many else no_progress_s):
        if unsent:
            await link.send(unsent)
            unsent = b""
        while True:
            size_bytes = await link.receive(reading.space(), reading.wanted_bytes)
            if (answer := _take(line, reading, size_bytes, progress)) is not None:
                return answer
    with trio.CancelScope() as watchdog:
        came = await link.receive_now(reading.space()) if not unsent else None
        while not unsent:
            if came is not None and (answer := _take(line, reading, came, progress)) is not None:
                return answer
            watchdog.deadline = progress.at + no_progress_s
            came = await link.receive(reading.space())
    raise Unanswered(f"Too little came for {no_progress_s:g} s.")


@dataclass(slots=True)
class _Progress:
    """When so many bytes had come, as often as they did."""

    step_bytes: int
    at: float
    came_bytes: int = 0

    def note(self, size_bytes: int, now: float) -> None:
        self.came_bytes += size_bytes
        if self.came_bytes >= self.step_bytes:
            self.came_bytes = 0
            self.at = now


def _take(line: Line, reading: Reading, size_bytes: int, progress: _Progress) -> Answer | None:
    """So many bytes came."""
    if size_bytes == 0:
        raise trio.BrokenResourceError("the other end closed")
    now = trio.current_time()
    if size_bytes >= PART_SIZE_BYTES_MIN:
        line.heard_at = now
    progress.note(size_bytes, now)
    return reading.received(size_bytes)
