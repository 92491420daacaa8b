"""The LAN itself: hosts reach each other and nothing else, and nothing is left of it, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.bench.node import ROOT
from tests.bench.patience import until
from tests.real_hosts.lan import Lan
from tests.real_hosts.room import Room
from tests.real_hosts.space import space

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()"

# A run of its own, that says what it has begun and then waits to be killed.
RUN = """
import sys
from pathlib import Path
from tests.real_hosts.lan import Lan
from tests.real_hosts.room import Room
from tests.real_hosts.space import space
from tests.real_hosts.upstream import Holds, RemoteUpstream

with space(0) as path, Lan(1) as lan, RemoteUpstream(lan.outside, Holds()) as upstream:
    with Room(lan, upstream, path) as room:
        (node,) = room.nodes()
        print(lan.hosts[0].pid, node.pid, path, flush=True)
        sys.stdin.read()
"""


def test_a_host_reaches_the_others_and_no_address_outside(lan: Lan, room: Room) -> None:
    first, second = lan.hosts[:2]
    (node,) = room.start(room.node(second))
    assert connects(lan, first.address, second.address, 7273)
    assert not connects(lan, first.address, second.address, 7272), "the index listens for its own machine only"
    # An address of this machine's own network, and one beyond it.
    assert not connects(lan, first.address, "192.0.2.1", 80)
    links = subprocess.run(first.command("ip", "-brief", "link"), capture_output=True, text=True, check=True).stdout
    assert {line.split()[0].partition("@")[0] for line in links.splitlines()} == {"lo", "eth0"}
    assert node.living() == set()


def test_a_link_takes_no_more_than_it_is_told(lan: Lan) -> None:
    lan.outside.limit_sending(8_000_000)
    done = subprocess.run(
        lan.outside.command("tc", "qdisc", "show", "dev", "eth0"), capture_output=True, text=True, check=True
    )
    assert "rate 8Mbit" in done.stdout


def test_a_run_that_is_killed_leaves_nothing(lan: Lan) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.stdout is not None
    holder, node, path = run.stdout.readline().split()
    assert Path(path).exists()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    for pid in (holder, node):
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "its processes are gone")  # type: ignore[misc]
    with space(0):
        assert not Path(path).exists(), "the next run removes the files of the last"


def connects(lan: Lan, source: str, host: str, port: int) -> bool:
    command = next(one for one in lan.hosts if one.address == source).command(
        sys.executable, "-c", CONNECT, host, str(port)
    )
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
