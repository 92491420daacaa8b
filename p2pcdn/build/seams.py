"""What a build asks of others: environments with its requirements in them, and a place where wheels are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from p2pcdn.digest import Sha256
from p2pcdn.sandbox.run import Layers


@dataclass(frozen=True, slots=True)
class Environment:
    """Where build requirements are installed. It is shown to the build, read-only, at its own path.

    directory: its top (sys.prefix). python: its interpreter, in it. pins: all that is installed, `name==version`, with
    the wheel's hash where it is known; they go into the build key. also: what lies elsewhere and is seen from it.
    """

    directory: Path
    python: Path
    pins: tuple[str, ...]
    also: tuple[Path, ...] = ()


class MakeEnvironment(Protocol):
    """Resolves requirements for an interpreter and installs them.

    It may build further sdists, and so come back to the builder that asked it: a circle of build requirements is its
    own to find (packaging.python.org calls it a bootstrap problem). It may raise any of the errors of `p2pcdn.errors`.
    """

    async def __call__(self, requirements: tuple[str, ...], python: Path) -> Environment: ...


class Shelf(Protocol):
    """Where wheels are kept by the key of their build."""

    async def find(self, key: Sha256) -> Path | None: ...

    async def keep(self, key: Sha256, wheel: Path) -> Path:
        """Takes a file that is about to be deleted, in place of one of the same key. Where it is from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel (or an sdist), and where it comes from; for the audit log.

    kept: it was built before, by the same inputs. layers: the sandbox in which it was built; None for one that was
    built outside of any, by the user's word, and because of what `bare_because` says.
    log: what the build wrote; of one that was kept, how far it went.
    """

    wheel: Path
    key: Sha256
    pins: tuple[str, ...]
    kept: bool
    layers: Layers | None
    bare_because: str | None
    log: Path
