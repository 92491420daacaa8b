"""What the room holds together: counts, and which files of a page somebody near would give."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import Unavailable
from p2pcdn.http1 import Request, Response
from p2pcdn.store import Origin
from p2pcdn.swarm.group.holding import LISTED_ANEW_S, NAMES_SIZE_BYTES_MAX, Holding
from p2pcdn.swarm.group.nearby import FILES_ASKED_MAX, KNOWN_S
from tests.index.test_pages import answer
from tests.swarm.rooms import room_in

pytestmark = pytest.mark.usefixtures("autojump_clock")

PUBLIC = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "lan")
OF_GROUP = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "group")
OWN = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "never")


def content(number: int) -> bytes:
    return b"content %d" % number


def sha256s(*numbers: int) -> list[Sha256]:
    return [Sha256.of(content(number)) for number in numbers]


@pytest.mark.parametrize("grouped", [True, False])
async def test_what_a_neighbour_has_is_near(tmp_path: Path, grouped: bool) -> None:
    group = {} if grouped else {"group": None}
    async with room_in(tmp_path) as room:
        first = await room.member("first", **group)  # type: ignore[arg-type]
        second = await room.member("second", **group)  # type: ignore[arg-type]
        third = await room.member("third", **group)  # type: ignore[arg-type]
        await second.keep(content(1), PUBLIC)
        await third.keep(content(2), PUBLIC)
        assert await first.nearby.held_nearby(sha256s(1, 2, 3), "lan") == set(sha256s(1, 2))
        room.leaves(third)
        await trio.sleep(KNOWN_S)
        assert await first.nearby.held_nearby(sha256s(1, 2, 3), "lan") == set(sha256s(1))
        await second.keep(content(3), PUBLIC)
        await trio.sleep(KNOWN_S)
        assert await first.nearby.held_nearby(sha256s(1, 2, 3), "lan") == set(sha256s(1, 3))


async def test_a_page_of_ten_thousand_files_costs_one_question_and_an_unchanged_list_is_not_sent_again(
    tmp_path: Path,
) -> None:
    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second")
        await second.keep(content(1), PUBLIC)
        many = sha256s(*range(10_000))
        for _ in range(3):
            assert await first.nearby.held_nearby(many, "lan") == set(sha256s(1))
        assert room.wires.asked == ["second /v1/room", "second /v1/room/names"]
        await trio.sleep(KNOWN_S)
        assert await first.nearby.held_nearby(many, "lan") == set(sha256s(1))
        assert room.wires.asked == ["second /v1/room", "second /v1/room/names", "second /v1/room"]


async def test_in_open_mode_neighbours_are_asked_about_the_newest_files_and_soon_again_about_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcdn.swarm.group.nearby.FILES_ASKED_MAX", 200)
    async with room_in(tmp_path) as room:
        first = await room.member("first", group=None)
        second = await room.member("second", group=None)
        for number in (3, 150, 250):
            await second.keep(content(number), PUBLIC)
        many = sha256s(*range(10_000))
        assert await first.nearby.held_nearby(many, "lan") == set(sha256s(3, 150))
        asked = len(room.wires.asked)
        assert asked == 4, "batches of 64"
        await first.nearby.held_nearby(many, "lan")
        assert len(room.wires.asked) == asked
        assert second.holding.answer(Request("GET", b"/v1/room", "/v1/room", "", {})) is None, "nobody can list it"


async def test_files_that_could_not_be_given_are_not_asked_for(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second")
        for number, origin in enumerate((PUBLIC, OF_GROUP, OWN)):
            await second.keep(content(number), origin)
        assert await first.nearby.held_nearby(sha256s(0, 1, 2), "group") == set(sha256s(0, 1))
        room.wires.asked.clear()
        assert await first.nearby.held_nearby(sha256s(0, 1, 2), "never") == set()
        lone = await room.member("lone", group=None)
        assert await lone.nearby.held_nearby(sha256s(0, 1, 2), "group") == set()
        assert room.wires.asked == []


async def test_the_room_is_counted(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second", lambda url, headers: answer("1.0"))
        third = await room.member("third")
        open_one = await room.member("open", group=None)
        await second.keep(content(1), PUBLIC)
        await second.keep(content(2), OF_GROUP)
        await second.keep(content(3), OWN)
        await third.keep(content(1), PUBLIC)
        await open_one.keep(content(4), PUBLIC)
        await second.versions("six")
        await first.nearby.look_around()
        status = first.nearby.status()
        assert (status.members, status.blobs, status.pages) == (2, 3, 1)
        assert status.size_bytes == sum(len(content(number)) for number in (1, 2, 1))


@pytest.mark.parametrize(
    ("holding", "names", "strikes"),
    [
        (b"", b"", 1),
        (b"no frame", b"", 1),
        (Holding(1, 1, 1, bytes(8)).encode(), b"", 1),
        (Holding(1, 1, 1, bytes(8)).encode(), bytes(7), 1),
        (Holding(1, 1, 1, bytes(8)).encode(), bytes(17), 1),
        (Holding(1, 1, 1, bytes(8)).encode(), bytes(NAMES_SIZE_BYTES_MAX + 8), 1),
        (Holding(1, 1, 1, bytes(8)).encode(), bytes(16), 0),
        (Holding(1 << 59, 1 << 59, 1 << 59, bytes(8)).encode(), bytes(8), 0),
    ],
)
async def test_a_member_that_tells_nonsense_has_a_strike_and_the_others_are_heard(
    tmp_path: Path, holding: bytes, names: bytes, strikes: int
) -> None:
    def tell(request: Request) -> Response:
        return Response(200, (), names if request.path.endswith("/names") else holding)

    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second")
        await room.stranger("liar", tell)
        await second.keep(content(1), PUBLIC)
        assert await first.nearby.held_nearby(sha256s(1, 2), "lan") == set(sha256s(1))
        assert sum(peer.strikes for peer in first.peers) == strikes


async def test_a_silent_member_costs_its_three_seconds_once(tmp_path: Path) -> None:
    async def silent() -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second")
        await room.stranger("silent", lambda request: silent())
        await second.keep(content(1), PUBLIC)
        began = trio.current_time()
        assert await first.nearby.held_nearby(sha256s(1, 2), "lan") == set(sha256s(1))
        assert trio.current_time() - began <= 3.1
        await trio.sleep(KNOWN_S)
        began = trio.current_time()
        assert await first.nearby.held_nearby(sha256s(1, 2), "lan") == set(sha256s(1))
        assert trio.current_time() - began < 0.1


async def test_withdrawn_files_are_not_told_of(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        first = await room.member("first")
        second = await room.member("second")
        await second.keep(content(1), PUBLIC)
        await second.keep(content(2), PUBLIC)
        await second.store.change(bury=sha256s(1))
        assert await first.nearby.held_nearby(sha256s(1, 2), "lan") == set(sha256s(2))
        await second.store.change(bury=sha256s(2))
        await trio.sleep(LISTED_ANEW_S)
        assert await first.nearby.held_nearby(sha256s(1, 2), "lan") == set()


async def test_a_page_that_nobody_has_stays_unavailable_however_full_the_room_is(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        second = await room.member("second")
        await second.keep(content(1), PUBLIC)
        first = await room.member("first", offline=True)
        with pytest.raises(Unavailable, match="nor does a member"):
            await first.versions()


async def test_a_member_that_answers_again_is_waited_for_by_two_pages_at_once(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher, student = await room.member("teacher"), await room.member("student", offline=True)
        held = await teacher.keep(b"kept", PUBLIC)
        (peer,) = student.peers
        assert peer.hello is not None
        student.peers.failed(peer, "no answer in time", trio.current_time(), silent=True)
        near: list[set[Sha256]] = []

        async def ask() -> None:
            near.append(await student.nearby.held_nearby([held], "lan"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.sleep(2)
            student.peers.answered(peer, peer.hello, 0.001, trio.current_time())
        assert near == [{held}, {held}]


async def test_in_open_mode_too_one_that_is_silent_is_waited_for_and_not_remembered_as_a_no(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", group=None)
        student = await room.member("student", group=None, offline=True)
        held = await teacher.keep(b"kept", PUBLIC)
        (peer,) = student.peers
        hello, answers = peer.hello, room.wires.faces["teacher"]
        assert hello is not None

        async def says_nothing() -> Response:
            await trio.sleep_forever()
            raise AssertionError

        async def answers_again() -> None:
            await trio.sleep(5)
            room.wires.faces["teacher"] = answers
            student.peers.answered(peer, hello, 0.001, trio.current_time())

        room.wires.faces["teacher"] = lambda request: says_nothing()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answers_again)
            assert await student.nearby.held_nearby([held], "lan") == {held}


async def test_a_neighbour_that_answers_one_question_after_the_other_is_not_silent(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", group=None)
        student = await room.member("student", group=None, offline=True)
        held = await teacher.keep(content(0), PUBLIC)
        answers, asked = room.wires.faces["teacher"], sha256s(*range(FILES_ASKED_MAX))

        async def slowly(request: Request) -> Response:
            await trio.sleep(0.2)
            answer = answers(request)
            assert isinstance(answer, Response)
            return answer

        room.wires.faces["teacher"] = slowly
        assert await student.nearby.held_nearby(asked, "lan") == {held}
        assert [peer.living for peer in student.peers] == [True]
