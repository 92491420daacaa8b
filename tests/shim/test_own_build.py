"""What a METADATA requires, told apart: always, and with each extra."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.lock.own_build import _understood
from p2pcdn_shim.zephyr.project.pyproject import Project, parse_project

PROJECT = parse_project("[build-system]\nrequires = []\n", Path("pyproject.toml"))


def built(*lines: str, extras: tuple[str, ...] = ("a_b", "c")) -> Project:
    told = {"name": "demo", "requires_python": ">=3.9", "requires_dist": list(lines), "provides_extra": list(extras)}
    return PROJECT.as_built(_understood(told, PROJECT))


# A line: what of it is always required, and what with each of the extras.
LINES = {
    "x>=1": ("x>=1", None, None),
    "x[y]>=1 ; os_name == 'nt'": ('x[y]>=1 ; os_name == "nt"', None, None),
    "x; extra == 'a-b'": (None, "x", None),
    'x; "A.B" == extra': (None, "x", None),
    "x; extra == 'a-b' or extra == 'c'": (None, "x", "x"),
    "x; (os_name == 'nt' or os_name == 'posix') and extra == 'c'": (
        None, None, 'x ; os_name == "nt" or os_name == "posix"',
    ),
    "x; os_name == 'nt' or extra == 'c'": ('x ; os_name == "nt"', None, "x"),
    "x; extra != 'c'": ("x", None, None),
    "x @ https://host.invalid/x;y-1.tar.gz#sha256=00 ; extra == 'c'": (
        None, None, "x @ https://host.invalid/x;y-1.tar.gz#sha256=00",
    ),
    "x @ https://host.invalid/x;y-1.tar.gz": ("x @ https://host.invalid/x;y-1.tar.gz", None, None),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_each_extra_gets_what_it_adds(line: str) -> None:
    project = built(line)
    found = project.dependencies, project.extras["a-b"], project.extras["c"]
    assert found == tuple((text,) if text is not None else () for text in LINES[line])


def test_what_is_static_stays_and_what_is_dynamic_comes_of_the_build() -> None:
    text = (
        '[build-system]\nrequires = []\n[project]\nname = "mine"\nrequires-python = ">=3.11"\n'
        'dynamic = ["dependencies"]\noptional-dependencies.own = ["y"]\n'
    )
    static = parse_project(text, Path("pyproject.toml"))
    assert static.awaits_its_build
    project = static.as_built(built("x").said)
    assert not project.awaits_its_build
    assert (project.name, project.requires_python, project.dependencies) == ("mine", ">=3.11", ("x",))
    assert project.extras == {"own": ("y",)}
    assert project.edited(text.replace('["y"]', '["z"]')).extras == {"own": ("z",)}
    assert project.edited(text).dependencies == ("x",)
    nameless = built("x")
    assert (nameless.name, nameless.requires_python, set(nameless.extras)) == ("demo", ">=3.9", {"a-b", "c"})


def test_what_cannot_be_read_is_a_reason() -> None:
    with pytest.raises(UsageError, match="its build says that it requires 'x; nonsense'"):
        built("x; nonsense")
