"""Our turn to read the origin for the room: which part of it, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.swarm.filling.reading import Reading, ReadOrigin
from p2pcdn.swarm.pieces.manifest import Cut
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice

# Pieces that are about to come from the origin are not asked of others.
READ_AHEAD_PIECES = 8


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of the origin; to the end of the file where end is None. insist: though others say that they have them."""

    start: int
    end: int | None
    insist: bool


class _Enough(Exception):
    """The rest of this run is here, or comes from others."""


class Turn:
    """One download's. `read` runs once at a time, while it is ours. ahead: the pieces about to come, a bitfield."""

    def __init__(self, sharing: Sharing, tools: Tools, read_origin: ReadOrigin | None) -> None:
        """read_origin: None where this node cannot read it."""
        self._sharing = sharing
        self._tools = tools
        self._read_origin = read_origin
        self._advice = Advice()
        self.ours = False
        self.running = False
        self.ahead = 0
        self._piece: int | None = None  # that comes now: what is begun is read to its end

    @property
    def able(self) -> bool:
        return self._read_origin is not None

    def follow(self, advice: Advice) -> None:
        """What the tracker says: whether it is our turn, where to begin, what others have."""
        self._advice = advice
        self.ours = advice.read

    def give_up(self) -> None:
        """We cannot read it after all."""
        self._read_origin = None
        self.ours = False

    def has_work(self, *, stalled: bool) -> bool:
        return self._next_run(stalled) is not None

    async def read(self, is_stalled: Callable[[], bool]) -> None:
        """Reads what nobody has, run by run, while it is our turn. Raises what the origin says, and StoreStopped."""
        reading = Reading(self._sharing, self._tools.identity, self._tools.threads)
        failed: P2pcdnError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_when_not_ours, nursery.cancel_scope)
                try:
                    await self._read_runs(reading, is_stalled)
                except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                    failed = error
                nursery.cancel_scope.cancel()
        finally:
            self.ahead = 0
        if failed is not None:
            raise failed

    async def _read_runs(self, reading: Reading, is_stalled: Callable[[], bool]) -> None:
        while (run := self._next_run(is_stalled())) is not None:
            ended = False
            try:
                await self._read_run(reading, run)
                ended = True
            except _Enough:
                pass
            finally:
                with trio.CancelScope(shield=True):
                    await reading.flush()
            self._sharing.learn_size(self._sharing.partial.present_bytes())  # where nobody said it before the end
            if ended:
                self._refuse_short(run)

    async def _read_run(self, reading: Reading, run: _Run) -> None:
        async def take(at: int, content: bytes) -> None:
            await reading.write(at, content)
            self._go_on_while_needed(at + len(content), run)

        assert self._read_origin is not None
        self._piece = None
        self._go_on_while_needed(run.start, run)
        await self._read_origin(run.start, run.end, take)

    def _refuse_short(self, run: _Run) -> None:
        """An upstream that ends well before the file does would be read for ever."""
        cut = self._sharing.cut
        if cut is not None and self._sharing.missing >> run.start // cut.piece_size_bytes & 1:
            name = self._sharing.partial.origin.filename
            raise RemoteProtocolError(f"The upstream gave fewer bytes of {name} than its index says.")

    def _next_run(self, stalled: bool) -> _Run | None:
        """The next pieces that neither we nor, as the tracker says, anybody else has.

        What others have comes from them; where it does not, it is read after all.
        """
        cut = self._sharing.cut
        if cut is None:
            return _Run(0, None, insist=False)
        missing = self._sharing.missing
        todo = missing & ~self._held_by_others(cut)
        insist = not todo and stalled
        if insist:
            todo = missing
        if not todo:
            return None
        before_our_part = int(cut.pieces * self._advice.part)
        first = bitfield.lowest(todo >> before_our_part << before_our_part or todo)
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
        self.ahead = ((1 << READ_AHEAD_PIECES) - 1) << index & bitfield.all_of(cut.pieces)
        there = self._sharing.here if run.insist else self._sharing.here | self._held_by_others(cut)
        if index != self._piece and index < cut.pieces and there >> index & 1:
            raise _Enough
        self._piece = index

    def _held_by_others(self, cut: Cut) -> int:
        try:
            return bitfield.decode(self._advice.held, cut.pieces) if self._advice.held else 0
        except RemoteProtocolError:
            return 0

    async def _stop_when_not_ours(self, scope: trio.CancelScope) -> None:
        while self.ours:
            await self._sharing.changed.park()
        scope.cancel()
