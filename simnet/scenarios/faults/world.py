"""The world of one seed: five machines on their wires, an upstream with files, and which faults are to come."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import StoreUnreadable
from p2pcdn.group import GroupKey
from p2pcdn.http1 import Handler
from p2pcdn.store import Store, StoreLimits
from p2pcdn.world import Upstream
from simnet.disks.disk import SimDisk
from simnet.disks.inode import Pool
from simnet.marks import sometimes
from simnet.net.announcements import Air
from simnet.net.network import Net
from simnet.node import Options, SimNode
from simnet.scale import PIECE_SIZE_BYTES
from simnet.scenarios.faults.bad_peers import BadPeer, LyingProxy
from simnet.scenarios.faults.plan import BAD_PEERS, UNSEEN, plan
from simnet.scenarios.faults.upstream import FaultyUpstream
from simnet.turns.kernel import Kernel

NODES = 5
# Users ask in the first seconds of a seed, and faults begin in them.
HORIZON_S = 4.0
# Firmware, kernel, service: a machine is back after so long at least.
BOOT_TIME_S = 0.3
# RestartSec of the unit.
START_AGAIN_AFTER_S = 1.0
DISK_SIZE_BYTES = 1 << 30
LIMITS = StoreLimits(1 << 30, None, 1 << 20, 0)
MEGABIT = 125_000.0
SIZES = (1_800, 24_000, 70_000, 150_000)


class World:
    """What the story, the users, the faults and the checks of one seed share; the run that its nodes are in.

    spoilt: numbers of machines whose way to the upstream spoils files now. rotten: (machine, sha256) of blobs that were
    made to rot. troubled: machines whose disk was made to fail. kept: what a machine's catalog listed when its last
    life ended. attempts: of a machine's users; the power takes them along. failures: sentences; whoever sees something
    wrong adds one.
    """

    upstream: FaultyUpstream
    nursery: trio.Nursery

    def __init__(self, seed: int, directory: Path, kernel: Kernel) -> None:
        self.seed = seed
        self.dice = random.Random(f"faults {seed}")
        self.kernel = kernel
        self.net = Net(kernel, seed)
        self.air = Air(kernel, self.net, seed)
        self.directory = directory
        self.no_certificates = directory / "no-certificates"
        self.no_certificates.mkdir()
        self.nodes: list[SimNode] = []
        self.faults = plan(self.dice, random.Random(f"later faults {seed}"), NODES, HORIZON_S)
        self.healed_at = max((fault.until_s for fault in self.faults), default=0.0)
        self.origin_lies = any(fault.kind in ("upstream lies", "proxy lies") for fault in self.faults)
        self.unseen = all(fault.kind in UNSEEN for fault in self.faults)
        self.liars = {f"node-{fault.nodes[0]}" for fault in self.faults if fault.kind == "liar"}
        self.spoilt_ever = {fault.nodes[0] for fault in self.faults if fault.kind == "proxy lies"}
        self.spoilt: set[int] = set()
        self.rotten: set[tuple[str, Sha256]] = set()
        self.troubled: set[str] = set()
        self.kept: dict[str, set[Sha256]] = {}
        self.attempts: dict[str, set[trio.CancelScope]] = {}
        self.failures: list[str] = []
        self._pool = Pool(4096)

    def build(self, on_store: Callable[[SimNode, Store], None]) -> None:
        """Hosts, files and nodes, switched off; in trio. on_store: told of the store of each life."""
        dice, net = self.dice, self.net
        rate = dice.choice([2, 8, 50, 400]) * MEGABIT
        index = net.add_host("index.example", ip="198.51.100.1", up=rate, down=rate, latency_s=2e-3)
        files = net.add_host("files.example", ip="198.51.100.2", up=rate, down=rate, latency_s=2e-3)
        self.upstream = FaultyUpstream(net, index, files)
        may_lack_a_hash = dice.random() < 0.7
        self.upstream.knows_range = dice.random() < 0.8
        self._publish(may_lack_a_hash=may_lack_a_hash)
        group = GroupKey.from_seed(dice.randbytes(32)) if dice.random() < 0.5 else None
        sometimes("nodes of a group", group is not None)
        static = dice.random() < 0.3
        hosts = [net.add_host(f"node-{number}", up=400 * MEGABIT, down=400 * MEGABIT) for number in range(NODES)]
        for number, host in enumerate(hosts):
            known = [one.name for one in hosts if one is not host] if static else []
            options = replace(self._options(number, group), peers=known, announces=not known, on_store=on_store)
            self.nodes.append(SimNode(self, number, host, options))

    def end(self, node: SimNode, *, power: bool) -> None:
        """The power of a node that runs goes, or its process is killed: at once, and nobody is told."""
        if node.store is not None:
            self.kept[node.host.name] = {row.sha256 for row in node.store.rows()}
        if power:
            node.power_off()
        else:
            node.kill()
        for attempt in list(self.attempts.get(node.host.name, ())):
            attempt.cancel()

    async def start_again(self, node: SimNode) -> None:
        """After `end`: another life on the same disk. Returns when it serves."""
        await trio.sleep(BOOT_TIME_S)
        while True:
            try:
                return await node.restart()
            except RuntimeError:
                if not self._is_tried_again(node, node.died):
                    raise
            await trio.sleep(START_AGAIN_AFTER_S)

    def fail(self, sentence: str) -> None:
        self.failures.append(sentence)

    # --- what a node asks of its run

    def disk_of(self, node: SimNode) -> SimDisk:
        return SimDisk(
            random.Random(f"disk {self.seed} {node.number}"),
            pool=self._pool,
            rooms=[node.layout.blobs, node.layout.partials],
            ordered=self.dice.random() < 0.5,
            capacity_bytes=DISK_SIZE_BYTES,
        )

    def died(self, node: SimNode, error: BaseException) -> None:
        if not self._is_tried_again(node, error):
            self.fail(f"{node.host} died: {error!r}")

    def _is_tried_again(self, node: SimNode, error: BaseException | None) -> bool:
        """As by systemd: a start whose disk was made to fail ends with an exit code that asks for another."""
        return isinstance(error, StoreUnreadable) and node.host.name in self.troubled

    # --- below

    def _publish(self, *, may_lack_a_hash: bool) -> None:
        dice = self.dice
        for project in ("alpha", "beta"):
            for number in range(dice.randint(1, 2)):
                content = dice.randbytes(dice.choice(SIZES) + dice.randrange(1000))
                self.upstream.publish(project, content, f"{project}-{number}.0-py3-none-any.whl")
        if may_lack_a_hash and dice.random() < 0.2:
            self.upstream.hashless = dice.choice(list(self.upstream.published.values())).filename
        self.contents = {one.sha256: one.content for one in self.upstream.published.values()}

    def _options(self, number: int, group: GroupKey | None) -> Options:
        def answers(honest: Handler) -> Handler:
            bad = next((fault for fault in self.faults if fault.kind in BAD_PEERS and number in fault.nodes), None)
            return honest if bad is None else BadPeer(honest, bad, random.Random(f"bad {self.seed} {number}"))

        dice = random.Random(f"proxy {self.seed} {number}")

        def upstream(honest: Upstream) -> Upstream:
            return LyingProxy(honest, lambda: number in self.spoilt, dice)

        return Options(
            group=group,
            share="lan",
            limits=LIMITS,
            piece_size_bytes=PIECE_SIZE_BYTES,
            upstream=upstream,
            answers=answers,
        )
