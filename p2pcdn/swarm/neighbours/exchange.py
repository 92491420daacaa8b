"""Asking a peer over its connections: dial, ask, wait with a watchdog, keep the connection for the next question."""

from __future__ import annotations

import math
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hmac import compare_digest
from mmap import mmap
from typing import Protocol

import trio

from p2pcdn.errors import RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.swarm.neighbours.link import Link
from p2pcdn.swarm.neighbours.meeting import MEET_PATH, MEETING_SIZE_BYTES_MAX, TICKET_PROOF, Meeting
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.connection import Answer, Reading, Watch, buffer_size, encode_request
from p2pcdn.swarm.wire.messages import MANIFEST_SIZE_BYTES_MAX
from p2pcdn.world import Network

# A neighbour that says nothing for so long has gone, and whoever waits goes elsewhere.
NO_PROGRESS_S = 3.0
# One that lets bytes drip to keep us waiting: so many must come in that time, or a quarter of the piece, or all that is
# left.
PROGRESS_SIZE_BYTES_MIN = 256 * 1024
# More than a head: a part of a piece.
PART_SIZE_BYTES_MIN = 1024
# An answer that is not whole after this part of the watchdog's time is read as it comes.
SLOW_PART = 1 / 6
# A connection of the LAN takes a millisecond. Two seconds are one lost SYN and its repetition.
DIAL_TIME_S = 2.0
# Pieces under way from one peer, for all files: as many as it has slots, so that it need not refuse.
SLOTS_PER_PEER = 3
# Other questions under way to one peer: small, and answered from memory.
QUESTIONS_PER_PEER = 4
# Our server at the other end closes idle connections after 75 s.
IDLE_TIME_S = 30.0
# Buffers kept while nobody uses them: as many as one file needs.
BUFFERS_KEPT = SLOTS_PER_PEER
# Smaller buffers are not worth keeping: a room of hundreds that meets would else hold ten megabytes of them a node.
POOLED_SIZE_BYTES_MIN = 16 * 1024


class Question(Protocol):
    """What one node asks another."""

    def target(self) -> str:
        """The path and the query of the request."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """The watchdog's settings; tests take shorter ones."""

    no_progress_s: float = NO_PROGRESS_S
    dial_time_s: float = DIAL_TIME_S


@dataclass(slots=True)
class _Line:
    """What we have with one peer."""

    slots: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(SLOTS_PER_PEER))
    questions: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(QUESTIONS_PER_PEER))
    idle: list[Link] = field(default_factory=list)
    idle_sealed: list[Link] = field(default_factory=list)
    users: int = 0
    heard_at: float = -math.inf  # when a part of a piece came
    meeting: trio.Lock | None = None
    failed_meetings: int = 0
    not_met: Unavailable = field(default_factory=lambda: Unavailable(""))

    def links(self, *, sealed: bool) -> list[Link]:
        return self.idle_sealed if sealed else self.idle


class _Turn:
    """One of so many questions under way to a peer. Nobody waits where there is room."""

    __slots__ = ("_limit", "_line")

    def __init__(self, line: _Line, limit: trio.CapacityLimiter) -> None:
        self._line = line
        self._limit = limit

    async def __aenter__(self) -> None:
        self._line.users += 1
        try:
            self._limit.acquire_nowait()
        except trio.WouldBlock:
            try:
                await self._limit.acquire()
            except BaseException:
                self._line.users -= 1
                raise

    async def __aexit__(self, *_: object) -> None:
        self._limit.release()
        self._line.users -= 1


