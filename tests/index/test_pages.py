"""Project pages kept fresh, on virtual time, against an upstream by script."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from p2pcdn import frames
from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, Refused, RemoteProtocolError, Unavailable
from p2pcdn.index import Pages, file_at, path_of
from p2pcdn.index.asking import PAGE_TIME_S
from p2pcdn.index.pages import ANSWER_WAIT_S, STALE_WAIT_S
from p2pcdn.index.standing import BUSY_REST_S_MAX, DOWN_HIDES_AFTER_S
from p2pcdn.lock.facts import PAGE_WAIT_S
from p2pcdn.store import Origin, Store
from p2pcdn.world import Index
from tests.worlds import INDEX, SECOND, Answer, InlineThreads, Script, ScriptedUpstream, VirtualClock, open_store

JSON = {"content-type": "application/vnd.pypi.simple.v1+json"}


def page(*versions: str, project: str = "six", host: str = "https://files.example/packages") -> bytes:
    files = [
        {
            "filename": f"{project}-{version}-py3-none-any.whl",
            "url": f"{host}/{version}/{project}-{version}-py3-none-any.whl",
            "hashes": {"sha256": sha256(f"{project} {version}".encode()).hexdigest()},
        }
        for version in versions
    ]
    return json.dumps({"meta": {"api-version": "1.0"}, "name": project, "files": files}).encode()


def answer(*versions: str, status: int = 200, project: str = "six", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(page(*versions, project=project), status, {**JSON, **named})


class Scripted:
    """The pages of one node; `script` may be changed while it runs."""

    def __init__(
        self, store: Store, nursery: trio.Nursery, *, offline: bool = False, indexes: tuple[Index, ...] = (INDEX,)
    ) -> None:
        self.now: Script = lambda url, headers: Answer(status=404)
        self.upstream = ScriptedUpstream(lambda url, headers: self.now(url, headers))
        self.clock = VirtualClock()
        self.counters = Counters()
        self.pages = Pages(
            indexes,
            store=store,
            upstream=self.upstream,
            threads=InlineThreads(),
            clock=self.clock,
            counters=self.counters,
            nursery=nursery,
            offline=offline,
        )

    async def versions(self, project: str = "six", *, insist: bool = False) -> list[str]:
        held = await self.pages.project(project, insist=insist)
        assert held.page is not None
        return [file.filename.split("-")[1] for file in held.page.files]


@asynccontextmanager
async def scripted(
    store: Store, *, offline: bool = False, indexes: tuple[Index, ...] = (INDEX,)
) -> AsyncIterator[Scripted]:
    async with trio.open_nursery() as nursery:
        yield Scripted(store, nursery, offline=offline, indexes=indexes)
        nursery.cancel_scope.cancel()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_fresh_page_is_asked_for_once_however_many_ask(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=600")
        async with trio.open_nursery() as clients:
            for _ in range(50):
                clients.start_soon(world.versions)
        await trio.sleep(599)
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == 1


async def test_a_page_past_its_life_is_revalidated_with_its_etag(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if headers.get("if-none-match") == '"v1"':
            return Answer(status=304, headers={"cache-control": "max-age=600"})
        return answer("1.0", cache_control="max-age=600", etag='"v1"')

    async with open_store(directory) as store, scripted(store) as world:
        world.now = script
        await world.versions()
        await trio.sleep(601)
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == 2
        await trio.sleep(300)
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == 2, "the 304 made it fresh again"


async def test_a_page_that_memory_forgot_is_as_fresh_as_it_was_found(
    directory: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcdn.index.shelf.REMEMBERED_FILES_MAX", 1)
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=600")
        await world.versions()
        await trio.sleep(601)
        for project in ("six", "other"):  # found unchanged, which writes nothing; then the other takes its place
            await world.versions(project)
        asked = len(world.upstream.asked)
        await trio.sleep(300)
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == asked


async def test_a_page_survives_a_restart_and_is_served_when_the_network_is_gone(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", "2.0")
        await world.versions()
    async with open_store(directory) as store, scripted(store) as world:
        world.clock.ahead_s += 86_400
        world.now = lambda url, headers: Answer(error=Unavailable("no route"))
        held = await world.pages.project("six")
        assert held.stale
        assert await world.versions() == ["1.0", "2.0"]
        assert world.counters.stale_answers >= 1


async def test_after_a_restart_a_fresh_page_is_known_without_a_look_at_it(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as before:
        before.now = lambda url, headers: answer("1.0", cache_control="max-age=600")
        held = await before.pages.project("six")
    async with open_store(directory) as store, scripted(store) as after:
        assert after.pages.fresh_version("six") == (INDEX, held.version)
        assert after.pages.fresh("six") is None, "it was not parsed"
        after.clock.ahead_s += 601
        assert after.pages.fresh_version("six") is None
        assert after.upstream.asked == []


async def test_a_page_that_was_let_go_is_read_again_when_somebody_asks(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as here:
        here.now = lambda url, headers: answer("1.0", cache_control="max-age=600")
        held = await here.pages.project("six")
        here.pages.let_go(held)
        assert here.pages.fresh("six") is None
        assert await here.versions() == ["1.0"]
        newer = here.pages.fresh("six")
        here.pages.let_go(held)
        assert here.pages.fresh("six") is newer, "who let the old one go has no say in the new one"
        assert len(here.upstream.asked) == 1


async def test_an_upstream_that_is_down_is_never_a_404(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        for failing in (Answer(status=503), Answer(status=500), Answer(error=Unavailable("no route"))):
            world.now = lambda url, headers, failing=failing: failing  # type: ignore[misc]
            with pytest.raises(Unavailable):
                await world.pages.project("six")


async def test_an_upstream_that_hangs_is_answered_for_before_pip_gives_up(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: Answer(delay_s=1000)
        began = trio.current_time()
        with pytest.raises(Unavailable, match="keep trying"):
            await world.pages.project("six")
        assert trio.current_time() - began <= ANSWER_WAIT_S + 0.1


async def test_a_resolver_waits_for_a_slow_upstream_longer_than_pip_would(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: replace(answer("1.0"), delay_s=20.0)
        began = trio.current_time()
        held = await world.pages.project("six", wait_s=PAGE_WAIT_S)
        assert held.page is not None
        assert trio.current_time() - began < 21.0
        assert len(world.upstream.asked) == 1


async def test_with_a_stale_page_in_hand_nobody_waits_long(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=1")
        await world.versions()
        await trio.sleep(2)
        world.now = lambda url, headers: Answer(delay_s=1000)
        began = trio.current_time()
        assert (await world.pages.project("six")).stale
        assert trio.current_time() - began <= STALE_WAIT_S + 0.1


async def test_stale_while_revalidate_answers_at_once_and_renews_behind_the_clients_back(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=10, stale-while-revalidate=60")
        await world.versions()
        await trio.sleep(20)
        world.now = lambda url, headers: Answer(
            page("1.0", "2.0"), headers={**JSON, "cache-control": "max-age=10"}, delay_s=3
        )
        began = trio.current_time()
        assert await world.versions() == ["1.0"]
        assert trio.current_time() == began
        await trio.sleep(4)
        assert await world.versions() == ["1.0", "2.0"]


async def test_a_client_that_insists_gets_what_was_checked_within_ten_seconds(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=600")
        await world.versions()
        await world.versions(insist=True)
        assert len(world.upstream.asked) == 1
        await trio.sleep(11)
        await world.versions(insist=True)
        assert len(world.upstream.asked) == 2


async def test_the_first_index_that_has_a_project_owns_it(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.startswith(SECOND.url):
            return answer("9.9")
        return answer("1.0") if url.endswith("/six/") else Answer(status=404)

    async with open_store(directory) as store, scripted(store, indexes=(INDEX, SECOND)) as world:
        world.now = script
        assert await world.versions("six") == ["1.0"]
        assert await world.versions("other") == ["9.9"]


async def test_an_index_that_does_not_answer_ends_the_search(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        return answer("6.6.6") if url.startswith(SECOND.url) else Answer(status=503)

    async with open_store(directory) as store, scripted(store, indexes=(INDEX, SECOND)) as world:
        world.now = script
        with pytest.raises(Unavailable):
            await world.pages.project("corp")


async def test_a_withdrawn_file_is_buried_with_the_page_that_no_longer_lists_it(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    content = b"six 1.0"
    digest = Sha256(sha256(content).hexdigest())
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", "2.0", cache_control="max-age=600")
        held = await world.pages.project("six")
        assert held.page is not None
        path = path_of(INDEX, "six", held.page.files[0])
        await store.keep_small(content, Origin("six-1.0-py3-none-any.whl", "six", INDEX.key, "lan"), expected=digest)
        assert (await file_at(world.pages, path))[1].sha256 == digest

        await trio.sleep(601)
        world.now = lambda url, headers: answer("2.0", cache_control="max-age=600")
        with pytest.raises(NotFound):
            await file_at(world.pages, path)
        assert store.blob(digest) is None

    async with open_store(directory) as store:
        assert store.blob(digest) is None, "also after a restart"


async def test_a_mirror_that_is_behind_brings_nothing_back(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("2.0", cache_control="max-age=10", x_pypi_last_serial="200")
        await world.versions()
        await trio.sleep(11)
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=10", x_pypi_last_serial="100")
        assert await world.versions() == ["2.0"]


async def test_a_new_project_appears_within_a_minute(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        with pytest.raises(NotFound):
            await world.pages.project("six")
        with pytest.raises(NotFound):
            await world.pages.project("six")
        assert len(world.upstream.asked) == 1
        world.now = lambda url, headers: answer("1.0")
        await trio.sleep(61)
        assert await world.versions() == ["1.0"]


async def test_pages_hide_distant_files_once_the_upstream_was_silent_for_long(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=1")
        await world.versions()
        await trio.sleep(2)
        world.now = lambda url, headers: Answer(error=Unavailable("no route"))
        await world.versions()
        assert not world.pages.hides_distant_files(INDEX)
        await trio.sleep(DOWN_HIDES_AFTER_S)
        await world.versions()
        assert world.pages.hides_distant_files(INDEX)
        world.now = lambda url, headers: answer("1.0")
        await trio.sleep(6)
        await world.versions()
        assert not world.pages.hides_distant_files(INDEX)


async def test_a_page_of_a_gigabyte_is_cut(
    directory: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcdn.index.asking.PAGE_SIZE_BYTES_MAX", 1024 * 1024)
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: Answer(b" " * (8 * 1024 * 1024), headers=JSON)
        with pytest.raises(Refused, match="cut"):
            await world.pages.project("six")


async def test_an_offline_node_gives_what_it_has_and_asks_nobody(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0")
        await world.versions()
    async with open_store(directory) as store, scripted(store, offline=True) as world:
        assert await world.versions() == ["1.0"]
        with pytest.raises(Unavailable, match="offline"):
            await world.pages.project("other")
        assert world.upstream.asked == []


async def test_the_files_of_other_indexes_have_a_prefix_of_their_own(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.startswith(INDEX.url):
            return Answer(status=404)
        name = "torch-2.0%2Bcpu-cp311-cp311-linux_x86_64.whl"
        link = f'<a href="/whl/cpu/{name}">torch-2.0+cpu-cp311-cp311-linux_x86_64.whl</a>'
        html = f"<!DOCTYPE html><html><body>{link}</body></html>"
        return Answer(html.encode(), headers={"content-type": "text/html"})

    async with open_store(directory) as store, scripted(store, indexes=(INDEX, SECOND)) as world:
        world.now = script
        held = await world.pages.project("torch")
        (path,) = held.files_by_path
        assert path == f"/files/{SECOND.key}/torch/torch-2.0+cpu-cp311-cp311-linux_x86_64.whl"
        _, file = await file_at(world.pages, path)
        assert file.url == "https://second.example/whl/cpu/torch-2.0%2Bcpu-cp311-cp311-linux_x86_64.whl"
        for unknown in ("/packages/aa/bb/other-1.0.tar.gz", "/files/x/y/z", "/files/", "/packages/"):
            with pytest.raises(NotFound):
                await file_at(world.pages, unknown)


# -- odd upstreams and odd rows ----------------------------------------------------------------------------------------


async def test_one_failure_long_ago_hides_no_file(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0")
        await world.versions()
        world.now = lambda url, headers: answer(status=503)
        with pytest.raises(Unavailable):
            await world.versions("other")
        world.now = lambda url, headers: answer("1.0")
        await trio.sleep(DOWN_HIDES_AFTER_S + 1)
        assert world.pages.fresh("six") is None, "an upstream that seemed down is asked before files are hidden"
        assert await world.versions() == ["1.0"]
        assert not world.pages.hides_distant_files(INDEX)


@pytest.mark.parametrize("status", [206, 304])
async def test_a_status_that_nobody_asked_for_is_no_page(
    directory: Path, autojump_clock: trio.abc.Clock, status: int
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", status=status)
        with pytest.raises(RemoteProtocolError):
            await world.versions()


@pytest.mark.parametrize(
    "odd",
    [
        {"x-pypi-last-serial": "9" * 5000},
        {"x-pypi-last-serial": "9" * 30},
        {"etag": '"é€"'},
        {"last-modified": "é€"},
    ],
)
async def test_an_odd_field_of_a_page_does_no_harm(
    directory: Path, autojump_clock: trio.abc.Clock, odd: dict[str, str]
) -> None:
    async with open_store(directory) as store:
        async with scripted(store) as world:
            world.now = lambda url, headers: Answer(page("1.0"), headers={**JSON, **odd})
            for _ in range(2):
                assert await world.versions() == ["1.0"]
                await trio.sleep(700)
            assert all(value.isascii() for value in world.upstream.asked[-1][1].values())
        async with scripted(store, offline=True) as world:
            assert await world.versions() == ["1.0"], "it was kept"


@pytest.mark.parametrize(
    "odd",
    [
        {"body": b"no zlib"},
        {"body": 5},
        {"type": 5},
        {"url": 5},
        {"etag": 5},
        {"serial": "x"},
        {"checked_at": "x"},
        {"checked_at": float("nan")},
        {"gone": True, "checked_at": "x"},
        {"freshness": ["a", "b"]},
        {"freshness": [1e18, 0.0]},
        {"body": zlib.compress(bytes(1_500_000))},
    ],
)
async def test_a_row_out_of_a_hostile_export_harms_no_page(
    directory: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch, odd: dict[str, object]
) -> None:
    monkeypatch.setattr("p2pcdn.index.shelf.PAGE_SIZE_BYTES_MAX", 1024 * 1024)
    row = {
        "body": zlib.compress(page("1.0")),
        "type": JSON["content-type"],
        "url": f"{INDEX.url}six/",
        "etag": None,
        "last_modified": None,
        "serial": None,
        "checked_at": 1_800_000_000.0,
        "freshness": [600.0, 0.0],
        **odd,
    }
    async with open_store(directory) as store, scripted(store) as world:
        await store.change(values={("pages", f"{INDEX.key}/six"): frames.encode(row)})
        world.now = lambda url, headers: answer("2.0")
        assert await world.versions() in (["1.0"], ["2.0"])
        world.clock.ahead_s += 100_000
        assert await world.versions() == ["2.0"]


async def test_the_default_indexs_files_keep_their_paths_though_another_index_is_asked_first(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.startswith(SECOND.url):
            return answer("9.9", project="corp") if url.endswith("/corp/") else Answer(status=404)
        return answer("1.0")

    async with open_store(directory) as store, trio.open_nursery() as nursery:
        world = Scripted(store, nursery)
        pages = Pages(
            (SECOND, INDEX),
            store=store,
            upstream=world.upstream,
            threads=InlineThreads(),
            clock=world.clock,
            counters=world.counters,
            nursery=nursery,
            offline=False,
        )
        world.now = script
        (path,) = (await pages.project("six")).files_by_path
        assert path == "/packages/1.0/six-1.0-py3-none-any.whl"
        assert (await file_at(pages, path))[0].index == INDEX
        (path,) = (await pages.project("corp")).files_by_path
        assert path.startswith(f"/files/{SECOND.key}/corp/")
        nursery.cancel_scope.cancel()


async def test_an_upstream_that_names_a_time_is_not_asked_before(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: answer("1.0", cache_control="max-age=1")
        await world.versions()
        await trio.sleep(2)
        world.now = lambda url, headers: Answer(status=429, headers={"retry-after": "40"})
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == 2, "and not once more a moment later"
        await trio.sleep(30)
        assert await world.versions() == ["1.0"]
        assert len(world.upstream.asked) == 2
        assert not world.pages.hides_distant_files(INDEX), "its files are to be had all the same"
        await trio.sleep(11)
        world.now = lambda url, headers: answer("2.0")
        assert await world.versions() == ["2.0"]


async def test_a_page_that_nobody_has_is_not_asked_for_before_its_time_and_others_are(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        return Answer(status=429, headers={"retry-after": "40"}) if url.endswith("/six/") else answer("1.0")

    async with open_store(directory) as store, scripted(store) as world:
        world.now = script
        for waited_s, left_s in ((30, 40), (0, 10)):
            with pytest.raises(Unavailable) as told:
                await world.versions()
            assert told.value.retry_after_s == pytest.approx(left_s)
            await trio.sleep(waited_s)
        assert len(world.upstream.asked) == 1
        assert await world.versions("other") == ["1.0"]


async def test_a_time_that_makes_no_sense_is_a_minute(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        world.now = lambda url, headers: Answer(status=503, headers={"retry-after": "3000"})
        with pytest.raises(Unavailable) as told:
            await world.versions()
        assert told.value.retry_after_s <= BUSY_REST_S_MAX, "a client comes when we ask again"
        world.now = lambda url, headers: answer("1.0")
        await trio.sleep(BUSY_REST_S_MAX + 1)
        assert await world.versions() == ["1.0"]


async def test_a_304_that_says_nothing_of_freshness_changes_none(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if "if-none-match" in headers:
            return Answer(status=304)
        return answer("1.0", cache_control="no-cache", etag='"v1"')

    async with open_store(directory) as store, scripted(store) as world:
        world.now = script
        for _ in range(3):
            await world.versions()
        assert len(world.upstream.asked) == 3, "the page itself said that every use is checked"


async def test_a_page_that_drips_for_ever_is_asked_for_again(directory: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_store(directory) as store, scripted(store) as world:
        dripping = answer("1.0")
        dripping.chunk_size_bytes, dripping.pause_s = 1, 20.0
        world.now = lambda url, headers: dripping
        with pytest.raises(Unavailable):
            await world.versions()
        world.now = lambda url, headers: answer("1.0")
        await trio.sleep(2 * PAGE_TIME_S)
        assert await world.versions() == ["1.0"]


async def test_an_index_may_say_by_another_status_that_it_has_no_such_project(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Storage that lists nothing answers 403 for what is not there; only its user can know that."""

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        return answer("1.0") if url.startswith(SECOND.url) else Answer(status=403)

    async with open_store(directory) as store, scripted(store, indexes=(INDEX, SECOND)) as world:
        world.now = script
        with pytest.raises(Refused):
            await world.versions()
    storage = replace(INDEX, absent=frozenset({403}))
    async with open_store(directory / "other") as store, scripted(store, indexes=(storage, SECOND)) as world:
        world.now = script
        assert await world.versions() == ["1.0"]


async def test_an_upstream_that_is_down_and_says_for_how_long_is_down(
    directory: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its files are not to be had either; with 429 they are."""
    async with open_store(directory) as store, scripted(store) as world:
        for status, hides in ((429, False), (503, True)):
            world.now = lambda url, headers: answer("1.0", cache_control="max-age=1")
            await world.versions()
            world.now = lambda url, headers, status=status: Answer(  # type: ignore[misc]
                status=status, headers={"retry-after": "20"}
            )
            for _ in range(3):
                await trio.sleep(21)
                assert await world.versions() == ["1.0"]
            assert world.pages.hides_distant_files(INDEX) == hides
            assert bool(world.pages.failing()) == hides
            await trio.sleep(21)
