"""A flash crowd: every node's user installs the same file, all in the same instant."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import IO, Any

import trio

from p2pcdn.digest import Sha256
from simnet.client import Failed
from simnet.disks.inode import Pool
from simnet.net.host import Host
from simnet.net.link import GIGABIT
from simnet.net.topologies import TOPOLOGIES, Topology
from simnet.node import PEER_PORT, Options, SimNode
from simnet.simulation import Simulation
from simnet.turns.kernel import BEGIN_S
from simnet.upstream import wheel_of

MIB = 1024 * 1024
# A piece of the real world, and what stands for it here.
REAL_PIECE_BYTES = MIB
PIECE_BYTES = 32 * 1024
# Nodes meet before the crowd comes.
MEETING_S = 5.0
PROJECT = "thing"
TIME_MAX_S = 1200.0
# By so much some come before the others, where that is wanted.
EARLY_S = 0.005
# What a user was given is kept by then, on disks that take no time.
KEPT_AFTER_S = 1.0


@dataclass
class Wanted:
    """The options of the command line."""

    nodes: int = 10
    pieces: int = 128
    seed: int = 1
    upstream_rate: float = GIGABIT
    topology: str = "lan"
    neighbours: int = 0
    liars: int = 0
    piece_bytes: int = PIECE_BYTES
    no_sizes: bool = False

    def command(self) -> str:
        """Runs it again."""
        words = [f"python -m simnet flash-crowd --nodes {self.nodes} --pieces {self.pieces} --seed {self.seed}"]
        plain = Wanted()
        for name in ("upstream_rate", "topology", "neighbours", "liars", "piece_bytes"):
            value = getattr(self, name)
            if value != getattr(plain, name):
                words.append(
                    f"--{name.replace('_', '-')} {value:g}"
                    if isinstance(value, float)
                    else f"--{name.replace('_', '-')} {value}"
                )
        if self.no_sizes:
            words.append("--no-sizes")
        return " ".join(words)


@dataclass
class Crowd:
    """What happened. seconds: from the common start to each node's whole file, by its number."""

    seconds: dict[int, float] = field(default_factory=dict)
    wrong_bytes: int = 0
    refused_pieces: int = 0  # pieces that were wrong, at all nodes
    failures: list[str] = field(default_factory=list)  # HOST: why

    def leave_out(self, excused: Collection[int], asking: Collection[str]) -> None:
        """What became of these does not count."""
        for number in excused:
            self.seconds.pop(number, None)
        self.failures = [one for one in self.failures if one.partition(":")[0] in asking]


class Trouble:
    """What happens to a crowd beside; nothing here. early: nodes whose users begin a moment before the others.

    excused: nodes that need not have the file in the end, or have it already; the figures are without them.
    """

    early: frozenset[int] = frozenset()
    excused: frozenset[int] = frozenset()

    def build(self, simulation: Simulation, size_bytes: int) -> None:
        """Before the run; size_bytes: of the file."""

    async def before(self, simulation: Simulation, nodes: Sequence[SimNode], piece_bytes: int) -> None:
        """When all nodes are there."""

    def planted(self) -> AbstractContextManager[None]:
        """What is changed of the product for the time of the run."""
        return nullcontext()


