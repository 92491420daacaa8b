"""The crowds of which this node is the tracker, and which node is the tracker of a file: rendezvous hashing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache

from blake3 import blake3

from p2pcdn.bounded import forget_oldest
from p2pcdn.swarm.advising.crowd import Crowd
from p2pcdn.swarm.wire.advice import Advice, AskCrowd

# Files of which we remember who fetched them; forged ids push out the oldest. A crowd of thirty takes 20 kB.
CROWDS_MAX = 512
# A node that fetches asks for the ranking of all it knows every second, and more often in the beginning.
WEIGHTS_REMEMBERED = 4096


def ranked(id_: str, boots: Iterable[str]) -> list[str]:
    """The nodes in the order in which they are a file's tracker: the next one where one does not answer.

    Highest random weight (Thaler and Ravishankar 1998): when a node comes or goes, only its own files move.
    """
    return sorted(boots, key=lambda boot: _weight(id_, boot), reverse=True)


@lru_cache(maxsize=WEIGHTS_REMEMBERED)
def _weight(id_: str, boot: str) -> bytes:
    return blake3(f"{id_} {boot}".encode("ascii")).digest(16)


class Tracker:
    """Used on trio's thread; now is trio's time."""

    def __init__(self) -> None:
        self._crowds: OrderedDict[str, Crowd] = OrderedDict()

    def knows(self, id_: str) -> bool:
        return id_ in self._crowds

    def advise(self, ask: AskCrowd, address: str, now: float) -> Advice:
        """What one who asks is to do. address: where it can be asked, "" for ourselves. Raises RemoteProtocolError."""
        crowd = self._crowds.get(ask.id)
        if crowd is None:
            crowd = self._crowds[ask.id] = Crowd()
            forget_oldest(self._crowds, CROWDS_MAX)
        self._crowds.move_to_end(ask.id)
        return crowd.advise(ask, address, now)

    def crowds(self) -> int:
        return len(self._crowds)
