"""`p2pcdn serve`: opens the doors that the configuration names, runs one node behind them, and ends it in time."""

from __future__ import annotations

import logging
import os
import random
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import click
import trio

from p2pcdn import __version__
from p2pcdn.errors import StoreUnreadable, StoreUnusable
from p2pcdn.group import Identity
from p2pcdn.node import Node, Settings
from p2pcdn.store import Store, StoreLimits
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.web.faces import address, index_url
from p2pcdn.world import Discovery, Sighting, World
from p2pcdn_daemon.clients.environment import index_environment
from p2pcdn_daemon.configuration import group_key, identity, places
from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.layers import unknown_variables
from p2pcdn_daemon.doors.attestations import PypiAttestations
from p2pcdn_daemon.doors.clock import WallClock
from p2pcdn_daemon.doors.disk import RealDisk
from p2pcdn_daemon.doors.installed import InstalledPackage
from p2pcdn_daemon.doors.link import look, manners_of
from p2pcdn_daemon.doors.network import (
    CannotListen,
    TcpNetwork,
    adopted_listeners,
)
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.repositories import GitRepositories
from p2pcdn_daemon.doors.threads import TrioThreads
from p2pcdn_daemon.neighbours.peers_dns import DnsPeers
from p2pcdn_daemon.neighbours.peers_file import PeersFile
from p2pcdn_daemon.serve import allocator, logs
from p2pcdn_daemon.serve.errand import Errand
from p2pcdn_daemon.serve.faces import HOSTS, open_control_faces, open_network_faces, open_sealed_face
from p2pcdn_daemon.serve.life import Life, Ready
from p2pcdn_daemon.serve.welcome import welcome
from p2pcdn_daemon.upstream.indexes import upstreams_of
from p2pcdn_daemon.upstream.upstream import UpstreamSettings, open_upstream

log = logging.getLogger(__name__)

# A later start may succeed, and systemd tries one; after 2 it does not.
EXIT_AGAIN = 1
EXIT_UNUSABLE = 2
# How often the links and the battery are looked at: some files of the kernel's, a millisecond.
LOOK_AT_MACHINE_EVERY_S = 30.0


def serve(
    config: Config, *, ready_fd: int | None = None, errand: Errand | None = None, leaves_when_replaced: bool = False
) -> int:
    """Runs a node until SIGTERM or SIGINT and returns the exit code: 0, or 1 or 2 after one sentence on stderr.

    errand: a command with which the node ends; signals go to it, its exit code is ours, and stdout belongs to it.
    leaves_when_replaced: it ends, too, where it is asked for something and the installed p2pcdn is another one by then.
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
        return trio.run(_serve, config, ready, errand, leaves_when_replaced)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as group:
        error = _first(group)
        if isinstance(error, KeyboardInterrupt):
            return 0
        if not isinstance(error, (CannotListen, StoreUnusable, ConfigError)):
            raise
        click.echo(f"p2pcdn: {error}", err=True)
        return EXIT_AGAIN if isinstance(error, StoreUnreadable) else EXIT_UNUSABLE


async def _serve(config: Config, ready: Ready, errand: Errand | None, leaves_when_replaced: bool) -> int:
    async with trio.open_nursery() as nursery:
        life = Life(nursery.cancel_scope, errand)
        installed = InstalledPackage(life.end if leaves_when_replaced else None)
        await nursery.start(life.watch_signals)
        nursery.start_soon(life.ask_for_time)
        nursery.start_soon(life.feed_watchdog)
        async with AsyncExitStack() as stack:
            await _run_node(config, ready, life, installed, stack)
        nursery.cancel_scope.cancel()
    return life.exit_code


async def _run_node(
    config: Config, ready: Ready, life: Life, installed: InstalledPackage, stack: AsyncExitStack
) -> None:
    group = group_key.take(config)
    faces = adopted_listeners()
    await open_network_faces(config, faces, stack)
    upstreams = upstreams_of(config, [address(listener) for listener in faces.index])
    store = await stack.enter_async_context(_open_store(config))
    await open_control_faces(config, faces, stack)
    world = await stack.enter_async_context(_open_world(config, upstreams, installed))
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
    sealed, sealed_port = await open_sealed_face(config, faces, settings.identity, stack)
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
async def _open_world(
    config: Config, upstreams: Sequence[UpstreamSettings], installed: InstalledPackage
) -> AsyncIterator[World]:
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
            installed=installed,
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


def _own_names(config: Config) -> tuple[str, ...]:
    """A host that the index was told to listen on is one under which clients ask for it."""
    if config.host in (*HOSTS, *HOSTS["all"]):
        return ()
    return (f"[{config.host}]" if ":" in config.host else config.host,)


def _raise_descriptor_limit() -> None:
    """Takes as many descriptors as the kernel lets us: a room of clients and peers needs more than the usual 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
