"""Who published what a lock names (PEP 740, 751): asked of the indexes, one file a version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from p2pcdn.errors import P2pcdnError
from p2pcdn.fetch import Wanted
from p2pcdn.lock.feed import Feed
from p2pcdn.lock.merge import Merged

# As many as pages: they are small, and each is one request.
FETCHES_MAX = 16
# Of all of them together. A mirror names hosts that perhaps nobody reaches from here, and no lock waits for each of a
# hundred packages until a connection is given up.
ASK_TIME_S_MAX = 30.0

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
        wanted = {(one.project, one.version): of for one in packages if (of := _attested(one, feed)) is not None}
        found: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
        limiter = trio.CapacityLimiter(FETCHES_MAX)

        async def ask(package: tuple[str, str]) -> None:
            with suppress(P2pcdnError):
                async with limiter:
                    found[package] = await self.ask(wanted[package])

        with trio.move_on_after(ASK_TIME_S_MAX):
            async with trio.open_nursery() as nursery:
                for package in wanted:
                    nursery.start_soon(ask, package)
        unasked = wanted.keys() - found.keys()
        found |= {package: former[package] for package in unasked & former.keys()}
        silent = {project for project, _ in unasked - former.keys()}
        if not silent:
            return found, []
        named = ", ".join(sorted(silent))
        return found, [f"The index did not say who published {named}; the lock lacks it, and the next one asks again."]


def _attested(package: Merged, feed: Feed) -> Wanted | None:
    """The first of its files by name that has a provenance: those of one version have the same publisher."""
    listed = feed.pages.get(package.project)
    if package.url or listed is None:
        return None
    file = feed.files(listed, package.version).attested
    return Wanted(listed.index, listed.project, file) if file is not None else None
