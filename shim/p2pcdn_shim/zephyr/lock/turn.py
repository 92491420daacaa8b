"""One zephyr at a time changes a project: who waits is told for whom, and reads what the other wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pcdn.envs.lock_file import LockFile
from p2pcdn.envs.places import OWN, make_ignored
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config import find_project_file


@contextmanager
def of_project(call: Call) -> Iterator[None]:
    """The right to change pyproject.toml and the lock of the project, if the command works in one.

    What was read of them before must be read again; settings are. Where nobody may write beside them, nobody is kept
    out: then nothing will be changed.
    """
    file = find_project_file(call.directory)
    held = _held(file.parent, call) if file is not None else None
    vars(call).pop("config", None)
    try:
        yield
    finally:
        if held is not None:
            held.release()


def _held(root: Path, call: Call) -> LockFile | None:
    try:
        make_ignored(str(root / OWN))
        return LockFile(str(root / OWN / "project.lock"), call.command, call.voice.note, "this project")
    except OSError:
        return None
