"""What `zephyr pip` asks of servers by itself: who is trusted, where passwords go, what is tried again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pcdn_shim.zephyr.pip.credentials import Credentials
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.voice import PipVoice, without_passwords
from p2pcdn_shim.zephyr.pip.web import NotThere, Web, _pause_s, is_secure
from tests.shim.pip_site import Site


class _Server:
    """Answers what it is told to; keeps what it was asked: (path, Authorization)."""

    def __init__(self, answers: Mapping[str, tuple[int, str]]) -> None:
        """answers: by path, (status, body; of a redirect the URL)."""
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["Authorization"]))
                status, body = answers[self.path]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _web(*index_urls: str, trusted: Sequence[str] = (), resume_retries: int = 1) -> Web:
    options = SimpleNamespace(
        trusted_hosts=list(trusted), timeout=10, proxy=None, no_proxy_env=True, cert=None, client_cert=None,
        no_input=True, keyring_provider="disabled", retries=1, resume_retries=resume_retries,
    )  # fmt: skip
    voice = PipVoice(-3)
    return Web(options, voice, Credentials(options, None, list(index_urls), voice))  # type: ignore[arg-type]


def test_a_password_stays_on_its_server() -> None:
    with _Server({"/there": (200, "found")}) as other:
        answers = {"/away": (302, f"http://{other.host}/there"), "/near": (302, "/here"), "/here": (200, "here")}
        with _Server(answers) as first:
            web = _web(f"http://user:secret@{first.host}/simple")
            assert web.page(f"http://{first.host}/near").content == b"here"
            assert web.page(f"http://{first.host}/away").content == b"found"
            assert all(login for _, login in first.asked)
            assert other.asked == [("/there", None)]


def test_the_password_of_a_page_counts_for_its_files() -> None:
    with _Server({"/links": (200, "page"), "/file": (200, "file")}) as server:
        web = _web()
        web.page(f"http://user:secret@{server.host}/links")
        web.page(f"http://{server.host}/file")
        assert server.asked[0][1] == server.asked[1][1] is not None


def test_netrc_is_read_and_one_that_is_broken_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    with _Server({"/file": (200, "file")}) as server:
        for text in ("machine 127.0.0.1 login user password word\n", "machine 127.0.0.1 nonsense\n"):
            netrc.write_text(text)
            netrc.chmod(0o600)
            _web().page(f"http://{server.host}/file")
        assert [login is not None for _, login in server.asked] == [True, False]


def test_servers_that_lead_in_circles_are_left() -> None:
    answers: dict[str, tuple[int, str]] = {}
    with _Server(answers) as first, _Server(answers) as second:
        answers.update({"/a": (302, f"http://{second.host}/b"), "/b": (302, f"http://{first.host}/a")})
        with pytest.raises(NotThere, match="too many redirects"):
            _web().page(f"http://{first.host}/a")


@contextmanager
def _answering(*answers: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives each connection one of these, byte for byte; its address, and what it was asked."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for content in answers:
                peer, _ = listener.accept()
                with peer:
                    asked.append(peer.recv(65536).decode())
                    peer.sendall(content)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join(10)


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"


def test_a_server_that_is_busy_is_asked_again_and_not_for_ever(tmp_path: Path) -> None:
    with _answering(BUSY, DONE) as (server, _):
        assert _web().page(f"{server}/").content == b"done"
    with _answering(BUSY, BUSY) as (server, _), pytest.raises(NotThere, match="503"):
        _web().page(f"{server}/")
    with _answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as (server, asked):
        with pytest.raises(NotThere, match="404"):
            _web().page(f"{server}/")
        assert len(asked) == 1


@pytest.mark.parametrize("mark", ['ETag: "one"', "X-No: mark", 'ETag: W/"weak"'])
def test_a_download_that_breaks_off_is_resumed_where_it_is_surely_the_same_file(tmp_path: Path, mark: str) -> None:
    begun = f"HTTP/1.1 200 OK\r\n{mark}\r\nContent-Length: 6\r\n\r\nabc".encode()
    resumed = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef"
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nABCDEF"
    with _answering(begun, resumed if '"one"' in mark else whole) as (server, asked):
        _web().download(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_text() == ("abcdef" if '"one"' in mark else "ABCDEF")
    assert ("range: bytes=3-" in asked[1].lower()) == ('"one"' in mark)
    with _answering(begun, begun) as (server, asked), pytest.raises(PipError, match="3 of 6 bytes came"):
        _web().download(f"{server}/file", tmp_path / "file")


def test_no_part_of_a_download_is_put_where_another_one_belongs(tmp_path: Path) -> None:
    begun = b'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 6\r\n\r\nabc'
    middle = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\nd"
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"
    with _answering(begun, middle, whole) as (server, asked):
        _web(resume_retries=2).download(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "abcdef"
    assert "range:" not in asked[2].lower()  # the part that came has no mark by which the next one could be known
    with (
        _answering(begun, middle.replace(b"3-5", b"0-2")) as (server, _),
        pytest.raises(PipError, match="another part"),
    ):
        _web().download(f"{server}/file", tmp_path / "file")


def test_the_pause_before_another_try_has_an_end() -> None:
    assert [_pause_s(done) for done in (0, 1, 2, 9, 10, 10_000)] == [0.0, 0.5, 1.0, 120.0, 120.0, 120.0]


def test_what_is_no_answer_of_a_web_server_is_told() -> None:
    nonsense = b"this is not http\r\n\r\n"
    with _answering(nonsense, nonsense) as (server, _), pytest.raises(NotThere, match="connection-failed"):
        _web().page(f"{server}/")


def test_only_this_machine_is_this_machine() -> None:
    for url in ("https://example.org/", "http://localhost:1/", "http://127.3.2.1/", "http://[::1]:8/", "file:///x"):
        assert is_secure(url, []), url
    for url in ("http://example.org/", "http://127.example.org/", "http://evil.localhost/", "ftp://example.org/"):
        assert not is_secure(url, []), url
    assert is_secure("http://example.org/", ["example.org"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Collecting a@ https://user:s3:c@ret@host/x.whl", "Collecting a@ https://user:****@host/x.whl"),
        ("see https://token@host/ and git+ssh://git@host/p", "see https://****@host/ and git+ssh://git@host/p"),
        ("git clone -q 'https://u:p@host/p.git'", "git clone -q 'https://u:****@host/p.git'"),
        ("lib @ https://host/p@v1.0 and me@host", "lib @ https://host/p@v1.0 and me@host"),
    ],
)
def test_no_password_is_said(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize("url", ["http://user:s3cret@127.0.0.1:9/lib-1.0.zip", "git+http://user:s3cret@127.0.0.1:9/x"])
def test_no_password_is_in_the_output_nor_in_the_log(site: Site, url: str) -> None:
    run = site.pip("install", "-vvv", "--log", "log", "--retries=0", "--no-index", url, code=1)
    assert "127.0.0.1:9" in run.stdout + run.stderr
    assert "s3cret" not in run.stdout + run.stderr + (site.directory / "log").read_text()
