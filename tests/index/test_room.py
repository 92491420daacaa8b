"""Pages that the room has together: signed by a member, taken where the upstream does not answer. On virtual time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from hashlib import sha256
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, Refused, Unavailable
from p2pcdn.group import Claim
from p2pcdn.http1 import Request, Response
from p2pcdn.index.claimed import subject_of
from p2pcdn.index.pages import ANSWER_WAIT_S, CHECK_KEPT_AFTER_S, STALE_WAIT_S
from p2pcdn.index.room_questions import ROOM_AGAIN_S, SILENCE_WAIT_S
from p2pcdn.store import Origin
from p2pcdn.world import Index
from tests.index.test_pages import JSON, answer, page
from tests.swarm.rooms import GROUP, NOWHERE, OTHER_GROUP, Member, identity, room_in
from tests.worlds import INDEX, SECOND, Answer, Script

PRIVATE = replace(INDEX, private=True, share="group")
HOUR_S = 3600.0

pytestmark = pytest.mark.usefixtures("autojump_clock")


def row_of(member: Member) -> dict[str, Any]:
    """The page as its store has it."""
    return dict(frames.decode(member.store.value("pages", f"{INDEX.key}/six") or b""))


def says(*versions: str, **headers: str) -> Script:
    return lambda url, asked: answer(*versions, cache_control="max-age=600", **headers)


async def test_an_offline_node_has_the_page_of_a_member(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0", "2.0"))
        student = await room.member("student", offline=True)
        await teacher.versions()
        held = await student.pages.project("six")
        assert await student.versions() == ["1.0", "2.0"]
        assert held.stale
        assert held.fresh_for_s(student.clock.now()) <= 0
        assert student.upstream.asked == []
        assert student.counters.claimed_answers


async def test_a_page_is_passed_on_under_the_word_of_its_first_maker(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0"))
        first = await room.member("first", offline=True)
        await teacher.versions()
        await first.versions()
        room.leaves(teacher)
        second = await room.member("second", offline=True)
        held = await second.pages.project("six")
        assert held.claim == (await first.pages.project("six")).claim
        assert held.checked_at == (await teacher.pages.project("six")).checked_at


async def test_a_page_that_came_by_a_claim_is_still_one_after_a_restart(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0", x_pypi_last_serial="7"))
        await teacher.versions()
        async with room_in(tmp_path) as other_room:
            other_room.wires.meetings = room.wires.meetings
            student = await other_room.member("student", offline=True)
            await other_room.stranger("teacher", teacher.answer)
            before = await student.pages.project("six")
        async with room_in(tmp_path) as other_room:
            student = await other_room.member("student", offline=True)
            after = await student.pages.project("six")
            assert after.stale
            assert (after.claim, after.checked_at, after.version) == (before.claim, before.checked_at, before.version)
            id_ = student.claims.id_of(subject_of(INDEX, "six"))
            assert student.claims.source is not None
            word = await student.claims.source.claim(id_, sealed=False)
            assert word is not None
            assert word.encoded == before.claim


async def test_an_upstream_that_answers_is_not_gone_round(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("6.6.6"))
        student = await room.member("student", says("1.0"))
        await other.versions()
        assert await student.versions() == ["1.0"]
        await trio.sleep(700)
        assert await student.versions() == ["1.0"]
        assert room.wires.asked == []


async def test_an_upstream_that_fails_leaves_the_word_to_the_room(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", NOWHERE)
        await other.versions()
        assert await student.versions() == ["1.0"]
        # Once it has failed, the next page does not wait for it again.
        asked = len(student.upstream.asked)
        await other.versions("other")
        assert await student.versions("other") == ["1.0"]
        assert len(student.upstream.asked) == asked
        # And when it answers again, its word is the one that counts.
        student.upstream.script = says("1.0", "3.0")
        await trio.sleep(10)
        held = await student.pages.project("six")
        assert held.claim is None
        assert not held.stale
        assert await student.versions() == ["1.0", "3.0"]


async def test_an_upstream_that_hangs_is_answered_for_by_the_room_in_time(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", lambda url, headers: Answer(delay_s=1000))
        await other.versions()
        began = trio.current_time()
        assert await student.versions() == ["1.0"]
        assert trio.current_time() - began <= STALE_WAIT_S + 1
        began = trio.current_time()
        with pytest.raises(Unavailable, match="keep trying"):
            await student.versions("unknown")
        assert trio.current_time() - began <= ANSWER_WAIT_S + 0.1


async def test_a_hanging_upstream_that_answers_in_the_end_wins(tmp_path: Path) -> None:
    async def slow(url: str, headers: Mapping[str, str]) -> Answer:
        await trio.sleep(STALE_WAIT_S + 2)
        return answer("1.0", "2.0", cache_control="max-age=600")

    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", slow)
        await other.versions()
        assert await student.versions() == ["1.0"]
        await trio.sleep(10)
        held = await student.pages.project("six")
        assert held.claim is None
        assert await student.versions() == ["1.0", "2.0"]


@pytest.mark.parametrize("ahead_s", [0.0, 500.0])
@pytest.mark.parametrize("confirms", [True, False])
async def test_an_upstream_that_answers_while_the_rooms_page_is_on_its_way_wins(
    tmp_path: Path, ahead_s: float, confirms: bool
) -> None:
    """Also over a page whose maker's clock is ahead, and also where it only confirms what we have."""
    slow_s = 0.0

    async def upstream(url: str, headers: Mapping[str, str]) -> Answer:
        await trio.sleep(slow_s)
        if confirms and "if-none-match" in headers:
            return Answer(status=304, headers={"cache-control": "max-age=600"})
        return answer("2.0", cache_control="max-age=600", etag='"v"')

    async with room_in(tmp_path) as room:
        student = await room.member("student", upstream)
        await student.versions()
        await trio.sleep(1000)
        other = await room.member("other", says("1.0", "2.0"))
        other.clock.ahead_s += ahead_s
        await other.versions()
        slow_s = STALE_WAIT_S + 0.5

        def slowly(request: Request) -> Awaitable[Response]:
            async def give() -> Response:
                await trio.sleep(1)
                given = other.answer(request)
                assert given is not None
                return await given if isawaitable(given) else given

            return give()

        room.wires.faces["other"] = slowly
        await student.versions()
        await trio.sleep(10)
        held = await student.pages.project("six")
        assert held.claim is None
        assert await student.versions() == ["2.0"]
        assert row_of(student).get("claim") is None


