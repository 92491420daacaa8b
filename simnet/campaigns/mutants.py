"""Seeded bugs of the product: `python -m simnet mutants` shows that the checkers of the fault scenarios catch each.

A mutant is a patch from outside, for the time of some seeds; the product's files know nothing of it. One that no seed
catches is a hole in the net: in the scenarios, or in what they check.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.fetch import OriginReader, deliver
from p2pcdn.fetch.filling import Filling
from p2pcdn.store import arrivals, verify
from p2pcdn.store.arrivals import Arrivals
from p2pcdn.store.blob import Blob
from p2pcdn.store.blob_table import delete_row, put_row
from p2pcdn.store.journal import Past, Piece
from p2pcdn.store.partial import Partial
from p2pcdn.store.rows import BlobRow
from p2pcdn.store.shelves import Shelves
from p2pcdn.store.store import Store
from p2pcdn.swarm.advising import crowd, leases
from p2pcdn.swarm.advising.leases import Leases
from p2pcdn.swarm.advising.member import Member
from p2pcdn.swarm.filling import holders
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.neighbours.exchange import Exchange
from p2pcdn.swarm.pieces.arrival import Arrival
from p2pcdn.world import DiskFile, Threads
from p2pcdn_daemon.upstream import outages
from p2pcdn_daemon.upstream.upstream import HttpxUpstream
from simnet.campaigns.campaign import scenario
from simnet.campaigns.seeds import run_seeds

SEEDS_MAX = 60

Patch = tuple[object, str, object]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug: what is wrong, the scenario that must notice, and what is put in the product's place.

    first: where the hunt begins; for what is rare, not far from a seed that came to it.
    """

    name: str
    scenario: str
    patches: Sequence[Patch]
    first: int = 0

    @contextmanager
    def planted(self) -> Iterator[None]:
        before = [(target, name, getattr(target, name)) for target, name, _ in self.patches]
        try:
            for target, name, value in self.patches:
                setattr(target, name, value)
            yield
        finally:
            for target, name, value in before:
                setattr(target, name, value)


@dataclass(frozen=True, slots=True)
class Catch:
    """The first seed that noticed, None for none; how many ran; the first sentence that it said.

    fits: whether the product can still be given that bug; else its patch only breaks things.
    """

    mutant: Mutant
    seed: int | None
    seeds: int
    sentence: str

    @property
    def fits(self) -> bool:
        return not any(word in self.sentence for word in ("TypeError", "AttributeError", "NameError"))


def hunt(mutant: Mutant, seeds_max: int = SEEDS_MAX, first: int | None = None) -> Catch:
    """Runs seeds until one notices."""
    run, _ = scenario(mutant.scenario)
    first = mutant.first if first is None else first
    with mutant.planted():
        for told in run_seeds(run, range(first, first + seeds_max)):
            if told.outcome.failures:
                return Catch(mutant, told.seed, told.seed - first + 1, told.outcome.failures[0])
    return Catch(mutant, None, seeds_max, "")


def main(arguments: Sequence[str]) -> int:
    """The command; 1 where a mutant got away."""
    parser = argparse.ArgumentParser(prog="python -m simnet mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name has one of these in it")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"at most so many for each (default {SEEDS_MAX})")
    parser.add_argument("--from", dest="first", type=int, metavar="SEED")
    wanted = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if not wanted.words or any(word in one.name for word in wanted.words)]
    escaped = 0
    for mutant in chosen:
        catch = hunt(mutant, wanted.seeds, wanted.first)
        if not catch.fits:
            escaped += 1
            print(f"DOES NOT FIT the product any more: {mutant.name}\n  {catch.sentence}", flush=True)
        elif catch.seed is None:
            escaped += 1
            print(f"NOT CAUGHT by {catch.seeds} seeds of {mutant.scenario}: {mutant.name}", flush=True)
        else:
            print(f"caught by seed {catch.seed} of {mutant.scenario}: {mutant.name}\n  {catch.sentence}", flush=True)
    print(f"{len(chosen) - escaped} of {len(chosen)} mutants caught")
    return 1 if escaped else 0


# --- the store


async def _no_fsync(self: Arrivals, partial: Partial) -> None:
    if partial.file.size_bytes() != partial.size_bytes:
        await partial.file.truncate(partial.size_bytes or 0)


