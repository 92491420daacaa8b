"""What a node does for `zephyr`, wired: locks, environments, and the builds that either may need."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import trio

from p2pcdn.build.key import Settings
from p2pcdn.envs.model import Directory, LockedFile, LockedPackage
from p2pcdn.envs.model import Target as LockTarget
from p2pcdn.envs.pylock_text import without_credentials
from p2pcdn.errors import P2pcdnError, Refused, not_here
from p2pcdn.fetch import Fetch, Metadata, Wanted
from p2pcdn.index import Pages
from p2pcdn.lock.ahead import Ahead
from p2pcdn.lock.compose import Unhashed
from p2pcdn.lock.facts import Facts, Makers
from p2pcdn.lock.kept import name_in
from p2pcdn.lock.locker import Locked, Locker, OneTarget
from p2pcdn.lock.publishers import Publishers
from p2pcdn.lock.room import Room
from p2pcdn.lock.solvers import Solvers
from p2pcdn.lock.wishes import Question, parse_question
from p2pcdn.provision.asked import Asked, Ready, Wheel
from p2pcdn.provision.attested import Attested
from p2pcdn.provision.building import Builds, Distribution, Kind, Made, state_of
from p2pcdn.provision.bytecode import Compiler
from p2pcdn.provision.direct import Direct, Terms
from p2pcdn.provision.environment import Provisioner
from p2pcdn.provision.foreign import ForeignBuilds
from p2pcdn.provision.links import Links
from p2pcdn.provision.needs import Needs, read_needs
from p2pcdn.provision.provenance import Provenances
from p2pcdn.provision.repositories import Commits
from p2pcdn.provision.sites import Sites
from p2pcdn.provision.toolchain import Toolchain
from p2pcdn.provision.unpacking import Unpackers
from p2pcdn.provision.wheels import Wheels, is_whole, sha256_of
from p2pcdn.resolve import Source, Target
from p2pcdn.store import Store
from p2pcdn.world import Attestations, Index, MoreIndexes, Processes, Repositories, Threads, Upstream

# Lists of indexes whose pages stay parsed in memory: a user has one or two.
BENCHES_MAX = 16
# What it is called until its metadata says it.
UNNAMED = "unnamed"


@dataclass(slots=True)
class Workroom:
    """Used by one trio loop; what it does runs in the nursery given here where nobody is to stop it.

    pages: those of the node's own indexes. open_pages: those of others. neighbours: what they found, and get of us.
    """

    store: Store
    pages: Pages
    metadata: Metadata
    fetch: Fetch
    processes: Processes
    threads: Threads
    nursery: trio.Nursery
    version: str
    open_pages: OpenPages
    upstream: Upstream
    more_indexes: MoreIndexes | None = None
    repositories: Repositories | None = None
    attestations: Attestations | None = None
    neighbours: Room | None = None
    sites: Sites = field(init=False)
    foreign_builds: ForeignBuilds = field(init=False)
    _solvers: Solvers = field(init=False)
    _compiler: Compiler = field(init=False)
    _unpackers: Unpackers = field(init=False)
    _benches: OrderedDict[tuple[str, ...], Bench] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.store.is_tree_whole = is_whole
        self.sites = Sites(self.store.sites, self.threads)
        self.foreign_builds = ForeignBuilds(self.store, self.threads, self.processes)
        self._solvers = Solvers(self.processes, self.nursery)
        self._compiler = Compiler(self.store, self.processes, self.threads, self.nursery)
        self._unpackers = Unpackers(self.processes, self.threads, self.nursery)
        # Only what is there now: a build may begin before it is gone.
        left = list(self.store.workshop.glob("work-*"))
        self.nursery.start_soon(self._tidy, left)
        self.nursery.start_soon(Links(self.store, self.threads).tidy)

    async def _tidy(self, left: Sequence[Path]) -> None:
        """Removes what a node that was killed in the middle of a build or a check-out left in the workshop."""
        for directory in left:
            await self.threads.run(shutil.rmtree, directory, ignore_errors=True)

    def bench(self, named: Sequence[Named] = (), *, asks: bool = True) -> Bench:
        """Where it is worked with these indexes; with the node's own where none is named. Raises Refused.

        asks: else nobody is asked for what is not in the store.
        """
        rows = [(index, one) for one in named for index in self._indexes(one)]
        # Its key depends on the URL alone; with credentials it is another index to neighbours.
        key = tuple(
            f"{index.key} {index.share} {index.private} {one.explicit} {' '.join(one.projects)}" for index, one in rows
        )
        key = key if asks else ("offline", *key)
        if key not in self._benches:
            pages = self._pages(rows) if rows else self.pages
            self._benches[key] = Bench(self, pages, self._solvers, self._compiler, self._unpackers, asks=asks)
        self._benches.move_to_end(key)
        if len(self._benches) > BENCHES_MAX:
            self._benches.popitem(last=False)
        return self._benches[key]

    def _indexes(self, one: Named) -> Sequence[Index]:
        if one.own:
            return self.pages.indexes
        if self.more_indexes is None:
            raise Refused("This node asks no indexes but its own.")
        return [self.more_indexes.index(one.url, one.username, one.password, flat=one.flat)]

    def _pages(self, rows: Sequence[tuple[Index, Named]]) -> Pages:
        common = [index for index, one in rows if not one.explicit]
        return self.open_pages(
            common,
            explicit=[index for index, one in rows if one.explicit],
            pinned={project: index for index, one in rows for project in one.projects},
        )


@dataclass(frozen=True, slots=True)
class Named:
    """Indexes that a user named for one command. own: the node's, in this place; else one, by its URL.

    explicit: asked only for the projects that are pinned to it. projects: those, normalized. flat: `Index.flat`.
    """

    url: str = ""
    username: str | None = None
    password: str | None = None
    own: bool = False
    explicit: bool = False
    projects: tuple[str, ...] = ()
    flat: bool = False


class OpenPages(Protocol):
    """Makes the pages of other indexes than the node's own; see `Pages`."""

    def __call__(
        self, indexes: Sequence[Index], *, explicit: Sequence[Index] = (), pinned: Mapping[str, Index] | None = None
    ) -> Pages: ...


