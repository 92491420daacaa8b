"""Resolutions of the room: what neighbours found is confirmed against our own pages, and ours is given to them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Generic, TypeVar

import trio

from p2pcdn import frames
from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.index.claimed import is_sealed, may_go_to_members
from p2pcdn.lock.certificate import Certificate, Choice, machine_of, subject_of
from p2pcdn.lock.feed import Feed
from p2pcdn.lock.kept import decode_table
from p2pcdn.lock.outcomes import solutions_of
from p2pcdn.lock.wishes import Question, preferring
from p2pcdn.resolve import Doubt, Keys, Knowledge, LacksFiles, Solution, Source, Target, confirm
from p2pcdn.store import Store, Table
from p2pcdn.swarm.group.resolutions import Refusal, Resolutions
from p2pcdn.world import Index, Threads

C = TypeVar("C", bound=Hashable)

# For so long what neighbours named is fetched, all of them together; what came is kept, and solving goes on with it.
LOOK_TIME_S_MAX = 10.0
# Of what they named; so much, some 20 KB each, is what a liar can make us ask for in vain. What is kept costs nothing.
FETCHED_MAX = 512
# Of what speaks against a word, in the audit line.
SENTENCES_MAX = 3


@dataclass(frozen=True, slots=True)
class _Subject:
    """What members are asked about. sealed: the question itself must stay among them."""

    name: bytes
    sealed: bool


@dataclass(frozen=True, slots=True)
class Found(Generic[C]):
    """What became of each target, and what was looked at for that: see `Resolver`."""

    outcomes: dict[C, Solution | LacksFiles]
    looked_at: Keys
    projects: Collection[str]
    # As members get it, where it stands on the very pages that a neighbour named.
    content: bytes | None = None


class Room:
    """What lockers have of the neighbours. Used by one trio loop."""

    def __init__(
        self, resolutions: Resolutions, store: Store, threads: Threads, indexes: Sequence[Index], version: str
    ) -> None:
        """indexes: those of the node, which say what may leave it. version: of p2pcdn."""
        self._resolutions = resolutions
        self._store = store
        self._threads = threads
        self._never = {index.url for index in indexes if not may_go_to_members(index)}
        self._sealed = {index.url for index in indexes if is_sealed(index)}
        self._version = version
        resolutions.source = self

    # --- taken from neighbours

    async def find(
        self, question: Question, targets: Mapping[C, Target], indexes: Sequence[Index], feed: Feed
    ) -> Found[C] | None:
        """The outcome of each target, confirmed; None where nobody has found what we would have found, too."""
        subject = self._subject(question, targets, indexes)
        if subject is None:
            return None

        deadline = float("inf")

        async def read(content: bytes) -> Found[C] | Refusal:
            nonlocal deadline  # one for all words: who names what is slow costs one wait
            deadline = min(deadline, trio.current_time() + LOOK_TIME_S_MAX)
            return await self._confirmed(content, question, targets, feed, deadline)

        return await self._resolutions.first(subject.name, sealed=subject.sealed, read=read)

    async def _confirmed(
        self, content: bytes, question: Question, targets: Mapping[C, Target], feed: Feed, deadline: float
    ) -> Found[C] | Refusal:
        try:
            certificate = Certificate.decode(content)
        except RemoteProtocolError as error:
            return Refusal(str(error), is_lie=True)
        if len(certificate.choices) != len(targets):
            return Refusal("it is for other targets", is_lie=True)
        try:
            with trio.fail_at(deadline):  # past it, what is at hand is still looked at
                tables, metadata = await feed.get_all(certificate.pages, certificate.looked_at, fetched_max=FETCHED_MAX)
        except (P2pcdnError, trio.TooSlowError) as error:
            why = "it took too long" if isinstance(error, trio.TooSlowError) else str(error)
            return Refusal(f"what it names could not be looked at here: {why}", is_lie=False)
        known = await self._threads.run(_known, tables.values(), metadata)
        if (unbuilt := _unbuilt(feed, known)) is not None:
            return Refusal(f"{unbuilt} would have to be built here", is_lie=False)
        same_machine = certificate.machine == machine_of(tuple(targets.values()))
        found: dict[C, Solution | LacksFiles] = {}
        for (cell, target), chosen in zip(targets.items(), certificate.choices, strict=True):
            # Each target by itself: other threads have their turn between two of them.
            told = preferring(question, target, solutions_of(found).values())
            versions = None if chosen is None else [*starmap(Source, chosen)]
            one = await self._threads.run(confirm, versions, certificate.looked_at, told, target, known)
            if isinstance(one, Doubt):
                knows_better = one.is_sure and same_machine and _has_our_pages(certificate, feed, known)
                return Refusal(" ".join(one.sentences[:SENTENCES_MAX]), is_lie=knows_better)
            found[cell] = one
        # What else it names decided nothing: it would be looked at each time before this lock is given again.
        read = known.projects
        named = {project: versions for project, versions in certificate.looked_at.items() if project in read}
        projects = [project for project in certificate.pages if project in read]
        same = same_machine and len(projects) == len(certificate.pages) and _is_of_our_pages(certificate, feed)
        return Found(found, named, projects, content if same else None)

    # --- given to neighbours

    def offered(
        self,
        question: Question,
        targets: Mapping[C, Target],
        found: Found[C],
        indexes: Sequence[Index],
        feed: Feed,
    ) -> dict[tuple[Table, str], bytes]:
        """What is to be kept so that neighbours can have these solutions; nothing where they would not take them."""
        subject = self._subject(question, targets, indexes)
        if subject is None:
            return {}
        pages = {project: feed.pages[project] for project in found.projects}
        read = {project: (page.index.url, page.version) for project, page in pages.items() if page is not None}
        if len(read) < len(pages):
            return {}  # that nobody has a project may be otherwise elsewhere
        if not all(page is None or feed.have_wheels(page, found.looked_at.get(one, ())) for one, page in pages.items()):
            return {}  # what a build says of itself may differ elsewhere
        choices = [_chosen(found.outcomes[cell]) for cell in targets]
        try:
            machine = machine_of(tuple(targets.values()))
            content = found.content or Certificate(tuple(choices), read, machine, found.looked_at).encode()
        except ValueError:
            return {}
        used = sorted({index for index, _ in read.values()})
        row = {"subject": subject.name, "content": content, "sealed": subject.sealed, "indexes": used}
        return {("environments", _key(self._resolutions.id_of(subject.name))): frames.encode(row)}

    async def resolution(self, id_: str, *, sealed: bool) -> tuple[bytes, bytes] | None:
        octets = self._store.value("environments", _key(id_))
        row = frames.decode_own(octets) if octets is not None else None
        if row is None or not self._never.isdisjoint(row["indexes"]):
            return None
        # An index may have become private since.
        if not sealed and (row["sealed"] or not self._sealed.isdisjoint(row["indexes"])):
            return None  # private ones look like unknown ones
        return row["subject"], row["content"]

    def _subject(self, question: Question, targets: Mapping[C, Target], indexes: Sequence[Index]) -> _Subject | None:
        """None where members must not, or need not, hear of it."""
        sealed = any(map(is_sealed, indexes))
        texts = (*(text for texts in question.roots.values() for text in texts), *question.fields["overrides"])
        at_url = any("@" in text for text in (*texts, *question.fields["constraints"]))
        if at_url or not all(map(may_go_to_members, indexes)) or not self._resolutions.can_share(sealed=sealed):
            return None
        urls = [index.url for index in indexes]
        return _Subject(subject_of(question.digest(), list(targets.values()), urls, self._version), sealed)


def _key(id_: str) -> str:
    return f"room/{id_}"


def _chosen(outcome: Solution | LacksFiles) -> Choice | None:
    if isinstance(outcome, LacksFiles):
        return None
    return tuple((pin.project, pin.version) for pin in outcome.pins)


def _known(tables: Iterable[bytes], metadata: Mapping[str, Mapping[str, bytes]]) -> Knowledge:
    known = Knowledge()
    known.learn(map(decode_table, tables))
    for project, some in metadata.items():
        known.learn_said(project, some)
    return known


def _unbuilt(feed: Feed, known: Knowledge) -> str | None:
    """One of which we know nothing because nothing is built here: we might choose it, and would else pass it over."""
    for project, version in known.broken:
        page = feed.pages.get(project)
        if page is not None and feed.lists(page, version) and not feed.have_wheels(page, [version]):
            return f"{project} {version}"
    return None


def _has_our_pages(certificate: Certificate, feed: Feed, known: Knowledge) -> bool:
    """Whether its maker read what we read; then he knows better than what he says."""
    if not _is_of_our_pages(certificate, feed):
        return False
    pages = ((version, feed.pages[project]) for project, version in known.broken)
    return not any(page and feed.lists(page, version) for version, page in pages)


def _is_of_our_pages(certificate: Certificate, feed: Feed) -> bool:
    ours = {project: (page.index.url, page.version) for project, page in feed.pages.items() if page is not None}
    return all(ours.get(project) == page for project, page in certificate.pages.items())
