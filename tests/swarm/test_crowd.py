"""The tracker's advice, on made-up crowds: one reads, everybody else has a parent, and who falls silent is replaced."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.swarm.advising.crowd import (
    AGAIN_MS,
    COMPLAINTS_PER_HOST_MAX,
    HOLDER_KEPT_S,
    HURRY_MS,
    MEMBERS_MAX,
    MEMBERS_PER_HOST_MAX,
    Crowd,
)
from p2pcdn.swarm.advising.leases import LEASE_S, LEASES_MAX, LEASES_PER_HOST_MAX, WAITING_MAX
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.advising.tracker import CROWDS_MAX, Tracker, ranked
from p2pcdn.swarm.advising.trial import DECIDED_AFTER_S
from p2pcdn.swarm.pieces.rarity import Rarity
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice, AskCrowd, Reader

ID = "ab" * 32
PIECES = 12


def boot(number: int) -> str:
    return f"{number:032x}"


def ask(
    number: int,
    holds: int = 0,
    *,
    able: bool = True,
    gives: bool = True,
    got: int | None = None,
    read: int | None = None,
) -> AskCrowd:
    return AskCrowd(
        ID,
        boot(number),
        7273,
        device_of(number),
        PIECES * 100,
        PIECES,
        bitfield.encode(holds, PIECES) if holds else "",
        holds.bit_count() * 100 if got is None else got,
        able,
        gives,
        read=(holds.bit_count() * 100 if got is None else got) if read is None else read,
    )


def device_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def address(number: int) -> str:
    return f"192.0.2.{number % 250}:{1000 + number}"


def tell(crowd: Crowd, number: int, now: float, holds: int = 0, **more: Any) -> Advice:
    return crowd.advise(ask(number, holds, **more), address(number), now)


def test_the_first_reads_the_origin_and_the_others_follow_it() -> None:
    crowd = Crowd()
    assert tell(crowd, 0, 0.0).read
    for number in range(1, 4):
        advice = tell(crowd, number, 0.1)
        assert not advice.read
        assert advice.makers == ((device_of(0), address(0)),)
    assert tell(crowd, 0, 0.2).read
    assert set(tell(crowd, 1, 0.3).parents) <= {address(number) for number in (0, 2, 3)}


@given(st.integers(2, 400))
@settings(deadline=None, max_examples=40)
def test_every_class_is_a_tree_from_the_reader_and_nobody_gives_to_more_than_its_share(members: int) -> None:
    crowd = Crowd()
    for number in range(members):
        tell(crowd, number, 0.0)
    parents = {address(number): tell(crowd, number, 0.1).parents for number in range(1, members)}
    for klass in range(CLASSES):
        children = Counter(told[klass] for told in parents.values())
        assert children[address(0)] <= 2, "the reader has to send each piece once"
        assert max(children.values()) <= CLASSES + 1
        deepest = 0
        for one in parents:
            steps, at = 0, one
            while at != address(0):
                at, steps = parents[at][klass], steps + 1
                assert steps < 12, "no circle, and no long way"
            deepest = max(deepest, steps)
        assert CLASSES ** (deepest - 3) <= members
    given_by = Counter(parent for told in parents.values() for parent in told)
    assert max(given_by.values()) <= 2 * CLASSES


def test_who_would_rather_not_give_is_nobodys_parent_while_others_are() -> None:
    crowd = Crowd()
    for number in range(30):
        tell(crowd, number, 0.0, gives=number % 2 == 0)
    for number in range(1, 30):
        for parent in tell(crowd, number, 0.1, gives=number % 2 == 0).parents:
            assert parent is None or int(parent.rpartition(":")[2]) % 2 == 0


def test_where_nobody_would_rather_give_everybody_does() -> None:
    crowd = Crowd()
    for number in range(30):
        tell(crowd, number, 0.0, gives=False)
    for number in range(1, 30):
        assert None not in tell(crowd, number, 0.1, gives=False).parents


def test_a_machine_that_is_unplugged_in_the_middle_is_nobodys_parent_any_more() -> None:
    crowd = Crowd()
    for number in range(30):
        tell(crowd, number, 0.0)
    given = Counter(parent for number in range(1, 30) for parent in tell(crowd, number, 0.1).parents)
    gone = next(number for number in range(1, 30) if given[address(number)])
    tell(crowd, gone, 0.2, gives=False)
    assert address(gone) not in {
        one for number in range(1, 30) for one in tell(crowd, number, 0.3).parents if number != gone
    }


def test_a_reader_that_falls_silent_is_replaced_after_the_lease_and_knows_what_others_have() -> None:
    crowd = Crowd()
    tell(crowd, 0, 0.0)
    tell(crowd, 1, 0.0)
    tell(crowd, 1, 1.0, 0b0111)
    tell(crowd, 2, 1.0, 0b1011)
    assert not tell(crowd, 1, LEASE_S - 0.1, 0b0111).read
    tell(crowd, 2, LEASE_S, 0b1011)
    advice = tell(crowd, 1, LEASE_S + 0.1, 0b0111)
    assert advice.read
    assert bitfield.decode(advice.held, PIECES) == 0b1011


def test_a_reader_that_brings_nothing_new_loses_its_lease_though_it_asks_on() -> None:
    crowd = Crowd()
    assert tell(crowd, 0, 0.0).read
    for tick in range(1, 10):
        reads = tell(crowd, 0, tick / 2, 0b1).read, tell(crowd, 1, tick / 2).read
        assert sum(reads) <= 1
    assert reads == (False, True)


def test_a_slow_reader_that_gets_some_bytes_keeps_it() -> None:
    crowd = Crowd()
    for tick in range(40):
        assert crowd.advise(ask(0, got=tick + 1), address(0), tick / 2).read
        assert not tell(crowd, 1, tick / 2).read


@pytest.mark.parametrize("passes_on", [False, True], ids=["it keeps what it reads", "all have some of it at once"])
def test_an_upstream_that_is_slow_to_begin_is_read_by_whoever_asked_it_first(passes_on: bool) -> None:
    """Others begin beside it, for it may hang; the first byte of one of them ends all the others' readings. What they
    have of each other is no byte of the upstream."""
    crowd, dice, members = Crowd(), random.Random(1), range(20)
    tick_s, begins_after_s = 0.5, 8.0
    reading_since: dict[int, float] = {}
    for tick in range(60):
        now = tick * tick_s
        # What the first one reads others have, and tell, before it does.
        asking = dice.sample(members, len(members))
        for number in sorted(asking, key=lambda number: passes_on and reading_since.get(number) == 0.0):
            has = now - reading_since.get(number, now) >= begins_after_s
            some = has or (passes_on and now >= begins_after_s)
            read = tick if has else 0
            if not tell(crowd, number, now, 0b1 if some else 0, got=tick if some else 0, read=read).read:
                reading_since.pop(number, None)
            else:
                reading_since.setdefault(number, now)
        if now > begins_after_s + 2 * tick_s:
            assert list(reading_since.values()) == [0.0]
            assert list(crowd.leases.held) == [boot(*reading_since)]
            assert [one.boot for one in crowd.members.values() if one.seat.source] == list(crowd.leases.held)
        else:
            assert len(reading_since) <= 1 + WAITING_MAX


def test_before_a_lease_lapses_all_ask_again_soon_and_hear_what_follows() -> None:
    crowd = Crowd()
    for tick in range(20):
        advice = [tell(crowd, number, tick / 10) for number in range(10)]
    assert {one.again_ms for one in advice} == {HURRY_MS}
    advice = [tell(crowd, number, LEASE_S + 0.1) for number in range(1, 10)]
    assert [one.read for one in advice] == [True] + [False] * 8
    assert {one.again_ms for one in advice} == {AGAIN_MS[-1]}


def test_a_reader_is_not_told_to_ask_itself() -> None:
    crowd = Crowd()
    tell(crowd, 0, 0.0)
    tell(crowd, 1, 0.1)
    assert tell(crowd, 0, 0.2).makers == ()
    assert tell(crowd, 1, 0.2).makers == ((device_of(0), address(0)),)


def test_where_somebody_has_it_all_nobody_reads_unless_he_has_gone() -> None:
    crowd = Crowd()
    whole = bitfield.all_of(PIECES)
    tell(crowd, 0, 0.0, whole)
    advice = tell(crowd, 1, 10.0)
    assert not advice.read
    assert advice.parents == (address(0),) * CLASSES
    assert tell(crowd, 1, 10.0 + LEASE_S).read, "three seconds and nothing came"
    assert tell(Crowd(), 1, HOLDER_KEPT_S).read


def test_who_does_not_believe_the_reader_reads_itself_and_is_believed_by_its_like() -> None:
    crowd = Crowd()
    tell(crowd, 0, 0.0)
    doubting = [
        crowd.advise(
            AskCrowd(ID, boot(number), 1, device_of(number), 1200, PIECES, distrusted=(device_of(0),)),
            address(number),
            0.1,
        )
        for number in range(1, 5)
    ]
    assert [advice.read for advice in doubting] == [True, False, False, False]
    assert all(device_of(0) not in dict(advice.makers) for advice in doubting)
    assert len(crowd.leases.held) <= LEASES_MAX


def test_where_one_connection_is_the_limit_several_read_each_its_part() -> None:
    crowd = Crowd()
    advice = [
        crowd.advise(AskCrowd(ID, boot(number), 1, device_of(number), 1200, PIECES, readers=3), address(number), 0.0)
        for number in range(5)
    ]
    assert [one.read for one in advice] == [True, True, True, False, False]
    assert [left_by(one) for one in advice[1:3]] == [0b1111 << 8, 0b1111 << 4], "a third of it each, from its end"
    first = crowd.advise(AskCrowd(ID, boot(0), 1, device_of(0), 1200, PIECES, readers=3), address(0), 0.1)
    assert left_by(first) == 0b1111


def left_by(advice: Advice) -> int:
    """The pieces that it is to read."""
    held = bitfield.decode(advice.held, PIECES) if advice.held else 0
    return bitfield.all_of(PIECES) & ~held if advice.read else 0


def test_who_has_read_its_part_takes_half_of_what_another_one_has_left_and_no_two_read_the_same() -> None:
    crowd = Crowd()

    def reads(number: int, now: float, holds: int) -> int:
        return left_by(crowd.advise(replace(ask(number, holds), readers=2), address(number), now))

    reads(0, 0.0, 0)
    assert reads(1, 0.0, 0) == 0b111111 << 6
    reads(0, 1.0, 0b1)
    assert reads(1, 1.1, 0b111111 << 6) == 0b11 << 4, "half of five"
    assert reads(0, 1.2, 0b1) == 0b1111, "what it has, and three more"
    assert reads(1, 1.3, 0b111111110000) == 0b1000, "what the other one may have begun stays his"
    assert reads(1, 1.4, 0b111111111000) == 0b0, "it is done, and waits"
    for tick in range(15, 60):
        last = reads(1, tick / 10, 0b111111111000)
        if last:
            break
    assert last & 0b111 == 0b110
    assert tick / 10 <= 1.2 + LEASE_S + 0.2, "until the other one has been silent for a lease"


@pytest.mark.parametrize(("wired", "taken_over"), [(True, True), (False, False)])
def test_a_reader_on_the_air_leaves_the_rest_to_one_on_a_wire(wired: bool, taken_over: bool) -> None:
    crowd, pieces = Crowd(), 64

    def asks(number: int, now: float, holds: int, *, gives: bool) -> Advice:
        question = AskCrowd(ID, boot(number), 1, device_of(number), 6400, pieces, bitfield.encode(holds, pieces))
        question = replace(question, gives=gives, got=holds.bit_count() * 100, read=holds.bit_count() * 100)
        return crowd.advise(question, address(number), now)

    assert asks(0, 0.0, 0, gives=False).read
    assert not asks(1, 0.1, 0, gives=wired).read, "nothing is known of the reading yet"
    assert asks(0, 0.5, 0b1, gives=False).read
    advice = asks(1, 0.6, 0, gives=wired)
    assert advice.read == taken_over
    if taken_over:
        held = bitfield.decode(advice.held, pieces)
        first = asks(0, 0.7, 0b1, gives=False)
        assert bitfield.decode(first.held, pieces) & ~0b1 == bitfield.all_of(pieces) & ~held, "each its part"
        assert not asks(0, 1.0, held, gives=False).read
        assert asks(1, 1.0 + LEASE_S - 0.5, 0, gives=True).read
        assert list(crowd.leases.held) == [boot(1)]


def test_a_reader_that_keeps_what_it_reads_gets_one_beside_it() -> None:
    crowd = Crowd()
    pieces = 32
    for tick in range(8):
        holds = (1 << (4 * tick)) - 1 & bitfield.all_of(pieces)
        ask_ = AskCrowd(
            ID, boot(0), 1, device_of(0), 3200, pieces, bitfield.encode(holds, pieces), got=holds.bit_count() * 100
        )
        assert crowd.advise(ask_, address(0), tick / 2).read
        others = [
            crowd.advise(AskCrowd(ID, boot(number), 1, device_of(number), 3200, pieces), address(number), tick / 2)
            for number in (1, 2)
        ]
    assert [one.read for one in others] == [True, False]
    assert others[0].part == 0.5
    assert bitfield.decode(others[0].held, pieces) == 0, "what only the first one has does not count"


def test_one_that_cannot_read_is_never_told_to() -> None:
    crowd = Crowd()
    assert not tell(crowd, 0, 0.0, able=False).read
    assert tell(crowd, 1, 0.0).read


def test_forged_members_and_forged_files_are_bounded() -> None:
    tracker = Tracker()
    for number in range(MEMBERS_MAX + 10):
        tracker.advise(ask(number), address(number), 0.0)
    assert tracker.advise(ask(MEMBERS_MAX + 11), "192.0.2.1:1", 0.0).read, "nobody waits for a crowd without end"
    for number in range(CROWDS_MAX + 100):
        tracker.advise(AskCrowd(f"{number:064x}", boot(1), 1, bytes(32)), "192.0.2.1:1", 0.0)
    assert tracker.crowds() == CROWDS_MAX


def test_one_host_cannot_keep_a_file_from_others_however_many_boot_ids_it_draws() -> None:
    """It draws another one whenever its lease lapses, and is always the first to ask."""
    crowd, here = Crowd(), "198.51.100.7:1"
    for tick in range(20):
        now = tick / 2
        for number in (100, 101 + tick):
            crowd.advise(ask(number), here, now)
        if tick and tell(crowd, 1, now).read:
            assert now <= LEASE_S + 1
            return
    raise AssertionError("nobody else ever read")


def test_one_host_holds_some_leases_and_not_all_of_them() -> None:
    crowd, distrusted = Crowd(), tuple(device_of(number) for number in range(100, 104))
    for number in range(100, 110):
        sybil = AskCrowd(ID, boot(number), 1, device_of(number), 1200, PIECES, distrusted=distrusted[: number - 100])
        crowd.advise(sybil, "198.51.100.7:1", 0.0)
    assert len(crowd.leases.held) == LEASES_PER_HOST_MAX
    honest = AskCrowd(ID, boot(1), 1, device_of(1), 1200, PIECES, distrusted=distrusted)
    assert crowd.advise(honest, address(1), 0.1).read


def test_hosts_that_hold_all_leases_and_bring_nothing_make_room_when_most_doubt_them() -> None:
    """Each says that it distrusts those before it, and that more bytes come to it."""
    crowd, sybils = Crowd(), tuple(device_of(number) for number in range(100, 100 + LEASES_MAX))

    def sybils_ask(now: float) -> None:
        for at in range(LEASES_MAX):
            crowd.advise(replace(ask(100 + at, got=int(now * 10)), distrusted=sybils[:at]), f"198.51.100.{at}:1", now)

    sybils_ask(0.0)
    assert len(crowd.leases.held) == LEASES_MAX
    honest = range(1, 10)
    for number in honest:
        tell(crowd, number, 0.1)
    read = []
    for number in honest:
        sybils_ask(number / 10)
        read.append(crowd.advise(replace(ask(number), distrusted=sybils), address(number), number / 10).read)
    assert sum(read) == 1, "one of them reads for all"
    assert not any(read[: LEASES_MAX // 2]), "a few alone push nobody out"


@pytest.mark.parametrize("host", ["198.51.100.7", "[2001:db8:1:2::{0:x}]"])
def test_one_host_cannot_fill_a_crowd(host: str) -> None:
    crowd = Crowd()
    told = [
        crowd.advise(ask(number), host.format(number) + ":1", 0.0).read for number in range(MEMBERS_PER_HOST_MAX + 5)
    ]
    assert len(crowd.members) == MEMBERS_PER_HOST_MAX
    assert told[-5:] == [True] * 5, "those help themselves"
    assert not tell(crowd, 1000, 0.1).read, "others are members as ever"
    assert len(crowd.members) == MEMBERS_PER_HOST_MAX + 1


def test_every_node_ranks_the_room_alike_and_a_leaver_moves_only_its_own_files() -> None:
    room = [boot(number) for number in range(20)]
    mixed = random.Random(3).sample(room, len(room))
    ids = [f"{number:064x}" for number in range(200)]
    before = {id_: ranked(id_, room)[0] for id_ in ids}
    assert before == {id_: ranked(id_, mixed)[0] for id_ in ids}
    assert len(set(before.values())) == len(room)
    gone = room.pop()
    for id_ in ids:
        first = ranked(id_, room)[0]
        assert first == before[id_] or before[id_] == gone


def test_the_rarest_goes_out_first() -> None:
    rarity, dice = Rarity(), random.Random(1)
    assert rarity.rarest(0b1110, dice) == 1
    for index in (1, 2, 2, 3, 3):
        rarity.goes_out(index)
    assert rarity.rarest(0b1111, dice) == 0, "what never went out"
    assert rarity.rarest(0b1110, dice) == 1, "what went out once"
    assert {rarity.rarest(0b1100, dice) for _ in range(50)} == {2, 3}
    rarity.came_back(1)
    assert rarity.rarest(0b1110, dice) == 1, "what was broken off on its way"


def test_a_parent_of_which_its_children_complain_is_soon_nobodys_parent_and_nobody_is_sent_to_it() -> None:
    crowd = Crowd()
    for number in range(40):
        tell(crowd, number, 0.0)
    parents = {number: tell(crowd, number, 0.1).parents for number in range(1, 40)}
    liar = parents[39][0]
    victims = [number for number, told in parents.items() if liar in told]
    for number in victims:
        told = crowd.advise(replace(ask(number), left=(str(liar),)), address(number), 0.2)
        assert liar not in told.parents
    assert len(victims) == CLASSES
    for number in range(1, 40):
        told = tell(crowd, number, 0.3)
        assert liar not in told.parents
        assert liar not in told.others


def test_who_complains_of_one_that_was_never_its_parent_changes_nothing() -> None:
    crowd = Crowd()
    for number in range(40):
        tell(crowd, number, 0.0)
    before = {number: tell(crowd, number, 0.1).parents for number in range(1, 40)}
    stranger = next(number for number in range(1, 40) if address(number) not in before[39])
    crowd.advise(replace(ask(39), left=(address(stranger),)), address(39), 0.2)
    assert {number: tell(crowd, number, 0.3).parents for number in range(1, 40)} == before


def test_whoever_begins_anew_is_a_member_like_others() -> None:
    """The file that all had was wrong: a root that has nothing would keep three others from getting anything."""
    crowd = Crowd()
    for number in range(10):
        tell(crowd, number, 0.0)
    for number in range(10):
        tell(crowd, number, 1.0, bitfield.all_of(PIECES))
    for number in range(10):
        tell(crowd, number, 20.0)
    assert [one.boot for one in crowd.members.values() if one.seat.source] == list(crowd.leases.held)
    assert all(
        tell(crowd, number, 20.1).parents.count(None) == 0
        for number in range(10)
        if boot(number) not in crowd.leases.held
    )


def test_when_the_quicker_reader_has_gone_the_slow_one_is_asked_again() -> None:
    crowd, now = Crowd(), 1.0
    for number in range(10):
        tell(crowd, number, 0.0)
    assert crowd.advise(replace(ask(5), slow=True), address(5), 1.0).read
    while now < 10.0:
        now += 0.5
        for number in range(10):
            if number != 5:
                crowd.advise(ask(number, 1, got=int(now * 100)), address(number), now)
            elif now < 5.0:
                whole = ask(5, bitfield.all_of(PIECES), got=int(now * 100))
                crowd.advise(replace(whole, slow=True), address(5), now)
    crowd.leave(boot(5))
    assert list(crowd.leases.held) == [boot(0)]
    asked = [told for number in range(1, 10) if number != 5 for told in tell(crowd, number, now, 1).parents]
    assert asked.count(address(0)) == CLASSES


def racing(crowd: Crowd, gained: Sequence[int], seconds: float) -> float:
    """A room of ten behind node 0, in which node 5 says that it is slow; gained: pieces of each class a second, of all
    the others. When it ends."""
    for number in range(10):
        tell_of(crowd, number, 0.0, 0)
    now = 0.0
    while now < seconds:
        now += 0.1
        holds = sum(1 << 3 * at + klass for klass in range(CLASSES) for at in range(int(gained[klass] * now)))
        for number in range(10):
            has = bitfield.all_of(LARGE) if number == 0 else holds
            tell_of(crowd, number, now, has, slow=number == 5, got=int(1000 * now))
    return now


LARGE = 600


def tell_of(crowd: Crowd, number: int, now: float, holds: int, **more: Any) -> Advice:
    text = bitfield.encode(holds, LARGE) if holds else ""
    of = replace(ask(number), size_bytes=LARGE * 100, pieces=LARGE, holds=text, **more)
    return crowd.advise(of, address(number), now)


def hands_of(crowd: Crowd, number: int) -> list[int]:
    return crowd.members[boot(number)].seat.hands


def test_one_word_of_a_slow_room_takes_one_class_from_the_honest_reader_and_not_for_long() -> None:
    crowd = Crowd()
    own = 5 % CLASSES
    racing(crowd, [40, 40, 40], 0.05)
    assert hands_of(crowd, 0) == [klass != own for klass in range(CLASSES)]
    crowd = Crowd()
    racing(crowd, [0 if klass == own else 40 for klass in range(CLASSES)], 0.5)
    assert hands_of(crowd, 0) == [1] * CLASSES
    assert boot(5) not in crowd.leases.held
    racing_again = tell_of(crowd, 5, 0.6, 0, slow=True)
    assert not racing_again.read, "it has had its turn"


def test_a_reader_that_is_quicker_than_the_room_takes_over_what_it_has_shown() -> None:
    crowd = Crowd()
    now = racing(crowd, [40 if klass == 5 % CLASSES else 1 for klass in range(CLASSES)], 1.0)
    assert hands_of(crowd, 5) == [1] * CLASSES
    assert hands_of(crowd, 0) == [0] * CLASSES
    asked = {told for number in range(1, 10) if number != 5 for told in tell_of(crowd, number, now, 0).parents}
    assert address(0) not in asked


def test_one_that_is_no_quicker_gives_its_turn_back() -> None:
    crowd = Crowd()
    racing(crowd, [1, 1, 1], DECIDED_AFTER_S + 0.5)
    assert hands_of(crowd, 0) == [1] * CLASSES
    assert boot(5) not in crowd.leases.held


def test_a_racer_that_goes_in_the_middle_of_its_trial_leaves_the_others_as_they_were() -> None:
    for holds in (0, bitfield.all_of(LARGE)):
        crowd = Crowd()
        racing(crowd, [40, 40, 40], 0.15)
        tell_of(crowd, 5, 0.2, holds, slow=True)
        for number in range(10):
            if number != 5:
                advice = tell_of(crowd, number, LEASE_S + 0.1, bitfield.all_of(LARGE) if number == 0 else 0b111)
        crowd.leave(boot(5))
        assert hands_of(crowd, 0) == [1] * CLASSES
        assert advice.again_ms


def test_a_racer_without_a_byte_is_not_waited_for() -> None:
    crowd = Crowd()
    racing(crowd, [1, 1, 1], 0.15)
    for tick in range(1, 6):
        tell_of(crowd, 5, tick / 1.5, 0, slow=True, got=0)
    assert not crowd.leases.waiting
    assert not any(lease.races for lease in crowd.leases.held.values()), "it has had its turn"


def test_behind_a_slow_line_a_racer_is_given_the_time_of_some_pieces() -> None:
    crowd = Crowd()
    crowd.leases.pace_s = 5.0
    racing(crowd, [0, 0, 0], 2 * DECIDED_AFTER_S)
    assert crowd.leases.trial is not None


def test_a_reader_cannot_vote_itself_quicker_from_its_own_host() -> None:
    crowd = Crowd()
    for number in range(4):
        tell_of(crowd, number, 0.0, 0)
    tell_of(crowd, 5, 0.1, 0, slow=True)
    for sybil in range(50, 90):
        text = bitfield.encode(bitfield.each_third(5 % CLASSES, LARGE), LARGE)
        forged = replace(ask(sybil), size_bytes=LARGE * 100, pieces=LARGE, holds=text)
        crowd.advise(forged, address(5), 0.2)
    assert not any(one.won for one in [crowd.leases.trial] if one is not None)


def test_one_host_under_many_names_cannot_take_all_hands() -> None:
    crowd = Crowd()
    for number in range(200):
        tell(crowd, number, 0.0)
    hands = sum(sum(one.seat.hands) for one in crowd.members.values())
    for name in range(1000, 1200):
        bad = ask(name)
        told = crowd.advise(bad, "198.51.100.9:1", 0.1).parents
        crowd.advise(replace(bad, left=tuple(str(one) for one in told if one)), "198.51.100.9:1", 0.1)
        crowd.leave(boot(name))
    assert hands - sum(sum(one.seat.hands) for one in crowd.members.values()) <= COMPLAINTS_PER_HOST_MAX * CLASSES


def test_a_slow_room_is_given_time_and_a_quick_one_is_not() -> None:
    """A member without anything new for five seconds, while another has it all, may read: unless all are so slow."""
    for pace_s, reads in ((0.5, True), (2.5, False)):
        crowd, everything = Crowd(), bitfield.all_of(PIECES)
        tell(crowd, 0, 0.0, everything)
        now = 0.0
        for number in range(1, 9):
            tell(crowd, number, now)
        for got in range(1, 9):
            for _ in range(4):
                now += pace_s / 4
                tell(crowd, 0, now, everything)
                for number in range(1, 9):
                    tell(crowd, number, now, bitfield.all_of(got - 1))
            for number in range(1, 9):
                tell(crowd, number, now, bitfield.all_of(got))
        for _ in range(5):
            now += 1.0
            tell(crowd, 0, now, everything)
            advice = tell(crowd, 1, now, bitfield.all_of(8))
        assert advice.read == reads
        for _ in range(8):
            now += 1.0
            advice = tell(crowd, 1, now, bitfield.all_of(8))
        assert advice.read, "not for ever"


def test_one_that_reads_beside_a_slow_holder_and_is_alone_with_it_may_go_on() -> None:
    crowd = Crowd()
    for tick in range(200):
        tell_of(crowd, 0, tick / 10, bitfield.all_of(LARGE))
        advice = tell_of(crowd, 5, tick / 10, bitfield.all_of(tick), slow=True, got=tick)
    assert advice.read


# --- members who come from a tracker that does not answer them


def told(number: int, reader: int, quiet_ms: int = 0, holds: int = 0) -> AskCrowd:
    return replace(ask(number, holds), reader=Reader(device_of(reader), address(reader), quiet_ms))


def test_who_reads_on_the_word_of_a_silent_tracker_goes_on_and_nobody_reads_beside_him() -> None:
    crowd = Crowd()
    for number in (1, 2, 3):
        crowd.advise(told(number, 9), address(number), 0.0)
    advices = [crowd.advise(ask(number), address(number), 0.1) for number in (1, 2, 3)]
    assert not any(one.read for one in advices)
    assert not any(one.makers for one in advices), "what is signed is believed of whom a tracker let read"
    assert any(address(9) in one.parents for one in advices), "he is the root of the trees here, too"


def test_the_turn_of_one_who_reads_elsewhere_lasts_while_something_comes() -> None:
    crowd = Crowd()
    crowd.advise(told(1, 9), address(1), 0.0)
    at_s = 0.0
    for pieces in range(1, 6):
        at_s += LEASE_S - 0.5
        assert not crowd.advise(ask(1, bitfield.all_of(pieces)), address(1), at_s).read
    assert not crowd.advise(ask(2), address(2), at_s + LEASE_S - 0.1).read
    assert crowd.advise(ask(2), address(2), at_s + LEASE_S + 0.1).read


def test_he_loses_it_a_lease_after_the_last_byte_and_not_after_the_tracker_fell_silent() -> None:
    crowd = Crowd()
    assert not crowd.advise(told(1, 9, quiet_ms=2000), address(1), 0.0).read
    assert not crowd.advise(ask(1), address(1), LEASE_S - 2.1).read
    assert crowd.advise(ask(1), address(1), LEASE_S - 1.9).read


def test_a_turn_that_was_over_when_it_was_told_of_is_none_and_costs_nobody_his() -> None:
    """Who said so of an honest one had it come last, and the next reader that died be waited for twice as long."""
    crowd = Crowd()
    assert crowd.advise(told(1, 9, quiet_ms=99_000), address(1), 0.0).read
    for at_s in (1.0, 2.0, 3.0):
        assert crowd.advise(ask(1), address(1), at_s).read
        crowd.advise(ask(9), address(9), at_s)
    now = LEASE_S + 0.1
    assert crowd.advise(ask(9), address(9), now).read, "the first one brought nothing"


def test_he_comes_himself_and_has_his_turn() -> None:
    crowd = Crowd()
    crowd.advise(told(1, 9), address(1), 0.0)
    advice = crowd.advise(ask(9, 0b11), address(9), 0.5)
    assert (advice.read, advice.members) == (True, 2)
    others = crowd.advise(ask(1), address(1), 0.6)
    assert (others.read, others.makers) == (False, ((device_of(9), address(9)),))


def test_only_the_first_word_of_a_crowd_about_its_reader_is_heard() -> None:
    """Who names one after the other would else keep a room waiting for ever."""
    crowd = Crowd()
    assert not crowd.advise(told(1, 9), address(1), 0.0).read
    now = LEASE_S + 0.1
    assert crowd.advise(told(2, 8), address(2), now).read
    crowd = Crowd()
    crowd.advise(ask(1), address(1), 0.0)
    assert crowd.advise(told(2, 9), address(2), 0.0).makers == ((device_of(1), address(1)),)


def test_who_distrusts_one_that_reads_elsewhere_reads_beside_him() -> None:
    crowd = Crowd()
    crowd.advise(told(1, 9), address(1), 0.0)
    assert crowd.advise(replace(ask(2), distrusted=(device_of(9),)), address(2), 0.0).read


def test_of_the_devices_that_are_told_who_reads_comes_first() -> None:
    crowd = Crowd()
    crowd.advise(ask(1), address(1), 0.0)
    crowd.advise(ask(2), address(2), LEASE_S)
    assert crowd.advise(ask(2), address(2), LEASE_S + 0.1).read
    makers = crowd.advise(ask(3), address(3), LEASE_S + 0.2).makers
    assert [device for device, _ in makers] == [device_of(2), device_of(1)]
