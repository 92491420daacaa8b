"""The client over the control socket: against a real node, and against what a broken one might say."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn_shim import http_answer as under_test
from p2pcdn_shim.client import Client, NodeRefused, NoNode, candidates, find
from tests.bench.node import RunningNode


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    directory = tmp_path_factory.mktemp("node")
    (directory / "wheels").mkdir()
    with RunningNode(directory, upstreams=[str(directory / "wheels")]) as running:
        yield running


@contextmanager
def answering(*pieces: bytes) -> Iterator[Client]:
    """A program on a unix socket that reads one question and says these pieces, each in a packet of its own."""
    with tempfile.TemporaryDirectory(prefix="z") as directory, closing(socket.socket(socket.AF_UNIX)) as listener:
        path = f"{directory}/s"
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            stream, _ = listener.accept()
            with closing(stream), suppress(OSError):  # who asked may have gone
                question = b""
                while b"\r\n\r\n" not in question:
                    question += stream.recv(65536)
                for piece in pieces:
                    stream.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield Client(path)
        finally:
            thread.join()


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


def test_a_node_answers_what_it_is_asked(node: RunningNode) -> None:
    asked = Client(str(node.control_socket))
    assert asked.get("/v1/status")["index_url"] == node.index_url
    assert asked.get("/v1/blobs", [("a", "b c")]) == {"blobs": []}
    assert asked.post("/v1/gc", {"to_bytes": None})["blobs"] == 0


def test_a_long_work_answers_line_by_line(node: RunningNode) -> None:
    lines = list(Client(str(node.control_socket)).lines("/v1/verify", {}))
    assert lines[-1] == {"checked": 0, "rotten": [], "rotten_trees": [], "refetchable": True}


def test_a_refusal_is_the_nodes_own_sentence(node: RunningNode) -> None:
    asked = Client(str(node.control_socket))
    with pytest.raises(
        NodeRefused, match=r"no GET /v1/nowhere\. It may be older than this command; restart it\."
    ) as caught:
        asked.get("/v1/nowhere")
    assert caught.value.status == 404
    assert caught.value.problem["title"] == "Not found"
    with pytest.raises(NodeRefused, match="to_bytes is a number of bytes"):
        asked.post("/v1/gc", {"to_bytes": "many"})
    with pytest.raises(NodeRefused, match="holds no file of torch"):
        list(asked.lines("/v1/pin", {"projects": ["torch"]}))


def test_a_download_comes_in_chunks(node: RunningNode) -> None:
    content = b"".join(Client(str(node.control_socket)).download("/metrics"))
    assert b"p2pcdn_" in content


def test_the_node_is_found_where_the_variable_says(node: RunningNode) -> None:
    assert find({"P2PCDN_CONTROL_SOCKET": str(node.control_socket)}).path == str(node.control_socket)
    # Its store has a socket of its own, unless one was named: then there is that one and no other.
    with pytest.raises(NoNode, match="No node runs on"):
        find({"P2PCDN_STORE": str(node.store), "HOME": str(node.directory), "P2PCDN_CONFIG": os.devnull})


def test_the_usual_places_are_tried_the_cheapest_first(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path / "run"), "P2PCDN_CONFIG": os.devnull}
    first, last = candidates(environ)
    assert first == str(tmp_path / "run" / "control.sock")
    assert Path(last).name.endswith(".sock")
    (named,) = candidates({**environ, "P2PCDN_CONTROL_SOCKET": "/x"})
    assert named == "/x"
    file = tmp_path / "config.toml"
    file.write_text('control-socket = "/named/in/the/file"\n')
    assert "/named/in/the/file" in list(candidates({**environ, "P2PCDN_CONFIG": str(file)}))
    file.write_text("port = 'x'\n")
    with pytest.raises(NoNode, match="is not a port"):
        list(candidates({**environ, "P2PCDN_CONFIG": str(file)}))


def test_without_a_node_a_sentence_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match=r"No node runs on /nowhere/c; start one with `p2pcdn serve`\."):
        find({"P2PCDN_CONTROL_SOCKET": "/nowhere/c"})
    with pytest.raises(NoNode, match="longer than the path of a unix socket"):
        find({"P2PCDN_CONTROL_SOCKET": "/" + "x" * 200})
    with pytest.raises(NoNode, match="is gone"):
        Client("/nowhere/c").get("/v1/status")


def test_a_socket_that_nobody_listens_on_is_no_node(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="z") as directory, closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(f"{directory}/s")
        with pytest.raises(NoNode, match="No node runs on"):
            find({"P2PCDN_CONTROL_SOCKET": f"{directory}/s"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_the_node_of_another_user_is_not_believed() -> None:
    with tempfile.TemporaryDirectory(prefix="z") as directory:
        Path(directory).chmod(0o777)
        path = f"{directory}/s"

        def ask(words: str) -> bool:
            with pytest.raises((NoNode, NodeRefused), match=words):
                Client(path).get("/v1/status")
            return True

        with listening_as(65_533, path):
            assert as_user(65_534, lambda: ask("Another user .* listens on"))
            assert as_user(65_533, lambda: ask("broke the answer off"))
            assert as_user(0, lambda: ask("broke the answer off"))  # root may ask anybody's


def as_user(uid: int, work: Callable[[], bool]) -> bool:
    """What a function says in a process of that user."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setuid(uid)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@contextmanager
