"""What a node does for `zephyr`, wired: locks, environments, and the builds that either may need."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import trio

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import LockedFile, LockedPackage
from p2pcdn.envs.model import Target as LockTarget
from p2pcdn.fetch import Fetch, Metadata
from p2pcdn.index import Pages
from p2pcdn.lock.facts import Facts, OfSdist
from p2pcdn.lock.locker import Locked, Locker, OneTarget, Question, parse_question
from p2pcdn.lock.solvers import Solvers
from p2pcdn.provision.building import Builds, Toolchain
from p2pcdn.provision.bytecode import Compiler
from p2pcdn.provision.environment import Asked, Provisioner, Ready
from p2pcdn.provision.wheels import Wheels, sha256_of
from p2pcdn.resolve import Target
from p2pcdn.store import Store
from p2pcdn.world import Processes, Threads


class Workroom:
    """Used by one trio loop; what it does runs in the nursery given here where nobody is to stop it."""

    def __init__(
        self,
        *,
        store: Store,
        pages: Pages,
        metadata: Metadata,
        fetch: Fetch,
        processes: Processes,
        threads: Threads,
        nursery: trio.Nursery,
        version: str,
    ) -> None:
        facts = Facts(pages, metadata, store, threads)
        compiler = Compiler(store, processes, threads, nursery)
        self._wheels = Wheels(store, pages, fetch, threads, nursery)
        self._locker = Locker(facts, Solvers(processes, nursery), store, version)
        self._builds = Builds(store, fetch, threads, processes, self._ready_for_a_build)
        self.provisioner = Provisioner(store, self._wheels, compiler, threads, nursery)

    async def lock(self, question: Question, toolchain: Toolchain | None) -> Locked:
        """toolchain: what builds sdists whose metadata is known only then; None: they are not built."""
        return await self._locker.lock(question, self._of_sdist(toolchain))

    async def resolve(self, question: Question, one: OneTarget, toolchain: Toolchain | None) -> Locked:
        return await self._locker.resolve(question, one, self._of_sdist(toolchain))

    def with_build(self, asked: Asked, toolchain: Toolchain | None) -> Asked:
        """The same environment, whose sdists this toolchain builds."""
        return replace(asked, build=partial(self._build, toolchain)) if toolchain is not None else asked

    def _of_sdist(self, toolchain: Toolchain | None) -> OfSdist | None:
        return partial(self._builds.metadata, toolchain=toolchain) if toolchain is not None else None

    async def _build(self, toolchain: Toolchain, package: LockedPackage, file: LockedFile) -> tuple[Sha256, str, str]:
        return await self._builds.wheel(await self._wheels.wanted(package, file, sha256_of(file)), toolchain)

    async def _ready_for_a_build(
        self, requirements: tuple[str, ...], toolchain: Toolchain, above: tuple[str, ...]
    ) -> Ready:
        """What a build requires, chosen and made ready as anything else is."""
        question = parse_question({"requirements": list(requirements)})
        one = OneTarget("the build", Target.of(toolchain.markers, toolchain.tags))
        locked = await self._locker.resolve(question, one, self._of_sdist(toolchain), above)
        target = LockTarget(toolchain.markers, toolchain.tags)
        asked = self.with_build(Asked(locked.text, target, toolchain.scheme), toolchain)
        return self.provisioner.again(asked) or await self.provisioner.provide(
            asked, await self.provisioner.choose(asked), lambda done, of, what: None
        )
