"""One connection: requests in, answers out, in their order, until one side has had enough."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from types import AsyncGeneratorType

import trio

from p2pcdn.errors import LocalProtocolError, P2pcdnError
from p2pcdn.http1 import refusals
from p2pcdn.http1.lobby import Lobby
from p2pcdn.http1.messages import FileSlice, Handler, OnAnswer, Request, Response
from p2pcdn.http1.parse import Reader
from p2pcdn.http1.patience import Patience
from p2pcdn.http1.peers import peer_of
from p2pcdn.http1.refusals import Face, Refusal, Violation, problem
from p2pcdn.http1.sending import Sender
from p2pcdn.http1.socket_wire import open_wire
from p2pcdn.http1.wire import Gone
from p2pcdn.http1.write import CONTINUE, HeadWriter, has_body

log = logging.getLogger(__name__)

# The client of a refusal may be slow to take it; we have told it what we had to say.
REFUSAL_TIME_S = 2.0
# So much of a file goes out without a switch of tasks: a piece of a neighbour's. It takes a fifth of a millisecond.
FILE_NOW_SIZE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one face share."""

    handler: Handler
    face: Face
    on_answer: OnAnswer | None = None
    on_refusal: Callable[[Refusal, str], None] | None = None
    heads: HeadWriter = field(default_factory=HeadWriter)
    lobby: Lobby | None = None
    hosts: Counter[str] = field(default_factory=Counter)  # how many connections each has


# What is left to do of an answer; it says whether another request may follow on the connection.
Rest = Callable[[], Awaitable[bool]]


