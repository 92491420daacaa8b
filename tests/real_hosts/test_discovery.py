"""Nodes on hosts of one LAN find each other, by multicast or by the name of one of them."""

from __future__ import annotations

import pytest

from tests.bench.patience import until
from tests.real_hosts.lan import Lan
from tests.real_hosts.node import PEER_PORT
from tests.real_hosts.room import MEET_TIME_S_MAX, Room


def test_eight_nodes_that_start_together_find_each_other_by_multicast(room: Room, lan: Lan) -> None:
    nodes = room.nodes()
    room.meet(nodes)
    for node in nodes:
        rows = {row["address"]: row for row in node.peers()}
        others = {f"{host.address}:{PEER_PORT}" for host in lan.hosts if host is not node.host}
        assert set(rows) == others
        assert all(row["last_seen_s"] is not None and row["strikes"] == 0 for row in rows.values())


def test_a_newcomer_finds_those_that_are_there(room: Room, lan: Lan) -> None:
    nodes = room.nodes(3)
    room.meet(nodes)
    (newcomer,) = room.start(room.node(lan.hosts[3]))
    room.meet([*nodes, newcomer])


def test_one_that_was_started_anew_is_found_again(room: Room) -> None:
    nodes = room.nodes(3)
    room.meet(nodes)
    nodes[0].kill9()
    nodes[0].start()
    until(lambda: len(nodes[0].living()) == 2, "the others are found", MEET_TIME_S_MAX)
    room.meet(nodes)


def test_one_member_that_is_named_is_enough_to_find_the_rest(room: Room, lan: Lan) -> None:
    first = room.node(lan.hosts[0], mdns=False)
    named = f"{lan.hosts[0].address}:{PEER_PORT}"
    others = [room.node(host, mdns=False, peers=[named]) for host in lan.hosts[1:]]
    room.meet(room.start(first, *others))


@pytest.mark.slow
def test_a_chain_of_names_is_enough_too(room: Room, lan: Lan) -> None:
    chain = [room.node(lan.hosts[0], mdns=False)]
    for before, host in zip(lan.hosts, lan.hosts[1:], strict=False):
        chain.append(room.node(host, mdns=False, peers=[f"{before.address}:{PEER_PORT}"]))
    room.meet(room.start(*chain))
