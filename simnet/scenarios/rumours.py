"""What is said of who is there is wrong: machines are named that are none, that have gone or say nothing.

Nothing else fails, so it may cost nobody more than a faulty neighbour does: the nodes have found each other by
multicast of which packets get lost, by the DNS or by the name of one; all users have the file in time, and the upstream
gave it once. Only where more names are forged than a node can look into, and nothing but rumour says who is there, some
have not met yet, and read beside each other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from p2pcdn.world import Sighting
from simnet.campaigns.outcome import Outcome
from simnet.marks import sometimes
from simnet.net.host import HERE
from simnet.net.link import GIGABIT
from simnet.node import PEER_PORT, Options, SimNode
from simnet.simulation import Hang, Simulation
from simnet.turns.kernel import BEGIN_S
from simnet.upstream import content_of

PIECE_BYTES = 32 * 1024
SCALE = 32
PIECES_MAX = 40
# By then all know all, although each second packet is lost and most of what is said is wrong.
MEETING_S = 12.0
# Beside the watchdog: three trackers that are not there (docs/protocol.md, "The crowd"), and the looks at what moves.
MARGIN_S = 2.5
TIME_MAX_S = 120.0
# How many of each kind of lie are told to each node.
LIES_MAX = (2, 20, 200)
NOBODYS = "10.99.{}.{}"

MARKS = (
    "multicast",
    "addresses of a name",
    "records of a service",
    "one name",
    "the names were down",
    "one that has gone was announced again",
    "hundreds were announced that are not there",
    "a flood of names kept some apart for a while",
)


def run(seed: int) -> Outcome:
    """One seed."""
    story = _Story(seed)
    try:
        story.simulation.run(story.tell)
    except Hang as error:
        story.failures.append(f"hang: {error}")
    return Outcome([*story.simulation.failures, *story.failures], story.simulation.kernel.digest())


class _Story:
    """One seed: who is there, how they are to find each other, and what is said of others."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(f"rumours {seed}")
        self.failures: list[str] = []
        self.apart = (
            False  # some had not met when the file was wanted, as is allowed where rumour alone says who is there
        )
        self.simulation = Simulation(seed, scale=SCALE, bulk_from_bytes=PIECE_BYTES // 2, time_max_s=TIME_MAX_S)
        self.simulation.build(dice.randint(4, 6), upstream_rate=GIGABIT / dice.choice([1, 4]))
        self.hosts = self.simulation.topology.nodes
        self.mute = self.simulation.net.add_host("mute")
        self.off = self.simulation.net.add_host("off")
        self.content = content_of(seed, dice.randint(2, PIECES_MAX) * PIECE_BYTES - dice.randrange(PIECE_BYTES))
        self.lies = dice.choice(LIES_MAX)
        self.way = dice.choice(MARKS[:4])
        self.options = self._options()

    async def tell(self) -> None:
        simulation, dice = self.simulation, self.dice
        published = simulation.upstream.publish("thing", self.content)
        simulation.net.power_off(self.off)
        async with trio.open_nursery() as rumours:
            rumours.start_soon(self._say_nothing)
            nodes = await simulation.start_nodes(options=self.options)
            gone, rest = nodes[-1], nodes[:-1]
            rumours.start_soon(self._spread, rest, gone)
            await trio.sleep_until(BEGIN_S + MEETING_S - dice.uniform(0.1, 3.0))
            self._check_that_they_met(nodes)
            gone.power_off()
            await trio.sleep_until(BEGIN_S + MEETING_S)
            if self.options.names and dice.random() < 0.5:
                sometimes("the names were down")
                simulation.net.dns.unanswered = {"room.example", "_peer._tcp.room.example"}
            before = simulation.upstream.sent_bytes
            async with trio.open_nursery() as users:
                for node in rest:
                    users.start_soon(self._use, node, published.sha256)
            self._check_upstream(simulation.upstream.sent_bytes - before)
            rumours.cancel_scope.cancel()

    # --- below

    def _options(self) -> Options:
        """How the nodes find each other; where it is not by multicast, they hear there only what is forged."""
        sometimes(self.way)
        net, air = self.simulation.net, self.simulation.air
        there = [host.ip for host in self.hosts]
        nowhere = [self.off.ip, self.mute.ip, NOBODYS.format(0, 1)]
        if self.way == "multicast":
            air.loss = self.dice.uniform(0.0, 0.5)
            return Options(piece_size_bytes=PIECE_BYTES, thread_delay_s=None)
        air.hears = lambda host: frozenset()
        if self.way == "one name":
            return Options(piece_size_bytes=PIECE_BYTES, thread_delay_s=None, peers=[self.hosts[0].name])
        net.dns.names["room.example"] = [*there, *nowhere]
        net.dns.services["_peer._tcp.room.example"] = [(host.name, PEER_PORT) for host in [*self.hosts, self.off]]
        name = f"room.example:{PEER_PORT}" if self.way == "addresses of a name" else "_peer._tcp.room.example"
        return Options(piece_size_bytes=PIECE_BYTES, thread_delay_s=None, names=[name])

    async def _say_nothing(self) -> None:
        """A machine that takes connections at the peers' port, and answers nobody."""
        HERE.set(self.mute)
        listener = trio.socket.socket()
        await listener.bind(("0.0.0.0", PEER_PORT))
        listener.listen()
        kept = []
        while True:
            kept.append(await listener.accept())

    async def _spread(self, nodes: Sequence[SimNode], gone: SimNode) -> None:
        """Forges announcements until it is cancelled, most of them in the beginning."""
        sometimes("hundreds were announced that are not there", self.lies >= 200)
        while True:
            for node in nodes:
                for lie in self._lies(nodes, gone):
                    self.simulation.air.forge(node.host, lie)
            await trio.sleep(self.dice.uniform(0.2, 3.0))

    def _lies(self, nodes: Sequence[SimNode], gone: SimNode) -> list[Sighting]:
        dice = self.dice
        honest = dice.choice(nodes)
        lies = [
            Sighting(honest.host.ip, PEER_PORT, self._boot()),
            Sighting(self.mute.ip, PEER_PORT, self._boot()),
            Sighting(self.off.ip, PEER_PORT, self._boot()),
            Sighting(self.simulation.topology.upstreams[0].ip, 80, self._boot()),
            Sighting(self._nobody(), PEER_PORT, _boot_of(honest)),
        ]
        if not gone.alive:
            sometimes("one that has gone was announced again")
            lies.append(Sighting(gone.host.ip, PEER_PORT, self._boot()))
        lies += [Sighting(self._nobody(), PEER_PORT, self._boot()) for _ in range(self.lies)]
        return dice.sample(lies, dice.randrange(len(lies) + 1))

    def _nobody(self) -> str:
        return NOBODYS.format(self.dice.randrange(256), self.dice.randrange(1, 255))

    def _boot(self) -> str:
        return self.dice.randbytes(16).hex()

    async def _use(self, node: SimNode, sha256: str) -> None:
        await trio.sleep(self.dice.uniform(0, 0.2))
        began = trio.current_time()
        got = await node.install("thing")
        took_s = trio.current_time() - began
        if got.sha256 != sha256:
            self.failures.append(f"{node.host} gave wrong bytes to its user")
        file_s = len(self.content) * SCALE / self.simulation.topology.upstream_rate
        if took_s > file_s + NO_PROGRESS_S + MARGIN_S:
            self.failures.append(f"{node.host} needed {took_s:.1f} s for what takes {file_s:.1f} s ({self.way})")

    def _check_that_they_met(self, nodes: Sequence[SimNode]) -> None:
        addresses = {f"{node.host.ip}:{PEER_PORT}" for node in nodes}
        for node in nodes:
            assert node.node is not None
            seen = {row["address"] for row in node.node.status()["peers"] if row["last_seen_s"] is not None}
            others = addresses - {f"{node.host.ip}:{PEER_PORT}"}
            if seen != others and self._may_be_flooded():
                sometimes("a flood of names kept some apart for a while")
                self.apart = True
            elif seen != others:
                self.failures.append(f"{node.host} knows {sorted(seen)} and not {sorted(others)} ({self.way})")

    def _may_be_flooded(self) -> bool:
        """Whether more is forged than a node can look into, where nothing but rumour says who is there."""
        return self.way in ("multicast", "one name") and self.lies > LIES_MAX[0]

    def _check_upstream(self, sent_bytes: int) -> None:
        # Who does not know all may take another for a file's tracker.
        readers = len(self.hosts) - 1 if self.apart else 1
        most = readers * len(self.content) + 2 * PIECE_BYTES
        if sent_bytes > most + 20_000:  # and each node's page
            self.failures.append(f"the upstream sent {sent_bytes} bytes, and {most} were to be enough ({self.way})")


def _boot_of(node: SimNode) -> str:
    assert node.node is not None
    return node.node._swarm._boot
