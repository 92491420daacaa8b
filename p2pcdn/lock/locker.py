"""Makes locks: a question in, one resolution for each target, one lock out; and the same again from memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import trio

from p2pcdn import frames
from p2pcdn.errors import P2pcdnError, StoreStopped
from p2pcdn.lock.compose import compose
from p2pcdn.lock.facts import NO_MAKERS, Facts, Listed, Makers
from p2pcdn.lock.feed import Feed, open_feed
from p2pcdn.lock.merge import cells_marker, merge
from p2pcdn.lock.room import Found, Room
from p2pcdn.lock.solvers import Session, SolverFailed, Solvers
from p2pcdn.lock.targets import Cell, listed_tags, matrix, names_of
from p2pcdn.lock.wishes import Question, preferring
from p2pcdn.resolve import NoSolution, Solution, Target, Wanted
from p2pcdn.store import Store, Table

C = TypeVar("C", bound=Hashable)

# Whoever asked waits for ten minutes; before that he hears why there is no lock.
LOCK_TIME_S_MAX = 570.0
# Of so many targets it is said why they fail; then the others are not tried.
FAILURES_MAX = 6
# Pages that are confirmed at the same time before a lock of former days is given again.
PAGES_AT_ONCE_MAX = 16


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock. again: it came from memory, for nothing that it stands on has changed.

    from_room: a neighbour had found it, and we only confirmed it.
    """

    text: str
    packages: int
    warnings: tuple[str, ...]
    again: bool = False
    from_room: bool = False


@dataclass(frozen=True, slots=True)
class OneTarget:
    """The interpreter for which something is resolved now; it is all of its matrix."""

    name: str
    target: Target


@dataclass(slots=True)
class Locker:
    """Used by one trio loop. room: what neighbours found; None: nobody is asked."""

    facts: Facts
    solvers: Solvers
    store: Store
    version: str
    room: Room | None = None
    _running: dict[str, trio.Lock] = field(default_factory=dict)

    async def lock(self, question: Question, makers: Makers = NO_MAKERS) -> Locked:
        """A lock for all targets of the question's matrix. makers: how the metadata of what no index has is made.

        Raises NoSolution (whose report says for which targets), BadRequirement, SolverFailed, Unavailable, Refused.
        """
        cells = matrix(question.fields["requires_python"], question.fields["environments"])
        tags = frozenset(tag for cell in cells for tag in listed_tags(cell.platform, cell.minor))
        return await self._again_or_new(question, "matrix", {cell: cell.target for cell in cells}, tags, makers)

    async def resolve(
        self,
        question: Question,
        one: OneTarget,
        makers: Makers = NO_MAKERS,
        within: tuple[str, ...] = (),
    ) -> Locked:
        """A lock for one interpreter. Raises as `lock` does.

        within: the builds that wait for it, the outermost first; they hold places and turns for which it must not wait.
        """
        target = repr((one.target.environment, one.target.tags))
        return await self._again_or_new(
            question, target, {one: one.target}, frozenset(one.target.tags or ()), makers, within
        )

    async def _again_or_new(
        self,
        question: Question,
        of: str,
        targets: Mapping[Any, Target],
        tags: frozenset[str],
        makers: Makers,
        within: tuple[str, ...] = (),
    ) -> Locked:
        indexes = (index.key for index in self.facts.pages.indexes)
        key = f"lock/{question.digest(of, self.version, *indexes)}"
        place = " ".join((key, *within))
        turn = self._running.setdefault(place, trio.Lock())
        try:
            async with turn:  # who asks the same at the same time waits, and gets it again
                return (
                    await self._again(key)
                    or await self._from_room(key, question, targets, tags)
                    or await self._new(key, question, targets, tags, makers, within=bool(within))
                )
        finally:
            if not turn.statistics().tasks_waiting:
                self._running.pop(place, None)

    # -- once more ----------------------------------------------------------------------------------------------------

    async def _again(self, key: str) -> Locked | None:
        """The lock that this question got last, if every page that it stands on still says the same."""
        octets = self.store.value("environments", key)
        if octets is None:
            return None
        record = frames.decode(octets)
        if not await self._unchanged(record["pages"]):
            return None
        return Locked(record["lock"], record["packages"], tuple(record["warnings"]), again=True)

    async def _unchanged(self, pages: Sequence[Sequence[str]]) -> bool:
        """pages: [project, key of the index, version]."""
        stale = []
        for project, index_key, version in pages:
            known = self.facts.pages.fresh_version(project)
            if known is None:
                stale.append((project, index_key, version))
            elif (known[0].key, known[1]) != (index_key, version):
                return False
        changed = False
        limiter = trio.CapacityLimiter(PAGES_AT_ONCE_MAX)

        async def confirm(project: str, index_key: str, version: str) -> None:
            nonlocal changed
            async with limiter:
                try:
                    _, listed = await self.facts.table(project)
                except P2pcdnError:
                    changed = True  # solving anew says what is the matter
                else:
                    now = (listed.index.key, listed.version) if listed is not None else None
                    changed = changed or now != (index_key, version)

        async with trio.open_nursery() as nursery:
            for one in stale:
                nursery.start_soon(confirm, *one)
        return not changed

    # -- anew ---------------------------------------------------------------------------------------------------------

    async def _new(
        self,
        key: str,
        question: Question,
        targets: Mapping[Any, Target],
        tags: frozenset[str],
        makers: Makers,
        *,
        within: bool,
    ) -> Locked:
        async with open_feed(self.facts, makers) as feed, self.solvers.session(feed, within=within) as session:
            with trio.move_on_after(LOCK_TIME_S_MAX) as scope:
                solutions = await _solve(session, question.wanted, targets)
            if scope.cancelled_caught:
                raise SolverFailed(
                    f"No versions that fit were found within {LOCK_TIME_S_MAX:.0f} s. What was learned of packages is "
                    "kept, so asking again goes on from there; closer bounds in the requirements make it shorter."
                )
            locked = await self._composed(question, solutions, feed, tags)
            if not (feed.places or None in feed.pages.values()):
                # What stands at a URL may be another the next time; a project that nobody has may appear any minute.
                offered = self._offered(question, targets, Found(solutions, session.looked_at, session.projects), feed)
                await self._keep(key, locked, feed.pages, offered)
            return locked

    async def _from_room(
        self, key: str, question: Question, targets: Mapping[Any, Target], tags: frozenset[str]
    ) -> Locked | None:
        """Out of what a neighbour found, once it is confirmed against our own pages; None where we solve ourselves."""
        if self.room is None:
            return None
        async with open_feed(self.facts) as feed:
            found = await self.room.find(question, targets, self.facts.pages.all_indexes, feed)
            if found is None:
                return None
            locked = replace(await self._composed(question, found.solutions, feed, tags), from_room=True)
            pages = {project: feed.pages[project] for project in found.projects}
            await self._keep(key, locked, pages, self._offered(question, targets, found, feed))
            return locked

    async def _composed(
        self, question: Question, solutions: Mapping[Any, Solution], feed: Feed, tags: frozenset[str]
    ) -> Locked:
        merged = merge(solutions, question.roots, lambda cells: _cells_marker(cells, solutions))
        cells = [cell for cell in solutions if isinstance(cell, Cell)]
        composed = await self.facts.threads.run(compose, question.fields, merged, cells, feed, tags)
        warnings = dict.fromkeys(text for solution in solutions.values() for text in solution.warnings)
        return Locked(composed.text, len(merged), (*warnings, *composed.warnings))

    def _offered(
        self, question: Question, targets: Mapping[Any, Target], found: Found[Any], feed: Feed
    ) -> Mapping[tuple[Table, str], bytes]:
        if self.room is None:
            return {}
        return self.room.offered(question, targets, found, self.facts.pages.all_indexes, feed)

    async def _keep(
        self,
        key: str,
        locked: Locked,
        pages: Mapping[str, Listed | None],
        offered: Mapping[tuple[Table, str], bytes],
    ) -> None:
        """pages: those that the lock stands on. offered: what neighbours get, in the same transaction."""
        held = [[name, page.index.key, page.version] for name, page in sorted(pages.items()) if page is not None]
        record = {
            "lock": locked.text,
            "packages": locked.packages,
            "warnings": list(locked.warnings),
            "pages": held,
        }
        try:
            await self.store.change(values={("environments", key): frames.encode(record), **offered})
        except StoreStopped:
            return  # status says why; it is solved again then


