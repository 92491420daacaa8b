"""Whole site-packages as immutable trees, to which an environment is one link (`--link-mode env`).

Made once a plan, of hard links to the trees of wheels. Such a tree lives for as long as an environment links to it, or
a generation of one that can be gone back to; who asked for it is noted beside it, before it is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.envs.install import Source, install_site
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.unpack import remove_tree
from p2pcdn.provision.asked import Ready
from p2pcdn.provision.environment import ANSWERS_REMEMBERED_MAX, LEASE_TIME_S
from p2pcdn.world import Threads

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
    _outside: dict[str, bytes] = field(default_factory=dict)

    async def make(self, ready: Ready, environment: Path) -> Site:
        """The tree of a plan for an environment, made where it is not there. Raises CannotInstall."""
        async with self._turn:
            tree = await self.threads.run(_make, self.directory, ready, environment)
            if ready.digest not in self._outside:
                self._outside[ready.digest] = await self.threads.run(_outside, ready.plan)
                forget_oldest(self._outside, ANSWERS_REMEMBERED_MAX)
            return Site(tree, self._outside[ready.digest])


def _outside(plan: bytes) -> bytes:
    return Plan.decode(plan).outside_site().encode()


def _make(directory: Path, ready: Ready, environment: Path) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    site, users = directory / ready.digest, directory / f"{ready.digest}{_USERS}"
    line = json.dumps(str(environment)) + "\n"
    with users.open("a+", encoding="utf-8") as file:
        file.seek(0)
        if line not in file:
            file.write(line)
    os.utime(users)
    if not site.is_dir():
        sources = [Source(one.tree, one.bytecode) for one in ready.wheels]
        install_site(Plan.decode(ready.plan), sources, str(site))
    _forget(directory, users.stat().st_mtime)
    return site


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
