"""Filling one partial from its crowd: who gives what to whom, the origin where it is our turn, until all is here.

Three workers, one for each class of pieces, each with one question under way. `Attendance` says whom to ask and whether
to read the origin; what comes is verified here, on arrival.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import trio

from p2pcdn.errors import P2pcdnError, RemoteProtocolError, Unavailable
from p2pcdn.swarm import bitfield
from p2pcdn.swarm.attendance import Attendance, Place, seen_from
from p2pcdn.swarm.connection import Answer
from p2pcdn.swarm.crowd import CLASSES
from p2pcdn.swarm.manifest import Cut, Manifest, Proof, piece_hash
from p2pcdn.swarm.messages import (
    DISTRUSTED_MAKERS_MAX,
    HOLDS,
    MANIFEST_NAME,
    MANIFEST_SIZE_BYTES_MAX,
    PIECE_INDEX,
    PROOF,
    Advice,
    AskCrowd,
    AskManifest,
    AskPiece,
)
from p2pcdn.swarm.peers import CROWD, Peer
from p2pcdn.swarm.reading import INLINE_SIZE_BYTES_MAX, Reading, ReadOrigin
from p2pcdn.swarm.sharing import Sharing
from p2pcdn.swarm.tools import Tools, refuse, sealed_port
from p2pcdn.world import Sighting

log = logging.getLogger(__name__)

# After the first manifest others are waited for as long again, and at least so long: most of a room answers at once.
SECOND_OPINION_S = 0.01
# Before the origin is read, each neighbour has so long to say that it holds the file: a hundred times what it needs,
# for its machine may be busy with the same install.
HOLD_OFF_S = 0.5
# Where nobody but a peer says how long a file is, it may not be longer than this.
UNNAMED_SIZE_BYTES_MAX = 8 * 1024**3
# A parent is asked to wait for its next piece; others give what they have or nothing.
PARENT_WAIT_MS = 400
# One that had nothing for us, or is full and does not say for how long.
EMPTY_PAUSE_S, BUSY_PAUSE_S = 0.03, 0.02
# One that does not know the file: it may be about to begin.
UNKNOWN_PAUSE_S = 0.25
# An index that gives no sizes leaves all but the reader waiting for the first word about it.
SIZE_ASKED_EVERY_S = 0.03
# Parents that have nothing to give are believed for so long; a client of ours would go after 15 s (pip).
STARVING_S = 9.0
# A class that is so many pieces behind another has a slow parent: every other time somebody else is asked.
LAG_MAX = 6
# Pieces that are about to come from the origin are not asked of others.
READ_AHEAD_PIECES = 8
# So often those who should give are doubted, and somebody else reads, before the room is given up.
DOUBTING_ROUNDS = 2
# How often it is looked whether anything moves.
LOOK_EVERY_S = 0.25
# The upstream's own watchdog is 30 s; a crowd whose reader brings nothing for longer is given up.
SILENT_CROWD_S = 35.0
# A question is asked again elsewhere after so many times the usual piece time, when nothing else is left to do.
OVERDUE_FACTOR, OVERDUE_MIN_S = 4.0, 0.1


@dataclass(slots=True)
class _Source:
    """One whom we may ask. rest_until: not before that. refused_since: since when it has only put us off."""

    rest_until: float = 0.0
    refused_since: float | None = None


class Download:
    """One attempt to fill one partial. `run` it once; used on trio's thread."""

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
        gives: bool = True,
        readers: int = 1,
        distrusted_makers: Sequence[bytes] = (),
    ) -> None:
        """read_origin: None where this node cannot read it. boot, port: under which others know us.

        readers: how many may read the origin at once. distrusted_makers: whose word for this file was wrong before.
        """
        self._sharing = sharing
        self._attendance = attendance
        self._read_origin = read_origin
        self._tools = tools
        self._boot = boot
        self._port = port
        self._size_bytes_max = size_bytes_max
        self._gives = gives
        self._readers = readers
        self._sealed = sharing.partial.origin.share == "group"  # private files travel over TLS
        self._distrusted = tuple(distrusted_makers)
        self._doubted: dict[bytes, None] = {}  # devices that gave us nothing, or something wrong
        self._named: dict[bytes, None] = {}  # devices that the tracker has named as readers
        self._rounds = 0
        self._ask_now = trio.Event()
        self._offered: dict[bytes, dict[Peer, Proof | None]] = {}
        self._asked_at: dict[Peer, float] = {}  # those that owe an answer about the manifest
        self._asking = 0
        self._neighbours: tuple[Peer, ...] = ()
        self._origin_error: P2pcdnError | None = None
        self._choosing = False  # manifests came, and none is chosen yet
        self._began = trio.current_time()
        self._advice = Advice()
        self._place = Place(None)
        self._attended = False
        self._lease = False
        self._reading = 0  # the pieces that are being read from the origin, a bitfield
        self._is_reading = False
        self._sources: dict[Peer, _Source] = {}
        self._parents: list[Peer | None] = [None] * CLASSES
        self._question_at = [math.inf] * CLASSES  # when the class's worker asked what it waits for
        self._proofs: dict[int, Proof] = {}  # of pieces that are just being written
        self._came = [0] * CLASSES  # pieces of each class that came from others
        self._passed_over = [False] * CLASSES
        self._asked: dict[int, Peer] = {}  # whom each class's worker asks just now
        self._answer_time_s = 0.0  # from the question to the last byte
        self._progress_at = trio.current_time()
        self._pieces_before = -1
        self._fruitful_at = trio.current_time()  # when bytes were kept last
        self._answered_at = -math.inf  # when somebody said last that he has nothing yet
        self._error: P2pcdnError | None = None
        self._over = False
        self._nursery: trio.Nursery | None = None
        self.vouchers: dict[Peer, None] = {}  # those on whose manifest the bytes stand
        self.makers: dict[bytes, None] = {}  # the devices on whose word they stand
        self.addresses: dict[bytes, Peer] = {}  # of the devices that the tracker named

    async def run(self, peers: Sequence[Peer]) -> None:
        """Fills what is missing. Raises Unavailable where the room cannot give it, StoreStopped, what the origin said.

        What came stays in the partial.
        """
        self._asking = len(peers)
        self._neighbours = tuple(peers)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for peer in peers:
                nursery.start_soon(self._ask_for_manifest, peer)
            nursery.start_soon(self._choose_manifest)
            nursery.start_soon(self._attend)
            for klass in range(CLASSES):
                nursery.start_soon(self._work, klass)
            while not self._is_over():
                with trio.move_on_after(LOOK_EVERY_S):
                    await self._sharing.changed.park()
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error

    async def tell_that_all_is_here(self) -> None:
        """Tells the tracker that it can name us from now on."""
        await self._attendance.ask(self._ask())

    def _is_over(self) -> bool:
        """Whether all is here or nothing moves any more; begins with the origin when it is our turn."""
        if not self._over:
            self._look()
        return self._over

    def _look(self) -> None:
        sharing, now = self._sharing, trio.current_time()
        got = sharing.partial.present_bytes()
        if got != self._pieces_before:
            self._pieces_before, self._progress_at, self._fruitful_at = got, now, now
        if sharing.whole and not self._is_reading:
            self._over = True
            return
        # A piece that comes slowly is progress, too: a room on one access point shares its air.
        # So is a parent that answers that it has nothing yet; but not for ever.
        self._progress_at = max(self._progress_at, self._heard_at())
        starving_since = min(self._answered_at, self._fruitful_at + STARVING_S)
        stalled_s = now - max(self._progress_at, starving_since)
        patience_s = self._tools.exchange.patience.no_progress_s
        stalled = stalled_s > patience_s
        undecided = self._choosing or (self._asking > 0 and self._may_yet_be_held(now))
        if self._lease and not self._is_reading and not undecided and (sharing.manifest is None or stalled):
            if self._next_run(stalled) is not None:
                self._start_reading()
        elif self._is_reading or not self._attended or undecided:
            return
        elif self._is_hopeless(stalled_s) and not self._doubt_all(now):
            self._fail(self._short())

    def _doubt_all(self, now: float) -> bool:
        """Before the room is given up: who should have given is doubted, so that another may read the origin for all.

        False: that was tried already, or this node could not read it.
        """
        doubted = [device for device, _ in self._advice.makers if device not in self._doubted]
        if self._sharing.manifest_proof is not None:
            doubted.append(self._sharing.manifest_proof.maker)
        if self._read_origin is None or self._rounds >= DOUBTING_ROUNDS:
            return False
        self._rounds += 1
        self._progress_at = now
        self._doubt(doubted)
        return True

    def _doubt(self, devices: Collection[bytes]) -> None:
        """These are not waited for any more, though what they signed is still good; the tracker hears it at once."""
        self._doubted.update(dict.fromkeys(devices))
        proof = self._sharing.manifest_proof
        if self._sharing.manifest is not None and (proof is None or proof.maker in self._doubted):
            self._sharing.disown()
            self.vouchers.clear()
        self._ask_now.set()

    def _may_yet_be_held(self, now: float) -> bool:
        """Whether a neighbour has still time to say that it holds the file, or has not even been asked."""
        if now - self._began > self._tools.exchange.patience.no_progress_s:
            return False
        owing = self._asked_at.values()
        return len(owing) < self._asking or any(now - asked_at < HOLD_OFF_S for asked_at in owing)

    def _heard_at(self) -> float:
        """When bytes of a piece came last from one of those who are asked just now."""
        return max((self._tools.exchange.heard_at(peer.address) for peer in self._asked.values()), default=-math.inf)

    def _is_hopeless(self, stalled_s: float) -> bool:
        """Whether the room will not give what is missing, or not soon."""
        sharing = self._sharing
        cannot_read = self._read_origin is None
        if not self._asking and not self._sources and (cannot_read or sharing.manifest is not None):
            return True
        if stalled_s > self._tools.exchange.patience.no_progress_s:
            there_is_more = sharing.manifest is not None or self._advice.reach > sharing.here.bit_count()
            if there_is_more or cannot_read:
                return True
        return stalled_s > SILENT_CROWD_S

    def _short(self) -> P2pcdnError:
        sharing = self._sharing
        if self._origin_error is not None:
            return self._origin_error
        if not sharing.here:
            return Unavailable(f"No neighbour has {self._name}.")
        return Unavailable(
            f"The neighbours gave {sharing.here.bit_count()} of {sharing.pieces} pieces of {self._name}."
        )

    def _fail(self, error: P2pcdnError) -> None:
        self._error = self._error or error
        self._over = True
        self._sharing.changed.unpark_all()

    # --- the crowd

    async def _attend(self) -> None:
        while True:
            self._advice, self._place, self._attended = await self._attendance.ask(self._ask())
            if not self._attended:
                self._attended = True
            self._follow(self._advice)
            await self._rest(self._advice.again_ms / 1000 * (0.9 + self._tools.dice.random() / 5))

    async def _rest(self, again_s: float) -> None:
        """Until the tracker is asked again: sooner where nobody knows the size yet, at once when we have learnt it."""
        if self._sharing.cut is not None:
            with trio.move_on_after(again_s):
                await self._ask_now.wait()
        else:
            with trio.move_on_after(min(again_s, SIZE_ASKED_EVERY_S)):
                while self._sharing.cut is None:
                    await self._sharing.changed.park()
        self._ask_now = trio.Event()

    def _ask(self) -> AskCrowd:
        sharing = self._sharing
        return AskCrowd(
            id=sharing.id,
            boot=self._boot,
            port=self._port,
            device=self._tools.identity.device.public,
            size_bytes=0 if sharing.cut is None else sharing.cut.size_bytes,
            pieces=sharing.pieces,
            holds=bitfield.encode(sharing.here, sharing.pieces) if sharing.here else "",
            got=sharing.partial.present_bytes(),
            able=self._read_origin is not None,
            readers=self._readers,
            gives=self._gives,
            distrusted=tuple(dict.fromkeys((*self._distrusted, *self._doubted)))[-DISTRUSTED_MAKERS_MAX:],
        )

    def _follow(self, advice: Advice) -> None:
        if advice.size_bytes is not None and advice.size_bytes <= min(UNNAMED_SIZE_BYTES_MAX, self._size_bytes_max):
            self._sharing.learn_size(advice.size_bytes)
        parents = [self._peer_at(address) for address in advice.parents]
        parents = parents * CLASSES if len(parents) == 1 else parents
        self._parents = [*parents, *[None] * CLASSES][:CLASSES]
        for address in advice.others:
            self._peer_at(address)
        for device, address in advice.makers:
            self._named[device] = None
            if (peer := self._peer_at(address)) is not None:
                self.addresses[device] = peer
        self._lease = advice.read
        self._sharing.changed.unpark_all()

    def _peer_at(self, told: str) -> Peer | None:
        address = seen_from(told, self._place)
        if address is None:
            return None
        peer = self._tools.peers.sight(Sighting(address.host, address.port), CROWD, trio.current_time())
        if peer is None or self._sharing.sha256 in peer.distrusted:
            return None
        if self._sealed and peer.hello is None:
            self._tools.meet(peer)  # it has not told yet where it speaks TLS
        self._sources.setdefault(peer, _Source())
        return peer

    # --- the origin

    def _start_reading(self) -> None:
        assert self._nursery is not None
        if self._read_origin is not None:
            self._is_reading = True
            self._nursery.start_soon(self._read)

    async def _read(self) -> None:
        """Reads what nobody has, run by run, while the lease is ours."""
        sharing = self._sharing
        reading = Reading(sharing, self._tools.identity, self._tools.threads)
        assert self._read_origin is not None
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._give_up_without_lease, scope)
                    while (run := self._next_run(self._is_stalled())) is not None:
                        try:
                            await self._read_run(reading, run)
                        except _Enough:
                            pass
                        finally:
                            with trio.CancelScope(shield=True):
                                await reading.flush()
                        if sharing.cut is None:
                            sharing.learn_size(sharing.partial.present_bytes())
                    nursery.cancel_scope.cancel()
        except P2pcdnError as error:
            self._origin_failed(error)
        except BaseExceptionGroup as group:
            self._origin_failed(_only(group))
        finally:
            self._reading = 0
            self._is_reading = False
            self._sharing.changed.unpark_all()

    async def _read_run(self, reading: Reading, run: _Run) -> None:
        """Raises _Enough where the rest of it need not be read any more, and what the origin says."""

        async def take(at: int, content: bytes) -> None:
            await reading.write(at, content)
            self._go_on_while_needed(at + len(content), run)

        assert self._read_origin is not None
        self._go_on_while_needed(run.start, run)
        await self._read_origin(run.start, run.end, take)

    def _is_stalled(self) -> bool:
        return trio.current_time() - self._progress_at > self._tools.exchange.patience.no_progress_s

    def _next_run(self, stalled: bool) -> _Run | None:
        """The next pieces that neither we nor, as the tracker says, anybody else has.

        What others have comes from them; where it does not, it is read after all.
        """
        sharing = self._sharing
        cut = sharing.cut
        if cut is None:
            return _Run(0, None, insist=False)
        todo = sharing.missing & ~self._held_by_others(cut)
        insist = not todo and stalled
        if insist:
            todo = sharing.missing
        if not todo:
            return None
        behind = todo >> int(cut.pieces * self._advice.part) << int(cut.pieces * self._advice.part)
        first = bitfield.lowest(behind or todo)
        end = first
        while todo >> end & 1:
            end += 1
        start, stop = cut.span(first)[0], cut.span(end - 1)[1]
        return _Run(start, None if stop == cut.size_bytes else stop, insist)

    def _go_on_while_needed(self, at: int, run: _Run) -> None:
        """Marks the next pieces as being read. Raises _Enough where the next one is here, or somebody has it."""
        cut = self._sharing.cut
        if cut is None:
            return
        index = at // cut.piece_size_bytes
        self._reading = ((1 << READ_AHEAD_PIECES) - 1) << index & bitfield.all_of(cut.pieces)
        there = self._sharing.here if run.insist else self._sharing.here | self._held_by_others(cut)
        if at % cut.piece_size_bytes == 0 and index < cut.pieces and there >> index & 1:
            raise _Enough

    def _held_by_others(self, cut: Cut) -> int:
        try:
            return bitfield.decode(self._advice.held, cut.pieces) if self._advice.held else 0
        except RemoteProtocolError:
            return 0

    async def _give_up_without_lease(self, scope: trio.CancelScope) -> None:
        while self._lease:
            await self._sharing.changed.park()
        scope.cancel()

    def _origin_failed(self, error: P2pcdnError) -> None:
        self._read_origin = None
        if self._sharing.partial.error is not None or not isinstance(error, Unavailable):
            self._fail(error)
            return
        log.info("the upstream fails us; perhaps not others: %s", error, extra={"file": self._name})
        self._lease = False
        self._origin_error = error
        # Somebody may have come to hold the file since we asked.
        assert self._nursery is not None
        for peer in self._neighbours:
            if not self._is_quiet(peer):
                self._asking += 1
                self._nursery.start_soon(self._ask_for_manifest, peer)
        self._ask_now.set()

    # --- who has all of it

    async def _ask_for_manifest(self, peer: Peer) -> None:
        patience_s = self._tools.exchange.patience.no_progress_s
        try:
            with trio.move_on_after(patience_s) as patience:
                offered = await self._manifest_of(peer)
            if not patience.cancelled_caught:
                if offered is not None:
                    self._offer(peer, *offered)
            elif trio.current_time() - self._asked_at.get(peer, math.inf) >= patience_s / 2:
                self._failed(peer, "no manifest in time")
            else:
                # It makes manifests, or most of the time went by in our own queue.
                log.info("%s needs too long for a manifest of %s", peer.address, self._name)
                self._tools.peers.was_busy(peer, trio.current_time())
        except Unavailable as error:
            self._failed(peer, str(error))
        except RemoteProtocolError as error:
            self._lied(peer, f"manifest: {error}")
        finally:
            self._asking -= 1
            self._asked_at.pop(peer, None)
            self._sharing.changed.unpark_all()

    async def _manifest_of(self, peer: Peer) -> tuple[bytes, str] | None:
        while True:
            async with self._tools.exchange.question(peer.address):
                if self._is_quiet(peer) or not self._is_reachable(peer):
                    return None
                question = AskManifest(self._sharing.id)
                self._asked_at[peer] = trio.current_time()
                asking = self._tools.exchange.ask(
                    peer.address, question, MANIFEST_SIZE_BYTES_MAX, sealed_port=self._port_of(peer)
                )
                async with asking as answer:
                    if answer.status == 200:
                        return bytes(answer.body), answer.headers.get(PROOF, "")
                    status, retry_after_s = answer.status, answer.retry_after_s
            self._asked_at.pop(peer, None)
            if status != 503:
                return None
            await trio.sleep(BUSY_PAUSE_S if retry_after_s is None else retry_after_s)

    def _offer(self, peer: Peer, content: bytes, word: str) -> None:
        """Takes a manifest in. Raises RemoteProtocolError where it or its proof is none."""
        sharing, tools = self._sharing, self._tools
        manifest = Manifest.decode(sharing.sha256, content, tools.cutting)
        known = sharing.partial.size_bytes
        if known is not None and manifest.size_bytes != known:
            raise RemoteProtocolError(f"it says {manifest.size_bytes} bytes, and the file has {known}")
        if known is None and manifest.size_bytes > min(UNNAMED_SIZE_BYTES_MAX, self._size_bytes_max):
            log.info("%s says that %s has %d bytes, too many", peer.address, self._name, manifest.size_bytes)
            return
        proof = Proof.decode(word) if word else None
        if proof is not None and not proof.holds_for_manifest(sharing.sha256, content):
            raise RemoteProtocolError("its manifest is not signed by whom it names")
        if tools.identity.group is not None and (proof is None or not self._is_member(proof)):
            raise RemoteProtocolError("its manifest is signed by nobody of the group")
        if proof is not None and proof.maker in self._distrusted:
            return
        tools.peers.is_there(peer, trio.current_time())
        self._choosing = self._choosing or not self._offered
        self._offered.setdefault(content, {})[peer] = proof
        if sharing.manifest is not None and content == sharing.manifest.encode():
            self._join(peer)
        sharing.changed.unpark_all()

    async def _choose_manifest(self) -> None:
        """Adopts the one for which most vouch, shortly after the first came."""
        sharing = self._sharing
        while not self._offered:
            await sharing.changed.park()
        with trio.move_on_after(max(SECOND_OPINION_S, trio.current_time() - self._began)):
            while self._asking:
                await sharing.changed.park()
        most = max(map(len, self._offered.values()))
        content = self._tools.dice.choice([one for one, peers in self._offered.items() if len(peers) == most])
        manifest = Manifest.decode(sharing.sha256, content, self._tools.cutting)
        self._choosing = False
        if sharing.cut not in (None, manifest.cut):
            return  # the crowd began with another size; its pieces prove themselves
        peers = self._offered[content]
        proof = next((proof for proof in peers.values() if proof is not None), None)
        sharing.adopt(manifest, proof)
        if proof is not None:
            self.makers[proof.maker] = None
        for peer in list(self._sources):
            if peer not in peers and peer not in self._parents:
                del self._sources[peer]
        for peer in peers:
            self._join(peer)

    def _join(self, peer: Peer) -> None:
        self._sources.setdefault(peer, _Source())
        self.vouchers[peer] = None
        self._sharing.changed.unpark_all()

    # --- pieces

    async def _work(self, klass: int) -> None:
        try:
            while not self._sharing.whole or self._sharing.cut is None:
                want, helping = self._want(klass)
                choice = self._whom(klass, helping) if want else None
                if choice is None:
                    await self._wait()
                    continue
                peer, wait_ms = choice
                self._question_at[klass] = math.inf if helping else trio.current_time()
                self._asked[klass] = peer
                await self._take(peer, want, wait_ms)
                self._question_at[klass] = math.inf
        except P2pcdnError as error:
            # The store's, or whoever ended the partial: nobody's pieces can help now.
            self._fail(error)

    def _want(self, klass: int) -> tuple[int, bool]:
        """What this worker may ask for: pieces of its class, which nobody else asks for.

        When its class is done it helps another whose question is overdue; the second value says so.
        """
        sharing = self._sharing
        if sharing.cut is None:
            return 0, False
        missing = sharing.missing & ~self._reading
        mine = missing & class_mask(klass, sharing.cut.pieces)
        if mine or not missing:
            return mine, False
        overdue_s = max(OVERDUE_MIN_S, OVERDUE_FACTOR * self._answer_time_s)
        now = trio.current_time()
        for other in range(CLASSES):
            theirs = missing & class_mask(other, sharing.cut.pieces)
            if theirs and self._question_at[other] + overdue_s < now:
                return theirs, True
        return 0, False

    def _whom(self, klass: int, helping: bool) -> tuple[Peer, int] | None:
        """The parent of the class while it gives; else somebody else who may have something."""
        now = trio.current_time()
        able = [
            peer
            for peer, source in self._sources.items()
            if source.rest_until <= now and not self._is_quiet(peer) and self._is_reachable(peer)
        ]
        if not able:
            return None
        parent = self._parents[klass]
        if not helping and parent is not None and parent in able and not self._is_behind(klass):
            return parent, PARENT_WAIT_MS
        if self._sharing.manifest is not None:
            free = self._tools.exchange.free_slots
            most = max(free(peer.address) for peer in able)
            able = [peer for peer in able if free(peer.address) == most]
        return self._tools.dice.choice(able), 0

    def _is_behind(self, klass: int) -> bool:
        """Whether the parent of this class is to be passed over this time."""
        if max(self._came) - self._came[klass] < LAG_MAX:
            return False
        self._passed_over[klass] = not self._passed_over[klass]
        return self._passed_over[klass]

    async def _wait(self) -> None:
        now = trio.current_time()
        soonest = min((one.rest_until for one in self._sources.values() if one.rest_until > now), default=now + 1)
        with trio.move_on_at(min(soonest, now + 1)):
            await self._sharing.changed.park()

    async def _take(self, peer: Peer, want: int, wait_ms: int) -> None:
        sharing, exchange = self._sharing, self._tools.exchange
        cut = sharing.cut
        assert cut is not None
        async with exchange.slot(peer.address):
            if self._is_quiet(peer):
                self._sources.pop(peer, None)
            if peer not in self._sources:
                return
            knew = sharing.manifest
            ask = AskPiece(sharing.id, bitfield.encode(want, cut.pieces), wait_ms, knew is not None)
            asked_at = trio.current_time()
            try:
                asking = exchange.ask(peer.address, ask, cut.piece_size_bytes, sealed_port=self._port_of(peer))
                async with asking as answer:
                    fruit = await self._judge(peer, want, cut, knew, answer)
            except Unavailable as error:
                if sharing.partial.error is error:
                    raise
                self._failed(peer, str(error))
                return
            except RemoteProtocolError as error:
                self._lied(peer, str(error))
                return
            if fruit:
                self._answer_time_s = _mean(self._answer_time_s, trio.current_time() - asked_at)
        if fruit is None and sharing.manifest is None:
            await self._learn_manifest(peer)

    async def _judge(self, peer: Peer, want: int, cut: Cut, knew: Manifest | None, answer: Answer) -> bool | None:
        """Takes the piece in. True: one came; False: none; None: the manifest is to be asked for first.

        knew: the manifest that we said we know.
        """
        now = trio.current_time()
        source = self._sources.get(peer)
        if answer.status == 200:
            index = _index(answer.headers.get(PIECE_INDEX, ""), want, cut)
            if await self._is_proven(peer, cut, index, knew, answer):
                await self._keep(peer, cut, index, answer)
                return True
            return False
        if answer.status == 503:
            self._refused(peer, answer.retry_after_s)
        elif answer.status == 428:
            return None
        elif answer.status == 409:
            self._answered_at = now
            if source is not None:
                source.refused_since = None
                holds = answer.headers.get(HOLDS)
                holds_some = bool(bitfield.decode(holds, cut.pieces)) if holds else False
                source.rest_until = now + (EMPTY_PAUSE_S if holds_some else 2 * EMPTY_PAUSE_S)
        elif self._sharing.manifest is not None and peer in self.vouchers:
            # It was evicted there, or the node was started anew.
            self._sources.pop(peer, None)
        elif source is not None:
            source.rest_until = now + UNKNOWN_PAUSE_S
        self._sharing.changed.unpark_all()
        return False

    async def _is_proven(self, peer: Peer, cut: Cut, index: int, knew: Manifest | None, answer: Answer) -> bool:
        """Whether these bytes are the piece. Raises RemoteProtocolError where the peer must have known better."""
        sharing, content = self._sharing, answer.body
        start, end = cut.span(index)
        if len(content) != end - start:
            raise RemoteProtocolError(f"piece {index}: {len(content)} bytes, and it has {end - start}")
        if len(content) <= INLINE_SIZE_BYTES_MAX:
            hash_ = piece_hash(sharing.sha256, cut, index, content)
        else:
            hash_ = await self._tools.threads.run(piece_hash, sharing.sha256, cut, index, content)
        word = answer.headers.get(PROOF, "")
        if knew is not None:
            if hmac.compare_digest(hash_, knew.hash_of(index)):
                return sharing.manifest is knew  # unless nobody stands by it any more
            if peer in self.vouchers or word == f"{MANIFEST_NAME} {knew.name}":
                raise RemoteProtocolError(f"piece {index}: bytes that its own manifest does not name")
            if not word or word.startswith(MANIFEST_NAME):
                self._sources.pop(peer, None)  # it believes another manifest; the whole file's hash will tell
                return False
        if not word or word.startswith(MANIFEST_NAME):
            raise RemoteProtocolError(f"piece {index}: no proof came with it")
        proof = Proof.decode(word)
        if not proof.holds_for_piece(hash_):
            raise RemoteProtocolError(f"piece {index}: bytes that nobody signed")
        if not self._is_believed(proof):
            source = self._sources.get(peer)
            if source is not None:
                source.rest_until = trio.current_time() + UNKNOWN_PAUSE_S
            return False
        self._proofs[index] = proof
        self.makers[proof.maker] = None
        return knew is None

    def _is_believed(self, proof: Proof) -> bool:
        """Members of the group are; in open mode those whom the tracker named as readers."""
        if proof.maker in self._distrusted:
            return False
        if self._tools.identity.group is not None:
            return self._is_member(proof)
        return proof.maker in self._named

    def _is_member(self, proof: Proof) -> bool:
        return self._tools.identity.is_member(proof.maker, proof.vouch)

    async def _keep(self, peer: Peer, cut: Cut, index: int, answer: Answer) -> None:
        sharing, content = self._sharing, answer.body
        counters, start = self._tools.counters, cut.span(index)[0]
        if sharing.here >> index & 1:
            counters.duplicate_bytes += len(content)
        elif content:
            vouched = self._tools.identity.group is not None
            await sharing.partial.write(start, content, provisional=True, vouched=vouched)
        sharing.note(index, self._proofs.pop(index, None))
        self._came[index % CLASSES] += 1
        source = self._sources.get(peer)
        if source is not None:
            source.refused_since = None
        counters.peer_bytes[str(peer.address)] += len(content)
        self._tools.peers.gave(peer, len(content), trio.current_time())

    async def _learn_manifest(self, peer: Peer) -> None:
        """A node that has the whole file gives pieces to those who know its manifest."""
        self._asking += 1
        await self._ask_for_manifest(peer)
        if self._sharing.manifest is None and peer in self._sources:
            self._sources[peer].rest_until = trio.current_time() + SECOND_OPINION_S

    # --- what becomes of a peer

    @property
    def _name(self) -> str:
        return self._sharing.partial.origin.filename

    def _is_quiet(self, peer: Peer) -> bool:
        return self._tools.peers.is_quiet(peer, trio.current_time())

    def _refused(self, peer: Peer, retry_after_s: float | None) -> None:
        now = trio.current_time()
        source = self._sources.get(peer)
        if source is None:
            return
        source.refused_since = source.refused_since if source.refused_since is not None else now
        pause_s = BUSY_PAUSE_S if retry_after_s is None else retry_after_s
        source.rest_until = now + pause_s * (0.5 + self._tools.dice.random())
        if source.rest_until - source.refused_since > self._tools.exchange.patience.no_progress_s:
            log.info("%s is too busy for %s", peer.address, self._name)
            self._sources.pop(peer, None)
            self._tools.peers.was_busy(peer, now)

    def _is_reachable(self, peer: Peer) -> bool:
        """A private file is asked for over TLS, of those who said where they speak it."""
        return not self._sealed or sealed_port(peer) != 0

    def _port_of(self, peer: Peer) -> int:
        return sealed_port(peer) if self._sealed else 0

    def _left(self, peer: Peer) -> None:
        """It is no source any more. If it reads the origin for us, or has it all, somebody else must."""
        self._sources.pop(peer, None)
        doubted = [device for device, one in self.addresses.items() if one is peer and device not in self._doubted]
        if doubted and not self._over:
            self._doubt(doubted)

    def _failed(self, peer: Peer, why: str) -> None:
        self._left(peer)
        if not self._is_quiet(peer):
            log.info("left %s alone: %s", peer.address, why, extra={"peer": str(peer.address), "file": self._name})
            self._tools.peers.failed(peer, why, trio.current_time())

    def _lied(self, peer: Peer, why: str) -> None:
        self._left(peer)
        refuse(self._tools, peer, self._sharing.sha256, self._name, why)


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of the origin; to the end of the file where end is None. insist: though others say that they have them."""

    start: int
    end: int | None
    insist: bool


class _Enough(Exception):
    """The rest of this run is here, or comes from others."""


def class_mask(klass: int, pieces: int) -> int:
    """The pieces of a class, a bitfield: each third one."""
    key = (klass, pieces)
    mask = _MASKS.get(key)
    if mask is None:
        if len(_MASKS) > _MASKS_MAX:
            _MASKS.clear()
        mask = _MASKS[key] = sum(1 << index for index in range(klass, pieces, CLASSES))
    return mask


def _mean(before_s: float, now_s: float) -> float:
    """A mean in which the last eight count most."""
    return now_s if before_s == 0.0 else before_s + (now_s - before_s) / 8


_MASKS: dict[tuple[int, int], int] = {}
_MASKS_MAX = 256


def _index(text: str, want: int, cut: Cut) -> int:
    index = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if not 0 <= index < cut.pieces or not want >> index & 1:
        raise RemoteProtocolError("a piece came that was not asked for")
    return index


def _only(group: BaseExceptionGroup[BaseException]) -> P2pcdnError:
    """The one error that ended a reading; a group of anything else is our bug and goes on."""
    errors: Collection[BaseException] = group.exceptions
    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            return _only(error)
        if isinstance(error, P2pcdnError):
            return error
    raise group
