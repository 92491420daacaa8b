"""Who reads the upstream for a crowd dies: the others have the file one lease later, and little is read twice.

The hardship `reader-dies` in a small size, as a scenario with a bound. The fault scenarios give everybody two minutes
after the last fault, in which a room without any lease that moves comes to an end, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from p2pcdn.swarm.advising.crowd import AGAIN_MS
from p2pcdn.swarm.advising.leases import LEASE_S
from simnet.campaigns.outcome import Outcome
from simnet.scenarios import hardship
from simnet.scenarios.flash_crowd import Wanted

NODES, PIECES = 6, 32
# That the lease is another one's now each hears at its next question.
LATER_S_MAX = LEASE_S + AGAIN_MS[-1] / 1000 * 1.1
# What the dead one was reading, and what it had signed and was giving (docs/decisions/0022).
PIECES_AGAIN_MAX = 4

MARKS: tuple[str, ...] = ()


def run(seed: int) -> Outcome:
    """One seed."""
    with _without_log():
        result, failures = hardship.run(Wanted(nodes=NODES, pieces=PIECES, seed=seed), "reader-dies")
    return Outcome([*failures, *([] if failures else _too_much(result))], result["trace_digest"])


def _too_much(result: dict[str, float]) -> list[str]:
    later_s = result["virtual_seconds"] - result["plain_seconds"]
    again = (result["upstream_bytes_per_file"] - 1) * PIECES
    late = [f"a reader's death cost {later_s:.1f} s, more than {LATER_S_MAX:.1f}"] if later_s > LATER_S_MAX else []
    twice = [f"{again:.1f} pieces were read again, more than {PIECES_AGAIN_MAX}"] if again > PIECES_AGAIN_MAX else []
    return late + twice


@contextmanager
def _without_log() -> Iterator[None]:
    """A dead node's neighbours complain, as they should."""
    logger = logging.getLogger("p2pcdn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
