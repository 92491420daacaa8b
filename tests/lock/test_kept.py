"""Tables and files come back as they were kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from p2pcdn.digest import Sha256
from p2pcdn.lock.kept import decode_table, encode_table
from p2pcdn.lock.kept_files import decode_files, encode_files
from p2pcdn.resolve import Release, Table, term
from p2pcdn.simple import File, plain

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


def encoded(by_version: Mapping[str, Sequence[File]]) -> dict[str, bytes]:
    return encode_files(
        by_version, lambda version: [plain(by_version[version], at) for at in range(len(by_version[version]))]
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


def test_files_come_back_whole() -> None:
    bare = replace(FILE, sha256=None, size_bytes=None, core_metadata=True, yanked=False, requires_python=None)
    rows = encoded({"1.0": [FILE, bare], "2.0": []})
    assert rows.keys() == {""}
    found = decode_files(rows.get, "1.0")
    assert found is not None
    assert ([*found["1.0"]], found["1.0"].names) == ([FILE, bare], (FILE.filename, FILE.filename))
    none = decode_files(rows.get, "2.0")
    assert none is not None
    assert [*none["2.0"]] == []
    assert found["1.0"].has_wheel
    assert not none["2.0"].has_wheel
    assert (found["1.0"].requires_python, none["2.0"].requires_python) == (">=3", None)
    never = decode_files(rows.get, "3.0")
    assert never is not None
    assert [*never] == []
    assert decode_files({}.get, "1.0") is None


def test_what_a_page_says_in_several_lines_is_kept_in_one() -> None:
    odd = replace(TABLE.releases[0], requires_python=">=3.8,\n\t<4", upload_time="2024\n", yanked="a\tb\nc")
    order = decode_table(encode_table(replace(TABLE, releases=(odd, TABLE.releases[3]))))
    said = [(one.version, one.requires_python, one.upload_time, one.yanked) for one in order.releases]
    assert said == [("1.1", ">=3.8, <4", "2024", "a\tb\nc"), ("1.9", ">=3.8", "2024", "")]
    file = replace(FILE, yanked="a\tb\nc", requires_python=">=3.8,\n<4", raw={"provenance": "p"})
    found = decode_files(encoded({"1.0": [file, FILE]}).get, "1.0")
    assert found is not None
    assert [*found["1.0"]] == [replace(file, yanked="a b c", requires_python=">=3.8, <4"), FILE]


def test_files_of_many_versions_are_kept_by_their_series() -> None:
    def noise(version: str) -> list[File]:
        said = (hashlib.sha512(f"{version} {number}".encode()).hexdigest() for number in range(20))
        return [replace(FILE, url=one * 2, raw={"provenance": "p"}) for one in said]

    versions = [f"{major}.{minor}.{patch}" for major in range(3) for minor in range(4) for patch in range(5)]
    files = {version: noise(version) for version in versions}
    rows = encoded(files)
    assert rows.keys() == {"", *(f"/{major}.{minor}" for major in range(3) for minor in range(4))}
    for version, expected in (*files.items(), ("1.1.9", [])):
        found = decode_files(rows.get, version)
        assert found is not None
        assert [*found.get(version, ())] == expected
        assert found.keys() == {one for one in versions if one.startswith(version[:4])}, "and those of its series"
    assert decode_files({"": rows[""]}.get, "1.0") is None, "a row that is gone is read again"
