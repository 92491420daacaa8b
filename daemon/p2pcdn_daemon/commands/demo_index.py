"""The index of the demonstration: some wheels made on the spot, and a small server that counts what it gives."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

_JSON = "application/vnd.pypi.simple.v1+json"
# A zip file has no earlier time; a fixed one makes the same wheel each time.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that is ready to be served."""

    filename: str
    content: bytes

    @property
    def project(self) -> str:
        """The normalized name of its project."""
        return self.filename.split("-")[0].replace("_", "-")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def make_wheels() -> list[Wheel]:
    """An application, its libraries, and some 20 MB of model weights: the shape of a real install."""
    dice = random.Random(7272)
    return [
        make_wheel("demo-app", ["demo-tables", "demo-plots", "demo-weights"], {"__init__.py": b"answer = 42\n"}),
        make_wheel("demo-tables", ["demo-numbers>=1"], {"__init__.py": b"", "rows.csv": dice.randbytes(300_000)}),
        make_wheel("demo-plots", ["demo-numbers"], {"__init__.py": b"", "fonts.bin": dice.randbytes(900_000)}),
        make_wheel("demo-numbers", [], {"__init__.py": b"", "core.bin": dice.randbytes(2_500_000)}),
        make_wheel("demo-weights", [], {"__init__.py": b"", "weights.bin": dice.randbytes(20_000_000)}),
    ]


def make_wheel(project: str, requires: Sequence[str], files: Mapping[str, bytes]) -> Wheel:
    """A wheel of version 1.0 (binary distribution format, PyPA) with a true RECORD."""
    package = project.replace("-", "_")
    folder = f"{package}-1.0.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {project}",
        "Version: 1.0",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    contents = {f"{package}/{name}": content for name, content in files.items()}
    contents[f"{folder}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    contents[f"{folder}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: p2pcdn-demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},sha256={_record_hash(content)},{len(content)}" for name, content in contents.items()]
    contents[f"{folder}/RECORD"] = "\n".join([*record, f"{folder}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return Wheel(f"{package}-1.0-py3-none-any.whl", packed.getvalue())


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


class DemoIndex:
    """`with DemoIndex(wheels) as index:` serves them on a free port of the loopback until the block ends or `stop`."""

    def __init__(self, wheels: Sequence[Wheel]) -> None:
        self.files = {wheel.filename: wheel for wheel in wheels}
        self.requests: Counter[str] = Counter()  # by file name, of files only
        self.given_bytes: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The root of its Simple API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/simple/"

    def __enter__(self) -> DemoIndex:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody is answered from now on."""
        self._server.shutdown()
        self._server.server_close()

    def page(self, project: str) -> bytes | None:
        """A project page in JSON (Simple repository API, version 1.1)."""
        files = [
            {
                "filename": wheel.filename,
                "url": f"/files/{wheel.filename}",
                "hashes": {"sha256": wheel.sha256},
                "size": len(wheel.content),
            }
            for wheel in self.files.values()
            if wheel.project == project
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": ["1.0"], "files": files}
        return json.dumps(page).encode() if files else None


def _answering(index: DemoIndex) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = self.path.split("/")
            wheel = index.files.get(parts[-1]) if self.path.startswith("/files/") else None
            if wheel is not None:
                index.requests[wheel.filename] += 1
                self._give_file(wheel)
            elif self.path.startswith("/simple/") and (page := index.page(parts[2])) is not None:
                self._head(200, _JSON, len(page))
                self.wfile.write(page)
            else:
                self._head(404, "text/plain", 0)

        def _give_file(self, wheel: Wheel) -> None:
            start, end = _range(self.headers.get("Range", ""), len(wheel.content))
            status = 206 if (start, end) != (0, len(wheel.content)) else 200
            extra = {"Content-Range": f"bytes {start}-{end - 1}/{len(wheel.content)}"} if status == 206 else {}
            self._head(status, "application/octet-stream", end - start, **extra)
            self.wfile.write(wheel.content[start:end])
            index.given_bytes[wheel.filename] += end - start

        def _head(self, status: int, content_type: str, size_bytes: int, **extra: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(size_bytes))
            self.send_header("Cache-Control", "max-age=600")
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Answer


def _range(field: str, size_bytes: int) -> tuple[int, int]:
    """The one range of a Range field (RFC 9110, section 14.2), or the whole."""
    first, dash, last = field.removeprefix("bytes=").partition("-")
    if not field.startswith("bytes=") or not dash or not (first + last).isdigit():
        return 0, size_bytes
    if not first:
        return max(size_bytes - int(last), 0), size_bytes
    end = int(last) + 1 if last else size_bytes
    return (int(first), min(end, size_bytes)) if int(first) < size_bytes else (0, size_bytes)
