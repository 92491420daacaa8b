"""One store on a simulated disk: it keeps, resumes, drops and evicts while the power goes, and loses nothing it kept.

Four lives a seed. Each new life checks: what was acknowledged is there and whole; every row has its bytes; values are
as they were written. The last one scrubs, and finishes what was interrupted.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio
import trio.testing
from blake3 import blake3

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import DigestMismatch, NotFound, P2pcdnError, StoreStopped
from p2pcdn.store import Origin, Partial, Store, StoreLimits
from p2pcdn.store.layout import Layout
from simnet.campaigns.outcome import Outcome, repeatable
from simnet.campaigns.seeds import scratch
from simnet.disks.disk import SimDisk
from simnet.disks.disk_faults import fail_once
from simnet.disks.inode import Pool
from simnet.marks import sometimes
from simnet.scale import PIECE_SIZE_BYTES, small_store
from simnet.threads import SimThreads

Job = Callable[[Store, Sha256], Awaitable[None]]

LIVES = 4
# A life is short, so that work is often under way when the power goes.
THREAD_DELAY_S = (20e-6, 1e-3)
WORKERS = 3
ORIGIN = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "lan")
# A life ends after so long: opening a store takes some milliseconds, keeping a file some twenty.
LIFE_S = (0.002, 0.15)
# One a seed; in most of them only the power goes.
TROUBLES = ("", "", "", "", "sync", "sync", "write", "full", "rot", "evict")

MARKS = (
    "a power cut",
    "a kill",
    "the power went while the store was being opened",
    "a blob's file was there without its row after a start",
    "a blob whose row was not written yet was known by its journal",
    "an interrupted file was resumed with some of its pieces",
    "an fsync failed",
    "a write failed",
    "the disk was full",
    "a blob was evicted",
    "a blob was dropped",
    "wrong bytes of an origin were refused",
    "wrong bytes of a peer were replaced",
    "a reader who was shown a member's lie was broken off",
    "rot was found by the scrub",
    "the scrub took in a file without a row",
    "a small blob was kept in the catalog",
    "a withdrawn file came back",
)


@dataclass
class Known:
    """What the outside was told. Whatever is under way when the power goes may have happened or not."""

    contents: dict[Sha256, bytes]
    kept: set[Sha256] = field(default_factory=set)
    values: dict[str, set[bytes | None]] = field(default_factory=dict)
    buried: dict[Sha256, set[bool]] = field(default_factory=dict)
    pinned: set[Sha256] = field(default_factory=set)
    lied: set[Sha256] = field(default_factory=set)  # wrong bytes may be among its pieces
    vouched: set[Sha256] = field(default_factory=set)  # wrong bytes that an origin or a member vouched for
    rotten: set[Sha256] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


class Clock:
    """Goes with the virtual time, from a day in 2027."""

    def now(self) -> float:
        return 1_800_000_000.0 + trio.current_time()


def run(seed: int) -> Outcome:
    """One seed, in a directory and an event loop of its own."""
    directory = scratch()
    logger = logging.getLogger("p2pcdn.store")
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with repeatable(seed), small_store():
            story = Story(seed, directory)
            trio.run(story.tell, clock=trio.testing.MockClock(autojump_threshold=0))
        return Outcome(story.known.failures, story.digest.hexdigest(length=16))
    finally:
        logger.setLevel(logging.NOTSET)
        shutil.rmtree(directory)


@dataclass
class Life:
    """From the opening of a store to the moment when the power goes."""

    store: Store | None = None
    ended: bool = False

    def is_over(self) -> bool:
        return self.ended


class Story:
    """One seed. `tell` it once."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.dice = dice = random.Random(f"store-{seed}")
        self.digest = blake3()
        self.layout = Layout(directory / "store")
        sizes = [dice.randrange(1, 3_000), PIECE_SIZE_BYTES, *(dice.randrange(9_000, 120_000) for _ in "abc")]
        self.known = Known({Sha256.of(content): content for content in map(dice.randbytes, sizes)})
        self.busy: set[str] = set()
        self.scrubbed: set[Sha256] = set()  # what the scrub dropped
        self.trouble = dice.choice(TROUBLES)
        self.disk = SimDisk(
            random.Random(f"disk-{seed}"),
            pool=Pool(4096),
            rooms=[self.layout.blobs, self.layout.partials],
            ordered=dice.random() < 0.5,
            capacity_bytes=sum(sizes) // 2 if self.trouble == "full" else 1 << 30,
        )
        self.limits = StoreLimits(
            size_bytes=max(sizes) + 70_000 if self.trouble == "evict" else 1 << 30,
            keep_for_s=None,
            pages_bytes=1 << 20,
            reserve_bytes=0,
        )
        self.may_stop = self.trouble in ("sync", "write", "full")
        self.may_evict = self.trouble in ("evict", "full")

    async def tell(self) -> None:
        for _ in range(LIVES):
            self._arrange_trouble()
            await self._live()
            self.disk.faults.script = None
            if self.known.failures:
                return
        await self._last_life()

    def note(self, *words: object) -> None:
        """Into the digest, with the virtual time: two runs of a seed do the same at the same moments."""
        self.digest.update(f"{trio.current_time():.9f} {words} {self.disk.calls}\n".encode())

    def _arrange_trouble(self) -> None:
        nth = self.dice.randrange(1, 6)
        if self.trouble == "sync":
            self.disk.faults.script = fail_once(self.dice.choice(["fsync", "syncdir"]), nth)
        elif self.trouble == "write":
            self.disk.faults.script = fail_once(self.dice.choice(["pwrite", "create", "rename", "truncate"]), nth)

    # --- one life

    async def _live(self) -> None:
        life = Life()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end, life, nursery.cancel_scope)
            try:
                store = await self._open()
                if life.is_over():
                    store.abandon()  # it came too late: what it could not read any more it did without
                    return
                life.store = store
                self._check(store)
                async with trio.open_nursery() as workers:
                    for _ in range(WORKERS):
                        workers.start_soon(self._work, life, store)
            except (P2pcdnError, OSError) as error:
                # A disk that fails under the first calls is a sentence for the user, and the next start finds all.
                if not life.is_over() and not self.may_stop:
                    self.known.failures.append(f"the store could not be opened: {error!r}")
                nursery.cancel_scope.cancel()

    async def _open(self) -> Store:
        return await Store.open(
            self.layout.directory,
            disk=self.disk,
            threads=SimThreads(self.disk.life(), self.dice, delay_s=THREAD_DELAY_S),
            clock=Clock(),
            random=self.dice,
            limits=self.limits,
        )

    async def _end(self, life: Life, scope: trio.CancelScope) -> None:
        await trio.sleep(self.dice.uniform(*LIFE_S))
        life.ended = True
        sometimes("the power went while the store was being opened", life.store is None)
        if self.dice.random() < 0.8:
            self.disk.cut()
            sometimes("a power cut")
            if self.trouble == "rot":
                self._rot()
        else:
            self.disk.end_life()
            sometimes("a kill")
        if life.store is not None:
            life.store.abandon()
        self.note("end")
        scope.cancel()

    def _rot(self, within: str = "") -> None:
        where = self.disk.rot(within)
        if where is not None:
            self.known.rotten.update(sha256 for sha256 in self.known.contents if self._name(sha256) == where[0].name)

    def _check(self, store: Store) -> None:
        """The promises that hold at every start."""
        known = self.known
        rows = {row.sha256: row for row in store.rows()}
        for sha256 in known.kept - known.rotten - self.scrubbed - rows.keys():
            if not self.may_evict or sha256 in known.pinned:
                known.failures.append(f"{sha256[:8]} was acknowledged, and has no row after the restart")
        for sha256, row in rows.items():
            content = self.disk.content(self.layout.blob(row.name))
            if not row.inline and content != known.contents.get(sha256) and sha256 not in known.rotten:
                how = "no file" if content is None else "a wrong file"
                known.failures.append(f"{sha256[:8]} has a row and {how} after the restart")
        for key, allowed in known.values.items():
            if store.value("pages", key) not in allowed:
                known.failures.append(f"the value {key} is none of those that were written")
        for sha256, states in known.buried.items():
            if store.is_buried(sha256) not in states:
                known.failures.append(f"{sha256[:8]} was withdrawn, and is not after the restart")
        nameless = [path for path in self._blob_files() if path.name not in {row.name for row in rows.values()}]
        sometimes("a blob's file was there without its row after a start", nameless)
        sometimes("a blob whose row was not written yet was known by its journal", rows.keys() - known.kept)

    def _blob_files(self) -> Sequence[Path]:
        return [path for path in self.disk.paths() if path.is_relative_to(self.layout.blobs)]

    def _name(self, sha256: Sha256) -> BlobName:
        return BlobName.of(self.known.contents[sha256])

    # --- what a life does

    async def _work(self, life: Life, store: Store) -> None:
        jobs: Sequence[Job] = [self._grow, self._grow, self._read, self._keep_small, self._change, self._drop]
        while not life.is_over() and not self.known.failures:
            sha256 = self.dice.choice(list(self.known.contents))
            job = self.dice.choice([*jobs, self._evict] if self.may_evict else jobs)
            try:
                await job(store, sha256)
            except StoreStopped as error:
                if not life.is_over() and not self.may_stop:
                    self.known.failures.append(f"the store stopped without a fault of its disk: {error}")
                sometimes("the disk was full", self.trouble == "full")
                sometimes("an fsync failed", self.trouble == "sync" and not life.is_over())
                sometimes("a write failed", self.trouble == "write" and not life.is_over())
                await trio.sleep(0.005)
            except NotFound:
                dropped = self.may_evict or sha256 not in self.known.kept or sha256 in self.known.rotten
                if not life.is_over() and not dropped:
                    self.known.failures.append(f"{sha256[:8]} was there, and could not be opened")
            except (P2pcdnError, OSError):
                if not life.is_over():
                    raise
            self.note(job.__name__, sha256[:8])

    @contextmanager
    def _alone(self, what: str) -> Iterator[bool]:
        """One at a time fills or drops a file, or writes a value, as in a node."""
        free = what not in self.busy
        self.busy.add(what)
        try:
            yield free
        finally:
            if free:
                self.busy.discard(what)

    async def _grow(self, store: Store, sha256: Sha256) -> None:
        with self._alone(sha256) as free:
            if free:
                await self._fill(
                    store, sha256, self.dice.choice(["", "", "", "origin lies", "peer lies", "member lies"])
                )

    async def _fill(self, store: Store, sha256: Sha256, lie: str) -> None:
        content, known, generation = self.known.contents[sha256], self.known, self.disk.generation
        partial = await store.grow(sha256, self.dice.choice([None, len(content)]), ORIGIN)
        sometimes("an interrupted file was resumed with some of its pieces", partial.present(provisional=True))
        if partial.size_bytes is None:
            partial.set_size(len(content))
        chunks = self._chunks(partial, content)
        right = chunks[:1]
        if lie and chunks:
            at, chunk = chunks[0]
            chunks[0] = at, bytes([chunk[0] ^ 1]) + chunk[1:]
            known.lied.add(sha256)
            if lie != "peer lies":
                known.vouched.add(sha256)
        try:
            for number, (at, chunk) in enumerate(chunks):
                of_peer = lie in ("peer lies", "member lies") if number == 0 else self.dice.random() < 0.3
                vouched = lie == "member lies" if number == 0 else self.dice.random() < 0.5
                await partial.write(at, chunk, provisional=of_peer, vouched=of_peer and vouched)
            if lie == "member lies" and self.dice.random() < 0.7:
                for at, chunk in right:
                    await partial.write(at, chunk)  # the origin's word comes later than the member's
            await partial.finish()
        except DigestMismatch as error:
            if sha256 not in known.lied:
                known.failures.append(f"honest bytes were refused: {error}")
            if not partial.is_provisional():
                # It stays among those lied about: the power may bring the partial back whose names are just gone.
                sometimes("wrong bytes of an origin were refused")
                return
            if partial.has_shown_unproven():
                sometimes("a reader who was shown a member's lie was broken off")
                partial.fail(error)
                return
            await partial.forget_provisional()
            for at, chunk in self._chunks(partial, content):
                await partial.write(at, chunk)
            try:
                await partial.finish()
            except DigestMismatch:
                return  # the origin had lied too, in this life or before
            sometimes("wrong bytes of a peer were replaced")
        known.kept.add(sha256)
        known.lied.discard(sha256)
        known.vouched.discard(sha256)
        if self.disk.generation == generation:
            known.rotten.discard(sha256)

    def _chunks(self, partial: Partial, content: bytes) -> list[tuple[int, bytes]]:
        size = self.dice.randrange(3_000, 20_000)
        chunks = [
            (at, content[at : min(at + size, end)])
            for start, end in partial.missing()
            for at in range(start, end, size)
        ]
        if self.dice.random() < 0.5:
            self.dice.shuffle(chunks)
        return chunks

    async def _read(self, store: Store, sha256: Sha256) -> None:
        """What a client gets, while the file grows or afterwards; complete is right."""
        growing = store.running(sha256)
        if growing is None:
            blob = store.blob(sha256)
            right = blob is None or await blob.read() == self.known.contents[sha256]
            if not right and sha256 not in self.known.rotten:
                self.known.failures.append(f"{sha256[:8]} was read to its end with wrong bytes")
            await trio.sleep(0.001)
            return
        content = b""
        try:
            with growing.reader() as file:
                while len(content) != growing.size_bytes:  # as a client that was told the Content-Length
                    until = await growing.readable(len(content))
                    content += await file.pread(until - len(content), len(content))
                    if not self.known.contents[sha256].startswith(content) and sha256 not in self.known.vouched:
                        self.known.failures.append(f"{sha256[:8]}: bytes of a liar went out before the proof")
                        return
        except DigestMismatch:
            return
        if content != self.known.contents[sha256]:
            self.known.failures.append(f"{sha256[:8]} was followed to its end with wrong bytes")

    async def _keep_small(self, store: Store, sha256: Sha256) -> None:
        content = self.known.contents[sha256]
        with self._alone(sha256) as free:
            if free and len(content) < 3_000:
                await store.keep_small(content, ORIGIN, expected=sha256)
                self.known.kept.add(sha256)
                sometimes("a small blob was kept in the catalog")

    async def _change(self, store: Store, sha256: Sha256) -> None:
        key = self.dice.choice("xyz")
        new = self.dice.choice([None, self.dice.randbytes(self.dice.randrange(2_000))])
        with self._alone(sha256) as free, self._alone(key) as key_free:
            if not free or not key_free:
                return
            buries = self.dice.random() < 0.5
            allowed = self.known.values.setdefault(key, {None})
            states = self.known.buried.setdefault(sha256, {False})
            allowed.add(new)
            states.add(buries)
            which = {"bury": [sha256]} if buries else {"unearth": [sha256]}
            await store.change(values={("pages", key): new}, **which)
            allowed.intersection_update({new})
            states.intersection_update({buries})
            sometimes("a withdrawn file came back", not buries)

    async def _drop(self, store: Store, sha256: Sha256) -> None:
        with self._alone(sha256) as free:
            if free:
                self.known.kept.discard(sha256)
                self.known.pinned.discard(sha256)
                await store.drop(sha256)
                sometimes("a blob was dropped")

    async def _evict(self, store: Store, sha256: Sha256) -> None:
        with self._alone(sha256) as free:
            if free and store.holds(sha256) and self.dice.random() < 0.3:
                self.known.pinned.discard(sha256)
                pinned = self.dice.random() < 0.7
                await store.pin(sha256, pinned)
                if pinned and sha256 in self.known.kept:
                    self.known.pinned.add(sha256)
        freed = await store.collect(self.dice.randrange(100_000))
        sometimes("a blob was evicted", freed.blobs)

    # --- the end

    async def _last_life(self) -> None:
        self.disk.capacity_bytes = 1 << 30
        self.limits = replace(self.limits, size_bytes=1 << 30)
        self.may_evict = self.may_evict or self.trouble == "full"
        if self.trouble == "rot":
            self._rot("/blobs/")
        store = await self._open()
        self._check(store)
        report = await store.verify(lambda checked, of: None)
        rotten = {row.sha256 for row in report.rotten}
        if rotten - self.known.rotten:
            self.known.failures.append(f"the scrub found {len(rotten - self.known.rotten)} blobs rotten that were not")
        sometimes("rot was found by the scrub", rotten)
        self.scrubbed, self.known.rotten = rotten, set()
        self._check(store)
        sometimes("the scrub took in a file without a row", report.adopted)
        names = {row.name for row in store.rows()}
        if strangers := [path for path in self._blob_files() if path.name not in names]:
            self.known.failures.append(f"{len(strangers)} files of blobs have no row after the scrub")
        await store.change(unearth=self.known.contents)
        for sha256, content in self.known.contents.items():
            await self._fill(store, sha256, "")
            if not store.holds(sha256):
                await self._fill(store, sha256, "")  # lies of a former life were among its pieces, and are gone now
            blob = store.blob(sha256)
            if blob is None or await blob.read() != content:
                self.known.failures.append(f"{sha256[:8]} is not whole at the end")
        await store.close()
        if left := [path for path in self.disk.paths() if path.is_relative_to(self.layout.partials)]:
            self.known.failures.append(f"{len(left)} files of partials are left")
        self.note("close")
