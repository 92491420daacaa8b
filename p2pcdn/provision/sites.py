"""Whole site-packages as immutable trees, to which an environment is one link (`--link-mode env`).

Made once a plan, of hard links to the trees of wheels. Such a tree lives for as long as an environment links to it, or
a generation of one that can be gone back to; who asked for it is noted beside it, before it is made. One that root has
changed, whom its rights do not stop, is made anew, for all who link to it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.envs.install import Source, install_site
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.swap import exchange
from p2pcdn.envs.unpack import remove_leftovers, remove_tree, scratch_of
from p2pcdn.provision.asked import Ready
from p2pcdn.provision.environment import ANSWERS_REMEMBERED_MAX, LEASE_TIME_S
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

# Where environments keep their packages, on all platforms.
_SITES = ("lib/*/site-packages", "Lib/site-packages")
_USERS = ".users"


@dataclass(frozen=True, slots=True)
class Site:
    """The tree of a plan, and what an environment that links to it still has to do: a plan, encoded."""

    tree: Path
    plan: bytes


@dataclass(slots=True)
class Sites:
    """Used by one trio loop. directory: on the file system of the store."""

    directory: Path
    threads: Threads
    _turn: trio.Lock = field(default_factory=trio.Lock)
    _known: dict[str, _Parts] = field(default_factory=dict)

    async def make(self, ready: Ready, environment: Path) -> Site:
        """The tree of a plan for an environment, made where it is not there. Raises CannotInstall."""
        async with self._turn:
            if ready.digest not in self._known:
                self._known[ready.digest] = await self.threads.run(_parts_of, ready.plan)
                forget_oldest(self._known, ANSWERS_REMEMBERED_MAX)
            parts = self._known[ready.digest]
            tree = await self.threads.run(_make, self.directory, ready, environment, parts.names)
            return Site(tree, parts.outside)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of a plan. outside: encoded, what is not in its site-packages. names: what lies at the top of those."""

    outside: bytes
    names: frozenset[str]


def _parts_of(encoded: bytes) -> _Parts:
    plan = Plan.decode(encoded)
    top = plan.site + "/"
    names = frozenset(path[len(top) :].partition("/")[0] for path in plan.paths() if path.startswith(top))
    return _Parts(plan.outside_site().encode(), names)


def _make(directory: Path, ready: Ready, environment: Path, names: frozenset[str]) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    site, users = directory / ready.digest, directory / f"{ready.digest}{_USERS}"
    line = json.dumps(str(environment)) + "\n"
    with users.open("a+", encoding="utf-8") as file:
        file.seek(0)
        if line not in file:
            file.write(line)
    os.utime(users)
    if not site.is_dir():
        _install(ready, site)
    elif {one.name for one in site.iterdir()} - {"__pycache__"} != names - {"__pycache__"}:
        log.warning("a tree that environments share was changed by another program; it is made anew: %s", site)
        anew = scratch_of(site)
        _install(ready, anew)
        with suppress(OSError):  # a system that cannot exchange keeps the one that there is
            exchange(str(anew), str(site))
        remove_leftovers(site)  # but for what only root can remove
    _forget(directory, users.stat().st_mtime)
    return site


def _install(ready: Ready, tree: Path) -> None:
    sources = [Source(one.tree, one.bytecode) for one in ready.wheels]
    install_site(Plan.decode(ready.plan), sources, str(tree))


def _forget(directory: Path, now_s: float) -> None:
    """Removes the trees to which nobody links, but for those that somebody asked for just now."""
    for users in directory.glob(f"*{_USERS}"):
        site = directory / users.name.removesuffix(_USERS)
        if now_s - users.stat().st_mtime < LEASE_TIME_S or any(_links(one, site) for one in _named(users)):
            continue
        with suppress(OSError):  # the next one tries again
            remove_tree(site)
            users.unlink()


def _named(users: Path) -> Iterator[Path]:
    for line in dict.fromkeys(users.read_text(encoding="utf-8").splitlines()):
        with suppress(ValueError):
            yield Path(json.loads(line))


def _links(environment: Path, site: Path) -> bool:
    """Whether it, or a generation of it that is kept, or will be (`p2pcdn/envs/generations.py`), has this tree as its
    packages.
    """
    state = environment.parent / ".zephyr" / environment.name
    for root in (environment, *state.glob("generations/*"), *state.glob("next-*")):
        for pattern in _SITES:
            for link in root.glob(pattern):
                with suppress(OSError):
                    if os.readlink(link) == str(site):  # noqa: PTH115 - as it is written
                        return True
    return False
