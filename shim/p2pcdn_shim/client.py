"""How a program asks the node of its user: HTTP/1.1 over the node's unix socket, with little more than `socket`.

The standard library's `http.client` would cost more than all the rest of `zephyr` (docs/decisions/0013). This speaks
what the node's control face answers with: Content-Length, chunked, and JSON line by line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

try:
    import _socket as socket  # all of it that is needed here; `socket` adds selectors and enums, for 4 ms
except ImportError:
    import socket  # type: ignore[no-redef]

from p2pcdn_shim.http_answer import Answer, Broken, Silent, send_question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A node that lives takes a connection at once; a solver or a large download may be silent for some time.
CONNECT_TIME_S = 3.0
ANSWER_TIME_S = 30.0
LONG_ANSWER_TIME_S = 600.0
# The title under which a node says that it ends, for the p2pcdn that it was started from was replaced.
LEAVES = "This node ends"


class NoNode(Exception):
    """No node listens on any socket that it could be on. The message is the sentence for the user."""


class NodeRefused(Exception):
    """The node answered, and said no or broke off; the message is its own sentence.

    status: HTTP's, or 0 where the answer broke off. problem: the whole problem+json object (RFC 9457), maybe empty.
    """

    def __init__(self, sentence: str, *, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.problem = dict(problem or {})


class Client:
    """One running node, asked question by question; each has a connection of its own. Several threads may use it.

    path: its socket. temporary: its store goes when it ends, which is soon. renew: finds another node, where this one
    ends or is gone before it has answered, and gives its socket; None: then that is the answer.
    """

    def __init__(self, path: str, *, temporary: bool = False) -> None:
        self.path = path
        self.temporary = temporary
        self.renew: Callable[[], str] | None = None

    def get(self, target: str, query: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """The JSON object at a target. Raises NoNode and NodeRefused."""
        if query:
            from urllib.parse import urlencode

            target = f"{target}?{urlencode(query)}"
        with self._ask("GET", target, b"", ANSWER_TIME_S) as answer:
            return _object(answer.read())

    def post(self, target: str, question: Mapping[str, Any], *, time_s: float = LONG_ANSWER_TIME_S) -> dict[str, Any]:
        """Asks the node to do something and returns what it says of it. Raises NoNode and NodeRefused."""
        with self._ask("POST", target, json.dumps(question).encode(), time_s) as answer:
            return _object(answer.read())

    def lines(
        self, target: str, question: Mapping[str, Any], *, time_s: float = LONG_ANSWER_TIME_S
    ) -> Iterator[dict[str, Any]]:
        """The JSON objects of a long work, one a line, as they come. Raises NoNode and NodeRefused.

        time_s: the longest silence between two of them. Whoever stops iterating closes the connection.
        """
        for line in self.raw_lines(target, question, time_s=time_s):
            yield _object(line)

    def raw_lines(
        self,
        target: str,
        question: Mapping[str, Any],
        *,
        time_s: float = LONG_ANSWER_TIME_S,
        meanwhile: Callable[[], None] | None = None,
    ) -> Iterator[bytes]:
        """The same as they came: for lines that somebody else reads, and large ones.

        meanwhile: called once when the node has the question.
        """
        with self._ask("POST", target, json.dumps(question).encode(), time_s, meanwhile) as answer:
            yield from answer.lines()

    def download(self, target: str) -> Iterator[bytes]:
        """A body in chunks. Raises NodeRefused where it breaks off: what came so far is not whole."""
        with self._ask("GET", target, b"", LONG_ANSWER_TIME_S) as answer:
            yield from answer.chunks()

    @contextmanager
    def _ask(
        self, method: str, target: str, body: bytes, time_s: float, meanwhile: Callable[[], None] | None = None
    ) -> Iterator[Answer]:
        stream = self._dialled()
        try:
            try:
                answer = _answer(stream, method, target, body, time_s, meanwhile)
            except (NodeRefused, ConnectionResetError, Silent) as error:
                leaves = not isinstance(error, NodeRefused) or error.problem.get("title") == LEAVES
                if self.renew is None or not leaves:
                    raise
                stream.close()
                self.path = self.renew()
                stream = self._dialled()
                answer = _answer(stream, method, target, body, time_s)
            yield answer
        except TimeoutError as error:
            raise NodeRefused(f"The node on {self.path} was silent for {time_s:.0f} s.") from error
        except (OSError, Broken) as error:
            raise NodeRefused(f"The node on {self.path} broke the answer off ({error}).") from error
        finally:
            stream.close()

    def _dialled(self) -> socket.socket:
        try:
            try:
                return dial(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                if self.renew is None:
                    raise
            self.path = self.renew()
            return dial(self.path)
        except OSError as error:
            raise NoNode(f"The node on {self.path} is gone ({error.strerror or error}).") from error


def _answer(
    stream: socket.socket,
    method: str,
    target: str,
    body: bytes,
    time_s: float,
    meanwhile: Callable[[], None] | None = None,
) -> Answer:
    """Raises NodeRefused for what is none, and what the stream does."""
    stream.settimeout(time_s)
    send_question(stream, method, target, body)
    if meanwhile is not None:
        meanwhile()
    answer = Answer(stream)
    if answer.status >= 400:
        raise _refusal(answer)
    return answer


def find(environ: Mapping[str, str] = os.environ) -> Client:
    """The node of this user that runs: where P2PCDN_CONTROL_SOCKET says, else where such a node usually is.

    Raises NoNode.
    """
    tried: list[str] = []
    refused: OSError | None = None
    for path in candidates(environ):
        if path in tried:
            continue
        tried.append(path)
        try:
            dial(path).close()
        except OSError as error:
            if not isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
                refused = refused or error
            continue
        return Client(path)
    where = " or ".join(tried)
    if isinstance(refused, PermissionError):
        raise NoNode(f"You may not use the node on {where}: it belongs to another user.")
    if refused is not None:
        raise NoNode(f"The node on {where} cannot be reached: {refused.strerror or refused}.")
    raise NoNode(f"No node runs on {where}; start one with `p2pcdn serve`.")


def candidates(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The sockets where this user's node may listen, the cheapest to find out first."""
    named = environ.get("P2PCDN_CONTROL_SOCKET", "")
    if named:
        yield named
        return
    from p2pcdn_daemon.configuration import places

    if not environ.get("P2PCDN_STORE"):
        yield str(places.runtime_control_socket(environ))
    # The daemon's own settings, files and all: only reached where the usual socket is silent.
    from p2pcdn_daemon.configuration.config import ConfigError
    from p2pcdn_daemon.configuration.layers import resolve

    try:
        config = resolve({}, environ)
    except ConfigError as error:
        raise NoNode(str(error)) from error
    if config.control_socket is not None:
        yield str(config.control_socket)
    yield str(places.store_control_socket(config.store))


