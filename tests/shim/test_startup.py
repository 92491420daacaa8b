"""What zephyr must not load before it works: each module here is time that every call of a command takes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shim.zephyr import environment, zephyr

ZEPHYR = Path(__file__).parent.parent.parent / "shim" / "p2pcdn_shim" / "zephyr"
# Packages of which one needs only the name: they hold a sentence, and cost what a look into one more directory costs.
ROOMS = frozenset(
    f"p2pcdn_shim.zephyr.{room}"
    for room in ("command_line", "configuration", "environment", "interpreters", "lock", "machine", "node", "project",
                 "running", "terminal")
)  # fmt: skip

# Each takes more than all of our own modules: third parties, and the heavy ones of the standard library.
HEAVY = frozenset(
    {
        "asyncio", "click", "concurrent", "cryptography", "ctypes", "dataclasses", "email", "http", "httpx",
        "importlib.metadata", "inspect", "lmdb", "logging", "multiprocessing", "p2pcdn.node", "p2pcdn_daemon",
        "packaging", "platformdirs", "random", "rich", "shutil", "socket", "ssl", "subprocess", "tempfile", "threading",
        "tomlkit", "tomllib", "trio", "typing", "unittest",
    }
)  # fmt: skip
# Whatever a module is called, so many of them are too many. A bare interpreter has some 30 to 50.
OWN_MODULES_MAX = {"--version": 7, "venv": 24}


def loaded(words: list[str], home: Path) -> set[str]:
    """The modules that a command loads beside those of a bare interpreter (without site, whose hooks are not ours)."""
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        "try:\n from p2pcdn_shim.zephyr.cli import main\n main(sys.argv[1:])\n"
        "finally:\n print('\\n' + ' '.join(set(sys.modules) - before), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code, *words],
        env=environment(home, ZEPHYR_DEBUG="1"), cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--version"], ["venv", "create", "x"], ["venv", "list"], ["config"]])
def test_a_command_of_the_hot_path_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    zephyr("venv", "create", "asked", home=tmp_path)  # the interpreter is asked once, by a process of its own
    modules = loaded(words, tmp_path)
    assert "p2pcdn_shim.zephyr.cli" in modules
    assert not {module for module in modules if module in HEAVY or module.split(".")[0] in HEAVY}


def test_version_loads_next_to_nothing(tmp_path: Path) -> None:
    modules = loaded(["--version"], tmp_path)
    assert len({module for module in modules if module.startswith("p2pcdn")}) <= OWN_MODULES_MAX["--version"]
    assert not modules & {"argparse", "re", "pathlib", "json"}


def test_a_new_environment_costs_few_modules(tmp_path: Path) -> None:
    zephyr("venv", "create", "a", home=tmp_path)
    modules = loaded(["venv", "create", "b", "-q"], tmp_path)
    own = sorted(module for module in modules - ROOMS if module.startswith("p2pcdn"))
    assert len(own) <= OWN_MODULES_MAX["venv"], own


def test_a_room_loads_nothing_by_itself() -> None:
    for room in ROOMS:
        tree = ast.parse((ZEPHYR / room.rpartition(".")[2] / "__init__.py").read_text(encoding="utf-8"))
        assert [type(one) for one in tree.body] == [ast.Expr], f"{room} holds more than a sentence"


def test_run_replaces_the_process_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    zephyr("venv", "create", "a", home=tmp_path)
    code = (
        "import os, sys, json\n"
        "def show(*_): print(json.dumps(sorted(sys.modules))); sys.stdout.flush(); os._exit(0)\n"
        "os.execvpe = show\n"
        "from p2pcdn_shim.zephyr.cli import main\nmain(['run', '--venv', 'a', '--', 'true'])"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = json.loads(run.stdout)
    assert "p2pcdn_shim.zephyr.commands.run" in modules
    assert not {module for module in modules if module in HEAVY or module.split(".")[0] in HEAVY}


def test_the_package_itself_is_empty() -> None:
    for package in ("p2pcdn_shim", "p2pcdn_shim.zephyr"):
        code = f"import sys\nbefore = set(sys.modules)\nimport {package}\nprint(set(sys.modules) - before)"
        run = subprocess.run(
            [sys.executable, "-S", "-c", code],
            env=environment(Path("/nonexistent")), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert set(eval(run.stdout)) <= {"p2pcdn_shim", package}


def test_who_looks_for_the_node_loads_no_more_than_a_socket_needs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code = (
        "import json, socket, sys\n"
        "listener = socket.socket(socket.AF_UNIX); listener.bind('run/control.sock'); listener.listen()\n"
        "before = set(sys.modules)\n"
        "from p2pcdn_shim.client import find\nfind({'RUNTIME_DIRECTORY': 'run'})\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(json.loads(run.stdout))
    assert "p2pcdn_daemon.configuration.places" in modules
    assert not modules & ((HEAVY - {"p2pcdn_daemon"}) | {"hashlib", "p2pcdn_daemon.configuration.config"})


def test_a_sync_asks_its_node_before_it_loads_what_links() -> None:
    own = [
        "zephyr.cli",
        "zephyr.settled",
        "zephyr.command_line.plain_flags",
        "zephyr.commands.sync",
        "zephyr.node.reaching",
        "client",
    ]
    code = (
        "import json, sys\nbefore = set(sys.modules)\n"
        f"import {', '.join(f'p2pcdn_shim.{name}' for name in own)}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment(Path("/nonexistent")), capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(json.loads(run.stdout))
    later = {"argparse", "hashlib", "selectors", "p2pcdn.envs.install", "p2pcdn.envs.generations", "p2pcdn.lock"}
    assert not modules & (HEAVY | later)
