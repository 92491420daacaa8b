"""One connection: requests in, answers out, in their order, until one side has had enough."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

import trio

from p2pcdn.errors import LocalProtocolError, P2pcdnError
from p2pcdn.http1 import refusals
from p2pcdn.http1.messages import FileSlice, Handler, OnAnswer, Request, Response
from p2pcdn.http1.parse import Reader
from p2pcdn.http1.patience import Patience
from p2pcdn.http1.peers import peer_of
from p2pcdn.http1.refusals import Face, Refusal, Violation, problem
from p2pcdn.http1.wire import Gone, open_wire
from p2pcdn.http1.write import CONTINUE, LAST_CHUNK, HeadWriter, has_body

log = logging.getLogger(__name__)

# The client of a refusal may be slow to take it; we have told it what we had to say.
REFUSAL_TIME_S = 2.0


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one face share."""

    handler: Handler
    face: Face
    on_answer: OnAnswer | None = None
    on_refusal: Callable[[Refusal, str], None] | None = None
    heads: HeadWriter = field(default_factory=HeadWriter)


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
        self._reader = Reader(service.face, peer, uid)
        self._ending = False
        self._answering = False
        self._responding = False
        self._sent_bytes = 0

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
            await trio.aclose_forcefully(self._stream)

    async def _converse(self) -> None:
        while True:
            request = await self._next_request()
            if request is None:
                return None
            if isinstance(request, Request):
                if not await self._answer(request):
                    return None
            elif isinstance(request, Refusal):
                return await self._refuse(request, None)
            else:
                return await self._refuse(*request)

    async def _next_request(self) -> Request | Refusal | tuple[Refusal, Request] | None:
        reader, patience = self._reader, self._patience
        while (request := reader.next_request()) is None:
            patience.head() if reader.started else patience.idle()
            content = await self._wire.receive()
            if not content:
                return None
            reader.receive(content)
        patience.awaited = "face"
        return request

    async def _answer(self, request: Request) -> bool:
        """Answers one request; whether another may follow on this connection."""
        self._answering = True
        if not self._reader.body_done:
            request.body = self._receive_body(request)
        try:
            response = self._service.handler(request)
            if not isinstance(response, Response):
                self._patience.work()
                response = await response
            keep_alive = request.keep_alive and not self._ending and self._reader.body_done
            size_bytes = _size(response)
            if size_bytes is None and request.version == "1.0":
                keep_alive = False
            head = self._service.heads.head(request, response, size_bytes, keep_alive)
        except Violation as violation:
            await self._refuse(violation.refusal, request)
            return False
        except Exception:
            log.exception("%s %s failed.", request.method, request.path)
            await self._refuse(refusals.FAILED, request)
            return False
        await self._respond(head, request, response)
        self._answering = False
        if not keep_alive:
            await self._wire.finish()
        return keep_alive

    async def _respond(self, head: bytes, request: Request, response: Response) -> None:
        """Sends it, or breaks it off: a reset, and never the end of a body whose middle is missing."""
        body = response.body
        self._sent_bytes = 0
        self._responding = True
        try:
            if not has_body(response.status, request.method):
                await self._send(head)
            elif isinstance(body, bytes):
                await self._send(head + body)
                self._sent_bytes = len(body)
            else:
                await self._send(head)
                self._patience.work()
                await self._send_long(request, response)
            self._responding = False
        except (Gone, trio.Cancelled):
            raise
        except P2pcdnError as error:
            log.warning("%s %s was broken off: %s", request.method, request.path, error)
            raise Gone from error
        except Exception as error:
            log.exception("%s %s was broken off.", request.method, request.path)
            raise Gone from error
        finally:
            if self._responding:
                self._wire.reset()
            if isinstance(body, AsyncGenerator):
                await body.aclose()
            if response.release is not None:
                response.release()
            if self._service.on_answer is not None:
                self._service.on_answer(request, response.status, self._sent_bytes)

    async def _send(self, content: bytes) -> None:
        sent_bytes = self._wire.send_now(content)
        if sent_bytes < len(content):
            await self._wire.send(memoryview(content)[sent_bytes:])

    async def _send_part(self, part: bytes | FileSlice) -> None:
        if isinstance(part, bytes):
            await self._send(part)
            self._sent_bytes += len(part)
        else:
            await self._wire.send_file(part)
            self._sent_bytes += part.size_bytes

    async def _send_long(self, request: Request, response: Response) -> None:
        body = response.body
        if isinstance(body, FileSlice | bytes):
            await self._send_part(body)
            return
        chunked = response.size_bytes is None and request.version == "1.1"
        async for part in body:
            part_bytes = len(part) if isinstance(part, bytes) else part.size_bytes
            if not part_bytes:
                continue
            if response.size_bytes is not None and self._sent_bytes + part_bytes > response.size_bytes:
                raise LocalProtocolError("The body is larger than it was said to be.")
            if chunked:
                await self._send(b"%x\r\n" % part_bytes)
            await self._send_part(part)
            if chunked:
                await self._send(b"\r\n")
        if chunked:
            await self._send(LAST_CHUNK)
        elif response.size_bytes is not None and self._sent_bytes < response.size_bytes:
            raise LocalProtocolError("The body is smaller than it was said to be.")

    async def _receive_body(self, request: Request) -> AsyncIterator[bytes]:
        reader = self._reader
        if "expect" in request.headers and not reader.started and not self._responding:
            await self._send(CONTINUE)
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
            await trio.aclose_forcefully(self._stream)

    async def _time_is_up(self) -> None:
        refusal = {"head": refusals.HEAD_SLOW, "body": refusals.BODY_SLOW}.get(self._patience.awaited)
        if refusal is not None and not self._responding:
            with trio.move_on_after(REFUSAL_TIME_S):
                await self._refuse(refusal, None)

    async def _refuse(self, refusal: Refusal, request: Request | None) -> None:
        """The one answer to a violation; nothing follows it on this connection."""
        self._answering = True
        if self._service.on_refusal is not None:
            self._service.on_refusal(refusal, self._peer)
        headers = [("content-type", "application/problem+json"), ("cache-control", "no-store")]
        if refusal is refusals.METHOD:
            headers.append(("allow", ", ".join(sorted(self._service.face.methods))))
        response = Response(refusal.status, headers, problem(refusal))
        asked = request or Request("GET", b"", "", "", {})
        head = self._service.heads.head(asked, response, _size(response), keep_alive=False)
        self._patience.work()
        await self._respond(head, asked, response)
        await self._wire.finish()


def _size(response: Response) -> int | None:
    body = response.body
    if isinstance(body, bytes):
        return len(body)
    return body.size_bytes if isinstance(body, FileSlice) else response.size_bytes
