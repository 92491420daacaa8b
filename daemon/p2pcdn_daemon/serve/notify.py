"""Tells systemd how the node is: ready, stopping, alive (sd_notify(3)), with nothing but a datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Sends `READY=1`, `STATUS=…` and the like; False where nobody listens. A fault never disturbs the node."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # "@" at the front names an abstract socket (unix(7)), which begins with a zero byte.
    path = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        # A daemon that waits for its supervisor is a daemon that hangs.
        sender.setblocking(False)
        sender.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), path)
        return True
    return False


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Half the time after which systemd takes a silent node for dead (sd_watchdog_enabled(3)); None without one."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 2_000_000 if text.isascii() and text.isdigit() and int(text) > 0 else None