class Bench:
    """The work with one list of indexes."""

    def __init__(
        self, room: Workroom, pages: Pages, solvers: Solvers, compiler: Compiler, unpackers: Unpackers, *, asks: bool
    ) -> None:
        store, threads, fetch, metadata = room.store, room.threads, room.fetch, room.metadata
        if not asks:
            pages, fetch, metadata = pages.unasking(), fetch.unasking(), metadata.unasking()
        self._threads = threads
        self._asks = asks
        self.pages = pages
        self._wheels = Wheels(store, pages, fetch, threads, unpackers, room.nursery)
        provenances = Provenances(store, room.upstream)
        publishers = Publishers(provenances.publishers if asks else _nobody)

        def locker(needs_files: Literal["", "one", "each"]) -> Locker:
            facts = Facts(pages, metadata, store, threads, needs_files=needs_files)
            return Locker(facts, solvers, store, room.version, room.neighbours if asks else None, publishers)

        self._locker = locker("")
        # What is installed at once, too, where files come from nowhere: of a lock, and of one machine's resolution.
        self._locks_to_install = self._locker if asks else locker("one")
        self._resolves_to_install = self._locker if asks else locker("each")
        self._builds = Builds(store, fetch, threads, room.processes, self._ready_for_a_build)
        self.sites = room.sites
        commits = Commits(store, threads, room.repositories if asks else None)
        self._direct = Direct(store, fetch, metadata, self._builds, commits, threads, pages.default, room.more_indexes)
        attested = Attested(store, pages, provenances, room.attestations)
        self.provisioner = Provisioner(store, self._wheels, attested, compiler, threads, room.nursery)

    async def lock(self, question: Question, terms: Terms, installs: LockTarget | None = None) -> Locked:
        """terms: with the toolchain that builds sdists whose metadata is known only then, and whose environment is
        served in any case; None: they are not built. installs: where the lock will be installed at once, if it will be.
        """
        makers = self._makers(replace(terms, pinned=question.commits))
        here = terms.toolchain.markers if terms.toolchain is not None else None
        locker = self._locker if installs is None else self._locks_to_install
        return await self._hashed(partial(locker.lock, question, makers, here, self._ahead(question, installs)))

    async def resolve(
        self, question: Question, one: OneTarget, terms: Terms, installs: LockTarget | None = None
    ) -> Locked:
        makers = self._makers(replace(terms, pinned=question.commits))
        locker = self._locker if installs is None else self._resolves_to_install
        return await self._hashed(partial(locker.resolve, question, one, makers, ahead=self._ahead(question, installs)))

    def _ahead(self, question: Question, installs: LockTarget | None) -> Ahead | None:
        if installs is None or self.pages.offline or question.fields["no_binary"]:
            return None
        return Ahead(installs, self._wheels.ahead)

    async def _hashed(self, lock: Callable[[], Awaitable[Locked]]) -> Locked:
        """A lock; files without a hash of the index's are fetched for it, and it is solved again out of memory."""
        try:
            return await lock()
        except Unhashed as error:
            await self._wheels.fetch_all(error.files)
        return await lock()

    async def name_at(self, url: str, terms: Terms) -> str:
        """The normalized project of what stands at a direct URL, by its metadata.

        Raises Refused where that says none, and what `Direct.of` raises.
        """
        content, _ = await self._direct.of(Source(UNNAMED, url=url), terms)
        if not (name := name_in(content)):
            raise Refused(f"What is at {without_credentials(url)} does not say what it is called; write `NAME @ URL`.")
        return name

    async def needs_of(self, directory: Directory, toolchain: Toolchain) -> Needs:
        """What a project requires, by the metadata of its own build. Raises Refused where that cannot be read, and what
        `Builds.metadata_of_directory` raises.
        """
        return read_needs(await self._builds.metadata_of_directory(directory, toolchain), directory.path)

    async def with_build(self, asked: Asked, terms: Terms) -> Asked:
        """The same environment; what in it has no wheel the toolchain of these terms builds."""
        if terms.toolchain is None:
            return asked
        state = await self._threads.run(state_of, Path(asked.project)) + asked.state if asked.project else ""
        build = _Build(self._builds, self._wheels, self._direct, terms, terms.toolchain)
        return replace(asked, build=build, state=state)

    async def distributions(
        self, directory: Directory, kinds: Sequence[Kind], settings: Settings, toolchain: Toolchain, made: Made
    ) -> list[Distribution]:
        """The sdist and the wheel of a project. Raises as `Builds.distributions` does."""
        return await self._builds.distributions(directory, kinds, settings, toolchain, made)

    def _makers(self, terms: Terms) -> Makers:
        of_sdist = partial(self._builds.metadata, toolchain=terms.toolchain) if terms.toolchain is not None else None
        return Makers(of_sdist, partial(self._direct.of, terms=terms))

    async def _ready_for_a_build(
        self, requirements: tuple[str, ...], toolchain: Toolchain, above: tuple[str, ...]
    ) -> Ready:
        """What a build requires, chosen and made ready as anything else is."""
        question = parse_question({"requirements": list(requirements)})
        one = OneTarget("the build", Target.of(toolchain.markers, toolchain.tags))
        resolve = partial(self._resolves_to_install.resolve, question, one, self._makers(Terms(toolchain)), above)
        locked = await self._hashed(resolve)
        target = LockTarget(toolchain.markers, toolchain.tags)
        wanted = Asked(locked.text, target, toolchain.scheme, demand=dict(toolchain.demand), offline=not self._asks)
        asked = await self.with_build(wanted, Terms(toolchain))
        return self.provisioner.again(asked) or await self.provisioner.provide(
            asked, await self.provisioner.choose(asked), lambda *step: None
        )


