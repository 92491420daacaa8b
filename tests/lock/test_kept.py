"""Tables, metadata and files come back as they were kept."""

from __future__ import annotations

from dataclasses import replace

from p2pcdn.digest import Sha256
from p2pcdn.lock.kept import (
    BLOCK_FILES_MIN,
    decode_files,
    decode_metadata,
    decode_table,
    encode_files,
    encode_metadata,
    encode_table,
    unpack_files,
)
from p2pcdn.resolve import Metadata, Release, Source, Table, term
from p2pcdn.simple import File

TABLE = Table(
    "six",
    tuple(
        Release(version, ">=3.8", yanked, "2024", ("py3-none-any", "cp311-cp311-win32"), True)
        for version, yanked in (("1.1", "broken"), ("no", ""), ("1.10", "broken"), ("1.9", ""), ("1.10rc1", None))
    ),
    "https://x.example/",
)
VERSIONS = ["1.1", "1.9", "1.10rc1", "1.10"]
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


def test_a_table_comes_back_in_order() -> None:
    order = decode_table(encode_table(TABLE))
    assert (order.name, order.index, order.missing) == ("six", "https://x.example/", "")
    assert [*order.releases] == [TABLE.releases[0], TABLE.releases[3], TABLE.releases[4], TABLE.releases[2]]
    assert [*map(str, order.versions.ordered)] == [source.version for source in order.sources] == VERSIONS
    assert (order.prereleases, order.yanked) == (term.version(2), term.version(0) | term.version(1) | term.version(3))
    assert order.releases[-1] == order.releases[3]
    assert [*order.releases[1:3]] == [order.releases[1], order.releases[2]]
    missing = decode_table(encode_table(Table("six", missing="nobody has it")))
    assert (missing.missing, [*missing.releases]) == ("nobody has it", [])


def test_metadata_and_files_come_back_whole() -> None:
    metadata = Metadata(Source("six", "1.0"), "1.0", ("a",), ("x",), ">=3", "")
    assert decode_metadata(metadata.source, encode_metadata(metadata)) == metadata
    bare = replace(FILE, sha256=None, size_bytes=None, core_metadata=True, yanked=False, requires_python=None)
    several = {str(number): [FILE] * 5 for number in range(BLOCK_FILES_MIN)}
    by_version = decode_files(encode_files({"1.0": [FILE, bare], "2.0": [], **several}))
    assert [*unpack_files(by_version["1.0"], "1.0")] == [FILE, bare]
    assert unpack_files(by_version["1.0"], "1.0").names == (FILE.filename, FILE.filename)
    assert [*unpack_files(by_version["2.0"], "2.0")] == []
    assert {version: [*unpack_files(by_version[version], version)] for version in several} == several
    assert len(set(by_version.values())) > 1, "in several blocks"
