"""Those who fetch one file at the same time, as its tracker sees them, and what it advises each of them. Pure.

Who reads the origin, `leases.py` says; whom each one asks for pieces, `plan.py`. It is advice: who gets nothing from
its parent asks others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pcdn.bounded import forget_oldest
from p2pcdn.swarm.advising.lease import SEVERAL_AGAIN_MS
from p2pcdn.swarm.advising.leases import LEASE_S, Leases
from p2pcdn.swarm.advising.member import Member, holds_of, host_of
from p2pcdn.swarm.advising.plan import CLASSES, Plan, Seat
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import LAST_TOLD_MAX, MAKERS_TOLD_MAX, TRACKER, Advice, AskCrowd

# A member that is silent for so long has gone.
SILENT_S = LEASE_S
# A member that has all of it stays a root for so long after it was last heard.
HOLDER_KEPT_S = 600.0
# A crowd comes together for so long before anybody is told a parent: who asks one that is not to stay takes pieces from
# the root twice (a sixth of the time, measured with fifty nodes).
GATHERING_S = 0.01
# How soon a member asks again: at first soon, for others come and liars are found, and whoever was moved does not know
# yet; then to be heard. Of a large crowd the tracker would hear too much.
AGAIN_MS = (20, 20, 40, 80, 160, 320, 640, 1000)
AGAIN_MEMBERS = 200
# While a lease is about to lapse, or a racer is on trial, they ask again soon: what comes of it all hear within a tenth
# of a second. Where a piece takes longer than that, nobody need hurry, and shared air has better use.
HURRY_MS, HURRY_PACE_S = 80, 2.0
MEMBERS_MAX = 2048
# Of them from one host, so that nobody fills the crowd alone; the fleets that share an address are smaller.
MEMBERS_PER_HOST_MAX = 64
# Complaints from one host that are heard: one for each of a fleet. Each takes a hand from somebody, and whoever comes
# again under another name, or at another port, could else take all of them.
COMPLAINTS_PER_HOST_MAX = MEMBERS_PER_HOST_MAX
# Whoever gave something wrong to members of so many hosts comes last: as many as it has hands, so that those to whom it
# was named are enough. And so many of its words of that kind count of one host: liars who agree on it bring two others
# last for three of their own; where one in ten is a liar, a tenth of the members are not brought last by them.
ACCUSERS_MIN, ACCUSED_PER_HOST_MAX = 3, 2
# Others that are told besides the parents.
OTHERS_TOLD = 12


@dataclass(slots=True)
class Crowd:
    """One file's members. Used by the tracker's node on trio's thread; now is trio's time."""

    members: dict[str, Member] = field(default_factory=dict)  # by their boot ids
    plan: Plan = field(default_factory=Plan)
    leases: Leases = field(init=False)
    _by_seat: dict[Seat, Member] = field(default_factory=dict)
    _coming: int = 0
    _began_at: float = 0.0
    _complaints: dict[str, int] = field(default_factory=dict)  # by host
    _heard_who_reads: bool = False
    _accused: dict[str, int] = field(default_factory=dict)  # by host, how many it says gave it something wrong

    def __post_init__(self) -> None:
        self.leases = Leases(self.members, self.plan)

    def advise(self, ask: AskCrowd, address: str, now: float) -> Advice:
        """What the asking member is to do. address: where it is asked; "" for the tracker itself."""
        if not self.members:
            self._began_at = now
        gathering_s = self._began_at + GATHERING_S - now
        self._forget_the_silent(now)
        leases = self.leases
        leases.judge(now)
        self._hear_who_reads(ask, now)
        member = self._member(ask, address, now)
        if member is None:
            return Advice(read=ask.able)  # so many at once are nobody's classroom: it helps itself
        member.asked += gathering_s <= 0
        self._hear_complaints(member)
        reads = ask.able and not member.whole and leases.grant(member, now)
        roots = leases.roots(ask.distrusted)
        others = [one for one in self.members.values() if one is not member]
        passed_over = leases.passed_over_for(member)
        if reads and (hoards := leases.hoarder(now, ask.distrusted)) is not None:
            passed_over |= {hoards.boot}
        member.again_ms = self._again_ms(member, now) if gathering_s <= 0 else round(gathering_s * 1000) + 1
        held = 0
        for one in others:
            believed = one.ask.device not in ask.distrusted and one.is_free_of_liars_of(ask)
            if one.ask.pieces == ask.pieces and believed and one.boot not in passed_over:
                held |= one.holds
        return Advice(
            read=reads,
            held=bitfield.encode(held | leases.left_to_others(member), ask.pieces) if reads and ask.pieces else "",
            parents=self._parents(member, roots) if gathering_s <= 0 else (),
            others=tuple(one.address for one in self._others(member, others)) if gathering_s <= 0 else (),
            makers=self._makers(ask, roots),
            again_ms=member.again_ms,
            reach=held.bit_count(),
            part=leases.begin_of(member) if reads else 0.0,
            members=len(self.members),
            last=self._last(),
            size_bytes=next((one.ask.size_bytes for one in roots if one.ask.pieces), None),
        )

    def leave(self, boot: str) -> None:
        self.leases.leaves(boot)
        member = self.members.pop(boot, None)
        if member is not None:
            del self._by_seat[member.seat]
            self.plan.leave(member.seat)
        self.leases.has_left()

    # --- below

    def _member(self, ask: AskCrowd, address: str, now: float) -> Member | None:
        member = self.members.get(ask.boot)
        if member is None or member.address != address:
            host = host_of(address)
            if len(self.members) >= MEMBERS_MAX or self._of_host(host) >= MEMBERS_PER_HOST_MAX:
                return None
            self.leave(ask.boot)  # it came back, at another address
            source = ask.pieces > 0 and holds_of(ask) == bitfield.all_of(ask.pieces)
            seat = self.plan.join(gives=self._gives(ask), source=source)
            member = self.members[ask.boot] = Member(ask.boot, address, self._coming, seat, ask, now, now, host)
            self._by_seat[seat] = member
            self._coming += 1
        progressed = ask.got > member.ask.got
        if ask.gives != member.ask.gives:
            self.plan.wants_to_give(member.seat, gives=self._gives(ask))
        member.ask, member.heard_at = ask, now
        before, member.holds = member.holds, holds_of(ask)
        if progressed:
            self.leases.progressed(member, now, came=member.holds & ~before)
        if member.whole and not member.seat.source:
            self.plan.is_whole(member.seat)
        elif member.seat.source and not member.whole and ask.boot not in self.leases.held:
            self.plan.is_no_source(member.seat)  # its file was wrong, or was evicted there, and it begins anew
        return member

    def _hear_who_reads(self, ask: AskCrowd, now: float) -> None:
        """The tracker of before does not answer the asking one: whoever reads on its word keeps his turn with us.

        He asks that one, perhaps, and so a stand-in takes his place among the members until he comes himself. Only the
        first word of a crowd is heard, so that it costs no more than a lease; and nobody is told to believe him for it.
        """
        if _stand_in(ask.device) in self.members:
            self.leave(_stand_in(ask.device))
        reader = ask.reader
        if reader is None or self._heard_who_reads or self.leases.makers or reader.device == ask.device:
            return
        self._heard_who_reads = True
        if reader.quiet_ms >= LEASE_S * 1000:
            return  # his turn was over before anybody told us of it
        question = AskCrowd(ask.id, _stand_in(reader.device), ask.port, reader.device)
        member = self._member(question, reader.address, now)
        if member is not None:
            self.leases.goes_on(member, now - reader.quiet_ms / 1000)

    def _gives(self, ask: AskCrowd) -> bool:
        """Whether this member may be a parent: where nobody would be one, as in a room of laptops, all are."""
        return ask.gives or not any(one.ask.gives for one in self.members.values() if one.boot != ask.boot)

    def _hear_complaints(self, member: Member) -> None:
        left, distrusted = member.ask.left, member.ask.distrusted
        if left or distrusted:
            left, lied = _addresses(left), _addresses(member.ask.lied)
            accused = [one for one in self.members.values() if one.address in left or one.ask.device in distrusted]
            for other in accused:
                heard = self._complaints.get(member.host, 0)
                if other is member or heard >= COMPLAINTS_PER_HOST_MAX:
                    continue
                if self.plan.complains(member.seat, other.seat):
                    self._complaints[member.host] = heard + 1
                    if other.address in lied:
                        self._hear_accusation(member.host, other)
            forget_oldest(self._complaints, MEMBERS_MAX)

    def _hear_accusation(self, host: str, of: Member) -> None:
        """One to whom it was named says that it gave something wrong."""
        if host in of.accusers or self._accused.get(host, 0) >= ACCUSED_PER_HOST_MAX:
            return
        self._accused[host] = self._accused.get(host, 0) + 1
        forget_oldest(self._accused, MEMBERS_MAX)
        of.accusers.add(host)
        if len(of.accusers) >= ACCUSERS_MIN:
            self.plan.comes_last(of.seat)

    def _last(self) -> tuple[str, ...]:
        """The hosts of those who come last. A giver sees no more of an asker: who shares his with others goes on."""
        last = {one.host: None for one in self.members.values() if one.seat.last and one.address}
        shared = {one.host for one in self.members.values() if not one.seat.last} if last else ()
        return tuple(host for host in last if host not in shared)[:LAST_TOLD_MAX]

    def _forget_the_silent(self, now: float) -> None:
        for boot, member in list(self.members.items()):
            if member.heard_at + (HOLDER_KEPT_S if member.whole else SILENT_S) < now:
                self.leases.falls_silent(member)
                self.leave(boot)

    def _of_host(self, host: str) -> int:
        return sum(one.host == host for one in self.members.values())

    def _makers(self, ask: AskCrowd, roots: Sequence[Member]) -> tuple[tuple[bytes, str], ...]:
        """Those who read it, now or before, and some of those who have it all; not the asking one: it knows itself."""
        named = {one.ask.device: one.address for one in roots if one.boot != _stand_in(one.ask.device)}
        reading = {device: address for device, address in named.items() if device in self.leases.makers}
        named = reading | self.leases.makers | named
        passed_over = {ask.device, *ask.distrusted}
        told = [(device, address) for device, address in named.items() if device not in passed_over]
        return tuple(told[:MAKERS_TOLD_MAX])

    def _again_ms(self, member: Member, now: float) -> int:
        soon_ms = AGAIN_MS[min(member.asked, len(AGAIN_MS)) - 1]
        if self.leases.is_near_its_end(now) and self.leases.pace_s < HURRY_PACE_S:
            soon_ms = min(soon_ms, HURRY_MS)
        if member.boot in self.leases.held and self.leases.are_several():
            return min(soon_ms, SEVERAL_AGAIN_MS)
        return min(AGAIN_MS[-1], soon_ms * -(-len(self.members) // AGAIN_MEMBERS))

    def _parents(self, member: Member, roots: Sequence[Member]) -> tuple[str | None, ...]:
        """For each class whom to ask, None where nobody has a hand free. Who reads or has it all asks its like."""
        if member.seat.source or not roots:
            return _in_turn(member, [one for one in roots if one is not member])
        return tuple(None if parent is None else self._by_seat[parent].address for parent in member.seat.parents)

    def _others(self, member: Member, others: Sequence[Member]) -> list[Member]:
        """Some more to ask, others for each member: those who came around the same time, and on from there."""
        others = [one for one in others if not one.seat.accused]
        if len(others) <= OTHERS_TOLD:
            return others
        step = 1 + len(others) // OTHERS_TOLD
        return [others[(member.number * 7 + at * step) % len(others)] for at in range(OTHERS_TOLD)]


def _in_turn(member: Member, roots: Sequence[Member]) -> tuple[str, ...]:
    """For each class the one of these that has most of what it lacks; of several such not the same for everybody."""
    if len(roots) <= 1:
        return tuple(one.address for one in roots)
    roots = [roots[(member.number + at) % len(roots)] for at in range(len(roots))]
    lacking = [~member.holds & bitfield.each_third(klass, member.ask.pieces) for klass in range(CLASSES)]
    return tuple(max(roots, key=lambda one: (one.holds & want).bit_count()).address for want in lacking)


def _stand_in(device: bytes) -> str:
    """What stands for the boot id of one of whom only its device is known; it is too long to be one."""
    return device.hex()


def _addresses(left: Sequence[str]) -> tuple[str, ...]:
    """Of those of whom a member complains, as we write them."""
    return tuple("" if one == TRACKER else one for one in left)
