"""Attending a file's crowd: asking its tracker, or the next node in rank where that one does not answer."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import trio

from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.swarm.advice import CROWD_SIZE_BYTES_MAX, LEFT_MAX, Advice, AskCrowd
from p2pcdn.swarm.exchange import Exchange
from p2pcdn.swarm.peers import Address, Peer
from p2pcdn.swarm.tracker import Tracker

# A tracker answers from memory. Whoever needs longer than that on a busy machine is passed over: nobody waits for the
# room where it sleeps.
ANSWER_TIME_S = 0.5
# Once it has answered it is given more time before the crowd moves to the next one.
NEXT_ANSWER_TIME_S = 1.0
# So many in rank are tried; then the node helps itself.
TRIED_MAX = 3
# One that nobody but others told us of, and that did not answer so often, is not tried again for this file.
SILENT_MAX = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where advice came from: the addresses in it are to be read as seen from there. None: from ourselves."""

    address: Address | None


class Attendance:
    """One node's questions about one file. Used by one task."""

    def __init__(
        self, id_: str, exchange: Exchange, tracker: Tracker, ranks: Callable[[str], Sequence[Peer | None]]
    ) -> None:
        """ranks: the nodes in the order of the file's trackers, None for ourselves."""
        self._id = id_
        self._exchange = exchange
        self._tracker = tracker
        self._ranks = ranks
        self._answered: Address | None = None
        self._silent = Counter[Address]()  # how often one of whom we only heard did not answer
        self._forsaken: dict[Address, None] = {}
        self._gone: list[str] = []  # those that did not answer this time, or are forsaken

    async def ask(self, ask: AskCrowd) -> tuple[Advice, Place]:
        """The advice of the first in rank that answers; where nobody does, that the node help itself.

        The next one hears who did not answer, or advised badly: else it would send us there again.
        """
        self._gone = [str(address) for address in self._forsaken]
        for peer in self._whom():
            if peer is None:
                return self._tracker.advise(ask, "", trio.current_time()), Place(None)
            left = (*self._gone, *ask.left)[:LEFT_MAX]
            advice, address = await self._of(peer.address, replace(ask, left=left) if self._gone else ask)
            if advice is not None:
                return advice, Place(address)
            if not peer.living:
                self._silent[peer.address] += 1
        return Advice(read=ask.able), Place(None)

    def forsake(self) -> None:
        """Whoever advised us last did so badly: the next in rank is asked from now on."""
        if self._answered is not None:
            self._forsaken[self._answered] = None
            self._answered = None

    def _whom(self) -> list[Peer | None]:
        """The first in rank; where some of these are hearsay, then the first that have said hello to us themselves.

        For whoever tells of a thousand nodes that are not there would else leave nobody to ask, and each node of the
        room would read for itself.
        """
        ranked = [one for one in self._ranks(self._id) if one is None or not self._is_passed_over(one.address)]
        first, others = ranked[:TRIED_MAX], ranked[TRIED_MAX:]
        if all(one is None or one.living for one in first):
            return first
        return first + [one for one in others if one is None or one.living][:TRIED_MAX]

    def _is_passed_over(self, address: Address) -> bool:
        return address in self._forsaken or self._silent[address] >= SILENT_MAX

    async def _of(self, address: Address, ask: AskCrowd) -> tuple[Advice | None, Address]:
        advice = await self._question(address, ask)
        if advice is not None and advice.elsewhere:
            better = seen_from(advice.elsewhere, Place(address))
            if better is not None and better != address and not self._is_passed_over(better):
                other = await self._question(better, ask)
                if other is not None and not other.elsewhere:
                    return other, better
            return None, address
        return advice, address

    async def _question(self, address: Address, ask: AskCrowd) -> Advice | None:
        patience_s = NEXT_ANSWER_TIME_S if address == self._answered else ANSWER_TIME_S
        try:
            with trio.fail_after(patience_s):
                async with self._exchange.ask(address, ask, CROWD_SIZE_BYTES_MAX) as answer:
                    if answer.status != 200:
                        return None
                    advice = Advice.decode(bytes(answer.body))
        except (Unavailable, RemoteProtocolError, trio.TooSlowError):
            self._gone.append(str(address))
            return None
        self._answered = address
        return advice


def seen_from(address: str, place: Place) -> Address | None:
    """Where a node is that somebody else named: "" is himself, and his loopback is his machine."""
    if address == "":
        return place.address
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if place.address is not None and _is_loopback(host) and not _is_loopback(place.address.host):
        host = place.address.host
    return Address(host, int(port))


@lru_cache(maxsize=4096)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
