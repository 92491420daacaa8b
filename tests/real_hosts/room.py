"""A room full of nodes and of users with pip, all on hosts of their own."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.clients import NoTool, Tool, Workplace, tool
from tests.bench.patience import until
from tests.real_hosts.lan import Host, Lan
from tests.real_hosts.node import HostNode
from tests.real_hosts.upstream import RemoteUpstream

# Two seconds is the goal, which benchmarks/discovery.py measures; busy cores and a chain of names get patience.
MEET_TIME_S_MAX = 60.0
CROWD_TIME_S_MAX = 240.0


class User:
    """pip on a host, asking an index; what it downloads stays in `downloads` until it was looked at."""

    def __init__(self, host: Host, index_url: str, directory: Path, pip: Tool) -> None:
        self.host = host
        self.seconds = 0.0
        self.said = ""
        self.downloads = directory / "downloads"
        self._place = Workplace(directory / "place")
        self._scratch = directory / "scratch"
        self._scratch.mkdir()
        self._pip = pip
        self._index_url = index_url
        self._began_s = 0.0
        self._is_over = False
        self._process: subprocess.Popen[str]

    def start(self, *requirements: str) -> None:
        """`pip download`, in this very thread: it is killed when that ends."""
        words: list[str | Path] = ["--dest", self.downloads, "--progress-bar", "off", *requirements]
        command = self._place.pip_command(self._pip, self._index_url, *words, verb="download")
        self._began_s = time.monotonic()
        self._process = self._place.start(*self.host.command(*command), settings={"TMPDIR": str(self._scratch)})

    def is_done(self) -> bool:
        """Sees its end, and when that was."""
        if self._is_over:
            return True
        if self._process.poll() is not None:
            self._over()
        return self._is_over

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def hashes(self) -> dict[str, str]:
        """The sha256 of each file that it got."""
        return {path.name: _sha256(path) for path in sorted(self.downloads.iterdir())}

    def end(self) -> None:
        """Also gives the memory back."""
        if not self._is_over:
            self._process.kill()
            self._over()
        for directory in (self.downloads, self._scratch):
            shutil.rmtree(directory, ignore_errors=True)

    def _over(self) -> None:
        self._is_over = True
        self.seconds = time.monotonic() - self._began_s
        self.said = self._process.communicate()[0]


class Room:
    """`with Room(lan, upstream, directory) as room:` what was started in it ends with the block, its files too."""

    def __init__(self, lan: Lan, upstream: RemoteUpstream, directory: Path) -> None:
        self.lan = lan
        self.upstream = upstream
        self._directory = Path(tempfile.mkdtemp(dir=directory))
        self._ends = ExitStack()
        self._ends.callback(shutil.rmtree, self._directory, ignore_errors=True)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ends.__exit__(kind, error, None)

    def start(self, *nodes: HostNode) -> list[HostNode]:
        """All at the same moment; returns when all are ready."""
        for node in nodes:
            self._ends.push(node)
            node.launch()
        for node in nodes:
            node.wait_ready()
        return list(nodes)

    def node(self, host: Host, **settings: object) -> HostNode:
        """One to be started: `HostNode`'s settings."""
        return HostNode(host, self.new_directory(host.name), self.upstream, **settings)  # type: ignore[arg-type]

    def nodes(self, count: int | None = None, **settings: object) -> list[HostNode]:
        """One on each host, started and alike."""
        return self.start(*(self.node(host, **settings) for host in self.lan.hosts[:count]))

    def meet(self, nodes: Sequence[HostNode]) -> float:
        """Waits until each sees all the others; returns the seconds from now."""
        began_s = time.monotonic()
        hosts = {node.host.address for node in nodes}
        for node in nodes:
            others = hosts - {node.host.address}
            until(lambda node=node, others=others: others <= node.living(), f"{node.host} sees all", MEET_TIME_S_MAX)  # type: ignore[misc]
        return time.monotonic() - began_s

    def users(self, nodes: Sequence[HostNode], *requirements: str) -> list[User]:
        """A user at each node, all downloading the same from the same moment on."""
        pip = newest_pip()
        users = [
            User(node.host, node.users_index_url, self.new_directory(f"user-{node.host.name}"), pip) for node in nodes
        ]
        for user in users:
            user.start(*requirements)
            self._ends.callback(user.end)
        return users

    def new_directory(self, name: str) -> Path:
        directory = self._directory / f"{next(self._numbers)}-{name}"
        directory.mkdir()
        return directory


def wait_for(users: Sequence[User]) -> None:
    """Until all are done, each with exit code 0."""
    # Each is looked at, so that the moment of its end is seen.
    until(lambda: sum(user.is_done() for user in users) == len(users), "everybody is done", CROWD_TIME_S_MAX)
    failed = {user.host.name: user.said for user in users if user.exit_code}
    assert not failed, "\n".join(f"{name}: {said}" for name, said in failed.items())


def newest_pip() -> Tool:
    """Where there is no index to take it from, the one that came with Python."""
    try:
        return tool("pip-new")
    except NoTool:
        return tool("pip-bundled")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
