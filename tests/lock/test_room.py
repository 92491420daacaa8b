"""What a neighbour found is taken where our own pages confirm it; whoever lies is refused, and told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group import Claim, GroupKey, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.index import Pages
from p2pcdn.lock.certificate import PROJECTS_MAX, VERSIONS_MAX, Certificate, subject_of
from p2pcdn.lock.facts import Facts
from p2pcdn.lock.feed import open_feed
from p2pcdn.lock.locker import Locked, Locker
from p2pcdn.lock.room import FETCHED_MAX, LOOK_TIME_S_MAX, Room
from p2pcdn.lock.solvers import Solvers
from p2pcdn.lock.targets import matrix
from p2pcdn.lock.wishes import parse_question
from p2pcdn.swarm.group.resolutions import (
    ANSWER_SIZE_BYTES_MAX,
    ASKED_AT_ONCE,
    CONTENT_SIZE_BYTES_MAX,
    KIND,
    READ_MAX,
    Refusal,
)
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.bench.wheels import Distribution, make_wheel
from tests.lock.rooms import ScriptedIndex, metadata_in
from tests.swarm.rooms import GROUP, OTHER_GROUP, Handler, Member, identity, room_in
from tests.swarm.rooms import Room as Wires
from tests.worlds import INDEX, InlineThreads

APP = make_wheel("app", requires=["lib>=1"])
FILES = [APP, make_wheel("lib", "1.0"), make_wheel("lib", "2.0"), make_wheel("other")]
QUESTION = parse_question({"requirements": ["app"], "requires_python": ">=3.13"})
TARGETS = [cell.target for cell in matrix(">=3.13")]
SUBJECT = subject_of(QUESTION.digest(), TARGETS, [INDEX.url], "1")
LAN = replace(INDEX, share="lan")


@dataclass
class Node:
    """A member with a locker; `solved` says whether it ever had to start a solver."""

    member: Member
    index: ScriptedIndex
    locker: Locker
    solvers: Solvers

    async def lock(self, *requirements: str) -> Locked:
        question = parse_question({"requirements": list(requirements or ("app",)), "requires_python": ">=3.13"})
        return await self.locker.lock(question)

    @property
    def solved(self) -> bool:
        return bool(self.solvers._idle)

    @property
    def content(self) -> bytes:
        """What it would give to members."""
        octets = self.member.store.value("environments", f"room/{self.member.resolutions.id_of(SUBJECT)}")
        assert octets is not None
        content: bytes = frames.decode(octets)["content"]
        return content


async def node(room: Wires, nursery: trio.Nursery, name: str, group: GroupKey | None = GROUP) -> Node:
    index = ScriptedIndex([*FILES])
    member = await room.member(name, index.answer, group=group, indexes=(LAN,))
    metadata = metadata_in(member.store, member.upstream, member.counters, nursery)
    threads, solvers = InlineThreads(), Solvers(RealProcesses(), nursery)
    neighbours = Room(member.resolutions, member.store, threads, (LAN,), "1")
    facts = Facts(member.pages, metadata, member.store, threads)
    return Node(member, index, Locker(facts, solvers, member.store, "1", neighbours), solvers)


@pytest.mark.parametrize("group", [GROUP, None], ids=["a group", "open mode"])
async def test_what_a_neighbour_found_is_confirmed_and_not_solved(tmp_path: Path, group: GroupKey | None) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first = await node(room, nursery, "first", group)
        second = await node(room, nursery, "second", group)
        found, taken = await first.lock(), await second.lock()
        assert (found.from_room, taken.from_room) == (False, True)
        assert taken.text == found.text
        assert first.solved
        assert not second.solved
        assert second.member.upstream.asked, "it looked at its own index's pages"
        assert (await second.lock()).again
        # And it passes on what it confirmed, under its own word.
        room.leaves(first.member)
        third = await node(room, nursery, "third", group)
        assert (await third.lock()).from_room
        assert not third.solved
        nursery.cancel_scope.cancel()


async def test_a_neighbour_with_older_pages_is_refused_without_blame(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first, second = await node(room, nursery, "first"), await node(room, nursery, "second")
        await first.lock()
        second.index.files.append(make_wheel("lib", "3.0"))
        taken = await second.lock()
        assert not taken.from_room
        assert 'version = "3.0"' in taken.text
        assert [peer.strikes for peer in second.member.peers] == [0]
        nursery.cancel_scope.cancel()


async def test_who_had_to_go_back_spares_others_the_way(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first, second = await node(room, nursery, "first"), await node(room, nursery, "second")
        both = [make_wheel("back", "2.0", requires=["lib>=2", "other"]), make_wheel("back", "1.0")]
        for one in (first, second):
            one.index.files += both
            locked = await one.lock("lib<2", "back")
            assert 'name = "back"\nversion = "1.0"' in locked.text
        assert not second.solved, "though other is in none of the solutions, and had to be looked at"
        assert [peer.strikes for peer in second.member.peers] == [0]
        nursery.cancel_scope.cancel()


async def test_a_long_history_is_taken_by_those_who_have_it(tmp_path: Path) -> None:
    """As of boto3 with an old urllib3: each of many versions wants a newer lib."""
    count = FETCHED_MAX + 50
    history = [make_wheel("back", f"1.{number}", requires=["lib>=2"] if number else []) for number in range(count)]
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first, second = await node(room, nursery, "first"), await node(room, nursery, "second")
        fresh = await node(room, nursery, "fresh")
        for one in (first, second, fresh):
            one.index.files += history
        assert not (await second.lock("back", "lib<2", "other")).from_room
        found = await first.lock("back", "lib<2")
        assert 'name = "back"\nversion = "1.0"' in found.text
        taken = await second.lock("back", "lib<2")
        assert taken.from_room
        assert taken.text == found.text
        assert not (await fresh.lock("back", "lib<2")).from_room, "it is more than a word is worth"
        assert [peer.strikes for peer in fresh.member.peers] == [0, 0]
        nursery.cancel_scope.cancel()


async def test_where_the_files_of_a_version_are_forgotten_and_its_page_is_another_one_now_we_solve_ourselves(
    tmp_path: Path,
) -> None:
    """The row of a long history says what its versions require, and not their files."""
    history = [make_wheel("back", f"1.{number}", requires=["lib>=2"] if number else []) for number in range(400)]
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first, second = await node(room, nursery, "first"), await node(room, nursery, "second")
        for one in (first, second):
            one.index.files += history
        await second.lock("back", "lib<2", "other")
        await first.lock("back", "lib<2")
        store = second.member.store
        forgotten = [("parsed", key) for key in store.keys("parsed") if key.startswith("f") and "/back/" in key]
        await store.change(values=dict.fromkeys([*forgotten, *(("pages", key) for key in store.keys("pages"))]))
        second.index.files.append(make_wheel("back", "1.0.1"))
        locked = await second.lock("back", "lib<2")
        assert not locked.from_room
        assert 'name = "back"\nversion = "1.0.1"' in locked.text
        nursery.cancel_scope.cancel()


def says(change: Callable[[Certificate], Certificate], of: bytes) -> bytes:
    return change(Certificate.decode(of)).encode()


def every(*chosen: tuple[str, str], **pages: tuple[str, str]) -> Callable[[Certificate], Certificate]:
    """The same pages, and this choice for each target."""

    def changed(one: Certificate) -> Certificate:
        projects = [*(project for project, _ in chosen), *one.looked_at]
        named = {project: one.pages.get(project, (INDEX.url, "0" * 32)) for project in projects}
        return replace(one, choices=(tuple(sorted(chosen)),) * len(one.choices), pages={**named, **pages})

    return changed


OLD = every(("app", "1.0"), ("lib", "1.0"))
LIES: dict[str, tuple[Callable[[Certificate], Certificate], int]] = {
    "an old version": (OLD, 1),
    "a version that no page has": (every(("app", "1.0"), ("lib", "6.6.6")), 1),
    "a package less": (every(("app", "1.0")), 1),
    "a package more": (every(("app", "1.0"), ("lib", "2.0"), ("other", "1.0")), 0),
    "a project that nobody has": (every(("app", "1.0"), ("evil", "1.0"), ("lib", "2.0")), 0),
    "an old version, as of old pages": (
        lambda one: replace(OLD(one), pages=dict.fromkeys(one.pages, (INDEX.url, "0"))),
        0,
    ),
    "an old version, as on another machine": (lambda one: replace(OLD(one), machine=bytes(16)), 0),
    "other targets": (lambda one: replace(one, choices=one.choices[:-1]), 1),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_and_we_solve_ourselves(
    tmp_path: Path, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, strikes = LIES[lie]
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first = await node(room, nursery, "first")
        honest = await first.lock()
        content = says(change, first.content)
        room.leaves(first.member)
        await room.stranger("liar", giving(content))
        second = await node(room, nursery, "second")
        with caplog.at_level(logging.WARNING):
            locked = await second.lock()
        assert not locked.from_room
        assert locked.text == honest.text
        assert strikes_of(second, "liar") == strikes
        assert any("liar" in line.getMessage() and "a resolution" in line.getMessage() for line in caplog.records)
        nursery.cancel_scope.cancel()


async def test_pages_that_decide_nothing_are_not_remembered_nor_passed_on(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first = await node(room, nursery, "first")
        await first.lock()
        honest = Certificate.decode(first.content)
        more = replace(
            honest,
            pages={**honest.pages, "other": (INDEX.url, "0" * 32)},
            looked_at={**honest.looked_at, "other": ["1.0"]},
        )
        room.leaves(first.member)
        await room.stranger("talker", giving(more.encode()))
        second = await node(room, nursery, "second")
        assert (await second.lock()).from_room
        assert second.content == first.content
        nursery.cancel_scope.cancel()


async def test_nobody_passes_over_a_version_that_we_would_have_built(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first = await node(room, nursery, "first")
        await first.lock()
        content = says(lambda one: replace(one, looked_at={**one.looked_at, "lib": ["2.0", "3.0"]}), first.content)
        room.leaves(first.member)
        await room.stranger("liar", giving(content))
        second = await node(room, nursery, "second")
        second.index.files.append(Distribution("lib-3.0.tar.gz", "lib", "3.0", b"an sdist"))
        assert not (await second.lock()).from_room
        assert strikes_of(second, "liar") == 0, "on its own page there may be a wheel"
        nursery.cancel_scope.cancel()


def giving(content: bytes, who: Identity | None = None, **changed: object) -> Handler:
    """A member that gives this, signed by itself, or what was changed of it."""

    def answer(request: Request) -> Response | None:
        if not request.path.startswith("/v1/resolution/"):
            return None
        claim = Claim.make(who or identity("liar"), KIND, SUBJECT, content, 1_800_000_000.0).to_map()
        return Response(200, (), frames.encode({"claim": claim, "content": content, **changed}))

    return answer


def strikes_of(one: Node, name: str) -> int:
    return next(peer.strikes for peer in one.member.peers if peer.address.host == name)


async def test_only_what_a_member_signed_of_this_question_counts(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        first = await node(room, nursery, "first")
        await first.lock()
        right = first.content
        room.leaves(first.member)
        liar = identity("liar")
        claims: dict[str, object] = {
            "no-claim": None,
            "another-content": Claim.make(liar, KIND, SUBJECT, b"other", 1e9).to_map(),
            "another-question": Claim.make(liar, KIND, b"other", right, 1e9).to_map(),
            "another-kind": Claim.make(liar, "page", SUBJECT, right, 1e9).to_map(),
            "no-member": Claim.make(identity("liar", OTHER_GROUP), KIND, SUBJECT, right, 1e9).to_map(),
        }
        for name, claim in claims.items():
            await room.stranger(name, giving(right, claim=claim))
        await room.stranger("nothing", lambda request: Response(200, (), b""))
        await room.stranger("a-list", lambda request: Response(200, (), frames.encode([])))
        await room.stranger("too-much", lambda request: Response(200, (), bytes(ANSWER_SIZE_BYTES_MAX + 1)))
        second = await node(room, nursery, "second")
        assert not (await second.lock()).from_room
        assert {name: strikes_of(second, name) for name in (*claims, "nothing", "a-list", "too-much")} == dict.fromkeys(
            (*claims, "nothing", "a-list", "too-much"), 1
        )
        nursery.cancel_scope.cancel()


async def test_while_one_word_is_looked_at_few_others_wait_in_memory(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        given = 0

        def large(request: Request) -> Response:
            nonlocal given
            given += 1
            return Response(200, (), frames.encode({"claim": None, "content": given.to_bytes(2) * 1000}))

        for number in range(2 * ASKED_AT_ONCE):
            await room.stranger(f"large-{number}", large, None)
        member = await room.member("one", group=None, indexes=(LAN,))
        looked_at = 0

        async def read(content: bytes) -> Refusal:
            nonlocal looked_at
            await trio.testing.wait_all_tasks_blocked(0.01)
            looked_at += 1
            assert given <= looked_at + ASKED_AT_ONCE
            return Refusal("it is too large", is_lie=False)

        assert await member.resolutions.first(SUBJECT, sealed=False, read=read) is None
        assert looked_at == READ_MAX


async def test_who_never_answers_holds_nobody_up(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:

        async def silent() -> Response:
            await trio.sleep_forever()
            raise AssertionError

        await room.stranger("silent", lambda request: silent())
        second = await node(room, nursery, "second")
        with trio.fail_after(20):
            assert not (await second.lock()).from_room
        nursery.cancel_scope.cancel()


async def test_liars_who_name_what_is_slow_cost_one_wait_together(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        second = await node(room, nursery, "second")
        for number in range(READ_MAX):
            slow = f"slow-{number}"
            second.index.files.append(make_wheel(slow))
            second.index.delays_s[f"/{slow}/"] = 1000.0
            content = every((slow, "1.0"))(replace(GOOD, choices=(GOOD.choices[0],) * len(TARGETS), pages={}))
            await room.stranger(slow, giving(replace(content, looked_at={}).encode(), identity(slow)))
        assert second.locker.room is not None
        looked = trio.current_time()
        async with open_feed(second.locker.facts) as feed:
            targets = dict(enumerate(TARGETS))
            assert await second.locker.room.find(QUESTION, targets, (LAN,), feed) is None
        assert LOOK_TIME_S_MAX <= trio.current_time() - looked < 2 * LOOK_TIME_S_MAX
        assert sum(f"/slow-{number}/" in url for number in range(READ_MAX) for url, _ in second.member.upstream.asked)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "question",
    [{"requirements": ["app @ https://x.example/app-1.0-py3-none-any.whl"]}, {"overrides": ["app @ file:///x"]}],
)
async def test_what_stands_at_a_url_is_nobody_elses_business(tmp_path: Path, question: dict[str, list[str]]) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        one = await node(room, nursery, "one")
        assert one.locker.room is not None
        subject = one.locker.room._subject(parse_question(question), {0: TARGETS[0]}, (LAN,))
        assert subject is None
        nursery.cancel_scope.cancel()


async def test_private_indexes_stay_within_a_group_and_unshared_ones_at_home(tmp_path: Path) -> None:
    private, never = replace(INDEX, private=True, share="group"), replace(INDEX, share="never")
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        member, stranger = await node(room, nursery, "one"), await node(room, nursery, "two", None)
        assert member.locker.room is not None
        assert stranger.locker.room is not None
        in_group = member.locker.room._subject(QUESTION, {0: TARGETS[0]}, (LAN, private))
        assert in_group is not None
        assert in_group.sealed
        assert stranger.locker.room._subject(QUESTION, {0: TARGETS[0]}, (LAN, private)) is None
        assert member.locker.room._subject(QUESTION, {0: TARGETS[0]}, (LAN, never)) is None
        nursery.cancel_scope.cancel()


async def test_what_was_found_while_an_index_was_open_is_as_private_as_the_index_is_now(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        one = await node(room, nursery, "one")
        await one.lock()
        member, id_ = one.member, one.member.resolutions.id_of(SUBJECT)
        for index, plain, sealed in (
            (LAN, True, True),
            (replace(LAN, private=True, share="group"), False, True),
            (replace(LAN, share="never"), False, False),
        ):
            now = Room(member.resolutions, member.store, InlineThreads(), (index,), "1")
            assert (await now.resolution(id_, sealed=False) is not None) == plain
            assert (await now.resolution(id_, sealed=True) is not None) == sealed
        nursery.cancel_scope.cancel()


async def test_what_was_taken_from_an_explicit_private_index_is_told_nobody(tmp_path: Path) -> None:
    private = replace(INDEX, key="5" * 16, share="never", private=True)
    async with room_in(tmp_path) as room, trio.open_nursery() as nursery:
        one = await node(room, nursery, "one", None)
        member = one.member
        one.locker.facts.pages = Pages(
            (LAN,),
            explicit=(private,),
            pinned={"lib": private},
            store=member.store,
            upstream=member.upstream,
            threads=InlineThreads(),
            clock=member.clock,
            counters=member.counters,
            nursery=nursery,
            offline=False,
        )
        assert "lib" in (await one.lock()).text
        assert not [key for key in member.store.keys("environments") if key.startswith("room/")]
        nursery.cancel_scope.cancel()


GOOD = Certificate(
    ((("a", "1"),), (("a", "1"),)),
    {"a": ("u", "v"), "b": ("u", "v")},
    bytes(16),
    {"a": ["1"], "b": ["2"]},
)
A, B = ["a", "u", "v", "1"], ["b", "u", "v", "2"]
FIELDS = {"machine": bytes(16), "projects": [A, B], "targets": [[0], [0]]}
NONE: dict[str, dict[str, object]] = {
    "a project twice": {"projects": [A, A]},
    "a version twice": {"projects": [["a", "u", "v", "1\n1"], B]},
    "another order": {"projects": [B, A]},
    "another order of versions": {"projects": [["a", "u", "v", "2\n1"]]},
    "a project without a page": {"projects": [["a", "1"], B]},
    "a page that is none": {"projects": [["a", "u", 1, "1"], B]},
    "no targets": {"targets": []},
    "a target that chooses what is not there": {"targets": [[0, 2]]},
    "a target that chooses from behind": {"targets": [[-1]]},
    "a target that chooses twice": {"targets": [[0, 0]]},
    "a name that is none": {"projects": [["A", "u", "v", "1"], B]},
    "an endless version": {"projects": [["a", "u", "v", "1" * 999], B]},
    "a number for a version": {"projects": [["a", "u", "v", 1], B]},
    "a list of its versions": {"projects": [["a", "u", "v", ["1"]], B]},
    "too many projects": {"projects": [[f"a{n:03}", "u", "v", "1"] for n in range(PROJECTS_MAX + 1)]},
    "too many versions": {"projects": [["a", "u", "v", "\n".join([f"1.{n:04}" for n in range(VERSIONS_MAX + 1)])]]},
    "a short machine": {"machine": b"x"},
    "a field more": {"more": 1},
}


def test_a_certificate_is_read_as_it_was_written() -> None:
    assert Certificate.decode(GOOD.encode()) == GOOD
    assert frames.encode(FIELDS) == GOOD.encode()


@pytest.mark.parametrize(
    "large",
    [
        replace(GOOD, looked_at={"a": ["1", f"1+{'1' * 200}"]}),
        replace(GOOD, pages={**GOOD.pages, "b": (f"https://{'b' * CONTENT_SIZE_BYTES_MAX}.example/", "v")}),
    ],
    ids=["a long version", "a long address"],
)
def test_what_members_would_call_a_lie_for_its_size_is_not_offered(large: Certificate) -> None:
    with pytest.raises(ValueError, match="larger than members take"):
        large.encode()


@pytest.mark.parametrize("what", NONE)
def test_what_is_no_certificate_is_not_read(what: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Certificate.decode(frames.encode(FIELDS | NONE[what]))
