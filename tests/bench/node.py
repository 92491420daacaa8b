"""A real node: the `p2pcdn serve` of this checkout as a process of its own, on free ports, with a store of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from tests.bench.upstream import FaultyUpstream

ROOT = Path(__file__).parent.parent.parent
# A node is ready within a second; a machine with two busy cores gets patience.
READY_TIME_S_MAX = 30.0
# What a node says of a port that another one has.
TAKEN = " is in use, perhaps by another node"
STOP_TIME_S_MAX = 15.0
COMMAND = (sys.executable, "-c", "from p2pcdn_daemon.cli import main; main()")


class NodeFailed(AssertionError):
    """The node did not become ready, or did not go when it was told to; the message carries its log."""


class RunningNode:
    """`with RunningNode(directory, upstreams=[...]) as node:` runs until the block ends.

    directory: the store and the log live there, and stay there for a restart.
    upstreams: a FaultyUpstream is also allowed to have its files on its second port, which is no public address.
    mdns: whether it looks for neighbours by multicast, as a user's node does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        upstreams: Sequence[str | FaultyUpstream],
        peers: Sequence[str] = (),
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        mdns: bool = False,
    ) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.log_path = directory / "log"
        self.index_url = ""
        self.exit_code: int | None = None
        self._upstreams = tuple(upstreams)
        self._peers = tuple(peers)
        self._arguments = tuple(arguments)
        self._environment = environment or {}
        self._mdns = mdns
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = (0, 0)
        # The path of a unix socket has at most 107 bytes, and pytest's directories are longer.
        self._short = Path(tempfile.mkdtemp(prefix="p2"))
        self.control_socket = self._short / "c"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._end()
        if error is not None:
            error.add_note(f"The log of the node in {self.directory}:\n{self.log()[-6000:]}")

    # --- life ---

    def start(self) -> float:
        """Starts it and waits for its `ready` line; returns the seconds that took. Again: the same store and ports.

        While it was down, another test's connection may have got one of its ports: that ends by itself.
        """
        patience_s = time.monotonic() + READY_TIME_S_MAX
        while True:
            began_s = time.monotonic()
            self.launch()
            try:
                self.wait_ready()
            except NodeFailed as error:
                if self._ports == (0, 0) or TAKEN not in str(error) or time.monotonic() > patience_s:
                    raise
                time.sleep(0.2)
            else:
                return time.monotonic() - began_s

    def launch(self) -> None:
        """Starts it and waits for nothing; `wait_ready` must follow."""
        assert self._process is None
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=log, env=self.variables(), cwd=self.directory
            )
        self._process = process
        self.exit_code = None

    def wait_ready(self) -> None:
        """Until its `ready` line came. Raises NodeFailed."""
        assert self._process is not None
        self.index_url = self._wait_ready(self._process)
        self._remember_ports()

    def stop(self) -> float:
        """SIGTERM; returns the seconds until it was gone. `exit_code` says how."""
        return self._signal(signal.SIGTERM)

    def kill9(self) -> None:
        self._signal(signal.SIGKILL)

    def restart(self) -> float:
        """On the same store and the same ports. Returns the seconds until it was ready."""
        if self._process is not None:
            self.stop()
        return self.start()

    def command(self) -> list[str]:
        index_port, peer_port = self._ports
        command = [*COMMAND, "serve", "--port", str(index_port), "--peer-port", str(peer_port)]
        command += ["--peer-host", "127.0.0.1", "--store", str(self.store)]
        command += ["--control-socket", str(self.control_socket), *([] if self._mdns else ["--no-mdns"])]
        for upstream in self._upstreams:
            if isinstance(upstream, str):
                command += ["--upstream", upstream]
            else:
                command += ["--upstream", upstream.url, "--file-host", upstream.file_host]
        for peer in self._peers:
            command += ["--peer", peer]
        return [*command, *self._arguments]

    # --- what it says ---

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the index."""
        host, _, port = self.index_url.split("/")[2].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def peer_address(self) -> str:
        """HOST:PORT for another node's --peer."""
        return f"127.0.0.1:{str(self.status()['peer_address']).rpartition(':')[2]}"

    def status(self) -> dict[str, Any]:
        """The object of `p2pcdn status --json`, read from the control socket."""
        status, body = self.control("GET", "/v1/status")
        assert status == 200, body
        return dict(json.loads(body))

    def control(self, method: str, path: str, body: bytes | None = None, timeout_s: float = 30.0) -> tuple[int, bytes]:
        connection = _UnixConnection(self.control_socket, timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.read()

    def run(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One of the other commands (`p2pcdn status` ...) against this node."""
        environment = self.variables() | {"P2PCDN_CONTROL_SOCKET": str(self.control_socket)}
        command = [*COMMAND, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout_s, check=False)

    def get(self, path: str, headers: dict[str, str] | None = None, timeout_s: float = 60.0) -> Answer:
        """One GET on a connection of its own. A broken-off body is an Answer with `whole` False."""
        return get(self.address, path, headers, timeout_s)

    def page(self, project: str) -> dict[str, Any]:
        """The project's JSON page."""
        answer = self.get(f"/simple/{project}/", {"Accept": "application/vnd.pypi.simple.v1+json"})
        assert answer.status == 200, answer
        return dict(json.loads(answer.body))

    def path_of(self, project: str, filename: str) -> str:
        """The path at this node under which its own page offers a file; fails where the page does not list it."""
        links = [row["url"] for row in self.page(project)["files"] if row["filename"] == filename]
        assert links, f"{filename} is not on the page of {project}"
        return urlsplit(urljoin(f"{self.index_url}{project}/", links[0])).path

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def resident_bytes(self) -> int:
        """Memory now (VmRSS)."""
        return self._status_row("VmRSS")

    def resident_bytes_max(self) -> int:
        """The most memory so far (VmHWM)."""
        return self._status_row("VmHWM")

    # --- within ---

    def _status_row(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def variables(self) -> dict[str, str]:
        """Nothing of the user's pip, uv or p2pcdn configuration reaches the node; its home is its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "P2PCDN_"))}
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "daemon", ROOT / "shim"))
        own = {"HOME": str(home), "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(self._short)}
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_DIRS"):
            kept.pop(name, None)
        return kept | own | self._environment

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
        deadline_s = time.monotonic() + READY_TIME_S_MAX
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left_s)
            except queue.Empty:
                break
            if not line:
                process.wait()
                self.exit_code, self._process = process.returncode, None
                raise NodeFailed(f"the node ended with {process.returncode} before it was ready:\n{self.log()[-3000:]}")
            if line.startswith(b"ready "):
                return line.split()[1].decode()
        raise NodeFailed(f"no `ready` line within {READY_TIME_S_MAX:.0f} s:\n{self.log()[-3000:]}")

    def _remember_ports(self) -> None:
        """So that a restart has the same addresses, as a user's node has."""
        index_port = self.address[1]
        with contextlib.suppress(AssertionError, OSError, KeyError, ValueError):
            self._ports = (index_port, int(self.peer_address.rpartition(":")[2]))

    def _signal(self, number: signal.Signals) -> float:
        assert self._process is not None
        process, self._process = self._process, None
        began_s = time.monotonic()
        process.send_signal(number)
        try:
            self.exit_code = process.wait(STOP_TIME_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NodeFailed(
                f"still there {STOP_TIME_S_MAX:.0f} s after {number.name}:\n{self.log()[-3000:]}"
            ) from None
        return time.monotonic() - began_s

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._short, ignore_errors=True)


class Answer:
    """What came for one request; `whole` says whether the body came to its announced end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, whole: bool, first_byte_s: float) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole
        self.first_byte_s = first_byte_s

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes, whole={self.whole}, {self.headers})"


def get(address: tuple[str, int], path: str, headers: dict[str, str] | None = None, timeout_s: float = 60.0) -> Answer:
    """One GET. first_byte_s counts from before the connection. Raises OSError where there is no answer at all."""
    began_s = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        own = {name.lower(): value for name, value in response.getheaders()}
        body, whole = bytearray(), True
        first_byte_s = 0.0
        try:
            while piece := response.read1(1 << 20):
                first_byte_s = first_byte_s or time.monotonic() - began_s
                body += piece
        except (http.client.HTTPException, OSError):
            whole = False
        announced = own.get("content-length")
        whole = whole and (announced is None or len(body) == int(announced))
        return Answer(response.status, own, bytes(body), whole=whole, first_byte_s=first_byte_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _read_lines(stream: Any, lines: queue.Queue[bytes]) -> None:
    """Goes on reading after `ready`, so that the node never waits for a full pipe."""
    for line in stream:
        lines.put(line)
    lines.put(b"")
