"""The client of the control socket, against a small server that says what a node may say."""

from __future__ import annotations

import os
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pcdn_daemon.commands import control
from p2pcdn_daemon.commands.control import Control, NodeRefused, NoNode
from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.layers import resolve


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[Path, list[bytes]]]:
    """A unix socket that reads one request, gives these bytes and closes."""
    requests: list[bytes] = []

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            length = next((int(row.split(b":")[1]) for row in head.lower().split(b"\r\n") if b"length" in row), 0)
            requests.append(head + self.rfile.read(length))
            self.wfile.write(answer)

    with tempfile.TemporaryDirectory(prefix="p2") as directory:
        path = Path(directory) / "c"
        with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            yield path, requests
            server.shutdown()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_question_and_its_answer() -> None:
    with answering(answer(b'{"freed_bytes": 1}')) as (path, requests):
        assert Control(path).post("/v1/gc", {"to_bytes": 5}) == {"freed_bytes": 1}
    assert requests[0].startswith(b"POST /v1/gc HTTP/1.1\r\n")
    assert requests[0].endswith(b'{"to_bytes": 5}')


def test_lines_come_one_by_one() -> None:
    body = b'{"checked": 1}\n\n{"checked": 2}\n'
    with answering(answer(body)) as (path, _):
        assert list(Control(path).lines("/v1/verify", {})) == [{"checked": 1}, {"checked": 2}]


def test_the_nodes_own_sentence_is_told() -> None:
    problem = b'{"title": "Refused", "detail": "The store holds no file of numpy."}'
    with answering(answer(problem, "404 Not Found")) as (path, _), pytest.raises(NodeRefused, match="no file of numpy"):
        Control(path).post("/v1/pin", {})


@pytest.mark.parametrize(
    "said", [b"", b"nonsense\r\n\r\n", answer(b"[1]"), answer(b"{"), answer(b"<html>", "500 Oops"), answer(b"{}")[:-1]]
)
def test_garbage_is_a_sentence(said: bytes) -> None:
    with answering(said) as (path, _), pytest.raises(NodeRefused) as refusal:
        Control(path).get("/v1/status")
    assert str(refusal.value).endswith((".", "?"))


def test_a_download_that_breaks_off_is_no_download() -> None:
    cut = answer(b"3\r\nabc\r\n5\r\nab", Transfer_Encoding="chunked")
    with answering(cut) as (path, _), pytest.raises(NodeRefused, match=r"broke the answer off \(it ended early\)\."):
        list(Control(path).download("/v1/export"))


def test_an_upload_has_a_length_and_is_streamed() -> None:
    with answering(answer(b'{"blobs": 1}')) as (path, requests):
        assert Control(path).upload("/v1/import", iter([b"abc", b"de"]), 5) == {"blobs": 1}
    assert requests[0].endswith(b"\r\n\r\nabcde")


def test_no_node_is_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match=r"No node runs on .*/c; start one with `p2pcdn serve`\."):
        control.connect(resolve({"control-socket": f"{tmp_path}/c"}, {"P2PCDN_CONFIG": os.devnull}))


def test_a_socket_path_that_is_too_long_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match="longer than the 107 bytes"):
        control.connect(resolve({"control-socket": f"{tmp_path}/{'x' * 120}"}, {"P2PCDN_CONFIG": os.devnull}))


def test_a_store_in_a_deep_directory_has_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    assert not places.fits_socket(deep / "control.sock")
    assert places.fits_socket(places.store_control_socket(deep))
    assert places.store_control_socket(deep) != places.store_control_socket(deep / "y")


def test_who_names_a_store_means_the_node_of_that_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/user/7")
    usual = resolve({}, {"P2PCDN_CONFIG": os.devnull})
    assert control.candidates(usual)[0] == Path("/run/user/7/control.sock")
    named = resolve({"store": "/srv/s"}, {"P2PCDN_CONFIG": os.devnull})
    assert control.candidates(named) == [Path("/srv/s/control.sock")]


def test_steps_of_a_job_without_a_session_meet_at_one_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    usual = tmp_path / "p2pcdn-4711" / "control.sock"
    assert places.runtime_control_socket() == usual
    assert control.candidates(resolve({}, {"P2PCDN_CONFIG": os.devnull}))[0] == usual
