"""How many pieces are on their way out, to whom and of what; and when a refused asker may come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import trio

from p2pcdn.digest import Sha256
from p2pcdn.http1 import Response
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.giving.manners import Allowance, Manners
from p2pcdn.swarm.wire.messages import RETRY_AFTER

# One host (a few nodes of its users) cannot take all of them.
SLOTS_PER_HOST = 6
# Of one file: as many as its asker has questions under way. More would only share the same wire, and a piece that
# arrives late is passed on late.
SLOTS_PER_FILE = CLASSES
# How soon one that comes last may: twice a second is soon enough for the few pieces that it gets meanwhile.
LAST_RETRY_MS = 500
# How soon a refused one may come back: about the time in which one piece leaves. Milliseconds.
RETRY_MIN_MS, RETRY_MAX_MS = 5, 500

_NOBODY = Counter[str]()


class Slots:
    """Counts what goes out, and says when it is enough. Used on trio's thread."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._allowance = Allowance(manners.upload_limit_bytes_s)
        self._taken: Counter[str] = Counter()  # by host
        self._giving: dict[Sha256, Counter[str]] = {}  # the same of each file
        self._piece_time_s = 0.02
        self._spent = trio.lowlevel.ParkingLot()

    def mind(self, manners: Manners) -> None:
        """From now on."""
        if manners.upload_limit_bytes_s != self._manners.upload_limit_bytes_s:
            self._allowance = Allowance(manners.upload_limit_bytes_s)
        self._manners = manners

    def full(self, sha256: Sha256, host: str) -> bool:
        """Whether this host gets no piece of this file now."""
        return (
            self._taken.total() >= self._manners.slots
            or self._taken[host] >= SLOTS_PER_HOST
            or self._hosts(sha256).total() >= SLOTS_PER_FILE
            or self._backlog_s() > 0
        )

    def taken(self, host: str) -> int:
        """How many pieces are on their way to this host."""
        return self._taken[host]

    def hosts(self, sha256: Sha256) -> Iterable[str]:
        """Those to whom pieces of this file are on their way."""
        return self._hosts(sha256).keys()

    async def overspent(self) -> float:
        """Waits until more has gone out than the limit allows; returns for how long it allows nothing more."""
        while not (backlog_s := self._backlog_s()):
            await self._spent.park()
        return backlog_s

    def come_later(self) -> Response:
        """The answer of a full node."""
        wait_s = max(self._piece_time_s, self._backlog_s())
        wait_ms = round(min(RETRY_MAX_MS, max(RETRY_MIN_MS, wait_s * 1000)))
        return Response(503, ((RETRY_AFTER, str(wait_ms)),))

    def come_last(self) -> Response:
        """The answer to one who comes last, while others are served."""
        return Response(503, ((RETRY_AFTER, str(LAST_RETRY_MS)),))

    def take(self, sha256: Sha256, host: str, then: Callable[[], None]) -> Callable[[], None]:
        """Counts a piece that goes out, and gives what ends it. then: called when it has ended."""
        self._taken[host] += 1
        self._giving.setdefault(sha256, Counter())[host] += 1
        began = trio.current_time()

        def done() -> None:
            _give_back(self._taken, host)
            _give_back(self._giving[sha256], host)
            if not self._giving[sha256]:
                del self._giving[sha256]
            self._piece_time_s += (trio.current_time() - began - self._piece_time_s) / 8
            then()

        return done

    def spend(self, size_bytes: int) -> None:
        """Notes bytes that go out; who asks for more before their time has passed is told to come back."""
        self._allowance.wait_s(size_bytes, trio.current_time())
        if self._backlog_s():
            self._spent.unpark_all()

    def _backlog_s(self) -> float:
        return self._allowance.backlog_s(trio.current_time())

    def _hosts(self, sha256: Sha256) -> Counter[str]:
        return self._giving.get(sha256, _NOBODY)


def _give_back(taken: Counter[str], host: str) -> None:
    taken[host] -= 1
    if not taken[host]:
        del taken[host]
