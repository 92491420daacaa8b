"""Names and links in archives: which lead out, and which only look so."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.build.members import Member, check_symlink, check_together, safe_path
from p2pcdn.errors import Refused


@pytest.mark.parametrize(
    ("name", "path"),
    [("a/b", "a/b"), ("./a//b/", "a/b"), ("a/./b", "a/b"), ("./", ""), ("a/..b", "a/..b"), ("größe/ß", "größe/ß")],
)
def test_a_name_inside_is_taken(name: str, path: str) -> None:
    assert safe_path(name) == path


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../up", "a/../../up", "a/..", "..", "a\\..\\b", "C:\\x", "a\0b", "a\nb"),
        *("x" * 256, "ü" * 128, "/".join(["x" * 200] * 16), "a/\udcff"),
    ],
)
def test_a_name_that_could_lead_out_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        safe_path(name)


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b.c", "/"]), max_size=8).map("/".join))
def test_whatever_is_taken_lies_inside(name: str) -> None:
    try:
        path = safe_path(name)
    except Refused:
        return
    whole = posixpath.normpath(posixpath.join("/tree", path))
    assert whole == "/tree" or whole.startswith("/tree/")


@pytest.mark.parametrize(
    ("path", "target"),
    [("link", "file"), ("a/link", "../file"), ("a/b/link", "../../c/d"), ("a/link", "."), ("a/link", "..")],
)
def test_a_link_inside_is_taken(path: str, target: str) -> None:
    check_symlink(Member(path, "symlink", target))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        *(("link", "/etc/passwd"), ("link", ".."), ("a/link", "../.."), ("link", "b/../../c")),
        *(("a/link", "q/../../x"), ("link", ""), ("link", "..\\x"), ("a/b/link", "../../../x")),
    ],
)
def test_a_link_that_leads_out_or_could_is_refused(path: str, target: str) -> None:
    with pytest.raises(Refused, match="leads outside"):
        check_symlink(Member(path, "symlink", target))


@pytest.mark.parametrize(
    "members",
    [
        [Member("a", "file"), Member("a", "file")],
        [Member("Readme", "file"), Member("README", "file")],
        [Member("gr\u00f6\u00dfe", "file"), Member("gro\u0308sse", "file")],
        [Member("a", "file"), Member("a/b", "file")],
        [Member("a/b", "file"), Member("a", "symlink", ".")],
        [Member("a", "symlink", "."), Member("a/b", "file")],
        [Member("a", "directory"), Member("A", "directory")],
        [Member("A", "directory"), Member("a/b", "file")],
        [Member("a", "directory"), Member("a", "file")],
    ],
)
def test_members_that_would_meet_are_refused(members: list[Member]) -> None:
    with pytest.raises(Refused, match=r"one file|written through"):
        check_together(members)


def test_a_directory_may_be_named_twice_and_after_its_files() -> None:
    check_together([Member("a/b", "file"), Member("a", "directory"), Member("a", "directory"), Member("c", "file")])
