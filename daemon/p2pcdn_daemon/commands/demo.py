"""`p2pcdn demo`: an index, two nodes and a pip install on each, and a table of where every byte came from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from p2pcdn.sizes import format_size
from p2pcdn_daemon.clients.interpreter import with_pip
from p2pcdn_daemon.commands.control import Control, NodeRefused
from p2pcdn_daemon.commands.demo_index import DemoIndex, make_wheels
from p2pcdn_daemon.commands.status_text import print_table
from p2pcdn_daemon.configuration import places

# Far more than a busy machine needs; what takes longer hangs.
READY_TIME_S_MAX = 30.0
MEETING_TIME_S_MAX = 5.0
INSTALL_TIME_S_MAX = 120.0
STOP_TIME_S_MAX = 10.0
_ASKS_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One of the two nodes: a `p2pcdn serve` of its own with a store of its own."""

    name: str
    index_url: str
    control: Control

    def status(self) -> dict[str, Any]:
        return self.control.get("/v1/status")


def run(*, keep: bool = False) -> int:
    """Shows it and returns the exit code: 0, or 1 where the second node asked the index for a file."""
    directory = Path(tempfile.mkdtemp(prefix="p2pcdn-demo-"))
    began_s = time.monotonic()
    try:
        code = _show(directory)
    except (_Failed, NodeRefused) as error:
        click.echo(f"p2pcdn: {error}", err=True)
        code = 1
    finally:
        if keep:
            print(f"Everything is in {directory}.")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if code == 0:
        print(f"Done in {time.monotonic() - began_s:.0f} s; nothing was changed on this machine.")
    return code


class _Failed(Exception):
    """The demonstration could not go on; the message is the sentence for the user."""


def _show(directory: Path) -> int:
    python = with_pip(None)
    with ExitStack() as stack:
        print("An index with five packages that were made just now; two nodes, A and B, as on two machines.")
        index = stack.enter_context(DemoIndex(make_wheels()))
        first = stack.enter_context(_node("A", directory, ["--upstream", index.url]))
        neighbour = "127.0.0.1:" + first.status()["peer_address"].rpartition(":")[2]
        second = stack.enter_context(_node("B", directory, ["--upstream", index.url, "--peer", neighbour]))
        _meet(second)
        by_first = _install(python, directory, "on A", first, index)
        by_second = _install(python, directory, "on B", second, index)
        print()
        _print_origins(index, by_first, by_second)
        print()
        index.stop()
        print("Now the index is switched off:")
        _install(python, directory, "on B again", second, index)
        print()
        return _verdict(second, index, by_second)


# -- the nodes --------------------------------------------------------------------------------------------------------


@contextmanager
def _node(name: str, directory: Path, arguments: Sequence[str]) -> Iterator[DemoNode]:
    home = directory / name
    home.mkdir()
    socket, log_path = places.store_control_socket(home / "store"), home / "log"
    command = [sys.executable, "-m", "p2pcdn_daemon", "serve", "--port", "0", "--peer-port", "0"]
    command += ["--peer-host", "127.0.0.1", "--no-mdns", "--share", "lan", "--store", str(home / "store")]
    command += ["--control-socket", str(socket), *arguments]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=_environment(), cwd=home)
    try:
        yield DemoNode(name, _ready_url(process, name, log_path), Control(socket))
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIME_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready_url(process: subprocess.Popen[bytes], name: str, log_path: Path) -> str:
    assert process.stdout is not None
    # The node prints this line or ends; both end the waiting.
    word, _, url = process.stdout.readline().decode().strip().partition(" ")
    if word != "ready":
        said = log_path.read_text(errors="replace").strip().splitlines()
        raise _Failed(f"Node {name} did not start: {said[-1] if said else 'it said nothing'}")
    return url


def _meet(node: DemoNode) -> None:
    """Waits until the node has heard from its neighbour."""
    deadline = time.monotonic() + MEETING_TIME_S_MAX
    while time.monotonic() < deadline:
        if any(peer.get("last_seen_s") is not None for peer in node.status()["peers"]):
            return
        time.sleep(_ASKS_EVERY_S)
    raise _Failed(f"Node {node.name} did not meet its neighbour within {MEETING_TIME_S_MAX:.0f} s.")


def _environment() -> dict[str, str]:
    """This machine's environment without what would lead pip or a node elsewhere."""
    elsewhere = ("PIP_", "P2PCDN_", "UV_", "PYTHONHOME", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(elsewhere) and name.lower() not in proxies
    }
    return kept | {
        "P2PCDN_CONFIG": os.devnull,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # The nodes run the code that runs here, installed or not.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


# -- the installs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Install:
    """What one install cost: time, requests for files and their bytes at the index."""

    time_s: float
    requests: Counter[str]
    given_bytes: Counter[str]


def _install(python: str, directory: Path, where: str, node: DemoNode, index: DemoIndex) -> Install:
    requests, given = Counter(index.requests), Counter(index.given_bytes)
    target = directory / f"target {where}"
    command = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-compile", "--target", str(target)]
    command += ["--index-url", node.index_url, "demo-app"]
    environment = _environment()
    # pip is the user's own and must not meet the packages of this environment.
    environment.pop("PYTHONPATH")
    began_s = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_TIME_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"pip install {where} took longer than {INSTALL_TIME_S_MAX:.0f} s.") from error
    time_s = time.monotonic() - began_s
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise _Failed(f"pip install {where} failed: {said[-1] if said else 'it said nothing'}")
    cost = Install(time_s, index.requests - requests, index.given_bytes - given)
    print(f"  pip install demo-app {where}: {time_s:.1f} s, {_from_index(cost)}.")
    return cost


def _from_index(cost: Install) -> str:
    files, given = sum(cost.requests.values()), sum(cost.given_bytes.values())
    return f"{files} requests for files at the index, {format_size(given)}" if files else "no file from the index"


# -- what is shown ----------------------------------------------------------------------------------------------------


def _print_origins(index: DemoIndex, by_first: Install, by_second: Install) -> None:
    # Not wider than 80 columns: one screen is promised.
    rows = [
        [
            name,
            format_size(len(wheel.content)),
            "the index" if by_first.requests[name] else "?",
            "the index" if by_second.requests[name] else "node A",
            str(by_first.requests[name] + by_second.requests[name]),
        ]
        for name, wheel in index.files.items()
    ]
    print_table(("file", "size", "to A from", "to B from", "GETs"), rows)
    print("GETs: how often the index was asked for the file, by both nodes together.")


def _verdict(second: DemoNode, index: DemoIndex, by_second: Install) -> int:
    counts = second.status()["bytes"]
    whole = sum(len(wheel.content) for wheel in index.files.values())
    if by_second.requests or counts["from_upstream"] or counts["from_peers"] < whole:
        names = ", ".join(by_second.requests) or "less than all files"
        click.echo(f"p2pcdn: B asked the index for {names}, though A had every file.", err=True)
        return 1
    print(
        f"B served {format_size(counts['served'])}: {format_size(counts['from_peers'])} came from A, "
        f"{format_size(counts.get('pages_from_upstream', 0))} of project pages from the index, the rest from its store."
    )
    return 0
