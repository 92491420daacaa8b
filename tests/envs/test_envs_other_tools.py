"""Real tools: their locks are read, ours are installed by them, and what we installed they see and uninstall."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags

from p2pcdn.envs.model import Lock, LockedFile, LockedPackage, Target
from p2pcdn.envs.pylock import read_lock
from p2pcdn.envs.pylock_text import write_lock
from p2pcdn.envs.selection import select
from tests.bench.clients import NoTool, Tool, Workplace, tool
from tests.bench.upstream import JSON_TYPE, FaultyUpstream
from tests.bench.wheels import make_sdist, make_wheel
from tests.envs.made import MadeWheel, files_below
from tests.envs.ready import open_environment, planned

pytestmark = pytest.mark.upstream
REQUIRES = ("Beta.Lib>=1; python_version >= '3.8'", "gamma; sys_platform == 'nowhere'")
HERE = Target({name: str(value) for name, value in default_environment().items()}, tuple(map(str, sys_tags())))


@pytest.fixture(scope="module")
def index() -> Iterator[FaultyUpstream]:
    files = [
        make_wheel("alpha", requires=REQUIRES),
        make_wheel("Beta.Lib"),
        make_wheel("gamma"),
        make_sdist("Beta.Lib"),
    ]
    with FaultyUpstream(files) as upstream:
        yield upstream


def tool_or_skip(name: str) -> Tool:
    try:
        return tool(name)
    except NoTool as why:
        pytest.skip(str(why))


def lock_of(name: str, user: Workplace, index: FaultyUpstream) -> bytes:
    """What the tool locks for a project that wants alpha."""
    command = tool_or_skip(name).command
    (user.directory / "wanted.in").write_text("alpha\n")
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["alpha"]\n'
    source = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{index.url}"\nverify_ssl = false\n'
    (user.directory / "pyproject.toml").write_text(project + source)
    commands: dict[str, list[list[str | Path]]] = {
        "uv": [[command, "pip", "compile", "-q", "--default-index", index.url, "wanted.in", "-o", "pylock.toml"]],
        "pip-new": [[command, "lock", "-q", "--index-url", index.url, "-r", "wanted.in", "-o", "pylock.toml"]],
        "pdm": [
            [command, "config", "--local", "lock.format", "pylock"],
            [command, "lock", "-q"],
        ],
    }
    for one in commands[name]:
        done = user.run(*one)
        if done.returncode:
            pytest.fail(f"{name}: {done.stderr[-600:]}")
    return (user.directory / "pylock.toml").read_bytes()


@pytest.mark.parametrize("name", ["uv", "pip-new", "pdm"])
def test_a_lock_of_another_tool_is_read_and_selected_from(tmp_path: Path, index: FaultyUpstream, name: str) -> None:
    lock = read_lock(lock_of(name, Workplace(tmp_path), index), "pylock.toml")
    chosen = {one.package.name: one for one in select(lock, HERE)}
    assert set(chosen) == {"alpha", "beta-lib"}
    assert {one.kind for one in chosen.values()} == {"wheel"}
    file = chosen["alpha"].file
    assert file is not None
    assert file.hashes["sha256"] == make_wheel("alpha", requires=REQUIRES).sha256
    # And it goes through our own writer without a loss.
    again = read_lock(write_lock(lock), "pylock.toml")
    assert sorted(again.packages, key=repr) == sorted(map(_as_written, lock.packages), key=repr)


def _as_written(package: LockedPackage) -> LockedPackage:
    """Our writer sorts what has no order."""
    wheels = tuple(sorted(package.wheels, key=lambda one: (one.name, one.place)))
    return replace(package, wheels=wheels, dependencies=tuple(sorted(package.dependencies, key=str)))


def our_lock(index: FaultyUpstream) -> Lock:
    packages = []
    for name in ("alpha", "beta-lib"):
        asked = urllib.request.Request(f"{index.url}{name}/", headers={"Accept": JSON_TYPE})
        with urllib.request.urlopen(asked) as answer:
            files = json.loads(answer.read())["files"]
        locked = [LockedFile(one["filename"], one["hashes"], url=one["url"], size_bytes=one["size"]) for one in files]
        wheels = tuple(one for one in locked if one.name.endswith(".whl"))
        packages.append(LockedPackage(name, "1.0", index=index.url, wheels=wheels))
    return Lock("zephyr", tuple(packages), requires_python=">=3.8", tool={"zephyr": {"inputs": "0"}})


@pytest.mark.parametrize("name", ["uv", "pip-new"])
def test_our_lock_is_installed_by_other_tools(tmp_path: Path, index: FaultyUpstream, name: str) -> None:
    user = Workplace(tmp_path)
    (user.directory / "pylock.toml").write_bytes(write_lock(our_lock(index)))
    command = tool_or_skip(name).command
    commands: dict[str, list[str | Path]] = {
        "uv": [command, "pip", "sync", "-q", "--preview", "--no-cache", "--python", user.python, "pylock.toml"],
        "pip-new": [command, "--python", user.python, "install", "-q", "--no-cache-dir", "-r", "pylock.toml"],
    }
    done = user.run(*commands[name])
    assert done.returncode == 0, done.stderr
    installed = user.installed()
    assert {"alpha": installed.get("alpha"), "beta-lib": installed.get("beta-lib")} == {
        "alpha": "1.0",
        "beta-lib": "1.0",
    }


@pytest.mark.parametrize("name", ["uv", "pip-new"])
def test_what_we_installed_others_see_and_uninstall_without_a_rest(tmp_path: Path, name: str) -> None:
    made = MadeWheel(
        {
            "demo/__init__.py": b"def main(): pass\n",
            "demo-1.0.data/data/share/demo/text": b"x",
            "demo-1.0.data/scripts/old": b"#!python\n",
        },
        entry_points="[console_scripts]\ndemo = demo:main\n",
    )
    user = Workplace(tmp_path)
    root = user.environment
    before = set(files_below(root))
    plan, sources = planned(tmp_path / "trees", made)
    with open_environment(root) as environment:
        environment.sync(plan, sources, python=str(user.python))
    assert user.installed() == {"demo": "1.0"}
    command = tool_or_skip(name).command
    commands: dict[str, list[str | Path]] = {
        "uv": [command, "pip", "uninstall", "-q", "--no-cache", "--python", user.python, "demo"],
        "pip-new": [command, "--python", user.python, "uninstall", "-q", "-y", "demo"],
    }
    done = user.run(*commands[name])
    assert done.returncode == 0, done.stderr
    # uv leaves a lock of its own in an environment.
    assert {path for path in files_below(root) if not path.startswith((".zephyr/", ".lock"))} == before
    with open_environment(root) as environment:
        environment.sync(plan, sources, python=str(user.python))
    assert user.installed() == {"demo": "1.0"}
