"""Tables, metadata and files come back as they were kept; of a table as much as is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from p2pcdn.digest import Sha256
from p2pcdn.lock.kept import (
    BLOCK_RELEASES,
    decode_files,
    decode_metadata,
    decode_table,
    encode_files,
    encode_metadata,
    encode_table,
    unpack_files,
)
from p2pcdn.resolve import Metadata, Release, Source, Table
from p2pcdn.simple import File

TABLE = Table(
    "six",
    tuple(
        Release(version, ">=3.8", "broken", "2024", ("py3-none-any",), True) for version in ("1.9", "no", "1.10", "1.1")
    ),
    "https://x.example/",
)
FILE = File(
    "six-1.0-py3-none-any.whl",
    "https://x.example/six",
    Sha256("a" * 64),
    7,
    Sha256("b" * 64),
    "broken",
    ">=3",
    "2024",
    {},
)


def test_a_table_comes_back_with_its_newest_release_first() -> None:
    found = decode_table(encode_table(TABLE))
    assert [release.version for release in found.releases] == ["1.10", "1.9", "1.1", "no"]
    assert sorted(found.releases, key=repr) == sorted(TABLE.releases, key=repr)
    assert replace(found, releases=()) == replace(TABLE, releases=())
    missing = Table("six", missing="nobody has it")
    assert decode_table(encode_table(missing)) == missing


@pytest.mark.parametrize("down_to", ["0", "39", "40", "62", "99"])
def test_of_a_table_no_less_is_read_than_is_asked_for(down_to: str) -> None:
    releases = tuple(Release(str(number)) for number in range(100))
    found = [
        int(one.version)
        for one in decode_table(encode_table(Table("six", releases)), down_to=Version(down_to)).releases
    ]
    assert found == list(range(99, 99 - len(found), -1))
    assert found[-1] <= int(down_to)
    assert len(found) <= 100 - int(down_to) + BLOCK_RELEASES


def test_metadata_and_files_come_back_whole() -> None:
    metadata = Metadata(Source("six", "1.0"), "1.0", ("a",), ("x",), ">=3", "")
    assert decode_metadata(metadata.source, encode_metadata(metadata)) == metadata
    bare = replace(FILE, sha256=None, size_bytes=None, core_metadata=True, yanked=False, requires_python=None)
    by_version = decode_files(encode_files({"1.0": [FILE, bare], "2.0": []}))
    assert unpack_files(by_version["1.0"]) == [FILE, bare]
    assert unpack_files(by_version["2.0"]) == []
