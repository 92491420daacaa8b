"""Who is at the other end of a stream."""

from __future__ import annotations

import struct

import trio

_MAPPED = "::ffff:"  # how a dual-stack socket writes an IPv4 address


def peer_of(stream: trio.abc.Stream) -> tuple[str, int | None]:
    """Its name for logs and counters, and its user, where it is a process on this machine (SO_PEERCRED)."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return "", None
    socket = stream.socket
    try:
        if socket.family == trio.socket.AF_UNIX:
            credentials = socket.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_PEERCRED, 12)
            uid = struct.unpack("3i", credentials)[1]
            return f"unix:uid={uid}", uid
        host, port = socket.getpeername()[:2]
    except OSError:
        return "gone", None  # it left before we looked
    host = host.removeprefix(_MAPPED)
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), None
