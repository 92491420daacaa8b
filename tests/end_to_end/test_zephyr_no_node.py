"""`--no-node` promises what a node does: all or nothing, verified, retried where a network fails half-way, and told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import Cut, FaultyUpstream, ShortBody, Style, WrongBytes
from tests.bench.wheels import make_wheel
from tests.end_to_end.conftest import StartUpstream

BIG = make_wheel("demo-big", size_bytes=400_000)
LIB = make_wheel("demo-lib")
ROOT = Path(__file__).parent.parent.parent


class Alone:
    """A user without a node, his project, and his zephyr."""

    def __init__(self, directory: Path, index: FaultyUpstream) -> None:
        self.directory = directory / "project"
        self.directory.mkdir()
        self._home = directory / "home"
        self._home.mkdir()
        self.write(index)

    def write(self, index: FaultyUpstream, *dependencies: str) -> None:
        (self.directory / "pyproject.toml").write_text(
            '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.10"\n'
            f"dependencies = {json.dumps(list(dependencies))}\n"
            f'[tool.zephyr]\nindex-url = "{index.url}"\nno-node = true\n'
        )

    def zephyr(self, *words: str, code: int = 0, **more: str) -> str:
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "UV_", "P2PCDN_", "XDG_"))
        }
        paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "daemon", ROOT / "shim"))
        own = {
            "HOME": str(self._home),
            "PYTHONPATH": paths,
            "P2PCDN_STORE": str(self._home / "store"),
            "P2PCDN_NO_MDNS": "1",
            "ZEPHYR_PYTHON": sys.executable,
        }
        command = [sys.executable, "-m", "p2pcdn_shim.zephyr", *words]
        environment = kept | own | more
        done = subprocess.run(command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def installed(self) -> set[str]:
        return {path.name.partition("-")[0] for path in self.directory.glob(".venv/lib/*/site-packages/*.dist-info")}


@pytest.fixture
def index(start_upstream: StartUpstream) -> FaultyUpstream:
    return start_upstream([BIG, LIB], Style(other_host=False))


@pytest.fixture
def alone(tmp_path: Path, index: FaultyUpstream) -> Alone:
    return Alone(tmp_path, index)


def test_a_network_that_fails_half_way_is_asked_again_from_where_it_stopped(
    alone: Alone, index: FaultyUpstream
) -> None:
    index.fault(f"*{BIG.filename}", Cut(at_bytes=150_000, reset=True), times=2)
    alone.write(index, "demo-big", "demo-lib")
    alone.zephyr("sync")
    assert alone.installed() == {"demo_big", "demo_lib"}
    assert sum(seen.body_bytes for seen in index.file_gets(f"*{BIG.filename}")) < 2 * len(BIG.content)
    assert f"upstream {index.file_host}" in alone.zephyr("history", "-v")


def test_corrupted_and_short_downloads_are_told_and_change_nothing(alone: Alone, index: FaultyUpstream) -> None:
    alone.write(index, "demo-lib")
    alone.zephyr("sync")
    alone.write(index, "demo-big")
    for fault in (WrongBytes(), ShortBody(size_bytes=1000)):
        index.heal()
        index.fault(f"*{BIG.filename}", fault)
        told = alone.zephyr("sync", code=1)
        assert BIG.filename in told
        assert alone.installed() == {"demo_lib"}


def test_what_another_store_has_compiled_meanwhile_makes_no_new_generation(
    alone: Alone, index: FaultyUpstream, tmp_path: Path
) -> None:
    alone.write(index, "demo-lib")
    with RunningNode(tmp_path / "node", upstreams=[index]) as node:
        asks_node = {"P2PCDN_CONTROL_SOCKET": str(node.control_socket), "ZEPHYR_NO_NODE": "false"}
        alone.zephyr("sync", "--compile-bytecode", **asks_node)
        first = alone.zephyr("history")
        assert "already" in alone.zephyr("sync", ZEPHYR_NO_NODE="true")  # whose store has no byte code
        assert "already" in alone.zephyr("sync", **asks_node)
        assert alone.zephyr("history") == first


def test_the_ports_and_the_store_of_the_node_that_runs_are_left_to_it(
    alone: Alone, index: FaultyUpstream, tmp_path: Path
) -> None:
    alone.write(index, "demo-lib")
    with RunningNode(tmp_path / "node", upstreams=[index]) as node:
        ports = {"P2PCDN_PORT": str(node.address[1]), "P2PCDN_PEER_PORT": node.peer_address.rpartition(":")[2]}
        alone.zephyr("sync", P2PCDN_STORE=str(node.store), **ports)
    assert alone.installed() == {"demo_lib"}


def test_packages_are_no_link_into_a_store_that_goes_with_the_command(
    alone: Alone, index: FaultyUpstream, tmp_path: Path
) -> None:
    alone.write(index, "demo-lib")
    with RunningNode(tmp_path / "node", upstreams=[index]) as node:
        told = alone.zephyr("sync", "--link-mode", "env", code=1, P2PCDN_STORE=str(node.store))
        assert "--link-mode env makes the packages a link" in told
        assert not alone.installed()
    alone.zephyr("sync", "--link-mode", "env", P2PCDN_STORE=str(node.store))
    assert alone.installed() == {"demo_lib"}
