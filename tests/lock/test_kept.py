"""Tables, metadata and files come back as they were kept."""

from __future__ import annotations

from dataclasses import replace

from p2pcdn.digest import Sha256
from p2pcdn.lock.kept import decode_metadata, decode_table, encode_metadata, encode_table
from p2pcdn.lock.kept_files import BLOCK_FILES_MIN, decode_files, encode_files, unpack_files
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


def test_a_table_comes_back_whole() -> None:
    assert decode_table(encode_table(TABLE)) == TABLE
    missing = Table("six", missing="nobody has it")
    assert decode_table(encode_table(missing)) == missing


def test_metadata_and_files_come_back_whole() -> None:
    metadata = Metadata(Source("six", "1.0"), "1.0", ("a",), ("x",), ">=3", "")
    assert decode_metadata(metadata.source, encode_metadata(metadata)) == metadata
    bare = replace(FILE, sha256=None, size_bytes=None, core_metadata=True, yanked=False, requires_python=None)
    several = {str(number): [FILE] * 5 for number in range(BLOCK_FILES_MIN)}
    by_version = decode_files(encode_files({"1.0": [FILE, bare], "2.0": [], **several}))
    assert unpack_files(by_version["1.0"], "1.0") == [FILE, bare]
    assert unpack_files(by_version["2.0"], "2.0") == []
    assert {version: unpack_files(by_version[version], version) for version in several} == several
    assert len(set(by_version.values())) > 1, "in several blocks"