async def _nobody(wanted: Wanted) -> Sequence[Mapping[str, Any]]:
    """Who published a file, where no index is asked: a former lock says so, or none does."""
    raise not_here(f"the provenance of {wanted.file.filename}")


@dataclass(frozen=True, slots=True)
class _Build:
    """What `Provisioner` asks of builds, with one toolchain."""

    builds: Builds
    wheels: Wheels
    direct: Direct
    terms: Terms
    toolchain: Toolchain

    async def sdist(self, package: LockedPackage, file: LockedFile) -> Wheel:
        sha256 = sha256_of(file)
        was_here = self.wheels.store.holds(sha256)
        wanted = await self.wheels.wanted(package, file, sha256)
        made = await self.builds.wheel(wanted, self.toolchain, file.subdirectory or "")
        await self.wheels.check(package, file)
        whence = self.wheels.whence(sha256, was_here=was_here)
        return replace(made, how=f"{made.how}, of {file.name} sha256:{sha256} ({whence})")

    async def has_sdist(self, package: LockedPackage, file: LockedFile) -> bool:
        try:
            wanted = await self.wheels.wanted(package, file, sha256_of(file))
        except P2pcdnError:
            return False
        return self.builds.has_wheel(wanted, self.toolchain, file.subdirectory or "")

    async def commit(self, package: LockedPackage, checkouts: str) -> Wheel:
        assert package.vcs is not None
        if package.is_editable and checkouts:
            return await self._checkout(package, checkouts)
        made = await self.direct.commit(package, self.terms)
        return replace(made, how=f"{made.how}, of commit {package.vcs.commit_id}")

    async def _checkout(self, package: LockedPackage, checkouts: str) -> Wheel:
        directory, commit, told = await self.direct.checked_out(package, checkouts, self.terms)
        made = await self.builds.directory(directory, "", self.toolchain)
        return replace(made, how=f"{made.how}, of {directory.path} at commit {commit}", note=told)

    async def directory(self, directory: Directory, state: str) -> Wheel:
        return await self.builds.directory(directory, state, self.toolchain)
