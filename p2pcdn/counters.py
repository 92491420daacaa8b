"""What a node counts about itself: bytes by source, requests, refusals. `status` and `/metrics` are made from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Whoever reaches the peer port could otherwise fill our memory with addresses of its own (an IPv6 host has 2**64).
HOSTS_MAX = 1024


@dataclass(slots=True)
class Counters:
    """Plain numbers that only grow; written by one thread (trio's), so a read is always whole.

    Keys of the labelled ones are what stands in the label: a face, a status, an upstream's label, a peer's address.
    """

    served_bytes: int = 0  # bodies to clients of the index face
    store_bytes: int = 0  # of these, out of the store
    peer_bytes: Counter[str] = field(default_factory=Counter)  # received from each peer, verified
    upstream_bytes: Counter[str] = field(default_factory=Counter)  # of files and metadata, received from each index
    page_bytes: Counter[str] = field(default_factory=Counter)  # of pages, received from each index
    given_bytes: Counter[str] = field(default_factory=Counter)  # sent to each peer
    requests: Counter[str] = field(default_factory=Counter)  # by face and status: "index 200"
    page_hits: int = 0  # pages answered without asking the upstream
    page_misses: int = 0
    file_hits: int = 0  # files answered whole out of the store
    file_misses: int = 0
    stale_answers: int = 0  # pages given although their upstream did not answer
    claimed_answers: int = 0  # of these and of offline ones: pages that a member of the group had signed
    upstream_page_requests: int = 0
    upstream_file_requests: int = 0
    duplicate_bytes: int = 0  # of pieces that came from two peers
    refused_pieces: Counter[str] = field(default_factory=Counter)  # by peer
    digest_mismatches: int = 0

    def given_to(self, host: str, size_bytes: int) -> None:
        """Counts bytes that a peer got; those of more than `HOSTS_MAX` hosts together, as "others"."""
        known = host in self.given_bytes or len(self.given_bytes) < HOSTS_MAX
        self.given_bytes[host if known else "others"] += size_bytes
