"""Environments that change all at once: a generation is built beside the one in use, and swapped for it.

Beside `.venv` lies `.zephyr/.venv/`: the lock, the history, `next-7` while generation 7 is built, `generations/6` and
older ones. Inside an environment, `.zephyr/` says which generation it is. The number inside decides what is what: a
`next-7` whose neighbour is generation 7 is what was swapped out, any other was never finished. So one system call
decides.
"""

from __future__ import annotations

import os

from p2pcdn.envs import history
from p2pcdn.envs.carried import TOOLS, files_of_distribution, foreign_distributions, named_by, normalized
from p2pcdn.envs.change import Change, carry_out, recover, remove
from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.held import came_from
from p2pcdn.envs.install import Installed, install, one_by_one, sentence
from p2pcdn.envs.lock_file import LockFile
from p2pcdn.envs.places import Places, names, plan_of, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from p2pcdn.envs.history import Provenance
    from p2pcdn.envs.install import Launcher, LinkMode, SideBySide, Source
    from p2pcdn.envs.plan import Plan


class Outcome:
    """What a change did. generation: its number. added, removed: "numpy 2.1". told: sentences for the user.

    how: files by way ("hardlink": 7562). phases_s: seconds of "links", "writes", "carry", "swap". went_to: the
    generation that a rollback went back to.
    """

    __slots__ = ("added", "generation", "how", "phases_s", "removed", "told", "went_to")

    def __init__(self, entry: dict[str, Any], done: Installed) -> None:
        self.generation = int(entry["generation"])
        self.added = tuple(history.named(entry["added"]))
        self.removed = tuple(history.named(entry["removed"]))
        self.told = tuple(done.told)
        self.went_to: int | None = entry.get("rollback_to")
        self.how = done.how
        self.phases_s = done.phases_s


