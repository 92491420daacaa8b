"""One file in transit at this node: which pieces are here, what proves them, and who waits for the next."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pcdn.digest import Sha256
from p2pcdn.store import Partial
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.pieces.arrival import Arrival
from p2pcdn.swarm.pieces.last import Last
from p2pcdn.swarm.pieces.manifest import Cut, Cutting, Manifest, Proof
from p2pcdn.swarm.pieces.rarity import Rarity
from p2pcdn.swarm.pieces.waiting import Waiters
from p2pcdn.swarm.wire import bitfield

# In the middle of a file one piece more changes nothing for those who fill it, and they look by themselves now and
# then; near its end each one may be the last that somebody waits for.
LAST_PIECES = 16
# A class of which so many pieces came without a question is one that we pass on to nobody: our place in its tree is an
# end. Its pieces are read whole, as far as the system waits for that.
UNASKED_MAX = 2


class Sharing:
    """Filled by a Download, given away by the Provider; used on trio's thread.

    cut: None while nobody knows the size. came_bytes: what the room and our own reading for it brought; read_bytes:
    what the latter did. here: the pieces whose bytes are written. provable: those of them for which there is a proof or
    the manifest, which alone may go to others. arriving: pieces of which a part is here and right, by their index.
    """

    def __init__(self, partial: Partial, sha256: Sha256, id_: str, cutting: Cutting) -> None:
        self.partial = partial
        self.sha256 = sha256
        self.id = id_
        self.cut: Cut | None = None
        self.came_bytes = self.read_bytes = 0
        self.here = 0
        self.provable = 0
        self.manifest: Manifest | None = None
        self.manifest_proof: Proof | None = None
        self.proofs: dict[int, Proof] = {}
        self.parts: dict[int, bytes] = {}  # the hashes of the parts of the pieces that came in this attempt
        self.arriving: dict[int, Arrival] = {}
        self.signed = 0  # the pieces that have a proof of their own, a bitfield
        self.changed = trio.lowlevel.ParkingLot()
        self.last = Last()
        self.waiters = Waiters()  # askers; those who fill it wait in `changed`
        self.rarity = Rarity()
        self._unasked = [0] * CLASSES  # pieces of each class that came since somebody asked for one
        self._cutting = cutting
        self._misled = False  # bytes lie in the partial that were cut by a size that was none
        self.learn_size(partial.size_bytes)

    def learn_size(self, size_bytes: int | None) -> None:
        """The index, the upstream or the crowd says it. The crowd's word is over when the other two contradict it."""
        known = self.partial.size_bytes
        size_bytes = size_bytes if known is None else known
        if size_bytes is None or (self.cut is not None and known in (None, self.cut.size_bytes)):
            return
        contradicted = self.cut is not None
        self._misled = self._misled or contradicted
        self.cut = self._cutting(size_bytes)
        self.here = self.provable = self.signed = 0
        self.proofs.clear()
        self.parts.clear()
        self.arriving.clear()
        for start, end in self.partial.present(provisional=not contradicted):
            for index in self.cut.within(start, end):
                self.here |= 1 << index
        self._tell_all()

    async def forget_misled(self) -> None:
        """Call it before bytes are written: what came under another size would stay in their place.

        Raises StoreStopped.
        """
        if self._misled:
            self._misled = False
            await self.partial.forget_provisional()

    @property
    def pieces(self) -> int:
        return 0 if self.cut is None else self.cut.pieces

    @property
    def missing(self) -> int:
        """The pieces that are not here, a bitfield; nothing while the cut is unknown."""
        return 0 if self.cut is None else bitfield.all_of(self.cut.pieces) & ~self.here

    @property
    def whole(self) -> bool:
        return self.cut is not None and not self.missing

    def givable(self, *, knows: bool) -> int:
        """What may go to one who knows the manifest, or to one who does not: then each piece needs its own proof."""
        return self.provable if knows else self.signed

    def passable(self, *, knows: bool) -> int:
        """The pieces that still arrive and may be passed on as they do, to one who knows the manifest, or does not."""
        manifest = self.manifest if knows else None
        able = sum(
            1 << index
            for index, one in self.arriving.items()
            if one.proof is not None or (manifest is not None and one.listed_in is manifest)
        )
        return able & ~self.here

    def note(self, index: int, proof: Proof | None, parts: bytes, listed_in: Manifest | None = None) -> None:
        """A piece is here now. proof: None where `listed_in` proves it, which may have been disowned since.

        parts: the hashes of its parts.
        """
        self.here |= 1 << index
        self.parts[index] = parts
        if proof is not None:
            self.proofs[index] = proof
            self.signed |= 1 << index
        if proof is not None or (listed_in is not None and listed_in is self.manifest):
            self.provable |= 1 << index
        if self.missing.bit_count() < LAST_PIECES:
            self.changed.unpark_all()
        self.waiters.wake_for(index)

    def arrives(self, arrival: Arrival) -> bool:
        """The first part of a piece is here and right. Whether somebody is likely to take the others as they come."""
        self.arriving.setdefault(arrival.index, arrival)
        self.waiters.wake_for(arrival.index)
        self._unasked[arrival.index % CLASSES] += 1
        return self._unasked[arrival.index % CLASSES] <= UNASKED_MAX

    def is_asked_for(self, want: int) -> None:
        """Somebody would wait for these pieces, a bitfield."""
        for klass in range(CLASSES):
            if self._unasked[klass] and want & bitfield.each_third(klass, self.pieces):
                self._unasked[klass] = 0

    def able(self, want: int, *, knows: bool, waits: bool) -> int:
        """Which of these may go out now, a bitfield. What still arrives goes only to those who would wait for it."""
        return want & self.givable(knows=knows) or (want & self.passable(knows=knows) if waits else 0)

    def wake_next(self, may: Callable[[str], bool], taken: Callable[[str], int]) -> None:
        """There may be room for one more to be served.

        may: whether a host is given more now. taken: how many pieces are on their way to it.
        """
        waiter = self.waiters.first(
            lambda one: self.able(one.want, knows=one.knows, waits=True) if may(one.host) else 0, taken
        )
        if waiter is not None:
            waiter.wake()

    def ends(self) -> None:
        """It is given to nobody any more."""
        self._tell_all()

    def _tell_all(self) -> None:
        self.changed.unpark_all()
        self.waiters.wake_all()

    def adopt(self, manifest: Manifest) -> None:
        """The whole list is known; who stands by it, whoever adopts it says in `manifest_proof`."""
        self.manifest = manifest
        if self.cut is None:
            self.learn_size(manifest.size_bytes)
        self._tell_all()

    def disown(self) -> None:
        """Nobody stands by the manifest any more: what only it proves is not passed on."""
        self.manifest = self.manifest_proof = None
        self.provable = self.signed
