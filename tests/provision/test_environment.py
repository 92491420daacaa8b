"""An environment is the same one while only its byte code comes: what was built stays, and so does the generation."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.envs.errors import BadLock
from p2pcdn.envs.model import Directory, LockedFile, LockedPackage, Target
from p2pcdn.envs.scheme import Scheme
from p2pcdn.errors import Unavailable
from p2pcdn.index import Pages
from p2pcdn.provision.asked import Asked, Ready, Wheel
from p2pcdn.provision.attested import Attested
from p2pcdn.provision.bytecode import Bytecode, Compiler
from p2pcdn.provision.environment import LEASE_TIME_S, Provisioner
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.unpacking import Unpackers
from p2pcdn.provision.wheels import Wheels
from p2pcdn.store import Store
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.bench.wheels import make_wheel
from tests.worlds import INDEX, Answer, InlineThreads, ScriptedUpstream, VirtualClock, open_store

MARKERS = {"python_full_version": "3.12.1", "python_version": "3.12", "sys_platform": "linux"}
LOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "made"
version = "1.0"
[packages.{kind}]
{source}
"""
SDIST = LOCK.format(
    kind="sdist", source=f'url = "https://x.example/made-1.0.tar.gz"\nhashes = {{sha256 = "{"0" * 64}"}}'
)
TREE = LOCK.replace('version = "1.0"\n[packages', "[packages").format(kind="directory", source='path = "/sources"')
WHEEL = LOCK.replace("[packages.{kind}]\n{source}", 'wheels = [{{url = "{url}"{size}, hashes = {{{table}}}}}]')
BYTECODE = Bytecode(sys.executable, sys.implementation.cache_tag)


@dataclass
class Builds:
    """Makes a wheel of the same project; unlike: each time another, as a compiler may."""

    store: Store
    scratch: Path
    unlike: bool
    made: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)  # what of each directory was said to decide its wheel

    async def sdist(self, package: LockedPackage, file: LockedFile) -> Wheel:
        return await self._make("made")

    async def directory(self, directory: Directory, state: str) -> Wheel:
        self.states[directory.path] = state
        return await self._make("own" if directory.editable else "made")

    async def has_sdist(self, package: LockedPackage, file: LockedFile) -> bool:
        return False  # each is another one

    async def _make(self, project: str) -> Wheel:
        wheel = make_wheel(project, size_bytes=8, seed=len(self.made) if self.unlike else 0)
        path = self.scratch / wheel.filename
        path.write_bytes(wheel.content)
        self.made.append((await keep_file(self.store, InlineThreads(), path, project)).sha256)
        return Wheel(Sha256(self.made[-1]), wheel.filename, "built")


NOBODY = Answer(error=Unavailable("nobody is there"))


@asynccontextmanager
async def provisioner(directory: Path, answer: Answer = NOBODY) -> AsyncIterator[Provisioner]:
    threads = InlineThreads()
    async with open_store(directory / "store") as store, trio.open_nursery() as nursery:
        upstream = ScriptedUpstream(lambda url, headers: answer)
        pages = Pages(
            (INDEX,),
            store=store, upstream=upstream, threads=threads, clock=VirtualClock(),
            counters=Counters(), nursery=nursery, offline=False,
        )  # fmt: skip
        wheels = Wheels(store, pages, cast(Any, None), threads, Unpackers(RealProcesses(), threads, nursery), nursery)
        compiler = Compiler(store, RealProcesses(), threads, nursery)
        attested = Attested(store, pages, upstream, None)
        yield Provisioner(store, wheels, attested, compiler, threads, nursery)
        nursery.cancel_scope.cancel()


async def provided(one: Provisioner, asked: Asked) -> Ready:
    return one.again(asked) or await one.provide(asked, await one.choose(asked), lambda *_: None)


def wanted(lock: str, builds: Builds) -> Asked:
    return Asked(lock, Target(MARKERS, ("py3-none-any",)), Scheme.of_venv("3.12"), build=builds)


async def test_what_was_built_is_not_built_again_when_byte_code_has_come(tmp_path: Path) -> None:
    async with provisioner(tmp_path) as one:
        builds = Builds(one.store, tmp_path, unlike=True)
        asked = replace(wanted(SDIST, builds), bytecode=BYTECODE)
        first = await provided(one, asked)
        second = await provided(one, replace(asked, bytecode=replace(BYTECODE, wait=True)))
        assert len(builds.made) == 1
        assert first.digest != second.digest, "it has byte code now"
        assert first.content == second.content
        assert [wheel.sha256 for wheel in second.wheels] == builds.made


