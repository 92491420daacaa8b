"""Makes locks: a question in, one resolution for each target, one lock out; and the same again from memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import trio

from p2pcdn import frames
from p2pcdn.errors import NotFound, P2pcdnError, StoreStopped, Unavailable
from p2pcdn.lock.ahead import Ahead
from p2pcdn.lock.compose import Targets, compose
from p2pcdn.lock.facts import NO_MAKERS, Facts, Listed, Makers
from p2pcdn.lock.feed import Feed, open_feed
from p2pcdn.lock.merge import cells_marker, merge
from p2pcdn.lock.outcomes import LeftOut, Sparing, left_out, solutions_of, solve, unsparable, with_askers
from p2pcdn.lock.publishers import Published, Publishers
from p2pcdn.lock.room import Found, Room
from p2pcdn.lock.solvers import SolverFailed, Solvers
from p2pcdn.lock.targets import Cell, Platform, cell_of, listed_tags, matrix
from p2pcdn.lock.wishes import Question
from p2pcdn.resolve import NoSolution, Solution, Source, Target
from p2pcdn.store import Store, Table

# Whoever asked waits for ten minutes; before that he hears why there is no lock.
LOCK_TIME_S_MAX = 570.0
# Pages that are confirmed at the same time before a lock of former days is given again.
PAGES_AT_ONCE_MAX = 16


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock. left_out: what of its matrix it does not serve; warnings say that, too. open: something that it should
    say could not be asked, or came wrong.

    again: it came from memory, for nothing that it stands on has changed. from_room: a neighbour had found it, and we
    only confirmed it.
    """

    text: str
    packages: int
    warnings: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    open: bool = False
    again: bool = False
    from_room: bool = False


@dataclass(frozen=True, slots=True)
class OneTarget:
    """The interpreter for which something is resolved now; it is all of its matrix."""

    name: str
    target: Target


@dataclass(frozen=True, slots=True)
class _Job:
    """One lock that is wanted. targets: by cell, or the one interpreter. sparing: None where none may be left out.

    within: the builds that wait for it, the outermost first. ahead: where it will be installed at once.
    """

    question: Question
    targets: Mapping[Any, Target]
    makers: Makers
    ahead: Ahead | None = None
    sparing: Sparing | None = None
    within: tuple[str, ...] = ()


