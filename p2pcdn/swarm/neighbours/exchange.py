"""Asking a peer over its connections: dial, ask, wait with a watchdog, keep the connection for the next question."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from hmac import compare_digest
from mmap import mmap
from typing import Protocol

import trio

from p2pcdn.errors import RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S, Stale, converse
from p2pcdn.swarm.neighbours.line import SLOTS_PER_PEER, Line, Turn
from p2pcdn.swarm.neighbours.link import Link
from p2pcdn.swarm.neighbours.meeting import MEET_PATH, MEETING_SIZE_BYTES_MAX, TICKET_PROOF, Meeting
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.connection import Answer, Reading, Watch, buffer_size, encode_request
from p2pcdn.swarm.wire.messages import MANIFEST_SIZE_BYTES_MAX
from p2pcdn.world import Network

# A connection of the LAN takes a millisecond. Two seconds are one lost SYN and its repetition.
DIAL_TIME_S = 2.0
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
        self._lines: dict[Address, Line] = {}
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
        return Turn(line, line.slots)

    def question(self, address: Address) -> AbstractAsyncContextManager[None]:
        """Waits for the turn to ask a peer something small."""
        line = self._line(address)
        return Turn(line, line.questions)

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

    def _line(self, address: Address) -> Line:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = Line()
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

    async def _converse(self, line: Line, question: _Question) -> tuple[Answer, Link]:
        links = line.links(sealed=question.sealed)
        while links:
            link = links.pop()
            try:
                return await self._ask(line, link, question.request(), question.reading(link.device)), link
            except Stale:
                continue
        if self._meeting is not None:
            return await self._as_member(self._meeting, line, question)
        if question.sealed:
            raise Unavailable("Only members of a group ask each other over TLS.")
        link = await self._dial(line, question.address)
        try:
            return await self._ask(line, link, question.request(), question.reading()), link
        except Stale as error:
            raise Unavailable(f"{question.address} closed the connection instead of answering.") from error

    async def _as_member(self, meeting: Meeting, line: Line, question: _Question) -> tuple[Answer, Link]:
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
                answer = await self._ask(line, link, question.request(given.ticket), reading)
            except Stale as error:
                raise Unavailable(f"{address} closed the connection instead of answering.") from error
            if compare_digest(answer.headers.get(TICKET_PROOF, "").encode(), given.proof.encode()):
                link.device = given.device
                return answer, link
            await link.close()
            meeting.forget(address, given.session_id, sealed=sealed)
            if answer.status != 403:
                raise Unavailable(f"It answers with {answer.status} and does not prove that it is a member.")
        raise Unavailable("It does not take us for a member of its group.")

    async def _met(self, meeting: Meeting, line: Line, question: _Question) -> Link | None:
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

    async def _meet(self, meeting: Meeting, line: Line, question: _Question) -> Link:
        address, sealed = question.address, question.sealed
        device = meeting.device_of(address) if sealed else None
        if sealed and device is None:
            raise Unavailable(f"{address} has not been met yet.")
        link = await self._dial(line, address, question.sealed_port, device or b"")
        knock = meeting.knock(sealed=sealed)
        request = encode_request(MEET_PATH + knock.encode(), str(address))
        buffer = memoryview(bytearray(buffer_size(MEETING_SIZE_BYTES_MAX)))
        try:
            answer = await self._ask(line, link, request, Reading(buffer, MEETING_SIZE_BYTES_MAX))
        except Stale as error:
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

    async def _dial(self, line: Line, address: Address, sealed_port: int = 0, device: bytes = b"") -> Link:
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

    def _ask(self, line: Line, link: Link, request: bytes, reading: Reading) -> Awaitable[Answer]:
        return converse(line, link, request, reading, self.patience.no_progress_s)


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


def _why(error: OSError | trio.TooSlowError) -> str:
    if isinstance(error, trio.TooSlowError):
        return "no connection in time"
    # trio writes the address into the text, and we say it already; a name's look-up has numbers of its own.
    if error.errno and not isinstance(error, trio.socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
