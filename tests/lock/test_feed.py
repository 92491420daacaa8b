"""What a solver is told: what it needs first, guesses beside it, and errors only of what is needed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

from p2pcdn.envs.model import Target as Here
from p2pcdn.errors import Unavailable
from p2pcdn.fetch import Wanted
from p2pcdn.lock.ahead import Ahead
from p2pcdn.lock.facts import PARSE_INLINE_FILES_MAX, Facts, Listed, Makers
from p2pcdn.lock.feed import open_feed
from p2pcdn.lock.kept import NEWEST_VERSIONS, decode_table, file_for_metadata
from p2pcdn.resolve import Need, Source, Target, metadata_of, table_and_places_of
from p2pcdn.simple import parse_page, told
from tests.bench.wheels import Distribution, make_wheel
from tests.lock.rooms import page_of, room
from tests.store.stores import WHEEL, keep

A, B = make_wheel("a"), make_wheel("b")


async def test_a_slow_guess_holds_up_nothing(tmp_path: Path) -> None:
    async with room(tmp_path, A, B) as here:
        here.index.delays_s["/b/"] = 1000.0
        async with open_feed(here.facts) as feed:
            with trio.fail_after(5):
                tables, metadata = await feed.get(Need(tables=("a",), likely_tables=("b",)))
            assert len(tables) == 1
            assert not metadata
        assert here.asked("/b/") == 1, "it was asked for beside"


async def test_a_guess_that_came_is_told_with_what_was_needed(tmp_path: Path) -> None:
    async with room(tmp_path, A, B) as here, open_feed(here.facts) as feed:
        here.index.delays_s["/a/"] = 0.2
        tables, _ = await feed.get(Need(tables=("a",), likely_tables=("b",)))
        assert len(tables) == 2
        _, metadata = await feed.get(Need(metadata=(Source("a", "1.0"),), likely_tables=("b",)))
        assert [source for source, _ in metadata] == [("a", "1.0", "")]
        assert here.asked("/b/") == 1


async def test_only_what_is_needed_may_fail(tmp_path: Path) -> None:
    async with room(tmp_path, A) as here:
        here.index.delays_s["/a/"] = 0.3
        async with open_feed(here.facts) as feed:
            tables, _ = await feed.get(Need(tables=("a",), likely_metadata=(Source("nosuch", "1"),)))
            assert len(tables) == 1
        here.index.down = True
        async with open_feed(here.facts) as feed:
            with pytest.raises(Unavailable):
                await feed.get(Need(tables=("other",)))


async def test_broken_metadata_is_a_reason_and_no_failure(tmp_path: Path) -> None:
    async with room(tmp_path, A) as here, open_feed(here.facts) as feed:
        await feed.get(Need(tables=("a",)))
        _, metadata = await feed.get(Need(metadata=(Source("a", "9.9"),)))
        assert b"lists no file of a 9.9" in metadata[0][1]


async def test_of_a_large_page_the_newest_files_are_kept_and_the_others_when_one_of_them_is_asked_for(
    tmp_path: Path,
) -> None:
    count = max(PARSE_INLINE_FILES_MAX, NEWEST_VERSIONS) + 1
    many = [make_wheel("a", f"1.{number}") for number in range(count)]
    async with room(tmp_path, *many) as here:
        async with open_feed(here.facts) as feed:
            await feed.get(Need(tables=("a",)))
            listed = feed.pages["a"]
            assert listed is not None
            kept = [here.facts.files_at_hand(listed, f"1.{number}") is not None for number in range(count)]
            assert kept == [False] * (count - NEWEST_VERSIONS) + [True] * NEWEST_VERSIONS
            old = tuple(Source("a", f"1.{number}") for number in (0, 1, 2))
            _, metadata = await feed.get_all((), {"a": [one.version for one in old]}, fetched_max=len(old))
            assert [feed.files(listed, one.version).names for one in old] == [(many[at].filename,) for at in (0, 1, 2)]
            assert metadata["a"].keys() == {one.version for one in old}
        assert here.asked("/a/") == 1
        assert all(here.facts.files_at_hand(listed, f"1.{number}") is not None for number in range(count))


def test_the_files_of_a_version_are_found_by_the_name_that_its_table_has() -> None:
    files = [make_wheel("a", version) for version in ("1.0", "1.0.1", "1.0a1", "1.0.alpha.1", "bad-version")]
    page = parse_page(page_of("a", files[:4]), "application/json", "https://index.example/a/", "a")
    _, places = table_and_places_of("a", told(page.files))
    assert {version: len(some) for version, some in places.items()} == {"1.0": 1, "1.0.1": 1, "1.0a1": 2}
    assert file_for_metadata([]) is None


async def test_an_old_version_of_one_page_does_not_wait_for_another_page(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    many = [make_wheel(project, f"1.{number}") for project in "ab" for number in range(PARSE_INLINE_FILES_MAX + 1)]
    async with room(tmp_path, *many) as here:
        for project in "ab":
            await here.facts.table(project)
        here.clock.ahead_s += 24 * 3600
        here.index.delays_s["/a/"] = 3.0
        _, b = await here.facts.table("b")
        assert b is not None
        a = replace(b, project="a")
        began, took_s = trio.current_time(), {}

        async def look(listed: Listed) -> None:
            with suppress(Unavailable):
                await here.facts.files(listed, "1.0")
            took_s[listed.project] = trio.current_time() - began

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, a)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(look, b)
        assert (took_s["a"], took_s["b"]) == (3.0, 0.0)


async def test_what_was_looked_at_stands_in_one_row_for_the_next_lock(tmp_path: Path) -> None:
    async with room(tmp_path, make_wheel("a", "1.0", requires=["b"]), make_wheel("a", "2.0", requires=["b"])) as here:
        for version in ("1.0", "2.0", "2.0"):
            async with open_feed(here.facts) as feed:
                _, metadata = await feed.get_all(("a",), {"a": [version]}, fetched_max=9)
                listed = feed.pages["a"]
                assert listed is not None
                assert metadata_of(Source("a"), metadata["a"][version]).requires_dist == ("b",)
                assert feed.files(listed, version).names == (f"a-{version}-py3-none-any.whl",)
        looked = here.facts.looked_at(listed)
        assert looked.metadata.keys() == looked.files.keys() == {"1.0", "2.0"}, "and the versions of before stay"
        assert looked.metadata["1.0"] == looked.metadata["2.0"], "what says the same is the same"
        assert not here.facts.looked_at(replace(listed, version="another")).metadata


async def test_the_files_of_a_long_history_are_read_for_the_versions_that_need_them(tmp_path: Path) -> None:
    versions = [f"1.{number}" for number in range(400)]
    wheels = [make_wheel("a", version, requires=[f"b<{version}"]) for version in versions]
    async with room(tmp_path, *wheels) as here:
        for _ in range(2):
            async with open_feed(here.facts) as feed:
                _, metadata = await feed.get_all(("a",), {"a": versions}, fetched_max=2 * len(versions))
                assert metadata["a"].keys() == {*versions}
                listed = feed.pages["a"]
                assert listed is not None
                await feed.read_files([Source("a", "1.7")])
                assert feed.files(listed, "1.7").names == ("a-1.7-py3-none-any.whl",)
                assert feed.lists(listed, "1.8")
                assert feed.have_wheels(listed, versions)
        looked = here.facts.looked_at(listed)
        assert len(looked.metadata) == len(versions)
        assert not looked.files
        assert here.asked("/a/") == 1


async def test_a_wheel_of_a_long_history_is_fetched_ahead_as_any_other_one(tmp_path: Path) -> None:
    versions = [f"1.{number}" for number in range(400)]
    here_now = {"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.11.2"}
    begun: list[str] = []

    async def fetch(wanted: Wanted) -> None:
        begun.append(wanted.file.filename)

    async with room(tmp_path, *(make_wheel("a", version) for version in versions)) as here:
        for _ in range(2):
            begun.clear()
            ahead = Ahead(Here(here_now, ("py3-none-any",)), fetch)
            async with open_feed(here.facts, ahead=ahead) as feed:
                await feed.get_all(("a",), {"a": versions}, fetched_max=2 * len(versions))
                for _ in range(2):
                    feed.stands_on(Target.of(here_now), [Source("a", "1.7")])
                await trio.testing.wait_all_tasks_blocked()
            assert begun == ["a-1.7-py3-none-any.whl"]


async def test_that_a_version_has_no_wheel_is_known_of_its_row_as_of_its_files(tmp_path: Path) -> None:
    sdist = Distribution("a-2.0.tar.gz", "a", "2.0", b"an sdist", b"Metadata-Version: 2.2\nName: a\nVersion: 2.0\n")
    known = []
    async with room(tmp_path, make_wheel("a", "1.0"), sdist) as here:

        async def built(_: Wanted) -> bytes:
            return b"Metadata-Version: 2.2\nName: a\nVersion: 2.0\n"

        for _ in range(2):
            async with open_feed(here.facts, Makers(of_sdist=built)) as feed:
                await feed.get_all(("a",), {"a": ["1.0", "2.0"]}, fetched_max=9)
                listed = feed.pages["a"]
                assert listed is not None
                known.append([feed.have_wheels(listed, [version]) for version in ("1.0", "2.0")])
                assert not feed.have_wheels(listed, ["1.0", "2.0"])
                assert not feed.have_wheels(listed, ["3.0"])
        assert known == [[True, False], [True, False]]
        assert here.facts.looked_at(listed).unbuilt == {"2.0"}


async def test_rows_of_before_are_read_where_nothing_was_looked_at(tmp_path: Path) -> None:
    async with room(tmp_path, A) as here:
        async with open_feed(here.facts) as feed:
            await feed.get_all(("a",), {"a": ["1.0"]}, fetched_max=9)
            listed = feed.pages["a"]
        assert listed is not None
        await here.facts.store.change(values={("parsed", listed.key("l")): None})
        async with open_feed(here.facts) as feed:
            _, metadata = await feed.get_all(("a",), {"a": ["1.0"]}, fetched_max=0)
            assert metadata["a"].keys() == {"1.0"}
        assert here.asked("/a/") == 1


async def test_more_than_may_be_fetched_is_not_asked_for(tmp_path: Path) -> None:
    many = [make_wheel("a", f"1.{number}") for number in range(5)]
    async with room(tmp_path, *many) as here, open_feed(here.facts) as feed:
        await feed.get(Need(tables=("a",)))
        with pytest.raises(Unavailable, match="more things"):
            await feed.get_all((), {"a": [f"1.{number}" for number in range(5)]}, fetched_max=3)


async def test_what_is_kept_costs_nothing_though_its_page_is_to_be_asked_for_again(tmp_path: Path) -> None:
    many = [make_wheel("a", f"1.{number}") for number in range(5)]
    versions = {"a": [f"1.{number}" for number in range(5)]}
    async with room(tmp_path, *many) as here:
        async with open_feed(here.facts) as feed:
            await feed.get_all(("a",), versions, fetched_max=9)
        here.clock.ahead_s += 24 * 3600
        async with open_feed(here.facts) as feed:
            with pytest.raises(Unavailable, match="more things"):
                await feed.get_all(("a",), versions, fetched_max=0)
        async with open_feed(here.facts) as feed:
            _, metadata = await feed.get_all(("a",), versions, fetched_max=1)
            assert metadata["a"].keys() == {*versions["a"]}


async def test_where_nobody_is_asked_a_wheel_for_another_machine_makes_no_version_installable(tmp_path: Path) -> None:
    old, new = make_wheel("a", "1.0"), make_wheel("a", "2.0")
    other = replace(new, filename="a-2.0-cp39-cp39-win_amd64.whl", content=new.content + b" ")
    async with room(tmp_path, old, new, other) as here:
        facts = here.facts
        await facts.table("a")
        for one in (old, other):
            await keep(facts.store, one.content)
        for one in (old, new):
            assert one.metadata is not None
            await facts.store.keep_small(one.metadata, WHEEL, expected=None)
        both, one = {"py3-none-any", "cp39-cp39-win_amd64"}, {"cp39-cp39-win_amd64"}
        modes: tuple[tuple[Literal["", "one", "each"], set[str]], ...] = (("", both), ("one", both), ("each", one))
        for needs_files, tags in modes:
            view = Facts(facts.pages.unasking(), facts.metadata.unasking(), facts.store, facts.threads, needs_files)
            octets, _ = await view.table("a")
            releases = {one.version: set(one.tags) for one in decode_table(octets).releases}
            assert releases == {"1.0": {"py3-none-any"}, "2.0": tags}