async def _solve(session: Session, wanted: Wanted, targets: Mapping[C, Target]) -> dict[C, Solution]:
    """One resolution a target; each prefers what those before it chose, so that a lock forks only where it must."""
    solutions: dict[C, Solution] = {}
    failures: dict[C, NoSolution] = {}
    for cell, target in targets.items():
        try:
            solution = await session.resolve(preferring(wanted, target, solutions.values()), target)
        except NoSolution as error:
            failures[cell] = error
            if len(failures) == FAILURES_MAX:
                break
            continue
        solutions[cell] = solution
    if failures:
        raise _for_targets(failures, untried=len(targets) - len(solutions) - len(failures), of=len(targets))
    return solutions


def _for_targets(failures: Mapping[Any, NoSolution], *, untried: int, of: int) -> NoSolution:
    """One report of those of several targets; equal ones are said once."""
    if of == 1:
        return next(iter(failures.values()))
    same: dict[tuple[tuple[str, ...], str], list[Cell]] = {}
    for cell, error in failures.items():
        same.setdefault((error.sentences, error.suggestion), []).append(cell)
    sentences = []
    for (proof, suggestion), cells in same.items():
        sentences.append(f"For {names_of(cells)}{' and perhaps others' if untried else ''}:")
        sentences += [f"  {sentence}" for sentence in (*proof, *([suggestion] if suggestion else ()))]
    wanted = dict.fromkeys(text for error in failures.values() for text in error.requirements)
    return NoSolution(tuple(sentences), requirements=tuple(wanted))


def _cells_marker(cells: Iterable[Any], solutions: Mapping[Any, Solution]) -> str:
    some, whole = frozenset(cells), frozenset(solutions)
    return "" if some == whole else cells_marker(some, whole)
