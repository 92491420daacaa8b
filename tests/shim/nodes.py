"""The node that a command has started for a user of these tests: which process it is, and its end."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from p2pcdn_shim.client import Client, NoNode, dial, find
from tests.bench.patience import until


def end_node_of(environ: Mapping[str, str]) -> None:
    """Ends the node of the user who has this environment, if one runs."""
    with suppress(NoNode, OSError):
        end(find(environ))


def pid_of(client: Client) -> int:
    with closing(dial(client.path)) as stream:
        pid, _, _ = struct.unpack("iII", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(client: Client) -> None:
    pid = pid_of(client)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not runs(pid), "the node ends")
