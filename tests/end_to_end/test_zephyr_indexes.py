"""Where zephyr takes packages from: indexes for some projects only, heaps of files, indexes that give no hashes."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import PLAIN, FaultyUpstream, Style
from tests.bench.wheels import make_sdist, make_wheel
from tests.end_to_end.conftest import StartUpstream
from tests.end_to_end.test_zephyr import Project

LIB = make_wheel("demo-lib")
TORCH = make_wheel("demo-torch", requires=["demo-lib"])
ONE_HOST = Style(other_host=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyUpstream, RunningNode]]:
    with (
        FaultyUpstream([LIB, TORCH]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as node,
    ):
        yield upstream, node


@pytest.fixture
def index(shared: tuple[FaultyUpstream, RunningNode]) -> FaultyUpstream:
    return shared[0]


@pytest.fixture
def project(tmp_path: Path, shared: tuple[FaultyUpstream, RunningNode]) -> Project:
    made = Project(tmp_path / "project", shared[1])
    made.write(["demo-torch"])
    return made


def indexes_of(project: Project) -> dict[str, tuple[str, str | None]]:
    return {one["name"]: (one["version"], one.get("index")) for one in tomllib.loads(project.lock)["packages"]}


def test_an_explicit_index_gives_what_is_pinned_to_it_and_nothing_else(
    project: Project, index: FaultyUpstream, start_upstream: StartUpstream
) -> None:
    special = start_upstream(
        [make_wheel("demo-torch", "2.0", requires=["demo-lib"]), make_wheel("demo-lib", "9.0")], ONE_HOST
    )
    table = f'[[tool.zephyr.index]]\nname = "special"\nurl = "{special.url}"\nexplicit = true\n'
    project.write(["demo-torch"], table)
    project.zephyr("lock")
    assert indexes_of(project) == {"demo-torch": ("1.0", index.url), "demo-lib": ("1.0", index.url)}
    project.write(["demo-torch"], f'[tool.zephyr]\nsources = {{ Demo_Torch = {{ index = "special" }} }}\n{table}')
    assert "made with sources = nothing, where demo-torch is in force" in project.zephyr("lock", "--check", code=1)
    project.zephyr("lock", "--upgrade")
    assert indexes_of(project) == {"demo-torch": ("2.0", special.url), "demo-lib": ("1.0", index.url)}
    project.zephyr("sync")
    assert project.installed() == {"demo-torch": "2.0", "demo-lib": "1.0"}
    assert not special.seen("*demo-lib*")
    special.remove("demo_torch-2.0-py3-none-any.whl")
    project.write(["demo-torch"], f'[tool.zephyr]\nsources = {{ demo-torch = "nosuch" }}\n{table}')
    assert "pinned to 'nosuch'" in project.zephyr("lock", code=2)


def test_an_index_with_a_name_stands_before_the_nodes_own_and_does_not_replace_it(
    project: Project, index: FaultyUpstream, start_upstream: StartUpstream
) -> None:
    corp = start_upstream([make_wheel("demo-torch", "0.5", requires=["demo-lib"])], ONE_HOST)
    project.write(["demo-torch"], f'[[tool.zephyr.index]]\nname = "corp"\nurl = "{corp.url}"\n')
    project.zephyr("lock")
    assert indexes_of(project) == {"demo-torch": ("0.5", corp.url), "demo-lib": ("1.0", index.url)}


def test_a_directory_a_page_on_a_server_and_a_page_on_the_disk_are_heaps_of_files(
    project: Project, index: FaultyUpstream, start_upstream: StartUpstream
) -> None:
    heap = project.file("wheels")
    heap.mkdir()
    newer = make_wheel("demo-torch", "3.0", requires=["demo-lib", "demo-page", "demo-file"])
    sdist = make_sdist("demo-file")
    (heap / newer.filename).write_bytes(newer.content)
    (heap / sdist.filename).write_bytes(sdist.content)
    project.file("links.html").write_text(f'<!doctype html><html><a href="wheels/{sdist.filename}">it</a></html>')
    server = start_upstream([make_wheel("demo-page")], PLAIN)
    places = '"wheels", "links.html", "' + f"{server.url}demo-page/" + '"'
    project.write(["demo-torch"], f"[tool.zephyr]\nfind-links = [{places}]\n")
    told = project.zephyr("sync")
    assert "gives no sha256 of demo_page-1.0-py3-none-any.whl" in told
    expected = {"demo-torch": ("3.0", None), "demo-page": ("1.0", None), "demo-file": ("1.0", None)}
    assert indexes_of(project) == expected | {"demo-lib": ("1.0", index.url)}
    assert project.installed() == {name: version for name, (version, _) in indexes_of(project).items()}
    assert len(server.seen("*demo-page/")) == 1, "one page for all projects is read once"
    project.write(["demo-torch"], f"[tool.zephyr]\nfind-links = [{places}]\nno-index = true\n")
    assert "demo-lib" in project.zephyr("lock", code=1)
    (heap / LIB.filename).write_bytes(LIB.content)
    project.zephyr("lock")
    assert indexes_of(project)["demo-lib"] == ("1.0", None)
    project.write(["demo-torch"], "[tool.zephyr]\nno-index = true\n")
    assert "leaves nothing" in project.zephyr("lock", code=2)


def test_what_an_index_gives_no_hash_of_is_locked_by_what_came_and_that_is_said(
    project: Project, start_upstream: StartUpstream
) -> None:
    plain = start_upstream([LIB, TORCH], PLAIN)
    project.write(["demo-torch"], f'[tool.zephyr]\nindex-url = "{plain.url}"\n')
    told = project.zephyr("sync")
    assert f"gives no sha256 of {TORCH.filename}" in told
    wheels = {one["name"]: one["wheels"][0] for one in tomllib.loads(project.lock)["packages"]}
    assert wheels["demo-torch"]["hashes"] == {"sha256": TORCH.sha256}
    assert project.installed() == {"demo-torch": "1.0", "demo-lib": "1.0"}
    assert [one.range for one in plain.file_gets(f"*{LIB.filename}")].count(None) == 1, "it is fetched whole once"


def test_a_policy_that_demands_attestations_stops_what_has_none_and_changes_nothing(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("sync")
    project.write(["demo-torch"], '[tool.zephyr]\nrequire-attestations = ["Demo.Torch=somebody/torch"]\n')
    told = project.zephyr("sync", code=1)
    assert f"{TORCH.filename} has no attestation" in told
    assert project.installed() == {"demo-lib": "1.0"}
    project.write(["demo-torch"], '[tool.zephyr]\nrequire-attestations = ["demo-torch=="]\n')
    assert "neither NAME nor" in project.zephyr("sync", code=2)
