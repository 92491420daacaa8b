"""The world of one seed: five machines on their wires, an upstream with files, and which faults are to come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2pcdn.digest import Sha256
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.node import Settings
from p2pcdn.store import StoreLimits
from p2pcdn.world import Sighting, Upstream
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.routes import trust
from p2pcdn_daemon.upstream.upstream import HttpxUpstream, UpstreamSettings
from simnet.announcements import Air
from simnet.disk import SimDisk
from simnet.host import Host
from simnet.inode import Pool
from simnet.kernel import Kernel
from simnet.machine import PEER_PORT, Machine
from simnet.marks import sometimes
from simnet.network import Net
from simnet.scale import PIECE_SIZE_BYTES
from simnet.scenarios.faults.bad_peers import BadPeer, LyingProxy
from simnet.scenarios.faults.plan import BAD_PEERS, UNSEEN, plan
from simnet.scenarios.faults.upstream import FaultyUpstream

NODES = 5
# Users ask in the first seconds of a seed, and faults begin in them.
HORIZON_S = 4.0
DISK_SIZE_BYTES = 1 << 30
MEGABIT = 125_000.0
SIZES = (1_800, 24_000, 70_000, 150_000)

_trust: list[Any] = []


def warm_up() -> None:
    """Loads the certificates of all upstreams once a process, and outside of virtual time."""
    if not _trust:
        _trust.append(trust(None))


class World:
    """What the story, the users, the faults and the checks of one seed share.

    rotten: (machine, sha256) of blobs that were made to rot. troubled: machines whose disk was made to fail.
    failures: sentences; whoever sees something wrong adds one.
    """

    def __init__(self, seed: int, directory: Path, kernel: Kernel) -> None:
        self.seed = seed
        self.dice = random.Random(f"faults {seed}")
        self.kernel = kernel
        self.failures: list[str] = []
        self.net = Net(kernel, seed)
        self.machines: list[Machine] = []
        self.faults = plan(self.dice, NODES, HORIZON_S)
        self.healed_at = max((fault.until_s for fault in self.faults), default=0.0)
        self.rotten: set[tuple[str, Sha256]] = set()
        self.troubled: set[str] = set()
        self.origin_lies = any(fault.kind in ("upstream lies", "proxy lies") for fault in self.faults)
        self.unseen = all(fault.kind in UNSEEN for fault in self.faults)
        self.liars = {f"node-{fault.nodes[0]}" for fault in self.faults if fault.kind == "liar"}
        self.spoilt: set[int] = set()  # numbers of machines whose way to the upstream spoils files now
        self.spoilt_ever = {fault.nodes[0] for fault in self.faults if fault.kind == "proxy lies"}
        self._air = Air(kernel, self.net, seed)
        self._directory = directory
        self._proxies: dict[int, LyingProxy] = {}  # by the number of their machine; those of the lives that run

    def build(self) -> None:
        """Hosts, files and machines; in trio, for the kernel's clock is trio's."""
        dice, net = self.dice, self.net
        rate = dice.choice([2, 8, 50, 400]) * MEGABIT
        index = net.add_host("index.example", ip="198.51.100.1", up=rate, down=rate, latency_s=2e-3)
        files = net.add_host("files.example", ip="198.51.100.2", up=rate, down=rate, latency_s=2e-3)
        self.upstream = FaultyUpstream(net, index, files, as_json=dice.random() < 0.7)
        self.upstream.knows_range = dice.random() < 0.8
        self._publish()
        group = GroupKey.from_seed(dice.randbytes(32)) if dice.random() < 0.5 else None
        sometimes("nodes of a group", group is not None)
        static = dice.random() < 0.3
        pool = Pool(4096)
        hosts = [net.add_host(f"node-{number}", up=400 * MEGABIT, down=400 * MEGABIT) for number in range(NODES)]
        for number, host in enumerate(hosts):
            self.machines.append(self._machine(number, host, hosts if static else [], pool, group))
        for fault in self.faults:
            if fault.kind in BAD_PEERS:
                bad = random.Random(f"bad {self.seed} {fault.nodes}")
                self.machines[fault.nodes[0]].bad = lambda honest, fault=fault, bad=bad: BadPeer(honest, fault, bad)  # type: ignore[misc]

    def spoil(self, number: int, *, lies: bool) -> None:
        """From now on the way of this machine to the upstream spoils files, or does not any more."""
        (self.spoilt.add if lies else self.spoilt.discard)(number)
        self._proxies[number].lies = lies

    def fail(self, sentence: str) -> None:
        self.failures.append(sentence)

    # --- below

    def _publish(self) -> None:
        dice = self.dice
        for project in ("alpha", "beta"):
            for number in range(dice.randint(1, 2)):
                content = dice.randbytes(dice.choice(SIZES) + dice.randrange(1000))
                self.upstream.publish(project, content, f"{project}-{number}.0-py3-none-any.whl")
        if self.upstream.as_json and dice.random() < 0.2:
            self.upstream.hashless = dice.choice(list(self.upstream.published.values())).filename
        self.contents = {one.sha256: one.content for one in self.upstream.published.values()}

    def _machine(self, number: int, host: Host, known: Sequence[Host], pool: Pool, group: GroupKey | None) -> Machine:
        index, _ = make_index(self.upstream.index_url, 0, "lan")
        settings = Settings(
            indexes=(index,),
            offline=False,
            store_limits=StoreLimits(1 << 30, None, 1 << 20, 0),
            allow_hosts=(),
            static_peers=tuple(Sighting(other.ip, PEER_PORT) for other in known if other is not host),
            version="0",
            identity=Identity(Device.from_seed(random.Random(f"device {self.seed} {number}").randbytes(32)), group),
            piece_size_bytes=PIECE_SIZE_BYTES,
        )
        directory = self._directory / host.name
        disk = SimDisk(
            random.Random(f"disk {self.seed} {number}"),
            pool=pool,
            rooms=[directory / "blobs", directory / "partials"],
            ordered=self.dice.random() < 0.5,
            capacity_bytes=DISK_SIZE_BYTES,
        )

        def upstream() -> Upstream:
            made = HttpxUpstream([UpstreamSettings(index)], file_hosts=["files.example"], environment={})
            made._trust[None] = _trust[0]
            proxy = LyingProxy(made, random.Random(f"proxy {self.seed} {number}"))
            proxy.lies = number in self.spoilt
            self._proxies[number] = proxy
            return proxy

        discoveries = [] if known else [self._air.discovery()]
        return Machine(self.net, host, disk, directory, settings, upstream, lambda: list(discoveries), self.seed)
