"""What must be true of five nodes whatever went wrong: nothing kept is lost, the upstream sent no more than needed."""

from __future__ import annotations

import hashlib

from p2pcdn.store import Store
from simnet.marks import sometimes
from simnet.node import SimNode
from simnet.scale import PIECE_SIZE_BYTES
from simnet.scenarios.faults.plan import DEATHS
from simnet.scenarios.faults.world import NODES, World

# Of each answer of the upstream; heads are counted, too.
HEAD_SIZE_BYTES = 250


class Checks:
    """Those of one seed. Whatever is wrong becomes a failure of its world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def at_start(self, node: SimNode, store: Store) -> None:
        """Of each life: what was kept when the last one ended is there, and whole."""
        rows = {row.sha256 for row in store.rows()}
        for sha256 in self._world.kept.get(node.host.name, set()) - rows:
            if (node.host.name, sha256) not in self._world.rotten:
                self._world.fail(f"{node.host}: {sha256[:8]} was kept, and has no row after the restart")
        partials = [path for path in node.disk.paths() if path.parent.name == "partials"]
        sometimes("an interrupted download was there after a restart", partials)
        self._check_rows(node, store)

    def at_the_end(self) -> None:
        for node in self._world.nodes:
            if node.alive and node.store is not None:
                self._check_rows(node, node.store)
            self._read_counters(node)
        self._check_upstream()

    # --- below

    def _check_rows(self, node: SimNode, store: Store) -> None:
        for row in store.rows():
            if row.inline or (node.host.name, row.sha256) in self._world.rotten:
                continue
            content = node.disk.content(node.layout.blob(row.name))
            if content is None or hashlib.sha256(content).hexdigest() != row.sha256:
                how = "no file" if content is None else "a wrong file"
                self._world.fail(f"{node.host}: {row.sha256[:8]} has a row and {how}")

    def _read_counters(self, node: SimNode) -> None:
        if node.node is None:
            return
        status = node.node.status()
        sometimes("a piece was refused", status["refused_pieces"])
        sometimes("bytes came from a peer", status["bytes"]["from_peers"])
        sometimes("a peer was struck", any(peer["strikes"] for peer in status["peers"]))
        sometimes("a store stopped writing", status["health"] != "ok")

    def _check_upstream(self) -> None:
        upstream = self._world.upstream
        sometimes("the upstream was asked for a range", any(asked for _, asked in upstream.requests))
        bound = self._content_bytes_max()
        # What no hash vouches for goes from nobody to nobody.
        hashless = [one for one in upstream.published.values() if one.filename == upstream.hashless]
        bound += sum(NODES * len(one.content) for one in hashless)
        bound += HEAD_SIZE_BYTES * len(upstream.requests)
        if upstream.sent_bytes > bound:
            self._world.fail(f"the upstream sent {upstream.sent_bytes} bytes, and {bound} were to be enough")

    def _content_bytes_max(self) -> int:
        """Without faults the room reads each file once; else each node may, and each fault may make it begin again."""
        world, upstream = self._world, self._world.upstream
        if not world.faults:
            asked = {path for path, _ in upstream.requests}
            return sum(len(upstream.published[path].content) + 2 * PIECE_SIZE_BYTES for path in asked)
        size_bytes = sum(map(len, world.contents.values()))
        if {fault.kind for fault in world.faults} <= {*DEATHS, "clock", "disk slow"}:
            # Who dies reads again what it had not synced; who comes back knows nobody for a moment.
            deaths = sum(fault.kind in DEATHS for fault in world.faults)
            return size_bytes * (1 + 2 * deaths) + 2 * PIECE_SIZE_BYTES * len(world.contents)
        return size_bytes * (NODES * (1 + len(world.faults)) + 2 * world.origin_lies * NODES)