class _Asked(AbstractAsyncContextManager[Answer]):
    """One question, and the buffer of its answer. No generator: that costs two frames whenever bytes come."""

    __slots__ = ("_answer", "_buffer", "_exchange", "_line", "_question")

    def __init__(
        self,
        exchange: Exchange,
        address: Address,
        sealed_port: int,
        ask: Question,
        body_size_bytes_max: int,
        watch: Watch | None,
    ) -> None:
        self._exchange = exchange
        self._line = exchange._line(address)
        self._buffer = exchange._buffer(buffer_size(body_size_bytes_max))
        view = memoryview(self._buffer)
        self._question = _Question(address, sealed_port, ask.target(), view, body_size_bytes_max, watch)

    async def __aenter__(self) -> Answer:
        line, question = self._line, self._question
        line.users += 1
        try:
            self._answer, link = await self._exchange._converse(line, question)
            if self._answer.keep_alive:
                link.idle_since = trio.current_time()
                line.links(sealed=question.sealed).append(link)
            else:
                await link.close()
        except BaseException:
            self._end()
            raise
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        self._answer.body.release()
        self._end()

    def _end(self) -> None:
        self._question.view.release()
        self._line.users -= 1
        self._exchange._keep(self._buffer)


class Exchange:
    """All connections of a node to its peers. Used on trio's thread."""

    def __init__(self, network: Network, patience: Patience, meeting: Meeting | None = None) -> None:
        """meeting: in a group; then nobody is asked before it has proven that it is a member."""
        self.patience = patience
        self._network = network
        self._meeting = meeting
        self._lines: dict[Address, _Line] = {}
        self._buffers: list[bytearray | mmap] = []

    def free_slots(self, address: Address) -> int:
        """How many pieces the peer may be asked for without waiting for others to arrive."""
        line = self._lines.get(address)
        return SLOTS_PER_PEER if line is None else int(line.slots.available_tokens)

    def heard_at(self, address: Address) -> float:
        """When a part of a piece came last from this peer, trio's time."""
        line = self._lines.get(address)
        return -math.inf if line is None else line.heard_at

    def slot(self, address: Address) -> AbstractAsyncContextManager[None]:
        """Waits for the turn to ask a peer for a piece."""
        line = self._line(address)
        return _Turn(line, line.slots)

    def question(self, address: Address) -> AbstractAsyncContextManager[None]:
        """Waits for the turn to ask a peer something small."""
        line = self._line(address)
        return _Turn(line, line.questions)

    def ask(
        self,
        address: Address,
        ask: Question,
        body_size_bytes_max: int,
        *,
        sealed_port: int = 0,
        watch: Watch | None = None,
    ) -> AbstractAsyncContextManager[Answer]:
        """The answer; its body is good inside the block only. watch: sees it grow; what it raises ends the answer.

        sealed_port: asks over TLS at this port of the same host, and only the device that was met at `address`; only
        in a group. Entering it raises RemoteProtocolError (it broke the protocol), Unavailable (no connection, cut,
        or no proof that it is a member), and of these Unanswered where it was silent too long.
        """
        return _Asked(self, address, sealed_port, ask, body_size_bytes_max, watch)

    async def hang_up(self, address: Address) -> None:
        """Closes what is idle with a peer that is not trusted any more."""
        line = self._lines.get(address)
        if line is not None:
            links, line.idle, line.idle_sealed = [*line.idle, *line.idle_sealed], [], []
            for link in links:
                await link.close()

    async def tidy(self) -> None:
        """Closes connections that were idle for long, and lets buffers go that nobody uses."""
        before = trio.current_time() - IDLE_TIME_S
        old: list[Link] = []
        for address, line in list(self._lines.items()):
            for sealed in (False, True):
                links = line.links(sealed=sealed)
                old += [link for link in links if link.idle_since < before]
                links[:] = [link for link in links if link.idle_since >= before]
            if not line.idle and not line.idle_sealed and not line.users:
                del self._lines[address]
        if not any(line.users for line in self._lines.values()):
            self._buffers.clear()
        for link in old:
            await link.close()

    async def close(self) -> None:
        """Closes every idle connection."""
        for address in list(self._lines):
            await self.hang_up(address)

    # --- below

    def _line(self, address: Address) -> _Line:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = _Line()
        return line

    def _buffer(self, size_bytes: int) -> bytearray | mmap:
        if size_bytes <= POOLED_SIZE_BYTES_MIN:
            return bytearray(size_bytes)
        while self._buffers:
            buffer = self._buffers.pop()
            if len(buffer) >= size_bytes:
                return buffer
        # Middling answers share one size, so that a buffer fits the next question, too.
        # Mapped, not allocated: an answer that may have 4 MiB and has 4 KiB takes the memory of 4 KiB.
        return mmap(-1, max(size_bytes, buffer_size(MANIFEST_SIZE_BYTES_MAX)))

    def _keep(self, buffer: bytearray | mmap) -> None:
        if len(buffer) > POOLED_SIZE_BYTES_MIN and len(self._buffers) < BUFFERS_KEPT:
            self._buffers.append(buffer)

    async def _converse(self, line: _Line, question: _Question) -> tuple[Answer, Link]:
        links = line.links(sealed=question.sealed)
        while links:
            link = links.pop()
            try:
                return await self._once(line, link, question.request(), question.reading(link.device)), link
            except _Stale:
                continue
        if self._meeting is not None:
            return await self._as_member(self._meeting, line, question)
        if question.sealed:
            raise Unavailable("Only members of a group ask each other over TLS.")
        link = await self._dial(line, question.address)
        try:
            return await self._once(line, link, question.request(), question.reading()), link
        except _Stale as error:
            raise Unavailable(f"{question.address} closed the connection instead of answering.") from error

    async def _as_member(self, meeting: Meeting, line: _Line, question: _Question) -> tuple[Answer, Link]:
        """Asks on a new connection, which begins with a ticket; where it is not taken any more, once more after a
        meeting."""
        address, sealed = question.address, question.sealed
        for _ in range(2):
            link = await self._met(meeting, line, question)
            given = meeting.pass_for(address, sealed=sealed)
            if given is None:  # pushed out between two steps
                if link is not None:
                    await link.close()
                continue
            link = link or await self._dial(line, address, question.sealed_port, given.device)
            try:
                reading = question.reading(given.device)
                answer = await self._once(line, link, question.request(given.ticket), reading)
            except _Stale as error:
                raise Unavailable(f"{address} closed the connection instead of answering.") from error
            if compare_digest(answer.headers.get(TICKET_PROOF, "").encode(), given.proof.encode()):
                link.device = given.device
                return answer, link
            await link.close()
            meeting.forget(address, given.session_id, sealed=sealed)
            if answer.status != 403:
                raise Unavailable(f"It answers with {answer.status} and does not prove that it is a member.")
        raise Unavailable("It does not take us for a member of its group.")

    async def _met(self, meeting: Meeting, line: _Line, question: _Question) -> Link | None:
        """Sees to it that we have met. The connection over which that happened, if it did so now."""
        if meeting.has_met(question.address, sealed=question.sealed):
            return None
        if line.meeting is None:
            line.meeting = trio.Lock()
        failed_before = line.failed_meetings
        async with line.meeting:
            if meeting.has_met(question.address, sealed=question.sealed):
                return None
            if line.failed_meetings != failed_before:
                raise type(line.not_met)(str(line.not_met))  # another one has just tried
            try:
                return await self._meet(meeting, line, question)
            except (Unavailable, RemoteProtocolError) as error:
                line.failed_meetings += 1
                silent = isinstance(error, Unanswered)
                line.not_met = Unanswered(str(error)) if silent else Unavailable(str(error))
                raise

    async def _meet(self, meeting: Meeting, line: _Line, question: _Question) -> Link:
        address, sealed = question.address, question.sealed
        device = meeting.device_of(address) if sealed else None
        if sealed and device is None:
            raise Unavailable(f"{address} has not been met yet.")
        link = await self._dial(line, address, question.sealed_port, device or b"")
        knock = meeting.knock(sealed=sealed)
        request = encode_request(MEET_PATH + knock.encode(), str(address))
        buffer = memoryview(bytearray(buffer_size(MEETING_SIZE_BYTES_MAX)))
        try:
            answer = await self._once(line, link, request, Reading(buffer, MEETING_SIZE_BYTES_MAX))
        except _Stale as error:
            raise Unavailable(f"{address} closed the connection instead of answering.") from error
        met = False
        try:
            if answer.status == 403:
                raise Unavailable("It does not take us for a member of its group.")
            if answer.status != 200 or not answer.keep_alive:
                raise Unavailable(f"It belongs to no group, and we do: it answers our meeting with {answer.status}.")
            meeting.met(address, knock, bytes(answer.body), sealed=sealed, device=device)
            met = True
        finally:
            if not met:
                await link.close()
        return link

    async def _dial(self, line: _Line, address: Address, sealed_port: int = 0, device: bytes = b"") -> Link:
        """sealed_port, device: over TLS, and only if it is this device."""
        try:
            with trio.fail_after(self.patience.dial_time_s):
                if sealed_port:
                    stream = await self._network.connect_sealed(address.host, sealed_port, device)
                else:
                    stream = await self._network.connect(address.host, address.port)
        except (OSError, trio.TooSlowError) as error:
            kind = Unanswered if isinstance(error, trio.TooSlowError) else Unavailable
            raise kind(f"{address} cannot be reached: {_why(error)}.") from error
        return Link(stream)

    async def _once(self, line: _Line, link: Link, request: bytes, reading: Reading) -> Answer:
        """Asks on one connection, and closes it unless a whole answer came."""
        whole = False
        try:
            answer = await self._watched(line, link, request, reading)
            whole = True
            return answer
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            if not reading.begun:
                raise _Stale from error
            raise Unavailable("The connection broke in the middle of an answer.") from error
        finally:
            if not whole:
                await link.close()

    async def _watched(self, line: _Line, link: Link, request: bytes, reading: Reading) -> Answer:
        """Reads it in few large parts; where it is slow as it comes, so that the watchdog sees every byte."""
        progress = _Progress(min(PROGRESS_SIZE_BYTES_MIN, reading.body_size_bytes_max // 4), trio.current_time())
        patience_s, unsent = self.patience.no_progress_s, link.send_now(request)
        # A busy neighbour has often answered before we look, and where nothing is waited for no watchdog need run.
        came = None if unsent else link.read_now(reading.space())
        if came is not None and (answer := _take(line, reading, came, progress)) is not None:
            return answer
        with trio.move_on_after(patience_s * SLOW_PART if link.waits_for_many else patience_s):
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
                watchdog.deadline = progress.at + patience_s
                came = await link.receive(reading.space())
        raise Unanswered(f"Too little came for {patience_s:g} s.")


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


def _take(line: _Line, reading: Reading, size_bytes: int, progress: _Progress) -> Answer | None:
    """So many bytes came."""
    if size_bytes == 0:
        raise trio.BrokenResourceError("the other end closed")
    now = trio.current_time()
    if size_bytes >= PART_SIZE_BYTES_MIN:
        line.heard_at = now
    progress.note(size_bytes, now)
    return reading.received(size_bytes)


@dataclass(slots=True)
class _Question:
    """What is asked of whom, and where the answer goes."""

    address: Address
    sealed_port: int  # 0: over the plain connection
    target: str
    view: memoryview
    body_size_bytes_max: int
    watch: Watch | None = None

    @property
    def sealed(self) -> bool:
        return self.sealed_port != 0

    def request(self, ticket: str = "") -> bytes:
        return encode_request(self.target, str(self.address), ticket)

    def reading(self, device: bytes = b"") -> Reading:
        return Reading(self.view, self.body_size_bytes_max, self.watch, device)


class _Stale(Exception):
    """The connection ended before the first byte of an answer: the other end had closed it while it was idle."""


def _why(error: OSError | trio.TooSlowError) -> str:
    if isinstance(error, trio.TooSlowError):
        return "no connection in time"
    # trio writes the address into the text, and we say it already; a name's look-up has numbers of its own.
    if error.errno and not isinstance(error, trio.socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
