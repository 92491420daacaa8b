"""What the launcher is told, a plan in JSON in front of whatever else comes on its stdin; and the line it answers."""

from __future__ import annotations

import json
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
        filter: a seccomp program, base64. limits: (RLIMIT_ name, value).
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
        filter: str
        limits: list[tuple[str, int]]
        environment: dict[str, str]
        directory: str
        argv: list[str]

    class Report(TypedDict, total=False):
        """Either `missing`, a sentence; or what stands that some machines lack: `landlock` (0: no), `proc`."""

        missing: str
        landlock: int
        proc: bool


# An environment of a thousand trees and a long command line; more is not a plan.
PLAN_SIZE_BYTES_MAX = 1024 * 1024
# One line of sentences.
REPORT_SIZE_BYTES_MAX = 16 * 1024
_LENGTH_SIZE_BYTES = 4


def encode(plan: Plan) -> bytes:
    """Length (4 bytes, big-endian) and JSON."""
    text = json.dumps(plan).encode()
    assert len(text) <= PLAN_SIZE_BYTES_MAX
    return len(text).to_bytes(_LENGTH_SIZE_BYTES, "big") + text


def read_plan(descriptor: int) -> Plan:
    """Takes exactly the plan from a pipe: what follows belongs to the program. Raises EOFError, ValueError."""
    size_bytes = int.from_bytes(_read(descriptor, _LENGTH_SIZE_BYTES), "big")
    if size_bytes > PLAN_SIZE_BYTES_MAX:
        raise ValueError("the plan is too long")
    plan: Plan = json.loads(_read(descriptor, size_bytes))
    return plan


def write_report(descriptor: int, report: Report) -> None:
    os.write(descriptor, json.dumps(report).encode() + b"\n")


def _read(descriptor: int, size_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < size_bytes:
        part = os.read(descriptor, size_bytes - len(parts))
        if not part:
            raise EOFError("the plan is cut short")
        parts += part
    return bytes(parts)