async def _fsync_again(self: Arrivals, partial: Partial) -> None:
    for _ in range(2):
        try:
            await partial.file.fsync()
            return
        except OSError:
            continue


async def _unsynced_name(self: Shelves, path: Path, name: BlobName) -> None:
    shelf = self.layout.shelf(name)
    await self.disk.make_directory(shelf)
    await self.disk.sync_directory(self.layout.blobs)
    await self.disk.rename(path, self.layout.blob(name))


async def _unsynced_shelf(self: Shelves, path: Path, name: BlobName) -> None:
    shelf = self.layout.shelf(name)
    await self.disk.make_directory(shelf)
    await self.disk.rename(path, self.layout.blob(name))
    await self.disk.sync_directory(shelf)


async def _row_first(self: Arrivals, partial: Partial, name: BlobName, sha256: Sha256) -> Blob:
    now = self.clock.now()
    row = BlobRow(name, sha256, partial.size_bytes or 0, partial.origin, now, now)
    kept = await self._table.write(lambda rows: put_row(rows, row), sha256)
    await self._sync(partial)
    try:
        await self._shelves.put(self._layout.partial(partial.stem), name)
        await self._disk.unlink(self._layout.journal(partial.stem))
    except OSError as error:
        raise self.failed(error) from error
    return Blob(kept, None, self._shelves)


async def _row_later(self: Arrivals, partial: Partial, name: BlobName, sha256: Sha256) -> Blob:
    now = self.clock.now()
    row = BlobRow(name, sha256, partial.size_bytes or 0, partial.origin, now, now)
    await self._sync(partial)
    try:
        await self._shelves.put(self._layout.partial(partial.stem), name)
        await self._disk.unlink(self._layout.journal(partial.stem))
    except OSError as error:
        raise self.failed(error) from error

    async def write() -> None:
        await self._table.write(lambda rows: put_row(rows, row), sha256)

    self.start_task(write)
    return Blob(row, None, self._shelves)


async def _any_content(self: Partial, got: Sha256) -> None:
    return


_write = Partial.write


async def _write_as_proven(self: Partial, offset: int, content: Any, **_: bool) -> None:
    await _write(self, offset, content)


async def _anything_over(self: Partial, octets: memoryview, offset: int) -> None:
    return


async def _believed_pieces(file: DiskFile, past: Past, threads: Threads) -> list[Piece]:
    return list(past.pieces.values())


async def _file_before_row(self: Store, sha256: Sha256) -> None:
    row = self._table.row(sha256)
    if row is not None and not row.inline:
        await self._shelves.remove([row.name])
    await self._table.write(lambda rows: delete_row(rows, bytes.fromhex(sha256)), sha256)


async def _always_right(*_: object) -> bool:
    return True


async def _waits_for_itself(self: Arrivals, touched_before: float, excess_bytes: int) -> int:
    freed = 0
    for stem, idle in sorted(self.idle.items(), key=lambda pair: pair[1].touched_at):
        if idle.touched_at < touched_before or freed < excess_bytes:
            async with self._turns.setdefault(stem, trio.Lock()):
                if self.idle.pop(stem, None) is not None:
                    await self._remove_files(stem)
                    freed += idle.size_bytes
    return freed


async def _buries_nothing(self: Store, **changes: Any) -> None:
    changes.pop("bury", None)
    await _change(self, **changes)


_change: Callable[..., Awaitable[None]] = Store.change

# --- the swarm, the upstream, the delivery


def _any_piece(*_: object) -> bool:
    return True


_grew: Callable[[Arrival, memoryview], bool] = Arrival.grew


def _any_part(self: Arrival, body: memoryview) -> bool:
    before = self.right
    with suppress(RemoteProtocolError):
        _grew(self, body)
    self.right = sum(end <= len(body) for _, end in self._spans)
    return self.right > before


_exchange: Callable[..., None] = Exchange.__init__


def _patient_exchange(self: Exchange, network: Any, patience: Any, *more: Any, **settings: Any) -> None:
    _exchange(self, network, replace(patience, no_progress_s=1e6), *more, **settings)


_httpx_upstream: Callable[..., None] = HttpxUpstream.__init__


def _patient_upstream(self: HttpxUpstream, settings: Any, **more: Any) -> None:
    _httpx_upstream(self, settings, **{**more, "patience": outages.Patience(1e6, 1e6, 1e6)})


