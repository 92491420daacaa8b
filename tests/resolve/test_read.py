"""Tables out of pages, metadata out of METADATA, values over a pipe."""

from __future__ import annotations

import pickle
from time import process_time
from typing import NamedTuple

import cbor2
import pytest

from p2pcdn.resolve import (
    Edge,
    Metadata,
    Need,
    NoSolution,
    Pin,
    Release,
    Solution,
    Source,
    Table,
    Target,
    Wanted,
    from_plain,
    read_metadata,
    table_and_places_of,
    table_of,
    to_plain,
)
from p2pcdn.resolve.read import REQUIREMENTS_MAX


class Row(NamedTuple):
    filename: str
    yanked: bool | str = False
    requires_python: str | None = None
    upload_time: str | None = None


def test_the_files_of_a_version_become_one_release() -> None:
    table = table_of(
        "zope-interface",
        [
            Row("zope.interface-5.0-cp38-cp38-win_amd64.whl", upload_time="2020-03-02T00:00:00Z"),
            Row("zope.interface-5.0.tar.gz", upload_time="2020-03-01T00:00:00Z", requires_python=">=3.5"),
            Row("zope_interface-5.0-1-py2.py3-none-any.whl"),
            Row("zope.interface-4.0.tar.gz", yanked="broken on Sundays"),
        ],
        index="here",
    )
    assert table == Table(
        "zope-interface",
        (
            Release("4.0", yanked="broken on Sundays", sdist=True),
            Release("5.0", ">=3.5", None, "2020-03-01T00:00:00Z", ("cp38-cp38-win_amd64", "py2.py3-none-any"), True),
        ),
        "here",
    )


def test_a_version_is_yanked_only_with_its_last_file() -> None:
    files = [Row("a-1.tar.gz", yanked=True), Row("a-1-py3-none-any.whl")]
    assert table_of("a", files).releases[0].yanked is None
    assert table_of("a", files[:1]).releases[0].yanked == ""


def test_a_yanked_file_of_a_version_that_has_others_does_not_count() -> None:
    files = [Row("a-1-cp38-cp38-win32.whl", yanked=True, requires_python=">=3.8"), Row("a-1-py3-none-any.whl")]
    assert table_of("a", files).releases == (Release("1", tags=("py3-none-any",)),)


def test_one_version_in_two_spellings_is_one_release() -> None:
    files = [Row("a-1.0-beta.2.tar.gz"), Row("a-1.0b2-py3-none-any.whl"), Row("a-01.0b2.zip")]
    table, places = table_and_places_of("a", [Row("b-1-py3-none-any.whl"), *files, Row("b-1.tar.gz")])
    (release,) = table.releases
    assert release == Release("1.0b2", tags=("py3-none-any",), sdist=True)
    assert places == {"1.0b2": [1, 2, 3]}


@pytest.mark.parametrize("name", ["b-1.tar.gz", "a-1.exe", "a.whl", "a-1-py3.whl", "ab-1.zip", "a-1-py3-none-any.egg"])
def test_a_file_of_something_else_is_left_out(name: str) -> None:
    assert not table_of("a", [Row(name)]).releases


def test_metadata_is_read_to_the_end_of_its_head() -> None:
    text = (
        "Metadata-Version: 2.1\r\nName: A.b\r\nVersion: 1.0\r\nLicense: MIT\r\n        \r\n        and\x0cmore\r\n"
        "Requires-Dist: c>=1\r\nRequires-Dist: d ; extra == 'X_y'\r\nProvides-Extra: X_y\r\nRequires-Python: >=3.8\r\n"
        "\r\nRequires-Dist: not-this\r\n"
    )
    source = Source("a-b", "1.0")
    assert read_metadata(source, text) == Metadata(source, "1.0", ("c>=1", "d ; extra == 'X_y'"), ("x-y",), ">=3.8")


