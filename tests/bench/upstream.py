"""An upstream index on real loopback sockets that counts what it was asked and can go wrong in every way we know.

It shares no line with the product, so that a mistake cannot stand on both sides of the wire.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import html
import itertools
import json
import re
import socket
import struct
import threading
import urllib.parse
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from tests.bench.wheels import Distribution

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"
Host = Literal["index", "files"]

SEND_SIZE_BYTES = 64 * 1024
# A hanging answer ends when the upstream stops; this bounds it where a test forgets to.
HANG_TIME_S_MAX = 300.0
# What a test holds back goes then all the same; a node gives up an upstream that is silent for 30 s.
HELD_TIME_S_MAX = 25.0
UPLOAD_TIME = "2024-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Style:
    """What kind of index it is. The default is like PyPI; `PYTORCH`, `OLD_HTML` and `PLAIN` are others that exist.

    root: path of the Simple API. other_host: files come from a second port. escaped: "+" as %2B in URLs.
    """

    json: bool = True
    html: bool = True
    hashes: bool = True
    relative_urls: bool = False
    other_host: bool = True
    escaped: bool = False
    core_metadata: bool = True
    sizes: bool = True
    upload_times: bool = True
    etags: bool = True
    last_modified: bool = False
    cache_control: str | None = "max-age=600, public"
    ranges: bool = True
    root: str = "/simple/"
    credentials: tuple[str, str] | None = None


PYTORCH = Style(
    json=False, hashes=False, escaped=True, core_metadata=False, etags=False, cache_control=None, root="/whl/cpu/"
)
OLD_HTML = Style(json=False, relative_urls=True, other_host=False, core_metadata=False, cache_control=None)
PLAIN = Style(
    json=False, hashes=False, relative_urls=True, other_host=False, core_metadata=False, etags=False, cache_control=None
)


@dataclass(frozen=True)
class Fault:
    """The root of what can go wrong with one answer."""


@dataclass(frozen=True)
class Status(Fault):
    """Only a status."""

    code: int
    retry_after_s: int | None = None


@dataclass(frozen=True)
class WrongBytes(Fault):
    """The right length, one byte in the middle turned over."""


@dataclass(frozen=True)
class ShortBody(Fault):
    """A complete answer of only `size_bytes`, with a Content-Length that agrees with it."""

    size_bytes: int


@dataclass(frozen=True)
class Cut(Fault):
    """The right Content-Length, and the connection closed after `at_bytes` of the body; `reset` sends RST."""

    at_bytes: int
    reset: bool = False


@dataclass(frozen=True)
class Hang(Fault):
    """Silence: before the head (None), or after `at_bytes` of the body."""

    at_bytes: int | None = None


@dataclass(frozen=True)
class Held(Fault):
    """The right answer, once the test lets it go, and at the latest after HELD_TIME_S_MAX."""

    go: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Slow(Fault):
    """The right answer at this rate."""

    bytes_per_s: int


@dataclass(frozen=True)
class Garbage(Fault):
    """200 with bytes that are no page."""

    content: bytes = b"<html><body>\x00\xff <a href='http://[::bad'>\x01</a> <a href=>x</a> {{{ not a page"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Endless(Fault):
    """A body that does not end: chunked, or with the Content-Length that it claims."""

    claimed_bytes: int | None = None
    content_type: str | None = None


@dataclass(frozen=True)
class GzipBomb(Fault):
    """A page whose coding unpacks a thousandfold."""

    unpacked_bytes: int = 2_000_000_000


@dataclass(frozen=True)
class Redirect(Fault):
    """To any address; {path} stands for the path that was asked."""

    location: str
    code: int = 302


@dataclass
class Seen:
    """One request and how it is answered so far. Header names are in lower case.

    client: its address. port: that of its connection, the same for all questions on one.
    status: 0 as long as no head went out.
    body_bytes: what went out; it grows while the answer runs.
    """

    host: Host
    method: str
    path: str
    range: str | None
    headers: dict[str, str] = field(repr=False)
    client: str = ""
    port: int = 0
    status: int = 0
    body_bytes: int = 0


@dataclass
class _Rule:
    pattern: str
    fault: Fault
    times: int | None
    host: Host | None


@dataclass(frozen=True)
class _Answer:
    """What to send. `whole` is the body before ranges and faults."""

    status: int
    headers: tuple[tuple[str, str], ...]
    whole: bytes = b""


class FaultyUpstream:
    """`with FaultyUpstream(files) as upstream:` serves them until the block ends. Any thread may call its methods."""

    def __init__(
        self,
        files: Sequence[Distribution] = (),
        style: Style | None = None,
        *,
        address: str = "127.0.0.1",
        send_buffer_bytes: int | None = None,
    ) -> None:
        """send_buffer_bytes: what the kernel may take ahead of the wire; `Seen.body_bytes` is as exact."""
        self.style = style or Style()
        self.address = address
        self.send_buffer_bytes = send_buffer_bytes
        self._files: dict[str, Distribution] = {}
        self._rules: list[_Rule] = []
        self._seen: list[Seen] = []
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._servers: dict[Host, _Server] = {}
        self._ports: dict[Host, int] = {"index": 0, "files": 0}
        self.changed_at_s = 1_704_067_200.0
        for distribution in files:
            self.add(distribution)

    def __enter__(self) -> FaultyUpstream:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- life ---

    def start(self) -> None:
        """Begins to listen; again on the same ports after `stop`."""
        self._stopped = threading.Event()
        for host in ("index", "files"):
            server = _Server(self, host, self._ports[host])
            self._ports[host] = server.server_address[1]
            self._servers[host] = server
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Closes listeners and running connections: to everybody this upstream is gone."""
        self._stopped.set()
        for server in self._servers.values():
            server.shutdown()
            server.close_connections()
            server.server_close()
        self._servers = {}

    # --- addresses ---

    @property
    def url(self) -> str:
        """The root of the Simple API."""
        return f"http://{self.address}:{self._ports['index']}{self.style.root}"

    @property
    def url_with_credentials(self) -> str:
        assert self.style.credentials
        return self.url.replace("://", "://{}:{}@".format(*self.style.credentials))

    @property
    def file_host(self) -> str:
        """HOST:PORT that the links of the pages lead to."""
        return f"{self.address}:{self._ports['files' if self.style.other_host else 'index']}"

    def file_url(self, filename: str) -> str:
        """The absolute URL that this index's pages name, without a fragment."""
        return f"http://{self.file_host}{self._file_path(self._files[filename])}"

    # --- what it holds ---

    def add(self, *distributions: Distribution) -> None:
        with self._lock:
            self._files.update({distribution.filename: distribution for distribution in distributions})

    def remove(self, filename: str) -> None:
        with self._lock:
            del self._files[filename]

    def yank(self, filename: str, reason: str = "broken") -> None:
        with self._lock:
            self._files[filename] = replace(self._files[filename], yanked=reason)

    # --- what goes wrong ---

    def fault(self, pattern: str, fault: Fault, *, times: int | None = None, host: Host | None = None) -> None:
        """The next `times` answers (all: None) to paths like `pattern` go wrong; the newest rule wins."""
        with self._lock:
            self._rules.insert(0, _Rule(pattern, fault, times, host))

    def heal(self) -> None:
        with self._lock:
            self._rules.clear()

    # --- what it was asked ---

    def seen(self, pattern: str = "*", *, method: str | None = None, host: Host | None = None) -> list[Seen]:
        """The requests that came so far, in the order of their coming."""
        with self._lock:
            return [
                one
                for one in self._seen
                if fnmatch.fnmatch(one.path, pattern)
                and (method is None or one.method == method)
                and (host is None or one.host == host)
            ]

    def file_gets(self, pattern: str = "*") -> list[Seen]:
        """The GETs of whole or partial files, their metadata not counted."""
        return [one for one in self.seen(pattern, method="GET") if _is_file(one.path)]

    def forget(self) -> None:
        """Counts from zero."""
        with self._lock:
            self._seen.clear()

    # --- the pages, also for benchmarks that write them into a directory ---

    def write_files(self, directory: Path) -> None:
        """All wheels as plain files: a `file://` upstream without pages."""
        directory.mkdir(parents=True, exist_ok=True)
        for distribution in self._files.values():
            (directory / distribution.filename).write_bytes(distribution.content)

    def names(self) -> list[str]:
        """The file names."""
        with self._lock:
            return list(self._files)

    def file_path(self, filename: str) -> str:
        """The path part of `file_url`."""
        return self._file_path(self._files[filename])

    def projects(self) -> list[str]:
        with self._lock:
            return sorted({_normalized(distribution.project) for distribution in self._files.values()})

    def page_json(self, project: str, base: str | None = None) -> bytes | None:
        files = self._of(project)
        if not files:
            return None
        page = {
            "meta": {"api-version": "1.4", "_last-serial": 1000 + len(files)},
            "name": project,
            "versions": sorted({one.version for one in files}),
            "files": [self._json_file(one, base) for one in files],
        }
        return json.dumps(page).encode()

    def page_html(self, project: str, base: str | None = None) -> bytes | None:
        files = self._of(project)
        if not files:
            return None
        links = "\n".join(f"<a {self._html_attributes(one, base)}>{one.filename}</a><br/>" for one in files)
        head = '<meta name="pypi:repository-version" content="1.1">'
        top = f"<!DOCTYPE html>\n<html><head>{head}<title>{project}</title></head>"
        return f"{top}<body>\n{links}\n</body></html>".encode()

    def _of(self, project: str) -> list[Distribution]:
        with self._lock:
            return [one for one in self._files.values() if _normalized(one.project) == project]

    def _json_file(self, one: Distribution, base: str | None) -> dict[str, Any]:
        style = self.style
        row: dict[str, Any] = {
            "filename": one.filename,
            "url": self._link(one, base),
            "hashes": {"sha256": one.sha256} if style.hashes else {},
            "requires-python": one.requires_python,
            "yanked": one.yanked or False,
        }
        if style.sizes:
            row["size"] = len(one.content)
        if style.upload_times:
            row["upload-time"] = UPLOAD_TIME
        if style.core_metadata and one.metadata is not None:
            row["core-metadata"] = row["data-dist-info-metadata"] = {"sha256": hashlib.sha256(one.metadata).hexdigest()}
        return row

    def _html_attributes(self, one: Distribution, base: str | None) -> str:
        fragment = f"#sha256={one.sha256}" if self.style.hashes else ""
        attributes = {"href": self._link(one, base) + fragment}
        if one.requires_python:
            attributes["data-requires-python"] = one.requires_python
        if one.yanked is not None:
            attributes["data-yanked"] = one.yanked
        if self.style.core_metadata and one.metadata is not None:
            digest = f"sha256={hashlib.sha256(one.metadata).hexdigest()}"
            attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = digest
        return " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())

    def _link(self, one: Distribution, base: str | None) -> str:
        if base is not None:
            return base + self._file_path(one)
        if self.style.relative_urls:
            up = "../" * (self.style.root.count("/"))
            return up + self._file_path(one).removeprefix("/")
        return self.file_url(one.filename)

    def _file_path(self, one: Distribution) -> str:
        name = urllib.parse.quote(one.filename, safe="" if self.style.escaped else "+")
        if self.style.escaped:
            return f"{self.style.root}{name}"
        digest = one.sha256
        return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:64]}/{name}"

    # --- answering ---

    def _take_fault(self, path: str, host: Host) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if rule.host in (None, host) and fnmatch.fnmatch(path, rule.pattern):
                    if rule.times is None:
                        return rule.fault
                    if rule.times > 0:
                        rule.times -= 1
                        return rule.fault
        return None

    def _record(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    def _answer(self, host: Host, path: str, headers: dict[str, str]) -> _Answer:
        if not self._admitted(headers):
            return _Answer(401, (("WWW-Authenticate", 'Basic realm="index"'),))
        serves_files = host == "files" or not self.style.other_host
        if serves_files and (found := self._file_answer(urllib.parse.unquote(path))):
            return found
        if host == "index" and path.startswith(self.style.root):
            return self._page_answer(path.removeprefix(self.style.root).strip("/"), headers)
        return _Answer(404, (), b"no such thing")

    def _admitted(self, headers: dict[str, str]) -> bool:
        if self.style.credentials is None:
            return True
        expected = base64.b64encode(":".join(self.style.credentials).encode()).decode()
        return headers.get("authorization") == f"Basic {expected}"

    def _file_answer(self, path: str) -> _Answer | None:
        name = path.rpartition("/")[2]
        is_metadata = name.endswith(".metadata")
        with self._lock:
            one = self._files.get(name.removesuffix(".metadata"))
        if one is None or urllib.parse.unquote(self._file_path(one)) != path.removesuffix(".metadata"):
            return None
        if is_metadata:
            if not self.style.core_metadata or one.metadata is None:
                return None
            return _Answer(200, self._validators(one.metadata), one.metadata)
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("Cache-Control", "max-age=365000000, immutable, public"),
            *(self._validators(one.content)),
            *((("Accept-Ranges", "bytes"),) if self.style.ranges else ()),
        )
        return _Answer(200, headers, one.content)

    def _page_answer(self, project: str, headers: dict[str, str]) -> _Answer:
        as_json = self.style.json and (JSON_TYPE in headers.get("accept", "") or not self.style.html)
        if project == "":
            content: bytes | None = self._root_json() if as_json else self._root_html()
        else:
            content = self.page_json(project) if as_json else self.page_html(project)
        if content is None:
            return _Answer(404, (), b"no such project")
        versioned = JSON_TYPE in headers.get("accept", "") or HTML_TYPE in headers.get("accept", "")
        media_type = JSON_TYPE if as_json else HTML_TYPE if versioned and self.style.json else "text/html"
        freshness = (("Cache-Control", self.style.cache_control),) if self.style.cache_control else ()
        return _Answer(
            200, (("Content-Type", media_type), ("Vary", "Accept"), *freshness, *self._validators(content)), content
        )

    def _root_json(self) -> bytes:
        return json.dumps(
            {"meta": {"api-version": "1.4"}, "projects": [{"name": name} for name in self.projects()]}
        ).encode()

    def _root_html(self) -> bytes:
        return "\n".join(f'<a href="{name}/">{name}</a>' for name in self.projects()).encode()

    def _validators(self, content: bytes) -> tuple[tuple[str, str], ...]:
        validators = []
        if self.style.etags:
            validators.append(("ETag", f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'))
        if self.style.last_modified:
            validators.append(("Last-Modified", formatdate(self.changed_at_s, usegmt=True)))
        return tuple(validators)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # A crowd of fifty must not be turned away by our own listen queue.
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, upstream: FaultyUpstream, host: Host, port: int) -> None:
        self.upstream = upstream
        self.host: Host = host
        self._connections: set[socket.socket] = set()
        super().__init__((upstream.address, port), _Connection)
        if upstream.send_buffer_bytes is not None:
            # Connections take it over from their listener.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, upstream.send_buffer_bytes)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what these tests are about."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = HANG_TIME_S_MAX
    disable_nagle_algorithm = True
    wbufsize = SEND_SIZE_BYTES

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def _serve(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream = self.server.upstream
        client = self.client_address
        self._seen = Seen(self.server.host, self.command, path, headers.get("range"), headers, client[0], client[1])
        upstream._record(self._seen)
        try:
            self._send(path, headers, upstream._take_fault(path, self.server.host), with_body=with_body)
        finally:
            with contextlib.suppress(OSError):
                self.wfile.flush()

    def _send(self, path: str, headers: dict[str, str], fault: Fault | None, *, with_body: bool) -> None:
        match fault:
            case Held(go):
                go.wait(HELD_TIME_S_MAX)
            case Status(code, retry_after_s):
                extra = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
                return self._whole(code, extra, b"as the test wants it", with_body)
            case Redirect(location, code):
                return self._whole(code, (("Location", location.format(path=path)),), b"", with_body)
            case Garbage(content, content_type):
                return self._whole(200, (("Content-Type", content_type),), content, with_body)
            case Endless():
                return self._endless(fault, with_body)
            case GzipBomb(unpacked_bytes):
                return self._gzip_bomb(unpacked_bytes, with_body)
            case Hang(None):
                return self._hang()
        answer = self._ranged(
            _conditional(self.server.upstream._answer(self.server.host, path, headers), headers), headers
        )
        body = answer.whole
        if isinstance(fault, WrongBytes) and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
        if isinstance(fault, ShortBody):
            body = body[: fault.size_bytes]
        self._head(answer.status, answer.headers, len(body))
        if with_body and answer.status != 304:
            self._body(body, fault)
        return None

    def _ranged(self, answer: _Answer, headers: dict[str, str]) -> _Answer:
        wanted = headers.get("range")
        if answer.status != 200 or wanted is None or not self.server.upstream.style.ranges:
            return answer
        etag = dict(answer.headers).get("ETag")
        if "if-range" in headers and headers["if-range"] != etag:
            return answer
        size = len(answer.whole)
        bounds = _bounds(wanted, size)
        if bounds is None:
            return _Answer(416, (("Content-Range", f"bytes */{size}"),))
        start, end = bounds
        content_range = ("Content-Range", f"bytes {start}-{end - 1}/{size}")
        return _Answer(206, (*answer.headers, content_range), answer.whole[start:end])

    def _body(self, body: bytes, fault: Fault | None) -> None:
        match fault:
            case Cut(at_bytes, reset):
                self._write(body[:at_bytes])
                self._abort(reset)
            case Hang(at_bytes) if at_bytes is not None:
                self._write(body[:at_bytes])
                self.wfile.flush()
                self._hang()
            case Slow(bytes_per_s):
                self._write_slowly(body, bytes_per_s)
            case _:
                self._write(body)

    def _whole(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, with_body: bool) -> None:
        self._head(status, headers, len(body))
        if with_body:
            self._write(body)

    def _head(self, status: int, headers: Sequence[tuple[str, str]], size_bytes: int | None) -> None:
        self._seen.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if size_bytes is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size_bytes))
        self.end_headers()

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        for start in range(0, len(view), SEND_SIZE_BYTES):
            piece = view[start : start + SEND_SIZE_BYTES]
            self.wfile.write(piece)
            self._seen.body_bytes += len(piece)

    def _write_slowly(self, content: bytes, bytes_per_s: int) -> None:
        step_s = 0.02
        step_bytes = max(1, int(bytes_per_s * step_s))
        for start in range(0, len(content), step_bytes):
            self._write(content[start : start + step_bytes])
            self.wfile.flush()
            if self.server.upstream._stopped.wait(step_s):
                self._abort(reset=False)
                return

    def _endless(self, fault: Endless, with_body: bool) -> None:
        content_type = (("Content-Type", fault.content_type),) if fault.content_type else ()
        self._head(200, content_type, fault.claimed_bytes)
        if not with_body:
            return
        noise = b"<a href='x'>x</a>\n" * 3640
        chunk = b"%x\r\n%s\r\n" % (len(noise), noise) if fault.claimed_bytes is None else noise
        while fault.claimed_bytes is None or self._seen.body_bytes < fault.claimed_bytes:
            self._write(chunk)
            if self.server.upstream._stopped.is_set():
                break
        self._abort(reset=False)

    def _gzip_bomb(self, unpacked_bytes: int, with_body: bool) -> None:
        packed = b"".join(_bomb(unpacked_bytes))
        headers = (("Content-Type", JSON_TYPE), ("Content-Encoding", "gzip"))
        self._whole(200, headers, packed, with_body)

    def _hang(self) -> None:
        self.server.upstream._stopped.wait(HANG_TIME_S_MAX)
        self.close_connection = True

    def _abort(self, reset: bool) -> None:
        with contextlib.suppress(OSError):
            self.wfile.flush()
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `seen` tells more."""


def _conditional(answer: _Answer, headers: dict[str, str]) -> _Answer:
    """304 where the client already has it (RFC 9110, 13.1.2)."""
    own = dict(answer.headers)
    same_etag = "ETag" in own and own["ETag"] in re.findall(r'"[^"]*"', headers.get("if-none-match", ""))
    same_time = "Last-Modified" in own and headers.get("if-modified-since") == own["Last-Modified"]
    if answer.status == 200 and (same_etag or ("if-none-match" not in headers and same_time)):
        return _Answer(304, answer.headers)
    return answer


def _bounds(wanted: str, size: int) -> tuple[int, int] | None:
    """[start, end) of a single range, or None where it cannot be satisfied."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted.strip())
    if not found or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if first == "":
        return max(0, size - int(last)), size
    start, end = int(first), int(last) + 1 if last else size
    return (start, min(end, size)) if start < size and end > start else None


def _bomb(unpacked_bytes: int) -> Iterator[bytes]:
    """One block packed once and said again and again: a full flush makes every repetition the same bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b" " * (1 << 20)
    yield packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(again, unpacked_bytes >> 20)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_file(path: str) -> bool:
    return path.endswith((".whl", ".tar.gz", ".zip"))
