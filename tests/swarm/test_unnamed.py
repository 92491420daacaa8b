"""Peers that a file or the DNS named, and names no longer: a fleet's pods come and go, the table must not grow."""

from __future__ import annotations

import random

from p2pcdn.swarm.neighbours.peer import CONFIGURED, LOCAL
from p2pcdn.swarm.neighbours.peers import GREETINGS_MAX, PEERS_MAX, Peers
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Sighting


def named(number: int, *, gone: bool = False) -> Sighting:
    return Sighting(f"10.1.{number // 250}.{number % 250}", 7273, gone=gone)


def test_whoever_never_answered_goes_when_it_is_no_longer_named() -> None:
    peers = Peers("aa" * 16, random.Random(1))
    for number in range(3 * PEERS_MAX):
        assert peers.sight(named(number), CONFIGURED, 0.0)
        peers.unname(named(number, gone=True))
    assert len(peers) == 0


def test_whoever_answers_stays_until_it_has_failed_for_minutes() -> None:
    peers = Peers("aa" * 16, random.Random(1))
    peer = peers.sight(named(1), CONFIGURED, 0.0)
    assert peer
    peers.answered(peer, Hello("", "bb" * 16, "0"), 0.001, 0.0)
    peers.unname(named(1, gone=True))
    assert peers.to_ask(1.0, 16) == [peer]
    for _ in range(GREETINGS_MAX):
        assert len(peers) == 1
        peers.failed(peer, "It is gone.", peer.ask_at)
    assert len(peers) == 0
    assert peer.ask_at < 300.0, "a pod that is gone is not shown for hours"


def test_a_liar_is_not_forgotten_because_nobody_names_it() -> None:
    peers = Peers("aa" * 16, random.Random(1))
    peer = peers.sight(named(1), CONFIGURED, 0.0)
    assert peer
    peers.lied(peer, "It lied.", 0.0)
    peers.unname(named(1, gone=True))
    assert len(peers) == 1


def test_a_neighbour_that_was_found_is_none_of_the_files_business() -> None:
    peers = Peers("aa" * 16, random.Random(1))
    peers.sight(Sighting("192.0.2.1", 1, "bb" * 16), LOCAL, 0.0)
    peers.unname(Sighting("192.0.2.1", 1, gone=True))
    peers.unname(Sighting("no such host", 1, gone=True))
    assert len(peers) == 1
