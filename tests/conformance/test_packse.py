"""The harness of the scenarios: uv's locks as they are read, and scenarios of our own through a real locker."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from p2pcdn.lock.targets import PLATFORMS, Cell
from tests.conformance.fetch import kept, manifest
from tests.conformance.packse import read_all, universal_fault
from tests.conformance.scenario import Scenario
from tests.conformance.uv_lock import installed, locks_of

LINUX, MAC = Cell(PLATFORMS[0], 12), Cell(PLATFORMS[2], 12)
LOCK = """
        version = 1
        resolution-markers = ["sys_platform == 'darwin'", "sys_platform == 'linux'"]
        [[package]]
        name = "a"
        version = "1"
        resolution-markers = ["sys_platform == 'darwin'"]
        [[package]]
        name = "a"
        version = "2"
        resolution-markers = ["sys_platform == 'linux'"]
        dependencies = [{ name = "b", marker = "os_name == 'nt'" }, { name = "c", extra = ["x"] }]
        [[package]]
        name = "b"
        version = "1"
        [[package]]
        name = "c"
        version = "1"
        [package.optional-dependencies]
        x = [{ name = "d" }]
        [[package]]
        name = "d"
        version = "1"
        [[package]]
        name = "project"
        version = "0.1.0"
        dependencies = [
            { name = "a", version = "1", marker = "sys_platform == 'darwin'" },
            { name = "a", version = "2", marker = "sys_platform == 'linux'" },
        ]
"""
RUST = f"""
#[test]
fn first() {{
    let server = PackseServer::new("fork/first-one.toml");
    assert_snapshot!(
            lock, @r#"{LOCK}"#
    );
}}
#[test]
fn second() {{
    let server = PackseServer::new(
        "fork/second-one.toml",
    );
}}
"""


def test_what_a_lock_of_uv_installs_is_found_by_a_walk() -> None:
    locks = locks_of(RUST)
    assert locks.keys() == {"first-one", "second-one"}
    assert locks["second-one"] is None
    lock = locks["first-one"]
    assert lock is not None
    assert installed(lock, LINUX.environment) == {"a": "2", "c": "1", "d": "1"}
    assert installed(lock, MAC.environment) == {"a": "1"}


OURS = {
    "a fork that must be": (
        """
        [root]
        requires = ["a", "b<2; sys_platform == 'darwin'"]
        [expected]
        satisfiable = true
        packages = {a = "2", b = "2"}
        [environment]
        python = "3.12"
        [packages.a.versions.1]
        [packages.a.versions.2]
        requires = ["b>=2; sys_platform != 'darwin'"]
        [packages.b.versions.1]
        [packages.b.versions.2]
        """,
        "Python 3.12 on macOS ARM64: a 2 b 1, not a 2 b 2",
    ),
    "no fork that could": (
        """
        [root]
        requires = ["a==1", "b; sys_platform == 'win32'"]
        [expected]
        satisfiable = false
        [packages.a.versions.1]
        [packages.a.versions.2]
        [packages.b.versions."1+local"]
        requires = ["a>1"]
        """,
        "",
    ),
    "the lowest of what is direct, and only there": (
        """
        [root]
        requires = ["a", "b>=2; python_version >= '3.13'"]
        [resolver_options]
        resolution = "lowest-direct"
        [expected]
        satisfiable = true
        packages = {a = "1", b = "3"}
        [environment]
        python = "3.12"
        [packages.a.versions.1]
        requires = ["b"]
        [packages.b.versions.1]
        [packages.b.versions.2]
        [packages.b.versions.3]
        """,
        "",
    ),
}


@pytest.mark.parametrize("name", OURS)
async def test_a_lock_is_compared_environment_by_environment(tmp_path: Path, name: str) -> None:
    text, fault = OURS[name]
    assert await universal_fault(Scenario(name, tomllib.loads(text)), None, tmp_path) == fault


def test_the_manifest_names_scenarios_that_there_are() -> None:
    rules = manifest()
    directory = kept() / rules["source"]["scenarios"]
    if not directory.exists():
        pytest.skip("the scenarios are not here: python -m tests.conformance.fetch")
    names = {one.file_name for one in read_all(directory)}
    assert len(names) == rules["source"]["count"]
    assert names >= rules["out"].keys() | rules["as-pip"].keys()
