"""Where project pages are kept: parsed ones in memory, their upstream's own bytes in the store."""

from __future__ import annotations

import logging
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import trio
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError, StoreStopped
from p2pcdn.index.freshness import FRESH_MAX_S, Freshness
from p2pcdn.index.held import HeldPage
from p2pcdn.names import projects_of
from p2pcdn.simple import ProjectPage, parse_page
from p2pcdn.store import Store
from p2pcdn.world import Index, Threads

log = logging.getLogger(__name__)

# PyPI's largest project pages have some 30 MiB as HTML; four times that is no project page.
PAGE_SIZE_BYTES_MAX = 128 * 1024 * 1024
# Parsing more than this takes milliseconds that other clients would wait; it goes to a thread.
PARSE_INLINE_BYTES_MAX = 16 * 1024
# How hard zlib tries: the pages of 92 packages (29 MB) become 8.5 MB in 0.25 s; at its usual level 7.9 MB, in 0.55 s.
PACKING_LEVEL = 3
# Parsed pages in memory, weighed by their files (about 1.5 KB each): some 30 MB.
REMEMBERED_FILES_MAX = 20_000
# When each page was checked last, which outlives the page in memory: some 300 bytes each.
REMEMBERED_CHECKS_MAX = 20_000
# How long we take an upstream's "no such project" for true: a new project appears within a minute.
GONE_FRESH_S = 60.0
# The version of a page that says that there is no such project.
GONE = "gone"


