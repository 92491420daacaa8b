"""How each kind of fault is done to the world of a seed, and undone when its time is over."""

from __future__ import annotations

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.store import Store
from simnet.disks.disk_faults import Script, fail_once
from simnet.marks import sometimes
from simnet.net.host import HERE, Host
from simnet.node import SimNode
from simnet.scenarios.faults.plan import BAD_PEERS, Fault
from simnet.scenarios.faults.world import DISK_SIZE_BYTES, HORIZON_S, SIZES, World


class Injection:
    """The faults of one seed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cuts: dict[int, tuple[list[Host], list[Host], bool]] = {}  # by the number of their fault

    def begin(self, nursery: trio.Nursery) -> None:
        for number, fault in enumerate(self._world.faults):
            nursery.start_soon(self._inject, number, fault)

    # --- below

    async def _inject(self, number: int, fault: Fault) -> None:
        nodes = [self._world.nodes[number] for number in fault.nodes]
        hosts = [node.host for node in nodes]
        await trio.sleep(fault.at_s)
        self._world.kernel.trace(f"fault {fault}")
        last_s = fault.until_s - fault.at_s
        match fault.kind:
            case "loss":
                self._world.net.weather.loss += fault.number
                await trio.sleep(last_s)
                self._world.net.weather.loss -= fault.number
            case "jitter":
                self._world.net.weather.jitter_s += fault.number
                await trio.sleep(last_s)
                self._world.net.weather.jitter_s -= fault.number
            case "names down":
                self._world.net.dns.down = True
                await trio.sleep(last_s)
                self._world.net.dns.down = False
                sometimes("names were looked up in vain", self._world.net.dns.in_vain)
            case "partition" | "one way":
                await self._cut(number, fault, hosts, last_s)
            case "clog" | "swizzle":
                await self._clog(fault, hosts, last_s)
            case "power" | "kill":
                await self._end_a_life(nodes[0], fault.kind == "power", last_s)
            case "reader dies":
                await self._end_a_reader(fault.word != "all", last_s)
            case "clock":
                nodes[0].clock.ahead_s += fault.number
            case "rot":
                await self._rot(nodes[0])
            case "proxy lies":
                self._world.spoilt.add(fault.nodes[0])
                await trio.sleep(last_s)
                self._world.spoilt.discard(fault.nodes[0])
            case _ if fault.kind in BAD_PEERS:
                pass  # they are so from the start
            case _ if fault.kind.startswith("upstream"):
                await self._upset_upstream(fault, last_s)
            case _:
                await self._upset_disk(nodes[0], fault, last_s)

    async def _cut(self, number: int, fault: Fault, hosts: list[Host], last_s: float) -> None:
        world = self._world
        others = [node.host for node in world.nodes if node.host not in hosts]
        if world.dice.random() < 0.5:
            others += [world.upstream.index, world.upstream.files]
        pair = (others, hosts) if world.dice.random() < 0.5 else (hosts, others)
        self._cuts[number] = (*pair, fault.kind == "one way")
        self._apply_cuts()
        await trio.sleep(last_s)
        del self._cuts[number]
        self._apply_cuts()

    def _apply_cuts(self) -> None:
        self._world.net.heal()
        for one, other, one_way in self._cuts.values():
            self._world.net.cut(one, other, one_way=one_way)

    async def _clog(self, fault: Fault, hosts: list[Host], last_s: float) -> None:
        step_s = last_s / (2 * len(hosts)) if fault.kind == "swizzle" else 0.0
        for host in hosts:
            host.up.clog()
            host.down.clog()
            await trio.sleep(step_s)
        await trio.sleep(last_s - step_s * len(hosts))
        for host in self._world.dice.sample(hosts, len(hosts)):
            host.up.unclog()
            host.down.unclog()
            await trio.sleep(step_s)

    async def _end_a_life(self, node: SimNode, power: bool, last_s: float) -> None:
        if not node.alive:
            return
        self._world.end(node, power=power)
        sometimes("a power cut" if power else "a kill")
        await trio.sleep(last_s if power else 0.0)
        await self._world.start_again(node)

    async def _end_a_reader(self, power: bool, last_s: float) -> None:
        self._world.upstream.reader, self._world.upstream.somebody_reads = "", trio.Event()
        with trio.move_on_after(HORIZON_S) as nobody:
            await self._world.upstream.somebody_reads.wait()
        if nobody.cancelled_caught:
            return
        node = next(one for one in self._world.nodes if one.host.ip == self._world.upstream.reader)
        await trio.sleep(self._world.dice.random() * SIZES[-1] / self._world.upstream.files.up.rate)
        sometimes("whoever read the upstream died")
        await self._end_a_life(node, power, last_s / 3)

    async def _rot(self, node: SimNode) -> None:
        where = node.disk.rot("/blobs/")
        if where is None:
            return
        # By its name, for its row may come later than the rot.
        hit = [sha256 for sha256, content in self._world.contents.items() if BlobName.of(content) == where[0].name]
        self._world.rotten.update((node.host.name, Sha256(sha256)) for sha256 in hit)
        if node.alive and node.store is not None:
            await self._scrub(node, node.store)

    async def _scrub(self, node: SimNode, store: Store) -> None:
        HERE.set(node.host)
        life = node.lives
        try:
            report = await store.verify(lambda checked, of: None)
        except Exception:
            if node.lives_on(life) and node.host.name not in self._world.troubled:
                raise
            return
        sometimes("rot was found by the scrub", report.rotten)

    async def _upset_upstream(self, fault: Fault, last_s: float) -> None:
        upstream, dice = self._world.upstream, self._world.dice
        hosts = [upstream.index, upstream.files]
        files, pages = upstream.file_faults, upstream.index_faults
        faults = dice.choice([[files], [files], [files, pages]])
        after = dice.choice([0, 1000, 40_000, 100_000])
        for one in faults:
            match fault.kind:
                case "upstream hangs":
                    one.hang_after = after
                case "upstream 5xx":
                    one.status = dice.choice([500, 502, 503, 429])
                case "upstream cuts":
                    one.cut_after = after
                case "upstream lies":
                    upstream.file_faults.lies = True
                case "upstream slow":
                    one.latency_s = dice.uniform(0.2, 3.0)
        if fault.kind == "upstream down":
            for host in hosts:
                host.up.clog()
                host.down.clog()
        await trio.sleep(last_s)
        for one in faults:
            one.hang_after = one.status = one.cut_after = None
            one.lies, one.latency_s = False, 0.0
        if fault.kind == "upstream down":
            for host in hosts:
                host.up.unclog()
                host.down.unclog()

    async def _upset_disk(self, node: SimNode, fault: Fault, last_s: float) -> None:
        disk, nth = node.disk, int(fault.number)
        if fault.kind != "disk slow":
            self._world.troubled.add(node.host.name)
        match fault.kind:
            case "disk full":
                disk.capacity_bytes = nth * 10_000
            case "disk sync":
                disk.faults.script = fail_once(self._world.dice.choice(["fsync", "syncdir"]), nth)
            case "disk write":
                disk.faults.script = fail_once(self._world.dice.choice(["pwrite", "create", "rename", "truncate"]), nth)
            case "disk read":
                disk.faults.script = _noted(fail_once(self._world.dice.choice(["pread", "open", "list"]), nth))
            case "disk slow":
                disk.faults.stall_s = 0.02 * nth
        await trio.sleep(last_s)
        disk.capacity_bytes, disk.faults.script, disk.faults.stall_s = DISK_SIZE_BYTES, None, 0.0


def _noted(script: Script) -> Script:
    def told(call: str, path: str) -> int | None:
        code = script(call, path)
        sometimes("the disk could not read", code)
        return code

    return told
