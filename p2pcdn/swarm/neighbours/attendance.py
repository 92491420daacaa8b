"""Attending a file's crowd: asking its tracker, or the next node in rank where that one does not answer."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.swarm.advising.tracker import Tracker
from p2pcdn.swarm.neighbours.exchange import Exchange
from p2pcdn.swarm.neighbours.peer import ADDRESSES_REMEMBERED, Address, Peer
from p2pcdn.swarm.wire.advice import CROWD_SIZE_BYTES_MAX, LEFT_MAX, Advice, AskCrowd

log = logging.getLogger(__name__)

# A tracker answers from memory. Whoever needs longer than that on a busy machine is passed over: nobody waits for the
# room where it sleeps.
ANSWER_TIME_S = 0.5
# Once it has answered it is given more time before the crowd moves to the next one.
NEXT_ANSWER_TIME_S = 1.0
# A deadline that is seen so much later than it was: it is our own machine that is busy, and the answer may be here.
LATE_S = 0.05
# So many in rank are tried; then the node helps itself.
TRIED_MAX = 3
# Whoever is asked may send us on to one that it ranks higher; so often, for that one may have gone. And its advice is
# worth so many questions.
SENT_ON_MAX, STEPS_MAX = 2, 6
# One that did not answer is not asked first again for so long, by any download of this node; it doubles. It is perhaps
# only busy, and a room with two trackers has two readers. One of whom we only heard is perhaps nobody, until it says
# hello to us.
ABSENT_FIRST_S, ABSENT_MAX_S, HEARSAY_ABSENT_S = 1.0, 30.0, 60.0
# One that was silent not longer ago than this, and has not answered since, gets no second chance. After it the dead are
# known to be down, and others are only busy again.
FOUND_OUT_S = 60.0
# Those that were silent last; a room has one tracker a file.
ABSENT_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where advice came from: the addresses in it are to be read as seen from there. None: from ourselves."""

    address: Address | None


@dataclass(slots=True)
class _Silence:
    """until: when it may be asked again; hearsay_until: while we have only heard of it. times: one after the other.

    noted_at: when the last one was found out.
    """

    until: float = 0.0
    hearsay_until: float = 0.0
    times: int = 0
    noted_at: float = 0.0


class Absent:
    """Who did not answer as a tracker: one for all downloads of a node, so that it finds out once. now: trio's time."""

    def __init__(self) -> None:
        self._silences: dict[Address, _Silence] = {}

    def is_absent(self, address: Address, now: float, *, hearsay: bool) -> bool:
        silence = self._silences.get(address)
        return silence is not None and now < (silence.hearsay_until if hearsay else silence.until)

    def is_found_out(self, address: Address, now: float) -> bool:
        """Whether it was silent not long ago, and has not answered since."""
        silence = self._silences.get(address)
        return silence is not None and now - silence.noted_at < FOUND_OUT_S

    def is_asked(self, address: Address, now: float) -> None:
        """One download tries it again: the others go on without it until it has answered."""
        silence = self._silences.get(address)
        if silence is not None:
            silence.until = silence.hearsay_until = now + ANSWER_TIME_S

    def was_silent(self, address: Address, asked_at: float, now: float) -> None:
        """Many that asked it meanwhile find out the same silence."""
        silence = self._silences.get(address)
        if silence is not None and asked_at < silence.noted_at:
            return
        self._silences.pop(address, None)
        silence = silence or _Silence()
        pause_s = min(ABSENT_FIRST_S * (1 << min(silence.times, 8)), ABSENT_MAX_S)
        self._silences[address] = _Silence(now + pause_s, now + HEARSAY_ABSENT_S, silence.times + 1, now)
        forget_oldest(self._silences, ABSENT_REMEMBERED)

    def answered(self, address: Address) -> None:
        self._silences.pop(address, None)


