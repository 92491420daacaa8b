"""Tries a sandbox before it is trusted: a program inside that reaches for what was laid out for it outside."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox.plan import SCRATCH
from p2pcdn.sandbox.run import Layers, Outcome, how_it_ended, run
from p2pcdn.sandbox.spec import Spec
from p2pcdn.sandbox.syscalls import number
from p2pcdn.world import Processes

# All of them take 0.1 s.
PROBES_WALL_S = 20.0

_PROGRAM = Path(__file__).with_name("probe_program.py")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_NEWUSER = 0x10000000
# With arguments that do no harm where a call is not denied.
_CALLS: dict[str, tuple[int, ...]] = {
    "unshare": (_NEWUSER,),
    "setns": (-1, 0),
    "mount": (0, 0, 0, 0, 0),
    "open_tree": (-1, 0, 0),
    "fsopen": (0, 0),
    "mount_setattr": (-1, 0, 0, 0, 0),
    "statmount": (0, 0, 0, 0),
    "ptrace": (16, 1, 0, 0),
    "process_vm_readv": (0, 0, 0, 0, 0, 0),
    "kcmp": (0, 0, 0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "add_key": (0, 0, 0, 0, 0),
    "keyctl": (0, -3, 0),
    "request_key": (0, 0, 0, 0),
    "bpf": (0, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "userfaultfd": (0,),
    "io_uring_setup": (0, 0),
    "open_by_handle_at": (-1, 0, 0),
    "personality": (0xFFFFFFFF,),
    "shmget": (0, 0, 0),
    "clone3": (0, 0),
}


@dataclass(frozen=True, slots=True)
class Bait:
    """What lies outside, for the program to reach for: a file, listeners, and our own namespaces by number."""

    secret: Path
    socket: Path
    abstract: str
    port: int
    namespaces: Mapping[str, int]


async def check(processes: Processes, spec: Spec, python: str, place: Path) -> Layers:
    """Runs the probes in a sandbox like the given one. python: an interpreter inside, 3.8 or newer.

    place: a directory outside in which the bait is laid out for the moment. Raises SandboxUnusable, which names each
    probe that got out, and where the probes could not be run.
    """
    async with bait(place) as laid:
        trial = replace(spec, limits=replace(spec.limits, wall_s=PROBES_WALL_S), directory=SCRATCH)
        asked = json.dumps(questions(spec, python, laid)).encode()
        outcome = await run(processes, trial, [python, "-I", "-S", "-c", program()], asked)
    holes = reached(outcome)
    if holes:
        told = "; ".join(f"it {name} ({what})" for name, what in sorted(holes.items()))
        raise SandboxUnusable(
            f"The sandbox of this machine has a hole: a probe got out. As seen, {told}. Nothing was run."
        )
    assert outcome.layers is not None
    return outcome.layers


def program() -> str:
    """The text of the program; longer than a command line may be, it would not start."""
    return _PROGRAM.read_text("utf-8")


def questions(spec: Spec, python: str, laid: Bait, *, scratch: str = SCRATCH, linger: bool = True) -> dict[str, object]:
    """What the program is told. linger: whether it leaves a process behind that somebody must end."""
    machine = os.uname().machine
    numbers = {name: (number(name, machine), arguments) for name, arguments in _CALLS.items()}
    return {
        "secret": str(laid.secret),
        "socket": str(laid.socket),
        "abstract": laid.abstract,
        "port": laid.port,
        "namespaces": dict(laid.namespaces),
        "python": python,
        "scratch": scratch,
        "read_only": [str(bind.place) for bind in spec.binds if not bind.writable and bind.source.is_dir()],
        "environment": sorted(spec.environment),
        "calls": numbers,
        "processes": spec.limits.processes,
        "address_space_bytes": spec.limits.address_space_bytes,
        "scratch_bytes": spec.limits.scratch_bytes,
        "file_bytes": spec.limits.file_bytes,
        "linger": linger,
    }


def reached(outcome: Outcome) -> dict[str, str]:
    """What each probe that got out had in its hands. Raises SandboxUnusable where the probes did not run."""
    try:
        answer = json.loads(outcome.stdout)
        assert answer["tried"] > 0
        found: dict[str, str] = answer["reached"]
    except (ValueError, TypeError, KeyError) as error:
        words = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
        how = how_it_ended(outcome, Spec().limits)
        raise SandboxUnusable(
            f"The sandbox could not be tried: the program with the probes {how}. {words[-1] if words else ''}"
        ) from error
    if outcome.broke == "left_running":
        return {**found, "outlives the sandbox": "a process that it started"}
    return found


@asynccontextmanager
async def bait(place: Path) -> AsyncIterator[Bait]:
    """Lays out a file and listens, for as long as the block lasts."""
    directory = _lay_out(place)
    try:
        (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        abstract = f"p2pcdn-probe-{secrets.token_hex(8)}"
        async with _listening("\0" + abstract), _listening("socket", directory):
            with tcp.socket:
                port: int = tcp.socket.getsockname()[1]
                yield Bait(directory / "secret", directory / "socket", abstract, port, _our_namespaces())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _lay_out(place: Path) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="probe-", dir=place))
    # Whoever gets out of the sandbox must not be stopped by the permissions of the bait.
    directory.chmod(0o777)
    (directory / "secret").write_text("nobody inside may read this\n")
    return directory


def _our_namespaces() -> dict[str, int]:
    return {name: Path(f"/proc/self/ns/{name}").stat().st_ino for name in _NAMESPACES}


@asynccontextmanager
async def _listening(name: str, directory: Path | None = None) -> AsyncIterator[None]:
    """A unix listener. Its path has 107 bytes at most, and a node's directories are deep: it is bound by a link."""
    descriptor = os.open(directory or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as one:
            path = f"/proc/self/fd/{descriptor}/{name}"
            await one.bind(path if directory else name)
            if directory:
                os.chmod(path, 0o666)
            one.listen(8)
            yield
    finally:
        os.close(descriptor)
