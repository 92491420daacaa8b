"""Who may come in: the Host table, heads that smuggle, paths that climb, other users of the machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.end_to_end.files import BASE, FILES

NOBODY = 65534
# No node that these tests pass is silent so long: on a busy machine one needs seconds for what takes it a millisecond.
SILENCE_S = 20.0
needs_root_and_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to become another user"
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for all requests that leave no trace in it: a start costs a hundred times what a refusal does."""
    with FaultyUpstream(FILES) as upstream, RunningNode(tmp_path_factory.mktemp("door"), upstreams=[upstream]) as node:
        yield node


def raw(node: RunningNode, head: bytes) -> bytes:
    """Everything the node says to these bytes before it closes; "(open)" behind it where it keeps the connection."""
    with socket.create_connection(node.address, timeout=SILENCE_S) as connection:
        connection.sendall(head)
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except TimeoutError:
            said += b"(open)"
        except ConnectionResetError:
            pass
        return said


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example",
        "127.0.0.1:1",
        "127.0.0.2:{port}",
        "0.0.0.0:{port}",
        "[::]:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "localhost:{port}@evil.example",
        "localhost.:{port}x",
        "",
    ],
)
def test_a_foreign_host_is_421(door: RunningNode, host: str) -> None:
    value = host.format(port=door.address[1]).encode()
    said = raw(door, b"GET /simple/demo-top/ HTTP/1.1\r\nHost: " + value + b"\r\nConnection: close\r\n\r\n")
    assert said.split(b" ")[1] in ((b"421",) if host else (b"400", b"421"))
    assert b"demo_top" not in said


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_our_own_names_are_let_in(door: RunningNode, host: str) -> None:
    value = host.format(port=door.address[1]).encode()
    said = raw(door, b"GET /simple/demo-top/ HTTP/1.1\r\nHost: " + value + b"\r\nConnection: close\r\n\r\n")
    assert said.split(b" ")[1] == b"200"


@pytest.mark.parametrize(
    ("what", "head"),
    [
        ("no Host", b"GET /simple/ HTTP/1.1\r\n\r\n"),
        ("two Hosts", b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n"),
        (
            "TE and CL",
            b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("bare LF", b"GET / HTTP/1.1\nHost: HOST\n\n"),
        ("obs-fold", b"GET / HTTP/1.1\r\nHost: HOST\r\nX: a\r\n b\r\n\r\n"),
        ("space before the colon", b"GET / HTTP/1.1\r\nHost : HOST\r\n\r\n"),
        ("NUL", b"GET / HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\n\r\n"),
        ("two lengths", b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
        ("a head without end", b"GET / HTTP/1.1\r\nHost: HOST\r\nX: " + b"a" * 200_000),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_head_that_could_be_read_two_ways_gets_one_refusal(door: RunningNode, what: str, head: bytes) -> None:
    host = "{}:{}".format(*door.address).encode()
    said = raw(door, head.replace(b"HOST", host) + b"GET /simple/demo-top/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert b"(open)" not in said, what
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", said)) <= 1, said
    assert not said or said.split(b" ")[1] in (b"400", b"413", b"421", b"405", b"411"), said
    assert b"demo_top" not in said


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"])
def test_the_index_changes_nothing(door: RunningNode, method: str) -> None:
    host = "{}:{}".format(*door.address)
    said = raw(door, f"{method} /simple/ HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n".encode())
    assert said.split(b" ")[1] in (b"400", b"403", b"405", b"501"), said
    assert b"access-control-allow" not in said.lower()


@pytest.mark.parametrize(
    "path",
    [
        "/packages/../../../../etc/passwd",
        "/packages/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/packages/..%2f..%2f..%2fetc%2fpasswd",
        "/packages/aa/bb/..%00/x.whl",
        "/simple/..%2f..%2fetc/",
        "/simple/%2e%2e/",
        "//etc/passwd",
        "/packages//etc/passwd",
        "/files/../../x.whl",
        "/packages/\\..\\..\\etc\\passwd",
    ],
)
def test_no_path_climbs_out(door: RunningNode, path: str) -> None:
    host = "{}:{}".format(*door.address)
    said = raw(door, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert said.split(b" ")[1] in (b"400", b"403", b"404"), said
    assert b"root:" not in said


def test_an_unlisted_file_is_not_fetched_blindly(node: RunningNode, upstream: FaultyUpstream) -> None:
    answer = node.get(f"/packages/aa/bb/{'c' * 60}/{BASE.filename}")
    assert answer.status == 404
    assert upstream.file_gets() == []


def test_store_and_socket_are_the_owners_alone(node: RunningNode) -> None:
    assert stat.S_IMODE(node.store.stat().st_mode) == 0o700
    assert stat.S_IMODE(node.control_socket.stat().st_mode) == 0o600
    loose = [path for path in node.store.rglob("*") if path.stat().st_mode & 0o077]
    assert not loose, loose


@needs_root_and_setpriv
def test_another_user_reads_no_store_and_reaches_no_socket(node: RunningNode) -> None:
    assert node.get(node.path_of("demo-base", BASE.filename)).status == 200
    # The directories above are opened, so that only the node's own modes keep the other user out.
    for above in (node.control_socket.parent, node.store.parent, *node.store.parent.parents):
        if above != Path("/") and os.access(above, os.W_OK):
            above.chmod(above.stat().st_mode | 0o011)
    probe = (
        "import os, socket, sys\n"
        "for what in (lambda: os.listdir(sys.argv[1]), lambda: open(sys.argv[2], 'rb'),\n"
        "             lambda: socket.socket(socket.AF_UNIX).connect(sys.argv[3])):\n"
        "    try: what()\n"
        "    except PermissionError: print('refused')\n"
        "    else: print('let in')\n"
    )
    inside = next(path for path in node.store.rglob("*") if path.is_file())
    done = _as_nobody("/usr/bin/python3", "-c", probe, str(node.store), str(inside), str(node.control_socket))
    assert done.split() == ["refused"] * 3, done


@needs_root_and_setpriv
def test_another_user_may_install_from_the_index(door: RunningNode) -> None:
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).status)"
    assert _as_nobody("/usr/bin/python3", "-c", code, f"{door.index_url}demo-top/").split() == ["200"]


def _as_nobody(*command: str) -> str:
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run([*become, *command], capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout
