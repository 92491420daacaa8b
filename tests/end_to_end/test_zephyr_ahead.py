"""Wheels that are fetched before the lock is whole: begun in time, each once; a wrong guess does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream, Held, WrongBytes
from tests.bench.wheels import make_wheel
from tests.end_to_end.test_zephyr import Project

CHAIN = [
    make_wheel("demo-app", requires=["demo-lib"]),
    make_wheel("demo-lib", requires=["demo-last"]),
    make_wheel("demo-last"),
]
# demo-lib 2.0 is decided, and taken back when both versions of demo-two have said what they require of it.
CONFLICT = [
    make_wheel("demo-app", requires=["demo-lib", "demo-one"]),
    *(make_wheel("demo-lib", version) for version in ("1.0", "2.0")),
    *(make_wheel("demo-one", version, requires=["demo-two"]) for version in ("1.0", "2.0")),
    *(make_wheel("demo-two", version, requires=["demo-lib<2"]) for version in ("1.0", "2.0")),
]


@pytest.fixture
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream(CHAIN) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, upstream: FaultyUpstream) -> Iterator[Project]:
    with RunningNode(tmp_path / "node", upstreams=[upstream]) as node:
        yield Project(tmp_path / "project", node)


@pytest.mark.parametrize("words", [("sync",), ("install", "demo-app")])
def test_a_wheel_is_begun_while_the_search_waits_and_fetched_once(
    project: Project, upstream: FaultyUpstream, words: tuple[str, ...]
) -> None:
    held = Held()
    upstream.fault("*demo_last*.metadata", held)
    with project.start(*words) as running:
        try:
            until(lambda: upstream.file_gets("*demo_app*.whl"), "the wheel of what is decided is begun")
            assert not upstream.file_gets("*demo_last*.whl"), "of this the search knows nothing yet"
            assert not project.file("pylock.toml").exists()
        finally:
            held.go.set()
        said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert project.installed() == {"demo-app": "1.0", "demo-last": "1.0", "demo-lib": "1.0"}
    assert len(upstream.file_gets("*.whl")) == 3
    assert "wrong=0 wrong_size_bytes=0" in project.node.log()
    told = project.zephyr("history", "--json")
    assert "store, once from" not in told, "to this environment it was fetched, and did not lie in the store"


def test_a_lock_alone_fetches_no_wheel(project: Project, upstream: FaultyUpstream) -> None:
    project.zephyr("lock")
    project.zephyr("add", "--no-sync", "demo-lib")
    assert "demo-last" in project.lock
    assert not upstream.file_gets("*.whl")
    assert "fetched ahead" not in project.node.log()


def test_a_wrong_guess_costs_a_file_and_nothing_else(project: Project, upstream: FaultyUpstream) -> None:
    upstream.add(*CONFLICT)
    held = Held()
    upstream.fault("*demo_two-1.0*.metadata", held)
    with project.start("sync") as running:
        try:
            until(lambda: upstream.file_gets("*demo_lib-2.0*.whl"), "the version that will be taken back is begun")
        finally:
            held.go.set()
        said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert project.installed() == {"demo-app": "1.0", "demo-lib": "1.0", "demo-one": "2.0", "demo-two": "2.0"}
    assert [len(upstream.file_gets(f"*demo_lib-{version}*.whl")) for version in ("1.0", "2.0")] == [1, 1]
    assert "wrong=1" in project.node.log()


def test_a_guess_that_fails_is_asked_for_again_by_whoever_installs(project: Project, upstream: FaultyUpstream) -> None:
    held = Held()
    upstream.fault("*demo_last*.metadata", held)
    upstream.fault("*demo_app*.whl", WrongBytes(), times=1)
    with project.start("sync") as running:
        try:
            until(lambda: "did not arrive" in project.node.log(), "the wrong bytes are noticed")
        finally:
            held.go.set()
        said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert project.installed().keys() == {"demo-app", "demo-last", "demo-lib"}
    assert len(upstream.file_gets("*demo_app*.whl")) == 2
