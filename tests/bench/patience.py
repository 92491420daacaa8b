"""Waiting for what another process will do, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Looks every 20 ms until it sees something true, and returns that. Fails with `what` when the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s still not: {what}"
        time.sleep(0.02)
    return seen
