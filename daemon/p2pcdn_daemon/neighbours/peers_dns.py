"""Neighbours that the DNS names: all addresses of a name (a headless service of Kubernetes), or SRV records."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from p2pcdn.world import Announcement, Sighting

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

log = logging.getLogger(__name__)

# How often a name is asked for: a pod that is new is found by its neighbours within a minute, and finds them at once.
ASK_EVERY_S = 30.0
# After a failure: soon again at first (a fleet's first node starts before its name is there), then more seldom.
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
# So many times as long, or as short: a thousand nodes that start together do not ask together.
JITTER = 0.25
# A resolver that answers at all answers within this; the thread that hangs in it is left behind.
LOOK_UP_TIME_S = 10.0
# Of one name; the swarm's own table is not larger.
ADDRESSES_MAX = 1024
# Targets of SRV records; each is a question more. So many at once.
TARGETS_MAX = 256
LOOK_UPS_AT_ONCE = 16

Target = tuple[str, int]
FindTargets = Callable[[str], Awaitable[Sequence[Target]]]


class Unresolved(Exception):
    """A name could not be looked up now; str() says why, for the end of a sentence."""


class DnsPeers:
    """A `p2pcdn.world.Discovery`. While a name cannot be looked up, those that it led to last stay."""

    def __init__(self, names: Sequence[str], dice: random.Random, *, find_targets: FindTargets | None = None) -> None:
        """names: "peers.example:7273", or "_peer._tcp.p2pcdn.example". Hosts are looked up by trio's resolver.

        find_targets: asks for SRV records; raises Unresolved.
        """
        self._names = names
        self._dice = dice
        self._find_targets = find_targets or srv_targets
        self._named: dict[str, frozenset[Sighting]] = {}

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        """Names the neighbours, and tells what is changed, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            for name in dict.fromkeys(self._names):
                nursery.start_soon(self._watch, name, found)

    async def _watch(self, name: str, found: trio.MemorySendChannel[Sighting]) -> None:
        failures = 0
        while True:
            try:
                peers = await self._look_up(name)
            except Unresolved as error:
                if not failures:
                    log.warning("neighbours by DNS: %s: %s; it is asked for again and again", name, error)
                pause_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures, 20))
                failures += 1
            else:
                if failures:
                    log.info("neighbours by DNS: %s leads to %d addresses", name, len(peers))
                failures = 0
                pause_s = ASK_EVERY_S
                await self._tell(name, peers, found)
            await trio.sleep(pause_s * (1 + JITTER * (2 * self._dice.random() - 1)))

    async def _tell(self, name: str, peers: frozenset[Sighting], found: trio.MemorySendChannel[Sighting]) -> None:
        before = self._all()
        self._named[name] = peers
        now = self._all()
        for peer in sorted(before - now, key=_order):
            await found.send(peer._replace(gone=True))
        for peer in sorted(now - before, key=_order):
            await found.send(peer)

    def _all(self) -> frozenset[Sighting]:
        return frozenset[Sighting]().union(*self._named.values())

    async def _look_up(self, name: str) -> frozenset[Sighting]:
        with trio.move_on_after(LOOK_UP_TIME_S):
            targets = await self._find_targets(name) if name.startswith("_") else [_target(name)]
            peers = await _addresses(targets[:TARGETS_MAX])
            return frozenset(sorted(peers, key=_order)[:ADDRESSES_MAX])
        raise Unresolved(f"no answer within {LOOK_UP_TIME_S:g} s")


async def _addresses(targets: Sequence[Target]) -> set[Sighting]:
    """Where all targets are; some of many may be unknown. Raises Unresolved where none can be found."""
    peers: set[Sighting] = set()
    failures: list[Exception] = []
    at_once = trio.CapacityLimiter(LOOK_UPS_AT_ONCE)

    async def look_up(host: str, port: int) -> None:
        try:
            async with at_once:
                answers = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failures.append(error)
        else:
            peers.update(Sighting(str(answer[4][0]), port) for answer in answers)

    async with trio.open_nursery() as nursery:
        for host, port in targets:
            nursery.start_soon(look_up, host, port)
    if failures and not peers:
        raise Unresolved(getattr(failures[0], "strerror", None) or str(failures[0]))
    return peers


def _target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _order(peer: Sighting) -> tuple[str, int]:
    return peer.host, peer.port


async def srv_targets(name: str, resolver: Resolver | None = None) -> Sequence[Target]:
    """The hosts and ports of a name's SRV records (RFC 2782); none where they say that there is no such service.

    resolver: None means what /etc/resolv.conf names, with its search list. Raises Unresolved.
    """
    # The system's own resolver gives addresses only (docs/decisions/0005-srv-records-by-dnspython.md). It takes a
    # tenth of a second to load, which only those pay who use it.
    import dns.asyncresolver
    import dns.exception
    import dns.resolver

    try:
        # Made anew each time: a laptop changes its network, and with it the file.
        asked = resolver or dns.asyncresolver.Resolver()
        answer = await asked.resolve(name, "SRV", lifetime=LOOK_UP_TIME_S, search=not name.endswith("."))
    except dns.resolver.NXDOMAIN as error:
        raise Unresolved("there is no such name") from error
    except dns.resolver.NoAnswer as error:
        raise Unresolved("the name has no SRV records") from error
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise Unresolved(" ".join(str(error).split()).rstrip(".") or type(error).__name__) from error
    targets = [(record.target.to_text(omit_final_dot=True), record.port) for record in answer]
    return [(host, port) for host, port in targets if host != "." and port]
