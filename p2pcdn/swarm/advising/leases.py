"""Who of a crowd reads the origin: one, as long as it brings something, then the next. Pure.

More read where the word of one is not taken, where one keeps what it reads, or where the room is slow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from p2pcdn.bounded import forget_oldest
from p2pcdn.swarm.advising.lease import Lease
from p2pcdn.swarm.advising.member import Member
from p2pcdn.swarm.advising.parts import ALL, Part, lacking, take_part
from p2pcdn.swarm.advising.plan import CLASSES, Plan
from p2pcdn.swarm.advising.trial import DECIDED_AFTER_PIECES, DECIDED_AFTER_S, Trial, by_class
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import MAKERS_TOLD_MAX

log = logging.getLogger(__name__)

# A reader that brings nothing new for so long gives its lease up.
LEASE_S = 3.0
# Where one lease after the other lapses, the upstream is slow to begin rather than the readers dead: each next one has
# twice the time.
LEASE_MAX_S = 48.0
# And so many readers may go on waiting for their first byte beside it, which costs the upstream nothing: the first that
# gets one is the reader again, before the others have any.
WAITING_MAX = 3
# Where a member usually waits longer than a third of that for its next piece, as on shared air, silence is judged by
# that, up to so long (pip: 15 s).
PACE_FACTOR, PATIENCE_MAX_S = 3.0, 9.0
# So long before a lease lapses members hear what comes of it; it is more than a reader is usually silent between two
# of its questions.
HURRY_S = 1.5
# A reader of which others have less than half of so many pieces, or more, after the time of a lease, has a thin wire.
HOARD_PIECES_MIN = 16
# Readers at the same time: one, and those who do not take its word; more only where so many may read.
LEASES_MAX = 4
# Of these for one host: in open mode anybody may draw boot ids, and who holds all of them keeps everybody waiting.
LEASES_PER_HOST_MAX = 2
# Where one begins that reads beside a reader whose word it takes and whose pieces it cannot wait for, so that they meet
# late.
MIDDLE = 0.5
# A reader whom others are not to ask first, as on Wi-Fi, leaves the rest to one whom they are, where it is as much.
HANDED_OVER_PIECES_MIN = 16
# But not where it reads more than so many a second: so quick a room waits longer for the change than for the air.
HANDED_OVER_PIECES_S_MAX = 32
# Hosts whose leases brought nothing, and those whose reader was no quicker than the room.
HOSTS_REMEMBERED = 2048


class Leases:
    """One crowd's, all by their owners' boot ids. It tells the plan who reads; now is trio's time.

    waiting: of those whose lease lapsed while they waited for their first byte, and who go on doing so.
    makers: the devices that read the origin, with their addresses. pace_s: between two pieces of a member, usually.
    """

    def __init__(self, members: Mapping[str, Member], plan: Plan) -> None:
        self._members = members
        self._plan = plan
        self.held: dict[str, Lease] = {}
        self.waiting: dict[str, Lease] = {}
        self.makers: dict[bytes, str] = {}
        self.pace_s = 0.0
        self.trial: Trial | None = None  # of one that reads beside a room which is slow
        self._beaten: dict[str, None] = {}  # hosts whose reader was no quicker than the room
        self._lapsed = 0  # leases that brought nothing, one after the other
        self._fruitless: dict[str, None] = {}  # hosts whose leases those were; others come first

    def grant(self, member: Member, now: float) -> bool:
        """Whether this member, who is able to read, holds a lease now."""
        for boot in [boot for boot, one in self.held.items() if one.progress_at + self._lease_s < now]:
            self._lapse(boot)
        if self._goes_on_waiting(member, now):
            return True
        if self._is_behind(member) and any(
            one.ask.able and not one.whole and not self._is_behind(one) for one in self._members.values()
        ):
            return False
        lease = self.held.get(member.boot)
        if lease is not None and lease.races and not member.ask.slow:
            self._end(member.boot)  # its wire was no quicker than the room
        elif lease is not None:
            lease.progress_at = max(lease.progress_at, member.progress_at)
            if self._has_part(member, lease, now):
                return True
            if lease.leaves:
                self._end(member.boot)
                return False
            lease.progress_at = now  # others read what is left, and it may be wanted when one of them dies
            return False
        return self._grant_new(member, now)

    def goes_on(self, member: Member, progress_at: float) -> None:
        """Another tracker has granted it, who does not answer those who tell of it."""
        self._give(member, progress_at)
        self.held[member.boot].told = True
        del self.makers[member.ask.device]

    def begin_of(self, member: Member) -> float:
        """Where in the file the one that was granted a lease is to begin, in [0, 1)."""
        return (self.held.get(member.boot) or self.waiting[member.boot]).begin

    def left_to_others(self, member: Member) -> int:
        """The pieces that others read, a bitfield."""
        lease = self.held.get(member.boot)
        return 0 if lease is None else bitfield.all_of(member.ask.pieces) & ~lease.part

    def are_several(self) -> bool:
        """Whether several read, each its part: what one takes over of another's that one is to hear soon."""
        return any(lease.part != ALL for lease in self.held.values())

    def progressed(self, member: Member, now: float, came: int) -> None:
        """It has more bytes than when it was heard last. came: pieces, a bitfield."""
        self.pace_s += (now - member.progress_at - self.pace_s) / 8
        member.progress_at = now
        for boot, lease in self.held.items():
            # What nobody of ours had comes of him; what members give each other does not.
            if lease.told and came & ~bitfield.union(one.holds for one in self._members.values() if one is not member):
                lease.progress_at = self._members[boot].heard_at = now
        self._fruitless.pop(member.host, None)
        if member.boot in self.held and self._has_read(member.boot):
            self._lapsed = 0
            self.waiting.clear()

    def falls_silent(self, member: Member) -> None:
        """It is about to be forgotten, for nothing was heard of it."""
        if member.boot in self.held and not member.whole:
            self._is_fruitless(member.boot)

    def leaves(self, boot: str) -> None:
        """It is a member no more in a moment."""
        self._end(boot)
        self.waiting.pop(boot, None)

    def has_left(self) -> None:
        """A trial is over without the one on trial, and where there is nobody but those who were slow."""
        trial = self.trial
        if trial is not None and (
            all(one.boot in trial.slow for one in self.roots(())) or not (trial.won or trial.racer in self._members)
        ):
            self._recall()

    def judge(self, now: float) -> None:
        """Ends the trial where it is decided."""
        trial = self.trial
        racer = None if trial is None else self._members.get(trial.racer)
        if trial is None or trial.won or racer is None:
            return
        members = self._members.values()
        holds, hosts = {one.boot: one.holds for one in members}, {one.boot: one.host for one in members}
        verdict = trial.verdict(now, holds, hosts, racer.ask.pieces)
        if verdict:
            trial.won = True
            self._plan.becomes_source(racer.seat)
            for one in [one for one in members if one.boot in trial.slow]:
                self._plan.is_too_slow(one.seat)
        elif verdict is not None:
            self._end(racer.boot)
            if self.trial is not None:  # it had no lease any more
                self._recall()

    def is_near_its_end(self, now: float) -> bool:
        """Whether a lease or a trial may soon be over, so that members had better ask soon."""
        trial = self.trial
        undecided = trial is not None and not trial.won and now < trial.ends_at
        return undecided or any(one.progress_at + self._lease_s - HURRY_S < now for one in self.held.values())

    def roots(self, distrusted: Sequence[bytes]) -> list[Member]:
        """Those who read it or have all of it, but for these devices and for those that are found too slow."""
        readers = [self._members[boot] for boot in self.held if boot in self._members]
        whole = [one for one in self._members.values() if one.whole and one not in readers]
        roots = [one for one in (*readers, *whole) if one.ask.device not in distrusted]
        outrun = self.trial.slow if self.trial is not None and self.trial.won else frozenset()
        return [one for one in roots if one.boot not in outrun] or roots

    def passed_over_for(self, member: Member) -> frozenset[str]:
        """Those whose pieces it is not to wait for: they are too slow, or it is to show that they are."""
        trial = self.trial
        return trial.slow if trial is not None and (trial.won or trial.racer == member.boot) else frozenset()

    def hoarder(self, now: float, distrusted: Sequence[bytes]) -> Member | None:
        """A lone reader that does not give on what it reads: its own wire is thin. Then another one reads beside it.

        What one of these devices reads nobody takes, for it has lied: that says nothing of its wire.
        """
        readers = [
            boot for boot, one in self.held.items() if one.since + LEASE_S < now and one.device not in distrusted
        ]
        reader = self._members.get(readers[0]) if readers else None
        if reader is None or reader.holds.bit_count() < HOARD_PIECES_MIN or len(self._members) < 2:
            return None
        passed_on = 0
        for one in self._members.values():
            if one is not reader:
                passed_on |= one.holds
        return reader if (passed_on & reader.holds).bit_count() * 2 < reader.holds.bit_count() else None

    # --- below

    @property
    def _lease_s(self) -> float:
        """How long a reader keeps its lease without a new byte."""
        return min(self._patience_s * (1 << self._lapsed), LEASE_MAX_S)

    @property
    def _patience_s(self) -> float:
        """How long a member may be without anything new before somebody has failed it."""
        return max(LEASE_S, min(PACE_FACTOR * self.pace_s, PATIENCE_MAX_S))

    def _is_behind(self, member: Member) -> bool:
        """Whether it reads only where nobody else can."""
        return member.seat.last or member.host in self._fruitless

    def _grant_new(self, member: Member, now: float) -> bool:
        if self._takes_over(member, now):
            return True
        distrusted = member.ask.distrusted
        believed = [one for one in self.held.values() if one.device not in distrusted]
        races = member.ask.slow and self.trial is None and member.host not in self._beaten
        races_or_hoarded = races or self.hoarder(now, distrusted) is not None
        enough = member.ask.readers + races_or_hoarded
        if len(believed) >= enough or (len(self.held) >= max(LEASES_MAX, enough) and not self._end_doubted(distrusted)):
            return False
        if sum(self._members[boot].host == member.host for boot in self.held) >= LEASES_PER_HOST_MAX:
            return False
        whole = any(
            one.whole and one.ask.device not in distrusted and one.is_free_of_liars_of(member.ask)
            for one in self._members.values()
        )
        if whole and not races and now < member.progress_at + self._patience_s:
            return False  # somebody has it all, unless he has gone since
        beside = [] if races else self._beside(member, now)
        part = self._part(member, beside, member.ask.readers - len(beside) + 1, now) if beside else ALL
        if not part or (believed and not races_or_hoarded and not self._is_cut(member, distrusted)):
            return False
        slow = self.roots(member.ask.distrusted) if races else []
        log.debug(
            "%s is to read the origin: it believes %d of %d readers%s",
            member.address or "this node", len(believed), len(self.held), ", and the room is slow" if races else "",
            extra={"id": member.ask.id},
        )  # fmt: skip
        self._give(member, now, begin=MIDDLE if believed and not beside and not races else 0.0, part=part, races=races)
        if races:
            self._try(member, slow, now)
        return True

    def _give(self, member: Member, now: float, *, begin: float = 0.0, part: int = ALL, races: bool = False) -> None:
        self.held[member.boot] = Lease(member.ask.device, now, now, member.ask.read, begin, part, races)
        self._plan.becomes_source(member.seat, reads=not races)
        self.makers.pop(member.ask.device, None)
        self.makers[member.ask.device] = member.address
        forget_oldest(self.makers, MAKERS_TOLD_MAX - 1)

    def _end(self, boot: str) -> None:
        lease, member = self.held.pop(boot, None), self._members.get(boot)
        if lease is None or (member is not None and member.whole):
            return
        if member is not None:
            self._plan.is_no_source(member.seat)
        if lease.races:
            self._recall()

    def _has_read(self, boot: str) -> bool:
        """Whether this reader has had a byte of the origin since it got its lease. What others gave it is none."""
        return self._members[boot].ask.read > self.held[boot].read_before

    def _lapse(self, boot: str) -> None:
        """It is another one's turn. Whoever has had nothing yet of the upstream may go on waiting for it."""
        lease, had_nothing = self.held[boot], not self._has_read(boot)
        self._is_fruitless(boot)
        self._lapsed = min(self._lapsed + 1, 8)
        if had_nothing and not self._members[boot].whole and not lease.races and len(self.waiting) < WAITING_MAX:
            self.waiting[boot] = lease

    def _is_fruitless(self, boot: str) -> None:
        """Its lease is over, and the whole host's turn with it: a host may draw as many boot ids as it likes."""
        self._end(boot)
        if self._members[boot].whole:
            return
        self._fruitless[self._members[boot].host] = None
        forget_oldest(self._fruitless, HOSTS_REMEMBERED)

    def _goes_on_waiting(self, member: Member, now: float) -> bool:
        """Whether this one waits for its first byte; with that it is the reader, and who has none stops."""
        lease = self.waiting.get(member.boot)
        if lease is None or member.ask.read <= lease.read_before:
            return lease is not None
        for boot in [boot for boot in self.held if not self._has_read(boot)]:
            self._end(boot)
        self.waiting.clear()
        if not self.held and not member.whole:
            self._give(member, now, begin=lease.begin)
        return False

    def _end_doubted(self, distrusted: Sequence[bytes]) -> bool:
        """Makes room where all leases are held: by one of these that most hosts distrust, too. Whether there was one.

        Several hosts that each draw a device could else hold all leases, bring nothing, and each member would in the
        end read for itself.
        """
        hosts = {one.host for one in self._members.values()}
        for boot, lease in self.held.items():
            doubting = {one.host for one in self._members.values() if lease.device in one.ask.distrusted}
            if lease.device in distrusted and 2 * len(doubting) > len(hosts):
                self._is_fruitless(boot)
                return True
        return False

    # --- several that read, each its part

    def _beside(self, member: Member, now: float) -> list[tuple[Lease, Member]]:
        """Those with whom this one shares the reading: where so many may read, it waits for their pieces."""
        if member.ask.readers < 2 and not any(lease.leaves for lease in self.held.values()):
            return []
        distrusted, hoards = member.ask.distrusted, self.hoarder(now, member.ask.distrusted)
        others = [(lease, self._members[boot]) for boot, lease in self.held.items() if boot != member.boot]
        return [
            (lease, one)
            for lease, one in others
            if lease.device not in distrusted and not lease.races and one is not hoards
            if one.ask.pieces == member.ask.pieces
        ]

    def _is_cut(self, member: Member, distrusted: Sequence[bytes]) -> bool:
        """Whether it and those who read know how the file is cut, so that each can be given a part of it."""
        readers = [self._members[boot] for boot, lease in self.held.items() if lease.device not in distrusted]
        return all(one.ask.pieces for one in (member, *readers))

    def _has_part(self, member: Member, lease: Lease, now: float) -> bool:
        """Whether there is something that this reader is to read: the rest of its part, or what it takes over."""
        beside = self._beside(member, now)
        if lease.races or not beside:
            lease.part, lease.leaves = ALL, False
            return True  # also beside a holder of all of it that is slow
        if not lease.leaves and not lease.part & lacking(member, self._members.values()):
            lease.part = self._part(member, beside, 2, now)
        return bool(lease.part & lacking(member, self._members.values())) or not member.ask.pieces

    def _part(self, member: Member, beside: Sequence[tuple[Lease, Member]], of: int, now: float) -> int:
        """What it reads from now on, taken from those who read beside it; 0 where nobody has anything to spare."""
        parts = [Part(lease.part, lease.reach(one, now)) for lease, one in beside]
        taken = take_part(lacking(member, self._members.values()), parts, of)
        for lease, _ in beside:
            lease.part &= ~taken
        return taken

    def _takes_over(self, member: Member, now: float) -> bool:
        """Whether it reads the rest from now on, for it is on a wire and the one that reads is not."""
        if len(self.held) != 1 or self.trial is not None or not member.ask.gives or not member.ask.pieces:
            return False
        [(boot, lease)] = self.held.items()
        reader = self._members[boot]
        if reader.ask.gives or not self._has_read(boot) or lease.device in member.ask.distrusted:
            return False
        if lease.pieces_s(reader) > HANDED_OVER_PIECES_S_MAX:
            return False
        left = lease.part & lacking(member, self._members.values())
        count = left.bit_count() - lease.reach(reader, now)
        if reader.ask.pieces != member.ask.pieces or count < HANDED_OVER_PIECES_MIN:
            return False
        part = bitfield.last(left, count)
        lease.part, lease.leaves = lease.part & ~part, True
        self._give(member, now, part=part)
        return True

    # --- one that reads beside a slow room

    def _try(self, racer: Member, slow: Sequence[Member], now: float) -> None:
        """One class of pieces comes from the racer from now on; whether all do, that one shows."""
        klass = racer.number % CLASSES
        ends_at = now + max(DECIDED_AFTER_S, DECIDED_AFTER_PIECES * self.pace_s)
        self.trial = Trial(racer.boot, frozenset(one.boot for one in slow), klass, ends_at)
        self.trial.before = {one.boot: by_class(one.holds, one.ask.pieces) for one in self._members.values()}
        self._plan.becomes_source(racer.seat, classes=(klass,))
        for one in slow:
            self._plan.is_too_slow(one.seat, classes=(klass,))

    def _recall(self) -> None:
        """Those who were slow are all that there is again."""
        trial, self.trial = self.trial, None
        if trial is None:
            return
        if not trial.won and trial.racer in self._members:
            self._beaten[self._members[trial.racer].host] = None
            forget_oldest(self._beaten, HOSTS_REMEMBERED)
        for one in self.roots(()):
            if one.boot in trial.slow:
                self._plan.becomes_source(one.seat, reads=one.boot in self.held)
