"""`p2pcdn pip`: the user's own pip, with its index set to the node and nothing else changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcdn_shim.pip import pip_command
from tests.bench.node import RunningNode
from tests.bench.wheels import make_wheel
from tests.daemon.nodes import assert_one_sentence
from tests.daemon.nodes import environment as daemon_environment

COMMAND = (sys.executable, "-c", "from p2pcdn_daemon.cli import main; main()")
# It says how it was called, and ends as it is told.
FAKE_PIP = """#!/bin/sh
echo "index=$PIP_INDEX_URL extra=$PIP_EXTRA_INDEX_URL"
for word in "$@"; do echo "<$word>"; done
cat
exit 23
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    directory = tmp_path_factory.mktemp("node")
    wheels = directory / "wheels"
    wheels.mkdir()
    wheel = make_wheel("tiny")
    (wheels / wheel.filename).write_bytes(wheel.content)
    with RunningNode(directory, upstreams=[str(wheels)]) as running:
        yield running


def environment(home: Path, node: RunningNode | None = None, **more: str) -> dict[str, str]:
    own = daemon_environment(home, **more)
    own["PYTHONPATH"] += f"{os.pathsep}{Path(__file__).parents[2] / 'shim'}"
    if node is not None:
        own["P2PCDN_CONTROL_SOCKET"] = str(node.control_socket)
    return own


def fake_pip(directory: Path) -> Path:
    directory.mkdir()
    (directory / "pip").write_text(FAKE_PIP)
    (directory / "pip").chmod(0o755)
    return directory


def test_pip_gets_its_index_and_else_what_was_typed(node: RunningNode, tmp_path: Path) -> None:
    path = f"{fake_pip(tmp_path / 'bin')}:/usr/bin:/bin"
    run = subprocess.run(
        [*COMMAND, "pip", "--help", "install", "-v", "--", "a b", "", "--index-url=x"],
        env=environment(tmp_path, node, PATH=path, PIP_EXTRA_INDEX_URL="https://e.example/"),
        input="typed", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 23
    assert run.stdout.splitlines() == [
        f"index={node.index_url} extra=https://e.example/", "<--help>", "<install>", "<-v>", "<-->", "<a b>", "<>",
        "<--index-url=x>", "typed",
    ]  # fmt: skip
    assert run.stderr == ""


def test_a_module_in_the_current_directory_is_not_taken_for_ours(node: RunningNode, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not me')")
    (tmp_path / "p2pcdn_shim").mkdir()
    path = f"{fake_pip(tmp_path / 'bin')}:/usr/bin:/bin"
    run = subprocess.run(
        [sys.executable, "-P", *COMMAND[1:], "pip", "list"],
        cwd=tmp_path, env=environment(tmp_path, node, PATH=path), input="",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 23, run.stderr


def test_the_real_pip_installs_through_the_node(node: RunningNode, tmp_path: Path) -> None:
    served = node.status()["bytes"]["served"]
    run = subprocess.run(
        [*COMMAND, "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "t"), "tiny"],
        env=environment(tmp_path, node, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "t").glob("tiny-*.dist-info"))
    assert node.status()["bytes"]["served"] > served


def test_without_a_node_pip_is_not_run(tmp_path: Path) -> None:
    path = f"{fake_pip(tmp_path / 'bin')}:/usr/bin:/bin"
    run = subprocess.run(
        [*COMMAND, "pip", "install", "x"],
        env=environment(tmp_path, PATH=path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert_one_sentence(run)
    assert "No node runs on" in run.stderr


def test_the_pip_is_the_one_that_the_user_would_get(tmp_path: Path) -> None:
    for name in ("pip", "pip3", "python3", "python"):
        file = tmp_path / name
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    environ = {"PATH": str(tmp_path)}
    found = []
    for name in ("pip", "pip3", "python3", "python"):
        found.append(pip_command(environ))
        (tmp_path / name).unlink()
    assert found == [
        [f"{tmp_path}/pip"], [f"{tmp_path}/pip3"], [f"{tmp_path}/python3", "-m", "pip"],
        [f"{tmp_path}/python", "-m", "pip"],
    ]  # fmt: skip
    assert pip_command(environ) is None
