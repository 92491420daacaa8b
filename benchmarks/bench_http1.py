"""Our HTTP server beside nginx on this machine: small pages and one large file, in alternating rounds.

python benchmarks/bench_http1.py [--rounds 5] [--seconds 2]      needs nginx and wrk in PATH

Prints for each the median of ours, of nginx, and of the ratios of neighbouring rounds. Trust the ratios only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from p2pcdn.http1 import AllowedHosts, FileSlice, Request, Response, serve

PAGE_SIZE_BYTES = 5 * 1024
FILE_SIZE_BYTES = 200 * 1000 * 1000
HEADERS = [("content-type", "text/html"), ("etag", '"a"'), ("cache-control", "max-age=600")]
NGINX = """
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/errors;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
  server {{ listen 127.0.0.1:{port}; root {directory}; }} }}
"""


class OpenFile:
    """A file that is only sent."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)

    def fileno(self) -> int:
        return self._fd


def serve_ours(directory: Path, port: int) -> None:
    file = OpenFile(directory / "file")
    page = Response(200, HEADERS, (directory / "page").read_bytes())

    def face(request: Request) -> Response:
        return page if request.path == "/page" else Response(200, HEADERS, FileSlice(file, 0, FILE_SIZE_BYTES))  # type: ignore[arg-type]

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        await serve(listeners, face, allowed_hosts=AllowedHosts.of(["127.0.0.1"], [port]))

    trio.run(main)


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    server = subprocess.Popen(command)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pages_per_s(port: int, connections: int, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", f"http://127.0.0.1:{port}/page"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(report.split("Requests/sec:")[1].split()[0])


def file_mb_per_s(port: int) -> float:
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as client:
        began = time.perf_counter()
        client.sendall(b"GET /file HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
        size_bytes = 0
        while count := client.recv_into(buffer):
            size_bytes += count
    assert size_bytes > FILE_SIZE_BYTES
    return size_bytes / 1e6 / (time.perf_counter() - began)


def compare(what: str, measure: Callable[[int], float], ports: tuple[int, int], rounds: int) -> None:
    pairs = []
    for number in range(rounds):
        order = ports if number % 2 == 0 else ports[::-1]
        found = {port: measure(port) for port in order}
        pairs.append((found[ports[0]], found[ports[1]]))
    ours, nginx = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ours / nginx for ours, nginx in pairs)
    print(f"{what:32} ours {ours:9,.0f}   nginx {nginx:9,.0f}   ratio {ratio:.2f}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=2)
    options.add_argument("--serve", nargs=2, metavar=("DIRECTORY", "PORT"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve_ours(Path(given.serve[0]), int(given.serve[1]))
        return
    if missing := [name for name in ("nginx", "wrk") if shutil.which(name) is None]:
        sys.exit(f"This needs {' and '.join(missing)}.")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "page").write_bytes(b"x" * PAGE_SIZE_BYTES)
        (directory / "file").write_bytes(os.urandom(1_000_000) * (FILE_SIZE_BYTES // 1_000_000))
        ports = (free_port(), free_port())
        configuration = directory / "nginx.conf"
        configuration.write_text(NGINX.format(directory=directory, port=ports[1]))
        ours = [sys.executable, __file__, "--serve", name, str(ports[0])]
        nginx = ["nginx", "-c", str(configuration), "-e", str(directory / "errors")]
        with running(ours, ports[0]), running(nginx, ports[1]):
            for connections in (1, 32):
                compare(
                    f"5 KB pages/s, {connections} connections",
                    lambda port, n=connections: pages_per_s(port, n, given.seconds),  # type: ignore[misc]
                    ports,
                    given.rounds,
                )
            compare("200 MB file, MB/s", file_mb_per_s, ports, given.rounds * 4)


if __name__ == "__main__":
    main()
