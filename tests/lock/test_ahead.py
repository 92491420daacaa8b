"""Which wheels are fetched before a lock is whole: of what stands, for this machine, and within limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Target as Here
from p2pcdn.fetch import Wanted
from p2pcdn.lock.ahead import AT_ONCE_MAX, FILE_SIZE_BYTES_MAX, SIZE_BYTES_MAX, Ahead
from p2pcdn.lock.facts import Listed
from p2pcdn.lock.kept_files import Files, decode_files, encode_files
from p2pcdn.resolve import Source, Target
from p2pcdn.simple import File, plain
from tests.worlds import INDEX

MARKERS = {"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.11.2"}
TAGS = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-abi3-linux_x86_64", "py3-none-any")
HERE = Here(MARKERS, TAGS)
LINUX = Target.of(MARKERS | {"python_full_version": "3.14.0"})
A, A2, B = Source("a", "1"), Source("a", "2"), Source("b", "1")


@dataclass
class Told:
    pages: dict[str, Listed | None] = field(default_factory=dict)
    by_version: dict[tuple[str, str], list[File]] = field(default_factory=dict)

    def add(self, source: Source, name: str, **more: Any) -> None:
        self.pages[source.project] = Listed(INDEX, source.project, "v")
        known: dict[str, Any] = {"size_bytes": 1000, "requires_python": None, "sha256": Sha256.of(name.encode())} | more
        file = File(
            filename=name,
            url=f"https://x.example/{name}",
            core_metadata=False,
            yanked=False,
            upload_time=None,
            raw={},
            **known,
        )
        self.by_version.setdefault((source.project, source.version), []).append(file)

    def files(self, listed: Listed, version: str) -> Files:
        files = self.by_version[listed.project, version]
        found = decode_files(
            encode_files([version], lambda _: [plain(files, at) for at in range(len(files))]).get, version
        )
        assert found is not None
        return found[version]


async def unwanted(_: Wanted) -> None:
    raise AssertionError("nothing is fetched here")


def names(begun: list[Wanted]) -> list[str]:
    return [one.file.filename for one in begun]


def test_a_version_that_stood_twice_is_begun_and_its_project_once() -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    for source in (A, A2, B):
        told.add(source, f"{source.project}-{source.version}-py3-none-any.whl")
    assert ahead.next(LINUX, [A], told) == []
    assert ahead.next(LINUX, [A2, B], told) == [], "one went back, one is new"
    assert names(ahead.next(LINUX, [B], told)) == ["b-1-py3-none-any.whl"]
    assert ahead.next(LINUX, [B, A2], told) == []
    assert names(ahead.next(LINUX, [B, A2], told)) == ["a-2-py3-none-any.whl"]
    ahead.next(LINUX, [A], told)
    assert ahead.next(LINUX, [A], told) == [], "this project was guessed before"


def test_the_wheel_is_the_one_that_this_machine_takes() -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    for name in ("a-1-py3-none-any.whl", "a-1-7-cp310.cp311-abi3-linux_x86_64.whl", "a-1.tar.gz", "odd.whl"):
        told.add(A, name)
    told.add(B, "b-1-cp311-cp311-win_amd64.whl")
    told.add(B, "b-1.tar.gz")
    windows = Target.of(MARKERS | {"sys_platform": "win32"})
    for target in (windows, windows, LINUX):
        assert ahead.next(target, [A, B], told) == []
    assert names(ahead.next(LINUX, [A, B], told)) == ["a-1-7-cp310.cp311-abi3-linux_x86_64.whl"]


def test_the_tags_that_a_name_stands_for_are_not_all_made() -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    many = ".".join(map(str, range(2000)))
    told.add(A, f"a-1-{many}.py3-{many}.none-{many}.any.whl")  # eight thousand million
    ahead.next(LINUX, [A], told)
    assert len(ahead.next(LINUX, [A], told)) == 1


def test_what_is_too_large_or_not_sure_waits_for_the_lock() -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    sources = [Source(name, "1") for name in ("large", "no-hash", "no-size", "newer", "odd", "heap", "gone", "fits")]
    more: dict[str, dict[str, Any]] = {
        "large": {"size_bytes": FILE_SIZE_BYTES_MAX + 1},
        "no-hash": {"sha256": None},
        "no-size": {"size_bytes": None},
        "newer": {"requires_python": ">=3.12"},
        "odd": {"requires_python": "later"},
        "fits": {"requires_python": ">=3.11"},
    }
    for source in sources:
        told.add(source, f"{source.project}-1-py3-none-any.whl", **more.get(source.project, {}))
    told.pages["heap"] = Listed(replace(INDEX, flat=True), "heap", "v")
    told.pages["gone"] = None
    at_url = Source("url", url="https://x.example/url-1-py3-none-any.whl")
    ahead.next(LINUX, [*sources, at_url], told)
    assert names(ahead.next(LINUX, [*sources, at_url], told)) == ["fits-1-py3-none-any.whl"]


def test_all_of_a_lock_together_has_a_limit() -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    fit = SIZE_BYTES_MAX // FILE_SIZE_BYTES_MAX
    sources = [Source(f"p{number:03}", "1") for number in range(fit + 3)]
    for source in sources:
        told.add(source, f"{source.project}-1-py3-none-any.whl", size_bytes=FILE_SIZE_BYTES_MAX)
    ahead.next(LINUX, sources, told)
    assert len(ahead.next(LINUX, sources, told)) == fit
    assert ahead.next(LINUX, sources, told) == []


async def test_only_so_many_are_under_way_at_once(autojump_clock: trio.testing.MockClock) -> None:
    running, most = 0, 0

    async def fetch(_: Wanted) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    told, ahead = Told(), Ahead(HERE, fetch)
    sources = [Source(f"p{number}", "1") for number in range(3 * AT_ONCE_MAX)]
    for source in sources:
        told.add(source, f"{source.project}-1-py3-none-any.whl")
    ahead.next(LINUX, sources, told)
    async with trio.open_nursery() as nursery:
        for wanted in ahead.next(LINUX, sources, told):
            nursery.start_soon(ahead.begin, wanted)
    assert (most, trio.current_time()) == (AT_ONCE_MAX, 3.0)


async def test_a_fault_in_a_guess_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told, ahead = Told(), Ahead(HERE, unwanted)
    told.add(A, "a-1-py3-none-any.whl")
    ahead.next(LINUX, [A], told)
    for wanted in ahead.next(LINUX, [A], told):
        await ahead.begin(wanted)
    assert "a-1-py3-none-any.whl was not fetched ahead" in caplog.text
