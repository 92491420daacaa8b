"""The faces of a served node: the sockets on which clients, neighbours and commands reach it, opened or taken over."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from p2pcdn.group import Identity
from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import Config
from p2pcdn_daemon.doors.network import Adopted, CannotListen, open_control_listener, open_listeners, port_of

log = logging.getLogger(__name__)

# What two words of the configuration mean for a listener, in both families.
HOSTS = {"localhost": ("127.0.0.1", "::1"), "all": ("0.0.0.0", "::")}


async def open_network_faces(config: Config, faces: Adopted, stack: AsyncExitStack) -> None:
    """Opens the faces that systemd has not opened for us. Raises CannotListen."""
    for listener in (*faces.index, *faces.peer, *faces.control):
        stack.push_async_callback(listener.aclose)
    if not faces.index:
        faces.index += await open_listeners(_hosts(config.host), config.port, "--port")
        for listener in faces.index:
            stack.push_async_callback(listener.aclose)
    if not faces.peer:
        faces.peer += await open_listeners(_hosts(config.peer_host), config.peer_port, "--peer-port")
        for listener in faces.peer:
            stack.push_async_callback(listener.aclose)


async def open_sealed_face(
    config: Config, faces: Adopted, who: Identity, stack: AsyncExitStack
) -> tuple[list[trio.SSLListener[trio.SocketStream]], int]:
    """In a group, where members get private files over TLS, and its port; nothing in open mode. Raises CannotListen."""
    if who.group is None:
        return [], 0
    from p2pcdn_daemon.doors import tls

    hosts = _hosts(config.peer_host)
    if config.sealed_port is not None:
        listeners = await open_listeners(hosts, config.sealed_port, "--sealed-port")
    else:
        port = (port_of(faces.peer[0]) + 1) % 65536 if config.peer_port else 0
        try:
            listeners = await open_listeners(hosts, port, "--sealed-port")
        except CannotListen:
            # Members are told the port; only a firewall wants it to be always the same.
            listeners = await open_listeners(hosts, 0, "--sealed-port")
    context = tls.server_context(who.device)
    for listener in listeners:
        stack.push_async_callback(listener.aclose)
    sealed = [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]
    return sealed, port_of(listeners[0])


async def open_control_faces(config: Config, faces: Adopted, stack: AsyncExitStack) -> None:
    """The socket that was named; else the store's, and the user's usual one where no other node has it.

    Raises CannotListen.
    """
    if faces.control:
        return
    if config.control_socket is not None:
        faces.control.append(await _control_face(config.control_socket, stack))
        return
    of_store = places.store_control_socket(config.store)
    try:
        places.make_own_directory(of_store.parent)
    except OSError as error:
        raise CannotListen(
            f"The control socket cannot be in {of_store.parent}: {error.strerror}; name another by --control-socket."
        ) from error
    faces.control.append(await _control_face(of_store, stack))
    usual = places.runtime_control_socket()
    if usual != of_store:
        try:
            if usual.parent == places.own_temporary_directory():
                places.make_own_directory(usual.parent)
            faces.control.append(await _control_face(usual, stack))
        except (CannotListen, OSError) as error:
            log.info("commands reach this node with --store %s only: %s", config.store, error)


async def _control_face(path: Path, stack: AsyncExitStack) -> trio.SocketListener:
    listener = await open_control_listener(path)

    async def close() -> None:
        # Away with the name first: no command is to meet a socket that nobody answers.
        with suppress(OSError):
            path.unlink()  # noqa: ASYNC240 - one system call on a memory file system
        await listener.aclose()

    stack.push_async_callback(close)
    return listener


def _hosts(host: str) -> tuple[str, ...]:
    return HOSTS.get(host, (host,))
