"""Those who fetch one file at the same time, as its tracker sees them: who reads the origin, who asks whom. Pure.

Whom each one asks for pieces, `plan.py` says. It is advice: who gets nothing from its parent asks others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pcdn.swarm import bitfield
from p2pcdn.swarm.advice import MAKERS_TOLD_MAX, TRACKER, Advice, AskCrowd
from p2pcdn.swarm.bounded import forget_oldest
from p2pcdn.swarm.plan import CLASSES, Plan, Seat
from p2pcdn.swarm.trial import DECIDED_AFTER_PIECES, DECIDED_AFTER_S, Trial, by_class

# A member that is silent for so long has gone, and a reader that brings nothing new for so long gives its lease up.
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
# A member that has all of it stays a root for so long after it was last heard.
HOLDER_KEPT_S = 600.0
# A crowd comes together for so long before anybody is told a parent: who asks one that is not to stay takes pieces from
# the root twice (a sixth of the time, measured with fifty nodes).
GATHERING_S = 0.01
# How soon a member asks again: at first soon, for others come and liars are found, and whoever was moved does not know
# yet; then to be heard. Of a large crowd the tracker would hear too much.
AGAIN_MS = (20, 20, 40, 80, 160, 320, 640, 1000)
AGAIN_MEMBERS = 200
# While a lease is about to lapse, so long before it does, and while a racer is on trial they ask again soon: what comes
# of it all hear within a tenth of a second. It is more than a reader is usually silent between two of its questions.
# Where a piece takes longer than that, nobody need hurry, and shared air has better use.
HURRY_S, HURRY_MS, HURRY_PACE_S = 1.5, 80, 2.0
# A reader of which others have less than half of so many pieces, or more, after the time of a lease, has a thin wire.
HOARD_PIECES_MIN = 16
MEMBERS_MAX = 2048
# Of them from one host, so that nobody fills the crowd alone; the fleets that share an address are smaller.
MEMBERS_PER_HOST_MAX = 64
# Complaints from one host that are heard: one for each of a fleet. Each takes a hand from somebody, and whoever comes
# again under another name, or at another port, could else take all of them.
COMPLAINTS_PER_HOST_MAX = MEMBERS_PER_HOST_MAX
# Others that are told besides the parents.
OTHERS_TOLD = 12
# Readers at the same time: one, and those who do not take its word.
LEASES_MAX = 4
# Of these for one host: in open mode anybody may draw boot ids, and who holds all of them keeps everybody waiting.
LEASES_PER_HOST_MAX = 2
# Where the first, second, third and fourth of them begins, so that they meet each other late.
PARTS = (0.0, 0.5, 0.25, 0.75)


@dataclass(slots=True, eq=False)
class Member:
    """One who fetches the file, or has it. number: in the order of coming. seat: its places in the plan."""

    boot: str
    address: str
    number: int
    seat: Seat
    ask: AskCrowd
    heard_at: float
    progress_at: float
    host: str
    holds: int = 0
    asked: int = 0

    @property
    def whole(self) -> bool:
        return self.ask.pieces > 0 and self.holds == bitfield.all_of(self.ask.pieces)


@dataclass(slots=True)
class Lease:
    """The right to read the origin. progress_at: when its owner last had more bytes than before."""

    device: bytes
    progress_at: float
    since: float
    part: float = 0.0  # of the file, where it begins
    races: bool = False  # granted because the room was slower than its owner's wire


@dataclass(slots=True)
class Crowd:
    """One file's members. Used by the tracker's node on trio's thread; now is trio's time."""

    members: dict[str, Member] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  # by the owner's boot id
    waiting: dict[str, Lease] = field(default_factory=dict)  # those whose owners wait for their first byte
    makers: dict[bytes, str] = field(default_factory=dict)  # devices that read the origin, with their addresses
    plan: Plan = field(default_factory=Plan)
    _trial: Trial | None = None  # of one that reads beside a room which is slow
    _beaten: dict[str, None] = field(default_factory=dict)  # hosts whose reader was no quicker than the room
    _coming: int = 0
    _began_at: float = 0.0
    _pace_s: float = 0.0  # between two pieces of a member, on the average
    _lapsed: int = 0  # leases that brought nothing, one after the other
    _fruitless: dict[str, None] = field(default_factory=dict)  # hosts whose leases those were; others come first
    _complaints: dict[str, int] = field(default_factory=dict)  # by host

    def advise(self, ask: AskCrowd, address: str, now: float) -> Advice:
        """What the asking member is to do. address: where it is asked; "" for the tracker itself."""
        if not self.members:
            self._began_at = now
        gathering_s = self._began_at + GATHERING_S - now
        self._forget_the_silent(now)
        self._judge(now)
        member = self._member(ask, address, now)
        if member is None:
            return Advice(read=ask.able)  # so many at once are nobody's classroom: it helps itself
        member.asked += gathering_s <= 0
        self._hear_complaints(member)
        reads = ask.able and not member.whole and self._grant(member, now)
        roots = self._roots(ask.distrusted, now)
        others = [one for one in self.members.values() if one is not member]
        passed_over = self._passed_over_for(member)
        if reads and (hoards := self._hoarder(now)) is not None:
            passed_over |= {hoards.boot}
        held = 0
        for one in others:
            believed = one.ask.device not in ask.distrusted and _knows_the_liars_of(one.ask, ask)
            if one.ask.pieces == ask.pieces and believed and one.boot not in passed_over:
                held |= one.holds
        return Advice(
            read=reads,
            held=bitfield.encode(held, ask.pieces) if reads and ask.pieces else "",
            parents=self._parents(member, roots) if gathering_s <= 0 else (),
            others=tuple(one.address for one in self._others(member, others)) if gathering_s <= 0 else (),
            makers=self._makers(ask, roots),
            again_ms=self._again_ms(member, now) if gathering_s <= 0 else round(gathering_s * 1000) + 1,
            reach=held.bit_count(),
            part=(self.leases.get(member.boot) or self.waiting[member.boot]).part if reads else 0.0,
            members=len(self.members),
            size_bytes=next((one.ask.size_bytes for one in roots if one.ask.pieces), None),
        )

    def leave(self, boot: str) -> None:
        self._end_lease(boot)
        self.waiting.pop(boot, None)
        member = self.members.pop(boot, None)
        if member is not None:
            self.plan.leave(member.seat)
        trial = self._trial
        if trial is not None and (
            all(one.boot in trial.slow for one in self._roots((), 0.0)) or not self._races(trial)
        ):
            self._recall()

    # --- below

    def _member(self, ask: AskCrowd, address: str, now: float) -> Member | None:
        member = self.members.get(ask.boot)
        if member is None or member.address != address:
            host = _host(address)
            if len(self.members) >= MEMBERS_MAX or self._of_host(host) >= MEMBERS_PER_HOST_MAX:
                return None
            self.leave(ask.boot)  # it came back, at another address
            seat = self.plan.join(gives=self._gives(ask), source=_holds_all(ask))
            member = self.members[ask.boot] = Member(ask.boot, address, self._coming, seat, ask, now, now, host)
            self._coming += 1
        if ask.got > member.ask.got:
            self._pace_s += (now - member.progress_at - self._pace_s) / 8
            member.progress_at = now
            self._fruitless.pop(member.host, None)
            if ask.boot in self.leases:
                self._lapsed = 0
                self.waiting.clear()
        if ask.gives != member.ask.gives:
            self.plan.wants_to_give(member.seat, gives=self._gives(ask))
        member.ask, member.heard_at = ask, now
        member.holds = bitfield.decode(ask.holds, ask.pieces) if ask.pieces and ask.holds else 0
        if member.whole and not member.seat.source:
            self.plan.is_whole(member.seat)
        elif member.seat.source and not member.whole and ask.boot not in self.leases:
            self.plan.is_no_source(member.seat)  # its file was wrong, or was evicted there, and it begins anew
        return member

    def _gives(self, ask: AskCrowd) -> bool:
        """Whether this member may be a parent: where nobody would be one, as in a room of laptops, all are."""
        return ask.gives or not any(one.ask.gives for one in self.members.values() if one.boot != ask.boot)

    def _hear_complaints(self, member: Member) -> None:
        left, distrusted = member.ask.left, member.ask.distrusted
        if left or distrusted:
            left = tuple("" if one == TRACKER else one for one in left)
            accused = [one for one in self.members.values() if one.address in left or one.ask.device in distrusted]
            for other in accused:
                heard = self._complaints.get(member.host, 0)
                if other is member or heard >= COMPLAINTS_PER_HOST_MAX:
                    continue
                if self.plan.complains(member.seat, other.seat):
                    self._complaints[member.host] = heard + 1
            forget_oldest(self._complaints, MEMBERS_MAX)

    def _forget_the_silent(self, now: float) -> None:
        for boot, member in list(self.members.items()):
            if member.heard_at + (HOLDER_KEPT_S if member.whole else LEASE_S) < now:
                if boot in self.leases and not member.whole:
                    self._is_fruitless(boot)
                self.leave(boot)

    def _is_fruitless(self, boot: str) -> None:
        """Its lease is over, and the whole host's turn with it: a host may draw as many boot ids as it likes."""
        self._end_lease(boot)
        if self.members[boot].whole:
            return
        self._fruitless[self.members[boot].host] = None
        forget_oldest(self._fruitless, MEMBERS_MAX)

    def _lapse(self, boot: str) -> None:
        """It is another one's turn. Whoever has had nothing yet of the upstream may go on waiting for it."""
        lease = self.leases[boot]
        self._is_fruitless(boot)
        self._lapsed = min(self._lapsed + 1, 8)
        had_nothing = lease.progress_at == lease.since and not self.members[boot].whole
        if had_nothing and not lease.races and len(self.waiting) < WAITING_MAX:
            self.waiting[boot] = lease

    def _end_doubted_lease(self, distrusted: Sequence[bytes]) -> bool:
        """Makes room where all leases are held: by one of these that most hosts distrust, too. Whether there was one.

        Several hosts that each draw a device could else hold all leases, bring nothing, and each member would in the
        end read for itself.
        """
        hosts = {one.host for one in self.members.values()}
        for boot, lease in self.leases.items():
            doubting = {one.host for one in self.members.values() if lease.device in one.ask.distrusted}
            if lease.device in distrusted and 2 * len(doubting) > len(hosts):
                self._is_fruitless(boot)
                return True
        return False

    def _goes_on_waiting(self, member: Member, now: float) -> bool:
        """Whether this one waits for its first byte; with that it is the reader, and who has none stops."""
        lease = self.waiting.get(member.boot)
        if lease is None or member.progress_at <= lease.since:
            return lease is not None
        for boot in [boot for boot, one in self.leases.items() if one.progress_at == one.since]:
            self._end_lease(boot)
        self.waiting.clear()
        if not self.leases and not member.whole:
            self._give_lease(member, lease.part, now)
        return False

    def _end_lease(self, boot: str) -> None:
        lease, member = self.leases.pop(boot, None), self.members.get(boot)
        if lease is None or (member is not None and member.whole):
            return
        if member is not None:
            self.plan.is_no_source(member.seat)
        if lease.races:
            self._recall()

    def _races(self, trial: Trial) -> bool:
        """Whether it is over, or the one that is on trial is still there."""
        return trial.won or trial.racer in self.members

    def _recall(self) -> None:
        """Those who were slow are all that there is again."""
        trial, self._trial = self._trial, None
        if trial is not None and not trial.won and trial.racer in self.members:
            self._beaten[self.members[trial.racer].host] = None
            forget_oldest(self._beaten, MEMBERS_MAX)
        for one in self._roots((), 0.0):
            if trial is not None and one.boot in trial.slow:
                self.plan.becomes_source(one.seat, reads=one.boot in self.leases)

    def _of_host(self, host: str) -> int:
        return sum(one.host == host for one in self.members.values())

    def _grant(self, member: Member, now: float) -> bool:
        """Whether this member holds a lease now."""
        for boot in [boot for boot, one in self.leases.items() if one.progress_at + self._lease_s < now]:
            self._lapse(boot)
        if self._goes_on_waiting(member, now):
            return True
        if member.host in self._fruitless and any(
            one.ask.able and one.host not in self._fruitless and not one.whole for one in self.members.values()
        ):
            return False
        lease = self.leases.get(member.boot)
        if lease is not None and lease.races and not member.ask.slow:
            self._end_lease(member.boot)  # its wire was no quicker than the room
        elif lease is not None:
            lease.progress_at = max(lease.progress_at, member.progress_at)
            return True
        distrusted = member.ask.distrusted
        believed = [one for one in self.leases.values() if one.device not in distrusted]
        races = member.ask.slow and self._trial is None and member.host not in self._beaten
        enough = member.ask.readers + (races or self._hoarder(now) is not None)
        if len(believed) >= enough or (len(self.leases) >= LEASES_MAX and not self._end_doubted_lease(distrusted)):
            return False
        if sum(self.members[boot].host == member.host for boot in self.leases) >= LEASES_PER_HOST_MAX:
            return False
        held = any(
            one.whole and one.ask.device not in distrusted and _knows_the_liars_of(one.ask, member.ask)
            for one in self.members.values()
        )
        if held and not races and now < member.progress_at + self._patience_s:
            return False  # somebody has it all, unless he has gone since
        slow = self._roots(member.ask.distrusted, now) if races else []
        self._give_lease(member, 0.0 if races else PARTS[len(believed)], now, races=races)
        if races:
            self._try(member, slow, now)
        return True

    def _try(self, racer: Member, slow: Sequence[Member], now: float) -> None:
        """One class of pieces comes from the racer from now on; whether all do, that one shows."""
        klass = racer.number % CLASSES
        ends_at = now + max(DECIDED_AFTER_S, DECIDED_AFTER_PIECES * self._pace_s)
        self._trial = Trial(racer.boot, frozenset(one.boot for one in slow), klass, ends_at)
        self._trial.before = {one.boot: by_class(one.holds, one.ask.pieces) for one in self.members.values()}
        self.plan.becomes_source(racer.seat, classes=(klass,))
        for one in slow:
            self.plan.is_too_slow(one.seat, classes=(klass,))

    def _judge(self, now: float) -> None:
        """Ends the trial where it is decided."""
        trial = self._trial
        racer = None if trial is None else self.members.get(trial.racer)
        if trial is None or trial.won or racer is None:
            return
        members = self.members.values()
        holds, hosts = {one.boot: one.holds for one in members}, {one.boot: one.host for one in members}
        verdict = trial.verdict(now, holds, hosts, racer.ask.pieces)
        if verdict:
            trial.won = True
            self.plan.becomes_source(racer.seat)
            for one in [one for one in members if one.boot in trial.slow]:
                self.plan.is_too_slow(one.seat)
        elif verdict is not None:
            self._end_lease(racer.boot)
            self._recall()

    def _passed_over_for(self, member: Member) -> frozenset[str]:
        """Those whose pieces it is not to wait for: they are too slow, or it is to show that they are."""
        trial = self._trial
        return trial.slow if trial is not None and (trial.won or trial.racer == member.boot) else frozenset()

    def _give_lease(self, member: Member, part: float, now: float, *, races: bool = False) -> None:
        self.leases[member.boot] = Lease(member.ask.device, now, now, part, races)
        self.plan.becomes_source(member.seat, reads=not races)
        self.makers.pop(member.ask.device, None)
        self.makers[member.ask.device] = member.address
        forget_oldest(self.makers, MAKERS_TOLD_MAX - 1)

    @property
    def _lease_s(self) -> float:
        """How long a reader keeps its lease without a new byte."""
        return min(self._patience_s * (1 << self._lapsed), LEASE_MAX_S)

    @property
    def _patience_s(self) -> float:
        """How long a member may be without anything new before somebody has failed it."""
        return max(LEASE_S, min(PACE_FACTOR * self._pace_s, PATIENCE_MAX_S))

    def _hoarder(self, now: float) -> Member | None:
        """A lone reader that does not give on what it reads: its own wire is thin. Then another one reads beside it."""
        readers = [boot for boot, one in self.leases.items() if one.since + LEASE_S < now]
        reader = self.members.get(readers[0]) if readers else None
        if reader is None or reader.holds.bit_count() < HOARD_PIECES_MIN or len(self.members) < 2:
            return None
        passed_on = 0
        for one in self.members.values():
            if one is not reader:
                passed_on |= one.holds
        return reader if (passed_on & reader.holds).bit_count() * 2 < reader.holds.bit_count() else None

    def _roots(self, distrusted: Sequence[bytes], now: float) -> list[Member]:
        readers = [self.members[boot] for boot in self.leases if boot in self.members]
        whole = [one for one in self.members.values() if one.whole and one not in readers]
        roots = [one for one in (*readers, *whole) if one.ask.device not in distrusted]
        outrun = self._trial.slow if self._trial is not None and self._trial.won else frozenset()
        return [one for one in roots if one.boot not in outrun] or roots

    def _makers(self, ask: AskCrowd, roots: Sequence[Member]) -> tuple[tuple[bytes, str], ...]:
        """Those who read it, now or before, and some of those who have it all; not the asking one: it knows itself."""
        named = self.makers | {one.ask.device: one.address for one in roots}
        passed_over = {ask.device, *ask.distrusted}
        told = [(device, address) for device, address in named.items() if device not in passed_over]
        return tuple(told[:MAKERS_TOLD_MAX])

    def _again_ms(self, member: Member, now: float) -> int:
        soon_ms = AGAIN_MS[min(member.asked, len(AGAIN_MS)) - 1]
        trial = self._trial
        undecided = trial is not None and not trial.won and now < trial.ends_at
        lapsing = any(one.progress_at + self._lease_s - HURRY_S < now for one in self.leases.values())
        if (undecided or lapsing) and self._pace_s < HURRY_PACE_S:
            soon_ms = min(soon_ms, HURRY_MS)
        return min(AGAIN_MS[-1], soon_ms * -(-len(self.members) // AGAIN_MEMBERS))

    def _parents(self, member: Member, roots: Sequence[Member]) -> tuple[str | None, ...]:
        """For each class whom to ask, None where nobody has a hand free. Who reads or has it all asks its like."""
        if member.seat.source or not roots:
            return tuple(one.address for one in roots if one is not member)[:CLASSES]
        addresses = {one.seat: one.address for one in self.members.values() if one.seat in member.seat.parents}
        return tuple(None if parent is None else addresses[parent] for parent in member.seat.parents)

    def _others(self, member: Member, others: Sequence[Member]) -> list[Member]:
        """Some more to ask, others for each member: those who came around the same time, and on from there."""
        others = [one for one in others if not one.seat.accused]
        if len(others) <= OTHERS_TOLD:
            return others
        step = 1 + len(others) // OTHERS_TOLD
        return [others[(member.number * 7 + at * step) % len(others)] for at in range(OTHERS_TOLD)]


def _knows_the_liars_of(ask: AskCrowd, other: AskCrowd) -> bool:
    """Whether nothing that this member holds stands on the word of one whom the other has found out."""
    return set(other.distrusted[: other.liars]) <= set(ask.distrusted[: ask.liars])


def _holds_all(ask: AskCrowd) -> bool:
    """Raises RemoteProtocolError."""
    return bool(ask.pieces and ask.holds) and bitfield.decode(ask.holds, ask.pieces) == bitfield.all_of(ask.pieces)


def _host(address: str) -> str:
    """Whose it is: an IPv4 address, or the network of an IPv6 one, of which a machine has as many as it likes."""
    host = address.rpartition(":")[0]
    if not host.startswith("["):
        return host
    return ":".join(ipaddress.IPv6Address(host[1:-1].partition("%")[0]).exploded.split(":")[:4])
