"""The faces of a node as they are served: what each takes, which names it answers to, and what is counted of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import trio

from p2pcdn.counters import Counters
from p2pcdn.http1 import Handler, Limits, Refusal, Request, serve

log = logging.getLogger(__name__)

# Names under which a client on this machine may ask; others come from --allow-host (DNS rebinding).
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# A node that is told to stop is gone within five seconds; answers that run get most of that.
GRACE_TIME_S = 3.0
# A tracker is asked by everybody who fetches its file: a thousand nodes, and some that come back.
PEER_CONNECTIONS_MAX = 2048
# A neighbour that takes nothing for so long has gone; it must not hold a slot that others wait for. And one host must
# not hold all connections.
PEER_LIMITS = Limits(
    grace_time_s=GRACE_TIME_S,
    write_time_s=12.0,
    connections_max=PEER_CONNECTIONS_MAX,
    connections_per_host_max=256,
)
LIMITS = {
    "index": Limits(grace_time_s=GRACE_TIME_S),
    "peer": PEER_LIMITS,
    "sealed": PEER_LIMITS,
    "control": Limits(grace_time_s=GRACE_TIME_S),
}
CONTROL_METHODS = frozenset({"GET", "HEAD", "POST"})

Listener = trio.abc.Listener[trio.abc.Stream]


async def serve_face(
    face: str,
    listeners: Sequence[Listener],
    handler: Handler,
    counters: Counters,
    now: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    **how: Any,
) -> None:
    """Answers on one face, and counts it. face: index, peer, sealed or control. how: as `p2pcdn.http1.serve` has it."""
    requests = counters.requests

    def note_answer(request: Request, status: int, body_size_bytes: int) -> None:
        requests[f"{face} {status}"] += 1
        if face in ("peer", "sealed"):
            counters.given_to(request.peer.rpartition(":")[0], body_size_bytes)

    def note_refusal(refusal: Refusal, peer: str) -> None:
        requests[f"{face} {refusal.status}"] += 1
        log.info("refused: %s", refusal.sentence, extra={"face": face, "peer": peer, "rule": refusal.rule})

    await serve(
        listeners,
        handler,
        limits=LIMITS[face],
        on_answer=note_answer,
        on_refusal=note_refusal,
        now=now,
        task_status=task_status,
        **how,
    )


def address(listener: Listener) -> tuple[str, int]:
    """Host and port that a TCP listener accepts at."""
    assert isinstance(listener, trio.SocketListener)
    host, port, *_ = listener.socket.getsockname()
    return host, port


def index_url(listeners: Sequence[Listener]) -> str:
    """The URL for clients of this machine: over 127.0.0.1 where that answers. Empty where nothing listens."""
    addresses = [address(listener) for listener in listeners]
    if not addresses:
        return ""
    host, port = addresses[0]
    if any(other in ("127.0.0.1", "0.0.0.0") for other, _ in addresses):
        host = "127.0.0.1"
    elif ":" in host:
        host = "[::1]" if host in ("::", "::1") else f"[{host}]"
    return f"http://{host}:{port}/simple/"