async def test_what_is_built_is_told_and_what_lies_ready_is_not(tmp_path: Path) -> None:
    async with provisioner(tmp_path) as one:
        told: list[object] = []
        asked = wanted(SDIST, Builds(one.store, tmp_path, unlike=True))
        for _ in range(2):
            await one.provide(asked, await one.choose(asked), lambda *step: told.append(step))
        assert told == [(0, 1, "", ("made",))]


async def test_sources_that_make_the_same_wheel_make_no_new_generation(tmp_path: Path) -> None:
    async with provisioner(tmp_path) as one:
        builds = Builds(one.store, tmp_path, unlike=False)
        asked = replace(wanted(TREE, builds), bytecode=BYTECODE)
        first = await provided(one, asked)
        second = await provided(one, replace(asked, bytecode=replace(BYTECODE, wait=True)))
        assert len(builds.made) == 2, "sources are looked at anew"
        assert first.content == second.content
        other = await provided(one, replace(asked, build=Builds(one.store, tmp_path, unlike=True, made=["", ""])))
        assert other.content != first.content, "and another wheel is another environment"


async def test_the_state_of_the_own_project_says_nothing_of_another_directory(tmp_path: Path) -> None:
    async with provisioner(tmp_path) as one:
        builds = Builds(one.store, tmp_path, unlike=True)
        await one.provide(
            asked := replace(wanted(TREE, builds), project="/own", state="settings"),
            await one.choose(asked),
            lambda *_: None,
        )
        assert builds.states == {"/own": "settings", "/sources": ""}


async def test_the_trees_that_somebody_links_are_not_evicted_before_their_lease_is_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with provisioner(tmp_path) as one:
        builds = Builds(one.store, tmp_path, unlike=True)
        made = await builds.sdist(LockedPackage("made"), LockedFile("made-1.0.tar.gz", {}))
        tree = await one.tree(made.sha256, made.filename)
        module = next(tree.path.rglob("*.py"))
        await one.store.collect(0)
        assert module.exists()
        await trio.sleep(LEASE_TIME_S / 2)
        await one.tree(made.sha256, made.filename)
        await trio.sleep(LEASE_TIME_S / 2 + 1)
        await one.store.collect(0)
        assert module.exists(), "asked for again, it is leased again"
        await trio.sleep(LEASE_TIME_S)
        await one.store.collect(0)
        assert not module.exists()


def locked(file: Path, **beside: str) -> str:
    """A lock of one wheel, with what else it says of that."""
    hashes = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), **beside}
    size = f", size = {hashes.pop('size')}" if "size" in hashes else ""
    table = ", ".join(f'{name} = "{digest}"' for name, digest in hashes.items())
    return WHEEL.format(url=file.as_uri(), size=size, table=table)


async def test_a_file_is_all_that_its_lock_says_and_not_its_sha256_alone(tmp_path: Path) -> None:
    """PEP 751, "Installation": "Validate using packages.wheels.size and packages.wheels.hashes"."""
    wheel = make_wheel("made", size_bytes=9_000_000)
    file = tmp_path / wheel.filename
    file.write_bytes(wheel.content)
    right = {name: hashlib.new(name, wheel.content).hexdigest() for name in ("sha512", "md5", "blake2b", "sha3_256")}
    async with provisioner(tmp_path) as one:
        builds = Builds(one.store, tmp_path, unlike=False)
        await provided(one, wanted(locked(file, **right, size=str(len(wheel.content)), of_tomorrow="00"), builds))
        for name, digest in right.items():
            lie = {**right, name: digest[::-1]}
            with pytest.raises(BadLock, match=f"made-1.0-py3-none-any.whl has the sha256 .*, and not the {name}"):
                await provided(one, wanted(locked(file, **lie), builds))
        with pytest.raises(BadLock, match=rf"and {len(wheel.content)} bytes, not 7\. Nothing was installed"):
            await provided(one, wanted(locked(file, size="7"), builds))


async def test_a_size_that_the_index_says_too_is_a_hint_as_everywhere(tmp_path: Path) -> None:
    """Else nothing could be locked and installed from an index whose sizes are wrong, and pip could."""
    wheel = make_wheel("made")
    file = tmp_path / wheel.filename
    file.write_bytes(wheel.content)
    row = {"filename": wheel.filename, "url": wheel.filename, "hashes": {"sha256": wheel.sha256}, "size": 7}
    page = {"meta": {"api-version": "1.1"}, "name": "made", "files": [row]}
    answer = Answer(json.dumps(page).encode(), headers={"content-type": "application/vnd.pypi.simple.v1+json"})
    async with provisioner(tmp_path, answer) as one:
        ready = await provided(one, wanted(locked(file, size="7"), Builds(one.store, tmp_path, unlike=False)))
        assert [wheel.project for wheel in ready.wheels] == ["made"]
