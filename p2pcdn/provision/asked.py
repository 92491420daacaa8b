"""What an environment is to be, and what it is when it only has to be linked: the values that travel to zephyr."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile, LockedPackage, Target
from p2pcdn.envs.scheme import Scheme
from p2pcdn.provision.bytecode import Bytecode
from p2pcdn.provision.located import has_paths

# Counted up when the same question would get another plan.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that is to be installed. how: whence it came, for a history. direct_url: the text of PEP 610's file.

    note: a sentence for the user.
    """

    sha256: Sha256
    filename: str
    how: str
    direct_url: str | None = None
    note: str = ""


class Build(Protocol):
    """Makes wheels of what is none; they are blobs of the store then. Raises BuildFailed, SandboxUnusable, Refused."""

    async def sdist(self, package: LockedPackage, file: LockedFile) -> Wheel: ...
    async def has_sdist(self, package: LockedPackage, file: LockedFile) -> bool:
        """Whether the wheel of an sdist was made before and is here: then nobody is asked for it. It raises nothing."""
        ...

    async def commit(self, package: LockedPackage, checkouts: str) -> Wheel:
        """checkouts: the directory in which what is editable is checked out."""
        ...

    async def directory(self, directory: Directory, state: str) -> Wheel:
        """state: what decides an editable wheel, so that it is not made again while that stays; "" for none."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What an environment is to be. lock: the text of a pylock.toml. groups: None for the lock's default ones.

    build: how a package without a fitting wheel becomes one; None: it does not.
    requested: the projects that the user named himself. bytecode: None where nobody wants any. project: the directory
    of the user's own project, which is installed so that its sources stay in use (PEP 660); state: names its build's
    settings, and what it says of the project where that was asked. base: the directory of the lock, where the paths in
    it begin. demand: of which projects an attestation is demanded (`attested.Demand`). trusted_hosts: may be asked over
    plain http. checkouts: the directory for repositories that are editable; "" where there may be none. only: these
    projects with what they need; None: all of the lock. offline: no index is asked for anything.
    """

    lock: str
    target: Target
    scheme: Scheme
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    requested: tuple[str, ...] = ()
    bytecode: Bytecode | None = None
    build: Build | None = None
    project: str = ""
    state: str = ""
    base: str = ""
    demand: Mapping[str, str] = field(default_factory=dict)
    trusted_hosts: tuple[str, ...] = ()
    checkouts: str = ""
    only: tuple[str, ...] | None = None
    offline: bool = False

    def digest(self) -> str:
        """Names the choice: everything that it depends on."""
        scheme = self.scheme.as_dict()
        parts = [FORMAT, self.lock, dict(self.target.markers), self.target.tags, scheme]
        parts += [sorted(self.extras), None if self.groups is None else sorted(self.groups), sorted(self.requested)]
        parts += [self.bytecode.cache_tag if self.bytecode is not None else "", self.project, self.state]
        parts += [sorted(self.demand.items())] if self.demand else []
        parts += [self.base] if has_paths(self.lock) else []
        parts += [{"only": sorted(self.only)}] if self.only is not None else []
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """One wheel of an environment, for its history: which index and which hash, and whence the bytes came now.

    tree, bytecode: where they lie on this machine; bytecode is "" where there is none yet. attested: who published
    it, by an attestation that was verified; "" where nobody says.
    """

    project: str
    version: str
    filename: str
    sha256: str
    index: str
    came_from: str
    tree: str
    bytecode: str = ""
    attested: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """An environment that only has to be linked. plan: encoded; wheels: in the plan's order.

    digest, content: of the plan; the second is the same for plans that differ in byte code only.
    """

    plan: bytes
    digest: str
    content: str
    wheels: tuple[Told, ...]
    notes: tuple[str, ...]