class PageShelf:
    """Used by one trio loop. What memory forgets is parsed again; what the store forgets is asked for again."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads
        self._remembered: OrderedDict[tuple[str, str], HeldPage] = OrderedDict()
        self._remembered_files = 0
        # By key: version, checked_at, freshness. A page that was found unchanged is not written to the disk again.
        self._checks: dict[tuple[str, str], tuple[str, float, Freshness]] = {}
        self._turns: dict[tuple[str, str], trio.Lock] = {}
        # One after the other: Python runs one at a time anyway, and while it does each takes ten times its size.
        self._parsing = trio.Lock()
        self.on_kept: Callable[[Index, str], None] = lambda index, project: None  # told of each page that was written

    def in_memory(self, index: Index, project: str) -> HeldPage | None:
        """The page, if it is parsed already."""
        held = self._remembered.get((index.key, project))
        if held is not None:
            self._remembered.move_to_end((index.key, project))
        return held

    def checked(self, index: Index, project: str) -> HeldPage | None:
        """What is known of a page's last check, without a look at the page itself: it has no files here."""
        check = self._checks.get((index.key, project)) or self._noted(index, project)
        if check is None:
            return None
        version, checked_at, fresh = check
        return HeldPage(index, project, None, version, checked_at, fresh)

    def _noted(self, index: Index, project: str) -> tuple[str, float, Freshness] | None:
        """The last check as the store has it; after a start nothing is remembered."""
        row = self.row(index, project)
        try:
            record = checked_record(frames.decode(row)) if row is not None else {}
        except (P2pcdnError, KeyError, TypeError, ValueError):
            return None  # whoever asks for the page hears of it
        version = GONE if record.get("gone") else record.get("version")
        if version is None:
            return None
        if version == GONE:
            fresh = gone(index, project, record["checked_at"], record.get("claim")).freshness
        else:
            fresh = Freshness(*record["freshness"])
        self._note_check((index.key, project), (version, record["checked_at"], fresh))
        return self._checks[index.key, project]

    def _note_check(self, key: tuple[str, str], check: tuple[str, float, Freshness]) -> None:
        self._checks.pop(key, None)
        self._checks[key] = check
        forget_oldest(self._checks, REMEMBERED_CHECKS_MAX)

    async def recall(self, index: Index, project: str) -> HeldPage | None:
        """The page as it was kept last, fresh or not; None where it never was, or cannot be read any more."""
        remembered = self.in_memory(index, project)
        if remembered is not None:
            return remembered
        row = self.row(index, project)
        if row is None:
            return None
        try:
            held = await self.opened(index, project, checked_record(frames.decode(row)))
        except (P2pcdnError, KeyError, TypeError, ValueError, zlib.error) as error:
            log.warning("a kept page cannot be read and is asked for again: %s", error, extra={"project": project})
            return None
        version, checked_at, fresh = self._checks.get((index.key, project), ("", 0.0, held.freshness))
        if version == held.version and checked_at > held.checked_at and held.claim is None:
            held = replace(held, checked_at=checked_at, freshness=fresh)
        self.remember(held)
        return held

    def remember(self, held: HeldPage) -> None:
        """Holds it in memory, which forgets the pages that nobody asked for lately."""
        key = (held.index.key, held.project)
        self._note_check(key, (held.version, held.checked_at, held.freshness))
        old = self._remembered.pop(key, None)
        self._remembered[key] = held
        self._remembered_files += _weight(held) - (_weight(old) if old is not None else 0)
        while self._remembered_files > REMEMBERED_FILES_MAX and len(self._remembered) > 1:
            _, oldest = self._remembered.popitem(last=False)
            self._remembered_files -= _weight(oldest)

    def let_go(self, held: HeldPage) -> None:
        """It may leave the memory: nobody is likely to ask for it soon."""
        key = (held.index.key, held.project)
        if self._remembered.get(key) is held:
            del self._remembered[key]
            self._remembered_files -= _weight(held)

    def row(self, index: Index, project: str) -> bytes | None:
        """The record as it lies in the store."""
        return self._store.value("pages", f"{index.key}/{project}")

    async def opened(self, index: Index, project: str, record: Mapping[str, Any]) -> HeldPage:
        """The page that a record of the store describes, its body packed.

        Raises RemoteProtocolError, ValueError, zlib.error where its body is no page.
        """
        if record.get("gone"):
            return gone(index, project, record["checked_at"], record.get("claim"))
        body = await self._threads.run(unpacked, record["body"])
        return await self.parsed(index, project, {**record, "body": body})

    async def parsed(self, index: Index, project: str, record: Mapping[str, Any]) -> HeldPage:
        """The page that a record describes. Raises RemoteProtocolError where its body is no page."""
        body: bytes = record["body"]
        parse = partial(_parse, body, record["type"], record["url"], project, only_its_own=index.flat)
        if len(body) <= PARSE_INLINE_BYTES_MAX:
            page, version = parse()
        else:
            async with self._parsing:
                page, version = await self._threads.run(parse)
        return HeldPage(
            index=index,
            project=project,
            page=page,
            version=version,
            checked_at=record["checked_at"],
            freshness=Freshness(*record["freshness"]),
            etag=record["etag"],
            last_modified=record["last_modified"],
            serial=record["serial"],
            stale=record.get("claim") is not None,
            claim=record.get("claim"),
            kept_at=record["checked_at"],
        )

    async def keep(self, old: HeldPage | None, new: HeldPage, record: Mapping[str, Any]) -> None:
        """Writes a record to the store, its body packed on the way; the rest is as `keep_packed` does it."""
        body = record.get("body", b"")
        if len(body) <= PARSE_INLINE_BYTES_MAX:
            body = zlib.compress(body, PACKING_LEVEL)
        else:
            body = await self._threads.run(zlib.compress, body, PACKING_LEVEL)
        await self.keep_packed(old, new, {**record, "body": body})

    async def keep_packed(self, old: HeldPage | None, new: HeldPage, record: Mapping[str, Any]) -> None:
        """Writes a record to the store, with the page's version, and buries what it no longer lists; one transaction.

        So removed stays removed, also after a crash. Where the store does not write, the page lives in memory only.
        """
        before = _digests(old)
        # Where nothing is buried, nothing is to be dug up: a large page has thousands of digests that nobody asks for.
        after = _digests(new) if before or self._store.has_buried() else frozenset()
        row = dict(record) if new.page is None else {**record, "version": new.version}
        try:
            await self._store.change(
                values={("pages", f"{new.index.key}/{new.project}"): frames.encode(row)},
                bury=before - after,
                unearth=after - before,
            )
        except StoreStopped as error:
            log.warning("the page was not kept: %s", error, extra={"project": new.project})
            return
        self.on_kept(new.index, new.project)

    async def note_checked(self, held: HeldPage) -> HeldPage:
        """Writes to the store when a page was found unchanged, which is otherwise only remembered."""
        row = self.row(held.index, held.project)
        try:
            record = checked_record(frames.decode(row)) if row is not None else None
        except (P2pcdnError, KeyError, TypeError, ValueError):
            record = None
        if record is None or record.get("claim") is not None:
            return held
        fresh = [held.freshness.fresh_s, held.freshness.stale_while_revalidate_s]
        await self.keep_packed(held, held, {**record, "checked_at": held.checked_at, "freshness": fresh})
        return replace(held, kept_at=held.checked_at)

    @asynccontextmanager
    async def turn(self, index: Index, project: str) -> AsyncIterator[None]:
        """Whoever looks at a page in order to replace it does so in its turn: the older of two never wins by chance."""
        key = (index.key, project)
        lock = self._turns.setdefault(key, trio.Lock())
        async with lock:
            try:
                yield
            finally:
                if not lock.statistics().tasks_waiting:
                    self._turns.pop(key, None)


