"""Wheels of what a search has decided on are fetched before its lock is whole: mostly they are what is installed then.

A guess that turns out wrong costs one file, which stays in the store like anything else that somebody once wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import trio
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from p2pcdn.envs.model import Target as Here
from p2pcdn.fetch import Wanted
from p2pcdn.lock.facts import Listed
from p2pcdn.lock.kept_files import Files
from p2pcdn.resolve import Source, Target

log = logging.getLogger(__name__)

# Larger files wait for the lock: so much of a line is lost by one wrong guess, which is three seconds of 100 Mbit/s.
FILE_SIZE_BYTES_MAX = 32 * 1024 * 1024
# Of one lock. What extras and groups require is locked with the rest, and mostly not installed.
SIZE_BYTES_MAX = 256 * 1024 * 1024
# Far fewer than of metadata (`feed.py`), which the search waits for.
AT_ONCE_MAX = 4


class Told(Protocol):
    """What a session was told: pages by project, and the files of a version of one."""

    @property
    def pages(self) -> Mapping[str, Listed | None]: ...
    def files(self, listed: Listed, version: str) -> Files: ...


@dataclass(slots=True)
class Ahead:
    """The guesses of one lock that will be installed here. Used by one task.

    fetch: has a wheel fetched and unpacked, once, however many ask. What goes wrong with it, who installs it hears.
    """

    here: Here
    fetch: Callable[[Wanted], Awaitable[None]]
    _stood: frozenset[Source] = frozenset()
    _guessed: dict[str, tuple[Source, int]] = field(default_factory=dict)  # by project; with the size in bytes
    _places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(AT_ONCE_MAX))
    _tags: _Tags = field(init=False)

    def __post_init__(self) -> None:
        self._tags = _Tags(self.here.tags)

    def next(self, target: Target, decided: Iterable[Source], told: Told) -> list[Wanted]:
        """What to begin with, now that the search for a target stands on these versions and waits for something.

        A search that goes back mostly takes back what it has just decided. So a version is trusted if it was there the
        last time, too; and a project once, so that going to and fro over a hundred versions costs a file, and no more.
        """
        if not self._is_of_this_machine(target):
            return []
        stands = frozenset(decided)
        stood, self._stood = self._stood & stands, stands
        begun = []
        for source in sorted(stood, key=lambda one: one.project):
            if source.project not in self._guessed and (wanted := self._wanted(source, told)) is not None:
                self._guessed[source.project] = source, wanted.file.size_bytes or 0
                begun.append(wanted)
        return begun

    async def begin(self, wanted: Wanted) -> None:
        async with self._places:
            try:
                await self.fetch(wanted)
            except Exception:  # in the lock's nursery it would end the lock, which may have no use for it
                log.exception("%s was not fetched ahead", wanted.file.filename)

    def note(self, locked: Collection[tuple[str, str]]) -> None:
        """For the log: how much was guessed, and how much of it is not in the lock. locked: (project, version)."""
        wrong = [size for source, size in self._guessed.values() if (source.project, source.version) not in locked]
        if self._guessed:
            more = {"files": len(self._guessed), "size_bytes": self._size_bytes}
            log.info("fetched ahead", extra={**more, "wrong": len(wrong), "wrong_size_bytes": sum(wrong)})

    @property
    def _size_bytes(self) -> int:
        return sum(size for _, size in self._guessed.values())

    def _is_of_this_machine(self, target: Target) -> bool:
        """Whatever its Python: of a matrix the newest is solved first, and the others prefer what that one got."""
        there = dict(target.environment)
        return all(there.get(name) == self.here.markers.get(name) for name in ("sys_platform", "platform_machine"))

    def _wanted(self, source: Source, told: Told) -> Wanted | None:
        """The wheel that this machine would take. An sdist is built only when it is sure."""
        listed = told.pages.get(source.project)
        if source.url or listed is None or listed.index.flat:  # of a heap's files an installer may be refused some
            return None
        files = told.files(listed, source.version)
        at = self._tags.best(files.names)
        if at is None:
            return None
        file, size_bytes = files[at], files[at].size_bytes
        if file.sha256 is None or size_bytes is None or not _takes(file.requires_python, self.here.python):
            return None
        if size_bytes > FILE_SIZE_BYTES_MAX or self._size_bytes + size_bytes > SIZE_BYTES_MAX:
            return None
        return Wanted(listed.index, source.project, file)


class _Tags:
    """The tags of this machine (PEP 425), the best first, ready to be held against the names of many wheels."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
        self._words = [frozenset(column) for column in zip(*(tag.split("-") for tag in tags), strict=False)]

    def best(self, names: Sequence[str]) -> int | None:
        """The place of the wheel with the best tag.

        Of the tags that a name stands for, only those of words that occur in ours are made: the others may be any
        number.
        """
        found = []
        for at, name in enumerate(names):
            parts = name.removesuffix(".whl").split("-")[-3:]
            if name.endswith(".whl") and len(parts) == len(self._words):
                known = [ours.intersection(part.split(".")) for ours, part in zip(self._words, parts, strict=True)]
                of_file = map("-".join, product(*known))
                found += [(self._ranks[tag], at) for tag in of_file if tag in self._ranks]
        return min(found)[1] if found else None


def _takes(requires_python: str | None, python: str) -> bool:
    try:
        return SpecifierSet(requires_python or "").contains(python, prereleases=True)
    except InvalidSpecifier:
        return False
