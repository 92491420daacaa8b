"""Five whole nodes and their users while wires, disks, machines, neighbours and the upstream go wrong.

Each user takes files through the node of its own machine and hashes every body. Checked: a completed answer is right;
what a catalog listed when its machine went down is there and whole when it is back; after all has healed every user has
got what it wanted in time; nothing but the sentences that belong to the faults stands in the log; the upstream sent no
more than the faults explain.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.node import Settings
from p2pcdn.store import Store, StoreLimits
from p2pcdn.world import Sighting, Upstream
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.routes import trust
from p2pcdn_daemon.upstream.upstream import HttpxUpstream, UpstreamSettings
from simnet.announcements import Air
from simnet.browse import Answer, get
from simnet.disk import SimDisk
from simnet.disk_faults import fail_once
from simnet.faults import DEATHS, UNSEEN, BadPeer, Fault, LyingProxy, plan
from simnet.host import HERE, Host
from simnet.inode import Pool
from simnet.kernel import Kernel
from simnet.machine import INDEX_PORT, LIFE, PEER_PORT, Machine
from simnet.marks import sometimes
from simnet.network import Net
from simnet.outcome import Outcome
from simnet.patches import Patches
from simnet.scale import PIECE_SIZE_BYTES, small_store
from simnet.seeds import scratch
from simnet.tcp import Factory
from simnet.upstream import Published, SimUpstream

NODES = 5
# Until then nodes find each other.
DAWN_S = 1.5
# Users ask in the first seconds after that, and faults begin in them.
HORIZON_S = 4.0
# After the last fault has ended. The watchdogs: 30 s for an upstream that fell silent, some tries with their pauses.
LIVENESS_S = 120.0
# A client that hears nothing for so long hangs up, as pip does.
PATIENCE_S = 15.0
PAUSE_S = (0.2, 1.0)
FETCHES_MAX = 4
DISK_SIZE_BYTES = 1 << 30
HEAD_SIZE_BYTES = 250
MEGABIT = 125_000.0
SIZES = (1_800, 24_000, 70_000, 150_000)

# What a node may answer while something is wrong; anything else is a bug at any time.
CLEAN_REFUSALS = frozenset({502, 503, 504})

MARKS = (
    "a power cut",
    "a kill",
    "whoever read the upstream died",
    "a peer lied",
    "a peer fell silent",
    "a piece was refused",
    "a peer was struck",
    "bytes came from a peer",
    "an interrupted download was there after a restart",
    "a client was refused and came again",
    "a body was broken off",
    "a store stopped writing",
    "the upstream was asked for a range",
    "a file passed through unkept",
    "rot was found by the scrub",
    "a seed without faults",
    "nodes of a group",
)

_trust: list[Any] = []


def run(seed: int) -> Outcome:
    """One seed."""
    directory = scratch()
    kernel, patches = Kernel(), Patches()
    if not _trust:
        _trust.append(trust(None))
    patches.apply(kernel, f"faults {seed}")
    try:
        with small_store():
            story = Story(seed, directory, kernel, patches)
            with story.listening_to_the_log():
                trio.run(story.tell, clock=kernel.clock)
        return Outcome(story.failures, kernel.digest())
    finally:
        patches.undo()
        shutil.rmtree(directory)


class Story:
    """One seed. `tell` it once."""

    def __init__(self, seed: int, directory: Path, kernel: Kernel, patches: Patches) -> None:
        self.seed = seed
        self.dice = random.Random(f"faults {seed}")
        self.kernel = kernel
        self.patches = patches
        self.directory = directory
        self.failures: list[str] = []
        self.net = Net(kernel, seed)
        self.air = Air(kernel, self.net, seed)
        self.machines: list[Machine] = []
        self.faults = plan(self.dice, NODES, HORIZON_S)
        self.healed_at = max((fault.until_s for fault in self.faults), default=0.0)
        self.rotten: set[tuple[str, Sha256]] = set()
        self.troubled: set[str] = set()  # machines whose disk was made to fail
        self.origin_lies = any(fault.kind in ("upstream lies", "proxy lies") for fault in self.faults)
        self.unseen = all(fault.kind in UNSEEN for fault in self.faults)
        self.liars = {f"node-{fault.nodes[0]}" for fault in self.faults if fault.kind == "liar"}
        self.cuts: dict[int, tuple[list[Host], list[Host], bool]] = {}
        self.proxies: dict[int, LyingProxy] = {}  # by the number of their machine; those of the lives that run
        self.spoilt: set[int] = set()
        self.spoilt_ever = {fault.nodes[0] for fault in self.faults if fault.kind == "proxy lies"}
        self.asked = 0

    # --- the world

    def _build(self) -> None:
        dice, net = self.dice, self.net
        rate = dice.choice([2, 8, 50, 400]) * MEGABIT
        index = net.add_host("index.example", ip="198.51.100.1", up=rate, down=rate, latency_s=2e-3)
        files = net.add_host("files.example", ip="198.51.100.2", up=rate, down=rate, latency_s=2e-3)
        self.upstream = FaultyUpstream(net, index, files, as_json=dice.random() < 0.7)
        self.upstream.knows_range = dice.random() < 0.8
        for project in ("alpha", "beta"):
            for number in range(dice.randint(1, 2)):
                content = dice.randbytes(dice.choice(SIZES) + dice.randrange(1000))
                self.upstream.publish(project, content, f"{project}-{number}.0-py3-none-any.whl")
        if self.upstream.as_json and dice.random() < 0.2:
            self.upstream.hashless = dice.choice(list(self.upstream.published.values())).filename
        self.contents = {one.sha256: one.content for one in self.upstream.published.values()}
        group = GroupKey.from_seed(dice.randbytes(32)) if dice.random() < 0.5 else None
        sometimes("nodes of a group", group is not None)
        static = dice.random() < 0.3
        pool = Pool(4096)
        hosts = [net.add_host(f"node-{number}", up=400 * MEGABIT, down=400 * MEGABIT) for number in range(NODES)]
        for number, host in enumerate(hosts):
            self.machines.append(self._machine(number, host, hosts if static else [], pool, group))
        for fault in self.faults:
            if fault.kind in ("liar", "mute", "drip"):
                bad = random.Random(f"bad {self.seed} {fault.nodes}")
                self.machines[fault.nodes[0]].bad = lambda honest, fault=fault, bad=bad: BadPeer(honest, fault, bad)  # type: ignore[misc]

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
        directory = self.directory / host.name
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
            self.proxies[number] = proxy
            return proxy

        discoveries = [] if known else [self.air.discovery()]
        machine = Machine(self.net, host, disk, directory, settings, upstream, lambda: list(discoveries), self.seed)
        machine.on_start = self._check_start
        return machine

    # --- the story

    async def tell(self) -> None:
        trio.socket.set_custom_socket_factory(Factory(self.net))
        trio.socket.set_custom_hostname_resolver(self.net.dns)
        self.patches.close_doors()
        self._build()
        sometimes("a seed without faults", not self.faults)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.upstream.run)
            async with trio.open_nursery() as lives:
                for machine in self.machines:
                    lives.start_soon(machine.live)
                for machine in self.machines:
                    await machine.up.wait()
                await trio.sleep(DAWN_S)
                with trio.move_on_after(self.healed_at + HORIZON_S + LIVENESS_S) as hanging:
                    await self._days(lives)
                if hanging.cancelled_caught:
                    self.failures.append(f"not all was done {LIVENESS_S:g} s after everything had healed")
                for machine in self.machines:
                    self._check_disk(machine)
                    self._read_counters(machine)
                self._check_upstream()
                if self.failures:
                    lives.cancel_scope.cancel()
                for machine in self.machines:
                    await machine.stop()
            nursery.cancel_scope.cancel()

    async def _days(self, lives: trio.Nursery) -> None:
        async with trio.open_nursery() as nursery:
            for number, fault in enumerate(self.faults):
                nursery.start_soon(self._inject, number, fault, lives)
            files = list(self.upstream.published.values())
            first = self.dice.choice(files) if self.dice.random() < 0.5 else None  # what all want at once
            for machine in self.machines:
                for number in range(self.dice.randint(1, FETCHES_MAX)):
                    rush = number == 0 and first is not None
                    one = first if rush and first is not None else self.dice.choice(files)
                    at_s = self.dice.uniform(0, 0.2 if rush else HORIZON_S)
                    dice = random.Random(f"user {self.seed} {machine.host} {number}")
                    nursery.start_soon(self._use, machine, one, at_s, dice)

    # --- users

    async def _use(self, machine: Machine, one: Published, at_s: float, dice: random.Random) -> None:
        HERE.set(machine.host)
        await trio.sleep(at_s)
        tries = 0
        while not self.failures and not await self._take(machine, one, dice):
            tries += 1
            if self.unseen:
                self.failures.append(f"{machine.host} did not give {one.filename}, and the upstream was well")
            sometimes("a client was refused and came again")
            await trio.sleep(dice.uniform(*PAUSE_S))
        self.asked += 1
        self.kernel.trace(f"done {machine.host} {one.filename} {tries}")

    async def _take(self, machine: Machine, one: Published, dice: random.Random) -> bool:
        """The page, then the file, as an installer does. True when the file came whole, and was right."""
        await machine.up.wait()
        page = await self._ask(machine, f"/simple/{one.project}/", {"accept": "application/vnd.pypi.simple.v1+json"})
        if page is None or page.status != 200 or not page.whole:
            return False
        listed = {file["filename"]: file for file in json.loads(page.body)["files"]}
        if one.filename not in listed:
            self.failures.append(f"{machine.host}: the page of {one.project} does not list {one.filename}")
            return False
        hashes = {} if one.filename == self.upstream.hashless else {"sha256": one.sha256}
        if listed[one.filename]["hashes"] != hashes:
            self.failures.append(f"{machine.host}: the page of {one.project} has another sha256 for {one.filename}")
        path = urlsplit(listed[one.filename]["url"]).path
        start = dice.randrange(len(one.content)) if dice.random() < 0.15 else 0
        answer = await self._ask(machine, path, {"range": f"bytes={start}-"} if start else {})
        if answer is None or not answer.whole:
            if answer is not None and answer.status == 200:
                sometimes("a body was broken off")
                self._check_begun(machine, one, answer)
            return False
        if answer.status not in (200, 206):
            return False
        wanted = one.content if answer.status == 200 else one.content[start:]
        right = answer.body == wanted
        excused = (machine.host.name, Sha256(one.sha256)) in self.rotten
        if one.filename == self.upstream.hashless and self.origin_lies:
            right = excused = True  # nobody could know
        if not right and not excused:
            self.failures.append(f"{machine.host}: a completed {answer.status} of {one.filename} has wrong bytes")
        sometimes("a file passed through unkept", "bypass" in answer.headers.get("cache-status", ""))
        return right

    def _check_begun(self, machine: Machine, one: Published, answer: Answer) -> None:
        """Only an origin's own lie may be in what went out before the proof; in a group, a member's word for it too."""
        deceived = machine.settings.identity.group is not None or self.machines.index(machine) in self.spoilt_ever
        if (
            one.content.startswith(answer.body)
            or any(fault.kind == "upstream lies" for fault in self.faults)
            or deceived
        ):
            return
        self.failures.append(f"{machine.host}: a stranger's wrong bytes of {one.filename} went out before the proof")

    async def _ask(self, machine: Machine, path: str, headers: dict[str, str]) -> Answer | None:
        """None where the client gave up, or its machine went down."""
        began = trio.current_time()
        scope = trio.CancelScope(deadline=began + 4 * PATIENCE_S)
        machine.attempts.add(scope)
        try:
            with scope:
                answer = await get("127.0.0.1", INDEX_PORT, path, headers, silence_s=PATIENCE_S)
        finally:
            machine.attempts.discard(scope)
        if scope.cancelled_caught:
            return None
        if answer.status not in (0, 200, 206, *CLEAN_REFUSALS):
            self.failures.append(f"{machine.host}: {path} was answered with {answer.status}: {answer.body[:200]!r}")
        return answer

    # --- faults

    async def _inject(self, number: int, fault: Fault, lives: trio.Nursery) -> None:
        machines = [self.machines[node] for node in fault.nodes]
        hosts = [machine.host for machine in machines]
        await trio.sleep(fault.at_s)
        self.kernel.trace(f"fault {fault}")
        last_s = fault.until_s - fault.at_s
        match fault.kind:
            case "loss":
                self.net.weather.loss += fault.number
                await trio.sleep(last_s)
                self.net.weather.loss -= fault.number
            case "partition" | "one way":
                await self._cut(number, fault, hosts, last_s)
            case "clog" | "swizzle":
                await self._clog(fault, hosts, last_s)
            case "power" | "kill":
                await self._end_a_life(machines[0], fault.kind == "power", last_s, lives)
            case "reader dies":
                await self._end_a_reader(fault.word != "all", last_s, lives)
            case "clock":
                machines[0].clock.ahead_s += fault.number
            case "rot":
                await self._rot(machines[0])
            case "proxy lies":
                await self._spoil(fault.nodes[0], last_s)
            case "liar" | "mute" | "drip":
                pass  # they are so from the start
            case _ if fault.kind.startswith("upstream"):
                await self._upset_upstream(fault, last_s)
            case _:
                await self._upset_disk(machines[0], fault, last_s)

    async def _cut(self, number: int, fault: Fault, hosts: list[Host], last_s: float) -> None:
        others = [machine.host for machine in self.machines if machine.host not in hosts]
        if self.dice.random() < 0.5:
            others += [self.upstream.index, self.upstream.files]
        pair = (others, hosts) if self.dice.random() < 0.5 else (hosts, others)
        self.cuts[number] = (*pair, fault.kind == "one way")
        self._apply_cuts()
        await trio.sleep(last_s)
        del self.cuts[number]
        self._apply_cuts()

    def _apply_cuts(self) -> None:
        self.net.heal()
        for one, other, one_way in self.cuts.values():
            self.net.cut(one, other, one_way=one_way)

    async def _clog(self, fault: Fault, hosts: list[Host], last_s: float) -> None:
        step_s = last_s / (2 * len(hosts)) if fault.kind == "swizzle" else 0.0
        for host in hosts:
            host.up.clog()
            host.down.clog()
            await trio.sleep(step_s)
        await trio.sleep(last_s - step_s * len(hosts))
        for host in self.dice.sample(hosts, len(hosts)):
            host.up.unclog()
            host.down.unclog()
            await trio.sleep(step_s)

    async def _end_a_life(self, machine: Machine, power: bool, last_s: float, lives: trio.Nursery) -> None:
        if machine.life is None or machine.life.is_over():
            return
        machine.end(power=power)
        sometimes("a power cut" if power else "a kill")
        await trio.sleep(last_s if power else 0.0)
        await machine.start_again(lives)

    async def _end_a_reader(self, power: bool, last_s: float, lives: trio.Nursery) -> None:
        self.upstream.reader, self.upstream.somebody_reads = "", trio.Event()
        with trio.move_on_after(HORIZON_S) as nobody:
            await self.upstream.somebody_reads.wait()
        if nobody.cancelled_caught:
            return
        machine = next(one for one in self.machines if one.host.ip == self.upstream.reader)
        await trio.sleep(self.dice.random() * SIZES[-1] / self.upstream.files.up.rate)
        sometimes("whoever read the upstream died")
        await self._end_a_life(machine, power, last_s / 3, lives)

    async def _spoil(self, number: int, last_s: float) -> None:
        self.spoilt.add(number)
        self.proxies[number].lies = True
        await trio.sleep(last_s)
        self.spoilt.discard(number)
        self.proxies[number].lies = False

    async def _rot(self, machine: Machine) -> None:
        where = machine.disk.rot("/blobs/")
        if where is None:
            return
        # By its name, for its row may come later than the rot.
        hit = [sha256 for sha256, content in self.contents.items() if BlobName.of(content) == where[0].name]
        self.rotten.update((machine.host.name, Sha256(sha256)) for sha256 in hit)
        life = machine.life
        if life is not None and life.store is not None and not life.is_over():
            await self._scrub(machine, life.store)

    async def _scrub(self, machine: Machine, store: Store) -> None:
        HERE.set(machine.host)
        try:
            report = await store.verify(lambda checked, of: None)
        except Exception:
            if machine.life is not None and not machine.life.is_over() and machine.host.name not in self.troubled:
                raise
            return
        sometimes("rot was found by the scrub", report.rotten)

    async def _upset_upstream(self, fault: Fault, last_s: float) -> None:
        upstream, dice = self.upstream, self.dice
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

    async def _upset_disk(self, machine: Machine, fault: Fault, last_s: float) -> None:
        disk, nth = machine.disk, int(fault.number)
        if fault.kind != "disk slow":
            self.troubled.add(machine.host.name)
        match fault.kind:
            case "disk full":
                disk.capacity_bytes = nth * 10_000
            case "disk sync":
                disk.faults.script = fail_once(self.dice.choice(["fsync", "syncdir"]), nth)
            case "disk write":
                disk.faults.script = fail_once(self.dice.choice(["pwrite", "create", "rename", "truncate"]), nth)
            case "disk slow":
                disk.faults.stall_s = 0.02 * nth
        await trio.sleep(last_s)
        disk.capacity_bytes, disk.faults.script, disk.faults.stall_s = DISK_SIZE_BYTES, None, 0.0

    # --- checks

    def _check_start(self, machine: Machine, store: Store) -> None:
        rows = {row.sha256 for row in store.rows()}
        for sha256 in machine.kept - rows:
            if (machine.host.name, sha256) not in self.rotten:
                self.failures.append(f"{machine.host}: {sha256[:8]} was kept, and has no row after the restart")
        partials = [path for path in machine.disk.paths() if path.parent.name == "partials"]
        sometimes("an interrupted download was there after a restart", partials)
        self._check_rows(machine, store)

    def _check_disk(self, machine: Machine) -> None:
        if machine.life is not None and machine.life.store is not None and not machine.life.is_over():
            self._check_rows(machine, machine.life.store)

    def _check_rows(self, machine: Machine, store: Store) -> None:
        for row in store.rows():
            if row.inline or (machine.host.name, row.sha256) in self.rotten:
                continue
            content = machine.disk.content(machine.layout.blob(row.name))
            if content is None or hashlib.sha256(content).hexdigest() != row.sha256:
                how = "no file" if content is None else "a wrong file"
                self.failures.append(f"{machine.host}: {row.sha256[:8]} has a row and {how}")

    def _read_counters(self, machine: Machine) -> None:
        if machine.life is None or machine.life.node is None:
            return
        status = machine.life.node.status()
        sometimes("a piece was refused", status["refused_pieces"])
        sometimes("bytes came from a peer", status["bytes"]["from_peers"])
        sometimes("a peer was struck", any(peer["strikes"] for peer in status["peers"]))
        sometimes("a store stopped writing", status["health"] != "ok")

    def _check_upstream(self) -> None:
        """Without faults the room reads each file once; else each node may, and each fault may make it begin again."""
        sometimes("the upstream was asked for a range", any(asked for _, asked in self.upstream.requests))
        published = self.upstream.published.values()
        size = sum(map(len, self.contents.values()))
        times = NODES * (1 + len(self.faults)) + 2 * self.origin_lies * NODES
        bound = size * times
        kinds = {fault.kind for fault in self.faults}
        if kinds <= {*DEATHS, "clock", "disk slow"}:
            # Who dies reads again what it had not synced; who comes back knows nobody for a moment.
            deaths = sum(fault.kind in DEATHS for fault in self.faults)
            bound = size * (1 + 2 * deaths) + 2 * PIECE_SIZE_BYTES * len(self.contents)
        if not self.faults:
            asked = [self.upstream.published[path] for path in {path for path, _ in self.upstream.requests}]
            bound = sum(len(one.content) + 2 * PIECE_SIZE_BYTES for one in asked)
        # What no hash vouches for goes from nobody to nobody.
        bound += sum(NODES * len(one.content) for one in published if one.filename == self.upstream.hashless)
        bound += HEAD_SIZE_BYTES * len(self.upstream.requests)  # heads are counted, too
        if self.upstream.sent_bytes > bound:
            self.failures.append(f"the upstream sent {self.upstream.sent_bytes} bytes, and {bound} were to be enough")

    @contextmanager
    def listening_to_the_log(self) -> Any:
        handler = _Listener(self)
        loggers = [logging.getLogger(name) for name in ("p2pcdn", "p2pcdn_daemon", "trio")]
        before = [(logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.WARNING)
            logger.propagate = False
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger, (level, propagate) in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = propagate

    def heard(self, record: logging.LogRecord) -> None:
        """An exception or an error in the log of a living node, unless its disk was made to fail."""
        life = LIFE.get(None)
        if life is not None and life.is_over():
            return
        host = HERE.get(None)
        if record.exc_info is None and record.levelno < logging.ERROR:
            return
        words = record.getMessage()
        if record.exc_info is None and host is not None and host.name in self.troubled:
            return
        if words.startswith("wrong bytes:") and self.origin_lies:
            return
        if host is not None and host.name in self.liars and "broken off" in words:
            return
        if record.exc_info is not None and record.exc_info[1] is not None:
            words += f" ({record.exc_info[1]!r})"
        self.failures.append(f"{host} logged: {words}")


class _Listener(logging.Handler):
    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        self._story.heard(record)


@dataclass
class FaultyUpstream(SimUpstream):
    """With pages in JSON, sizes in them, where `as_json`; without `knows_range` it sends all of a file each time."""

    as_json: bool = False
    knows_range: bool = True
    reader: str = ""  # the address of who asked for a file last
    somebody_reads: trio.Event = field(default_factory=trio.Event)
    hashless: str = ""  # the name of a file whose hash the pages leave out

    async def _file(self, request: Request) -> Response:
        self.reader = request.peer.rpartition(":")[0]
        self.somebody_reads.set()
        if not self.knows_range:
            request.headers = {name: value for name, value in request.headers.items() if name != "range"}
        return await super()._file(request)

    async def _page(self, request: Request) -> Response:
        faults = self.index_faults.taken()
        if faults.hang_after is not None:
            await trio.sleep_forever()
        if not self.as_json:
            return await super()._page(request)
        await self._delay(faults)
        if faults.status is not None:
            return Response(faults.status)
        project = request.path.removeprefix("/simple/").rstrip("/")
        files = [
            {
                "filename": one.filename,
                "url": f"http://{self.files.name}{one.path}",
                "hashes": {} if one.filename == self.hashless else {"sha256": one.sha256},
                "size": len(one.content),
            }
            for one in self.published.values()
            if one.project == project
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": ["1.0"], "files": files}
        headers = [("content-type", "application/vnd.pypi.simple.v1+json"), ("cache-control", "max-age=600")]
        return Response(200, headers, json.dumps(page).encode())
