"""Who published what a lock names (PEP 740, 751): asked of the indexes, one file a version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from p2pcdn.errors import P2pcdnError
from p2pcdn.fetch import Wanted
from p2pcdn.lock.feed import Feed
from p2pcdn.lock.merge import Merged

# As many as pages: they are small, and each is one request.
FETCHES_MAX = 16

# Of a file that says where its provenance is. Raises Unavailable, Refused.
AskPublishers = Callable[[Wanted], Awaitable[Sequence[Mapping[str, Any]]]]
# By project and version.
Published = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Publishers:
    """Used by one trio loop."""

    ask: AskPublishers

    async def of(self, packages: Sequence[Merged], feed: Feed, former: Published) -> tuple[Published, list[str]]:
        """Who published them, as far as their indexes say; and a sentence where some could not be asked.

        former: what an older lock says; taken where nobody answers now, for it does not change.
        """
        found: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
        silent: list[str] = []
        limiter = trio.CapacityLimiter(FETCHES_MAX)

        async def one(package: tuple[str, str], wanted: Wanted) -> None:
            try:
                async with limiter:
                    found[package] = await self.ask(wanted)
            except P2pcdnError:
                if package in former:
                    found[package] = former[package]
                else:
                    silent.append(package[0])

        async with trio.open_nursery() as nursery:
            for merged in packages:
                if (wanted := _attested(merged, feed)) is not None:
                    nursery.start_soon(one, (merged.project, merged.version), wanted)
        if not silent:
            return found, []
        named = ", ".join(sorted(dict.fromkeys(silent)))
        return found, [f"The index did not say who published {named}; the lock lacks it, and the next one asks again."]


def _attested(package: Merged, feed: Feed) -> Wanted | None:
    """The first of its files by name that has a provenance: those of one version have the same publisher."""
    listed = feed.pages.get(package.project)
    if package.url or listed is None:
        return None
    files = [file for file in feed.files(listed, package.version) if "provenance" in file.raw]
    return Wanted(listed.index, listed.project, min(files, key=lambda file: file.filename)) if files else None
