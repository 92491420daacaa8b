"""How soon nodes on real hosts know each other, by multicast and by one name: python -m benchmarks.discovery

All are started at the same moment. The clock runs from the last `ready` line until every node has had an answer from
every other one. A newcomer: from its own `ready` line until it knows all, and all know it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.compare import Figures
from tests.real_hosts.lan import Lan, why_no_lan
from tests.real_hosts.node import PEER_PORT, HostNode
from tests.real_hosts.room import Room
from tests.real_hosts.space import space
from tests.real_hosts.upstream import Holds, RemoteUpstream

# Stores without a file in them.
STORE_SIZE_BYTES = 32 * 1024 * 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=8)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    if why := why_no_lan():
        sys.exit(f"There is no LAN: {why}.")
    with (
        space(chosen.nodes * STORE_SIZE_BYTES) as directory,
        Lan(chosen.nodes) as lan,
        RemoteUpstream(lan.outside, Holds()) as upstream,
    ):
        ways: dict[str, Callable[[Room], float]] = {
            "multicast": all_by_multicast,
            "multicast, a newcomer": newcomer,
            "one that all name": all_by_one_name,
        }
        print(f"{chosen.nodes} nodes, {chosen.rounds} rounds: seconds until everybody knows everybody (goal: 2)")
        for name, way in ways.items():
            figures = Figures(tuple(_in_new_room(way, lan, upstream, directory) for _ in range(chosen.rounds)))
            print(f"  {name:<24} {figures.median:>8.2f}   rounds {figures.spread}", flush=True)


def all_by_multicast(room: Room) -> float:
    return room.meet(room.nodes())


def newcomer(room: Room) -> float:
    *others, last = [room.node(host) for host in room.lan.hosts]
    room.start(*others)
    room.meet(others)
    room.start(last)
    return room.meet([last, *others])


def all_by_one_name(room: Room) -> float:
    first, *others = room.lan.hosts
    named = f"{first.address}:{PEER_PORT}"
    nodes: list[HostNode] = [room.node(host, mdns=False, peers=[named]) for host in others]
    return room.meet(room.start(room.node(first, mdns=False), *nodes))


def _in_new_room(way: Callable[[Room], float], lan: Lan, upstream: RemoteUpstream, directory: Path) -> float:
    with Room(lan, upstream, directory) as room:
        return way(room)


if __name__ == "__main__":
    main()
