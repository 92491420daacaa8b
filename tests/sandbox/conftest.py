"""A sandbox of this machine, or the reason why it can have none."""

from __future__ import annotations

import functools

import pytest
import trio

from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox.run import run
from p2pcdn.sandbox.spec import Spec
from p2pcdn_daemon.doors.processes import RealProcesses


@functools.cache
def obstacle() -> str | None:
    """Why there is no sandbox here: a sentence, or None."""
    try:
        trio.run(run, RealProcesses(), Spec(), ["/bin/true"])
    except SandboxUnusable as error:
        return str(error)
    return None


@pytest.fixture
def processes() -> RealProcesses:
    if why := obstacle():
        pytest.skip(why)
    return RealProcesses()
