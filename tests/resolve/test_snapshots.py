"""resolvelib's own cases on snapshots of the public index; python -m tests.resolve.fetch_snapshots brings them here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name
from packaging.version import Version

from p2pcdn.resolve import Metadata, NoSolution, Release, Source, Table, Wanted, verify
from tests.resolve.fetch_snapshots import snapshots
from tests.resolve.universe import LINUX_311, Universe, pins

CASES = (
    "backjump-test-1",
    "backjump-test-2",
    "backjump-test-3",
    "backjump-test-4",
    "chalice",
    "cheroot",
    "conflict-with-dependency",
    "different-extras",
    "issue-134",
    "pyrex-1.9.8",
    "same-package",
    "same-package-extras",
    "with-without-extras",
)
# resolvelib's harness drops requirements with markers where no extra is asked for; botocore's urllib3 has one.
MORE_THAN_THEIRS = {"chalice": {"urllib3": Version("1.25.8")}}


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_resolvelib_comes_out_as_it_says(name: str) -> None:
    case = _read("case", name)
    world = _world(case["index"])
    wanted = Wanted(tuple(case["requested"]))
    if "conflicted" in case or not case["resolved"]:
        with pytest.raises(NoSolution):
            world.solve(wanted)
        return
    solution = world.solve(wanted)
    faults = verify(solution, wanted, LINUX_311, world.tables.values(), world.metadata.values())
    assert all("comes before" in fault for fault in faults)
    found = {project: Version(version) for project, version in pins(solution).items()}
    assert found == dict(_expected(case["resolved"])) | MORE_THAN_THEIRS.get(name, {})


def _expected(resolved: dict[str, Any]) -> Iterator[tuple[str, Version]]:
    for name, one in resolved.items():
        version, marker = (one["version"], one.get("marker")) if isinstance(one, dict) else (one, None)
        if marker is None or Marker(marker).evaluate(dict(LINUX_311.environment)):
            yield name, Version(version)


@cache
def _world(index: str) -> Universe:
    world = Universe()
    for project, versions in _read("index", index).items():
        if not isinstance(versions, dict):
            continue  # a word to their harness
        name = canonicalize_name(project)
        world.tables[name] = Table(name, tuple(Release(version, sdist=True) for version in versions))
        for version, said in versions.items():
            source = Source(name, version)
            world.metadata[source] = Metadata(source, version, tuple(said["dependencies"]))
    return world


def _read(folder: str, name: str) -> Any:
    file: Path = snapshots("resolvelib") / folder / f"{name}.json"
    if not file.exists():
        pytest.skip("resolvelib's cases are not here: python -m tests.resolve.fetch_snapshots")
    return json.loads(file.read_text())
