"""What a sandboxed program may see and use up, as a value; and the plan that the launcher makes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from p2pcdn.sandbox.filter import seccomp_filter
from p2pcdn.sandbox.plan import SCRATCH

if TYPE_CHECKING:
    from p2pcdn.sandbox.plan import Plan

MIB = 1024 * 1024
GIB = 1024 * MIB

# What a compiler and an interpreter of the distribution need, shown read-only; what a machine lacks is skipped.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Who one is, for programs that ask; the host's own tables stay outside.
FILES = (
    ("/etc/passwd", f"build:x:1000:1000::{SCRATCH}/home:/bin/sh\n"),
    ("/etc/group", "build:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost sandbox\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
)
# A source tree of a compiler has 150,000 files.
SCRATCH_FILES_MAX = 500_000
# `nobody`, for a node that runs as root: root is exempt from the limit on processes.
NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a sandboxed program may use. What exceeds one is ended, or gets the error of a full disk or memory."""

    # numpy takes ten minutes on two cores; what takes half an hour is not built at an install.
    wall_s: float = 1800.0
    # Of each process: no compiler run comes near.
    cpu_s: int = 3600
    # Address space of each process; much is reserved that is never used. A link step with LTO takes 6 GiB.
    address_space_bytes: int = 8 * GIB
    # Memory of all processes together, looked at four times a second.
    memory_bytes: int = 8 * GIB
    # With their threads. `make -j` with three processes a job, on the widest machines.
    processes: int = 512
    open_files: int = 1024
    # One file.
    file_bytes: int = 2 * GIB
    # All files together; they lie in memory (and swap), and are gone with the sandbox.
    scratch_bytes: int = 2 * GIB
    # What the program answers, and what it complains. A chatty build of LLVM writes 5 MiB.
    stdout_bytes: int = 16 * MIB
    stderr_bytes: int = 16 * MIB


@dataclass(frozen=True, slots=True)
class Bind:
    """A tree or a file of the host, shown at the same place or at `target`. Read-only, unless said."""

    source: Path
    target: PurePosixPath | None = None
    writable: bool = False

    @property
    def place(self) -> PurePosixPath:
        return self.target or PurePosixPath(self.source)


@dataclass(frozen=True, slots=True)
class Spec:
    """All that a program is given. Whatever is not named here is not there: no network, no other process, no file.

    binds: what it sees beside the system's own trees. A bind may lie in another one.
    directory: where it starts; an absolute path inside.
    user: (uid, gid) outside, for a node that runs as root; an ordinary user's sandbox is always that user's.
    """

    binds: tuple[Bind, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    directory: str = SCRATCH
    user: tuple[int, int] = (NOBODY, NOBODY)


def outside(spec: Spec, us: tuple[int, int], uid_map: str) -> tuple[int, int]:
    """Who the program is outside of its sandbox. us: uid and gid of the node; uid_map: proc(5)'s, of the node.

    Root becomes the spec's user. Root of a container in which there is nobody else is an ordinary user outside of it,
    and stays so; were it root there too, the probes would find that no limit on processes holds.
    """
    ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in uid_map.splitlines())]
    there = any(first <= spec.user[0] < first + count for first, count in ranges)
    return spec.user if us[0] == 0 and there else us


def plan(spec: Spec, argv: Sequence[str], *, machine: str, parent: int, user: tuple[int, int]) -> Plan:
    """What the launcher does for a spec. user: what `outside` said. parent: the process of the node.

    Raises KeyError for a machine that the filter does not know, ValueError for paths that are not absolute.
    """
    binds = [(str(bind.source), str(bind.place), bind.writable) for bind in _needed(spec.binds)]
    return {
        "parent": parent,
        "user": user[0],
        "group": user[1],
        "system": list(SYSTEM),
        "binds": binds,
        "devices": list(DEVICES),
        "files": list(FILES),
        "scratch_bytes": spec.limits.scratch_bytes,
        "scratch_files": SCRATCH_FILES_MAX,
        "memory_bytes": spec.limits.memory_bytes,
        "landlock": True,
        "filter": seccomp_filter(machine),
        "limits": _resource_limits(spec.limits),
        "environment": dict(spec.environment),
        "directory": spec.directory,
        "argv": list(argv),
    }


def _needed(binds: Sequence[Bind]) -> list[Bind]:
    """Outer trees first; without those that are read-only where the system's trees show them already."""
    for bind in binds:
        if not bind.source.is_absolute() or not bind.place.is_absolute():
            raise ValueError(f"a sandbox shows absolute paths only, not {bind.source}")
    covered = [
        bind
        for bind in binds
        if not bind.writable
        and str(bind.place) == str(bind.source)
        and any(bind.place.is_relative_to(tree) for tree in SYSTEM)
    ]
    return sorted((bind for bind in binds if bind not in covered), key=lambda bind: len(bind.place.parts))


def _resource_limits(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("RLIMIT_AS", limits.address_space_bytes),
        ("RLIMIT_NPROC", limits.processes),
        ("RLIMIT_NOFILE", limits.open_files),
        ("RLIMIT_FSIZE", limits.file_bytes),
        ("RLIMIT_CPU", limits.cpu_s),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ]
