"""Locks: one resolution a target, the same bytes for the same question, and the same again without solving."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.lock.locker import Locked, OneTarget
from p2pcdn.lock.targets import PLATFORMS, Cell, matrix
from p2pcdn.lock.wishes import parse_question
from p2pcdn.resolve import BadRequirement, NoSolution, Wanted
from p2pcdn.resolve.judge import Judgement
from p2pcdn.resolve.requirement import Markers
from tests.bench.wheels import make_wheel
from tests.lock.rooms import room

APP = make_wheel("app", requires=["lib>=1", "extra-thing; extra == 'more'"])
LIB_OLD = make_wheel("lib", "1.0")
LIB = make_wheel("lib", "2.0", requires_python=">=3.12")
THING = make_wheel("extra-thing")
FILES = (APP, LIB_OLD, LIB, THING)
CELL = Cell(PLATFORMS[0], 12)


def pins(locked: Locked) -> set[str]:
    return {f"{one['name']} {one['version']}" for one in tomllib.loads(locked.text)["packages"]}


async def test_a_lock_forks_only_where_it_must(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        locked = await here.lock("app")
        assert pins(locked) == {"app 1.0", "lib 1.0", "lib 2.0"}
        # The reference implementation of PEP 751 reads it, and chooses as we do.
        chosen = Pylock.from_dict(tomllib.loads(locked.text)).select(environment=CELL.environment)  # type: ignore[arg-type]
        assert sorted(package.name for package, _ in chosen) == ["app", "lib"]
        # What was locked before is preferred, also where something newer fits.
        question = parse_question({"requirements": ["app"], "requires_python": ">=3.11"})
        again = await here.locker.lock(replace(question, former=(("lib", "1.0"),)))
        assert pins(again) == {"app 1.0", "lib 1.0"}
        assert pins(await here.lock("app", former=again.text)) == pins(again)


async def test_each_target_keeps_what_it_had_where_another_one_had_something_else(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        before = await here.lock("app")
        assert pins(await here.lock("app", "extra-thing", former=before.text)) == {*pins(before), "extra-thing 1.0"}
        # Who gives old Pythons up does not get their versions.
        newer = await here.lock("app", requires_python=">=3.12", former=before.text)
        assert pins(newer) == {"app 1.0", "lib 2.0"}


@pytest.mark.parametrize("upgrade", [["lib"], True])
async def test_who_upgrades_gets_what_was_published_a_moment_ago(tmp_path: Path, upgrade: object) -> None:
    async with room(tmp_path, LIB_OLD) as here:
        asked = {"requirements": ["lib"], "requires_python": ">=3.12"}
        before = await here.locker.lock(parse_question(asked))
        here.index.files.append(LIB)
        here.clock.ahead_s += 60
        others = parse_question(asked, former=before.text, upgrade=["thing"])
        assert pins(await here.locker.lock(others)) == {"lib 1.0"}
        assert pins(await here.locker.lock(parse_question(asked))) == {"lib 1.0"}, "its page is good for ten minutes"
        wanted = parse_question(asked, former=before.text, upgrade=upgrade)
        assert pins(await here.locker.lock(wanted)) == {"lib 2.0"}


@pytest.mark.parametrize("marker", ["extra == 'x'", "sys_platform ~= 'linux'", "extras == 'x'"])
async def test_a_former_lock_whose_marker_makes_no_sense_stops_no_new_one(tmp_path: Path, marker: str) -> None:
    async with room(tmp_path, *FILES) as here:
        before = await here.lock("app", requires_python=">=3.12")
        odd = before.text.replace('version = "2.0"', f'version = "2.0"\nmarker = "{marker}"')
        assert odd != before.text
        assert (await here.lock("app", requires_python=">=3.12", former=odd)).text == before.text


async def test_what_has_no_encoding_on_a_page_stops_no_lock(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        clean = await here.lock("app")
        odd = {"yanked": "\ud800", "requires-python": "\ud800", "upload-time": "\ud800", "provenance": "\ud800"}
        here.index.odd_files = {"lib-2.0-py3-none-any.whl": odd}
        here.clock.ahead_s += 3600
        assert pins(await here.lock("app")) == pins(clean) - {"lib 2.0"}


async def test_the_same_question_is_not_solved_twice_until_a_page_changes(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        first = await here.lock("app")
        asked = len(here.upstream.asked)
        second = await here.lock("app")
        assert (first.again, second.again) == (False, True)
        assert second.text == first.text
        assert len(here.upstream.asked) == asked, "fresh pages need no question"
        here.clock.ahead_s += 3600
        third = await here.lock("app")
        assert third.again, "pages that were confirmed say the same"
        here.index.files.append(make_wheel("lib", "3.0"))
        here.clock.ahead_s += 3600
        fourth = await here.lock("app")
        assert not fourth.again
        assert pins(fourth) == {"app 1.0", "lib 3.0"}


async def test_pages_that_only_a_lock_wanted_leave_the_memory_and_are_not_parsed_again(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        pages = here.facts.pages
        await pages.project("lib")  # a client has asked for it
        first = await here.lock("app")
        assert pages.fresh("app") is None
        assert pages.fresh("lib") is not None
    async with room(tmp_path, *FILES) as here:
        again = await here.lock("app", constraints=["other<1"])
        assert pins(again) == pins(first)
        assert here.facts.pages.fresh("app") is here.facts.pages.fresh("lib") is None
        assert here.upstream.asked == []


async def test_a_page_of_which_too_little_was_kept_is_parsed_again(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        await here.lock("app")
        for key in [key for key in here.facts.store.keys("parsed") if key.startswith("f")]:
            await here.facts.store.change(values={("parsed", key): None})
        assert pins(await here.lock("app", "extra-thing")) == {"app 1.0", "lib 1.0", "lib 2.0", "extra-thing 1.0"}


async def test_metadata_is_read_once_for_all_targets_and_all_locks(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        await here.lock("app")
        await here.lock("app[more]")
        assert here.asked(f"{APP.filename}.metadata") == 1
    async with room(tmp_path, *FILES) as here:
        await here.lock("app", "extra-thing")
        assert here.asked(f"{APP.filename}.metadata") == 0, "what was parsed is kept"


async def test_conflicts_are_told_for_the_targets_that_have_them(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        with pytest.raises(NoSolution) as caught:
            await here.lock("app", "lib>=2")
        text = str(caught.value)
        assert text.startswith("For Python 3.11:")
        assert "Choose Python 3.12 or newer" in text
        assert "lib>=2" in text
        with pytest.raises(NoSolution, match="nosuch"):
            await here.lock("nosuch")


async def test_a_conflict_of_all_targets_is_told_without_naming_them(tmp_path: Path) -> None:
    async with room(tmp_path, make_wheel("one", "1.0"), make_wheel("one", "2.0")) as here:
        with pytest.raises(NoSolution) as caught:
            await here.lock("one<2", "one>=2", requires_python=">=3.8")
        assert str(caught.value).startswith("Because you require one")
        assert "  " not in str(caught.value)


async def test_all_targets_with_a_conflict_are_named_where_others_have_none(tmp_path: Path) -> None:
    young = make_wheel("young", "1.0", requires_python=">=3.12")
    async with room(tmp_path, young, make_wheel("one", "1.0"), make_wheel("one", "2.0")) as here:
        with pytest.raises(NoSolution) as caught:
            await here.lock("young", "one<2; python_version == '3.13'", "one>=2", requires_python=">=3.9")
        conflict, old = str(caught.value).split("\nFor ")
        assert conflict.startswith("For Python 3.13:\n  Because you require one")
        said = "Python 3.11, 3.10 and 3.9:\n  Because you require young and young needs Python >=3.12, "
        assert old.startswith(said)
        assert "Choose Python 3.12 or newer" in old


async def test_an_index_that_does_not_answer_is_no_contradiction(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        here.index.down = True
        with pytest.raises(Unavailable):
            await here.lock("app")
        here.index.down = False
        here.clock.ahead_s += 60
        assert pins(await here.lock("lib")) == {"lib 1.0", "lib 2.0"}


async def test_one_interpreter_gets_a_lock_without_markers(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        locked = await here.locker.resolve(
            parse_question({"requirements": ["app"]}), OneTarget("Python 3.12.11", CELL.target)
        )
        assert pins(locked) == {"app 1.0", "lib 2.0"}
        assert "marker" not in locked.text
        assert "environments" not in locked.text


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ({"requirements": "app"}, "requirements"),
        ({"requirements": [1]}, "requirements"),
        ({"extras": []}, "extras"),
        ({"groups": {"dev": "app"}}, "groups"),
        ({"prefer": 1}, "prefer"),
        ({"prefer": "newest"}, "prefer"),
        ({"prereleases": "maybe"}, "prereleases"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_question_of_another_shape_is_refused(question: dict[str, object], what: str) -> None:
    with pytest.raises(RemoteProtocolError, match=what):
        parse_question(question)


@pytest.mark.parametrize("marker", ["os_name ~= 'posix'", "'a' in 'b'"])
def test_an_environment_that_nothing_can_decide_is_the_users_mistake(marker: str) -> None:
    with pytest.raises(BadRequirement, match="can be read, but nothing can decide it"):
        matrix(">=3.12", [marker])


async def test_what_is_no_requirement_is_told_in_the_users_words(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        with pytest.raises(BadRequirement, match="app =>= 1"):
            await here.lock("app =>= 1")


def test_a_lock_serves_whoever_has_an_old_patch_release() -> None:
    target = next(cell for cell in matrix(">=3.11") if cell.minor == 11).target
    judgement = Judgement(Wanted(()), target)
    assert not judgement.runs_on_python(">=3.11.5")
    assert judgement.runs_on_python(">=3.7,!=3.11.0,!=3.11.1"), "3.11.2 is served by it, too"
    assert not Judgement(Wanted(()), replace(target, and_later=False)).runs_on_python("!=3.11.0")
    assert Markers(dict(target.environment)).hold('python_full_version < "3.11.3"'), "they import what it adds"


async def test_who_wants_what_old_patch_releases_cannot_run_is_told_how_to_say_so(tmp_path: Path) -> None:
    async with room(tmp_path, make_wheel("new", requires_python=">=3.9,!=3.11.0,>=3.11.5")) as here:
        asked = {"requirements": ["new"], "requires_python": ">=3.11,<3.12"}
        with pytest.raises(NoSolution) as caught:
            await here.locker.lock(parse_question(asked))
        assert caught.value.suggestion.startswith(
            "Say requires-python >=3.11.5 where nobody has an older one, or let new"
        )
        await here.locker.lock(parse_question(asked | {"requires_python": ">=3.11.5,<3.12"}))


def test_the_matrix_is_what_the_project_and_its_environments_allow() -> None:
    assert len(matrix(">=3.11")) == 4 * 6
    assert {cell.minor for cell in matrix(">=3.9,<3.12")} == {9, 10, 11}
    for takes, full in (("==3.11.2", "3.11.2"), (">=3.11,<3.12,!=3.11.0", "3.11.1"), (">=3.9.24,<3.10", "3.9.24")):
        assert {cell.environment["python_full_version"] for cell in matrix(takes)} == {full}
    linux = matrix(">=3.13", ["sys_platform == 'linux' and platform_machine == 'x86_64'"])
    assert [cell.name for cell in linux] == ["Python 3.14 on Linux x86-64", "Python 3.13 on Linux x86-64"]
    for wrong in ((">=4", []), ("bad", []), (">=3.9", ["sys_platform == 'beos'"]), (">=3.9", ["nonsense"])):
        with pytest.raises(BadRequirement):
            matrix(*wrong)


async def test_a_file_that_was_put_beside_an_older_one_later_is_as_new_as_it_is(tmp_path: Path) -> None:
    """Whoever has taken over a project can add a file to any of its versions; a cutoff is there to be safe of it."""
    one, two = make_wheel("lib", "1.0"), make_wheel("lib", "2.0")
    files = {
        "lib-1.0-py3-none-any.whl": (one, "2024-01-01T00:00:00Z"),
        "lib-1.0-cp312-cp312-manylinux_2_17_x86_64.whl": (one, "2025-01-01T00:00:00.5Z"),
        "lib-2.0-cp312-cp312-win_amd64.whl": (two, "2024-01-01T00:00:00+01:00"),
        "lib-2.0-py3-none-any.whl": (two, "2025-01-01T00:00:00Z"),
        "lib-2.0-py2.py3-none-any.whl": (two, None),
    }
    async with room(tmp_path, *(replace(wheel, filename=name) for name, (wheel, _) in files.items())) as here:
        here.index.odd_files = {name: {"upload-time": time} for name, (_, time) in files.items()}
        before = await here.lock("lib", requires_python="==3.12.*", exclude_newer="2024-06-01T00:00:00Z")
        assert pins(before) == {"lib 1.0"}  # of 2.0 only Windows had a file then
        assert [name for name in files if f'"{name}"' in before.text] == ["lib-1.0-py3-none-any.whl"]
        later = await here.lock("lib", requires_python="==3.12.*", exclude_newer="2025-06-01T00:00:00Z")
        assert pins(later) == {"lib 2.0"}
        assert "py2.py3" not in later.text
        now = await here.lock("lib", requires_python="==3.12.*")
        assert pins(now) == {"lib 2.0"}
        assert all(name in now.text for name in files if "2.0" in name)
        with pytest.raises(NoSolution, match="is not older than 2023"):
            await here.lock("lib", exclude_newer="2023-01-01T00:00:00Z")
        for no_time in ("yesterday", "9999-12-31T23:59:59-08:00"):
            with pytest.raises(BadRequirement, match="is not a time"):
                await here.lock("lib", exclude_newer=no_time)


async def test_what_extras_and_groups_contradict_each_other_in_is_told_with_their_names(tmp_path: Path) -> None:
    async with room(tmp_path, make_wheel("one", "1.0"), make_wheel("one", "2.0"), make_wheel("two")) as here:
        groups = {"old": ["one<2"], "new": ["one>=2", "two"]}
        with pytest.raises(NoSolution) as caught:
            await here.lock("two", groups=groups)
        assert "one<2 is of group old" in str(caught.value)
        assert "one>=2 is of group new" in str(caught.value)
        assert "extras and groups are locked together" in str(caught.value)
        with pytest.raises(NoSolution) as caught:
            await here.lock("two", extras={"more": ["nosuch"], "most": ["nosuch", "two"]})
        assert "\nnosuch is of extra more and extra most." in str(caught.value)
        with pytest.raises(NoSolution) as caught:
            await here.lock("one<2", "one>=2", groups=groups)
        assert "is of" not in str(caught.value)


async def test_a_project_without_files_is_told_with_what_its_index_says_of_it(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.index.bare = {
            "held": {"project-status": {"status": "quarantined", "reason": "it may be malware"}},
            "bare": {},
        }
        told = {}
        for name in here.index.bare:
            with pytest.raises(NoSolution) as none:
                await here.lock(name)
            told[name] = str(none.value)
        assert "held is quarantined at its index (it may be malware)" in told["held"]
        assert "how held is written" not in told["held"]
        assert "bare has no versions" in told["bare"]
