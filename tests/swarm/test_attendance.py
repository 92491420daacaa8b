"""Whom a node asks what to do, where others choose what it hears of."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.advising.tracker import Tracker
from p2pcdn.swarm.neighbours.attendance import (
    ABSENT_FIRST_S,
    ABSENT_MAX_S,
    ANSWER_TIME_S,
    FOUND_OUT_S,
    NEXT_ANSWER_TIME_S,
    Absent,
    Attendance,
)
from p2pcdn.swarm.neighbours.peer import CONFIGURED, CROWD, TOLD, Address, Peer
from p2pcdn.swarm.neighbours.peers import Peers
from p2pcdn.swarm.wire.advice import Advice, AskCrowd, Reader
from p2pcdn.swarm.wire.messages import Hello, read_target
from p2pcdn.world import Sighting

ID, OWN, BOOT = "ab" * 32, "0f" * 16, "aa" * 16
ASK = AskCrowd(ID, OWN, 7273, bytes(32))


class Room:
    """Those who answer as trackers; everybody else is silent."""

    def __init__(self, answers: Mapping[str, Advice | Callable[[AskCrowd], Advice]]) -> None:
        self.answers = dict(answers)
        self.of_before: set[str] = set()  # those that do not know `lied`
        self.late_s: dict[str, float] = {}  # for how long some think about it
        self.asked: list[str] = []
        self.left: list[tuple[str, ...]] = []

    @asynccontextmanager
    async def ask(self, address: Address, ask: AskCrowd, most: int) -> AsyncIterator[SimpleNamespace]:
        self.asked.append(str(address))
        self.left.append(ask.left)
        if str(address) not in self.answers:
            await trio.sleep_forever()
        await trio.sleep(self.late_s.get(str(address), 0.0))
        if (ask.lied or ask.reader) and str(address) in self.of_before:
            yield SimpleNamespace(status=404, body=b"")
            return
        answer = self.answers[str(address)]
        yield SimpleNamespace(status=200, body=(answer if isinstance(answer, Advice) else answer(ask)).encode())


def attendance(room: Room, ranks: Sequence[Peer | None], absent: Absent | None = None) -> Attendance:
    return Attendance(ID, room, Tracker(), lambda id_: ranks, absent or Absent())  # type: ignore[arg-type]


def peer(number: int, *, living: bool) -> Peer:
    hello = Hello("n", f"{number:032x}", "1") if living else None
    return Peer(Address(f"192.0.2.{number}", 7273), CONFIGURED, hello=hello, heard_boot=f"{number:032x}")


async def test_one_of_whom_we_only_heard_is_asked_again_soon_after_it_said_hello(
    autojump_clock: trio.abc.Clock,
) -> None:
    """It was busy for half a second, before we had met: for a minute the room had a second tracker, and a reader."""
    room, absent = Room({"192.0.2.2:7273": Advice(reach=2)}), Absent()
    await attendance(room, [peer(1, living=False), peer(2, living=True)], absent).ask(ASK)
    room.answers["192.0.2.1:7273"] = Advice(reach=1)
    await trio.sleep(ABSENT_FIRST_S + 0.1)
    still_hearsay, _ = await attendance(room, [peer(1, living=False), peer(2, living=True)], absent).ask(ASK)
    assert still_hearsay.reach == 2
    met, _ = await attendance(room, [peer(1, living=True), peer(2, living=True)], absent).ask(ASK)
    assert met.reach == 1


async def test_a_node_that_knows_no_accusations_stays_the_tracker_of_those_who_met_a_liar(
    autojump_clock: trio.abc.Clock,
) -> None:
    """To a node of before a question with one field more is none: it says 404, and the room would have two trackers."""
    room = Room({"192.0.2.1:7273": Advice(reach=1), "192.0.2.2:7273": Advice(reach=2)})
    room.of_before.add("192.0.2.1:7273")
    accuses = replace(ASK, left=("192.0.2.9:1",), lied=("192.0.2.9:1",))
    advice, _ = await attendance(room, [peer(1, living=True), peer(2, living=True)]).ask(accuses)
    assert advice.reach == 1
    assert room.left == [("192.0.2.9:1",)] * 2


async def test_nodes_that_are_not_there_do_not_make_everybody_read(autojump_clock: trio.abc.Clock) -> None:
    forged = [peer(number, living=False) for number in range(1, 20)]
    room = Room({"192.0.2.50:7273": Advice(reach=7)})
    asking = attendance(room, [*forged, peer(50, living=True)])
    advice, place = await asking.ask(ASK)
    assert (advice.reach, advice.read, str(place.address)) == (7, False, "192.0.2.50:7273")
    assert trio.current_time() > 1.0
    room.asked.clear()
    await asking.ask(ASK)
    assert set(room.asked).isdisjoint(str(one.address) for one in forged[:3]), "those were silent a moment ago"


async def test_one_that_advised_badly_is_not_asked_again(autojump_clock: trio.abc.Clock) -> None:
    room = Room({"192.0.2.1:7273": Advice(reach=1), "192.0.2.2:7273": Advice(elsewhere="192.0.2.1:7273")})
    asking = attendance(room, [peer(1, living=True), peer(2, living=True), None])
    assert (await asking.ask(ASK))[0].reach == 1
    asking.forsake()
    assert (await asking.ask(ASK))[0].read, "we are the next in rank"
    assert room.asked == ["192.0.2.1:7273", "192.0.2.2:7273"]


async def test_the_next_in_rank_hears_that_the_first_has_gone(autojump_clock: trio.abc.Clock) -> None:
    room = Room({"192.0.2.2:7273": Advice(reach=1)})
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)])
    for _ in range(2):
        assert (await asking.ask(replace(ASK, left=("192.0.2.9:7273",))))[0].reach == 1
    assert room.asked == ["192.0.2.1:7273", *["192.0.2.2:7273"] * 2]
    assert room.left[-1] == ("192.0.2.1:7273", "192.0.2.9:7273")


FIRST, SECOND = "192.0.2.1:7273", "192.0.2.2:7273"


def second_in_rank(ask: AskCrowd) -> Advice:
    return Advice(reach=2) if FIRST in ask.left else Advice(elsewhere=FIRST)


async def test_a_tracker_that_is_late_is_not_left_where_the_next_in_rank_takes_it_for_alive(
    autojump_clock: trio.abc.Clock,
) -> None:
    """It was busy for more than half a second when its crowd began: the next one let a second member read."""
    room, absent = Room({FIRST: Advice(reach=1), SECOND: second_in_rank}), Absent()
    room.late_s[FIRST] = 0.9
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)], absent)
    assert (await asking.ask(ASK))[0].reach == 1
    assert (room.asked, room.left) == ([FIRST, SECOND, FIRST], [()] * 3)
    assert not absent.is_absent(Address("192.0.2.1", 7273), trio.current_time(), hearsay=False)


async def test_who_comes_next_himself_asks_a_late_tracker_once_more(autojump_clock: trio.abc.Clock) -> None:
    room = Room({FIRST: Advice(reach=1)})
    room.late_s[FIRST] = 0.9
    assert (await attendance(room, [peer(1, living=True), None]).ask(ASK))[0].reach == 1


async def test_a_dead_tracker_costs_a_second_more_and_only_once(autojump_clock: trio.abc.Clock) -> None:
    room = Room({SECOND: second_in_rank})
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)])
    for _ in range(2):
        assert (await asking.ask(ASK))[0].reach == 2
        assert trio.current_time() == pytest.approx(ANSWER_TIME_S + NEXT_ANSWER_TIME_S)
    assert room.asked == [FIRST, SECOND, FIRST, SECOND, SECOND]


@pytest.mark.parametrize("next_one", [2, None])
async def test_a_tracker_that_was_found_to_be_dead_costs_the_files_after_it_half_a_second(
    autojump_clock: trio.abc.Clock, next_one: int | None
) -> None:
    """Each new file gave it a second chance: a second and a half, whenever the pause was over."""
    room, absent = Room({SECOND: second_in_rank}), Absent()
    ranks = [peer(1, living=True), None if next_one is None else peer(next_one, living=True)]
    await attendance(room, ranks, absent).ask(ASK)
    for file in range(3):
        await trio.sleep(ABSENT_MAX_S)
        began = trio.current_time()
        await attendance(room, ranks, absent).ask(ASK)
        assert trio.current_time() - began == pytest.approx(ANSWER_TIME_S), file


async def test_one_that_was_silent_long_ago_is_given_a_second_chance_again(autojump_clock: trio.abc.Clock) -> None:
    """It was found out before it had met us, or slept; and now it is busy for a second."""
    room, absent, ranks = Room({}), Absent(), [peer(1, living=True), None]
    await attendance(room, ranks, absent).ask(ASK)
    await trio.sleep(FOUND_OUT_S + 1)
    room.answers[FIRST], room.late_s[FIRST] = Advice(reach=1), 0.9
    assert (await attendance(room, ranks, absent).ask(ASK))[0].reach == 1


async def test_what_one_file_finds_out_of_a_tracker_the_others_do_not_wait_for(autojump_clock: trio.abc.Clock) -> None:
    room, absent, took_s = Room({}), Absent(), list[float]()

    async def fetch(after_s: float) -> None:
        await trio.sleep(after_s)
        began = trio.current_time()
        await attendance(room, [peer(1, living=True), None], absent).ask(ASK)
        took_s.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for after_s in (0.0, 1.4):
            nursery.start_soon(fetch, after_s)
    assert took_s == [pytest.approx(ANSWER_TIME_S + NEXT_ANSWER_TIME_S), pytest.approx(ANSWER_TIME_S)]


async def test_one_that_was_silent_is_found_out_where_nobody_else_answers_either(
    autojump_clock: trio.abc.Clock,
) -> None:
    absent, ranks = Absent(), [peer(number, living=True) for number in (1, 2, 3)]
    assert (await attendance(Room({}), ranks, absent).ask(ASK))[0].read
    now = trio.current_time()
    assert absent.is_absent(ranks[0].address, now, hearsay=False)


async def test_one_that_was_late_and_sends_us_on_is_not_absent(autojump_clock: trio.abc.Clock) -> None:
    third = "192.0.2.3:7273"
    room, absent = Room({FIRST: Advice(elsewhere=third), SECOND: second_in_rank, third: Advice(reach=3)}), Absent()
    room.late_s[FIRST] = 0.9
    advice, _ = await attendance(room, [peer(1, living=True), peer(2, living=True)], absent).ask(ASK)
    assert advice.reach == 3
    assert not absent.is_absent(Address("192.0.2.1", 7273), trio.current_time(), hearsay=False)


async def test_a_deadline_that_we_see_late_ourselves_is_no_silence(autojump_clock: trio.testing.MockClock) -> None:
    """Our own machine was busy: the answer may have come long before we look."""
    room = Room({FIRST: Advice(reach=1), SECOND: Advice(reach=2)})
    room.late_s[FIRST] = ANSWER_TIME_S - 0.1

    async def stops() -> None:
        await trio.sleep(0.1)
        autojump_clock.jump(1.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stops)
        assert (await attendance(room, [peer(1, living=True), peer(2, living=True)]).ask(ASK))[0].reach == 1
    assert room.asked == [FIRST] * 2


async def test_the_next_in_rank_hears_who_reads_and_nobody_else_does(autojump_clock: trio.abc.Clock) -> None:
    room, heard = Room({FIRST: Advice(reach=1)}), list[Reader | None]()

    def second(ask: AskCrowd) -> Advice:
        heard.append(ask.reader)
        return Advice(reach=2)

    room.answers[SECOND] = second
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)])
    reader = Reader(b"r" * 32, "192.0.2.7:7273", 40)
    assert (await asking.ask(ASK))[0].reach == 1
    del room.answers[FIRST]
    for _ in range(2):
        assert (await asking.ask(replace(ASK, reader=reader)))[0].reach == 2
    assert heard == [replace(reader, quiet_ms=40 + round(NEXT_ANSWER_TIME_S * 1000)), None]


async def test_the_next_in_rank_hears_that_the_first_advised_badly(autojump_clock: trio.abc.Clock) -> None:
    room = Room({"192.0.2.1:7273": Advice(), "192.0.2.2:7273": Advice(reach=1)})
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)])
    await asking.ask(ASK)
    asking.forsake()
    assert (await asking.ask(ASK))[0].reach == 1
    assert room.left == [(), ("192.0.2.1:7273",)]


async def test_one_that_sends_us_in_a_circle_is_passed_over_and_nobody_reads_for_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    """All but the liar know that it ranks first; who hears that it has gone is the tracker itself."""
    first, second, third = (f"192.0.2.{number}:7273" for number in (1, 2, 3))

    def honest(ask: AskCrowd) -> Advice:
        return Advice(reach=7) if first in ask.left else Advice(elsewhere=first)

    for liar_says in (second, third, "192.0.2.99:7273", first):
        room = Room({first: Advice(elsewhere=liar_says), second: honest, third: honest})
        asking = attendance(room, [peer(1, living=True), peer(2, living=True), peer(3, living=True), None])
        advice, place = await asking.ask(ASK)
        assert (advice.reach, advice.read, str(place.address)) == (7, False, second), liar_says
        room.asked.clear()
        await asking.ask(ASK)
        assert room.asked == [second], "the liar is known"


async def test_who_sends_us_to_one_that_has_gone_hears_of_it_and_advises_us_itself(
    autojump_clock: trio.abc.Clock,
) -> None:
    first, gone = "192.0.2.1:7273", "192.0.2.99:7273"
    room = Room({first: lambda ask: Advice(reach=7) if gone in ask.left else Advice(elsewhere=gone)})
    advice, place = await attendance(room, [peer(1, living=True), None]).ask(ASK)
    assert (advice.reach, str(place.address)) == (7, first)
    assert trio.current_time() == pytest.approx(ANSWER_TIME_S)


async def test_that_a_tracker_does_not_answer_is_found_out_once_for_all_files_of_a_node(
    autojump_clock: trio.abc.Clock,
) -> None:
    dead, next_one = "192.0.2.1:7273", "192.0.2.2:7273"
    room, absent = Room({next_one: Advice(reach=7)}), Absent()
    several = [attendance(room, [peer(1, living=True), peer(2, living=True)], absent) for _ in range(3)]
    began = trio.current_time()
    for asking in several:
        assert (await asking.ask(ASK))[0].reach == 7
    assert room.left[1:] == [(), (dead,), (dead,)], "or we were sent there again"
    assert trio.current_time() - began == pytest.approx(ANSWER_TIME_S)
    await trio.sleep(ABSENT_FIRST_S)
    room.asked.clear()
    async with trio.open_nursery() as nursery:
        for asking in several:
            nursery.start_soon(asking.ask, ASK)
    assert room.asked.count(dead) == 1, "one tries it again"
    await trio.sleep(2 * ABSENT_FIRST_S)
    room.answers[dead] = Advice(reach=8)
    assert [(await asking.ask(ASK))[0].reach for asking in several] == [8] * 3, "it is there again"


def test_hearsay_does_not_take_the_place_of_a_node_that_answers() -> None:
    peers = Peers(OWN, random.Random(1))
    there = peers.sight(Sighting("192.0.2.1", 7273), CONFIGURED, 0.0)
    assert there is not None
    peers.answered(there, Hello("n", BOOT, "1"), 0.001, 0.0)
    assert peers.told(BOOT, Address("198.51.100.9", 80), 0.0, 1.0) is not None
    assert peers.members(1.0) == [there]


def test_a_tracker_does_not_make_us_look_names_up() -> None:
    peers = Peers(OWN, random.Random(1))
    assert peers.sight(Sighting("victim.example", 443), CROWD, 0.0) is None
    assert peers.sight(Sighting("victim.example", 443, BOOT), TOLD, 0.0) is None
    known = peers.sight(Sighting("seed.example", 7273), CONFIGURED, 0.0)
    assert peers.sight(Sighting("seed.example", 7273), CROWD, 0.0) is known


def test_no_question_spoils_the_answers_to_others() -> None:
    target = AskCrowd(ID, BOOT, 7273, bytes(32), size_bytes=99_999_999_999, pieces=1, holds="AQ").target()
    with pytest.raises(RemoteProtocolError):
        read_target(*target.split("?"))


@pytest.mark.parametrize("address", ["192.0.2.1:65536", "192.0.2.1:99999"])
def test_an_advice_with_a_port_that_is_none_is_no_advice(address: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Advice.decode(Advice(elsewhere=address).encode())


def test_one_that_is_silent_for_days_is_tried_now_and_then() -> None:
    absent, address, now = Absent(), Address("192.0.2.1", 7273), 0.0
    for _ in range(2000):
        absent.was_silent(address, now, now)
        assert absent.is_absent(address, now, hearsay=False)
        now += ABSENT_MAX_S
        assert not absent.is_absent(address, now, hearsay=False)


async def test_one_silence_of_a_tracker_counts_once_for_all_that_asked_it_meanwhile(
    autojump_clock: trio.abc.Clock,
) -> None:
    busy, next_one = "192.0.2.1:7273", "192.0.2.2:7273"
    room, absent = Room({next_one: Advice(reach=7)}), Absent()
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(attendance(room, [peer(1, living=True), peer(2, living=True)], absent).ask, ASK)
    await trio.sleep(ABSENT_FIRST_S)
    room.answers[busy] = Advice(reach=8)
    asking = attendance(room, [peer(1, living=True), peer(2, living=True)], absent)
    assert (await asking.ask(ASK))[0].reach == 8, "it was busy for half a second"
