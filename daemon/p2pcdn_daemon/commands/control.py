"""How a command talks to the node that runs: HTTP/1.1 over its unix socket, with the standard library only."""

from __future__ import annotations

import json
import os
import shlex
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import Config

# A node that lives answers at once; a scrub or an export is silent for as long as its largest blob takes to read.
CONNECT_TIME_S = 3.0
ANSWER_TIME_S = 30.0
LONG_ANSWER_TIME_S = 600.0
CHUNK_SIZE_BYTES = 256 * 1024
# The status of a thousand peers has some 300 KB, the list of 100,000 blobs some 40 MB.
ANSWER_SIZE_BYTES_MAX = 256 * 1024 * 1024


class NoNode(Exception):
    """No node listens on any socket that it could be on. The message is the sentence for the user."""


class NodeRefused(Exception):
    """The node answered, and said no or broke off. The message is its own sentence."""


class Control:
    """One running node, asked question by question; each has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, target: str, query: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """The JSON object at a target. Raises NoNode and NodeRefused."""
        with self._exchange("GET", _with_query(target, query), None, {}, ANSWER_TIME_S) as answer:
            return _json(answer.read(ANSWER_SIZE_BYTES_MAX))

    def post(self, target: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """Asks the node to change something and returns what it says of it. Raises NoNode and NodeRefused."""
        body = json.dumps(question).encode()
        with self._exchange("POST", target, body, _JSON_BODY, LONG_ANSWER_TIME_S) as answer:
            return _json(answer.read(ANSWER_SIZE_BYTES_MAX))

    def lines(self, target: str, question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The JSON objects of a long work, line by line as they come. Raises NoNode and NodeRefused."""
        body = json.dumps(question).encode()
        with self._exchange("POST", target, body, _JSON_BODY, LONG_ANSWER_TIME_S) as answer:
            while line := answer.readline(ANSWER_SIZE_BYTES_MAX):
                if line.strip():
                    yield _json(line)

    def download(self, target: str, query: Sequence[tuple[str, str]] = ()) -> Iterator[bytes]:
        """A body in chunks. Raises NodeRefused where it breaks off: what came so far is not whole."""
        with self._exchange("GET", _with_query(target, query), None, {}, LONG_ANSWER_TIME_S) as answer:
            while chunk := answer.read(CHUNK_SIZE_BYTES):
                yield chunk

    def upload(self, target: str, chunks: Iterator[bytes], size_bytes: int) -> dict[str, Any]:
        """Sends a body of known size and returns the answer. Raises NoNode and NodeRefused."""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size_bytes)}
        with self._exchange("POST", target, chunks, headers, LONG_ANSWER_TIME_S) as answer:
            return _json(answer.read(ANSWER_SIZE_BYTES_MAX))

    @contextmanager
    def _exchange(
        self, method: str, target: str, body: Any, headers: Mapping[str, str], time_s: float
    ) -> Iterator[HTTPResponse]:
        connection = _UnixConnection(self.path, time_s)
        try:
            # A node that stops reading has often said why before.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers={"Host": "p2pcdn", **headers})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise NodeRefused(_reason(answer))
            yield answer
        except TimeoutError as error:
            raise NodeRefused(f"The node on {self.path} did not answer within {time_s:.0f} s.") from error
        except (HTTPException, OSError) as error:
            what = "it ended early" if isinstance(error, IncompleteRead) else str(error) or type(error).__name__
            raise NodeRefused(f"The node on {self.path} broke the answer off ({what}).") from error
        finally:
            connection.close()


_JSON_BODY = {"Content-Type": "application/json"}


def connect(config: Config) -> Control:
    """The node that these settings mean: the socket that was named, else the store's, else the user's usual one.

    Raises NoNode.
    """
    tried = candidates(config)
    refused: OSError | None = None
    for path in tried:
        try:
            _dial(path, CONNECT_TIME_S).close()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            continue
        except OSError as error:
            refused = refused or error
            continue
        return Control(path)
    where = " or ".join(str(path) for path in tried)
    if isinstance(refused, PermissionError):
        raise NoNode(f"You may not use the node on {where}: it belongs to another user.")
    if refused is not None:
        raise NoNode(f"The node on {where} cannot be reached: {refused.strerror or refused}.")
    store = "" if config.source("store") == "default" else f" --store {shlex.quote(str(config.store))}"
    raise NoNode(f"No node runs on {where}; start one with `p2pcdn serve{store}`.")


def candidates(config: Config) -> list[Path]:
    """The sockets where the node of these settings may listen, in the order in which they are tried."""
    if config.control_socket is not None:
        return [config.control_socket]
    of_store = places.store_control_socket(config.store)
    if config.source("store") != "default":
        return [of_store]
    return [places.runtime_control_socket(), of_store]


def _dial(path: Path, time_s: float) -> socket.socket:
    if not places.fits_socket(path):
        raise NoNode(
            f"The path of the control socket, {path}, is longer than the {places.SOCKET_PATH_BYTES_MAX} bytes that a "
            "unix socket can have; name a shorter one with --control-socket."
        )
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(time_s)
        stream.connect(str(path))
        _check_owner(stream, path)
    except BaseException:
        stream.close()
        raise
    return stream


def _check_owner(stream: socket.socket, path: Path) -> None:
    """Only our own node and root's may tell us where packages come from (SO_PEERCRED, unix(7))."""
    _, uid, _ = struct.unpack("iII", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
    if uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise NoNode(f"Another user (uid {uid}) listens on {path}; name your own node's socket with --control-socket.")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, time_s: float) -> None:
        super().__init__("p2pcdn", timeout=time_s)
        self._path = path
        self._time_s = time_s

    def connect(self) -> None:
        self.sock = _dial(self._path, CONNECT_TIME_S)
        self.sock.settimeout(self._time_s)


def _with_query(target: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{target}?{urlencode(query)}" if query else target


def _json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise NodeRefused("The node's answer is not JSON; does another program listen on that socket?") from error
    if not isinstance(value, dict):
        raise NodeRefused("The node's answer is not a JSON object.")
    return cast(dict[str, Any], value)


def _reason(answer: HTTPResponse) -> str:
    """The sentence of a problem+json body (RFC 9457), else the status."""
    body = answer.read(CHUNK_SIZE_BYTES)
    try:
        problem = json.loads(body)
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"The node answered {answer.status} {answer.reason}."
