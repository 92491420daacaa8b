"""`p2pcdn serve`: opens the doors that the configuration names, runs one node behind them, and ends it in time."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import trio

from p2pcdn import __version__
from p2pcdn.errors import StoreUnusable
from p2pcdn.group import Identity
from p2pcdn.node import Node, Settings, address, index_url
from p2pcdn.store import Store, StoreLimits
from p2pcdn.swarm.manners import Manners
from p2pcdn.world import Discovery, Sighting, World
from p2pcdn_daemon.clients.environment import index_environment
from p2pcdn_daemon.configuration import group_key, identity, places
from p2pcdn_daemon.configuration.config import Config, ConfigError, unknown_variables
from p2pcdn_daemon.doors.attestations import PypiAttestations
from p2pcdn_daemon.doors.clock import WallClock
from p2pcdn_daemon.doors.disk import RealDisk
from p2pcdn_daemon.doors.link import look, manners_of
from p2pcdn_daemon.doors.network import (
    Adopted,
    CannotListen,
    TcpNetwork,
    adopted_listeners,
    open_control_listener,
    open_listeners,
    port_of,
)
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.repositories import GitRepositories
from p2pcdn_daemon.doors.threads import TrioThreads
from p2pcdn_daemon.neighbours.peers_dns import DnsPeers
from p2pcdn_daemon.neighbours.peers_file import PeersFile
from p2pcdn_daemon.serve import allocator, logs
from p2pcdn_daemon.serve.errand import Errand
from p2pcdn_daemon.serve.notify import notify, watchdog_interval_s
from p2pcdn_daemon.serve.welcome import welcome
from p2pcdn_daemon.upstream.indexes import upstreams_of
from p2pcdn_daemon.upstream.upstream import UpstreamSettings, open_upstream

log = logging.getLogger(__name__)

EXIT_UNUSABLE = 2
# A node that is told to stop is gone within five seconds: running answers get most of them, their cancellation a
# little, and then the process ends by itself. What was acknowledged is on the disk since long before.
CANCEL_AFTER_S = 4.0
EXIT_AFTER_S = 4.7
# While the catalog is rebuilt, systemd is asked for so much more time, so often.
STARTING_MORE_TIME_S = 30
STARTING_ASKS_EVERY_S = 10
# How often the links and the battery are looked at: some files of the kernel's, a millisecond.
LOOK_AT_MACHINE_EVERY_S = 30.0
# What two words of the configuration mean for a listener, in both families.
HOSTS = {"localhost": ("127.0.0.1", "::1"), "all": ("0.0.0.0", "::")}


def serve(config: Config, *, ready_fd: int | None = None, errand: Errand | None = None) -> int:
    """Runs a node until SIGTERM or SIGINT and returns the exit code: 0, or 2 after one sentence on stderr.

    errand: a command with which the node ends; signals go to it, its exit code is ours, and stdout belongs to it.
    """
    logs.configure(config.log_level, config.log_format)
    held = logs.Held()
    for name in unknown_variables():
        log.warning("%s is set but is no setting of p2pcdn", name)
    ready = Ready(ready_fd, held, on_stdout=errand is None)
    _raise_descriptor_limit()
    allocator.keep_little()
    allocator.look_seldom()
    try:
        return trio.run(_serve, config, ready, errand)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as group:
        error = _first(group)
        if isinstance(error, KeyboardInterrupt):
            return 0
        if not isinstance(error, (CannotListen, StoreUnusable, ConfigError)):
            raise
        click.echo(f"p2pcdn: {error}", err=True)
        return EXIT_UNUSABLE


@dataclass(slots=True)
class Ready:
    """Says once, to whoever waits for it, that the node accepts connections. Raises ConfigError for no descriptor."""

    descriptor: int | None
    log: logs.Held
    on_stdout: bool = True

    def __post_init__(self) -> None:
        if self.descriptor is not None:
            try:
                os.set_inheritable(self.descriptor, self.descriptor <= 2)
            except OSError as error:
                raise ConfigError(f"--ready-fd: {self.descriptor} is not an open file descriptor.") from error

    def say(self, index_url: str) -> None:
        """The line on stdout, on the descriptor (which is closed), and READY=1 for systemd."""
        self.log.release()
        line = f"ready {index_url}\n"
        # Whoever waited may have gone.
        with suppress(OSError, ValueError):
            if self.on_stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
        if self.descriptor is not None and self.descriptor != 1:
            with suppress(OSError):
                os.write(self.descriptor, line.encode())
            if self.descriptor > 2:
                os.close(self.descriptor)
        notify("READY=1", f"STATUS=Serving {index_url}", f"MAINPID={os.getpid()}")


@dataclass(slots=True)
class Life:
    """From the first signal to the end. Used by the tasks of `_serve`."""

    scope: trio.CancelScope
    errand: Errand | None = None
    stop: trio.Event = field(default_factory=trio.Event)
    is_ready: bool = False

    @property
    def exit_code(self) -> int:
        return 0 if self.errand is None else self.errand.exit_code

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The first SIGTERM or SIGINT stops the node, the second one at once. SIGHUP stops it on a terminal only."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if self.errand is not None and self.errand.forward(number):
                    continue
                if number == signal.SIGHUP and not _on_terminal():
                    continue
                if self.stop.is_set() or not self.is_ready:
                    self.scope.cancel()
                self.end()
                notify("STOPPING=1")
                log.info("stopping: %s", signal.Signals(number).name)

    async def run_errand(self, environ: Mapping[str, str]) -> None:
        """Runs the command, if there is one, and ends the node with it."""
        if self.errand is not None:
            await self.errand.run(environ)
            self.end()

    def end(self) -> None:
        """Ends the node, in time."""
        if not self.stop.is_set():
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + CANCEL_AFTER_S)
            # A thread that hangs in the kernel (a dead network disk) would hold trio.run beyond its time.
            last = threading.Timer(EXIT_AFTER_S, lambda: os._exit(self.exit_code))
            last.daemon = True
            last.start()
            self.stop.set()

    async def ask_for_time(self) -> None:
        """Keeps systemd patient until the node is ready (sd_notify(3), EXTEND_TIMEOUT_USEC)."""
        while not self.is_ready:
            notify(f"EXTEND_TIMEOUT_USEC={STARTING_MORE_TIME_S * 1_000_000}")
            await trio.sleep(STARTING_ASKS_EVERY_S)

    async def feed_watchdog(self) -> None:
        """Tells systemd that the loop turns."""
        interval_s = watchdog_interval_s()
        while interval_s is not None:
            notify("WATCHDOG=1")
            await trio.sleep(interval_s)


async def _serve(config: Config, ready: Ready, errand: Errand | None) -> int:
    async with trio.open_nursery() as nursery:
        life = Life(nursery.cancel_scope, errand)
        await nursery.start(life.watch_signals)
        nursery.start_soon(life.ask_for_time)
        nursery.start_soon(life.feed_watchdog)
        async with AsyncExitStack() as stack:
            await _run_node(config, ready, life, stack)
        nursery.cancel_scope.cancel()
    return life.exit_code


async def _run_node(config: Config, ready: Ready, life: Life, stack: AsyncExitStack) -> None:
    group = group_key.take(config)
    faces = adopted_listeners()
    await _open_network_faces(config, faces, stack)
    upstreams = upstreams_of(config, [address(listener) for listener in faces.index])
    store = await stack.enter_async_context(_open_store(config))
    await _open_control_faces(config, faces, stack)
    world = await stack.enter_async_context(_open_world(config, upstreams))
    settings = Settings(
        indexes=tuple(one.index for one in upstreams),
        offline=config.offline,
        store_limits=_limits(config),
        allow_hosts=(*_own_names(config), *config.allow_host),
        static_peers=tuple(_sighting(peer) for peer in config.peer),
        version=__version__,
        identity=Identity(identity.device(config.store), group),
        origin_readers=config.origin_readers,
        manners=_manners(config),
    )
    sealed, sealed_port = await _open_sealed_face(config, faces, settings.identity, stack)
    node = Node(settings, store, world, node_id=identity.node_id(config.store), token=identity.token(config.store))
    async with trio.open_nursery() as nursery:
        run = partial(
            node.run,
            index_listeners=faces.index,
            peer_listeners=faces.peer,
            control_listeners=faces.control,
            sealed_listeners=sealed,
            sealed_port=sealed_port,
            stop=life.stop,
        )
        await nursery.start(run)
        life.is_ready = True
        url = index_url(faces.index)
        log.info(
            "ready",
            extra={"index": url, "store": str(config.store), "pid": os.getpid(), "group": settings.identity.tag},
        )
        ready.say(url)
        nursery.start_soon(life.run_errand, _errands_environment(config, node))
        nursery.start_soon(_mind_manners, config, node, life.stop)
        if sys.stdout.isatty() and life.errand is None:
            click.echo(welcome(config, url, [one.index.url for one in upstreams]))


def _errands_environment(config: Config, node: Node) -> dict[str, str]:
    """Installers use this node, with its private indexes, and our own commands ask it."""
    status = node.status()
    socket = config.control_socket or places.store_control_socket(config.store)
    return index_environment(str(status.get("private_index_url") or status["index_url"]), os.environ) | {
        "P2PCDN_CONTROL_SOCKET": str(socket)
    }


# -- the doors --------------------------------------------------------------------------------------------------------


async def _open_network_faces(config: Config, faces: Adopted, stack: AsyncExitStack) -> None:
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


async def _open_sealed_face(
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


async def _open_control_faces(config: Config, faces: Adopted, stack: AsyncExitStack) -> None:
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
    if usual is not None and usual != of_store:
        try:
            faces.control.append(await _control_face(usual, stack))
        except CannotListen as error:
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


@asynccontextmanager
async def _open_store(config: Config) -> AsyncIterator[Store]:
    store = await Store.open(
        config.store,
        disk=RealDisk(),
        threads=TrioThreads(),
        clock=WallClock(),
        random=random.SystemRandom(),
        limits=_limits(config),
    )
    try:
        yield store
    finally:
        # Closing checkpoints; it is short, and the last timer bounds it.
        with trio.CancelScope(shield=True):
            await store.close()


@asynccontextmanager
async def _open_world(config: Config, upstreams: Sequence[UpstreamSettings]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        try:
            opened = open_upstream(upstreams, file_hosts=config.file_host)
            upstream = await stack.enter_async_context(opened)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        yield World(
            upstream=upstream,
            network=TcpNetwork(),
            discoveries=_discoveries(config),
            disk=RealDisk(),
            threads=TrioThreads(),
            clock=WallClock(),
            random=random.SystemRandom(),
            processes=RealProcesses(),
            more_indexes=upstream,
            attestations=PypiAttestations(RealProcesses()),
            repositories=GitRepositories(RealProcesses(), TrioThreads()),
        )


def _discoveries(config: Config) -> list[Discovery]:
    """How neighbours are found beside those that --peer names."""
    file = config.peers_file
    if file is not None and file.exists() and not file.is_file():
        raise ConfigError(f"The peers file {file} is not a file.")
    found: list[Discovery] = []
    if file is not None:
        found.append(PeersFile(file))
    if config.peer_dns:
        found.append(DnsPeers(config.peer_dns, random.SystemRandom()))
    if not config.no_mdns:
        # zeroconf costs a tenth of a second and some memory, which a node without multicast need not pay.
        from p2pcdn_daemon.neighbours.discovery import MdnsDiscovery

        found.append(MdnsDiscovery(config.mdns_interface))
    return found


def _manners(config: Config) -> Manners:
    return manners_of(look(), upload_limit_bytes_s=config.upload_limit, metered=config.metered)


async def _mind_manners(config: Config, node: Node, stop: trio.Event) -> None:
    """Tells the node when the machine has changed its link, or its plug was pulled."""
    while not stop.is_set():
        with trio.move_on_after(LOOK_AT_MACHINE_EVERY_S):
            await stop.wait()
        node.mind(_manners(config))


def _limits(config: Config) -> StoreLimits:
    return StoreLimits(size_bytes=config.store_size, keep_for_s=config.keep_for, pages_bytes=config.pages_size)


def _sighting(peer: str) -> Sighting:
    host, _, port = peer.rpartition(":")
    return Sighting(host.strip("[]"), int(port))


# -- names ------------------------------------------------------------------------------------------------------------


def _hosts(host: str) -> tuple[str, ...]:
    return HOSTS.get(host, (host,))


def _own_names(config: Config) -> tuple[str, ...]:
    """A host that the index was told to listen on is one under which clients ask for it."""
    if config.host in (*HOSTS, *HOSTS["all"]):
        return ()
    return (f"[{config.host}]" if ":" in config.host else config.host,)


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _raise_descriptor_limit() -> None:
    """Takes as many descriptors as the kernel lets us: a room of clients and peers needs more than the usual 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
