"""What a node does for `zephyr`, wired: locks, environments, and the builds that either may need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from p2pcdn.envs.model import Directory, LockedFile, LockedPackage
from p2pcdn.envs.model import Target as LockTarget
from p2pcdn.errors import Refused
from p2pcdn.fetch import Fetch, Metadata
from p2pcdn.index import Pages
from p2pcdn.lock.facts import Facts, Makers
from p2pcdn.lock.locker import Locked, Locker, OneTarget
from p2pcdn.lock.solvers import Solvers
from p2pcdn.lock.wishes import Question, parse_question
from p2pcdn.provision.asked import Asked, Ready, Wheel
from p2pcdn.provision.building import Builds, state_of
from p2pcdn.provision.bytecode import Compiler
from p2pcdn.provision.direct import Direct
from p2pcdn.provision.environment import Provisioner
from p2pcdn.provision.foreign import ForeignBuilds
from p2pcdn.provision.sites import Sites
from p2pcdn.provision.toolchain import Toolchain
from p2pcdn.provision.wheels import Wheels, is_whole, sha256_of
from p2pcdn.resolve import Target
from p2pcdn.store import Store
from p2pcdn.world import Index, MoreIndexes, Processes, Threads

# Lists of indexes whose pages stay parsed in memory: a user has one or two.
BENCHES_MAX = 16


@dataclass(slots=True)
class Workroom:
    """Used by one trio loop; what it does runs in the nursery given here where nobody is to stop it.

    pages: those of the node's own indexes. open_pages: those of others.
    """

    store: Store
    pages: Pages
    metadata: Metadata
    fetch: Fetch
    processes: Processes
    threads: Threads
    nursery: trio.Nursery
    version: str
    open_pages: Callable[[Sequence[Index]], Pages]
    more_indexes: MoreIndexes | None = None
    sites: Sites = field(init=False)
    foreign_builds: ForeignBuilds = field(init=False)
    _solvers: Solvers = field(init=False)
    _compiler: Compiler = field(init=False)
    _benches: OrderedDict[tuple[str, ...], Bench] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.store.is_tree_whole = is_whole
        self.sites = Sites(self.store.sites, self.threads)
        self.foreign_builds = ForeignBuilds(self.store, self.threads, self.processes)
        self._solvers = Solvers(self.processes, self.nursery)
        self._compiler = Compiler(self.store, self.processes, self.threads, self.nursery)

    def bench(self, named: Sequence[tuple[str, str | None, str | None]] = ()) -> Bench:
        """Where it is worked with these indexes, (URL, user, password) each; with the node's own where none is named.

        Raises Refused for what is no index.
        """
        if named and self.more_indexes is None:
            raise Refused("This node asks no indexes but its own.")
        indexes = [self.more_indexes.index(*one) for one in named] if self.more_indexes is not None else []
        key = tuple(index.key for index in indexes)
        if key not in self._benches:
            pages = self.open_pages(indexes) if indexes else self.pages
            self._benches[key] = Bench(self, pages, self._solvers, self._compiler)
        self._benches.move_to_end(key)
        if len(self._benches) > BENCHES_MAX:
            self._benches.popitem(last=False)
        return self._benches[key]


class Bench:
    """The work with one list of indexes."""

    def __init__(self, room: Workroom, pages: Pages, solvers: Solvers, compiler: Compiler) -> None:
        store, threads = room.store, room.threads
        self._threads = threads
        self.pages = pages
        facts = Facts(pages, room.metadata, store, threads)
        self._wheels = Wheels(store, pages, room.fetch, threads, room.nursery)
        self._locker = Locker(facts, solvers, store, room.version)
        self._builds = Builds(store, room.fetch, threads, room.processes, self._ready_for_a_build)
        self.sites = room.sites
        self._direct = Direct(store, room.fetch, room.metadata, self._builds, threads, pages.default)
        self.provisioner = Provisioner(store, self._wheels, compiler, threads, room.nursery)

    async def lock(self, question: Question, toolchain: Toolchain | None) -> Locked:
        """toolchain: what builds sdists whose metadata is known only then; None: they are not built."""
        return await self._locker.lock(question, self._makers(toolchain))

    async def resolve(self, question: Question, one: OneTarget, toolchain: Toolchain | None) -> Locked:
        return await self._locker.resolve(question, one, self._makers(toolchain))

    async def with_build(self, asked: Asked, toolchain: Toolchain | None) -> Asked:
        """The same environment; what in it has no wheel this toolchain builds."""
        if toolchain is None:
            return asked
        state = await self._threads.run(state_of, Path(asked.project)) if asked.project else ""
        return replace(asked, build=_Build(self._builds, self._wheels, toolchain), state=state)

    def _makers(self, toolchain: Toolchain | None) -> Makers:
        of_sdist = partial(self._builds.metadata, toolchain=toolchain) if toolchain is not None else None
        return Makers(of_sdist, partial(self._direct.of, toolchain=toolchain))

    async def _ready_for_a_build(
        self, requirements: tuple[str, ...], toolchain: Toolchain, above: tuple[str, ...]
    ) -> Ready:
        """What a build requires, chosen and made ready as anything else is."""
        question = parse_question({"requirements": list(requirements)})
        one = OneTarget("the build", Target.of(toolchain.markers, toolchain.tags))
        locked = await self._locker.resolve(question, one, self._makers(toolchain), above)
        target = LockTarget(toolchain.markers, toolchain.tags)
        asked = await self.with_build(Asked(locked.text, target, toolchain.scheme), toolchain)
        return self.provisioner.again(asked) or await self.provisioner.provide(
            asked, await self.provisioner.choose(asked), lambda done, of, what: None
        )


@dataclass(frozen=True, slots=True)
class _Build:
    """What `Provisioner` asks of builds, with one toolchain."""

    builds: Builds
    wheels: Wheels
    toolchain: Toolchain

    async def sdist(self, package: LockedPackage, file: LockedFile) -> Wheel:
        wanted = await self.wheels.wanted(package, file, sha256_of(file))
        return await self.builds.wheel(wanted, self.toolchain, file.subdirectory or "")

    async def directory(self, directory: Directory, state: str) -> Wheel:
        return await self.builds.directory(directory, state, self.toolchain)
