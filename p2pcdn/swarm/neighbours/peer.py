"""One neighbour: where it listens, what it has done, and how people are shown it. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from p2pcdn.digest import Sha256
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Sighting

# A tracker names the same ones every second: twice a large office.
ADDRESSES_REMEMBERED = 4096
# Hearsay that nobody has renewed for so long is forgotten.
HEARSAY_KEPT_S = 600.0

# How it was found.
LOCAL, CONFIGURED, ASKED_US, ONCE_CONFIGURED = "mdns", "configured", "asked us", "once configured"
# Learnt of while fetching a file, and from other nodes.
CROWD, TOLD = "crowd", "told"


class Address(NamedTuple):
    """Where a peer listens. host: a name or an IP address, without brackets.

    A tuple: when a room of hundreds meets, each node makes and looks up some tens of thousands.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def bare_host(address: str) -> str:
    """The host of `host:port`, as `Address` writes it, without brackets."""
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


@dataclass(slots=True, eq=False)
class Peer:
    """One neighbour; all times are trio's. Changed by `Peers` only."""

    address: Address
    source: str
    hello: Hello | None = None
    heard_boot: str | None = None  # hearsay: its boot id, as multicast or another node says
    heard_at: float = -math.inf  # when that was
    last_seen: float | None = None
    rtt_s: float | None = None
    ask_at: float = 0.0  # the next hello
    quiet_until: float = 0.0  # asked for nothing before that
    busy_until: float = 0.0  # asked for no other file before that
    failures: int = 0  # since it last gave something
    down: bool = False  # failed, and has not said hello since
    silences: int = 0  # how often in a row that was no answer in time; 0 where a door was shut
    strikes: int = 0
    banned: bool = False
    wrong: str | None = None  # why it was left alone last
    bytes_in: int = 0
    distrusted: dict[Sha256, None] = field(default_factory=dict)

    @property
    def configured(self) -> bool:
        return self.source == CONFIGURED

    @property
    def rumoured(self) -> bool:
        """Nobody but rumour says that somebody is there: no person named it, it never answered and never asked us."""
        return self.hello is None and self.source not in (CONFIGURED, ASKED_US)

    @property
    def living(self) -> bool:
        """It answered, and has not failed since."""
        return self.hello is not None and not self.down

    @property
    def boot(self) -> str | None:
        """Its boot id: what it said itself, else what is said of it."""
        return self.heard_boot if self.hello is None else self.hello.boot

    @property
    def name(self) -> str:
        """Its boot id once it said hello, until then its address: a node that has several addresses is one."""
        return str(self.address) if self.hello is None else self.hello.boot

    def is_member(self, now: float) -> bool:
        """Whether it counts as one of the room: it answers, or was heard of lately and has not failed."""
        return self.living or (not self.down and self.heard_boot is not None and now - self.heard_at < HEARSAY_KEPT_S)


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as `status` and `p2pcdn peers` show it. Times in seconds; rtt_s: of the last hello."""

    node_id: str
    address: str
    source: str
    version: str
    last_seen_s: float | None
    rtt_s: float | None
    bytes_in: int
    bytes_out: int
    strikes: int
    banned: bool
    wrong: str | None


@lru_cache(maxsize=ADDRESSES_REMEMBERED)
def address_of(sighting: Sighting) -> Address | None:
    """Where that is; None where it is nowhere, or a name that nobody configured."""
    host = sighting.host.removeprefix("[").removesuffix("]").lower()
    if not 0 < len(host) <= 255 or not 0 < sighting.port < 65536:
        return None
    if not host.isascii() or not host.isprintable() or any(sign in host for sign in " /?#@[]"):
        return None
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        # Only whoever configured a name may make us look one up.
        return Address(host, sighting.port) if sighting.instance is None else None
    if literal.is_multicast or literal.is_unspecified:
        return None
    return Address(host, sighting.port)


def is_literal(host: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def status_of(peer: Peer, bytes_in: int, given_bytes: Mapping[str, int], now: float) -> PeerStatus:
    """bytes_in: at all of its addresses. given_bytes: what we gave, by host."""
    hello = peer.hello
    host = f"[{peer.address.host}]" if ":" in peer.address.host else peer.address.host
    return PeerStatus(
        node_id=hello.node_id if hello else "",
        address=str(peer.address),
        source=peer.source,
        version=hello.version if hello else "",
        last_seen_s=None if peer.last_seen is None else round(max(0.0, now - peer.last_seen), 3),
        rtt_s=None if peer.rtt_s is None else round(peer.rtt_s, 6),
        bytes_in=bytes_in,
        bytes_out=given_bytes.get(host, 0),
        strikes=peer.strikes,
        banned=peer.banned,
        wrong=peer.wrong,
    )
