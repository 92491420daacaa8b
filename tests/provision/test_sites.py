"""Trees of whole site-packages: there for as long as an environment, or a generation of one, links to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pcdn.provision.asked import Ready
from p2pcdn.provision.environment import LEASE_TIME_S
from p2pcdn.provision.sites import _forget, _make


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


@pytest.mark.parametrize("root", [".venv", ".zephyr/.venv/generations/3", ".zephyr/.venv/next-4"])
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


def test_who_uses_a_tree_is_noted_once_and_each_time_anew(tmp_path: Path) -> None:
    """Every sync of such an environment asks for it."""
    sites, ready = tmp_path / "sites", Ready(b"", "used", "", (), ())
    tree = site(sites, "used", tmp_path / "one")
    names, users = frozenset(one.name for one in tree.iterdir()), sites / "used.users"
    os.utime(users, (0, 0))
    for name in ("one", "other", "one", "other"):
        _make(sites, ready, tmp_path / name, names)
    assert users.read_text() == f'"{tmp_path}/one"\n"{tmp_path}/other"\n'
    assert users.stat().st_mtime > 0
    os.utime(users, (0, 0))
    _make(sites, ready, tmp_path / "one", names)
    assert users.stat().st_mtime > 0
