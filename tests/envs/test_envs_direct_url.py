"""direct_url.json says where something came from that no index gave, and is absent where one did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pcdn.envs.direct_url import direct_url
from p2pcdn.envs.model import Directory, LockedFile, LockedPackage, Vcs

HASHES = {"sha256": "a" * 64}
CASES = [
    (LockedPackage("a", "1", wheels=(LockedFile("a-1-py3-none-any.whl", HASHES, url="https://h/a.whl"),)), None),
    (
        LockedPackage("a", vcs=Vcs("git", "f00", url="https://me:secret@Host/repo.git", requested_revision="main")),
        {
            "url": "https://host/repo.git",
            "vcs_info": {"vcs": "git", "commit_id": "f00", "requested_revision": "main"},
        },
    ),
    (
        LockedPackage("a", directory=Directory("sub dir", editable=True)),
        {"url": "file:///project/sub%20dir", "dir_info": {"editable": True}},
    ),
    (LockedPackage("a", directory=Directory(".")), {"url": "file:///project", "dir_info": {}}),
    (
        LockedPackage("a", archive=LockedFile("a.zip", HASHES, url="https://h/a.zip", subdirectory="x")),
        {"url": "https://h/a.zip", "archive_info": {"hashes": HASHES}, "subdirectory": "x"},
    ),
    (
        LockedPackage("a", archive=LockedFile("a.whl", HASHES, path="../dist/a.whl")),
        {"url": "file:///dist/a.whl", "archive_info": {"hashes": HASHES}},
    ),
]


@pytest.mark.parametrize(("package", "expected"), CASES, ids=range(len(CASES)))
def test_it_says_where_a_package_came_from(package: LockedPackage, expected: dict[str, object] | None) -> None:
    text = direct_url(package, Path("/project"))
    assert (text and json.loads(text)) == expected
    assert "secret" not in (text or "")


def test_others_can_read_it() -> None:
    oracle = pytest.importorskip("packaging.direct_url")
    for package, expected in CASES:
        if expected is not None:
            oracle.DirectUrl.from_dict(json.loads(direct_url(package, Path("/project")) or ""))
