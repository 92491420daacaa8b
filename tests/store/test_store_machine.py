"""Any order of keeping, growing, evicting, pinning, burying, closing and crashing agrees with a plain model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pcdn.digest import Sha256
from p2pcdn.store import Partial, Store
from tests.store.stores import MIB, WHEEL, HandClock, content_of, open_store

CONTENTS = [content_of(seed, size) for seed, size in enumerate((0, 10, 70_000, MIB, MIB + 1, 2 * MIB + 77))]
NUMBERS = st.integers(0, len(CONTENTS) - 1)


class StoreMachine(RuleBasedStateMachine):
    """Each rule is a life of the store: it opens, does one thing, and ends by a close or a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.kept: set[int] = set()
        self.pinned: set[int] = set()
        self.buried: set[int] = set()
        self.arrived: dict[int, int] = {}  # of each file, how many pieces the journal may know
        self.values: dict[str, bytes] = {}
        self.crash = False

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    def live(self, step) -> None:  # type: ignore[no-untyped-def]
        async def life() -> None:
            store = await open_store(self.directory / "store", clock=self.clock)
            try:
                await step(store)
            finally:
                store.abandon() if self.crash else await store.close()

        self.clock.time += 1
        trio.run(life)

    @rule(crash=st.booleans())
    def next_lives_end(self, crash: bool) -> None:
        self.crash = crash

    @rule(number=NUMBERS)
    def keep(self, number: int) -> None:
        async def step(store: Store) -> None:
            partial = await self.grow(store, number)
            for start, end in partial.missing():
                await partial.write(start, CONTENTS[number][start:end])
            await partial.finish()

        self.live(step)
        self.kept.add(number)
        self.arrived.pop(number, None)

    @rule(number=NUMBERS)
    def keep_small(self, number: int) -> None:
        if len(CONTENTS[number]) > 100_000:
            return

        async def step(store: Store) -> None:
            await store.keep_small(CONTENTS[number], WHEEL, expected=Sha256.of(CONTENTS[number]))

        self.live(step)
        self.kept.add(number)

    @rule(number=NUMBERS, start=st.integers(0, 3 * MIB), length=st.integers(1, 2 * MIB), provisional=st.booleans())
    def write_some(self, number: int, start: int, length: int, provisional: bool) -> None:
        async def step(store: Store) -> None:
            partial = await self.grow(store, number)
            content = CONTENTS[number]
            await partial.write(min(start, len(content)), content[start : start + length], provisional=provisional)
            self.arrived[number] = 0

        self.live(step)

    async def grow(self, store: Store, number: int) -> Partial:
        content = CONTENTS[number]
        partial = await store.grow(Sha256.of(content), len(content), WHEEL)
        for start, end in partial.present(provisional=True):
            assert await partial.file.pread(end - start, start) == content[start:end]
        return partial

    @rule(to_bytes=st.integers(0, 6 * MIB))
    def collect(self, to_bytes: int) -> None:
        async def step(store: Store) -> None:
            await store.collect(to_bytes)
            left = {row.sha256 for row in store.rows()}
            evicted = {number for number in self.kept if Sha256.of(CONTENTS[number]) not in left}
            assert not evicted & self.pinned
            self.kept -= evicted
            if store.summary().size_bytes > to_bytes:
                assert self.kept <= self.pinned
            # Partials that nobody grows may go too, the oldest first; each goes whole, with its journal.
            names = {path.name for path in (self.directory / "store" / "partials").iterdir()}
            for number in list(self.arrived):
                if (stem := Sha256.of(CONTENTS[number])) not in names:
                    assert f"{stem}.journal" not in names
                    del self.arrived[number]

        self.live(step)

    @rule(number=NUMBERS, pinned=st.booleans())
    def pin(self, number: int, pinned: bool) -> None:
        if number in self.kept:
            self.live(lambda store: store.pin(Sha256.of(CONTENTS[number]), pinned))
            (self.pinned.add if pinned else self.pinned.discard)(number)

    @rule(number=NUMBERS, buried=st.booleans(), value=st.binary(max_size=9))
    def bury(self, number: int, buried: bool, value: bytes) -> None:
        sha256 = [Sha256.of(CONTENTS[number])]
        change = {"bury": sha256} if buried else {"unearth": sha256}
        self.live(lambda store: store.change(values={("pages", str(number)): value}, **change))
        (self.buried.add if buried else self.buried.discard)(number)
        self.values[str(number)] = value

    @rule(number=NUMBERS)
    def drop(self, number: int) -> None:
        self.live(lambda store: store.drop(Sha256.of(CONTENTS[number])))
        self.kept.discard(number)
        self.pinned.discard(number)

    @rule()
    def verify(self) -> None:
        async def step(store: Store) -> None:
            report = await store.verify(lambda checked, of: None)
            assert (report.rotten, report.adopted, report.removed, report.rotten_values) == ([], 0, 0, 0)

        self.live(step)

    @invariant()
    def agrees(self) -> None:
        self.live(self.compare)

    async def compare(self, store: Store) -> None:
        rows = {row.sha256: row for row in store.rows()}
        assert set(rows) == {Sha256.of(CONTENTS[number]) for number in self.kept}
        for number in self.kept:
            sha256 = Sha256.of(CONTENTS[number])
            assert rows[sha256].pinned == (number in self.pinned)
            assert rows[sha256].buried == (number in self.buried)
            blob = store.blob(sha256)
            assert (blob is None) == (number in self.buried)
            if blob is not None:
                assert await blob.read() == CONTENTS[number]
        assert dict(store.values("pages")) == self.values
        summary = store.summary()
        assert (summary.blobs, summary.size_bytes) == (len(rows), sum(row.size_bytes for row in rows.values()))
        assert summary.partials == len(self.arrived)
        files = {path.name for path in (self.directory / "store" / "blobs").glob("*/*")}
        assert files == {row.name for row in rows.values() if not row.inline}


StoreMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestStoreMachine = StoreMachine.TestCase
