"""Files: out of the store, else from neighbours, else from the upstream; ONE download per file, however many ask."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial as bind

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import (
    DigestMismatch,
    NotFound,
    P2pcdnError,
    StoreStopped,
    Unavailable,
    not_here,
)
from p2pcdn.fetch.filling import Filling
from p2pcdn.fetch.origin import OriginReader, Wanted
from p2pcdn.fetch.spoilt import or_once_more
from p2pcdn.flight import Flights
from p2pcdn.store import UNKNOWN, Blob, Partial, Store
from p2pcdn.swarm import Swarm

log = logging.getLogger(__name__)

# Attempts that came to a good end, by which a client that was cut off may go on in the whole file.
ATTEMPTS_REMEMBERED = 1024
# Of those who gave a file's bytes so many are named beside it.
SOURCES_NAMED_MAX = 4


class Fetch:
    """All downloads of a node. They run in the nursery given here: an impatient client cancels nobody's."""

    def __init__(
        self,
        *,
        store: Store,
        swarm: Swarm,
        origin: OriginReader,
        counters: Counters,
        nursery: trio.Nursery,
        offline: bool,
        on_kept: Callable[[Wanted, Blob], Awaitable[None]],
    ) -> None:
        """on_kept: called when a file is held that was not before; it may take its time. What it raises is logged."""
        self._store = store
        self._swarm = swarm
        self._filling = Filling(swarm, origin, is_offline=lambda: self.offline)
        self._counters = counters
        self._nursery = nursery
        self.offline = offline
        self._on_kept = on_kept
        self._running: dict[Sha256 | str, Partial] = {}
        self._alone: dict[Sha256 | str, trio.Event] = {}  # of those that run: whether the room is left out
        self._attempts: dict[Sha256 | str, str] = {}
        self._opening: Flights[Sha256 | str, Blob | Partial] = Flights(nursery)
        self._begins = True

    def unasking(self) -> Fetch:
        """The same, for who wants nobody to be asked: what is neither here nor coming already is Unavailable."""
        view = copy(self)
        view._begins = False
        return view

    async def open(self, wanted: Wanted, *, for_room: bool = False) -> Blob | Partial:
        """The whole file, or the growing one that everybody who asks now shares.

        for_room: who asks is a node that reads this for its room, perhaps ours. The room is left out then, also by a
        download that runs: it would wait for whoever waits for it.
        Raises StoreStopped where nothing can be kept: the caller then passes the file through.
        """
        held = self.held(wanted)
        if held is None:
            if not self._begins:
                raise not_here(wanted.file.filename)
            held = await self._opening.join(wanted.key, bind(self._begin, wanted))
        if for_room and wanted.key in self._alone:
            self._alone[wanted.key].set()
        if isinstance(held, Blob) and held.origin == UNKNOWN and wanted.file.sha256 is not None:
            await self._name(held, wanted)
        return held

    async def whole(self, wanted: Wanted) -> Blob:
        """The whole file, for who needs all of it before he begins; what comes spoilt is asked for once more.

        Raises DigestMismatch the second time, and as `open` does.
        """
        return await or_once_more(lambda: self._arrived(wanted))

    async def _arrived(self, wanted: Wanted) -> Blob:
        held = await self.open(wanted)
        return await held.wait_finished() if isinstance(held, Partial) else held

    async def _name(self, blob: Blob, wanted: Wanted) -> None:
        """A page says what this is whose row was lost; from now on neighbours get it, too."""
        with suppress(NotFound, StoreStopped):
            await self._store.set_origin(blob.sha256, wanted.origin)

    def held(self, wanted: Wanted) -> Blob | Partial | None:
        """What is here already: the blob, or the download that runs."""
        running = self._running.get(wanted.key)
        if running is not None:
            # One that is whole is closed, while what it was trusted for is still being noted.
            return running.blob or running
        digest = digest_of(self._store, wanted)
        return self._store.blob(digest) if digest is not None else None

    def attempt_of(self, wanted: Wanted) -> str | None:
        """The attempt that gave the whole file, if it came since this node started."""
        return self._attempts.get(wanted.key)

    async def _begin(self, wanted: Wanted) -> Blob | Partial:
        digest = wanted.file.sha256
        if digest is not None and self._store.is_buried(digest):
            # One page withdrew it and another, which led here, lists it still: it is held again.
            await self._store.change(unearth=[digest])
            if (blob := self._store.blob(digest)) is not None:
                return blob
        partial = await self._store.grow(wanted.key, wanted.file.size_bytes, wanted.origin)
        self._running[wanted.key] = partial
        self._alone[wanted.key] = trio.Event()
        self._nursery.start_soon(self._download, wanted, partial)
        return partial

    # -- the one download -----------------------------------------------------------------------------------------

    async def _download(self, wanted: Wanted, partial: Partial) -> None:
        """After a lie that clients saw, another attempt runs than the one that began: see `_fill_and_finish`."""
        name = wanted.file.filename
        try:
            blob = await self._fill_and_finish(wanted, partial)
            log.info("kept", extra={"file": name, "size_bytes": blob.size_bytes})
            self._attempts[wanted.key] = self._running[wanted.key].attempt
            forget_oldest(self._attempts, ATTEMPTS_REMEMBERED)
            if wanted.file.sha256 is None:
                await self._store.change(values={("trusted", wanted.key): blob.sha256.encode()})
        except P2pcdnError as error:
            log.warning("did not arrive: %s", error, extra={"file": name})
            self._running[wanted.key].fail(error)
            return
        except Exception:
            log.exception("%s did not arrive", name)
            fault = Unavailable(f"A fault of this node stopped the download of {name}; its log has the details.")
            self._running[wanted.key].fail(fault)
            return
        finally:
            del self._running[wanted.key], self._alone[wanted.key]
        try:
            await self._on_kept(wanted, blob)
        except Exception:  # in the node's nursery it would end everything
            log.exception("%s was kept, and not all that goes with it was done", name)

    async def _fill_and_finish(self, wanted: Wanted, partial: Partial) -> Blob:
        try:
            await self._filling.fill(wanted, partial, self._alone[wanted.key])
            return await _finish(partial)
        except DigestMismatch as error:
            self._counters.digest_mismatches += 1
            log.error(
                "wrong bytes: %s", error, extra={"file": error.what, "expected": error.expected, "got": error.got}
            )
            if not partial.is_provisional():
                raise
            # Somebody's word was wrong: the file is fetched without him.
            if await self._forget_peers(partial):
                # Who has read wrong bytes begins anew, and so do we: a new attempt has a name of its own.
                partial.fail(error)
                partial = self._running[wanted.key] = await self._store.grow(
                    wanted.key, wanted.file.size_bytes, wanted.origin
                )
        return await self._once_more(wanted, partial)

    async def _once_more(self, wanted: Wanted, partial: Partial) -> Blob:
        """After a lie: once more with the room, without the liar; and then, if need be, alone."""
        try:
            await self._filling.fill(wanted, partial, self._alone[wanted.key])
            return await _finish(partial)
        except DigestMismatch:
            self._counters.digest_mismatches += 1
            if not partial.is_provisional():
                raise
            if await self._forget_peers(partial):
                raise
        log.info("the room gave wrong bytes twice; now from the upstream alone", extra={"file": wanted.file.filename})
        await self._filling.from_upstream(wanted, partial)
        return await _finish(partial)

    async def _forget_peers(self, partial: Partial) -> bool:
        """What only they vouch for goes, and who lied is remembered. Whether a client had been given wrong bytes."""
        self._swarm.distrust(partial)
        spoilt = partial.has_shown_unproven()
        await partial.forget_provisional()
        partial.brought.clear()
        return spoilt


def digest_of(store: Store, wanted: Wanted) -> Sha256 | None:
    """The file's sha256: the index's, or, where it gives none, that of the bytes that came first."""
    if wanted.file.sha256 is not None:
        return wanted.file.sha256
    trusted = store.value("trusted", wanted.key)
    return Sha256(trusted.decode()) if trusted is not None else None


async def _finish(partial: Partial) -> Blob:
    """The file, proven; and kept with who gave its bytes, the most first."""
    sources = [source for source, _ in partial.brought.most_common()]
    others = [f"{len(sources) - SOURCES_NAMED_MAX} others"] if len(sources) > SOURCES_NAMED_MAX else []
    partial.origin = replace(partial.origin, came=", ".join([*sources[:SOURCES_NAMED_MAX], *others]))
    return await partial.finish()