class Attendance:
    """One node's questions about one file. Used by one task."""

    def __init__(
        self,
        id_: str,
        exchange: Exchange,
        tracker: Tracker,
        ranks: Callable[[str], Sequence[Peer | None]],
        absent: Absent,
    ) -> None:
        """ranks: the nodes in the order of the file's trackers, None for ourselves."""
        self._id = id_
        self._exchange = exchange
        self._tracker = tracker
        self._ranks = ranks
        self._absent = absent
        self._answered: Address | None = None
        self._began_at = 0.0  # when the question was made that is asked now
        self._silent_once: tuple[Address, float] | None = None  # and when it was asked
        self._forsaken: dict[Address, None] = {}
        self._gone: list[str] = []  # those that did not answer this time, or are passed over
        self._living: dict[Address, int] = {}  # those that said hello to us, with their ranks
        self._hearsay: set[Address] = set()  # those of whom others told us

    async def ask(self, ask: AskCrowd) -> tuple[Advice, Place]:
        """The advice of the first in rank that answers; where nobody does, that the node help itself.

        The next one hears who did not answer, or advised badly: else it would send us there again.
        """
        self._began_at = trio.current_time()
        walked = None
        for address in self._whom():
            walked = await (self._ask_ourselves(ask) if address is None else self._walk(address, ask))
            if walked is not None:
                break
        self._leave_silent()
        return walked or (Advice(read=ask.able), Place(None))

    async def _ask_ourselves(self, ask: AskCrowd) -> tuple[Advice, Place]:
        """We are the next in rank; whoever comes before us and was silent once is asked once more."""
        walked = None
        if self._silent_once is not None and not self._is_passed_over(self._silent_once[0]):
            walked = await self._walk(self._silent_once[0], ask)
        return walked or (self._tracker.advise(self._aged(ask), "", trio.current_time()), Place(None))

    def _aged(self, ask: AskCrowd) -> AskCrowd:
        """Others were waited for meanwhile: as long as that nothing has come of which the question knows."""
        if ask.reader is None:
            return ask
        waited_ms = round((trio.current_time() - self._began_at) * 1000)
        return replace(ask, reader=replace(ask.reader, quiet_ms=ask.reader.quiet_ms + waited_ms))

    def forsake(self) -> None:
        """Whoever advised us last did so badly: the next in rank is asked from now on."""
        if self._answered is not None:
            self._passes_over(self._answered, "the room gave nothing on its advice")
            self._answered = None

    def _whom(self) -> list[Address | None]:
        """The first in rank; where some of these are hearsay, then the first that have said hello to us themselves.

        For whoever tells of a thousand nodes that are not there would else leave nobody to ask, and each node of the
        room would read for itself.
        """
        ranked = self._ranks(self._id)
        living = [one for one in ranked if one is None or one.living]
        self._living = {one.address: rank for rank, one in enumerate(living) if one is not None}
        self._hearsay = {one.address for one in ranked if one is not None and not one.living}
        absent = (one for one in self._living if self._is_passed_over(one))
        self._gone = [str(one) for one in dict.fromkeys((*self._forsaken, *absent))]
        asked = [one for one in ranked if one is None or not self._is_passed_over(one.address)]
        first, others = asked[:TRIED_MAX], asked[TRIED_MAX:]
        if not all(one is None or one.living for one in first):
            first += [one for one in others if one is None or one.living][:TRIED_MAX]
        return [None if one is None else one.address for one in first]

    def _is_passed_over(self, address: Address) -> bool:
        hearsay = address in self._hearsay
        return address in self._forsaken or self._absent.is_absent(address, trio.current_time(), hearsay=hearsay)

    async def _walk(self, first: Address, ask: AskCrowd) -> tuple[Advice, Place] | None:
        """Asks one, and whomever it sends us to. None where that leads nowhere.

        Who sends us to one that has gone hears of it, and is asked once more. An honest one sends us up the ranks: one
        that leads us in a circle, or from one to the next, is not asked for this file again.
        """
        path, sent = [first], Counter[Address]()
        for _ in range(STEPS_MAX):
            at = path[-1]
            told = tuple(dict.fromkeys((*reversed(self._gone), *ask.left)))[:LEFT_MAX]
            advice = await self._question(at, replace(ask, left=told))
            if advice is not None and not advice.elsewhere:
                self._answered = at
                return advice, Place(at)
            better = None if advice is None else seen_from(advice.elsewhere, Place(at))
            sent[at] += 1
            if better is None:
                path.pop()
            elif better in path or str(better) in told or self._is_down(at, better) or sent[at] > SENT_ON_MAX:
                self._passes_over(path.pop(), "it sends us on in vain")
            elif self._is_passed_over(better):
                self._gone.append(str(better))
            else:
                path.append(better)
            if not path:
                return None
        self._passes_over(first, "it sends us from one to the next")
        return None

    def _leave_silent(self) -> None:
        """Whoever was silent, and has not answered since, is absent."""
        if self._silent_once is not None:
            self._absent.was_silent(*self._silent_once, trio.current_time())
            self._silent_once = None

    def _passes_over(self, address: Address, why: str) -> None:
        """For this file. Boot ids may be out of date, so that it is no strike."""
        log.info("%s is not asked for advice again: %s", address, why, extra={"peer": str(address), "id": self._id})
        self._forsaken[address] = None
        self._gone.append(str(address))

    def _is_down(self, at: Address, better: Address) -> bool:
        """Whether the one sends us to another that is less of a tracker than itself, as far as we know both."""
        living = self._living
        return at in living and better in living and living[better] > living[at]

    async def _answer(self, address: Address, ask: AskCrowd) -> Advice | None:
        async with self._exchange.ask(address, ask, CROWD_SIZE_BYTES_MAX) as answer:
            return Advice.decode(bytes(answer.body)) if answer.status == 200 else None

    async def _question(self, address: Address, ask: AskCrowd) -> Advice | None:
        # Whoever named the reader knows it.
        ask = replace(ask, reader=None) if address == self._answered else self._aged(ask)
        again = self._silent_once is not None and address == self._silent_once[0]
        patience_s = NEXT_ANSWER_TIME_S if again or address == self._answered else ANSWER_TIME_S
        asked_at = trio.current_time()
        advice = await self._answer_in_time(address, ask, patience_s)
        if advice is None and trio.current_time() - asked_at > patience_s + LATE_S:
            asked_at = trio.current_time()
            advice = await self._answer_in_time(address, ask, patience_s)
        now = trio.current_time()
        if advice is not None:
            self._absent.answered(address)
            if again:
                self._silent_once = None
            return advice
        log.info("no advice of %s within %.1f s", address, now - asked_at, extra={"id": self._id})
        waited = address in self._living and now - asked_at >= patience_s
        is_news = self._silent_once is None and not self._absent.is_found_out(address, now)
        if waited and is_news and self._answered is None:
            self._silent_once = address, asked_at
        else:
            self._absent.was_silent(address, asked_at, now)
            self._gone.append(str(address))
        return None

    async def _answer_in_time(self, address: Address, ask: AskCrowd, patience_s: float) -> Advice | None:
        self._absent.is_asked(address, trio.current_time())
        try:
            with trio.fail_after(patience_s):
                advice = await self._answer(address, ask)
                if advice is None and (ask.lied or ask.reader):
                    # A node of before: a question with these is none to it, and it may be the room's tracker.
                    advice = await self._answer(address, replace(ask, lied=(), reader=None))
                return advice
        except (Unavailable, RemoteProtocolError, trio.TooSlowError):
            return None


def seen_from(address: str, place: Place) -> Address | None:
    """Where a node is that somebody else named: "" is himself, and his loopback is his machine."""
    if address == "":
        return place.address
    named = _read(address)
    if place.address is not None and _is_loopback(named.host) and not _is_loopback(place.address.host):
        return Address(place.address.host, named.port)
    return named


@lru_cache(maxsize=ADDRESSES_REMEMBERED)
def _read(address: str) -> Address:
    host, _, port = address.rpartition(":")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


@lru_cache(maxsize=ADDRESSES_REMEMBERED)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
