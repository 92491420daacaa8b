"""Trees of whole site-packages: there for as long as an environment, or a generation of one, links to them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from p2pcdn.provision.asked import Ready, Told
from p2pcdn.provision.environment import LEASE_TIME_S
from p2pcdn.provision.sites import _forget, _make, _parts_of
from tests.envs.made import MadeWheel
from tests.envs.ready import planned

NOBODY = 65534


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
    site(sites, "used", tmp_path / "one")
    users = sites / "used.users"
    os.utime(users, (0, 0))
    for name in ("one", "other", "one", "other"):
        _make(sites, ready, tmp_path / name, frozenset({"module.py"}))
    assert users.read_text() == f'"{tmp_path}/one"\n"{tmp_path}/other"\n'
    assert users.stat().st_mtime > 0
    os.utime(users, (0, 0))
    _make(sites, ready, tmp_path / "one", frozenset({"module.py"}))
    assert users.stat().st_mtime > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and a user who is not")
def test_a_tree_is_made_anew_though_only_root_can_remove_what_root_put_there() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own are root's alone
        sites, environment = Path(place) / "sites", Path(place) / ".venv"
        plan, (source,) = planned(Path(place) / "trees", MadeWheel({"a/__init__.py": b""}, "a"))
        told = Told("a", "1.0", "", "", "", "", tree=source.tree)
        ready = Ready(plan.encode(), plan.digest(), plan.content(), (told,), ())
        names = _parts_of(ready.plan).names
        tree = _make(sites, ready, environment, names)
        for path in (Path(place), *Path(place).rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        (tree / "stranger-1.0.dist-info").mkdir()
        (tree / "stranger-1.0.dist-info" / "METADATA").write_text("")
        os.seteuid(NOBODY)
        try:
            assert _make(sites, ready, environment, names) == tree
        finally:
            os.seteuid(0)
        assert {one.name for one in tree.iterdir()} == names
        (tree / "stranger.py").write_text("")
        assert _make(sites, ready, environment, names) == tree
        assert sorted(os.listdir(sites)) == [tree.name, f"{tree.name}.users"]  # noqa: PTH208
