"""Nodes on hosts without multicast find each other by what the DNS, or a file, says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real_hosts.lan import Lan
from tests.real_hosts.names import NameServer
from tests.real_hosts.node import PEER_PORT, SHARING
from tests.real_hosts.room import Room

NODES = 3


@pytest.mark.parametrize("named", [f"room.example:{PEER_PORT}", "_peer._tcp.room.example"])
def test_nodes_find_each_other_by_the_names_of_a_real_resolver(
    named: str, room: Room, lan: Lan, tmp_path: Path
) -> None:
    hosts = lan.hosts[:NODES]
    zone = {
        "A": {"room.example": [host.address for host in hosts]}
        | {f"{host.name}.room.example": [host.address] for host in hosts},
        "SRV": {"_peer._tcp.room.example": [f"0 0 {PEER_PORT} {host.name}.room.example." for host in hosts]},
    }
    with NameServer(lan.outside, zone) as server:
        told = (*SHARING, "--peer-dns", named)
        program = server.asked_by(tmp_path)
        room.meet(room.start(*(room.node(host, mdns=False, arguments=told, program=program) for host in hosts)))


def test_a_file_of_neighbours_may_come_late(room: Room, lan: Lan, tmp_path: Path) -> None:
    hosts = lan.hosts[:NODES]
    peers = tmp_path / "peers"
    told = (*SHARING, "--peers-file", str(peers))
    nodes = room.start(*(room.node(host, mdns=False, arguments=told) for host in hosts))
    assert not any(node.living() for node in nodes)
    peers.write_text(f"# one is enough\n{hosts[0].address}:{PEER_PORT}\n")
    room.meet(nodes)
