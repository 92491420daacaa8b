"""Trees of whole site-packages: there for as long as an environment, or a generation of one, links to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pcdn.provision.environment import LEASE_TIME_S
from p2pcdn.provision.sites import _forget


def site(directory: Path, name: str, *users: Path) -> Path:
    tree = directory / name
    tree.mkdir(parents=True)
    (tree / "module.py").write_text("")
    tree.chmod(0o555)
    (directory / f"{name}.users").write_text("".join(f'"{user}"\n' for user in users))
    return tree


def link(root: Path, tree: Path) -> None:
    packages = root / "lib" / "python3.12" / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(tree)


@pytest.mark.parametrize("root", [".venv", ".zephyr/.venv/generations/3"])
def test_a_tree_stays_while_somebody_links_to_it(tmp_path: Path, root: str) -> None:
    sites, project = tmp_path / "sites", tmp_path / "project"
    used, unused = site(sites, "used", project / ".venv"), site(sites, "unused", project / ".venv", tmp_path / "gone")
    link(project / root, used)
    now_s = (sites / "used.users").stat().st_mtime
    _forget(sites, now_s)
    assert unused.is_dir(), "somebody asked for it just now"
    _forget(sites, now_s + LEASE_TIME_S + 1)
    assert used.is_dir()
    assert sorted(os.listdir(sites)) == ["used", "used.users"]  # noqa: PTH208
