"""Gives a solver what it needs, and fetches beside that what it is likely to need next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile, Vcs
from p2pcdn.errors import NotFound, P2pcdnError, Unavailable
from p2pcdn.fetch import Wanted, digest_of
from p2pcdn.lock.ahead import Ahead
from p2pcdn.lock.facts import NO_MAKERS, Facts, Listed, Makers
from p2pcdn.lock.kept_files import NO_FILES, Files
from p2pcdn.lock.looked import NOTHING_LOOKED_AT, Looked
from p2pcdn.resolve import Keys, Need, Source, Target, to_plain
from p2pcdn.simple import File

# More at once bring less: the tails of 150 wheels came at 82, 99, 76 and 26 a second over 8, 16, 24 and 50 connections
# (TLS, two busy cores). What is needed goes first; what is only likely has fewer places of its own, so that it never
# stands in the way.
NEEDED_AT_ONCE_MAX = 16
LIKELY_AT_ONCE_MAX = 8
# What a session fetched ahead and nobody has asked for yet: then guessing stops for a while.
LIKELY_WAITING_MAX = 500

# So much is looked up in the store, some 0.1 ms each, before other tasks have their turn.
LOOKED_UP_AT_ONCE = 32

Key = str | Source
K = TypeVar("K", str, Source)


class Feed:
    """What one session of a solver was told, and what is on its way. Used by one task; `open_feed` makes it."""

    def __init__(self, facts: Facts, nursery: trio.Nursery, makers: Makers, ahead: Ahead | None) -> None:
        self._facts = facts
        self._makers = makers
        self._ahead = ahead
        self._nursery = nursery
        self._needed = trio.CapacityLimiter(NEEDED_AT_ONCE_MAX)
        self._likely = trio.CapacityLimiter(LIKELY_AT_ONCE_MAX)
        self._coming: dict[Key, trio.CancelScope] = {}
        self._urgent: set[Key] = set()  # of those that are on their way
        self._come: dict[Key, bytes | P2pcdnError] = {}
        self._told: set[Key] = set()
        self._more = trio.Event()
        self._files: dict[tuple[str, str], Files] = {}
        self._looked: dict[str, Looked] = {}  # by project, as it was before
        self._told_of: dict[str, list[str]] = {}  # versions by project, which were not among it
        self.places: dict[str, LockedFile | Directory | Vcs] = {}  # by direct URL
        self.pages: dict[str, Listed | None] = {}  # those that the solver was told of, by project
        # Why versions count as broken of which other metadata came than their index names.
        self.spoilt: dict[Source, str] = {}

    async def get(self, need: Need) -> tuple[list[bytes], list[list[Any]]]:
        """Waits until something that is needed has come, and gives it with all else that has.

        Tables as they are kept; metadata as [source, the rest]. Raises Unavailable, Refused for what is needed.
        """
        needed: list[Key] = [*need.tables, *need.metadata]
        likely: list[Key] = [*need.likely_tables, *need.likely_metadata]
        for key in needed:
            self._start(key, self._needed)
        for key in likely:
            if len(self._coming) + len(self._come) < LIKELY_WAITING_MAX:
                self._start(key, self._likely)
        while not any(key in self._come for key in needed):
            self._more = trio.Event()
            await self._more.wait()
        return self._hand_over(needed)

    def stands_on(self, target: Target, decided: Sequence[Source]) -> None:
        """The search for this target stands on these versions: what will be installed may be fetched beside it."""
        if self._ahead is not None:
            for source, listed in self._without_files(decided):
                self._learn_files(source, self._facts.files_at_hand(listed, source.version))
            for wanted in self._ahead.next(target, decided, self):
                self._nursery.start_soon(self._ahead.begin, wanted)

    async def get_all(
        self, projects: Iterable[str], versions: Keys, *, fetched_max: int
    ) -> tuple[dict[str, bytes], dict[str, dict[str, bytes]]]:
        """The tables of these projects, and the metadata of just these versions of them, as they are kept. Raises what
        is the matter with one of them, and Unavailable where more than `fetched_max` would have to be fetched.
        """
        # Whether metadata is kept is known where its page is.
        tables, fetched = await self._all(projects, fetched_max)
        metadata: dict[str, dict[str, bytes]] = {}
        others: list[Source] = []
        for project, some in versions.items():  # thousands, of a few rows
            known = self._looked_at(project).metadata
            metadata[project] = {version: known[version] for version in some if version in known}
            if len(metadata[project]) < len(some):
                others += [Source(project, version) for version in some if version not in known]
        of_others, _ = await self._all(others, fetched_max - fetched)
        for source, said in of_others.items():
            metadata[source.project][source.version] = said
            self._note(source)
        return tables, metadata

    async def _all(self, keys: Iterable[K], fetched_max: int) -> tuple[dict[K, bytes], int]:
        """And how many of them had to be fetched."""
        fetched, found = 0, {}
        wanted = dict.fromkeys(keys)
        for number, key in enumerate(wanted):
            self._start(key, self._needed)
            fetched += key in self._coming
            if fetched > fetched_max:
                raise Unavailable("more things would have to be fetched than it is worth")
            if number % LOOKED_UP_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        while wanted:
            self._more = trio.Event()
            for key in [key for key in wanted if key in self._come]:
                del wanted[key]
                outcome = self._come.pop(key)
                if isinstance(outcome, P2pcdnError):
                    raise outcome
                found[key] = outcome
            if wanted:
                await self._more.wait()
        return found, fetched

    def _hand_over(self, needed: list[Key]) -> tuple[list[bytes], list[list[Any]]]:
        tables, metadata = [], []
        for key, outcome in self._come.items():
            if isinstance(outcome, P2pcdnError):
                if key in needed:
                    raise outcome
                continue  # it was a guess; who really needs it asks again
            self._told.add(key)
            if isinstance(key, Source):
                metadata.append([to_plain(key), outcome])
                self._note(key)
            else:
                tables.append(outcome)
        self._come.clear()
        return tables, metadata

    def _looked_at(self, project: str) -> Looked:
        known = self._looked.get(project)
        if known is None:
            listed = self.pages.get(project)
            if listed is None:
                return NOTHING_LOOKED_AT  # until its page is known
            known = self._looked[project] = self._facts.looked_at(listed)
        return known

    def _note(self, source: Source) -> None:
        if source.version not in self._looked.get(source.project, NOTHING_LOOKED_AT).metadata and not source.url:
            self._told_of.setdefault(source.project, []).append(source.version)

    async def keep_looked_at(self) -> None:
        """For the locks to come."""
        for project, versions in self._told_of.items():
            if (listed := self.pages.get(project)) is not None:
                await self._facts.note_looked_at(listed, {one: self.files(listed, one) for one in versions})

    def _start(self, key: Key, limiter: trio.CapacityLimiter) -> None:
        urgent = limiter is self._needed
        if key in self._told or key in self._come:
            return
        if key not in self._coming and (known := self._at_hand(key)) is not None:
            self._come[key] = known
            return
        if (scope := self._coming.get(key)) is not None:
            if not urgent or key in self._urgent:
                return
            scope.cancel()  # a guess that waits for its turn; now it is needed
        scope = self._coming[key] = trio.CancelScope()
        if urgent:
            self._urgent.add(key)
        self._nursery.start_soon(self._fetch, key, scope, limiter)

    def _at_hand(self, key: Key) -> bytes | None:
        """What needs no waiting needs no task: most of it, once a project was locked."""
        if isinstance(key, Source):
            listed = self.pages.get(key.project)
            if key.url or listed is None:
                return None
            if (known := self._looked_at(key.project).metadata.get(key.version)) is not None:
                return known
            if (key.project, key.version) not in self._files:
                self._learn_files(key, self._facts.files_at_hand(listed, key.version))
            return self._facts.metadata_at_hand(listed, self.files(listed, key.version))
        at_hand = self._facts.table_at_hand(key)
        if at_hand is None:
            return None
        octets, self.pages[key] = at_hand
        return octets

    async def _fetch(self, key: Key, scope: trio.CancelScope, limiter: trio.CapacityLimiter) -> None:
        fetch: Callable[[], Awaitable[bytes]]
        fetch = partial(self._metadata, key) if isinstance(key, Source) else partial(self._table, key)
        outcome: bytes | P2pcdnError | None = None
        with scope:
            async with limiter:
                try:
                    outcome = await fetch()
                except P2pcdnError as error:
                    outcome = error
        if outcome is None or self._coming.get(key) is not scope:
            return
        del self._coming[key]
        self._urgent.discard(key)
        self._come[key] = outcome
        self._more.set()

    async def _table(self, project: str) -> bytes:
        octets, listed = await self._facts.table(project)
        self.pages[project] = listed
        return octets

    async def _metadata(self, source: Source) -> bytes:
        if source.url:
            octets, place = await self._facts.at_url(source, self._makers.of_url)
            if place is not None:
                self.places[source.url] = place
            return octets
        if self.pages.get(source.project) is None:
            await self._table(source.project)
        listed = self.pages[source.project]
        if listed is None:
            raise NotFound(f"No configured index has a project named {source.project}.")
        if (source.project, source.version) not in self._files:
            self._learn_files(source, await self._facts.files(listed, source.version))
        files = self.files(listed, source.version)
        return await self._facts.metadata_of(source, listed, files, self._makers.of_sdist, self.spoilt)

    def _learn_files(self, source: Source, by_version: Mapping[str, Files] | None) -> None:
        """by_version: of this source and of those that are kept beside it; None where that is not known yet."""
        if by_version is not None:
            self._files |= {(source.project, version): files for version, files in by_version.items()}
            self._files.setdefault((source.project, source.version), NO_FILES)

    def files(self, listed: Listed, version: str) -> Files:
        """The files of one version of a page, first the one whose metadata speaks for it; none before that was asked.
        For any thread.
        """
        known = self._files.get((listed.project, version))
        return known or self._looked.get(listed.project, NOTHING_LOOKED_AT).files.get(version, NO_FILES)

    async def read_files(self, sources: Iterable[Source]) -> None:
        """So that the files of these are known. Raises as `Facts.files` does."""
        for source, listed in self._without_files(sources):
            self._learn_files(source, await self._facts.files(listed, source.version))

    def _without_files(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Listed]]:
        """Those of an index whose files are not known, as their metadata came out of a row without them."""
        for source in sources:
            listed = self.pages.get(source.project)
            if listed is not None and not source.url and not self.files(listed, source.version):
                yield source, listed

    def lists(self, listed: Listed, version: str) -> bool:
        """Whether the page has files of this version, which was asked for."""
        return version in self._looked.get(listed.project, NOTHING_LOOKED_AT).metadata or bool(
            self.files(listed, version)
        )

    def have_wheels(self, listed: Listed, versions: Collection[str]) -> bool:
        """Whether each of these versions has one."""
        looked = self._looked.get(listed.project, NOTHING_LOOKED_AT)
        others = {*versions} - looked.metadata.keys()
        return looked.unbuilt.isdisjoint(versions) and all(self.files(listed, one).has_wheel for one in others)

    def sha256_of(self, listed: Listed, file: File) -> Sha256 | None:
        """As the index gives it, else of the bytes that this node got from there; None where none has come."""
        return digest_of(self._facts.store, Wanted(listed.index, listed.project, file))


@asynccontextmanager
async def open_feed(facts: Facts, makers: Makers = NO_MAKERS, ahead: Ahead | None = None) -> AsyncIterator[Feed]:
    """Within it guesses are fetched; at its end those that still run are given up, and what was parsed is kept.

    makers: how the metadata of what no index has is made. ahead: where the lock will be installed; its downloads go on.
    """
    failed: P2pcdnError | None = None
    async with trio.open_nursery() as nursery:
        feed = Feed(facts, nursery, makers, ahead)
        try:
            yield feed
        except P2pcdnError as error:  # raised below, for a nursery makes a group of it
            failed = error
        nursery.cancel_scope.cancel()
    await feed.keep_looked_at()
    await facts.flush()
    if failed is not None:
        raise failed
