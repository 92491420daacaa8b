"""What every download of a node works with, and the one way in which a peer is refused."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.group import Identity
from p2pcdn.swarm.exchange import Exchange
from p2pcdn.swarm.manifest import Cutting
from p2pcdn.swarm.peers import Peer, Peers
from p2pcdn.world import Threads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """Shared by all downloads of a node."""

    exchange: Exchange
    peers: Peers
    counters: Counters
    threads: Threads
    dice: random.Random
    identity: Identity
    cutting: Cutting
    meet: Callable[[Peer], None] = lambda peer: None  # says hello to one of whom we only heard


def sealed_port(peer: Peer) -> int:
    """Where it speaks TLS; 0 where it does not, or has not told yet."""
    return 0 if peer.hello is None else peer.hello.sealed_port


def refuse(tools: Tools, peer: Peer, sha256: Sha256, name: str, why: str) -> None:
    """A peer gave what no honest one gives: a strike for the file, a count, and the audit line: who, what, why."""
    if sha256 not in peer.distrusted:
        tools.peers.lied(peer, why, trio.current_time())
        tools.peers.distrust(peer, sha256)
    tools.counters.refused_pieces[str(peer.address)] += 1
    log.warning(
        "refused from %s: %s: %s",
        peer.address,
        name,
        why,
        extra={"peer": str(peer.address), "file": name, "sha256": sha256, "why": why, "strikes": peer.strikes},
    )
