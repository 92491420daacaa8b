"""A LAN of real hosts on this machine: network namespaces on a switch, with no way out of it.

Nothing of it has a name outside. A namespace lives as long as the processes in it, these end with their parent, and
links end with their namespaces: so the kernel clears up, also after a `kill -9` of the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

# RFC 5737, TEST-NET-2: nobody's addresses.
NETWORK = "198.51.100"
LAST_HOST = 250
END_TIME_S_MAX = 10.0
# What a token bucket lets through at once: a segment as large as the kernel makes them (64 KiB) must fit.
BURST = "256kb"
# A queue before the bucket, of about a switch's buffer.
QUEUE = "1mb"


class NotAllowed(Exception):
    """Namespaces cannot be had here; the message says why."""


class Host:
    """One host of a LAN: a network namespace with `lo`, and `eth0` at `address` on the switch."""

    def __init__(self, name: str, address: str, holder: subprocess.Popen[bytes], enter: Sequence[str]) -> None:
        self.name = name
        self.address = address
        self._holder = holder
        self._enter = tuple(enter)

    def __repr__(self) -> str:
        return f"Host({self.name}, {self.address})"

    @property
    def pid(self) -> int:
        """Of the process that holds the namespace."""
        return self._holder.pid

    def command(self, *words: str | Path) -> list[str]:
        """The same command on this host. It is killed when the thread that started it ends."""
        return [*self._enter, "setpriv", "--pdeathsig", "KILL", *map(str, words)]

    def ip(self, *lines: str) -> None:
        """Lines of `ip -batch`, run on this host."""
        batch = "\n".join(lines) + "\n"
        done = subprocess.run(
            self.command("ip", "-batch", "-"), input=batch, capture_output=True, text=True, check=False
        )
        if done.returncode:
            why, *_ = done.stderr.splitlines()
            raise NotAllowed(f"ip on {self.name}: {why}")

    def limit_sending(self, bits_per_s: int) -> None:
        """From now on the host's link takes no more than so much from it."""
        words = ["tc", "qdisc", "replace", "dev", "eth0", "root", "tbf"]
        words += ["rate", f"{bits_per_s}bit", "burst", BURST, "limit", QUEUE]
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAllowed(f"tc on {self.name}: {done.stderr.strip()}")

    def end(self) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        try:
            self._holder.wait(END_TIME_S_MAX)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()


class Lan:
    """`with Lan(8) as lan:` until the block ends there are `lan.hosts`, and `lan.outside`, where their routes lead.

    Raises NotAllowed where this user may not make namespaces.
    """

    def __init__(self, hosts: int) -> None:
        assert 1 <= hosts <= LAST_HOST
        self._count = hosts
        self._ends = ExitStack()
        self.hosts: tuple[Host, ...] = ()
        self.outside: Host
        self._switch: Host

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._make(ends)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ends.close()

    def on_switch(self, *words: str | Path) -> list[str]:
        """The same command on the switch, where each host's wire is an interface of the host's name."""
        return self._switch.command(*words)

    def unplug(self, host: Host) -> None:
        """Its wire is out of the switch: nothing comes or goes, and nobody is told."""
        self._switch.ip(f"link set {host.name} down")

    def plug_in(self, host: Host) -> None:
        self._switch.ip(f"link set {host.name} up")

    def _make(self, ends: ExitStack) -> None:
        switch = self._switch = _host("switch", "", ends, None)
        switch.ip("link set lo up", "link add br0 type bridge", "link set br0 up")
        self.outside = self._new_host(switch, "outside", f"{NETWORK}.254", ends)
        self.hosts = tuple(
            self._new_host(switch, f"host{number}", f"{NETWORK}.{number}", ends) for number in range(1, self._count + 1)
        )

    def _new_host(self, switch: Host, name: str, address: str, ends: ExitStack) -> Host:
        host = _host(name, address, ends, switch)
        switch.ip(
            f"link add {name} type veth peer name eth0 netns {host.pid}",
            f"link set {name} master br0",
            f"link set {name} up",
        )
        lines = ["link set lo up", f"address add {address}/24 brd + dev eth0", "link set eth0 up"]
        if name != "outside":
            lines.append(f"route add default via {NETWORK}.254")
        host.ip(*lines)
        return host


@cache
def why_no_lan() -> str | None:
    """Why there are no namespaces here, in one sentence; None where they are."""
    for program in ("ip", "tc", "unshare", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        with Lan(1):
            return None
    except NotAllowed as why:
        return f"network namespaces are not allowed here: {why}"


def _host(name: str, address: str, ends: ExitStack, switch: Host | None) -> Host:
    """A namespace without links, held by a process that ends when its input does."""
    # Who is not root is root in a user namespace of its own; all the network namespaces then belong to the first one.
    user = [] if os.geteuid() == 0 else ["--user"]
    if switch is None:
        within, make = [], [*user, *(["--map-root-user"] if user else [])]
    else:
        within, make = _entering(switch.pid, user, net=False), []
    held = "echo in; exec cat >/dev/null"
    command = [*within, "unshare", *make, "--net", "sh", "-c", held]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    host = Host(name, address, holder, _entering(holder.pid, user, net=True))
    ends.callback(host.end)
    assert holder.stdout is not None
    assert holder.stderr is not None
    if holder.stdout.readline() != b"in\n":
        raise NotAllowed(holder.stderr.read().decode(errors="replace").strip() or "unshare ended without a word")
    return host


def _entering(pid: int, user: Sequence[str], *, net: bool) -> list[str]:
    if not user and not net:
        return []
    keep = ["--preserve-credentials"] if user else []
    return ["nsenter", "--target", str(pid), *user, *keep, *(["--net"] if net else []), "--"]
