"""How a tree says that it is built, and what is said where it says it wrongly."""

from __future__ import annotations

import pytest

from p2pcdn.build.failure import Unbuilt
from p2pcdn.build.project import LEGACY, BuildSystem, build_system


@pytest.mark.parametrize("pyproject", [None, b"", b"[project]\nname = 'demo'\n"])
def test_a_tree_that_says_nothing_is_built_by_setuptools(pyproject: bytes | None) -> None:
    assert build_system(pyproject) == LEGACY
    assert LEGACY.backend == "setuptools.build_meta:__legacy__"


def test_a_table_without_a_backend_has_the_legacy_one() -> None:
    assert build_system(b"[build-system]\nrequires = ['setuptools', 'wheel']\n") == BuildSystem(
        ("setuptools", "wheel"), LEGACY.backend
    )


def test_everything_that_a_table_may_say() -> None:
    text = b"[build-system]\nrequires = []\nbuild-backend = 'own.backend:make.it'\nbackend-path = ['.', 'tools']\n"
    assert build_system(text) == BuildSystem((), "own.backend:make.it", (".", "tools"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[build-system]", "no `requires`"),
        ("build-system = 3", "no `requires`"),
        ("[build-system]\nrequires = 'setuptools'", "not a list of strings"),
        ("[build-system]\nrequires = [3]", "not a list of strings"),
        ("[build-system]\nrequires = ['a b c']", "build requirement 'a b c' cannot be read"),
        ("[build-system]\nrequires = []\nbuild-backend = 'os; import sys'", "does not name a Python object"),
        ("[build-system]\nrequires = []\nbuild-backend = ''", "does not name a Python object"),
        ("[build-system]\nrequires = []\nbackend-path = ['../up']", "leads outside"),
        ("[build-system]\nrequires = []\nbackend-path = ['/etc']", "leads outside"),
        ("[build-system]\nrequires = [" + "'a'," * 300 + "]", "more than 200 requirements"),
        ("[build-system", "cannot be read"),
        ("x = " + "[" * 5000, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(Unbuilt, match=said):
        build_system(text.encode())


def test_bytes_that_are_no_text_are_said() -> None:
    with pytest.raises(Unbuilt, match="cannot be read"):
        build_system(b"\xff")
