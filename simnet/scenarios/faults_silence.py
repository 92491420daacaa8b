"""A neighbour that has the file falls silent, before it is asked or amid its pieces: who waits for it goes elsewhere.

The larger fault scenario heals its faults, and there others cover for a node that waits too long. Here nobody does, and
what the promise says of a faulty peer is measured, from its silence on: three seconds, and what the upstream takes.
"""

from __future__ import annotations

import random

import trio

from p2pcdn.group import GroupKey
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from simnet.campaigns.outcome import Outcome
from simnet.marks import sometimes
from simnet.node import Options, SimNode
from simnet.simulation import Hang, Simulation
from simnet.turns.kernel import BEGIN_S
from simnet.upstream import content_of

PIECE_BYTES = 32 * 1024
SCALE = 32
PIECES_MAX = 40
MEETING_S = 5.0
# Beside the watchdog's three seconds: the looks at what moves, the tracker's answer, and the file from the upstream.
MARGIN_S = 1.5
TIME_MAX_S = 90.0

MARKS = ("it fell silent before it was asked", "it fell silent amid pieces", "its power went", "all was there before")


def run(seed: int) -> Outcome:
    """One seed."""
    dice = random.Random(f"silence {seed}")
    group = GroupKey.from_seed(dice.randbytes(32)) if dice.random() < 0.5 else None
    options = Options(piece_size_bytes=PIECE_BYTES, thread_delay_s=None, group=group)
    simulation = Simulation(seed, scale=SCALE, bulk_from_bytes=PIECE_BYTES // 2, options=options, time_max_s=TIME_MAX_S)
    simulation.build(dice.randint(2, 3))
    content = content_of(seed, dice.randint(2, PIECES_MAX) * PIECE_BYTES - dice.randrange(PIECE_BYTES))
    published = simulation.upstream.publish("thing", content)
    failures: list[str] = []

    async def story() -> None:
        nodes = await simulation.start_nodes()
        await trio.sleep_until(BEGIN_S + MEETING_S)
        await nodes[0].install("thing")
        async with trio.open_nursery() as nursery:
            silent_at = _silence_of(dice, len(content) * SCALE / nodes[0].host.up.rate)
            nursery.start_soon(_fall_silent, nodes[0], silent_at, dice)
            for node in nodes[1:]:
                nursery.start_soon(user, node, silent_at)

    async def user(node: SimNode, silent_at: float) -> None:
        await trio.sleep(0.001)
        began = trio.current_time()
        got = await node.install("thing")
        took_s = trio.current_time() - max(began, silent_at)
        if got.sha256 != published.sha256:
            failures.append(f"{node.host} gave wrong bytes to its user")
        if took_s > NO_PROGRESS_S + MARGIN_S:
            failures.append(f"{node.host} needed {took_s:.1f} s beside a silent neighbour")
        sometimes("all was there before", took_s < NO_PROGRESS_S)

    try:
        simulation.run(story)
    except Hang as error:
        failures.append(f"hang: {error}")
    return Outcome([*simulation.failures, *failures], simulation.kernel.digest())


def _silence_of(dice: random.Random, file_s: float) -> float:
    """When it falls silent. file_s: what the whole file takes on its wire."""
    before = dice.random() < 0.4
    sometimes("it fell silent before it was asked" if before else "it fell silent amid pieces")
    return trio.current_time() + (0.0 if before else 0.001 + dice.uniform(0, file_s))


async def _fall_silent(node: SimNode, at: float, dice: random.Random) -> None:
    await trio.sleep_until(at)
    if dice.random() < 0.5:
        sometimes("its power went")
        node.power_off()
    else:
        node.host.up.clog()