class Environment:
    """One environment on this machine: `root` is its directory (`.venv`), which may not be there yet.

    Reading needs nothing; whoever changes it holds its lock:
        with Environment(root, command="zephyr sync", now_s=now).locked(wait=tell) as environment:
            environment.sync(plan, sources, python=…)
    now_s: seconds since the epoch, for the history. whole: the directory is an environment's alone and may be swapped;
    False for a system's prefix, which is changed file by file (see `piecewise`).
    """

    def __init__(self, root: str, *, command: str, now_s: float, whole: bool = True) -> None:
        self._places = Places(root, whole=whole)
        self._command = command
        self._now_s = now_s
        self._lock: LockFile | None = None

    @property
    def root(self) -> str:
        return self._places.root

    def locked(self, wait: Callable[[str], None]) -> Environment:
        """Waits for its turn; `wait` gets one sentence that says for whom. Then cleans up what a killed command left.

        Raises CannotInstall where there is no right to write beside the environment.
        """
        try:
            self._places.make()
            self._lock = LockFile(self._places.lock, self._command, wait)
            recover(self._places)
        except OSError as error:
            self.release()
            raise CannotInstall(sentence(error, self.root)) from error
        except BaseException:
            self.release()
            raise
        return self

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def plan_digest(self) -> str:
        """The digest of the plan that it holds; "" for none. Reads one small file: all that `sync` needs to see that
        it has nothing to do.
        """
        return str(state_of(self.root).get("plan", ""))

    def plan(self) -> Plan | None:
        """The plan that it holds now."""
        return plan_of(self.root)

    def generations(self) -> list[dict[str, Any]]:
        """Those that can be gone back to and the one in use, the newest first: as in the history, and "current"."""
        trees = [self._places.generation(number) for number in self._places.kept()]
        lines = [{**state_of(tree).get("entry", {"generation": 0}), "current": False} for tree in trees]
        if entry := state_of(self.root).get("entry"):
            lines.append({**entry, "current": True})
        return sorted(lines, key=lambda line: -int(line["generation"]))

    def history(self) -> list[dict[str, Any]]:
        """The audit log, the oldest first: every change with the provenance of what it brought."""
        return history.read(self._places.history)

    def sync(
        self,
        plan: Plan,
        sources: Sequence[Source],
        *,
        python: str,
        link_mode: LinkMode = "reflink",
        site_tree: str = "",
        launcher: Launcher | None = None,
        side_by_side: SideBySide = one_by_one,
        exact: bool = True,
        durable: bool = False,
        provenance: Provenance | None = None,
    ) -> Outcome:
        """Makes it hold what the plan says, all at once. Files that zephyr did not put there survive.

        exact: distributions that others installed go too (but TOOLS), as `sync` promises; else only those that the
        plan has itself. durable: it also survives a power cut in the next seconds, for some 50 ms, more on a busy
        disk. Arguments besides: as `install` has them. Raises CannotInstall; then it is as it was.
        """

        def build(new: str) -> Installed:
            done = install(
                plan,
                sources,
                new,
                python=python,
                link_mode=link_mode,
                site_tree=site_tree,
                launcher=launcher,
                side_by_side=side_by_side,
            )
            done.told[:0] = [*plan.told(), *moved, *strangers]
            if link_mode != "env":
                # What was asked for is often not to be had: reflinks need a file system that knows them.
                entry["link_mode"] = _ways_taken(done.how) or link_mode
            return done

        before, moved_from = self.plan(), came_from(self.root)
        going = self._going(before, plan, exact=exact)
        moved = [f"The environment was made in {moved_from}; its scripts name this place now."] if moved_from else []
        strangers = [_told_of(info) for project, info in going if project not in _projects(plan)]
        notes = {"link_mode": link_mode, "conflicts": plan.told(), **({"site_tree": site_tree} if site_tree else {})}
        entry = {**self._entry(), **history.changes(before, plan, provenance or {}), **notes}
        dropped = self._dropped(before, [info for _, info in going])
        sealed = plan.site if link_mode == "env" else ""
        return self._change(Change(build, before, plan, entry, dropped=dropped, sealed=sealed, durable=durable))

    def rollback(self, generation: int | None = None) -> Outcome:
        """Makes it hold again what that generation held (None: the one before). Needs no network and no store.

        What others have put there stays, but for distributions of which that generation has one itself. Raises
        CannotInstall where there is no such generation.
        """
        from p2pcdn.envs.replant import replant

        kept = self._places.kept()
        if generation is None and kept:
            generation = kept[-1]
        if generation is None or generation not in kept:
            which = "before this one" if generation is None else generation
            others = f"Kept: {', '.join(map(str, kept))}." if kept else "None is kept."
            raise CannotInstall(f"There is no generation {which} to go back to. {others}")
        old = self._places.generation(generation)
        before, after = self.plan(), plan_of(old)
        entry = {**self._entry(), **history.changes(before, after, {}), "rollback_to": generation}
        sealed = after.site if after is not None and os.path.islink(f"{old}/{after.site}") else ""
        dropped = self._dropped(before, self._giving_way(old, before, after))
        place = str(state_of(old).get("root", ""))  # its scripts are as they were
        change = Change(lambda new: replant(old, new), before, after, entry, dropped=dropped, sealed=sealed, root=place)
        return self._change(change)

    def has_too_much(self, kept: int) -> bool:
        """Whether there is something for `retire` or `sweep`."""
        return len(self._places.kept()) > kept or bool(self._places.trashed())

    def retire(self, kept: int) -> None:
        """Takes all former generations but so many out of the way, at once."""
        assert self._lock is not None, "who changes an environment holds its lock"
        numbers = self._places.kept()
        for number in numbers[: max(0, len(numbers) - kept)]:
            self._places.trash(self._places.generation(number))

    def sweep(self) -> None:
        """Removes what is out of the way. It may take as long as an install, and needs no lock."""
        for tree in self._places.trashed():
            remove(tree)

    def _change(self, change: Change) -> Outcome:
        assert self._lock is not None, "who changes an environment holds its lock"
        return Outcome(change.entry, carry_out(change, self._places))

    def _entry(self) -> dict[str, Any]:
        numbers = [self._places.current(), *self._places.kept(), history.last_generation(self._places.history)]
        return {
            "generation": max(numbers) + 1,
            "at_s": self._now_s,
            "command": self._command,
            "pid": os.getpid(),
        }

    def _going(self, before: Plan | None, plan: Plan, *, exact: bool) -> list[tuple[str, str]]:
        """The distributions of others that go: project and .dist-info."""
        if os.path.islink(f"{self.root}/{plan.site}"):
            return []  # nobody can have put one there
        planned = _projects(plan)
        found = foreign_distributions(self.root, plan.site, _paths(before))
        return [(project, info) for project, info in found if project in planned or (exact and project not in TOOLS)]

    def _giving_way(self, old: str, before: Plan | None, after: Plan | None) -> list[str]:
        """The distributions of others, by .dist-info, of whose project the kept generation `old` has one: pip upgrades
        in place, and both would be there.
        """
        known = after or before
        if known is None or os.path.islink(f"{self.root}/{known.site}"):
            return []
        there = foreign_distributions(old, known.site, _paths(after))
        # Of what the next generation took over from it, empty directories are left.
        kept = {project for project, info in there if names(f"{old}/{info}")}
        kept |= _projects(after) if after is not None else set()
        now = foreign_distributions(self.root, known.site, _paths(before))
        return [info for project, info in now if project in kept]

    def _dropped(self, before: Plan | None, infos: Sequence[str]) -> set[str]:
        """The files of those."""
        ours = _paths(before)
        return {path for info in infos for path in files_of_distribution(self.root, info) if path not in ours}


def _projects(plan: Plan) -> set[str]:
    return {normalized(wheel.project) for wheel in plan.wheels}


def _paths(plan: Plan | None) -> frozenset[str]:
    return frozenset(plan.paths()) if plan else frozenset()


def _told_of(info: str) -> str:
    project, version = named_by(os.path.basename(info))
    return f"{project} {version} is in no lock here, and was taken out; the former generation has it."


def _ways_taken(how: dict[str, int]) -> str:
    """How files came, the way of most of them first: `hardlink`, `hardlink, copy`."""
    ways = sorted(((count, way) for way, count in how.items() if count), reverse=True)
    return ", ".join(way for _, way in ways)
