"""Listeners in, connections answered, until `stop`."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Sequence

import trio

from p2pcdn.http1 import refusals
from p2pcdn.http1.connection import Connection, Service
from p2pcdn.http1.lobby import Lobby
from p2pcdn.http1.messages import Handler, Limits, OnAnswer
from p2pcdn.http1.refusals import AllowedHosts, Face, Refusal
from p2pcdn.http1.write import HeadWriter

log = logging.getLogger(__name__)

READ_ONLY = frozenset({"GET", "HEAD"})
# No descriptor or no memory for another connection: others end, then it goes on.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
ACCEPT_PAUSE_S = 0.1


async def serve(
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    handler: Handler,
    *,
    limits: Limits | None = None,
    allowed_hosts: AllowedHosts | None = None,
    methods: frozenset[str] = READ_ONLY,
    bodies: bool = False,
    cross_site: bool = False,
    on_answer: OnAnswer | None = None,
    on_refusal: Callable[[Refusal, str], None] | None = None,
    now: Callable[[], float] = time.time,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers on all listeners. Returns after `stop`; cancelling it breaks everything off.

    handler: answers one request. Whatever it raises becomes a 500 and a traceback in the log.
    allowed_hosts: the Host values that are ours; None takes any. methods: others are refused with 405.
    bodies: whether requests may have one. cross_site: whether other sites' web pages may ask.
    on_answer: called after each answer with its request, status and the bytes of body that were handed to the system.
    on_refusal: called with the row of the table and the peer.
    stop: closes the listeners and idle connections; running answers have limits.grace_time_s to end.
    """
    limits = limits or Limits()
    face = Face(methods, allowed_hosts, bodies, cross_site, limits)
    lobby = Lobby() if Lobby.possible else None
    service = Service(handler, face, on_answer, on_refusal, HeadWriter(now), lobby)
    connections: set[Connection] = set()
    async with trio.open_nursery() as house:
        if lobby is not None:
            house.start_soon(lobby.run)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(_accept, listener, service, connections, nursery)
                task_status.started()
                if stop is not None:
                    await stop.wait()
                    accepting.cancel_scope.cancel()
            for connection in list(connections):
                connection.end_soon()
            nursery.cancel_scope.deadline = trio.current_time() + limits.grace_time_s
        house.cancel_scope.cancel()


async def serve_connection(
    stream: trio.abc.Stream,
    handler: Handler,
    *,
    limits: Limits | None = None,
    allowed_hosts: AllowedHosts | None = None,
    methods: frozenset[str] = READ_ONLY,
    bodies: bool = False,
    cross_site: bool = False,
    on_answer: OnAnswer | None = None,
) -> None:
    """Answers on one stream until it ends, and closes it. As `serve`."""
    face = Face(methods, allowed_hosts, bodies, cross_site, limits or Limits())
    await Connection(stream, Service(handler, face, on_answer)).run()


async def _accept(
    listener: trio.abc.Listener[trio.abc.Stream],
    service: Service,
    connections: set[Connection],
    nursery: trio.Nursery,
) -> None:
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.warning("No connection can be accepted now: %s.", error.strerror)
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            nursery.start_soon(_run, stream, service, connections)


async def _run(stream: trio.abc.Stream, service: Service, connections: set[Connection]) -> None:
    connection = Connection(stream, service)
    connections.add(connection)
    service.hosts[connection.host] += 1
    try:
        if _is_crowded(connection, service, connections):
            await connection.refuse(refusals.CROWDED)
        else:
            await connection.run()
    finally:
        connections.discard(connection)
        service.hosts[connection.host] -= 1
        if not service.hosts[connection.host]:
            del service.hosts[connection.host]


def _is_crowded(connection: Connection, service: Service, connections: set[Connection]) -> bool:
    limits = service.face.limits
    per_host = limits.connections_per_host_max
    from_one_host = per_host is not None and service.hosts[connection.host] > per_host
    return from_one_host or len(connections) > limits.connections_max
