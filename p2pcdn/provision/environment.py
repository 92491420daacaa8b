"""One environment made ready: chosen from a lock, its wheels fetched, unpacked and compiled, and its plan."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from p2pcdn import frames
from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.envs.direct_url import direct_url
from p2pcdn.envs.errors import NothingFits
from p2pcdn.envs.listing import Listing
from p2pcdn.envs.model import Chosen, Directory, LockedPackage
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.pylock import read_lock
from p2pcdn.envs.selection import select
from p2pcdn.errors import P2pcdnError, Refused, StoreStopped
from p2pcdn.names import normalize_project
from p2pcdn.provision.asked import Asked, Ready, Told, Wheel
from p2pcdn.provision.attested import Attested, Demand
from p2pcdn.provision.bytecode import Bytecode, Compiler, compiled_of
from p2pcdn.provision.located import located
from p2pcdn.provision.order import dependencies_first
from p2pcdn.provision.repositories import refuse_plain_http
from p2pcdn.provision.wheels import Wheels, sha256_of
from p2pcdn.store import Store, Tree
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

# For so long after an answer its trees are not evicted: whoever asked is linking them now.
LEASE_TIME_S = 600.0
# Answers kept in memory, a megabyte of plan for a hundred wheels each: the environments somebody works on just now.
ANSWERS_REMEMBERED_MAX = 4
# So many are named of what is not here; a hundred names are read by nobody.
NAMES_MAX = 5


# Told how many wheels of how many are ready, which came last ("" at first), and what is being built just now.
Progress = Callable[[int, int, str, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Selected:
    """What of a lock is installed, dependencies first. notes: sentences for the user, of its reader."""

    chosen: tuple[Chosen, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class Provisioner:
    """Used by one trio loop."""

    store: Store
    wheels: Wheels
    attested: Attested
    compiler: Compiler
    threads: Threads
    nursery: trio.Nursery
    _leases: dict[frozenset[Sha256], float] = field(default_factory=dict)
    _answered: dict[str, Ready] = field(default_factory=dict)

    async def choose(self, asked: Asked) -> Selected:
        """Raises BadLock, NothingFits, Refused for plain http."""
        selected = await self.threads.run(_choose, asked)
        for one in selected.chosen:
            if one.file is not None and one.file.url is not None and not self.wheels.is_of_an_index(one.package):
                refuse_plain_http(one.package.name, one.file.url, asked.trusted_hosts)
        return selected

    def again(self, asked: Asked) -> Ready | None:
        """The environment as it was answered before, if all its trees are here; no waiting, and no look at the lock."""
        digest = asked.digest()
        remembered = self._answered.pop(digest, None)
        if remembered is not None and self._lies_here(remembered):
            return self._remember(digest, remembered)
        record = self._kept(asked)
        if record is None:
            return None
        told, uncompiled = [], []
        # For a plan with the byte code that came since, they would be built again, which may ask an index.
        as_it_was = asked.offline and any(row["came_from"].startswith("built") for row in record["wheels"])
        for row in record["wheels"]:
            tree = self.store.tree(Sha256(row["sha256"]))
            code = self._bytecode(Sha256(row["sha256"]), asked.bytecode)
            if as_it_was and not row["bytecode"]:
                code = None
            if tree is None or (code is not None) != bool(row["bytecode"]):
                return None  # evicted, or compiled meanwhile
            if code is None:
                uncompiled.append(tree)
            places = {"tree": str(tree.path), "bytecode": str(code.path) if code is not None else ""}
            whence = self.wheels.whence(Sha256(row["sha256"]), was_here=True)
            built = {"came_from": row["came_from"] if row["came_from"].startswith("built") else whence}
            told.append(Told(**{**row, **places, **built}))
        if asked.bytecode is not None and uncompiled:
            if asked.bytecode.wait:
                return None
            self.nursery.start_soon(self._compile_later, uncompiled, asked.bytecode)
        content = record.get("content") or Plan.decode(record["plan"]).content()
        ready = Ready(record["plan"], record["digest"], content, tuple(told), tuple(record["notes"]))
        if uncompiled and asked.bytecode is not None:
            self._lease(_blobs(told))
            return ready  # it will be another one when they are compiled
        return self._remember(digest, ready)

    async def provide(self, asked: Asked, selected: Selected, progress: Progress) -> Ready:
        """Raises what `Wheels.tree` raises, NothingFits, CannotPlan, CompileFailed where byte code is waited for.

        And Refused, where an index would be asked and none is to be.
        """
        chosen = selected.chosen
        if asked.offline:
            await self._refuse_to_ask(asked, chosen)
        with self.store.spared([sha256_of(one.file) for one in chosen if one.file is not None]):
            told: list[str] = []
            demand = Demand(asked.demand)
            publishers = await self.attested.check(chosen, demand, told.append, may_ask=not asked.offline)
            wheels, trees = await self._trees(asked, chosen, progress)
            if asked.bytecode is not None and asked.bytecode.wait:
                await self.compiler.compile(trees, asked.bytecode)
            ready = await self._planned(asked, selected, wheels, trees, publishers)
            told += [wheel.note for wheel in wheels if wheel.note]
            ready = replace(ready, notes=(*told, *ready.notes))
            self._lease(_blobs(ready.wheels))
        if asked.bytecode is not None and not asked.bytecode.wait:
            self.nursery.start_soon(self._compile_later, trees, asked.bytecode)
        return ready

    async def tree(self, sha256: Sha256, filename: str) -> Tree:
        """A wheel of the store, unpacked once, and leased as those of an environment are.

        Raises BadWheel, NotFound, StoreStopped.
        """
        with self.store.spared([sha256]):
            tree = await self.wheels.unpacked(sha256, filename)
            self._lease(frozenset([sha256]))
        return tree

    async def _refuse_to_ask(self, asked: Asked, chosen: Sequence[Chosen]) -> None:
        """What must be fetched, or built with what may have to be. Raises Refused."""
        lacking = [one for one in chosen if not await self._is_here(asked, one)]
        if lacking:
            names = [one.file.name if one.file is not None else one.package.name or "the project" for one in lacking]
            more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
            raise Refused(
                f"Offline, and not ready in the store: {', '.join(names[:NAMES_MAX])}{more}. Nothing was installed;"
                " without `offline` they are fetched or built."
            )

    async def _is_here(self, asked: Asked, one: Chosen) -> bool:
        if one.file is None:
            return False
        if _is_wheel(one):
            return self.store.holds(sha256_of(one.file))
        return asked.build is not None and await asked.build.has_sdist(one.package, one.file)

    # -- trees --------------------------------------------------------------------------------------------------------

    async def _trees(
        self, asked: Asked, chosen: Sequence[Chosen], progress: Progress
    ) -> tuple[list[Wheel], list[Tree]]:
        found: dict[int, tuple[Wheel, Tree]] = {}
        failed: list[P2pcdnError] = []
        built = self._built_before(asked)
        awaited = {at for at, wanted in enumerate(chosen) if not self._lies_ready(wanted, built)}
        building = {at: _name_of(chosen[at]) for at in sorted(awaited) if not _is_wheel(chosen[at])}

        def tell(came: str) -> None:
            if awaited:
                progress(len(chosen) - len(awaited), len(chosen), came, tuple(building.values()))

        async def one(at: int, wanted: Chosen) -> None:
            try:
                found[at] = await self._tree(asked, wanted, built)
            except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                failed.append(error)
                nursery.cancel_scope.cancel()
                return
            if at in awaited:
                awaited.remove(at)
                building.pop(at, None)
                tell(found[at][0].filename)

        tell("")
        async with trio.open_nursery() as nursery:
            for at, wanted in enumerate(chosen):
                nursery.start_soon(one, at, wanted)
        if failed:
            raise failed[0]
        return [found[at][0] for at in range(len(chosen))], [found[at][1] for at in range(len(chosen))]

    def _lies_ready(self, wanted: Chosen, built: Mapping[tuple[str, str], Mapping[str, Any]]) -> bool:
        """Whether there is nothing to fetch, to unpack or to build for it; what is a directory is looked at anew."""
        if _is_wheel(wanted) and wanted.file is not None:
            return self.store.tree(sha256_of(wanted.file)) is not None
        before = self._as_built_before(wanted, built)
        return before is not None and self.store.tree(Sha256(before["sha256"])) is not None

    def _as_built_before(
        self, wanted: Chosen, built: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        if wanted.kind not in ("sdist", "archive"):
            return None
        return built.get((wanted.package.name, wanted.package.version or ""))

    def _built_before(self, asked: Asked) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """What this very environment had, by project and version: it is not built again because byte code came."""
        record = self._kept(asked)
        return {(row["project"], row["version"]): row for row in record["wheels"]} if record is not None else {}

    async def _tree(
        self, asked: Asked, wanted: Chosen, built: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> tuple[Wheel, Tree]:
        package, file = wanted.package, wanted.file
        url = direct_url(package, Path("/"))
        if _is_wheel(wanted) and file is not None:
            tree, come = await self.wheels.tree(package, file)
            return Wheel(tree.key.sha256, file.name, come, url), tree
        before = self._as_built_before(wanted, built)
        kept = self.store.tree(Sha256(before["sha256"])) if before is not None else None
        if before is not None and kept is not None:
            return Wheel(kept.key.sha256, before["filename"], before["came_from"], url), kept
        if asked.build is not None and wanted.kind in ("sdist", "archive") and file is not None:
            made = replace(await asked.build.sdist(package, file), direct_url=url)
            return made, await self.wheels.unpacked(made.sha256, made.filename)
        if asked.build is not None and wanted.kind == "vcs":
            made = await asked.build.commit(package, asked.checkouts)
            made = made if package.is_editable else replace(made, direct_url=url)
            return made, await self.wheels.unpacked(made.sha256, made.filename)
        if asked.build is not None and wanted.kind == "directory" and package.directory is not None:
            # The state is that of the user's own project; what decides an editable wheel of another tree, nobody asked.
            made = await asked.build.directory(package.directory, asked.state if package.name == "" else "")
            return made, await self.wheels.unpacked(made.sha256, made.filename)
        raise NothingFits(
            f"{package.name} {package.version or ''} has no wheel for this environment, "
            f"only {_KINDS[wanted.kind]}, which this node does not build."
        )

    def _bytecode(self, sha256: Sha256, bytecode: Bytecode | None) -> Tree | None:
        return self.store.tree(sha256, bytecode.cache_tag) if bytecode is not None else None

    async def _compile_later(self, trees: list[Tree], bytecode: Bytecode) -> None:
        try:
            await self.compiler.compile(trees, bytecode)
        except P2pcdnError as error:
            log.warning("no byte code: %s", error)

    def _lies_here(self, ready: Ready) -> bool:
        """Whether nothing of it was evicted or withdrawn. Its lease says that its trees count as used."""
        return _blobs(ready.wheels) in self._leases and all(
            self.store.blob(Sha256(one.sha256)) is not None
            and os.path.isdir(one.tree)  # noqa: PTH112 - two hundred of them while others wait
            and (not one.bytecode or os.path.isdir(one.bytecode))  # noqa: PTH112
            for one in ready.wheels
        )

    def _remember(self, digest: str, ready: Ready) -> Ready:
        self._answered[digest] = ready
        forget_oldest(self._answered, ANSWERS_REMEMBERED_MAX)
        self._lease(_blobs(ready.wheels))
        return ready

    def _lease(self, blobs: frozenset[Sha256]) -> None:
        """One task a set of wheels, however often it is asked for."""
        is_new = blobs not in self._leases
        self._leases[blobs] = trio.current_time() + LEASE_TIME_S
        if is_new:
            spared = ExitStack()
            spared.enter_context(self.store.spared(blobs))  # from now on, and not from when its task begins
            self.nursery.start_soon(self._spare, blobs, spared)

    async def _spare(self, blobs: frozenset[Sha256], spared: ExitStack) -> None:
        with spared:
            while (left_s := self._leases[blobs] - trio.current_time()) > 0:  # noqa: ASYNC110 - its end moves
                await trio.sleep(left_s)
        del self._leases[blobs]

    # -- the plan -----------------------------------------------------------------------------------------------------

    async def _planned(
        self,
        asked: Asked,
        selected: Selected,
        wheels: Sequence[Wheel],
        trees: Sequence[Tree],
        publishers: Mapping[Sha256, str],
    ) -> Ready:
        chosen = selected.chosen
        codes = [self._bytecode(tree.key.sha256, asked.bytecode) for tree in trees]
        told = tuple(
            Told(
                project=one.package.name or normalize_project(wheel.filename.partition("-")[0]),
                version=one.package.version or wheel.filename.split("-")[1],
                filename=wheel.filename,
                sha256=str(tree.key.sha256),
                index=one.package.index or "",
                came_from=wheel.how,
                tree=str(tree.path),
                bytecode=str(code.path) if code is not None else "",
                attested=publishers.get(sha256_of(one.file), "") if one.file is not None else "",
            )
            for one, wheel, tree, code in zip(chosen, wheels, trees, codes, strict=True)
        )
        plan, notes = await self.threads.run(_plan, asked, told, wheels, trees, codes)
        ready = Ready(plan.encode(), plan.digest(), plan.content(), told, (*selected.notes, *notes))
        if all(not (one.kind == "directory" or one.package.is_editable) or one.package.name == "" for one in chosen):
            await self._keep(asked, ready)  # else its sources may be others the next time
        return ready

    def _kept(self, asked: Asked) -> dict[str, Any] | None:
        octets = self.store.value("environments", f"plan/{asked.digest()}")
        return frames.decode(octets) if octets is not None else None

    async def _keep(self, asked: Asked, ready: Ready) -> None:
        rows = [{**asdict(one), "bytecode": "yes" if one.bytecode else "", "tree": ""} for one in ready.wheels]
        record = {
            "wheels": rows,
            "plan": ready.plan,
            "digest": ready.digest,
            "content": ready.content,
            "notes": list(ready.notes),
        }
        try:
            await self.store.change(values={("environments", f"plan/{asked.digest()}"): frames.encode(record)})
        except StoreStopped:
            return  # status says why; it is planned again then


_KINDS: Mapping[str, str] = {
    "sdist": "an sdist",
    "archive": "an archive",
    "directory": "a source directory",
    "vcs": "a repository",
    "wheel": "a wheel",
}


def _is_wheel(one: Chosen) -> bool:
    return one.kind in ("wheel", "archive") and one.file is not None and one.file.name.endswith(".whl")


def _name_of(one: Chosen) -> str:
    """The user's own project has none in a lock."""
    directory = one.package.directory
    return one.package.name or (Path(directory.path).name if directory is not None else "")


