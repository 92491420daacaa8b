"""Filling one partial from its crowd: who is asked for what, the origin where it is our turn, until all is here.

The tracker's advice says whom to ask and whether to read the origin; its workers (`workers.py`) ask, and what comes is
verified on arrival. Here is decided whether it goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

import trio

from p2pcdn.errors import P2pcdnError, Unanswered, Unavailable
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.filling.holders import HOLD_OFF_S, Holders
from p2pcdn.swarm.filling.hope import Hope
from p2pcdn.swarm.filling.membership import Membership
from p2pcdn.swarm.filling.race import Race
from p2pcdn.swarm.filling.reading import ReadOrigin
from p2pcdn.swarm.filling.sources import Sources
from p2pcdn.swarm.filling.taking import Taking
from p2pcdn.swarm.filling.turn import Turn
from p2pcdn.swarm.filling.workers import Workers
from p2pcdn.swarm.neighbours.attendance import Attendance, Place, seen_from
from p2pcdn.swarm.neighbours.conversation import PROGRESS_SIZE_BYTES_MIN
from p2pcdn.swarm.neighbours.peer import CROWD, Peer
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.advice import Advice
from p2pcdn.world import Sighting

log = logging.getLogger(__name__)

# Where nobody but a peer says how long a file is, it may not be longer than this.
UNNAMED_SIZE_BYTES_MAX = 8 * 1024**3
# An index that gives no sizes leaves all but the reader waiting for the first word about it.
SIZE_ASKED_EVERY_S, SIZE_ASKED_EVERY_MAX_S = 0.03, 0.5
# A reader whose upstream gives something again after so long says so at once: others may be about to read, too.
QUIET_READING_S = 1.0
# How often it is looked whether anything moves.
LOOK_EVERY_S = 0.25
# A node that cannot read the origin has nothing but a slow piece to wait for, so long at the least; a client of ours
# would go after 15 s (pip).
SLOW_PIECE_S = 9.0
# So often those who should give are doubted, and somebody else reads, before the room is given up.
DOUBTING_ROUNDS = 2


class Download:
    """One attempt to fill one partial. `run` it once; used on trio's thread.

    belief: on whose word the bytes stand, for when the whole turns out to be wrong.
    """

    def __init__(
        self,
        sharing: Sharing,
        attendance: Attendance,
        read_origin: ReadOrigin | None,
        tools: Tools,
        *,
        boot: str,
        port: int,
        size_bytes_max: int,
        gives: Callable[[], bool] = lambda: True,
        on_air: bool = False,
        readers: int = 1,
        wire_bytes_s: float | None = None,
        distrusted_makers: Sequence[bytes] = (),
    ) -> None:
        """read_origin: None where this node cannot read it. boot, port: under which others know us.

        gives: whether others may ask us first, now. on_air: see `Manners`. readers: how many may read the origin at
        once. wire_bytes_s: how fast our wire to it was.
        distrusted_makers: whose word for this file was wrong before.
        """
        self._sharing = sharing
        self._attendance = attendance
        self._tools = tools
        self._size_bytes_max = min(UNNAMED_SIZE_BYTES_MAX, size_bytes_max)
        self.belief = Belief(sharing, tools, distrusted_makers)
        self._sources = Sources(sharing, tools, self._somebody_left)
        self._holders = Holders(sharing, self._sources, self.belief, tools, self._size_bytes_max)
        self._taking = Taking(sharing, self._sources, self.belief, self._holders, tools)
        self._turn = Turn(sharing, tools, read_origin)
        self._workers = Workers(sharing, self._sources, self._taking, self._turn, self._fail, on_air=on_air)
        self._race = Race(wire_bytes_s, on_air=on_air)
        self._membership = Membership(
            sharing,
            self.belief,
            self._turn,
            self._race,
            boot=boot,
            port=port,
            device=tools.identity.device.public,
            gives=gives,
            readers=readers,
        )
        self._advice = Advice()
        self._attended = False
        self._advised_by: Place | None = None
        self._neighbours: tuple[Peer, ...] = ()
        self._rounds = 0
        self._size_asked_every_s = SIZE_ASKED_EVERY_S / 2
        self._ask_now = trio.Event()
        self._hope = Hope(trio.current_time())
        self._error: P2pcdnError | None = None
        self._origin_error: P2pcdnError | None = None
        self._over = False
        self._nursery: trio.Nursery | None = None

    async def run(self, peers: Sequence[Peer]) -> None:
        """Fills what is missing. Raises Unavailable where the room cannot give it, StoreStopped, what the origin said.

        What came stays in the partial.
        """
        self._neighbours = tuple(peers)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for ask in self._holders.asks(peers):
                nursery.start_soon(ask)
            nursery.start_soon(self._holders.choose)
            nursery.start_soon(self._attend)
            self._workers.start(nursery)
            while not self._is_over():
                with trio.move_on_after(LOOK_EVERY_S):
                    await self._sharing.changed.park()
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error

    async def tell_that_all_is_here(self) -> None:
        """Tells the tracker that it can name us from now on."""
        await self._attendance.ask(self._membership.question())

    # --- whether it goes on

    def _is_over(self) -> bool:
        """Whether all is here or nothing moves any more; begins with the origin when it is our turn."""
        if not self._over:
            self._look()
        return self._over

    def _look(self) -> None:
        sharing, turn, now = self._sharing, self._turn, trio.current_time()
        self._note_what_came(now)
        stalled_s = self._hope.silent_s(now)
        # Whole by its pieces, or by bytes that came in another way (the drip that keeps a client patient).
        if (sharing.whole or not sharing.partial.missing()) and not turn.running:
            self._over = True
            return
        stalled = stalled_s > self._patience_s
        undecided = self._holders.undecided(now)
        self._compare(now)
        # Whoever stood by the manifest may be the one that has gone: then the others are not waited for as long again.
        failed = bool(self._membership.doubted) and stalled_s > HOLD_OFF_S
        wanted = sharing.manifest is None or stalled or failed or self._race.lost
        if turn.ours and not turn.running and not undecided and wanted:
            if turn.able and turn.has_work(stalled=stalled):
                self._start_reading()
        elif turn.running or not self._attended or undecided:
            return
        elif self._is_hopeless(now) and not self._doubt_all(now):
            self._fail(self._short())

    def _note_what_came(self, now: float) -> None:
        """A piece that comes slowly is progress, too: a room on one access point shares its air.

        Where its parts are not named, it may all be thrown away: whoever can read for itself waits less long for that.
        """
        sharing, hope = self._sharing, self._hope
        hope.note_lack(now, lacks=sharing.manifest is not None or self._advice.reach > sharing.here.bit_count())
        if hope.note_came(now, sharing.came_bytes) > QUIET_READING_S and self._turn.running:
            self._ask_now.set()
        hope.note_right(self._taking.right_at)
        piece_size_bytes = 0 if sharing.cut is None else sharing.cut.piece_size_bytes
        slow_piece_s = max(SLOW_PIECE_S, piece_size_bytes / PROGRESS_SIZE_BYTES_MIN * self._patience_s)
        for peer in self._workers.asked:
            heard_at = self._tools.exchange.heard_at(peer.address)
            hope.note_heard(heard_at, self._patience_s if self._turn.able else slow_piece_s)

    def _compare(self, now: float) -> None:
        """The room with our own wire; what comes of that the tracker hears at once."""
        sharing, before = self._sharing, self._race.lost
        if self._turn.running:
            self._race.note_reading(now, sharing.read_bytes)
        elif self._turn.able and sharing.cut is not None:
            self._race.note(
                now,
                sharing.came_bytes - sharing.read_bytes,
                sharing.missing.bit_count() * sharing.cut.piece_size_bytes,
                piece_s=self._sources.answer_time_s,
                members=self._advice.members,
            )
        if self._race.lost != before:
            log.info("the room is slower than the wire: %s", self._race.lost, extra={"file": self._sources.name})
            self._ask_now.set()

    @property
    def _patience_s(self) -> float:
        return self._sources.patience_s

    def _is_stalled(self) -> bool:
        return self._hope.silent_s(trio.current_time()) > self._patience_s

    def _is_hopeless(self, now: float) -> bool:
        """Whether the room will not give what is missing, or not soon."""
        can_read = self._turn.able
        if not self._holders.asking and not self._sources and (not can_read or self._sharing.manifest is not None):
            return True
        return self._hope.is_lost(now, self._patience_s, can_read=can_read)

    def _doubt_all(self, now: float) -> bool:
        """Before the room is given up: who should have given is doubted, so that another may read the origin for all.

        False: that was tried already, or this node could not read it.
        """
        if not self._turn.able or self._rounds >= DOUBTING_ROUNDS:
            return False
        self._rounds += 1
        self._hope.begins_anew(now)
        self._attendance.forsake()
        proof = self._sharing.manifest_proof
        makers = [device for device, _ in self._advice.makers] + ([proof.maker] if proof is not None else [])
        self._doubt([*makers, *self._membership.reading()])
        return True

    def _doubt(self, devices: Collection[bytes]) -> None:
        """These are not waited for any more, though what they signed is still good; the tracker hears it at once."""
        self._membership.doubt(devices)
        self._holders.doubt(self._membership.doubted)
        self._ask_now.set()

    def _somebody_left(self, peer: Peer, lied: bool) -> None:
        """Its tracker hears of a parent that failed us; and if it reads the origin, or has all of it, another must."""
        if self._over:
            return
        if self._membership.was_left(peer, lied):
            self._ask_now.set()
        if doubted := self._membership.devices_of(peer):
            self._doubt(doubted)

    def _short(self) -> P2pcdnError:
        sharing = self._sharing
        if self._origin_error is not None:
            return self._origin_error
        owing = [peer for peer in self._neighbours if not self._holders.says_no(peer)]
        if not owing and not sharing.here:
            return Unavailable(f"No neighbour has {self._sources.name}.")
        gave = f"The neighbours gave {sharing.here.bit_count()} of {sharing.pieces} pieces of {self._sources.name}"
        return Unanswered(f"{gave}, and {owing[0].address} owes an answer.") if owing else Unavailable(f"{gave}.")

    def _fail(self, error: P2pcdnError) -> None:
        self._error = self._error or error
        self._over = True
        self._sharing.changed.unpark_all()

    # --- the crowd

    async def _attend(self) -> None:
        while True:
            question = self._membership.question(self._hope.silent_s(trio.current_time()))
            self._advice, place = await self._attendance.ask(question)
            self._attended, self._advised_by = True, place
            again_s = self._advice.again_ms / 1000 * (0.9 + self._tools.dice.random() / 5)
            self._workers.advised_until = trio.current_time() + again_s
            self._follow(self._advice, place)
            await self._rest(again_s)

    async def _rest(self, again_s: float) -> None:
        """Until the tracker is asked again: sooner where nobody knows the size yet, at once when we have learnt it."""
        if self._sharing.cut is not None:
            with trio.move_on_after(again_s):
                await self._ask_now.wait()
        else:
            self._size_asked_every_s = min(2 * self._size_asked_every_s, SIZE_ASKED_EVERY_MAX_S)
            with trio.move_on_after(min(again_s, self._size_asked_every_s)):
                while self._sharing.cut is None:
                    await self._sharing.changed.park()
        self._ask_now = trio.Event()

    def _follow(self, advice: Advice, place: Place) -> None:
        now = trio.current_time()
        self._hope.note_advice(now, advice)
        if advice.size_bytes is not None and advice.size_bytes <= self._size_bytes_max:
            self._sharing.learn_size(advice.size_bytes)
        self._sharing.last.follow(advice.last, now)
        parents = [None if told is None else self._peer_at(told, place) for told in advice.parents]
        self._membership.parents_are(parents, advice.parents)
        parents = parents * CLASSES if len(parents) == 1 else parents
        self._sources.parents = [*parents, *[None] * CLASSES][:CLASSES]
        self._taking.leave_silent(self._membership.parents)
        for address in advice.others:
            self._peer_at(address, place)
        for number, (device, address) in enumerate(advice.makers):
            if device == self._tools.identity.device.public:
                continue
            peer = self._peer_at(address, place)
            self.belief.named[device] = peer or self.belief.named.get(device)
            if peer is not None and self._sharing.manifest is None:
                self._sources.readers.add(peer)
            if peer is not None and number == 0:
                self._membership.reader_is(device, peer)
        self._workers.call_seconds()
        self._turn.follow(advice)
        self._sharing.changed.unpark_all()

    def _peer_at(self, told: str, place: Place) -> Peer | None:
        address = seen_from(told, place)
        if address is None:
            return None
        peer = self._tools.peers.sight(Sighting(address.host, address.port), CROWD, trio.current_time())
        if peer is None:
            return None
        self._sources.add(peer)
        return peer if peer in self._sources else None

    # --- the origin

    def _start_reading(self) -> None:
        assert self._nursery is not None
        self._turn.running = True
        log.debug("reads the origin, %s", self._why_we_read(), extra={"file": self._sources.name})
        self._nursery.start_soon(self._read)

    def _why_we_read(self) -> str:
        """For the log: who lets us, and what we lack."""
        sharing, by = self._sharing, self._advised_by
        who = "as this node advises itself" if by is None or by.address is None else f"as {by.address} advises"
        lacks = f"{sharing.missing.bit_count()} of {sharing.pieces} pieces" if sharing.cut else "all"
        return f"{who}: {lacks} missing, nothing came for {self._hope.silent_s(trio.current_time()):.1f} s"

    async def _read(self) -> None:
        try:
            await self._turn.read(self._is_stalled)
        except P2pcdnError as error:
            self._origin_failed(error)
        finally:
            self._turn.running = False
            self._ask_now.set()  # what others had when it began they may have lost since
            self._sharing.changed.unpark_all()

    def _origin_failed(self, error: P2pcdnError) -> None:
        self._turn.give_up()
        if self._sharing.partial.error is not None or not isinstance(error, Unavailable):
            self._fail(error)
            return
        log.info("the upstream fails us; perhaps not others: %s", error, extra={"file": self._sources.name})
        self._origin_error = error
        # Somebody may have come to hold the file since we asked.
        assert self._nursery is not None
        for ask in self._holders.asks([peer for peer in self._neighbours if not self._sources.is_quiet(peer)]):
            self._nursery.start_soon(ask)
        self._ask_now.set()
