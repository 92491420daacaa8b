"""What a simulated disk refuses: calls of a life that is over, and those that a scenario makes fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Call = Literal["open", "create", "reopen", "mkdir", "rename", "unlink", "syncdir", "syncfs", "list", "free"]
FileCall = Literal["pread", "pwrite", "fsync", "truncate"]
# Given the name of a call and its path; an errno to fail with, or None.
Script = Callable[[str, str], int | None]


class PowerCut(OSError):
    """A call of a life that is over: it never gives a result. An OSError, so that what is left of that life ends."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the power was cut")


@dataclass(slots=True)
class DiskFaults:
    """What goes wrong; may be changed while the disk is used.

    read_error_rate, write_error_rate, sync_error_rate: the share of calls that fail with EIO. stall_s: more time for
    each call. script: asked before every call.
    """

    read_error_rate: float = 0.0
    write_error_rate: float = 0.0
    sync_error_rate: float = 0.0
    stall_s: float = 0.0
    script: Script | None = None


def fail_once(call: Call | FileCall, number: int, code: int = errno.EIO, *, within: str = "") -> Script:
    """A script: the call of that name fails, the `number`th time (from 1) that a path has `within` in it."""
    left = number

    def script(name: str, path: str) -> int | None:
        nonlocal left
        if name != call or within not in path:
            return None
        left -= 1
        return code if left == 0 else None

    return script


def disk_error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
