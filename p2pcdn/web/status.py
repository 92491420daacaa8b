"""What a node tells of itself: the object of `p2pcdn status --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import trio

from p2pcdn.counters import Counters
from p2pcdn.group import Identity
from p2pcdn.index import Pages
from p2pcdn.store import Store
from p2pcdn.swarm import Swarm
from p2pcdn.world import Index


@dataclass(slots=True)
class Status:
    """Called, it tells how things are now. What is known later than the rest is set by the node.

    private_prefix: behind which the indexes with credentials are. index_url, peer_address: "" while nobody listens.
    """

    version: str
    node_id: str
    identity: Identity
    indexes: tuple[Index, ...]
    offline: bool
    private_prefix: str
    store: Store
    swarm: Swarm
    counters: Counters
    started_at: float
    pages: Pages | None = None
    index_url: str = ""
    peer_address: str = ""

    def __call__(self) -> dict[str, Any]:
        """The object of `p2pcdn status --json`; docs/commands.md names its keys."""
        counters, summary = self.counters, self.store.summary()
        from_peers, from_upstream = sum(counters.peer_bytes.values()), sum(counters.upstream_bytes.values())
        status = {
            "version": self.version,
            "node_id": self.node_id,
            "uptime_s": round(trio.current_time() - self.started_at, 3),
            "index_url": self.index_url,
            "peer_address": self.peer_address,
            "group": self.identity.tag or None,
            "peers": self.peers(),
            "store": {
                "blobs": summary.blobs,
                "size_bytes": summary.size_bytes,
                "limit_bytes": summary.limit_bytes,
                "partials": summary.partials,
                "evicted_bytes": summary.evicted_bytes,
                "trees": summary.trees,
                "tree_bytes": summary.tree_bytes,
            },
            "bytes": {
                "served": counters.served_bytes,
                "from_store": counters.store_bytes,
                "from_peers": from_peers,
                "from_upstream": from_upstream,
                "pages_from_upstream": sum(counters.page_bytes.values()),
            },
            "requests": dict(counters.requests),
            "pages": {"hits": counters.page_hits, "misses": counters.page_misses, "stale": counters.stale_answers},
            "files": {"hits": counters.file_hits, "misses": counters.file_misses},
            "upstream_page_requests": counters.upstream_page_requests,
            "upstream_file_requests": counters.upstream_file_requests,
            "refused_pieces": sum(counters.refused_pieces.values()),
            "saved_bytes": max(0, counters.served_bytes - from_upstream),
            "offline": self.offline,
            "indexes": [self._index_status(index) for index in self.indexes],
            "room": self._room(),
            "health": summary.health,
        }
        if any(index.private for index in self.indexes):
            status["private_index_url"] = self.index_url.replace("/simple/", f"{self.private_prefix}/simple/")
        return status

    def _room(self) -> dict[str, Any] | None:
        """What the members of our group hold together; None in open mode."""
        if self.identity.group is None:
            return None
        return {**asdict(self.swarm.nearby.status()), "claimed_answers": self.counters.claimed_answers}

    def _index_status(self, index: Index) -> dict[str, Any]:
        answers = self.pages is None or index.url not in self.pages.failing()
        return {"url": index.url, "share": index.share, "private": index.private, "answers": answers}

    def peers(self) -> list[dict[str, Any]]:
        """As `/v1/peers` tells them."""
        return [asdict(peer) for peer in self.swarm.peers()]
