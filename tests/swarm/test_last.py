"""Who is known to give wrong bytes comes last: after everybody else, in the end all the same, and on no liar's word."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1 import Response
from p2pcdn.swarm.advising.crowd import ACCUSED_PER_HOST_MAX, ACCUSERS_MIN, Crowd
from p2pcdn.swarm.advising.leases import LEASE_S
from p2pcdn.swarm.advising.member import network_of
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.giving.slots import LAST_RETRY_MS, SLOTS_PER_FILE
from p2pcdn.swarm.pieces.last import ONE_IN, ONE_IN_SLOW, TOLD_S, UNASKED_S, WAITED_S, Last
from p2pcdn.swarm.pieces.manifest import manifest_of
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import LAST_TOLD_MAX, TRACKER, Advice, AskCrowd, read_ask_crowd
from tests.swarm.nodes import HANG_S, MIB, TestNode, content_of, node
from tests.swarm.test_crowd import address, ask, boot, tell
from tests.swarm.test_provide import ask_piece
from tests.swarm.test_sharing import CONTENT, FILE, sharing_of

# What is put off, and who is served, at one giver of one file.
LIAR, OTHER = "192.0.2.66", "192.0.2.1"


def a_giver(now: float) -> Last:
    last = Last()
    last.follow([LIAR], now)
    return last


def is_let_in(last: Last, host: str, now: float, *, busy: bool) -> bool:
    """It asks, and a slot is free."""
    if last.puts_off(host, now, busy=busy):
        return False
    last.lets_in(host, now)
    return True


# --- at a giver


def test_who_comes_last_gets_nothing_while_others_ask_but_one_in_so_many() -> None:
    last, let_in = a_giver(0.0), []
    for number in range(1, 3 * ONE_IN + 1):
        now = number / 1000
        assert is_let_in(last, OTHER, now, busy=True)
        let_in += [number] if is_let_in(last, LIAR, now, busy=True) else []
    assert let_in == [ONE_IN, 2 * ONE_IN, 3 * ONE_IN]


def test_where_pieces_leave_slowly_who_comes_last_gets_one_before_it_gives_the_room_up() -> None:
    last = a_giver(0.0)
    for second in range(ONE_IN_SLOW):
        assert last.puts_off(LIAR, second / 2, busy=True)
        last.puts_off(OTHER, second / 2, busy=True)
    assert is_let_in(last, LIAR, WAITED_S + 0.1, busy=True)
    assert last.puts_off(LIAR, WAITED_S + 0.2, busy=True), "one, and not all that it asks for"


def test_one_piece_that_hardly_moves_does_not_keep_who_comes_last_out_for_ever() -> None:
    last = a_giver(0.0)
    assert is_let_in(last, OTHER, 0.0, busy=True)
    let_in = [half / 2 for half in range(1, 25) if is_let_in(last, LIAR, half / 2, busy=True)]
    assert let_in == [4.5, 9.0], "nobody else asks, and the piece is on its way all the time"


def test_what_a_tracker_said_long_ago_puts_nobody_off() -> None:
    last = a_giver(0.0)
    last.puts_off(OTHER, TOLD_S, busy=True)
    last.lets_in(LIAR, TOLD_S - 1)
    assert last.puts_off(LIAR, TOLD_S, busy=True)
    assert not last.puts_off(LIAR, TOLD_S + 0.1, busy=True)
    assert not last.hosts


def test_no_tracker_brings_last_who_asks_from_the_givers_own_machine() -> None:
    """A liar beside its tracker is loopback to that; to everybody else that is his own other nodes."""
    last = Last()
    last.follow([LIAR, network_of("127.0.0.1"), network_of("::1")], 0.0)
    assert last.hosts == {LIAR}


def test_an_idle_port_serves_anybody() -> None:
    last = a_giver(0.0)
    last.puts_off(OTHER, 1.0, busy=False)
    assert last.puts_off(LIAR, 1.0 + UNASKED_S / 2, busy=False), "the other one is about to ask again"
    assert not last.puts_off(LIAR, 1.0 + 2 * UNASKED_S, busy=False)
    assert last.puts_off(LIAR, 1.0 + 3 * UNASKED_S, busy=True), "a piece is on its way to somebody else"


async def test_a_node_serves_everybody_else_first_whether_its_file_still_grows_or_is_whole(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sharing = await growing(it)
        sharing.last.follow([LIAR], trio.current_time())
        await others_are_served_first(it)
        blob = await sharing.partial.finish()
        assert it.store.holds(blob.sha256)
        await others_are_served_first(it)
        await trio.sleep(2 * UNASKED_S)
        assert (await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")).status == 200, "nobody else asks any more"


async def test_a_node_that_is_busy_with_another_file_gives_to_who_comes_last_with_this_one(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sharing = await growing(it)
        await sharing.partial.finish()
        sharing.last.follow([LIAR], trio.current_time())
        await it.keep(content := content_of(7, MIB))
        given = await ask_piece(it.swarm, content, 0, peer=f"{OTHER}:5")
        assert given.status == 200, "and it is on its way"
        assert (await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")).status == 200, "nobody else wants this file"
        ended(given)


async def test_whose_turn_it_is_keeps_it_until_a_slot_is_free(tmp_path: Path) -> None:
    """A busy node of a whole file is full nearly always: who comes last would else get nothing for its one question."""
    async with node(tmp_path / "a") as it:
        sharing = await growing(it)
        await sharing.partial.finish()
        sharing.last.follow([LIAR], trio.current_time())
        given = [await ask_piece(it.swarm, CONTENT, 0, peer=f"192.0.2.{host}:5") for host in range(1, ONE_IN + 1)]
        under_way = [answer for answer in given if answer.status == 200]
        assert len(under_way) == SLOTS_PER_FILE
        for _ in range(3):
            assert (await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")).status == 503
        ended(under_way.pop())
        served = await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")
        assert served.status == 200
        ended(served)
        again = await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")
        assert dict(again.headers)["retry-after-ms"] == str(LAST_RETRY_MS), "one, and not all that it asks for"


async def growing(it: TestNode) -> Sharing:
    """All pieces of a file are here, and its hash is not proven yet."""
    partial = await it.wants(CONTENT)
    sharing = sharing_of(partial)
    sharing.adopt(manifest_of(FILE, CONTENT))
    await partial.write(0, CONTENT)
    sharing.here = sharing.provable = bitfield.all_of(sharing.pieces)
    it.swarm._provider.outgoing.share(sharing)
    return sharing


async def others_are_served_first(it: TestNode) -> None:
    other = await ask_piece(it.swarm, CONTENT, 0, peer=f"{OTHER}:5")
    refused = await ask_piece(it.swarm, CONTENT, 0, peer=f"{LIAR}:5")
    assert (other.status, refused.status) == (200, 503)
    assert dict(refused.headers)["retry-after-ms"] == str(LAST_RETRY_MS)
    ended(other)


def ended(answer: Response) -> None:
    assert answer.release is not None
    answer.release()


async def test_a_network_of_ipv6_comes_last_whichever_address_of_it_asks(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sharing = await growing(it)
        sharing.last.follow(["2001:0db8:0001:0002"], trio.current_time())
        with trio.fail_after(HANG_S):
            ended(await ask_piece(it.swarm, CONTENT, 0, peer="[2001:db8:1:3::7]:5"))
            assert (await ask_piece(it.swarm, CONTENT, 0, peer="[2001:db8:1:2::9]:5")).status == 503


# --- in the tracker's eyes


def complain(crowd: Crowd, number: int, of: int, now: float = 0.2, *, lied: bool = True) -> Advice:
    """One member says that another one failed it, or gave it something wrong."""
    left = (address(of),)
    return crowd.advise(replace(ask(number), left=left, lied=left if lied else ()), address(number), now)


def parents_of(crowd: Crowd, members: int) -> dict[int, tuple[str | None, ...]]:
    return {number: tell(crowd, number, 0.1).parents for number in range(1, members)}


def a_crowd(members: int) -> Crowd:
    crowd = Crowd()
    for number in range(members):
        tell(crowd, number, 0.0)
    return crowd


def comes_last(crowd: Crowd) -> set[int]:
    return {one.number for one in crowd.members.values() if one.seat.last}


def condemn(crowd: Crowd, members: int, liar: int, *, lied: bool = True) -> None:
    for number, told in parents_of(crowd, members).items():
        if address(liar) in told:
            complain(crowd, number, liar, lied=lied)


def test_a_liar_comes_last_and_nobody_else_is_without_a_parent() -> None:
    members = 40
    crowd = a_crowd(members)
    liars = [7, 11, 23, 31]
    for liar in liars:
        condemn(crowd, members, liar)
    assert comes_last(crowd) == set(liars)
    for number, told in parents_of(crowd, members).items():
        if number in liars:
            assert told == (None,) * CLASSES
        else:
            assert None not in told
            assert not {address(liar) for liar in liars} & set(told)
    assert set(tell(crowd, 1, 0.3).last) == {f"192.0.2.{liar}" for liar in liars}


def test_who_failed_its_children_does_not_come_last() -> None:
    crowd = a_crowd(40)
    condemn(crowd, 40, 7, lied=False)
    assert not comes_last(crowd)
    assert not tell(crowd, 1, 0.3).last


def test_a_reader_that_was_accused_comes_last_when_its_turn_is_over() -> None:
    crowd = a_crowd(20)
    for _ in range(ACCUSERS_MIN):
        condemn(crowd, 20, 0)
    assert not comes_last(crowd), "it has its turn"
    for number in range(20):
        tell(crowd, number, LEASE_S - 0.1)
    tell(crowd, 1, LEASE_S + 0.1)
    assert comes_last(crowd) == {0}
    assert tell(crowd, 0, LEASE_S + 0.2).parents == (None,) * CLASSES


def test_who_comes_last_reads_the_origin_where_nobody_else_can_and_not_before() -> None:
    crowd = a_crowd(20)
    condemn(crowd, 20, 7)
    crowd.leave(boot(0))
    assert not tell(crowd, 7, 0.3).read
    assert tell(crowd, 1, 0.4).read
    for number in set(range(1, 20)) - {7}:
        crowd.leave(boot(number))
    assert tell(crowd, 7, 0.5).read


def test_a_word_of_one_host_is_not_three_and_of_strangers_none() -> None:
    crowd = Crowd()
    for number in range(40):
        crowd.advise(ask(number), f"192.0.2.{number // 20}:{1000 + number}", 0.0)
    for number in range(1, 40):
        for other in crowd.members.values():
            left = (other.address,)
            here = f"192.0.2.{number // 20}:{1000 + number}"
            crowd.advise(replace(ask(number), left=left, lied=left), here, 0.2)
    assert not comes_last(crowd), "all of it comes from two hosts"


def test_a_host_that_others_share_is_not_named() -> None:
    crowd = Crowd()
    for number in range(40):
        crowd.advise(ask(number), address(7 if number == 8 else number).rpartition(":")[0] + f":{1000 + number}", 0.0)
    told = {n: crowd.members[boot(n)].seat for n in range(40)}
    liar = told[7]
    for number, seat in told.items():
        if liar in seat.parents and number != 8:
            here = crowd.members[boot(number)].address
            left = (crowd.members[boot(7)].address,)
            crowd.advise(replace(ask(number), left=left, lied=left), here, 0.2)
    assert comes_last(crowd) == {7}
    assert not tell(crowd, 1, 0.3).last, "an honest one would come last with it"


@given(dice=st.randoms(use_true_random=False), members=st.integers(20, 60))
@settings(deadline=None, max_examples=15)
def test_a_tenth_that_agree_on_it_bring_fewer_than_a_tenth_of_the_honest_last(
    dice: random.Random, members: int
) -> None:
    """They complain as often as they like, of whatever parents they are given, and give nobody wrong bytes."""
    crowd, liars = a_crowd(members), dice.sample(range(1, members), members // 10)
    for _ in range(5):
        for number in dice.sample(liars, len(liars)):
            told = [int(one.rpartition(":")[2]) - 1000 for one in tell(crowd, number, 0.2).parents if one]
            victims = [one for one in told if one not in liars]
            for victim in victims:
                complain(crowd, number, victim, 0.3)
    assert len(comes_last(crowd)) <= len(liars) * ACCUSED_PER_HOST_MAX // ACCUSERS_MIN
    assert len(comes_last(crowd)) < (members - len(liars)) / 10


# --- on the wire


def test_the_question_and_the_advice_say_who_and_nothing_where_there_is_nobody() -> None:
    asked = replace(ask(1), left=("192.0.2.7:1", TRACKER), lied=("192.0.2.7:1",))
    assert read_ask_crowd(asked.id, asked.target().partition("?")[2]) == asked
    assert "lied" not in ask(1).target()
    assert Advice.decode(Advice(last=("192.0.2.7", "2001:0db8:0001:0002")).encode()).last == (
        "192.0.2.7",
        "2001:0db8:0001:0002",
    )
    assert b"last" not in Advice().encode()


@pytest.mark.parametrize("hosts", [("a host.",), ("",), ("192.0.2.7",) * (LAST_TOLD_MAX + 1)])
def test_those_who_come_last_are_hosts_and_not_many(hosts: tuple[str, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        Advice.decode(Advice(last=hosts).encode())


def test_what_a_later_version_says_beside_a_question_is_passed_over() -> None:
    for asked in (ask(1), replace(ask(1), left=("192.0.2.7:1",), lied=("192.0.2.7:1",), read=5)):
        query = asked.target().partition("?")[2]
        assert read_ask_crowd(asked.id, f"{query}&hue=blue,red&depth=") == asked
        with pytest.raises(RemoteProtocolError):
            read_ask_crowd(asked.id, query + "".join(f"&{name}=1" for name in "abcde"))


def test_a_question_that_accuses_too_many_is_none() -> None:
    asked: AskCrowd = replace(ask(1), lied=("192.0.2.7:1",) * 5)
    with pytest.raises(RemoteProtocolError):
        read_ask_crowd(asked.id, asked.target().partition("?")[2])