def listening_as(uid: int, path: str) -> Iterator[None]:
    """A program of that user, which takes connections and says nothing."""
    ready, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(uid)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            Path(path).chmod(0o777)
            listener.listen()
            os.write(theirs, b".")
            while True:
                listener.accept()[0].close()
        finally:
            os._exit(1)
    os.close(theirs)
    try:
        assert os.read(ready, 1) == b"."
        yield
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"",), "it said nothing"),
        ((b"SSH-2.0-OpenSSH\r\n",), "it is not HTTP"),
        ((b"HTTP/1.1 2xx\r\n\r\n",), "it is not HTTP"),
        ((b"HTTP/1.1 200 OK\r\nContent",), "ended early"),
        ((head("Content-Length: 10"), b"{}"), "it ended early"),
        ((head("Content-Length: -1"), b"{}"), "is no length"),
        ((head("Content-Length: ten"), b"{}"), "is no length"),
        ((head("Transfer-Encoding: chunked"), b"2\r\n{}\r\n"), "said nothing"),
        ((head("Transfer-Encoding: chunked"), b"zz\r\n"), "is no length"),
        ((head("Transfer-Encoding: chunked"), b"1\r\n{}\r\n"), "longer than it said"),
        ((b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,), "head is too large"),
    ],
)  # fmt: skip
def test_an_answer_that_is_broken_off_is_told(pieces: tuple[bytes, ...], words: str) -> None:
    with answering(*pieces) as broken, pytest.raises(NodeRefused, match=words):
        broken.get("/v1/status")


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"1"])
def test_an_answer_that_is_no_object_is_told(body: bytes) -> None:
    with answering(head(f"Content-Length: {len(body)}"), body) as odd, pytest.raises(NodeRefused, match="JSON"):
        odd.get("/v1/status")


def test_a_refusal_without_a_sentence_is_its_status() -> None:
    with answering(head("Content-Length: 4", status="503 Service Unavailable"), b"oops") as unwell:
        with pytest.raises(NodeRefused, match=r"The node answered 503 Service Unavailable\.") as caught:
            unwell.get("/v1/status")
        assert caught.value.status == 503


def test_a_silent_node_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="z") as directory, closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(f"{directory}/s")
        listener.listen()
        with pytest.raises(NodeRefused, match="was silent for 0 s"):
            Client(f"{directory}/s").post("/v1/gc", {}, time_s=0.05)


def test_a_body_that_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "ANSWER_SIZE_BYTES_MAX", 10)
    monkeypatch.setattr(under_test, "LINE_SIZE_BYTES_MAX", 10)
    content = json.dumps({"a": "b" * 20}).encode()
    with answering(head(), content) as large, pytest.raises(NodeRefused, match="larger than 10 bytes"):
        large.get("/v1/status")
    with answering(head(), content) as large, pytest.raises(NodeRefused, match="a line is longer than 10 bytes"):
        list(large.lines("/v1/verify", {}))


values = st.dictionaries(st.text(max_size=3), st.text(max_size=8) | st.integers(), max_size=3)


@given(st.lists(values, max_size=6), st.data())
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
def test_lines_come_whole_however_they_are_cut(lines: list[dict[str, object]], data: st.DataObject) -> None:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if data.draw(st.booleans()):
        content = content.rstrip(b"\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    parts = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part]
    with answering(head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n") as client:
        assert list(client.lines("/v1/x", {})) == lines


def test_who_stops_listening_closes_the_connection() -> None:
    line = b'{"checked": 1}\n'
    with answering(head(), line, line) as client:
        stream = client.lines("/v1/verify", {})
        assert next(stream) == {"checked": 1}
        stream.close()