def rate_of(text: str) -> float:
    """Bytes a second: a number up to 16 is a multiple of a LAN port's rate, a larger one is meant as it stands."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("a rate is greater than 0")
    return value * GIGABIT if value <= 16 else value


def piece_size(text: str) -> int:
    """A power of two, so that a MiB is a whole number of times as heavy."""
    if int(text) not in [1 << power for power in range(10, 21)]:
        raise argparse.ArgumentTypeError(f"{text} is no power of two from 1 KiB to 1 MiB")
    return int(text)


def count(text: str) -> int:
    if not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to a million")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pieces", type=count, default=128, metavar="M", help="pieces of the file (default 128)")
    parser.add_argument(
        "--upstream-rate", type=rate_of, default=GIGABIT, metavar="R",
        help="bytes a second, or up to 16: in LAN ports of 1 Gbit/s (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--liars",
        type=int,
        choices=range(101),
        default=0,
        metavar="P",
        help="per cent of the nodes that give wrong pieces; virtual_seconds and the ratios are then those of the "
        "others, and liars_seconds says when the last user of a liar had the file",
    )
    parser.add_argument("--topology", choices=sorted(TOPOLOGIES), default="lan")
    parser.add_argument("--neighbours", type=count, default=0, metavar="K", help="whom each hears of (default: all)")
    parser.add_argument("--no-sizes", action="store_true", help="the index does not say how large files are")
    parser.add_argument(
        "--piece-bytes", type=piece_size, default=PIECE_BYTES, metavar="BYTES", help="what stands for a piece of 1 MiB"
    )


def main(arguments: argparse.Namespace, trace_file: IO[str] | None) -> tuple[dict[str, Any], Sequence[str], str]:
    """What the run gave, its failures, and the command that repeats it."""
    wanted = wanted_of(arguments)
    result, failures = run(wanted, trace_file)
    return result, failures, wanted.command()


def wanted_of(arguments: argparse.Namespace) -> Wanted:
    return Wanted(**{one.name: getattr(arguments, one.name) for one in fields(Wanted)})


def run(
    wanted: Wanted, trace_file: IO[str] | None = None, trouble: Trouble | None = None
) -> tuple[dict[str, Any], Sequence[str]]:
    trouble = trouble or Trouble()
    scale = REAL_PIECE_BYTES // wanted.piece_bytes
    simulation = Simulation(
        wanted.seed,
        scale=scale,
        bulk_from_bytes=wanted.piece_bytes // 8,
        options=Options(piece_size_bytes=wanted.piece_bytes, thread_delay_s=None),
        trace_file=trace_file,
        time_max_s=TIME_MAX_S,
    )
    simulation.pool = Pool(wanted.piece_bytes)  # no piece is put together from two blocks
    topology = simulation.build(wanted.nodes, topology=TOPOLOGIES[wanted.topology], upstream_rate=wanted.upstream_rate)
    content = wheel_of(wanted.seed, wanted.pieces * wanted.piece_bytes)
    published = simulation.upstream.publish(PROJECT, content)
    simulation.upstream.says_sizes = not wanted.no_sizes
    if wanted.neighbours:
        _few_neighbours(simulation, wanted.neighbours)
    liars = _liars(simulation, wanted.liars)
    trouble.build(simulation, len(content))
    crowd = Crowd()
    sent_before = taken_before = 0

    async def user(node: SimNode, start: float) -> None:
        await trio.sleep_until(start)
        try:
            got = await node.install(PROJECT)
        except (Failed, OSError) as error:
            crowd.failures.append(f"{node.host}: {error}")
            return
        if got.sha256 != published.sha256:
            crowd.wrong_bytes += got.size_bytes
        else:
            crowd.seconds[node.number] = trio.current_time() - start
            simulation.kernel.trace(f"done {node.host}")

    async def story() -> None:
        nonlocal sent_before, taken_before
        nodes = await simulation.start_nodes()
        await trio.sleep_until(BEGIN_S + MEETING_S / 2)
        await trouble.before(simulation, nodes, wanted.piece_bytes)
        sent_before = simulation.upstream.sent_bytes
        # Who meets is told of the room: of more than 70 nodes that is as long as a part of a piece.
        taken_before = _from_peers(topology)
        start = max(BEGIN_S + MEETING_S, trio.current_time() + EARLY_S)
        async with trio.open_nursery() as excused:
            async with trio.open_nursery() as users:
                for node in nodes:
                    nursery = excused if node.number in trouble.excused else users
                    nursery.start_soon(user, node, start - EARLY_S if node.number in trouble.early else start)
            excused.cancel_scope.cancel()
        await trio.sleep(KEPT_AFTER_S)
        crowd.refused_pieces = sum(node.node.status()["refused_pieces"] for node in nodes if node.node is not None)
        for node in nodes:
            if (
                node.number in crowd.seconds
                and node.store is not None
                and not node.store.holds(Sha256(published.sha256))
            ):
                crowd.failures.append(f"{node.host} gave the file to its user, and does not hold it")

    with trouble.planted():
        simulation.run(story)
    asking = [node for node in simulation.nodes if node.number not in trouble.excused]
    crowd.leave_out(trouble.excused, {str(node.host) for node in asking})
    sent = simulation.upstream.sent_bytes - sent_before
    taken = _from_peers(topology) - taken_before
    result = _result(wanted, simulation, topology, crowd, len(content), sent, taken, liars)
    return result, _failures(len(asking), simulation, crowd)


def _liars(simulation: Simulation, per_cent: int) -> list[Host]:
    """So many of the nodes give neighbours pieces in which one byte is another one, with the right proofs."""
    hosts = simulation.topology.nodes
    liars = simulation.dice.sample(hosts, len(hosts) * per_cent // 100)
    names = {host.name for host in liars}

    def tamper(sender: Host, receiver: Host, port: int, content: bytes) -> bytes:
        if sender.name not in names or port != PEER_PORT or len(content) < simulation.net.bulk_from_bytes:
            return content
        at = len(content) // 2
        return b"%b%c%b" % (content[:at], content[at] ^ 1, content[at + 1 :])

    if liars:
        simulation.net.tamper = tamper
    return liars


def _few_neighbours(simulation: Simulation, most: int) -> None:
    """Each node hears of so many others, drawn once."""
    names = [host.name for host in simulation.topology.nodes]
    heard = {
        name: frozenset(simulation.dice.sample([other for other in names if other != name], min(most, len(names) - 1)))
        for name in names
    }
    simulation.air.hears = lambda host: heard[host.name]


def bound_s(topology: Topology, nodes: int, pieces: int, host: Host, scale_bytes: int = REAL_PIECE_BYTES) -> float:
    """The least time in which the wires allow this node to have the file (notes, peer-to-peer, section 1.1)."""
    piece_s = scale_bytes / topology.port_rate
    file_bytes = pieces * scale_bytes
    if topology.shared_air:
        # One reads, the upstream being wired: its bytes are in the air once. From one node to another they are twice.
        return max((2 * nodes - 1) * file_bytes / topology.port_rate, file_bytes / topology.upstream_rate)
    fast = (file_bytes / topology.port_rate) * (1 + math.floor(math.log2(max(1, nodes))) / pieces)
    lines = [topology.upstream_rate] + ([topology.thin_rate] if topology.thin_rate else [])
    slow = max(file_bytes / rate for rate in lines) + (math.ceil(math.log2(nodes + 1)) - 1) * piece_s
    bound = fast if min(lines) >= topology.port_rate else max(fast, slow)
    return max(bound, file_bytes / host.down.rate)


def _result(
    wanted: Wanted,
    simulation: Simulation,
    topology: Topology,
    crowd: Crowd,
    size_bytes: int,
    sent: int,
    taken: int,
    liars: list[Host],
) -> dict[str, Any]:
    """sent: what the upstream gave, bytes; taken: what the nodes had of each other.

    The times are those of the nodes that are lied to; when the last liar's own user was done stands beside them.
    """
    bounds = [bound_s(topology, wanted.nodes, wanted.pieces, host) for host in topology.nodes]
    lying = {number for number, host in enumerate(topology.nodes) if host in liars}
    honest = {number: seconds for number, seconds in crowd.seconds.items() if number not in lying}
    liars_seconds = [seconds for number, seconds in crowd.seconds.items() if number in lying]
    ratios = [seconds / bounds[number] for number, seconds in honest.items()]
    surplus = taken + sent - size_bytes * wanted.nodes
    pieces = wanted.nodes * wanted.pieces
    return {
        "scenario": "flash-crowd",
        "nodes": wanted.nodes,
        "pieces": wanted.pieces,
        "seed": wanted.seed,
        "topology": wanted.topology,
        "trace_digest": simulation.kernel.digest(),
        "virtual_seconds": round(max(honest.values(), default=math.inf), 6),
        "bound_seconds": round(max(bounds), 6),
        "ratio_to_bound": round(max(ratios, default=math.inf), 4) if len(ratios) == wanted.nodes - len(liars) else None,
        "ratio_p50": round(sorted(ratios)[len(ratios) // 2], 4) if ratios else None,
        "upstream_bytes_per_file": round(sent / size_bytes, 4),
        "upstream_requests": len(simulation.upstream.requests),
        "duplicates": round(max(0, surplus) / wanted.piece_bytes / pieces, 5),
        "refused_pieces": crowd.refused_pieces,
        "wrong_bytes": crowd.wrong_bytes,
        "nodes_done": len(crowd.seconds),
        "liars": len(liars),
        "liars_seconds": round(max(liars_seconds), 6) if liars_seconds else None,
        "most_given": round(max(_given(host) for host in topology.nodes) / size_bytes, 3),
        "events": simulation.kernel.events,
        "cpu_seconds": round(simulation.cpu_seconds, 2),
    }


def _from_peers(topology: Topology) -> int:
    """What the nodes have had of each other, bytes of pieces."""
    return sum(host.taken[PEER_PORT].bulk_bytes for host in topology.nodes if PEER_PORT in host.taken)


def _given(host: Host) -> int:
    traffic = host.given.get(PEER_PORT)
    return 0 if traffic is None else traffic.bulk_bytes


def _failures(asking: int, simulation: Simulation, crowd: Crowd) -> Sequence[str]:
    failures = [*simulation.failures, *crowd.failures[:5]]
    if crowd.wrong_bytes:
        failures.append(f"{crowd.wrong_bytes} wrong bytes reached users")
    if len(crowd.seconds) < asking:
        failures.append(f"{asking - len(crowd.seconds)} of {asking} users did not get the file")
    return failures
