"""The audit log of an environment: one line of JSON for each change, appended and never rewritten."""

from __future__ import annotations

import json
import os

from p2pcdn.envs.link import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from p2pcdn.envs.plan import Plan

    # project -> what is known of its wheel: "index", "file", "sha256", "from" (an index, or a peer's name).
    Provenance = Mapping[str, Mapping[str, str]]


def append(path: str, entry: Mapping[str, Any]) -> None:
    """One line, by one system call. Where the last one was cut by a full disk, it begins on a new one."""
    line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        is_cut = size_bytes and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
        write_all(descriptor, (b"\n" if is_cut else b"") + line.encode())
    finally:
        os.close(descriptor)


def read(path: str) -> list[dict[str, Any]]:
    """The oldest first. A line that a full disk cut short is left out."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    return [entry for line in lines if isinstance(entry := _parsed(line), dict)]


def last_generation(path: str) -> int:
    """The number in the last line that has one; 0 for none."""
    return max((int(entry.get("generation", 0)) for entry in read(path)[-2:]), default=0)


def changes(before: Plan | None, after: Plan | None, provenance: Provenance) -> dict[str, Any]:
    """What differs between two plans: "added" (with provenance), "removed", "startup" (files that run at each
    start).
    """
    old = {wheel.project: wheel for wheel in (before.wheels if before else ())}
    new = {wheel.project: wheel for wheel in (after.wheels if after else ())}
    added = [wheel for name, wheel in new.items() if name not in old or old[name].sha256 != wheel.sha256]
    removed = [wheel for name, wheel in old.items() if name not in new or new[name].sha256 != wheel.sha256]
    return {
        "added": [
            {
                "project": wheel.project,
                "version": wheel.version,
                "file": wheel.filename,
                "sha256": wheel.sha256,
                **provenance.get(wheel.project, {}),
            }
            for wheel in added
        ],
        "removed": [{"project": wheel.project, "version": wheel.version} for wheel in removed],
        "startup": [path for wheel in added for path in wheel.startup],
    }


def named(entries: Sequence[Mapping[str, str]]) -> list[str]:
    """ "numpy 2.1" for each of "added" or "removed"."""
    return [f"{entry['project']} {entry['version']}" for entry in entries]


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