class Connection:
    """A stream and what was read of it. Its methods are called by the task that runs it; `end_soon` by any."""

    def __init__(self, stream: trio.abc.Stream, service: Service) -> None:
        self._stream = stream
        self._service = service
        limits = service.face.limits
        self._patience = Patience(limits)
        self._wire = open_wire(stream, self._patience)
        peer, uid = peer_of(stream)
        self._peer = peer
        self.host = peer.rpartition(":")[0]
        self._reader = Reader(service.face, peer, uid)
        self._ending = False
        self._answering = False
        self._responding = False
        self._sender = Sender(self._wire)
        self._rest: Rest | None = None

    def end_soon(self) -> None:
        """Closes it when the running answer is sent; at once where none runs."""
        self._ending = True
        if not self._answering:
            self._patience.scope.cancel()

    async def run(self) -> None:
        """Answers until the end, and closes the stream. Raises nothing but Cancelled."""
        try:
            with self._patience.scope:
                await self._converse()
            if self._patience.scope.cancelled_caught and not self._ending:
                await self._time_is_up()
        except Gone:
            pass
        except Exception:
            log.exception("A connection of %s failed.", self._peer)
        finally:
            await _close(self._stream)

    async def _converse(self) -> None:
        reader = self._reader
        lobby = self._service.lobby if self._wire.fd >= 0 else None
        while True:
            rest = self._advance()
            if rest is None and lobby is not None and not reader.started:
                self._patience.idle()
                await lobby.wait(self._wire.fd, self._serve_from_lobby)
                rest, self._rest = self._rest, None
            if rest is not None:
                if not await rest():
                    return
                continue
            self._patience.head() if reader.started else self._patience.idle()
            content = await self._wire.receive()
            if not content:
                return
            reader.receive(content)

    def _serve_from_lobby(self) -> bool:
        """Reads and answers without waiting; True hands over to our own task."""
        try:
            content = self._wire.receive_now()
            if content is None:
                return False
            if not content:
                raise Gone
            self._reader.receive(content)
            self._rest = self._advance()
        except Gone:
            self._rest = _end
        except Exception:
            log.exception("A connection of %s failed.", self._peer)
            self._rest = _end
        if self._rest is not None or self._reader.started:
            return True
        self._patience.idle()
        return False

    def _advance(self) -> Rest | None:
        """Answers what can be answered without waiting. Returns what has to wait; None is: for the client."""
        while (step := self._reader.next_request()) is not None:
            self._patience.awaited = "face"
            if isinstance(step, Request):
                rest = self._answer(step)
            elif isinstance(step, Refusal):
                rest = partial(self._refuse, step, None)
            else:
                rest = partial(self._refuse, *step)
            if rest is not None:
                self._answering = True
                return rest
        return None

    def _answer(self, request: Request) -> Rest | None:
        if not self._reader.body_done:
            request.body = self._receive_body(request)
        try:
            response = self._service.handler(request)
        except Exception as error:
            return partial(self._fail, request, error)
        if isinstance(response, Response):
            return self._begin(request, response)
        return partial(self._answer_later, request, response)

    async def _answer_later(self, request: Request, coming: Awaitable[Response]) -> bool:
        self._patience.work()
        try:
            response = await coming
        except Exception as error:
            return await self._fail(request, error)
        rest = self._begin(request, response)
        if rest is not None:
            return await rest()
        self._answering = False
        return True

    async def _fail(self, request: Request, error: Exception) -> bool:
        if isinstance(error, Violation):
            return await self._refuse(error.refusal, request)
        log.error("%s %s failed.", request.method, request.path, exc_info=error)
        return await self._refuse(refusals.FAILED, request)

    def _begin(self, request: Request, response: Response) -> Rest | None:
        """Sends what can be sent at once; None where that was all and another request may follow."""
        body = response.body
        keep_alive = request.keep_alive and not self._ending and self._reader.body_done
        size_bytes = _size(response)
        if size_bytes is None and request.version == "1.0":
            keep_alive = False
        try:
            content = self._service.heads.head(request, response, size_bytes, keep_alive)
        except LocalProtocolError as error:
            _release(response)
            return partial(self._fail, request, error)
        if isinstance(body, bytes) and has_body(response.status, request.method):
            content += body
            self._sender.body_bytes = len(body)
        else:
            self._sender.body_bytes = 0
        try:
            sent_bytes = self._wire.send_now(content)
        except Gone:
            sent_bytes = 0  # `_respond` meets it again, and closes the body
        if sent_bytes < len(content) or not keep_alive or not self._is_sent(request, response):
            return partial(self._respond, request, response, content[sent_bytes:], keep_alive)
        self._answered(request, response)
        return None

    def _is_sent(self, request: Request, response: Response) -> bool:
        """Whether all of the body is out: it was sent with the head, or is a small file and fits behind it."""
        body = response.body
        if not isinstance(body, FileSlice):
            return isinstance(body, bytes)
        if body.size_bytes <= FILE_NOW_SIZE_BYTES_MAX and has_body(response.status, request.method):
            self._sender.send_now(body)
        return self._sender.body_bytes == body.size_bytes

    async def _respond(self, request: Request, response: Response, unsent: bytes, keep_alive: bool) -> bool:
        """Sends the rest, or breaks it off: a reset, and never the end of a body whose middle is missing."""
        body = response.body
        self._responding = True
        try:
            await self._wire.send(unsent)
            if not isinstance(body, bytes) and has_body(response.status, request.method):
                self._patience.work()
                await self._sender.send_body(response, chunked=_size(response) is None and request.version == "1.1")
            self._responding = False
        except Gone:
            raise
        except P2pcdnError as error:
            log.warning("%s %s was broken off: %s", request.method, request.path, error)
            raise Gone from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EIO:
                log.warning("%s %s was broken off: the disk cannot read it.", request.method, request.path)
            else:
                log.exception("%s %s was broken off.", request.method, request.path)
            raise Gone from error
        finally:
            if self._responding:
                self._wire.reset()
            if isinstance(body, AsyncGeneratorType):
                await body.aclose()
            self._answered(request, response)
        self._answering = False
        if not keep_alive:
            await self._wire.finish()
        return keep_alive

    def _answered(self, request: Request, response: Response) -> None:
        _release(response)
        if self._service.on_answer is not None:
            self._service.on_answer(request, response.status, self._sender.body_bytes)

    async def _receive_body(self, request: Request) -> AsyncIterator[bytes]:
        reader = self._reader
        if "expect" in request.headers and not reader.started and not self._responding:
            await self._sender.send(CONTINUE)
        while True:
            for part in reader.take_body():
                yield part
            if reader.body_done:
                return
            self._patience.body()
            content = await self._wire.receive()
            self._patience.work()
            if not content:
                raise Violation(refusals.BODY_CUT)
            reader.receive(content)

    async def refuse(self, refusal: Refusal) -> None:
        """Says no without listening, and closes the stream. Raises nothing but Cancelled."""
        try:
            with trio.move_on_after(REFUSAL_TIME_S):
                await self._refuse(refusal, None)
        except Gone:
            pass
        finally:
            await _close(self._stream)

    async def _time_is_up(self) -> None:
        refusal = {"head": refusals.HEAD_SLOW, "body": refusals.BODY_SLOW}.get(self._patience.awaited)
        if refusal is not None and not self._responding:
            with trio.move_on_after(REFUSAL_TIME_S):
                await self._refuse(refusal, None)

    async def _refuse(self, refusal: Refusal, request: Request | None) -> bool:
        """The one answer to a violation; nothing follows it on this connection."""
        self._answering = True
        if self._service.on_refusal is not None:
            self._service.on_refusal(refusal, self._peer)
        headers = [("content-type", "application/problem+json"), ("cache-control", "no-store")]
        if refusal is refusals.METHOD:
            headers.append(("allow", ", ".join(sorted(self._service.face.methods))))
        asked = request or Request("GET", b"", "", "", {})
        asked.keep_alive = False
        self._patience.work()
        rest = self._begin(asked, Response(refusal.status, headers, problem(refusal)))
        return rest is not None and await rest()


async def _close(stream: trio.abc.Stream) -> None:
    if isinstance(stream, trio.SocketStream):
        stream.socket.close()  # as the stream would, which then lets others have their turn
    else:
        await trio.aclose_forcefully(stream)


async def _end() -> bool:
    return False


def _release(response: Response) -> None:
    if response.release is not None:
        response.release()


def _size(response: Response) -> int | None:
    body = response.body
    if isinstance(body, bytes):
        return len(body)
    return body.size_bytes if isinstance(body, FileSlice) else response.size_bytes
