"""How a real node finds neighbours that nobody named: multicast DNS on the links that lead to them.

It gives hints only; the swarm believes in a neighbour once it answered. A fault here is logged once and harms nobody: a
node without discovery is a node that asks its upstream.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import ifaddr
import trio
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon.doors.link import ROUTES, default_links, leads_to_neighbours, read_text

log = logging.getLogger(__name__)

SERVICE = "_p2pcdn._tcp.local."
# How often this machine's addresses are looked at (a laptop changes its Wi-Fi); more often while it has none, or while
# multicast cannot be used.
ADDRESSES_EVERY_S = 30.0
ADDRESSES_SOON_S = 3.0
# A goodbye is three packets 125 ms apart.
CLOSE_TIME_S = 1.5
# What was sighted, so that it is told once. Forged names by the ten thousand push each other out.
SIGHTINGS_MAX = 4096
# Sightings on their way from zeroconf's thread to trio's. Whoever is lost here announces itself again.
WAITING_MAX = 256
# Names whose address did not come with them, and how long each is asked for.
UNRESOLVED_MAX = 64
RESOLVE_TIME_MS = 1000
# Addresses of one neighbour that are tried.
ADDRESSES_PER_PEER_MAX = 2

_INSTANCE = re.compile(r"[0-9a-f]{32}", re.ASCII)


class MdnsDiscovery:
    """Multicast DNS (RFC 6762, 6763) by zeroconf, in threads of its own."""

    def __init__(self, interfaces: Sequence[str] = ()) -> None:
        """interfaces: names or addresses of the links to use; none means those of the default routes."""
        self._interfaces = tuple(interfaces)
        self._faults: set[str] = set()

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        """Announces and watches until it is cancelled, then says goodbye. Faults are logged, each once."""
        sightings = _Sightings(announcement, trio.lowlevel.current_trio_token(), found)
        while True:
            addresses = await trio.to_thread.run_sync(self._addresses)
            session = await self._open(announcement, addresses, sightings) if addresses else None
            try:
                while True:
                    await trio.sleep(ADDRESSES_EVERY_S if session else ADDRESSES_SOON_S)
                    sightings.hand_over()
                    if session is None or await trio.to_thread.run_sync(self._addresses) != addresses:
                        break
            finally:
                if session is not None:
                    with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_TIME_S):
                        await trio.to_thread.run_sync(session.close, abandon_on_cancel=True)

    async def _open(self, announcement: Announcement, addresses: list[str], sightings: _Sightings) -> _Session | None:
        try:
            session = await trio.to_thread.run_sync(_Session, announcement, addresses, sightings)
        except Exception as error:
            self._fault(f"neighbours are not looked for by multicast: {type(error).__name__}: {error}")
            return None
        log.debug("looking for neighbours by multicast", extra={"addresses": addresses})
        return session

    def _addresses(self) -> list[str]:
        try:
            addresses = chosen_addresses(self._interfaces)
            missing = missing_links(self._interfaces)
        except Exception as error:
            self._fault(f"the addresses of this machine cannot be read: {error}")
            return []
        for name in missing:
            self._fault(f"this machine has no interface {name!r} with an IPv4 address")
        if not addresses and not self._interfaces:
            self._fault(
                "no link with an IPv4 address leads to neighbours; name one, or neighbours, in the configuration"
            )
        return addresses

    def _fault(self, sentence: str) -> None:
        if sentence not in self._faults:
            self._faults.add(sentence)
            log.info("mDNS: %s", sentence)


def chosen_addresses(interfaces: Sequence[str] = (), routes: Path = ROUTES) -> list[str]:
    """The IPv4 addresses to use: of the named links, else of the default routes', else of all that lead to neighbours.

    Raises OSError.
    """
    links = {adapter.name: _ipv4(adapter) for adapter in ifaddr.get_adapters()}
    if interfaces:
        names = [name for name in links if {name, *links[name]} & set(interfaces)]
    else:
        # A neighbour behind a tunnel or in a container is asked for by name.
        able = [name for name in links if leads_to_neighbours(name)]
        preferred = set(default_links(read_text(routes)))
        names = [name for name in able if name in preferred] or able
    return sorted(address for name in names for address in links[name])


def missing_links(interfaces: Sequence[str]) -> list[str]:
    """Those of the named links that are not there. Raises OSError."""
    there = {name for adapter in ifaddr.get_adapters() for name in (adapter.name, *_ipv4(adapter)) if _ipv4(adapter)}
    return [name for name in interfaces if name not in there]


def _ipv4(adapter: ifaddr.Adapter) -> list[str]:
    return [str(one.ip) for one in adapter.ips if one.is_IPv4]


class _Sightings:
    """What zeroconf's threads saw, on its way to trio; bounded at every step."""

    def __init__(
        self, own: Announcement, token: trio.lowlevel.TrioToken, found: trio.MemorySendChannel[Sighting]
    ) -> None:
        self.own = own
        self._token = token
        self._found = found
        self._lock = threading.Lock()
        self._told: OrderedDict[Sighting, None] = OrderedDict()
        self._waiting: deque[Sighting] = deque(maxlen=WAITING_MAX)

    def add(self, sighting: Sighting) -> None:
        """In any thread."""
        with self._lock:
            if sighting in self._told:
                return
            self._told[sighting] = None
            if len(self._told) > SIGHTINGS_MAX:
                self._told.popitem(last=False)
            self._waiting.append(sighting)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.hand_over, idempotent=True)

    def gone(self, instance: str) -> None:
        """It said goodbye: if it comes again, it is told again."""
        with self._lock:
            for sighting in [one for one in self._told if one.instance == instance]:
                del self._told[sighting]

    def hand_over(self) -> None:
        """On trio's thread. What finds no room now waits for the next time."""
        while self._waiting:
            sighting = self._waiting.popleft()
            try:
                self._found.send_nowait(sighting)
            except trio.WouldBlock:
                self._waiting.appendleft(sighting)
                return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