async def _only_from_the_room(self: Filling, wanted: Any, partial: Partial, alone: trio.Event) -> None:
    if not await self._from_room(wanted, partial, alone):
        raise Unavailable("the room does not have it")


async def _drain_askew(self: OriginReader, wanted: Any, response: Any, sink: Any, reading: Any) -> None:
    """What a server without Range sends again from the start is taken for the rest."""
    async for chunk in response.body:
        fresh = chunk if reading.end is None else chunk[: reading.end - reading.at]
        await sink(reading.at, fresh)
        reading.at += len(fresh)


def _grants_all(self: Leases, member: Member, now: float) -> bool:
    if member.boot not in self.held:
        self._give(member, now)
    return True


def _no_check(wanted: Any, got: Sha256) -> None:
    return


STORE, FIVE, SILENCE, DEATH = "faults-store", "faults", "faults-silence", "reader-dies"
MUTANTS: tuple[Mutant, ...] = (
    Mutant("a blob's file is not synced before it gets its name", STORE, [(Arrivals, "_sync", _no_fsync)]),
    Mutant("an fsync that failed is tried again, and believed", STORE, [(Arrivals, "_sync", _fsync_again)]),
    Mutant("a blob's new name is not synced", STORE, [(Shelves, "put", _unsynced_name)]),
    Mutant("a new shelf's own name is not synced", STORE, [(Shelves, "put", _unsynced_shelf)]),
    Mutant("the row is written before the file has its name", STORE, [(Arrivals, "keep", _row_first)]),
    Mutant("the row is written after the acknowledgement", STORE, [(Arrivals, "keep", _row_later)]),
    Mutant("the sha256 at the end is not looked at", STORE, [(Partial, "_refuse_content", _any_content)]),
    Mutant("no tail is held back from readers", STORE, [(Partial, "_open_end", lambda self: self.size_bytes or 0)]),
    Mutant("a peer's bytes go out before the proof", STORE, [(Partial, "write", _write_as_proven)]),
    Mutant(
        "the journal is believed without looking at the bytes",
        STORE,
        [(arrivals, "verified_pieces", _believed_pieces)],
        80,
    ),
    Mutant(
        "other bytes come over those that were shown", STORE, [(Partial, "_refuse_other_than_shown", _anything_over)]
    ),
    Mutant("a file is deleted before its row", STORE, [(Store, "drop", _file_before_row)]),
    Mutant("the scrub does not hash", STORE, [(verify, "_is_right", _always_right)]),
    Mutant("who needs room waits for itself", STORE, [(Arrivals, "drop_idle", _waits_for_itself)]),
    Mutant("a withdrawal is forgotten", STORE, [(Store, "change", _buries_nothing)]),
    Mutant("a whole node does not sync a blob's file", FIVE, [(Arrivals, "_sync", _no_fsync)]),
    Mutant("a whole node does not sync a blob's name", FIVE, [(Shelves, "put", _unsynced_name)]),
    Mutant("a node does not look at the sha256 at the end", FIVE, [(Partial, "_refuse_content", _any_content)]),
    Mutant("a peer's bytes reach clients before the proof", FIVE, [(Partial, "write", _write_as_proven)], 100),
    Mutant(
        "pieces of peers are not checked",
        FIVE,
        [(Belief, "takes_piece", _any_piece), (Arrival, "grew", _any_part)],
        40,
    ),
    Mutant(
        "a silent neighbour is waited for",
        SILENCE,
        [(Exchange, "__init__", _patient_exchange), (holders, "HOLD_OFF_S", 1e9)],
    ),
    Mutant("a silent upstream is waited for", FIVE, [(HttpxUpstream, "__init__", _patient_upstream)]),
    Mutant("what the room does not give is not asked of the upstream", FIVE, [(Filling, "fill", _only_from_the_room)]),
    Mutant("everybody reads the upstream", FIVE, [(Leases, "grant", _grants_all)]),
    Mutant("a lease never moves", DEATH, [(leases, "LEASE_S", 1e9), (crowd, "SILENT_S", 1e9)]),
    Mutant("a cut download goes on at the wrong place", FIVE, [(OriginReader, "_drain", _drain_askew)], 200),
    Mutant("what passes through unkept is not checked", FIVE, [(deliver, "_check", _no_check)], 20),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
