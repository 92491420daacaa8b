"""Load on a server: small requests by wrk (where it is missing, by ourselves), and a large file into nowhere."""

from __future__ import annotations

import re
import selectors
import shutil
import socket
import subprocess
import sys
import time

# Discards the bytes in the kernel: the client is never what is measured.
_SINK_SIZE_BYTES = 4 * 1024 * 1024


def requests_per_s(
    address: tuple[str, int], path: str, headers: dict[str, str], connections: int, time_s: int
) -> float:
    """Keep-alive GETs of one path. Raises RuntimeError where an answer is no 200."""
    if shutil.which("wrk"):
        return _by_wrk(address, path, headers, connections, time_s)
    return _by_ourselves(address, path, headers, connections, time_s)


def fetch_into_nowhere(address: tuple[str, int], path: str) -> tuple[float, int]:
    """Seconds and body bytes of one GET whose body nobody looks at."""
    sink = bytearray(_SINK_SIZE_BYTES)
    with socket.create_connection(address) as connection:
        began_s = time.perf_counter()
        connection.sendall(_head(address, path, {}))
        received = connection.recv(65536)
        head, _, first = received.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"{path}: {head[:100]!r}")
        announced = re.search(rb"(?i)content-length: (\d+)", head)
        assert announced
        left = int(announced[1]) - len(first)
        while left > 0:
            got = connection.recv_into(sink, min(left, _SINK_SIZE_BYTES), socket.MSG_TRUNC)
            if not got:
                raise RuntimeError(f"{path} was broken off {left} bytes before its end")
            left -= got
        return time.perf_counter() - began_s, int(announced[1])


def warn_without_wrk() -> None:
    if not shutil.which("wrk"):
        print(
            "wrk is not here (apt-get install wrk): our own load limits the fast ones to some 15,000/s", file=sys.stderr
        )


def _by_wrk(address: tuple[str, int], path: str, headers: dict[str, str], connections: int, time_s: int) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{time_s}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, _url(address, path)], capture_output=True, text=True, check=True)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", done.stdout)
    if bad:
        raise RuntimeError(f"{_url(address, path)}: {bad[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate, done.stdout
    return float(rate[1])


def _by_ourselves(address: tuple[str, int], path: str, headers: dict[str, str], connections: int, time_s: int) -> float:
    request = _head(address, path, headers)
    size = _answer_size(address, request)
    answered = 0
    with selectors.DefaultSelector() as selector:
        missing: dict[socket.socket, int] = {}
        for _ in range(connections):
            connection = socket.create_connection(address)
            connection.sendall(request)
            missing[connection] = size
            selector.register(connection, selectors.EVENT_READ)
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < time_s:
            for key, _ in selector.select(1):
                connection = key.fileobj  # type: ignore[assignment]
                missing[connection] -= len(connection.recv(65536))
                if missing[connection] <= 0:
                    answered += 1
                    missing[connection] = size
                    connection.sendall(request)
        spent_s = time.perf_counter() - began_s
        for connection in missing:
            connection.close()
    return answered / spent_s


def _answer_size(address: tuple[str, int], request: bytes) -> int:
    """Head and body; every answer to the same request has the same size, but for a Date of fixed length."""
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        said = b""
        while b"\r\n\r\n" not in said:
            said += connection.recv(65536)
        head, _, _ = said.partition(b"\r\n\r\n")
        announced = re.search(rb"(?i)content-length: (\d+)", head)
        if announced is None or b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"not a plain 200: {head[:200]!r}")
        return len(head) + 4 + int(announced[1])


def _head(address: tuple[str, int], path: str, headers: dict[str, str]) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: {}:{}".format(*address),
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _url(address: tuple[str, int], path: str) -> str:
    return "http://{}:{}".format(*address) + path
