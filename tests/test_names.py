"""Project and file names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from p2pcdn.names import is_file_name, normalize_project, projects_of


@pytest.mark.parametrize(
    ("name", "normalized"),
    [("Flask", "flask"), ("ruamel.yaml", "ruamel-yaml"), ("a__b-.c", "a-b-c"), ("x", "x"), ("0x10c-asm", "0x10c-asm")],
)
def test_a_name_is_normalized(name: str, normalized: str) -> None:
    assert normalize_project(name) == normalized


@settings(max_examples=200, derandomize=True, database=None)
@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True))
def test_names_are_normalized_as_packaging_does(name: str) -> None:
    # `fullmatch` of the generator lets a final newline in, which is no part of a name.
    assert normalize_project(name.strip()) == canonicalize_name(name.strip())


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", ".", "..", "a/b", "a b", "a\n", "é", "ａ", "a" * 201, "a%20b", "a\x00"]
)
def test_what_is_no_project_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a project name"):
        normalize_project(name)


@pytest.mark.parametrize(
    ("filename", "projects"),
    [
        ("Ruamel.Yaml-0.18.6-cp312-cp312-linux_x86_64.whl", ["ruamel-yaml"]),
        ("typing_extensions-4.0-py3-none-any.whl.metadata", []),
        ("zope.interface-5.0-py3.8.egg", ["zope-interface"]),
        ("numpy-1.0.tar.gz", ["numpy"]),
        ("a-b-1.0.tar.gz", ["a-b", "a"]),
        ("a-2-b-1.0.zip", ["a-2-b", "a", "a-2"]),
        ("a-b.tar.bz2", ["a"]),
        ("pywin32-214.win32-py2.7.exe", ["pywin32", "pywin32-214-win32"]),
        ("-1.0.tar.gz", []),
        ("numpy.tar.gz", []),
        ("numpy", []),
        ("", []),
        (".whl", []),
        ("é-1.0-py3-none-any.whl", []),
    ],
)
def test_a_file_name_tells_its_project_the_likeliest_first(filename: str, projects: list[str]) -> None:
    assert list(projects_of(filename)) == projects


@pytest.mark.parametrize("name", ["a", "a.whl", "torch-2.0+cpu.whl", "é ü.zip", "..a", "a..", "%2F", "x" * 255])
def test_a_name_that_is_one_segment_is_safe(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "a/b", "a\\b", "a\nb", "a\rb", "a\x00", "a\x7f", "a\u2028b", "a\u202eb", "\ud800", "x" * 256],
)
def test_a_name_that_could_leave_its_directory_or_its_header_is_not(name: str) -> None:
    assert not is_file_name(name)
