"""Whom one download may ask, and what becomes of those who put it off, fail, or lie."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from p2pcdn.errors import RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools, refuse, sealed_port

log = logging.getLogger(__name__)

# One that had nothing for us, or is full and does not say for how long.
EMPTY_PAUSE_S, BUSY_PAUSE_S = 0.03, 0.02
# One that does not know the file: it may be about to begin.
UNKNOWN_PAUSE_S = 0.25
# Whom one download knows: a tracker names some fifteen each time. The oldest go.
SOURCES_MAX = 64
# A parent is asked to wait for its next piece; others give what they have or nothing.
PARENT_WAIT_MS = 400
PARENT_WAIT_MS_MIN = 20
# Where no parent has a hand free, any node is asked to wait a little: each gets every piece sooner or later.
GUEST_WAIT_MS = 60
# Silence is judged by what a piece usually takes here: so many times that, the watchdog's three seconds at least, and
# no longer than a client of ours can wait behind it (pip: 15 s).
PATIENCE_FACTOR, PATIENCE_MAX_S = 3.0, 9.0
# A class that is so many pieces behind another has a slow parent: every other time somebody else is asked.
LAG_MAX = 20
# One that breaks off so often in the middle of a piece that it passes on has failed; so many pieces that it gives make
# good for one time.
BROKEN_OFF_MAX, PIECES_PER_BREAK = 3, 4


@dataclass(slots=True)
class _Source:
    """One whom we may ask. rest_until: not before that. empty_until: nor, unless as one that lets us wait, before that.

    refused_since: since when it has only put us off. broken_off: how often it broke off what it passed on, less what it
    has made good.
    """

    rest_until: float = 0.0
    empty_until: float = 0.0
    refused_since: float | None = None
    broken_off: float = 0.0


class Sources:
    """One download's. parents: for each class of pieces whom the tracker named, None where nobody.

    readers: those of whom the tracker said that they read the origin, or have it all.
    """

    def __init__(self, sharing: Sharing, tools: Tools, on_left: Callable[[Peer, bool], None]) -> None:
        """on_left: called when one is no source any more because it failed or, the second value says so, lied."""
        self._sharing = sharing
        self._tools = tools
        self._on_left = on_left
        self._sealed = sharing.partial.origin.share == "group"  # private files travel over TLS
        self._able: dict[Peer, _Source] = {}
        self.parents: list[Peer | None] = [None] * CLASSES
        self.readers: set[Peer] = set()
        self._came = [0] * CLASSES  # pieces of each class that came from others
        self._passed_over = [False] * CLASSES
        self.answer_time_s = 0.0  # from a question to the last byte of its piece; 0 before the first

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._able

    def __bool__(self) -> bool:
        return bool(self._able)

    @property
    def name(self) -> str:
        return self._sharing.partial.origin.filename

    @property
    def patience_s(self) -> float:
        """How long nothing may come. On shared air a piece takes seconds, and who waits for it is not dead."""
        least_s = self._tools.exchange.patience.no_progress_s
        return max(least_s, min(PATIENCE_FACTOR * self.answer_time_s, PATIENCE_MAX_S))

    def add(self, peer: Peer) -> None:
        """One that may have pieces, unless it has lied about this file."""
        if self._sharing.sha256 in peer.distrusted:
            return
        if self._sealed and peer.hello is None:
            self._tools.meet(peer)  # it has not told yet where it speaks TLS
        if peer not in self._able:
            self._able[peer] = _Source()
            if len(self._able) > SOURCES_MAX:
                del self._able[next(one for one in self._able if one is not peer and one not in self.parents)]
        self._sharing.changed.unpark_all()

    def keep_only(self, peers: Collection[Peer]) -> None:
        """Only these, and the parents."""
        for peer in list(self._able):
            if peer not in peers and peer not in self.parents:
                del self._able[peer]

    def drop(self, peer: Peer) -> None:
        """It has nothing more for this file; nobody's fault."""
        self._able.pop(peer, None)

    def choose(self, klass: int, *, helping: bool) -> tuple[Peer, int] | None:
        """Whom to ask, and for how long to let it wait (ms): the parent of the class while it gives, else another.

        helping: for a class that is not the worker's own; then its parent is left to its own worker.
        """
        now = trio.current_time()
        parent = None if helping else self.parents[klass]
        if parent is not None and self._is_able(parent, now) and not self._is_behind(klass):
            return parent, PARENT_WAIT_MS
        able = [peer for peer in self._able if self._is_able(peer, now)]
        if not able:
            return None
        # The wire of whoever reads for all is the room's: only its children ask it, while there are others, though
        # these may have nothing now. And it may have gone: then its children find out, and not everybody.
        if not helping and any(peer not in self.readers and not self.is_quiet(peer) for peer in self._able):
            able = [peer for peer in able if peer not in self.readers]
        able = [peer for peer in able if self._able[peer].empty_until <= now]
        if not able:
            return None
        if self._sharing.manifest is not None:
            free = self._tools.exchange.free_slots
            most = max(free(peer.address) for peer in able)
            able = [peer for peer in able if free(peer.address) == most]
        return self._tools.dice.choice(able), GUEST_WAIT_MS if self.is_guest(klass) and not helping else 0

    def _is_able(self, peer: Peer, now: float) -> bool:
        source = self._able.get(peer)
        rested = source is not None and source.rest_until <= now
        return rested and not self._tools.peers.is_quiet(peer, now) and self.is_reachable(peer)

    def rested_at(self, now: float) -> float:
        """When the next one may be asked again; a second from now where nobody rests."""
        until = (max(one.rest_until, one.empty_until) for one in self._able.values())
        return min((one for one in until if one > now), default=now + 1)

    def is_guest(self, klass: int) -> bool:
        """Whether the trees are known, and there was no hand free for us in this one."""
        return self.parents[klass] is None and any(self.parents)

    def _is_behind(self, klass: int) -> bool:
        """Whether the parent of this class is to be passed over this time."""
        if max(self._came) - self._came[klass] < LAG_MAX:
            return False
        self._passed_over[klass] = not self._passed_over[klass]
        return self._passed_over[klass]

    # --- what becomes of one

    def gave(self, peer: Peer, index: int, took_s: float) -> None:
        """A right piece. took_s: from the question on."""
        before_s = self.answer_time_s
        self.answer_time_s = before_s + (took_s - before_s) / 8 if before_s else took_s
        self._came[index % CLASSES] += 1
        source = self._able.get(peer)
        if source is not None:
            source.refused_since = None
            source.broken_off = max(0.0, source.broken_off - 1 / PIECES_PER_BREAK)

    def had_nothing(self, peer: Peer, *, holds_some: bool, refused_to_wait: bool) -> None:
        """refused_to_wait: it was asked to let us wait, and said so at once."""
        source = self._able.get(peer)
        if source is not None:
            source.refused_since = None
            source.empty_until = trio.current_time() + (EMPTY_PAUSE_S if holds_some else 2 * EMPTY_PAUSE_S)
            if refused_to_wait:
                source.rest_until = source.empty_until

    def rests(self, peer: Peer, pause_s: float = UNKNOWN_PAUSE_S) -> None:
        """It is not asked for a while."""
        source = self._able.get(peer)
        if source is not None:
            source.rest_until = trio.current_time() + pause_s

    def was_full(self, peer: Peer, retry_after_s: float | None) -> None:
        now = trio.current_time()
        source = self._able.get(peer)
        if source is None:
            return
        source.refused_since = source.refused_since if source.refused_since is not None else now
        pause_s = BUSY_PAUSE_S if retry_after_s is None else retry_after_s
        source.rest_until = now + pause_s * (0.5 + self._tools.dice.random())
        if source.rest_until - source.refused_since > self.patience_s:
            log.info("%s is too busy for %s", peer.address, self.name)
            self._able.pop(peer, None)
            self._tools.peers.was_busy(peer, now)

    def broke_off(self, peer: Peer, why: str) -> None:
        """In the middle of what it was itself being given. Once is nothing; time after time it is its own fault."""
        source = self._able.get(peer)
        if source is None:
            return
        source.broken_off += 1
        if source.broken_off > BROKEN_OFF_MAX - 1:
            self.failed(peer, why)
        else:
            self.rests(peer, EMPTY_PAUSE_S)

    def failed(self, peer: Peer, why: str, *, silent: bool = False) -> None:
        self._left(peer, lied=False)
        if not self.is_quiet(peer):
            log.info("left %s alone: %s", peer.address, why, extra={"peer": str(peer.address), "file": self.name})
            self._tools.peers.failed(peer, why, trio.current_time(), silent=silent)

    def lied(self, peer: Peer, why: str) -> None:
        self._left(peer, lied=True)
        refuse(self._tools, peer, self._sharing.sha256, self.name, why)

    @contextmanager
    def blamed(self, peer: Peer, for_: str = "", *, passing_on: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Within it an error of the conversation is this peer's: it failed, or it lied. The store's errors go on.

        passing_on: whether it gives what it has not whole yet; then breaking off may be its own giver's fault.
        """
        try:
            yield
        except Unavailable as error:
            if self._sharing.partial.error is error:
                raise
            if passing_on():
                self.broke_off(peer, str(error))
            else:
                self.failed(peer, str(error), silent=isinstance(error, Unanswered))
        except RemoteProtocolError as error:
            self.lied(peer, f"{for_}: {error}" if for_ else str(error))

    def _left(self, peer: Peer, *, lied: bool) -> None:
        self._able.pop(peer, None)
        self._on_left(peer, lied)

    # --- how to ask one

    def is_quiet(self, peer: Peer) -> bool:
        return self._tools.peers.is_quiet(peer, trio.current_time())

    def is_reachable(self, peer: Peer) -> bool:
        """A private file is asked for over TLS, of those who said where they speak it."""
        return not self._sealed or sealed_port(peer) != 0

    def port_of(self, peer: Peer) -> int:
        return sealed_port(peer) if self._sealed else 0
