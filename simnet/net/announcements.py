"""What nodes say of themselves by multicast, behind the Discovery door: heard by who is on the same segment, mostly."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from p2pcdn.world import Announcement, Sighting
from simnet.net.host import Host, here
from simnet.net.network import Net
from simnet.turns.kernel import Kernel

# An announcement is sent three times, a little apart (RFC 6762, section 8.3: at least twice, a second apart).
REPEATED_AFTER_S = (0.0, 1.0, 2.0)
# What a multicast packet may take: responders wait 20 to 120 ms so as not to answer at once (RFC 6762, section 6). In
# whole hundredths, for a process that has other work reads its packets in handfuls.
DELAYS_S = tuple(hundredth / 100 for hundredth in range(2, 13))


@dataclass(eq=False)
class Member:
    """One node that listens. hears: None for everybody on its segment, else the hosts' names."""

    host: Host
    life: int
    announcement: Announcement
    found: trio.MemorySendChannel[Sighting]
    hears: frozenset[str] | None
    told: set[tuple[str, str]] = field(default_factory=set)
    answering: bool = False  # its next packet is under way

    def tell(self, sighting: Sighting) -> None:
        if not self.host.alive or self.host.life != self.life:
            return
        try:
            self.found.send_nowait(sighting)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # as the kernel drops what nobody takes


class Air:
    """All announcements of a run. loss: of each packet at each listener. hears: whom a host can hear, None for all.

    Who comes is announced to all; and each that is there says who it is to all, once for all who came in the meantime.
    """

    def __init__(self, kernel: Kernel, net: Net, seed: object) -> None:
        self.loss = 0.0
        self.hears: Callable[[Host], frozenset[str] | None] = lambda host: None
        self.members: list[Member] = []
        self._kernel = kernel
        self._net = net
        self._dice = random.Random(f"announcements {seed}")

    def discovery(self) -> Discovery:
        """What a node's world is given."""
        return Discovery(self)

    def forge(self, listener: Host, sighting: Sighting) -> None:
        """A packet that no node sent: a stale entry of a cache, or a lie."""
        for member in self.members:
            if member.host is listener:
                member.tell(sighting)

    def join(self, member: Member) -> None:
        self._kernel.trace(f"announces {member.host}")
        others = list(self.members)
        self.members.append(member)
        for again_s in REPEATED_AFTER_S:
            self._kernel.after(again_s + self._dice.choice(DELAYS_S), self._arrive, member)
        for other in others:
            if not other.answering and other.host.segment == member.host.segment:
                other.answering = True
                delay_s = self._dice.choice(DELAYS_S)
                for again_s in REPEATED_AFTER_S:
                    self._kernel.after(again_s + delay_s, self._arrive, other)

    def leave(self, member: Member) -> None:
        self.members.remove(member)

    def _arrive(self, sender: Member) -> None:
        """One packet of its reaches all who hear it."""
        sender.answering = False
        host = sender.host
        if host.life != sender.life:
            return
        heard = (host.ip, sender.announcement.instance)
        sighting = Sighting(host.ip, sender.announcement.port, sender.announcement.instance)
        for listener in list(self.members):
            if heard not in listener.told and listener is not sender and self._reaches(host, listener):
                listener.told.add(heard)
                listener.tell(sighting)

    def _reaches(self, host: Host, listener: Member) -> bool:
        if host.segment != listener.host.segment or (listener.hears is not None and host.name not in listener.hears):
            return False
        return not (self.loss and self._dice.random() < self.loss) and self._net.reaches(host, listener.host)


class Discovery:
    """The `p2pcdn.world.Discovery` of a simulated node."""

    def __init__(self, air: Air) -> None:
        self._air = air

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        host = here()
        member = Member(host, host.life, announcement, found, self._air.hears(host))
        self._air.join(member)
        try:
            await trio.sleep_forever()
        finally:
            self._air.leave(member)
