"""A flash crowd to which one thing happens: who reads the upstream dies, lies or has a thin wire, or a holder has one,
the upstream is slow to begin, or machines are busy with something else.

The figures stand beside those of the same crowd without it, and beside what each would have had of the upstream alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

import trio

from p2pcdn.digest import Sha256
from p2pcdn.store.partial import Partial
from p2pcdn.swarm.advising.tracker import ranked
from p2pcdn.swarm.wire.messages import blob_id
from simnet.busy import Busy
from simnet.net.host import Host, here
from simnet.net.link import GIGABIT, Link
from simnet.node import SimNode
from simnet.scenarios import flash_crowd
from simnet.scenarios.flash_crowd import PROJECT, REAL_PIECE_BYTES, Trouble, Wanted
from simnet.simulation import Simulation
from simnet.upstream import wheel_of

THIN_RATE = GIGABIT / 50
# What each node has once read by itself, and measured its wire by: more than `p2pcdn.fetch.wires` asks for.
WARM_PIECES = 40
# The time to the first byte of an upstream that must first fetch the file itself.
FIRST_BYTE_S = 10.0
# How often it is looked whether the reader is half-way.
LOOK_EVERY_S = 1e-3


class ReaderDies(Trouble):
    """The first node begins, and its power goes when the upstream has sent half of the file."""

    early = excused = frozenset({0})

    def build(self, simulation: Simulation, size_bytes: int) -> None:
        def look() -> None:
            if simulation.upstream.sent_bytes * 2 < size_bytes:
                simulation.kernel.after(LOOK_EVERY_S, look)
            else:
                simulation.nodes[0].power_off()

        simulation.kernel.after(LOOK_EVERY_S, look)


class ReaderLies(Trouble):
    """The first node begins, signs something else than the file, and stands by it to the end."""

    early = excused = frozenset({0})

    def build(self, simulation: Simulation, size_bytes: int) -> None:
        liar, files = simulation.topology.nodes[0], simulation.upstream.files

        def tamper(sender: Host, receiver: Host, port: int, content: bytes) -> bytes:
            bulk = len(content) >= simulation.net.bulk_from_bytes
            return content[:-1] + bytes([content[-1] ^ 1]) if bulk and (sender, receiver) == (files, liar) else content

        simulation.net.tamper = tamper

    @contextmanager
    def planted(self) -> Iterator[None]:
        honest = Partial._refuse_content

        async def stands_by_it(partial: Partial, got: Sha256) -> None:
            if here().name == "node-0":
                await trio.sleep_forever()  # it goes on to give what it has
            await honest(partial, got)

        setattr(Partial, "_refuse_content", stands_by_it)  # noqa: B010 - mypy takes an assignment for a method
        try:
            yield
        finally:
            Partial._refuse_content = honest  # type: ignore[method-assign]


class _KnownWires(Trouble):
    """All have read something of the upstream before, each for itself."""

    async def before(self, simulation: Simulation, nodes: Sequence[SimNode], piece_bytes: int) -> None:
        for node in nodes:
            name = f"warm-{node.number}"
            simulation.upstream.publish(name, wheel_of(name, WARM_PIECES * piece_bytes, name.replace("-", "_")))
            await node.install(name)


class ReaderHasAThinWire(_KnownWires):
    """The first node begins, and between it and the upstream is a fiftieth of what the others have."""

    early = frozenset({0})

    def build(self, simulation: Simulation, size_bytes: int) -> None:
        net, reader, upstreams = simulation.net, simulation.topology.nodes[0], simulation.topology.upstreams
        thin, before = net.link("thin", THIN_RATE), net.middle

        def middle(a: Host, b: Host) -> tuple[list[Link], float]:
            return ([thin], 0.0) if a in upstreams and b is reader else before(a, b)

        net.middle = middle


class HolderHasAThinWire(_KnownWires):
    """One holds the file when the others come, and can give a fiftieth of what their wires could."""

    excused = frozenset({0})

    async def before(self, simulation: Simulation, nodes: Sequence[SimNode], piece_bytes: int) -> None:
        await super().before(simulation, nodes[1:], piece_bytes)
        await nodes[0].install(PROJECT)
        nodes[0].host.up.rate = THIN_RATE


class UpstreamIsSlowToBegin(Trouble):
    """Each answer of the upstream's file host comes ten seconds after its question."""

    def build(self, simulation: Simulation, size_bytes: int) -> None:
        simulation.upstream.file_faults.latency_s = FIRST_BYTE_S


class RoomIsBusy(Trouble):
    """No node gets a turn now and then: machines that do something else beside."""

    async def before(self, simulation: Simulation, nodes: Sequence[SimNode], piece_bytes: int) -> None:
        busy = Busy(simulation.kernel, simulation.dice)
        for node in self._busy_ones(simulation, nodes):
            simulation.nursery.start_soon(busy.now_and_then, node, partial(node.lives_on, node.lives))

    def _busy_ones(self, simulation: Simulation, nodes: Sequence[SimNode]) -> Sequence[SimNode]:
        return nodes


class TrackerIsBusy(RoomIsBusy):
    """The file's tracker does not."""

    def _busy_ones(self, simulation: Simulation, nodes: Sequence[SimNode]) -> Sequence[SimNode]:
        file = next(one for one in simulation.upstream.published.values() if one.project == PROJECT)
        swarms = {node.node._swarm._boot: node for node in nodes if node.node is not None}
        id_ = blob_id(nodes[0].identity.lookup_key, Sha256(file.sha256))
        return [swarms[ranked(id_, swarms)[0]]]


class ReaderLiesInABusyRoom(ReaderLies, RoomIsBusy):
    """Both of it."""


KINDS: dict[str, type[Trouble]] = {
    "reader-dies": ReaderDies,
    "reader-lies": ReaderLies,
    "thin-reader": ReaderHasAThinWire,
    "thin-holder": HolderHasAThinWire,
    "slow-upstream": UpstreamIsSlowToBegin,
    "busy-tracker": TrackerIsBusy,
    "busy-room": RoomIsBusy,
    "busy-liar": ReaderLiesInABusyRoom,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=sorted(KINDS), required=True, help="what happens")
    flash_crowd.add_arguments(parser)


def main(arguments: argparse.Namespace, trace_file: IO[str] | None) -> tuple[dict[str, Any], Sequence[str], str]:
    """What the run gave, its failures, and the command that repeats it."""
    wanted = flash_crowd.wanted_of(arguments)
    result, failures = run(wanted, arguments.kind, trace_file)
    command = wanted.command().replace("flash-crowd", f"hardship --kind {arguments.kind}")
    return result, failures, command


def run(wanted: Wanted, kind: str, trace_file: IO[str] | None = None) -> tuple[dict[str, Any], Sequence[str]]:
    plain, failures = flash_crowd.run(wanted)
    if failures:
        return plain, failures
    result, failures = flash_crowd.run(wanted, trace_file, KINDS[kind]())
    takers = wanted.nodes - len(KINDS[kind].excused)
    return {
        **result,
        "scenario": "hardship",
        "kind": kind,
        "plain_seconds": plain["virtual_seconds"],
        "alone_seconds": round(takers * wanted.pieces * REAL_PIECE_BYTES / wanted.upstream_rate, 6),
    }, failures
