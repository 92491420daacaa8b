"""What a project's own name stands for in its requirements: its extras, by every way that leads to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.node.asking import own_extras_put_in
from p2pcdn_shim.zephyr.project.pyproject import Project, read_project


def project(directory: Path, extras: dict[str, list[str]]) -> Project:
    lines = [f"{name} = {texts!r}" for name, texts in extras.items()]
    text = "\n".join(["[project]", "name = 'demo'", "version = '1'", "[project.optional-dependencies]", *lines])
    (directory / "pyproject.toml").write_text(text)
    return read_project(directory / "pyproject.toml")


@pytest.mark.parametrize(
    ("extras", "asked", "found"),
    [
        ({"a": ["x", "demo[b]"], "b": ["y"]}, ["demo[a]", "z"], ["x", "y", "z"]),
        ({"a": ["demo[b] ; m"], "b": ["y", "z ; n"]}, ["demo[a]"], ["y ; m", "z ; (n) and (m)"]),
        ({"a": ["demo[b] ; m"], "b": ["y"]}, ["demo[a] ; l"], ["y ; (l) and (m)"]),
        ({"a": ["demo[b] ; m", "demo[b]"], "b": ["y"]}, ["demo[a]"], ["y ; m", "y"]),
        ({"a": ["x", "demo[b] ; m"], "b": ["y", "demo[a] ; m"]}, ["demo[a]"], ["x", "y ; m"]),
        ({"a": ["x"]}, ["demo"], []),
    ],
)
def test_they_are_put_in_by_every_way(
    tmp_path: Path, extras: dict[str, list[str]], asked: list[str], found: list[str]
) -> None:
    assert own_extras_put_in(project(tmp_path, extras), asked) == found


def test_many_that_name_each_other_are_each_looked_at_once(tmp_path: Path) -> None:
    names = [f"e{number}" for number in range(40)]
    extras = {name: [f"lib-{name}", f"demo[{','.join(names)}]"] for name in names}
    assert own_extras_put_in(project(tmp_path, extras), ["demo[e7]"])[:2] == ["lib-e7", "lib-e0"]