class _Session(ServiceListener):
    """Zeroconf on a set of addresses. Opened and closed in a thread; its callbacks come in others."""

    def __init__(self, announcement: Announcement, addresses: Sequence[str], sightings: _Sightings) -> None:
        self._sightings = sightings
        self._unresolved: queue.Queue[str | None] = queue.Queue(UNRESOLVED_MAX)
        self._zeroconf = Zeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only, use_asyncio=False)
        try:
            # A random name of 128 bits meets no other, so nobody is asked first whether it is free (1.2 s less).
            self._zeroconf.register_service(_service(announcement, addresses), cooperating_responders=True)
            self._resolver = threading.Thread(target=self._resolve_all, name="p2pcdn mDNS", daemon=True)
            self._resolver.start()
            self._browser = ServiceBrowser(self._zeroconf, SERVICE, listener=self)
        except BaseException:
            self._zeroconf.close()
            raise

    def close(self) -> None:
        """Says goodbye."""
        with suppress(queue.Full):
            self._unresolved.put_nowait(None)
        try:
            self._zeroconf.close()
        except Exception as error:
            log.debug("mDNS: closing: %s", error)

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Called by zeroconf."""
        if not self._is_ours(name):
            return
        info = ServiceInfo(SERVICE, name)
        if info.load_from_cache(zc):
            self._tell(info, name)
        else:
            with suppress(queue.Full):
                self._unresolved.put_nowait(name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Called by zeroconf."""
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Called by zeroconf."""
        self._sightings.gone(_instance(name))

    def _is_ours(self, name: str) -> bool:
        instance = _instance(name)
        return _INSTANCE.fullmatch(instance) is not None and instance != self._sightings.own.instance

    def _resolve_all(self) -> None:
        while (name := self._unresolved.get()) is not None:
            try:
                info = ServiceInfo(SERVICE, name)
                if info.request(self._zeroconf, RESOLVE_TIME_MS):
                    self._tell(info, name)
            except Exception as error:  # zeroconf was closed, or a name is none
                log.debug("mDNS: %s", error)

    def _tell(self, info: ServiceInfo, name: str) -> None:
        # Who has another group's key, or none, would only refuse us.
        if not info.port or (info.properties.get(b"g") or b"") != self._sightings.own.group_tag.encode():
            return
        for address in info.parsed_addresses(IPVersion.V4Only)[:ADDRESSES_PER_PEER_MAX]:
            self._sightings.add(Sighting(address, info.port, _instance(name)))


def _service(announcement: Announcement, addresses: Sequence[str]) -> ServiceInfo:
    """What is announced: no package, no user, no stable name."""
    return ServiceInfo(
        SERVICE,
        f"{announcement.instance}.{SERVICE}",
        port=announcement.port,
        parsed_addresses=list(addresses),
        server=f"{announcement.instance}.local.",
        properties={"v": announcement.version, "g": announcement.group_tag, "b": announcement.instance},
    )


def _instance(name: str) -> str:
    return name.removesuffix(f".{SERVICE}").lower()