@dataclass(slots=True)
class Locker:
    """Used by one trio loop. room: what neighbours found; None: nobody is asked. publishers: of what the lock of a
    matrix names; None: it does not say.
    """

    facts: Facts
    solvers: Solvers
    store: Store
    version: str
    room: Room | None = None
    publishers: Publishers | None = None
    _running: dict[str, trio.Lock] = field(default_factory=dict)

    async def lock(
        self,
        question: Question,
        makers: Makers = NO_MAKERS,
        here: Mapping[str, str] | None = None,
        ahead: Ahead | None = None,
    ) -> Locked:
        """A lock for all targets of the question's matrix, but for those that lack files and can be spared (`Sparing`).

        makers: how the metadata of what no index has is made. here: PEP 508's variables of the interpreter that asks.
        ahead: where it will be installed at once; its wheels are fetched beside the search.
        Raises NoSolution (whose report says for which targets), BadRequirement, SolverFailed, Unavailable, Refused.
        """
        cells = matrix(question.fields["requires_python"], question.fields["environments"])
        sparing = Sparing(tuple(question.fields["environments"]), cell_of(here or {}, cells))
        return await self._again_or_new(
            "matrix", _Job(question, {cell: cell.target for cell in cells}, makers, ahead, sparing)
        )

    async def resolve(
        self,
        question: Question,
        one: OneTarget,
        makers: Makers = NO_MAKERS,
        within: tuple[str, ...] = (),
        ahead: Ahead | None = None,
    ) -> Locked:
        """A lock for one interpreter. Raises as `lock` does.

        within: the builds that wait for it, the outermost first; they hold places and turns for which it must not wait.
        """
        target = repr((one.target.environment, one.target.tags))
        return await self._again_or_new(target, _Job(question, {one: one.target}, makers, ahead, within=within))

    async def _again_or_new(self, of: str, job: _Job) -> Locked:
        indexes = (index.key for index in self.facts.pages.indexes)
        key = f"lock/{job.question.digest(of, self.version, *indexes)}"
        place = " ".join((key, *job.within))
        turn = self._running.setdefault(place, trio.Lock())
        try:
            async with turn:  # who asks the same at the same time waits, and gets it again
                return await self._again(key, job) or await self._from_room(key, job) or await self._new(key, job)
        finally:
            if not turn.statistics().tasks_waiting:
                self._running.pop(place, None)

    # -- once more ----------------------------------------------------------------------------------------------------

    async def _again(self, key: str, job: _Job) -> Locked | None:
        """The lock that this question got last, if every page that it stands on still says the same."""
        octets = self.store.value("environments", key)
        if octets is None:
            return None
        record = frames.decode(octets)
        out = tuple(LeftOut(tuple(one["environments"]), one["names"], one["why"]) for one in record.get("left_out", ()))
        here = job.sparing.here if job.sparing is not None else None
        if here is not None and any(here.name in one.environments for one in out):
            return None  # another interpreter asked for it: solving says why it does not serve this one
        if not await self._unchanged(record["pages"], self.facts.renewing(job.question.upgrades)):
            return None
        return Locked(record["lock"], record["packages"], tuple(record["warnings"]), out, again=True)

    async def _unchanged(self, pages: Sequence[Sequence[str]], facts: Facts) -> bool:
        """pages: [project, key of the index, version]."""
        stale = []
        for project, index_key, version in pages:
            known = facts.fresh_version(project)
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
                    _, listed = await facts.table(project)
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

    async def _new(self, key: str, job: _Job) -> Locked:
        within = bool(job.within)
        facts = self._facts_for(job.question)
        opened = open_feed(facts, job.makers, job.ahead)
        async with opened as feed, self.solvers.session(feed, within=within) as session:
            with trio.move_on_after(LOCK_TIME_S_MAX) as scope:
                try:
                    outcomes = await solve(session, job.question, job.targets, job.sparing)
                except NoSolution as error:
                    raise with_askers(error, job.question.roots) from error
            if scope.cancelled_caught:
                raise SolverFailed(
                    f"No versions that fit were found within {LOCK_TIME_S_MAX:.0f} s. What was learned of packages is "
                    "kept, so asking again goes on from there; closer bounds in the requirements make it shorter."
                )
            if job.ahead is not None:
                pins = (pin for solution in solutions_of(outcomes).values() for pin in solution.pins)
                job.ahead.note({(pin.project, pin.version) for pin in pins})
            found = Found(outcomes, session.looked_at, session.projects)
            locked = await self._composed(job, found, feed)
            # Of what is in the store by chance nothing follows for who asks an index.
            if self.facts.pages.asks and not (locked.open or feed.places or None in feed.pages.values()):
                # What stands at a URL may be another the next time; a project that nobody has may appear any minute.
                await self._keep(key, locked, feed.pages, self._offered(job, found, feed))
            return locked

    async def _from_room(self, key: str, job: _Job) -> Locked | None:
        """Out of what a neighbour found, once it is confirmed against our own pages; None where we solve ourselves."""
        if self.room is None:
            return None
        async with open_feed(self._facts_for(job.question)) as feed:
            found = await self.room.find(job.question, job.targets, self.facts.pages.all_indexes, feed)
            if found is None or unsparable(found.outcomes, job.sparing):
                return None
            try:
                locked = replace(await self._composed(job, found, feed), from_room=True)
            except (NotFound, Unavailable):
                return None  # files had to be read again, and their page is another one now
            pages = {project: feed.pages[project] for project in found.projects}
            if not locked.open:
                await self._keep(key, locked, pages, self._offered(job, found, feed))
            return locked

    def _facts_for(self, question: Question) -> Facts:
        return self.facts.as_of(question.fields["exclude_newer"]).renewing(question.upgrades)

    async def _composed(self, job: _Job, found: Found[Any], feed: Feed) -> Locked:
        solutions, out = solutions_of(found.outcomes), left_out(found.outcomes)
        await feed.read_files(pin.source for solution in solutions.values() for pin in solution.pins)
        merged = merge(solutions, job.question.roots, lambda cells: _cells_marker(cells, solutions))
        cells = [cell for cell in found.outcomes if isinstance(cell, Cell)]
        published: Published = {}
        unasked: list[str] = []
        if self.publishers is not None and cells:
            published, unasked = await self.publishers.of(merged, feed, job.question.published)
        targets = Targets(_tags_of(solutions), cells, out, published)
        composed = await self.facts.threads.run(compose, job.question.fields, merged, targets, feed)
        warnings = dict.fromkeys(text for solution in solutions.values() for text in solution.warnings)
        looked_at = found.looked_at
        aside = [_left_aside(one, why) for one, why in feed.spoilt.items() if one.key in looked_at.get(one.project, ())]
        told = [*(one.sentence for one in out), *aside, *unasked]
        return Locked(composed.text, len(merged), (*told, *warnings, *composed.warnings), out, bool(unasked or aside))

    def _offered(self, job: _Job, found: Found[Any], feed: Feed) -> Mapping[tuple[Table, str], bytes]:
        if self.room is None:
            return {}
        return self.room.offered(job.question, job.targets, found, self.facts.pages.all_indexes, feed)

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
            "left_out": [asdict(one) for one in locked.left_out],
            "pages": held,
        }
        try:
            await self.store.change(values={("environments", key): frames.encode(record), **offered})
        except StoreStopped:
            return  # status says why; it is solved again then


def _left_aside(source: Source, why: str) -> str:
    told = f"{source.project} {source.version} was left aside, for its metadata came wrong"
    return f"{told} ({why.rstrip('.')}); an upgrade asks for it again."


def _tags_of(served: Collection[Any]) -> frozenset[str]:
    """Of the wheels that their lock lists."""
    cells = frozenset((one.platform, one.minor) for one in served if isinstance(one, Cell))
    return _listed_tags(cells).union(*(one.target.tags or () for one in served if not isinstance(one, Cell)))


# Of the matrices of just now: of 24 cells it is some sixty thousand tags, most of them many times.
@lru_cache(maxsize=8)
def _listed_tags(cells: frozenset[tuple[Platform, int]]) -> frozenset[str]:
    return frozenset().union(*(listed_tags(*cell) for cell in cells))


def _cells_marker(cells: Iterable[Any], solutions: Mapping[Any, Solution]) -> str:
    some, whole = frozenset(cells), frozenset(solutions)
    return "" if some == whole else cells_marker(some, whole)
