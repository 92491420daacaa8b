"""A client of a node, as pip is one: it asks its own machine for a page or a file, and believes only whole answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httptools
import trio

RECEIVE_SIZE_BYTES = 65536


@dataclass(slots=True)
class Answer:
    """status 0: there was no answer at all. whole: it came to its end as HTTP counts ends."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False


async def get(
    host: str, port: int, path: str, headers: Mapping[str, str] | None = None, *, silence_s: float = float("inf")
) -> Answer:
    """One request on a connection of its own; given up when nothing comes for `silence_s`.

    Never raises for what the network or the node does.
    """
    answer = _Reading()
    connection = trio.socket.socket()
    try:
        await connection.connect((host, port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{lines}\r\n"
        await connection.send(head.encode())  # a simulated socket takes all of it
        with trio.CancelScope() as silence:
            while not answer.answer.whole:
                silence.deadline = trio.current_time() + silence_s
                content = await connection.recv(RECEIVE_SIZE_BYTES)
                if not content:
                    break
                answer.parser.feed_data(content)
    except (OSError, httptools.HttpParserError):
        pass
    finally:
        connection.close()
    return answer.finished()


class _Reading:
    """What httptools calls while an answer comes in."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.answer.status = self.parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self.answer.whole = True

    def finished(self) -> Answer:
        self.answer.body = b"".join(self._parts)
        return self.answer
