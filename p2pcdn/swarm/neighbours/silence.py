"""Whoever did not answer has not said no: it is waited for while somebody of ours still waits."""

from __future__ import annotations

import trio

from p2pcdn.swarm.neighbours.peers import Peers

# How often it is looked whether one of them answers again. They are greeted after two seconds, then after four.
LOOK_EVERY_S = 0.25


async def heard_again(peers: Peers, until: float) -> bool:
    """Waits for one of those that are silent now; False where nobody is, or none answers by then (trio's time)."""
    waited_for = peers.silent(trio.current_time())
    while waited_for and trio.current_time() < until:
        await trio.sleep(min(LOOK_EVERY_S, until - trio.current_time()))
        silent = set(peers.silent(trio.current_time()))
        if any(peer.living and peer not in silent for peer in waited_for):
            return True
        waited_for = [peer for peer in waited_for if peer in silent]  # the others have gone
    return False
