"""Several readers of one file, each its part: what it is for, and what it may cost."""

from __future__ import annotations

import pytest
import trio

from p2pcdn.swarm.advising.leases import LEASE_S
from simnet.net.link import GIGABIT
from simnet.node import Options
from simnet.simulation import Simulation
from simnet.turns.kernel import BEGIN_S
from simnet.upstream import content_of

NODES, PIECES, PIECE = 8, 48, 32 * 1024
CONNECTION_BYTES_S = 5 * PIECE
ALONE_S = PIECES * PIECE / CONNECTION_BYTES_S


def fetched(
    readers: int, seed: int, *, line: float = GIGABIT, connection: float | None, dies: bool = False
) -> tuple[float, float]:
    """How long all that live took (s), and how many pieces the upstream gave."""
    options = Options(piece_size_bytes=PIECE, thread_delay_s=None, more={"origin_readers": readers})
    sim = Simulation(seed, scale=32, bulk_from_bytes=PIECE // 4, options=options)
    sim.build(NODES, upstream_rate=line)
    sim.upstream.connection_bytes_s = connection
    took = []

    async def story() -> None:
        sim.upstream.publish("thing", content_of(seed, PIECES * PIECE))
        nodes = await sim.start_nodes()
        await trio.sleep_until(BEGIN_S + 8)
        began = trio.current_time()

        async def user(node: object) -> None:
            await node.install("thing")  # type: ignore[attr-defined]
            took.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            scopes = {}
            for node in nodes:
                scopes[node] = await nursery.start(_in_scope, user, node)
            if dies:
                await trio.sleep(ALONE_S / readers / 2)
                reading = [one for one in nodes if one.node.status()["bytes"]["from_upstream"] > PIECE]
                assert len(reading) == readers
                scopes[reading[-1]].cancel()
                reading[-1].power_off()

    sim.run(story)
    return max(took), sim.upstream.sent_bytes / PIECE


async def _in_scope(user: object, node: object, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await user(node)  # type: ignore[operator]


@pytest.mark.parametrize(("readers", "seed"), [(1, 1), (2, 2), (3, 1), (5, 2), (8, 1)])
def test_where_a_connection_is_the_limit_so_many_readers_are_so_much_quicker(readers: int, seed: int) -> None:
    took_s, pieces = fetched(readers, seed, connection=CONNECTION_BYTES_S)
    assert took_s <= 1.1 * ALONE_S / readers + 0.2
    assert pieces <= PIECES + 2


@pytest.mark.parametrize("readers", [2, 3, 8])
def test_where_the_line_is_the_limit_they_cost_nothing(readers: int) -> None:
    line = PIECES * PIECE * 32 / 4  # four seconds, at the weight of a piece in the simulator
    alone_s, _ = fetched(1, 1, line=line, connection=None)
    took_s, pieces = fetched(readers, 1, line=line, connection=None)
    assert took_s <= 1.03 * alone_s
    assert pieces <= PIECES + 2


@pytest.mark.parametrize("readers", [2, 4])
def test_one_of_them_that_dies_costs_a_lease_at_most(readers: int) -> None:
    took_s, pieces = fetched(readers, 1, connection=CONNECTION_BYTES_S, dies=True)
    assert took_s <= 1.1 * ALONE_S / readers + LEASE_S + 0.5 * ALONE_S / readers
    assert pieces <= PIECES + 2 * readers
