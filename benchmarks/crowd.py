"""A flash crowd on real hosts: one cold wheel, all at once, through one thin line: python -m benchmarks.crowd

Each host is a network namespace with a node of its own; the upstream's link takes no more than the line. Beside it: the
same clients without nodes, straight through the same line. The bound: nobody can have the file before the line has let
it through once, and the last piece needs some hops (notes at `bound_s`).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.compare import Figures, alternate, cpu_s, report
from tests.real_hosts.groups import make_group
from tests.real_hosts.lan import Host, Lan, why_no_lan
from tests.real_hosts.node import SHARING, HostNode
from tests.real_hosts.room import Room, User, newest_pip, wait_for
from tests.real_hosts.space import space
from tests.real_hosts.upstream import Holds, Made, RemoteUpstream

PROJECT = "demo-torch"
DIRECT = "without nodes"
MIB = 1024 * 1024
# Ethernet, IP and TCP with time stamps take 66 of the 1514 bytes of a full frame.
PAYLOAD = 1448 / 1514

# It asks for the page, waits for a line, gets the file that the page lists, hashes it, and says how long that took.
CLIENT = """
import hashlib, http.client, json, sys, time, urllib.parse
def get(url):
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=300)
    connection.request("GET", where.path, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    return connection.getresponse()
page = sys.argv[1]
file = json.loads(get(page).read())["files"][0]
url = urllib.parse.urljoin(page, file["url"])
print("waits", flush=True)
sys.stdin.readline()
began, hasher, first_s = time.monotonic(), hashlib.sha256(), 0.0
body = get(url)
while chunk := body.read1(1 << 20):
    first_s = first_s or time.monotonic() - began
    hasher.update(chunk)
right = hasher.hexdigest() == file["hashes"]["sha256"]
print(json.dumps([time.monotonic() - began, first_s, right]))
"""


@dataclass(frozen=True)
class Round:
    """One crowd: when the median and the last client had it, the last first byte, and what it cost."""

    median_s: float
    last_s: float
    first_byte_s: float
    upstream_bytes: int
    node_cpu_s: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=8)
    options.add_argument("--size-mb", type=int, default=256, help="MiB")
    options.add_argument("--line-mbit-s", type=int, default=100, help="the upstream's link")
    options.add_argument("--port-mbit-s", type=int, default=1000, help="each host's link, for what it sends")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--client", choices=["plain", "pip"], default="plain", help="plain: reads, hashes, keeps nothing"
    )
    chosen = options.parse_args()
    if why := why_no_lan():
        sys.exit(f"There is no LAN: {why}.")
    holds = Holds([Made(PROJECT, "2.0", chosen.size_mb * MIB)])
    with (
        space(3 * chosen.nodes * chosen.size_mb * MIB) as directory,
        Lan(chosen.nodes) as lan,
        RemoteUpstream(lan.outside, holds) as upstream,
    ):
        lan.outside.limit_sending(chosen.line_mbit_s * 1_000_000)
        for host in lan.hosts:
            host.limit_sending(chosen.port_mbit_s * 1_000_000)
        size_bytes = upstream.file_of(PROJECT).size_bytes
        bound = bound_s(size_bytes, chosen.nodes, chosen.line_mbit_s * 1e6, chosen.port_mbit_s * 1e6)
        seen = crowded(Crowds(lan, upstream, directory, chosen.client), chosen.rounds)
    line = f"line {chosen.line_mbit_s} Mbit/s, ports {chosen.port_mbit_s} Mbit/s"
    print(f"{chosen.nodes} hosts, one cold file of {chosen.size_mb} MiB, {line}; bound {bound:.2f} s")
    tell(seen, bound, size_bytes, chosen.nodes)


def crowded(crowds: Crowds, count: int) -> dict[str, list[Round]]:
    """The rounds of each way, in turns."""
    ways: dict[str, Callable[[], Round]] = {
        DIRECT: crowds.direct,
        "p2pcdn": partial(crowds.by_nodes, in_group=False),
        "p2pcdn, a group": partial(crowds.by_nodes, in_group=True),
    }
    seen: dict[str, list[Round]] = {name: [] for name in ways}

    def run(name: str) -> float:
        seen[name].append(ways[name]())
        return seen[name][-1].last_s

    alternate({name: partial(run, name) for name in ways}, count, warm_up=False)
    return seen


def tell(seen: Mapping[str, Sequence[Round]], bound: float, size_bytes: int, nodes: int) -> None:
    for title, figure in (
        ("the last has it after", lambda one: one.last_s),
        ("the median host", lambda one: one.median_s),
        ("the last first byte", lambda one: one.first_byte_s),
    ):
        figures = {name: Figures(tuple(map(figure, rounds))) for name, rounds in seen.items()}
        if figures[DIRECT].median:  # pip does not say when its first byte came
            report(title, "s", figures, DIRECT)
    print()
    for name, rounds in seen.items():
        ratio = median(one.last_s for one in rounds) / bound
        files = median(one.upstream_bytes for one in rounds) / size_bytes
        cpu = median(one.node_cpu_s for one in rounds) / nodes / (size_bytes / 1e9)
        print(
            f"  {name:<22} last : bound {ratio:.3f}   files that the upstream sent {files:.4f}   "
            f"CPU of a node {cpu:.2f} s/GB"
        )


def bound_s(size_bytes: int, nodes: int, line_bits_per_s: float, port_bits_per_s: float) -> float:
    """The file through the line once, then ceil(log2(N + 1) - 1) hops of the last piece between ports."""
    hops = math.ceil(math.log2(nodes + 1) - 1)
    return (size_bytes / line_bits_per_s + hops * MIB / port_bits_per_s) * 8 / PAYLOAD


class Crowds:
    """Crowds on one LAN, each with new stores."""

    def __init__(self, lan: Lan, upstream: RemoteUpstream, directory: Path, client: str) -> None:
        self._lan = lan
        self._upstream = upstream
        self._directory = directory
        self._client = client
        self._file = upstream.file_of(PROJECT)

    def direct(self) -> Round:
        with Room(self._lan, self._upstream, self._directory) as room:
            return self._crowd(room, [(host, self._upstream.url) for host in self._lan.hosts], [])

    def by_nodes(self, *, in_group: bool) -> Round:
        """In a group a member's word lets bytes through to the client at once; else the whole file's hash must."""
        with Room(self._lan, self._upstream, self._directory) as room:
            nodes = [room.node(host, arguments=() if in_group else SHARING) for host in self._lan.hosts]
            if in_group:
                make_group(nodes)
            room.meet(room.start(*nodes))
            return self._crowd(room, [(node.host, node.index_url) for node in nodes], nodes)

    def _crowd(self, room: Room, indexes: Sequence[tuple[Host, str]], nodes: Sequence[HostNode]) -> Round:
        self._upstream.forget()
        before_s = sum(cpu_s(node.pid) for node in nodes)
        seconds, firsts = self._by_pip(room, indexes) if self._client == "pip" else _plain(indexes)
        spent_s = sum(cpu_s(node.pid) for node in nodes) - before_s
        sent = self._upstream.sent_bytes(self._file.filename)
        return Round(median(seconds), max(seconds), max(firsts), sent, spent_s)

    def _by_pip(self, room: Room, indexes: Sequence[tuple[Host, str]]) -> tuple[list[float], list[float]]:
        users = [User(host, url, room.new_directory(host.name), newest_pip()) for host, url in indexes]
        for user in users:
            user.start("--trusted-host", self._upstream.host.address, PROJECT)
        try:
            wait_for(users)
            assert all(user.hashes()[self._file.filename] == self._file.sha256 for user in users)
        finally:
            for user in users:
                user.end()
        return [user.seconds for user in users], [0.0]


def _plain(indexes: Sequence[tuple[Host, str]]) -> tuple[list[float], list[float]]:
    clients = []
    for host, url in indexes:
        command = host.command(sys.executable, "-c", CLIENT, f"{url}{PROJECT}/")
        clients.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "waits\n"
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    answers = [json.loads(client.communicate()[0]) for client in clients]
    assert all(right for _, _, right in answers), "somebody got wrong bytes"
    return [seconds for seconds, _, _ in answers], [first_s for _, first_s, _ in answers]


if __name__ == "__main__":
    main()
