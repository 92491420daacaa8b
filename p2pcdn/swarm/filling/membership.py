"""What the tracker of a file hears of us: what we have, which of those it named failed us, and whom we doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.filling.race import Race
from p2pcdn.swarm.filling.turn import Turn
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import DISTRUSTED_MAKERS_MAX, LEFT_MAX, TRACKER, AskCrowd, Reader

# Who has had nothing for so long does not know whether somebody reads.
QUIET_MAX_S = 99.0


class Membership:
    """One download's. parents: those that the tracker named last, as it calls them.

    doubted: devices that gave us nothing, or something wrong.
    """

    def __init__(
        self,
        sharing: Sharing,
        belief: Belief,
        turn: Turn,
        race: Race,
        *,
        boot: str,
        port: int,
        device: bytes,
        gives: Callable[[], bool],
        readers: int,
    ) -> None:
        """boot, port, device: under which others know us. gives, readers: see `Download`."""
        self._sharing = sharing
        self._belief = belief
        self._turn = turn
        self._race = race
        self._boot = boot
        self._port = port
        self._device = device
        self._gives = gives
        self._readers = readers
        self.parents: dict[Peer, str] = {}
        self.doubted: dict[bytes, None] = {}
        self._left: tuple[str, ...] = ()  # parents that lied to us, or failed us
        self._lied: dict[str, None] = {}  # those of them that did the former
        self._reader: tuple[bytes, Peer] | None = None  # as the tracker said

    def question(self, quiet_s: float = 0.0) -> AskCrowd:
        """What the tracker is asked. quiet_s: for how long nothing has come."""
        sharing, liars = self._sharing, tuple(dict.fromkeys(self._belief.distrusted))[-DISTRUSTED_MAKERS_MAX:]
        doubted = [device for device in self.doubted if device not in liars]
        # What only a manifest proved by which nobody stands any more cannot be given: others must not wait for it.
        holds = sharing.here if sharing.whole else sharing.provable
        return AskCrowd(
            id=sharing.id,
            boot=self._boot,
            port=self._port,
            device=self._device,
            size_bytes=0 if sharing.cut is None else sharing.cut.size_bytes,
            pieces=sharing.pieces,
            holds=bitfield.encode(holds, sharing.pieces) if holds else "",
            got=sharing.came_bytes,
            able=self._turn.able,
            readers=self._readers,
            slow=self._race.lost,
            gives=self._gives(),
            distrusted=(*liars, *doubted[max(0, len(doubted) + len(liars) - DISTRUSTED_MAKERS_MAX) :]),
            liars=len(liars),
            left=self._left,
            read=sharing.read_bytes,
            lied=tuple(one for one in self._left if one in self._lied),
            reader=self._reader_now(quiet_s),
        )

    def parents_are(self, parents: Sequence[Peer | None], told: Sequence[str | None]) -> None:
        """The tracker names these. told: how it calls them; None where it names nobody."""
        self.parents = {
            peer: name or TRACKER
            for peer, name in zip(parents, told, strict=True)
            if peer is not None and name is not None
        }

    def reader_is(self, device: bytes, peer: Peer) -> None:
        """The tracker lets this one read."""
        self._reader = device, peer

    def reading(self) -> Collection[bytes]:
        """The device that reads the origin, as was said last; the next tracker hears of it, unless it is doubted."""
        return [] if self._reader is None else [self._reader[0]]

    def _reader_now(self, quiet_s: float) -> Reader | None:
        if self._reader is None or self._turn.ours:
            return None
        device, peer = self._reader
        if device in self.doubted or device in self._belief.distrusted:
            return None
        return Reader(device, str(peer.address), round(min(quiet_s, QUIET_MAX_S) * 1000))

    def was_left(self, peer: Peer, lied: bool) -> bool:
        """This one failed us or, where it lied, gave something wrong. Whether that is news for the tracker."""
        told = self.parents.get(peer)
        if told is None or told in self._left:
            return False
        self._left = (*self._left, told)[-LEFT_MAX:]
        if lied:
            self._lied[told] = None
        return True

    def devices_of(self, peer: Peer) -> Collection[bytes]:
        """Under which it reads the origin or has all of it, as the tracker says, where nobody doubts them yet."""
        return [device for device, one in self._belief.named.items() if one is peer and device not in self.doubted]

    def doubt(self, devices: Collection[bytes]) -> None:
        self.doubted.update(dict.fromkeys(devices))
