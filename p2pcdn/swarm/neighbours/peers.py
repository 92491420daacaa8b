"""Who the neighbours are: a bounded table of them, what each has done, and whom to leave alone for a while. Pure.

A sighting is a hint. A peer is believed to be there after it answered a hello, and until it fails.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import chain

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.swarm.neighbours.peer import (
    ASKED_US,
    CONFIGURED,
    CROWD,
    HEARSAY_KEPT_S,
    ONCE_CONFIGURED,
    TOLD,
    Address,
    Peer,
    PeerStatus,
    address_of,
    is_literal,
    status_of,
)
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Sighting

# A large office; 1 kB each. Forged names by the ten thousand push each other out, and nobody who answers.
PEERS_MAX = 2048
# So many are greeted as soon as they are heard of; of a larger room the others are met by and by, for a thousand nodes
# that greet each other at once say a million hellos. Until then they are hearsay: good enough to be asked.
GREETED_AT_ONCE_MAX = 24
# One of them that has not answered by then holds no place: else two dozen names of nobody keep a room from meeting. Who
# asks us is there for certain, and takes the place of one that is overdue by less.
GREETING_OVERDUE_S, GREETING_OVERDUE_ASKED_S = 0.5, 0.05
GREETED_BY_AND_BY_S = 300.0
# Nodes on one address: a few users of one machine. More is somebody who makes names.
PEERS_PER_HOST_MAX = 16
# How long one that failed is left alone: first, and at the most. It doubles.
BACK_OFF_FIRST_S = 2.0
BACK_OFF_MAX_S = 300.0
# One that was silent so often in a row is busy, and may answer again any moment; once more, and it has gone. With the
# pauses above that is a quarter of a minute.
SILENCES_MAX = 2
# But nobody waits longer than this for the next hello (pip hangs up after 15 s): who has failed often is left alone for
# minutes, and cannot answer before.
SILENCE_WAIT_MAX_S = 12.0
# Before the first answer it is asked again sooner: two machines that start together miss each other by moments.
GREETING_FIRST_S = 0.25
GREETING_MAX_S = 30.0
# How long one that answers is not asked again whether it is there.
HELLO_EVERY_S = 30.0
# A sighting that never answered so often was nobody, and a pod that nobody names any more has gone; one that once
# answered may sleep for an hour or two.
GREETINGS_MAX = 6
FAILURES_MAX = 25
# One lie is perhaps a bad disk and costs this file, and a while; three are a habit.
STRIKES_MAX = 3
STRIKE_PAUSE_S = 60.0
BAN_S = 3600.0
# Files in which a peer has lied; older ones are forgotten.
DISTRUSTED_MAX = 64


class Peers:
    """The table. Used on trio's thread; now is always trio's time in seconds.

    on_failed: called when somebody has failed, whose next hello is due sooner now.
    """

    def __init__(self, own_boot: str, dice: random.Random) -> None:
        self._own_boot = own_boot
        self._dice = dice
        self.on_failed: Callable[[], None] = lambda: None
        self._table: dict[Address, Peer] = {}
        self._hosts: Counter[str] = Counter()  # how many of the table are at one host
        self._strangers: dict[Address, None] = {}  # those that were sighted and never answered
        self._own: dict[Address, None] = {}
        self._at_once: dict[Address, float] = {}  # those that were greeted as soon as they were heard of, and when

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._table.values()))

    def __len__(self) -> int:
        return len(self._table)

    def sight(self, sighting: Sighting, source: str, now: float) -> Peer | None:
        """Takes a hint in. None where it is ourselves, makes no sense, or finds no room."""
        address = address_of(sighting)
        if address is None or sighting.instance == self._own_boot or address in self._own:
            return None
        peer = self._table.get(address)
        if peer is not None:
            if sighting.instance is not None:
                peer.heard_boot, peer.heard_at = sighting.instance, now
            if source == CONFIGURED:
                peer.source = CONFIGURED
                self._strangers.pop(address, None)
                if peer.hello is None and not peer.down:
                    peer.ask_at = min(peer.ask_at, now)  # rumour had it for "by and by"
            asks_unmet = source == ASKED_US and peer.hello is None and not peer.configured
            if asks_unmet:
                peer.source = ASKED_US  # it is no rumour any more
            restarted = peer.hello is not None and sighting.instance not in (None, peer.hello.boot)
            if restarted or (peer.hello is None and source not in (CROWD, TOLD) and peer.failures):
                # It is new, or was started anew: what failed before says little.
                peer.ask_at = min(peer.ask_at, now + GREETING_FIRST_S * peer.failures)
            elif asks_unmet:
                peer.ask_at = min(peer.ask_at, self._first_hello(address, source, now))
            return peer
        if source == CROWD and not is_literal(address.host):
            return None  # a tracker does not make us look names up
        if source != CONFIGURED and not self._make_room(address.host):
            return None
        peer = self._table[address] = Peer(address, source, ask_at=self._first_hello(address, source, now))
        if sighting.instance is not None:
            peer.heard_boot, peer.heard_at = sighting.instance, now
        self._hosts[address.host] += 1
        if source != CONFIGURED:
            self._strangers[address] = None
        return peer

    def told(self, boot: str, address: Address, age_s: float, now: float) -> Peer | None:
        """Another node tells of one that it heard so many seconds ago."""
        if age_s >= HEARSAY_KEPT_S:
            return None
        known = self._table.get(address)
        if known is not None and (known.living or known.down or known.heard_at >= now - age_s):
            return known
        peer = self.sight(Sighting(address.host, address.port, boot), TOLD, now)
        if peer is not None:
            peer.heard_at = now - age_s
        return peer

    def _first_hello(self, address: Address, source: str, now: float) -> float:
        """When one of whom we hear is greeted: at once while we know few, else by and by."""
        if source == CONFIGURED:
            return now
        if source != CROWD and self._has_place(source, now):
            self._at_once[address] = now
            return now
        return now + GREETED_BY_AND_BY_S * self._dice.random()

    def _has_place(self, source: str, now: float) -> bool:
        """Whether one more is greeted at once. Rumour holds a place for a moment only."""
        if len(self._at_once) < GREETED_AT_ONCE_MAX:
            return True
        since = now - (GREETING_OVERDUE_ASKED_S if source == ASKED_US else GREETING_OVERDUE_S)
        silent = next((one for one, at in self._at_once.items() if at < since and self._table[one].rumoured), None)
        if silent is not None:
            del self._at_once[silent]
        return silent is not None

    def members(self, now: float) -> list[Peer]:
        """Everybody who counts as one of the room, but those that are left alone now; each node once.

        Under the address at which it answers, the configured one first: hearsay may give anybody's boot id to anybody.
        """
        able = [peer for peer in self._table.values() if self._counts(peer, now)]
        able.sort(key=lambda peer: (peer.living, peer.configured))
        return list({peer.boot: peer for peer in able}.values())

    def _counts(self, peer: Peer, now: float) -> bool:
        return peer.boot != self._own_boot and peer.is_member(now) and not self.is_quiet(peer, now)

    def unname(self, sighting: Sighting) -> None:
        """Nobody names it any more: it is kept like a neighbour that was found, not at all if it does not answer."""
        address = address_of(sighting)
        peer = None if address is None else self._table.get(address)
        if peer is None or not peer.configured:
            return
        peer.source = ONCE_CONFIGURED
        if not peer.living and not peer.strikes:
            self._forget(peer.address)

    def answered(self, peer: Peer, hello: Hello, rtt_s: float, now: float) -> bool:
        """It said hello. False: it was ourselves, and is dropped."""
        if hello.boot == self._own_boot:
            self._own[peer.address] = None
            forget_oldest(self._own, PEERS_PER_HOST_MAX)
            self._forget(peer.address)
            return False
        if peer.hello is None or peer.hello.boot != hello.boot:
            peer.failures = 0
        self._strangers.pop(peer.address, None)
        peer.hello = hello
        peer.rtt_s = rtt_s
        peer.down, peer.silences = False, 0
        if not peer.strikes:
            peer.wrong = None
        self.is_there(peer, now)
        return True

    def is_there(self, peer: Peer, now: float) -> None:
        """It answered something. One that greets and then stalls is still left alone longer each time."""
        peer.last_seen = now
        if not peer.down:
            crowding = max(1.0, len(self._at_once) / GREETED_AT_ONCE_MAX, len(self._table) / GREETED_AT_ONCE_MAX / 4)
            peer.ask_at = now + HELLO_EVERY_S * crowding * (0.75 + self._dice.random() / 2)

    def gave(self, peer: Peer, size_bytes: int, now: float) -> None:
        """It gave bytes that were right."""
        peer.bytes_in += size_bytes
        peer.failures = 0
        self.is_there(peer, now)

    def failed(self, peer: Peer, why: str, now: float, *, silent: bool = False) -> None:
        """It did not answer, or broke off: it is left alone, longer each time. It is nobody's fault.

        silent: it did not say anything in time; what it has nobody knows.
        """
        peer.wrong = why
        peer.silences = peer.silences if silent else 0
        if peer.down and now < peer.ask_at:
            return  # many questions fail in one moment
        new = peer.hello is None
        first, most = (GREETING_FIRST_S, GREETING_MAX_S) if new else (BACK_OFF_FIRST_S, BACK_OFF_MAX_S)
        pause_s = min(most, first * 2 ** min(peer.failures, 20)) * (0.75 + self._dice.random() / 2)
        peer.failures += 1
        peer.down = True
        peer.silences += silent
        self._at_once.pop(peer.address, None)
        peer.ask_at = now + pause_s
        peer.quiet_until = max(peer.quiet_until, peer.ask_at)
        self.on_failed()
        failures_max = GREETINGS_MAX if new or peer.source == ONCE_CONFIGURED else FAILURES_MAX
        if not peer.configured and peer.failures >= failures_max and not peer.strikes:
            self._forget(peer.address)

    def was_busy(self, peer: Peer, now: float) -> None:
        """It said "later" while our patience lasted. After the second time it rests: no other file is asked of it."""
        if now < peer.busy_until:
            return  # many files were refused in one moment
        if peer.failures:
            pause_s = min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2 ** min(peer.failures, 20))
            peer.busy_until = now + pause_s * (0.75 + self._dice.random() / 2)
        peer.failures += 1

    def lied(self, peer: Peer, why: str, now: float) -> None:
        """It gave what cannot come from an honest node. The third time it is banned."""
        peer.strikes += 1
        peer.wrong = why
        peer.banned = peer.strikes >= STRIKES_MAX
        peer.quiet_until = now + (BAN_S if peer.banned else STRIKE_PAUSE_S)

    def distrust(self, peer: Peer, sha256: Sha256) -> None:
        """It is not asked for this file again."""
        peer.distrusted[sha256] = None
        forget_oldest(peer.distrusted, DISTRUSTED_MAX)

    def is_quiet(self, peer: Peer, now: float) -> bool:
        """Whether it is to be left alone now."""
        if peer.banned and now >= peer.quiet_until:
            # One more lie, and it is banned again.
            peer.banned, peer.strikes = False, STRIKES_MAX - 1
        return peer.down or now < peer.quiet_until

    def to_ask(self, now: float, most: int, sha256: Sha256 | None = None) -> list[Peer]:
        """Whom to ask for a file: those that live, and configured ones that nobody has met yet; a random few.

        A node that has several addresses is asked at one of them: the configured one. Anybody may claim to be another's
        twin, so among the others chance decides.
        """
        able = [
            peer
            for peer in self._table.values()
            if (peer.living or (peer.configured and peer.hello is None))
            and not self.is_quiet(peer, now)
            and peer.busy_until <= now
            and (sha256 is None or sha256 not in peer.distrusted)
        ]
        self._dice.shuffle(able)
        able.sort(key=lambda peer: peer.configured)
        chosen = list({peer.name: peer for peer in able}.values())
        return chosen if len(chosen) <= most else self._dice.sample(chosen, most)

    def silent(self, now: float) -> list[Peer]:
        """Those that answered before, do not now or put us off, and may soon: what they have nobody knows."""
        soon = now + SILENCE_WAIT_MAX_S
        return [
            peer
            for peer in self._table.values()
            if peer.hello is not None
            and not peer.banned
            and ((0 < peer.silences <= SILENCES_MAX and peer.ask_at < soon) or now < peer.busy_until < soon)
        ]

    def to_greet(self, now: float) -> list[Peer]:
        """Whose hello is due: those of whom only rumour speaks last, the newest of them before those that failed."""
        due = [
            peer
            for peer in reversed(self._table.values())
            if peer.ask_at <= now and not (peer.banned and self.is_quiet(peer, now))
        ]
        due.sort(key=lambda peer: (peer.rumoured, peer.failures))
        return due

    def next_greeting(self, now: float, but: Collection[Peer]) -> float:
        """When `to_greet` will next have somebody who is not among these."""
        due = (peer.quiet_until if peer.banned else peer.ask_at for peer in self._table.values() if peer not in but)
        return min(due, default=now + HELLO_EVERY_S)

    def status(self, given_bytes: dict[str, int], now: float) -> list[PeerStatus]:
        """Those that once answered, or were configured, or lied. given_bytes: by host."""
        known = [peer for peer in self._table.values() if peer.hello or peer.configured or peer.strikes]
        known.sort(key=lambda peer: (peer.configured, peer.living))
        # A node with several addresses is shown once, with all its bytes.
        shown = {peer.name: peer for peer in known}
        bytes_in = Counter[str]()
        for peer in known:
            bytes_in[peer.name] += peer.bytes_in
        return [status_of(peer, bytes_in[name], given_bytes, now) for name, peer in shown.items()]

    def _make_room(self, host: str) -> bool:
        """Forgets a stranger where there are too many, the oldest first; else one that is down. Who answers stays."""
        crowded = self._hosts[host] >= PEERS_PER_HOST_MAX
        if not crowded and len(self._table) < PEERS_MAX:
            return True
        down = (peer.address for peer in self._table.values() if peer.down and not (peer.configured or peer.banned))
        old = next((address for address in chain(self._strangers, down) if address.host == host or not crowded), None)
        if old is None:
            return False
        self._forget(old)
        return True

    def _forget(self, address: Address) -> None:
        if self._table.pop(address, None) is not None:
            self._strangers.pop(address, None)
            self._at_once.pop(address, None)
            self._hosts[address.host] -= 1
            if not self._hosts[address.host]:
                del self._hosts[address.host]
