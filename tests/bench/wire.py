"""A wire between a client and a node: it can be slow, be cut in the middle of a file, and tells what was asked."""

from __future__ import annotations

import contextlib
import fnmatch
import socket
import threading
import time
from dataclasses import dataclass

CHUNK_SIZE_BYTES = 32 * 1024


@dataclass(frozen=True)
class Asked:
    """The head of one request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class Wire:
    """`with Wire() as wire:` listens on `port` and carries every connection to where `lead_to` points."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[Asked] = []
        self.carried_bytes = 0
        self._target: tuple[str, int] | None = None
        self._cut: tuple[str, int] | None = None
        self._bytes_per_s: int | None = None
        self._sockets: set[socket.socket] = set()

    @property
    def host(self) -> str:
        """What a client writes into Host; the node must allow it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut_now()

    def lead_to(self, address: tuple[str, int]) -> None:
        self._target = address

    def cut_once(self, pattern: str, after_bytes: int) -> None:
        """The next answer to a path like `pattern` is cut once that many bytes of it (head included) went through."""
        self._cut = (pattern, after_bytes)

    def slow_down(self, bytes_per_s: int | None) -> None:
        """The rate of each connection towards the client; None for as fast as it goes."""
        self._bytes_per_s = bytes_per_s

    def cut_now(self) -> None:
        """Every connection, without a word."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    # --- within ---

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        assert self._target is not None
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as node:
            self._sockets |= {client, node}
            line = _Line(self, client, node)
            threading.Thread(target=line.carry_requests, daemon=True).start()
            line.carry_answers()
        self._sockets.discard(client)


class _Line:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket, node: socket.socket) -> None:
        self._wire = wire
        self._client = client
        self._node = node
        self._left_bytes: int | None = None

    def carry_requests(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := self._client.recv(CHUNK_SIZE_BYTES):
                self._note(chunk)
                self._node.sendall(chunk)
        with contextlib.suppress(OSError):
            self._node.shutdown(socket.SHUT_WR)

    def carry_answers(self) -> None:
        while chunk := self._node.recv(CHUNK_SIZE_BYTES):
            if self._left_bytes is not None and len(chunk) >= self._left_bytes:
                self._client.sendall(chunk[: self._left_bytes])
                for side in (self._client, self._node):
                    side.shutdown(socket.SHUT_RDWR)
                return
            if self._left_bytes is not None:
                self._left_bytes -= len(chunk)
            self._client.sendall(chunk)
            self._wire.carried_bytes += len(chunk)
            if self._wire._bytes_per_s:
                time.sleep(len(chunk) / self._wire._bytes_per_s)

    def _note(self, chunk: bytes) -> None:
        """The clients here send each head in one piece, and no bodies; what is no HTTP is carried unread."""
        for head in chunk.split(b"\r\n\r\n"):
            lines = head.decode("latin-1").split("\r\n")
            words = lines[0].split(" ")
            if len(words) != 3:
                continue
            pairs = (line.partition(":") for line in lines[1:])
            asked = Asked(words[0], words[1], {name.lower(): value.strip() for name, _, value in pairs})
            self._wire.asked.append(asked)
            if self._wire._cut and fnmatch.fnmatch(asked.path, self._wire._cut[0]):
                self._left_bytes = self._wire._cut[1]
                self._wire._cut = None