async def test_a_304_that_comes_after_the_rooms_page_was_taken_confirms_nothing_of_it(tmp_path: Path) -> None:
    slow_s = 0.0

    async def upstream(url: str, headers: Mapping[str, str]) -> Answer:
        await trio.sleep(slow_s)
        if "if-none-match" in headers:
            return Answer(status=304, headers={"cache-control": "max-age=600"})
        return answer("2.0", cache_control="max-age=600", etag='"v"')

    async with room_in(tmp_path) as room:
        student = await room.member("student", upstream)
        await student.versions()
        await trio.sleep(1000)
        other = await room.member("other", says("1.0", "2.0"))
        await other.versions()
        slow_s = STALE_WAIT_S + 2
        assert await student.versions() == ["1.0", "2.0"], "the newest that was known then"
        await trio.sleep(3)
        slow_s = 0.0
        await trio.sleep(20)
        held = await student.pages.project("six")
        assert held.claim is None
        assert await student.versions() == ["2.0"]
        assert row_of(student).get("claim") is None


async def test_what_the_upstream_says_takes_the_place_of_the_rooms_word_though_it_is_the_same(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", NOWHERE)
        await other.versions()
        await student.versions()
        assert row_of(student).get("claim") is not None
        student.upstream.script = says("1.0")
        await trio.sleep(10)
        assert (await student.pages.project("six")).claim is None
        assert row_of(student).get("claim") is None


async def test_who_is_refused_by_the_upstream_is_not_given_its_page_by_a_neighbour(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", lambda url, headers: Answer(status=403))
        await other.versions()
        with pytest.raises(Refused):
            await student.versions()


async def test_a_captive_portal_is_answered_for_by_the_room(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        portal = Answer(b'{"please": "log in"}', headers={"content-type": "application/json"})
        student = await room.member("student", lambda url, headers: portal)
        await other.versions()
        assert await student.versions() == ["1.0"]


async def test_the_newest_of_the_room_is_taken_and_an_older_one_never_again(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        early = await room.member("early", says("1.0", "2.0"))
        late = await room.member("late", says("2.0"))
        student = await room.member("student", offline=True)
        await early.versions()
        await trio.sleep(100)
        await late.versions()
        assert await student.versions() == ["2.0"], "what was withdrawn in between stays withdrawn"
        room.leaves(late)
        await trio.sleep(ROOM_AGAIN_S + 1)
        assert await student.versions() == ["2.0"]


async def test_a_page_of_our_own_is_replaced_by_a_newer_one_only(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        early = await room.member("early", says("0.1"))
        await early.versions()
        await trio.sleep(100)
        student = await room.member("student", says("1.0"))
        await student.versions()
        await trio.sleep(700)
        student.upstream.script = NOWHERE
        assert await student.versions() == ["1.0"]
        assert (await student.pages.project("six")).claim is None
        late = await room.member("late", says("1.0", "2.0"))
        await late.versions()
        await trio.sleep(ROOM_AGAIN_S + 1)
        assert await student.versions() == ["1.0", "2.0"]


async def test_a_304_counts_as_confirmed_and_is_signed_as_such(tmp_path: Path) -> None:
    def confirms(url: str, headers: Mapping[str, str]) -> Answer:
        if "if-none-match" in headers:
            return Answer(status=304, headers={"cache-control": "max-age=600"})
        return answer("2.0", etag='"v"', cache_control="max-age=600")

    async with room_in(tmp_path) as room:
        confirmed = await room.member("confirmed", confirms)
        await confirmed.versions()
        await trio.sleep(601)
        in_between = await room.member("between", says("1.0", "2.0"))
        await in_between.versions()
        await trio.sleep(10)
        await confirmed.versions()
        student = await room.member("student", offline=True)
        assert await student.versions() == ["2.0"]


async def test_a_304_of_long_after_is_in_the_store_for_a_restart(tmp_path: Path) -> None:
    def confirms(url: str, headers: Mapping[str, str]) -> Answer:
        if "if-none-match" in headers:
            return Answer(status=304, headers={"cache-control": "max-age=600"})
        return answer("2.0", etag='"v"', cache_control="max-age=600")

    async with room_in(tmp_path) as room:
        node = await room.member("node", confirms)
        await node.versions()
        await trio.sleep(CHECK_KEPT_AFTER_S + 1)
        await node.versions()
        confirmed_at = node.clock.now()
        assert row_of(node)["checked_at"] == confirmed_at


async def test_a_claimed_etag_is_never_shown_to_the_upstream(tmp_path: Path) -> None:
    """A 304 to it would confirm a body that our upstream never gave."""
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("6.6.6", etag='"true"', last_modified="Sat, 21 Nov 2026 00:00:00 GMT"))
        student = await room.member("student", NOWHERE)
        await other.versions()
        await student.versions()
        student.upstream.script = lambda url, headers: (
            Answer(status=304) if "if-none-match" in headers or "if-modified-since" in headers else answer("1.0")
        )
        await trio.sleep(10)
        assert await student.versions() == ["1.0"]


async def test_a_members_serial_makes_us_refuse_nothing(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        liar = await room.member("liar", says("6.6.6", x_pypi_last_serial="99999999999999999"))
        student = await room.member("student", NOWHERE)
        await liar.versions()
        assert await student.versions() == ["6.6.6"]
        student.upstream.script = says("1.0", x_pypi_last_serial="100")
        await trio.sleep(10)
        assert await student.versions() == ["1.0"]


async def test_a_claim_does_not_go_back_behind_our_serial(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        student = await room.member("student", says("2.0", x_pypi_last_serial="200"))
        await student.versions()
        await trio.sleep(100)
        behind = await room.member("behind", says("1.0", "2.0", x_pypi_last_serial="100"))
        await behind.versions()
        student.upstream.script = NOWHERE
        await trio.sleep(700)
        assert await student.versions() == ["2.0"]


async def test_our_own_serial_outlives_a_members_page(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        student = await room.member("student", says("1.0", "2.0", x_pypi_last_serial="200"))
        await student.versions()
        await trio.sleep(700)
        other = await room.member("other", says("2.0", x_pypi_last_serial="300"))
        await other.versions()
        student.upstream.script = NOWHERE
        assert await student.versions() == ["2.0"]
        student.pages._shelf._remembered.clear()  # as after a restart
        student.upstream.script = says("1.0", x_pypi_last_serial="100")
        await trio.sleep(10)
        assert await student.versions() == ["2.0"], "a mirror that is behind what our upstream once said"
        student.upstream.script = says("3.0", x_pypi_last_serial="250")
        await trio.sleep(10)
        assert await student.versions() == ["3.0"], "and a member's serial counts for nothing"


async def test_what_a_newer_claim_withdraws_is_buried(tmp_path: Path) -> None:
    content = b"six 1.0"
    digest = Sha256(sha256(content).hexdigest())
    async with room_in(tmp_path) as room:
        student = await room.member("student", says("1.0", "2.0"))
        await student.versions()
        await student.keep(content, Origin("six-1.0-py3-none-any.whl", "six", INDEX.key, "lan"))
        await trio.sleep(700)
        student.upstream.script = NOWHERE
        other = await room.member("other", says("2.0"))
        await other.versions()
        assert await student.versions() == ["2.0"]
        assert student.store.blob(digest) is None


async def test_yanked_marks_travel(tmp_path: Path) -> None:
    content = json.loads(page("1.0"))
    content["files"][0]["yanked"] = "broken"
    async with room_in(tmp_path) as room:
        other = await room.member("other", lambda url, headers: Answer(json.dumps(content).encode(), headers=JSON))
        student = await room.member("student", offline=True)
        await other.versions()
        held = await student.pages.project("six")
        assert held.page is not None
        assert held.page.files[0].yanked == "broken"


async def test_a_project_that_the_index_does_not_have_is_not_there_offline_either(tmp_path: Path) -> None:
    """So the search goes on to the next index, whose page a member has, too."""

    def two(url: str, headers: Mapping[str, str]) -> Answer:
        return answer("9.9") if url.startswith(SECOND.url) else Answer(status=404)

    async with room_in(tmp_path) as room:
        other = await room.member("other", two, indexes=(INDEX, SECOND))
        student = await room.member("student", offline=True, indexes=(INDEX, SECOND))
        await other.versions("corp")
        assert await student.versions("corp") == ["9.9"]
        with pytest.raises(Unavailable):
            await student.versions("unknown")
        lone = await room.member("lone", offline=True)
        with pytest.raises(NotFound):
            await lone.versions("corp")


async def test_a_withdrawn_project_is_withdrawn_in_the_room(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        early = await room.member("early", says("1.0"))
        await early.versions()
        await trio.sleep(10)
        late = await room.member("late", lambda url, headers: Answer(status=404))
        with pytest.raises(NotFound):
            await late.versions()
        student = await room.member("student", offline=True)
        with pytest.raises(NotFound):
            await student.versions()


async def test_pages_of_two_indexes_never_stand_for_each_other(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("6.6.6"), indexes=(SECOND,))
        student = await room.member("student", offline=True)
        await other.versions()
        with pytest.raises(Unavailable):
            await student.versions()


async def test_without_a_group_no_neighbour_is_asked_for_a_page(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        open_one = await room.member("open", says("1.0"), group=None)
        grouped = await room.member("grouped", says("1.0"))
        await open_one.versions()
        await grouped.versions()
        student = await room.member("student", offline=True, group=None)
        with pytest.raises(Unavailable):
            await student.versions()
        assert room.wires.asked == []
        asker = await room.member("asker", offline=True)
        room.leaves(grouped)
        with pytest.raises(Unavailable):
            await asker.versions()


async def test_another_groups_page_is_not_even_found(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"), group=OTHER_GROUP)
        student = await room.member("student", offline=True)
        await other.versions()
        with pytest.raises(Unavailable):
            await student.versions()


async def test_pages_of_an_index_that_is_not_shared_stay_here(tmp_path: Path) -> None:
    closed = replace(INDEX, share="never")
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"), indexes=(closed,))
        student = await room.member("student", offline=True)
        await other.versions()
        with pytest.raises(Unavailable):
            await student.versions()
        room.wires.asked.clear()
        closed_one = await room.member("closed", offline=True, indexes=(closed,))
        with pytest.raises(Unavailable):
            await closed_one.versions()
        assert room.wires.asked == [], "not even the question is asked"


async def test_a_private_page_goes_over_a_sealed_connection_only(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"), indexes=(PRIVATE,))
        student = await room.member("student", offline=True, indexes=(PRIVATE,))
        await other.versions()
        assert await student.versions() == ["1.0"]
        # For somebody to whom the same index is a public one, and who therefore asks openly, it is not there.
        careless = await room.member("careless", offline=True)
        with pytest.raises(Unavailable):
            await careless.versions()


async def test_who_has_no_sealed_door_is_not_asked_for_a_private_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.swarm.rooms.SEALED_PORT", 0)
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"), indexes=(PRIVATE,))
        student = await room.member("student", offline=True, indexes=(PRIVATE,))
        await other.versions()
        with pytest.raises(Unavailable):
            await student.versions()
        assert room.wires.asked == []


async def test_a_page_of_a_directory_of_this_machine_is_no_page_of_others(tmp_path: Path) -> None:
    local = Index("file:///srv/simple/", INDEX.key, 0, "group", private=False)
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"), indexes=(local,))
        student = await room.member("student", offline=True, indexes=(local,))
        await other.versions()
        with pytest.raises(Unavailable):
            await student.versions()
        assert room.wires.asked == []


async def test_the_room_is_asked_once_for_many_clients_and_not_for_each_use(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        student = await room.member("student", offline=True)
        await other.versions()
        async with trio.open_nursery() as clients:
            for _ in range(50):
                clients.start_soon(student.versions)
        assert await student.versions() == ["1.0"]
        assert student.pages.fresh("six") is not None
        assert len(room.wires.asked) == 2, "the claim and the page"
        await trio.sleep(ROOM_AGAIN_S)
        assert student.pages.fresh("six") is None
        await student.versions()
        assert len(room.wires.asked) == 3


async def test_thirty_students_take_one_page_each(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0"))
        await teacher.versions()
        students: list[Member] = [await room.member(f"student{number}", offline=True) for number in range(30)]
        async with trio.open_nursery() as lesson:
            for student in students:
                lesson.start_soon(student.versions)
        pages = [path for path in room.wires.asked if len(path.split("/")) == 5]
        assert len(pages) == 30
        assert trio.current_time() < 1


async def test_a_neighbour_whose_wire_is_full_is_waited_for_and_not_blamed(tmp_path: Path) -> None:
    projects = [f"project{number}" for number in range(20)]
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0"))
        for project in projects:
            await teacher.versions(project)
        student = await room.member("student", offline=True)

        def slowly(request: Request) -> Response | Awaitable[Response] | None:
            given = teacher.answer(request)

            async def give() -> Response:
                await trio.sleep(1 if request.path.count("/") == 4 else 0.02)
                assert given is not None
                return await given if isawaitable(given) else given

            return give() if given is not None else None

        room.wires.faces["teacher"] = slowly
        async with trio.open_nursery() as installer:
            for project in projects:
                installer.start_soon(student.versions, project)
        assert [peer.failures for peer in student.peers] == [0]


async def test_an_own_page_whose_clock_was_wrong_is_not_signed(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        other.clock.ahead_s += 10 * HOUR_S
        await other.versions()
        other.clock.ahead_s -= 10 * HOUR_S
        assert other.claims.source is not None
        assert await other.claims.source.claim(other.claims.id_of(subject_of(INDEX, "six")), sealed=True) is None
        student = await room.member("student", offline=True)
        with pytest.raises(Unavailable):
            await student.versions()
        assert not any(peer.strikes for peer in student.peers)


async def test_a_row_out_of_an_export_with_a_false_claim_is_not_passed_on(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        other = await room.member("other", says("1.0"))
        await other.versions()
        key, row = f"{INDEX.key}/six", row_of(other)
        room.leaves(other)
        content = b"another content"
        others = [
            Claim.make(identity("x", group), "page", subject_of(INDEX, project), content, row["checked_at"]).encode()
            for group, project in ((GROUP, "six"), (OTHER_GROUP, "six"), (GROUP, "seven"))
        ]
        for number, claim in enumerate((b"", b"no claim", 5, *others)):
            importer = await room.member(f"importer{number}", offline=True)
            await importer.store.change(values={("pages", key): frames.encode({**row, "claim": claim})})
            student = await room.member(f"student{number}", offline=True)
            with pytest.raises(Unavailable):
                await student.versions()
            assert not any(peer.strikes for peer in student.peers)
            room.leaves(student)
            room.leaves(importer)


@pytest.mark.parametrize("answers_after_s", [6.0, 60.0])
async def test_a_member_that_is_silent_has_not_said_that_it_has_no_page(tmp_path: Path, answers_after_s: float) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0"))
        await teacher.versions()
        student = await room.member("student", offline=True)
        speaks_at = trio.current_time() + answers_after_s
        answers = room.wires.faces["teacher"]

        def silent(request: Request) -> Awaitable[Response]:
            async def late() -> Response:
                await trio.sleep(max(0.0, speaks_at - trio.current_time()))
                answer = answers(request)
                assert answer is not None
                return await answer if isawaitable(answer) else answer

            return late()

        async def greets() -> None:
            """As a node does with those that did not answer."""
            await trio.sleep(answers_after_s)
            (peer,) = student.peers
            assert peer.hello is not None
            student.peers.answered(peer, peer.hello, 0.001, trio.current_time())

        room.wires.faces["teacher"] = silent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greets)
            if answers_after_s < SILENCE_WAIT_S:
                assert await student.versions() == ["1.0"]
            else:
                with pytest.raises(Unavailable, match="a member of its group that may have one does not answer now"):
                    await student.versions()
            nursery.cancel_scope.cancel()


async def test_a_member_that_answers_late_and_then_slowly_keeps_nobody_waiting_too_long(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        teacher = await room.member("teacher", says("1.0"))
        await teacher.versions()
        student = await room.member("student", offline=True)
        answers, began = room.wires.faces["teacher"], trio.current_time()

        def slow(request: Request) -> Awaitable[Response]:
            async def late() -> Response:
                now = trio.current_time() - began
                await trio.sleep(100 if now < SILENCE_WAIT_S - 2 else 2.5)
                answer = answers(request)
                assert answer is not None
                return await answer if isawaitable(answer) else answer

            return late()

        async def greets() -> None:
            await trio.sleep(SILENCE_WAIT_S - 1)
            (peer,) = student.peers
            assert peer.hello is not None
            student.peers.answered(peer, peer.hello, 0.001, trio.current_time())

        room.wires.faces["teacher"] = slow
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greets)
            with pytest.raises(Unavailable):
                await student.versions()
            assert trio.current_time() - began <= ANSWER_WAIT_S
        await trio.sleep(ANSWER_WAIT_S)
        assert await student.versions() == ["1.0"], "it came meanwhile"