def test_a_folded_header_of_metadata_is_read_to_its_end() -> None:
    text = "Name: a\nVersion: 1\nRequires-Dist: \n b @ https://x/b.zip\nRequires-Dist: c>=1,\n\t<2\nLicense: d\n e\n\n"
    assert read_metadata(Source("a", "1"), text).requires_dist == ("b @ https://x/b.zip", "c>=1, <2")


def test_a_header_of_very_many_lines_takes_time_by_its_length_alone() -> None:
    def took_s(lines: int) -> float:
        text = "Name: a\nVersion: 1\nRequires-Dist: x\n" + f" {'y' * 60}\n" * lines
        before = process_time()
        read_metadata(Source("a", "1"), text)
        return process_time() - before

    # Sixteen times as many; by the square of its length it would take some two hundred times as long.
    assert min(took_s(64_000) for _ in range(3)) < 60 * min(took_s(4_000) for _ in range(5))


def test_metadata_that_requires_without_end_is_broken() -> None:
    head = "Metadata-Version: 2.1\nName: a\nVersion: 1\n"
    flood = "".join(f"Requires-Dist: b{number}\n" for number in range(REQUIREMENTS_MAX + 1))
    assert "requires 10001 things" in read_metadata(Source("a", "1"), head + flood).broken
    assert not read_metadata(Source("a", "1"), head + flood.rpartition("Requires-Dist")[0]).broken


def test_metadata_without_a_name_is_broken() -> None:
    assert read_metadata(Source("a", "1"), "<html>").broken == "its metadata has no name or no version"


@pytest.mark.parametrize(
    ("head", "known"),
    [
        ("Metadata-Version: 2.2\n", True),
        ("Metadata-Version: 2.4\nDynamic: License\n", True),
        ("Metadata-Version: 2.2\nDynamic: Requires-Dist\n", False),
        ("Metadata-Version: 2.1\n", False),
        ("", False),
    ],
)
def test_an_sdist_says_whether_its_dependencies_are_known_before_it_is_built(head: str, known: bool) -> None:
    one = read_metadata(Source("a", "1"), head + "Name: a\nVersion: 1\n", built=False)
    assert (one.broken == "") == known


@pytest.mark.parametrize(
    "value",
    [
        Wanted(("a",), ("b<2",), ("c",), "lowest", "allow", ("d",), "2026-01-01", (("e", "1"),), ("f",), (":all:",)),
        Target.of({"python_full_version": "3.11.7"}, ("py3-none-any",)),
        Target.of({"python_full_version": "3.11.7"}),
        Table("a", (Release("1", ">=3", "", "2026-01-01", ("py3-none-any",), True), Release("2")), "here", ""),
        Metadata(Source("a", url="https://a.example/a.whl"), "1", ("b",), ("x",), ">=3", "broken"),
        Need(("a",), (Source("a", "1"),), ("b",), (Source("b", "2"),)),
        Solution((Pin("a", "1", "here", "", ("x",)),), (Edge("", "", "a", "a[x]"),), ("a warning",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_crosses_a_pipe(value: object) -> None:
    assert from_plain(type(value), cbor2.loads(cbor2.dumps(to_plain(value)))) == value


def test_the_report_crosses_a_pipe() -> None:
    error = NoSolution(("Because a, b.", "So no."), "Loosen c.", ("c<2",))
    for again in (NoSolution(*cbor2.loads(cbor2.dumps(to_plain(error.args)))), pickle.loads(pickle.dumps(error))):
        assert again.args == error.args
        assert str(again) == "Because a, b.\nSo no.\nLoosen c."


@pytest.mark.parametrize("plain", [None, "a", ["a"], ["a", [], "", 7], ["a", [["1"]], "", ""], 7])
def test_a_value_of_another_shape_is_refused(plain: object) -> None:
    with pytest.raises(ValueError):
        from_plain(Table, plain)


def test_a_choice_that_there_is_not_is_refused() -> None:
    plain = list(to_plain(Wanted(("a",))))
    plain[3] = "newest"
    with pytest.raises(ValueError, match="newest"):
        from_plain(Wanted, plain)
