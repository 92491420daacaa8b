"""The table of neighbours and the choice of pieces: plain decisions, on times that the test names."""

from __future__ import annotations

import random

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.swarm.neighbours.peer import ASKED_US, CONFIGURED, LOCAL, Peer
from p2pcdn.swarm.neighbours.peers import (
    BACK_OFF_FIRST_S,
    BAN_S,
    GREETED_AT_ONCE_MAX,
    GREETINGS_MAX,
    PEERS_MAX,
    PEERS_PER_HOST_MAX,
    SILENCE_WAIT_MAX_S,
    STRIKE_PAUSE_S,
    Peers,
)
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Sighting

OWN = "ff" * 16
FILE = Sha256("0" * 64)


def table() -> Peers:
    return Peers(OWN, random.Random(4))


def met(peers: Peers, host: str = "192.0.2.1", port: int = 7273, boot: str = "aa" * 16, source: str = LOCAL) -> Peer:
    peer = peers.sight(Sighting(host, port, boot if source == LOCAL else None), source, 0.0)
    assert peer is not None
    peers.answered(peer, Hello("n", boot, "1"), 0.001, 0.0)
    return peer


def test_a_sighting_is_believed_only_after_it_answered() -> None:
    peers = table()
    peer = peers.sight(Sighting("192.0.2.1", 7273, "aa" * 16), LOCAL, 0.0)
    assert peer is not None
    assert peers.to_ask(0.0, 16) == []
    assert peers.to_greet(0.0) == [peer]
    peers.answered(peer, Hello("n", "aa" * 16, "1"), 0.001, 0.0)
    assert peers.to_ask(0.0, 16) == [peer]


def test_a_configured_peer_may_be_asked_before_it_was_met() -> None:
    peers = table()
    peer = peers.sight(Sighting("seed.example", 7273), CONFIGURED, 0.0)
    assert peers.to_ask(0.0, 16) == [peer]


@pytest.mark.parametrize(
    "sighting",
    [
        Sighting("192.0.2.1", 0, "aa" * 16),
        Sighting("192.0.2.1", 65536, "aa" * 16),
        Sighting("", 1, "aa" * 16),
        Sighting("224.0.0.251", 1, "aa" * 16),
        Sighting("0.0.0.0", 1, "aa" * 16),
        Sighting("a name\r\n", 1),
        Sighting("metadata.internal", 1, "aa" * 16),
        Sighting("192.0.2.1", 1, OWN),
    ],
)
def test_a_hint_that_makes_no_sense_is_passed_over(sighting: Sighting) -> None:
    assert table().sight(sighting, LOCAL, 0.0) is None


def test_who_fails_is_left_alone_longer_each_time_and_comes_back() -> None:
    peers = table()
    peer = met(peers, source=CONFIGURED)
    pauses = []
    now = 0.0
    for _ in range(5):
        peers.failed(peer, "gone", now)
        assert peers.is_quiet(peer, now)
        pauses.append(peer.ask_at - now)
        now = peer.ask_at
    assert pauses == sorted(pauses)
    peers.answered(peer, Hello("n", "aa" * 16, "1"), 0.001, now)
    assert peers.to_ask(now, 16) == [peer]


def test_who_greets_and_then_stalls_is_left_alone_longer_each_time_too() -> None:
    peers = table()
    peer = met(peers, source=CONFIGURED)
    now, pauses = 0.0, []
    for _ in range(6):
        peers.failed(peer, "no piece in time", now)
        pauses.append(peer.ask_at - now)
        now = peer.ask_at
        peers.answered(peer, Hello("n", "aa" * 16, "1"), 0.001, now)
        assert peers.to_ask(now, 16) == [peer]
    assert pauses == sorted(pauses)
    peers.gave(peer, 1, now)
    peers.failed(peer, "gone", now)
    assert peer.ask_at - now < pauses[1]


def test_a_stranger_that_never_answers_is_forgotten_and_a_configured_one_is_not() -> None:
    peers = table()
    stranger = peers.sight(Sighting("192.0.2.1", 1, "aa" * 16), LOCAL, 0.0)
    configured = peers.sight(Sighting("192.0.2.2", 1), CONFIGURED, 0.0)
    assert stranger is not None
    assert configured is not None
    for _ in range(GREETINGS_MAX):
        for peer in (stranger, configured):
            peers.failed(peer, "gone", peer.ask_at)
    assert list(peers) == [configured]


