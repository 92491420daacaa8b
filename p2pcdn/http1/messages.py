"""What a face gets and gives: Request, Response, FileSlice; and the limits it is held to.

A face is a plain function from Request to Response. One that has to wait returns an awaitable of a Response instead;
one that does not is answered without a task switch, which is the fast path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from p2pcdn.world import DiskFile


class _NoBody:
    """The body of a request that has none. It keeps no state, so all such requests share one."""

    def __aiter__(self) -> _NoBody:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


NO_BODY: AsyncIterator[bytes] = _NoBody()


@dataclass(slots=True)
class Request:
    """One request that passed the table of refusals.

    method: "HEAD" stays "HEAD"; answer it like GET, the server drops the body. (A look costs nothing to fetch.)
    target: as it came. path: of the target, not percent-decoded. query: after the first "?", without it.
    headers: names in lower case, values as latin-1, repeated ones joined with ", ".
    body: raises RemoteProtocolError when the client breaks off or sends too much.
    body_size_bytes: what Content-Length says, None where the body is chunked.
    peer: "127.0.0.1:4711", "[::1]:4711" or "unix:uid=1000". peer_uid: the caller of a unix socket (SO_PEERCRED).
    connection: what the face wants to remember of the connection; the same one for all its requests, gone with it.
    """

    method: str
    target: bytes
    path: str
    query: str
    headers: Mapping[str, str]
    body: AsyncIterator[bytes] = field(default=NO_BODY, repr=False)
    peer: str = ""
    peer_uid: int | None = None
    version: str = "1.1"
    keep_alive: bool = True
    body_size_bytes: int | None = 0
    connection: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class FileSlice:
    """Bytes [offset, offset + size_bytes) of an open file; sendfile sends them where both ends are real."""

    file: DiskFile
    offset: int
    size_bytes: int


class Growing:
    """A body that comes from elsewhere. The server sets `push`; whoever has the next bytes calls it with them.

    push: sends at once what the wire takes, without a switch of tasks, and says how many bytes that was. What it does
    not take is iterated.
    """

    def __init__(self) -> None:
        self.push: Callable[[memoryview], int] = lambda content: 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | FileSlice:
        raise NotImplementedError


Body = bytes | FileSlice | Growing | AsyncIterator[bytes | FileSlice]


@dataclass(slots=True)
class Response:
    """What is sent back. One whose body is bytes may be given again and again.

    headers: without Date, Connection, Content-Length and Transfer-Encoding, which the server writes.
    body: an asynchronous iterator that raises breaks the response off; it is never completed.
    size_bytes: the size of an iterator's body, if it is known; chunked otherwise.
    release: called once when the response was sent or broken off.
    head_lines: headers that are encoded already (see `encode_headers`), sent after `headers`.
    """

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: Body = b""
    size_bytes: int | None = None
    release: Callable[[], None] | None = None
    head_lines: bytes = b""


Handler = Callable[[Request], Response | Awaitable[Response]]
OnAnswer = Callable[[Request, int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger may cost us. Sizes in bytes, times in seconds."""

    # pip sends 1 KiB of User-Agent, a browser 4 KiB of cookies; nothing honest comes near this.
    head_size_bytes_max: int = 16 * 1024
    headers_max: int = 100
    # From the first byte of a head to its last. A head is one packet.
    head_time_s: float = 10.0
    # pip and uv come back to their connection after building or unpacking something.
    idle_time_s: float = 75.0
    # Nothing at all could be sent, or nothing of a body came.
    write_time_s: float = 60.0
    body_time_s: float = 60.0
    # uv opens 50 connections, a classroom is 30 machines at the peer face. Two descriptors each.
    connections_max: int = 512
    # Of one host, where strangers may come: it must leave room for the others. None: as many as there are.
    connections_per_host_max: int | None = None
    # Exported stores come in by the control face.
    body_size_bytes_max: int = 1 << 40
    # After `stop`: what runs may end within this time.
    grace_time_s: float = 4.0