def _blobs(wheels: Sequence[Told]) -> frozenset[Sha256]:
    return frozenset(Sha256(one.sha256) for one in wheels)


def _choose(asked: Asked) -> Selected:
    lock = read_lock(asked.lock.encode(), "The lock")
    selected = select(lock, asked.target, extras=asked.extras, groups=asked.groups, only=asked.only)
    chosen = dependencies_first([located(one, asked.base) for one in selected])
    if asked.project:
        chosen.append(Chosen(LockedPackage("", directory=Directory(asked.project, editable=True)), "directory"))
    return Selected(tuple(chosen), lock.notes)


def _plan(
    asked: Asked,
    told: Sequence[Told],
    made: Sequence[Wheel],
    trees: Sequence[Tree],
    codes: Sequence[Tree | None],
) -> tuple[Plan, tuple[str, ...]]:
    listings = [Listing.decode(tree.listing) for tree in trees]
    requested: Any = frozenset(asked.requested)
    wheels = [
        ReadyWheel(
            listing,
            one.filename,
            one.sha256,
            requested=one.project in requested,
            direct_url=wheel.direct_url,
            bytecode=compiled_of(code) if code is not None else (),
        )
        for listing, one, wheel, code in zip(listings, told, made, codes, strict=True)
    ]
    plan = make_plan(wheels, asked.scheme)
    plan.digest(), plan.content()  # here, and not in the loop
    return plan, tuple(note for listing in listings for note in listing.notes)