def dial(path: str) -> socket.socket:
    """A connection to the node on this socket. Raises NoNode where another user listens, and OSError."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(CONNECT_TIME_S)
        try:
            stream.connect(path)
        except OSError as error:
            if error.errno is None:  # "AF_UNIX path too long" has no number
                raise NoNode(f"{path} is longer than the path of a unix socket can be.") from error
            raise
        _check_owner(stream, path)
    except BaseException:
        stream.close()
        raise
    return stream


def _check_owner(stream: socket.socket, path: str) -> None:
    """Only our own node and root's may tell us what to install (SO_PEERCRED, unix(7); LOCAL_PEERCRED elsewhere)."""
    if sys.platform != "linux":
        return  # the socket's directory has mode 0700
    # struct ucred: pid, uid and gid, four bytes each.
    uid = int.from_bytes(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
    if uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise NoNode(f"Another user (uid {uid}) listens on {path}; name your own node's in P2PCDN_CONTROL_SOCKET.")


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise NodeRefused("The node's answer is not JSON; does another program listen on that socket?") from error
    if not isinstance(value, dict):
        raise NodeRefused("The node's answer is not a JSON object.")
    return value


def _refusal(answer: Answer) -> NodeRefused:
    """The sentence of a problem+json body, else the status."""
    try:
        problem = json.loads(answer.read())
        sentence = str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return NodeRefused(f"The node answered {answer.status} {answer.reason}.", status=answer.status)
    if answer.status == 404 and sentence.startswith("The node has no "):
        sentence += " It may be older than this command; restart it."
    return NodeRefused(sentence, status=answer.status, problem=problem)