def checked_record(row: Any) -> dict[str, Any]:
    """A row may come out of another node's export: none of it is used that we would not have written.

    Raises KeyError, TypeError, ValueError.
    """
    record: dict[str, Any] = dict(row)
    kinds = _KINDS_GONE if record.get("gone") else _KINDS
    if wrong := [name for name, kind in kinds.items() if not isinstance(record[name], kind)]:
        raise TypeError(f"{wrong} are not what they should be")
    if not isinstance(record.get("claim"), bytes | None):
        raise TypeError("its claim is none")
    if not isinstance(record.get("version"), str | None):
        raise TypeError("its version is none")
    record["freshness"] = [min(float(life_s), FRESH_MAX_S) for life_s in record.get("freshness", ())]
    return record


_KINDS_GONE: Mapping[str, Any] = {"checked_at": int | float}
_KINDS: Mapping[str, Any] = {
    **_KINDS_GONE,
    "body": bytes,
    "type": str,
    "url": str,
    "etag": str | None,
    "last_modified": str | None,
    "serial": int | None,
    "freshness": list,
}


def unpacked(body: bytes) -> bytes:
    """Raises ValueError, zlib.error."""
    content = zlib.decompressobj().decompress(body, PAGE_SIZE_BYTES_MAX + 1)
    if len(content) > PAGE_SIZE_BYTES_MAX:
        raise ValueError("it is larger than a page may be")
    return content


def gone(index: Index, project: str, checked_at: float, claim: bytes | None = None) -> HeldPage:
    """What is held of a project that the index does not have."""
    # Into a heap somebody may put a file any moment, and looking there costs little.
    fresh = Freshness(GONE_FRESH_S if claim is None and not index.flat else 0.0, 0.0)
    stale = claim is not None
    return HeldPage(index, project, None, GONE, checked_at, fresh, stale=stale, claim=claim, kept_at=checked_at)


def _parse(body: bytes, content_type: str, url: str, project: str, *, only_its_own: bool) -> tuple[ProjectPage, str]:
    page = parse_page(body, content_type, url, project)
    if only_its_own:
        page = replace(page, files=tuple(file for file in page.files if project in projects_of(file.filename)))
    return page, blake3(body).hexdigest(length=16)


def _digests(held: HeldPage | None) -> frozenset[Sha256]:
    files = held.page.files if held is not None and held.page is not None else ()
    return frozenset(file.sha256 for file in files if file.sha256 is not None)


def _weight(held: HeldPage) -> int:
    # Even an empty page and its key cost what a few files cost.
    return 2 + (len(held.page.files) if held.page is not None else 0)