def test_three_lies_are_a_ban_and_one_more_after_it_is_the_next() -> None:
    peers = table()
    peer = met(peers)
    now = 0.0
    for strikes in (1, 2, 3):
        peers.lied(peer, "a wrong piece", now)
        assert peer.strikes == strikes
        assert peers.to_ask(now, 16) == []
        now += STRIKE_PAUSE_S
    assert peer.banned
    assert peers.is_quiet(peer, now + BAN_S - 2 * STRIKE_PAUSE_S)
    now += BAN_S
    assert peers.to_ask(now, 16) == [peer]
    peers.lied(peer, "again", now)
    assert peer.banned


def test_who_lied_about_a_file_is_not_asked_for_it_again() -> None:
    peers = table()
    peer = met(peers)
    peers.distrust(peer, FILE)
    assert peers.to_ask(0.0, 16, FILE) == []
    assert peers.to_ask(0.0, 16, Sha256("1" * 64)) == [peer]


def test_forged_names_by_the_ten_thousand_leave_the_table_bounded_and_the_living_in_it() -> None:
    peers = table()
    friends = [met(peers, f"198.51.100.{number}", boot=f"{number:032x}") for number in range(50)]
    for number in range(20_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        peers.sight(Sighting(host, 7273, f"{number + 1000:032x}"), LOCAL, 1.0)
        peers.sight(Sighting("203.0.113.9", number % 65000 + 1), ASKED_US, 1.0)
    assert len(peers) <= PEERS_MAX
    assert sum(peer.address.host == "203.0.113.9" for peer in peers) <= PEERS_PER_HOST_MAX
    assert set(friends) <= set(peers)


def flooded(now: float = 0.0, names: int = 500) -> Peers:
    """A table that has heard of so many machines that are not there."""
    peers = table()
    for number in range(names):
        peers.sight(Sighting(f"10.0.{number >> 8}.{number & 255}", 7273, f"{number:032x}"), LOCAL, now)
    return peers


def test_who_was_named_is_greeted_at_once_and_first_whatever_rumour_said_of_it() -> None:
    peers = flooded()
    there = Sighting("192.0.2.1", 7273, "aa" * 16)
    peer = peers.sight(there, LOCAL, 0.0)
    assert peer is not None
    assert peer.ask_at > 0.0, "rumour has it for by and by"
    peers.sight(there._replace(instance=None), CONFIGURED, 0.1)
    assert peers.to_greet(0.1)[0] is peer


def test_who_asked_us_is_greeted_at_once_though_hundreds_are_said_to_be_there() -> None:
    peers = flooded()
    known = peers.sight(Sighting("192.0.2.1", 7273, "aa" * 16), LOCAL, 0.0)
    for host in ("192.0.2.1", "192.0.2.2"):
        asked = peers.sight(Sighting(host, 7273, None), ASKED_US, 0.1)
        assert asked in peers.to_greet(0.1)
        assert asked is known or host != "192.0.2.1"


def test_who_asked_us_is_no_rumour_though_it_was_too_busy_for_our_first_hello() -> None:
    """A rumour has half a second; that of a busy neighbour, once past, kept it behind each new name of nobody."""
    peers = table()
    busy = peers.sight(Sighting("192.0.2.1", 7273, "aa" * 16), LOCAL, 0.0)
    assert busy is not None
    peers.failed(busy, "no answer in time", 0.5)
    for number in range(100):
        peers.sight(Sighting(f"10.0.0.{number}", 7273, f"{number:032x}"), LOCAL, 0.5)
    peers.sight(Sighting("192.0.2.1", 7273, None), ASKED_US, 0.6)
    assert not busy.rumoured
    assert peers.to_greet(busy.ask_at)[0] is busy


def test_two_dozen_names_of_nobody_keep_the_next_one_waiting_for_a_moment_only() -> None:
    peers = flooded(names=GREETED_AT_ONCE_MAX)
    early, late = (
        peers.sight(Sighting(host, 7273, boot * 32), LOCAL, now)
        for host, boot, now in (("192.0.2.1", "a", 0.1), ("192.0.2.2", "b", 1.0))
    )
    due = peers.to_greet(1.0)
    assert early not in due
    assert late in due


def test_those_that_failed_wait_for_those_that_nobody_has_asked_yet() -> None:
    peers = flooded(names=3)
    first = peers.to_greet(0.0)[0]
    peers.failed(first, "no answer", 0.0)
    assert peers.to_greet(60.0)[-1] is first


def test_a_room_whose_nodes_answer_is_greeted_two_dozen_at_a_time() -> None:
    peers = table()
    for number in range(100):
        met_now = peers.sight(Sighting(f"10.0.0.{number}", 7273, f"{number:032x}"), ASKED_US, 0.0)
        if met_now is not None and met_now.ask_at <= 0.0:
            peers.answered(met_now, Hello("n", f"{number:032x}", "1"), 0.001, 0.0)
    assert sum(peer.living for peer in peers) == GREETED_AT_ONCE_MAX


def test_a_node_with_two_addresses_is_asked_at_one_and_shown_once() -> None:
    peers = table()
    met(peers, "192.0.2.1")
    named = met(peers, "198.51.100.1", source=CONFIGURED)
    met(peers, "203.0.113.1")
    assert peers.to_ask(0.0, 16) == [named]
    assert len(peers.status({}, 0.0)) == 1


def test_a_stranger_that_answers_as_ourselves_is_dropped() -> None:
    peers = table()
    peer = peers.sight(Sighting("192.0.2.1", 1), CONFIGURED, 0.0)
    assert peer is not None
    assert not peers.answered(peer, Hello("n", OWN, "1"), 0.001, 0.0)
    assert len(peers) == 0
    assert peers.sight(Sighting("192.0.2.1", 1), CONFIGURED, 0.0) is None


# --- which piece of whom


def test_a_node_that_starts_anew_on_other_ports_finds_room_where_its_old_ones_are_down() -> None:
    peers = table()
    for port in range(1, PEERS_PER_HOST_MAX + 1):
        met(peers, port=port, boot=f"{port:032x}")
    there = met(peers, host="192.0.2.2")
    new = Sighting("192.0.2.1", 9000, "bb" * 16)
    assert peers.sight(new, LOCAL, 1.0) is None, "all of them answered, and live"
    for peer in list(peers):
        if peer.address.port in (3, 5):
            peers.failed(peer, "gone", 2.0)
    assert peers.sight(new, LOCAL, 3.0) is not None
    assert 3 not in [peer.address.port for peer in peers]
    assert there in list(peers)


def test_one_that_is_banned_is_not_forgotten_for_another() -> None:
    peers = table()
    for port in range(1, PEERS_PER_HOST_MAX + 1):
        liar = met(peers, port=port, boot=f"{port:032x}")
        for _ in range(3):
            peers.lied(liar, "wrong", 1.0)
        peers.failed(liar, "gone", 2.0)
    assert peers.sight(Sighting("192.0.2.1", 9000, "bb" * 16), LOCAL, 3.0) is None


def test_many_questions_that_fail_in_one_moment_are_one_failure() -> None:
    peers = table()
    peer = met(peers)
    for moment_s in range(4):
        peers.failed(peer, "no answer in time", 10 + moment_s / 100, silent=True)
    assert peers.to_greet(10 + 2 * BACK_OFF_FIRST_S) == [peer]
    assert peer.failures == 1


def test_who_has_failed_often_is_waited_for_only_when_it_is_about_to_be_greeted() -> None:
    peers, now = table(), 0.0
    peer = met(peers)
    for _ in range(10):
        peers.failed(peer, "no answer in time", now, silent=True)
        now = peer.ask_at
        peers.answered(peer, Hello("n", "aa" * 16, "1"), 0.001, now)
    assert peers.silent(now) == []
    peers.failed(peer, "no answer in time", now, silent=True)
    assert peers.silent(now) == [], "its next hello is minutes away"
    assert peers.silent(peer.ask_at - SILENCE_WAIT_MAX_S / 2) == [peer]
