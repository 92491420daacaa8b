"""What the launcher is told, in front of whatever else comes on its stdin; and the one line that it answers.

The plan is marshalled: both sides are one interpreter, its words are ours, and importing json costs as much as a start.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs the launcher 5 ms
    from typing import TypedDict

    class Plan(TypedDict):
        """Paths are of the host before the arrow, of the sandbox after it.

        parent: the process that must outlive the sandbox. user, group: who the process is outside; inside it is 1000.
        system: paths shown where they are, skipped where the host has none. binds: (host path, path, writable).
        devices: nodes of the host that may be opened for writing, where it has them. files: (path, text).
        memory_bytes: of all processes together, where there is a /proc to see it.
        filter: a seccomp program. limits: (RLIMIT_ name, value).
        """

        parent: int
        user: int
        group: int
        system: list[str]
        binds: list[tuple[str, str, bool]]
        devices: list[str]
        files: list[tuple[str, str]]
        scratch_bytes: int
        scratch_files: int
        memory_bytes: int
        landlock: bool
        filter: bytes
        limits: list[tuple[str, int]]
        environment: dict[str, str]
        directory: str
        argv: list[str]


# Where a program may write; all of its files are gone with it.
SCRATCH = "/scratch"
# An environment of a thousand trees and a long command line; more is not a plan.
PLAN_SIZE_BYTES_MAX = 1024 * 1024
# One line of sentences.
REPORT_SIZE_BYTES_MAX = 16 * 1024
_LENGTH_SIZE_BYTES = 4


def encode(plan: Plan) -> bytes:
    """Length (4 bytes, big-endian) and the plan."""
    text = marshal.dumps(plan)  # type: ignore[arg-type]  # a TypedDict is a dict
    assert len(text) <= PLAN_SIZE_BYTES_MAX
    return len(text).to_bytes(_LENGTH_SIZE_BYTES, "big") + text


def read_plan(descriptor: int) -> Plan:
    """Takes exactly the plan from a pipe: what follows belongs to the program. Raises EOFError, ValueError."""
    size_bytes = int.from_bytes(_read(descriptor, _LENGTH_SIZE_BYTES), "big")
    if size_bytes > PLAN_SIZE_BYTES_MAX:
        raise ValueError("the plan is too long")
    plan: Plan = marshal.loads(_read(descriptor, size_bytes))
    return plan


def write_missing(descriptor: int, sentence: str) -> None:
    os.write(descriptor, f"missing {' '.join(sentence.split())}\n".encode())


def write_ready(descriptor: int, landlock: int, proc: bool) -> None:
    """landlock: the version of its interface, 0 for none. proc: whether there is one."""
    os.write(descriptor, f"ready {landlock} {int(proc)}\n".encode())


def read_report(line: bytes) -> tuple[int, bool] | str:
    """(landlock, proc) of `write_ready`, or the sentence of `write_missing`. Raises ValueError for anything else."""
    word, _, rest = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
    if word == "missing":
        return rest
    if word != "ready":
        raise ValueError(f"no report: {line[:80]!r}")
    landlock, proc = rest.split()
    return int(landlock), bool(int(proc))


def _read(descriptor: int, size_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < size_bytes:
        part = os.read(descriptor, size_bytes - len(parts))
        if not part:
            raise EOFError("the plan is cut short")
        parts += part
    return bytes(parts)
