"""What every download of a node works with: shared parts, hashing a piece that came, and what a bad peer is in for."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import Unanswered, Unavailable
from p2pcdn.group import Identity
from p2pcdn.swarm.neighbours.exchange import Exchange
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.neighbours.peers import Peers
from p2pcdn.swarm.pieces.manifest import Cut, Cutting, part_hashes
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

# A piece of 1 MiB is hashed on the loop: 0.25 ms. In a thread it was slower (1.6 GB/s for 1.8) and dearer (0.47 CPU
# seconds a GB for 0.35), measured with two cores by benchmarks/bench_peers.py.
INLINE_SIZE_BYTES_MAX = 1024 * 1024


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


async def hash_parts(threads: Threads, sha256: Sha256, cut: Cut, index: int, content: bytes | memoryview) -> bytes:
    """The hashes of the parts of a piece that has just come, on the loop or in a thread by its size."""
    if len(content) <= INLINE_SIZE_BYTES_MAX:
        return part_hashes(sha256, cut, index, content)
    return await threads.run(part_hashes, sha256, cut, index, content)


def sealed_port(peer: Peer) -> int:
    """Where it speaks TLS; 0 where it does not, or has not told yet."""
    return 0 if peer.hello is None else peer.hello.sealed_port


def leave_alone(tools: Tools, peer: Peer, error: Unavailable) -> None:
    """A peer did not answer, or broke off; what one has that was only silent nobody knows."""
    tools.peers.failed(peer, str(error), trio.current_time(), silent=isinstance(error, Unanswered))


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
