"""Project pages on the word of the group: what is signed of a page, what this node signs, and what it takes.

The content that is signed is the page as its index sent it and as it lies in the store: type, URL, serial, and the
body as it was packed. Yanked marks and withdrawn files are in it, for they are what the body says.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import trio
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.bounded import forget_oldest
from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.group import Claim
from p2pcdn.index.held import HeldPage
from p2pcdn.index.shelf import GONE, PageShelf, checked_record, unpacked
from p2pcdn.names import is_normalized
from p2pcdn.store import Store
from p2pcdn.swarm.group.claims import AHEAD_S_MAX, KIND, PAGE_SIZE_BYTES_MAX, Claims
from p2pcdn.swarm.group.given_pages import Word
from p2pcdn.world import Clock, Index, Threads

log = logging.getLogger(__name__)

# Claims in memory, some 250 bytes each; the others are signed again when somebody asks.
SIGNED_MAX = 4096
# Names of pages read before others have a turn.
NAMES_AT_ONCE = 256

_GONE = frames.encode({"gone": True})
_SUBJECT_CONTEXT = "p2pcdn 2026 page claim v1"


def subject_of(index: Index, project: str) -> bytes:
    """What a claim about a page is about. Pages of two indexes never stand for each other (dependency confusion)."""
    name = frames.encode([index.url, project])
    return bytes(blake3(name, derive_key_context=_SUBJECT_CONTEXT).digest())


def may_go_to_members(index: Index) -> bool:
    """Whether members may know its pages. A directory of this machine is another one on each machine."""
    return index.share != "never" and not index.url.startswith("file:")


def is_sealed(index: Index) -> bool:
    """Whether its pages go over encrypted connections only."""
    return index.private or index.share != "lan"


class ClaimedPages:
    """What `Pages` has of the group. Used by one trio loop."""

    def __init__(
        self,
        indexes: Sequence[Index],
        *,
        shelf: PageShelf,
        store: Store,
        claims: Claims,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._indexes = {index.key: index for index in indexes if may_go_to_members(index)}
        self._shelf = shelf
        self._store = store
        self._claims = claims
        self._threads = threads
        self._clock = clock
        self._names: dict[bytes, tuple[Index, str]] = {}
        self._names_read = False
        self._reading = trio.Lock()
        # By index key and project: what was signed, by version and time.
        self._signed: dict[tuple[str, str], tuple[str, float, Word | None]] = {}
        shelf.on_kept = self._note_kept
        claims.source = self

    # --- taken from members

    def can_help(self, index: Index) -> bool:
        """Whether there is anybody to ask for pages of this index now."""
        return index.key in self._indexes and self._claims.can_ask()

    def somebody_is_silent(self, index: Index) -> bool:
        """Whether a member that may have pages of this index does not answer now."""
        return index.key in self._indexes and self._claims.somebody_is_silent()

    async def heard_again(self, index: Index, until: float) -> bool:
        """Waits for such a member; False where there is none, or none answers by then (trio's time)."""
        return index.key in self._indexes and await self._claims.heard_again(until)

    async def newest(self, index: Index, project: str, held: HeldPage | None) -> HeldPage | None:
        """The newest page that members confirmed, kept now; None where what we hold is as new, or nobody answers."""

        asked_at = self._clock.now()

        async def take(claim: Claim, encoded: bytes, content: bytes) -> HeldPage:
            return await self._take(index, project, asked_at, claim, encoded, content)

        newer_than = held.checked_at if held is not None else float("-inf")
        subject = subject_of(index, project)
        return await self._claims.newest(subject, newer_than=newer_than, sealed=is_sealed(index), read=take)

    async def _take(
        self, index: Index, project: str, asked_at: float, claim: Claim, encoded: bytes, content: bytes
    ) -> HeldPage:
        record = _record_of(content) | {"checked_at": claim.made_at, "claim": encoded, "serial": None}
        try:
            page = await self._shelf.opened(index, project, record)
        except (ValueError, zlib.error) as error:
            raise RemoteProtocolError(f"its body cannot be unpacked: {error}") from error
        async with self._shelf.turn(index, project):
            held = await self._shelf.recall(index, project)
            # What our upstream said meanwhile is the newer, whatever the clock of the claim's maker shows.
            answered = held is not None and held.claim is None and held.checked_at >= asked_at
            if held is not None and (answered or held.checked_at >= claim.made_at):
                return held
            said, serial = record.get("signed_serial"), held.serial if held is not None else None
            if serial is not None and said is not None and said < serial:
                # A mirror that is behind would bring back what was withdrawn.
                raise RemoteProtocolError(f"it goes back from serial {serial} to {said}")
            # Only our upstream moves the serial on: a member's could make us refuse every later page.
            page = replace(page, serial=serial)
            await self._shelf.keep_packed(held, page, {**record, "serial": serial})
            self._shelf.remember(page)
            return page

    # --- given to members

    async def claim(self, id_: str, *, sealed: bool) -> Word | None:
        """The claim about a page: the one that it came by, else our own word for what our upstream said."""
        name = await self._find(id_, sealed)
        held = await self._shelf.recall(*name) if name is not None else None
        if held is None:
            return None
        key = held.index.key, held.project
        version, checked_at, word = self._signed.get(key, ("", 0.0, None))
        if (version, checked_at) != (held.version, held.checked_at):
            content = await self._content_of(held)
            encoded = self._word_for(held, content) if content is not None else None
            word = Word(encoded, len(content)) if content is not None and encoded is not None else None
            self._signed[key] = held.version, held.checked_at, word
            forget_oldest(self._signed, SIGNED_MAX)
        return word

    def _word_for(self, held: HeldPage, content: bytes) -> bytes | None:
        now, subject = self._clock.now(), subject_of(held.index, held.project)
        if held.claim is not None:
            # It may have come in by an export, or of another group: we pass on nothing that we would not take.
            try:
                claim = Claim.decode(held.claim)
            except RemoteProtocolError:
                return None
            good = claim.subject == subject and claim.check(self._claims.identity, content, now) is None
            return held.claim if good else None
        if not 0 <= held.checked_at <= now + AHEAD_S_MAX:
            return None  # our clock was set back: nobody would believe it
        return Claim.make(self._claims.identity, KIND, subject, content, held.checked_at).encode()

    async def content(self, id_: str, body_hash: bytes, *, sealed: bool) -> bytes | None:
        """What was signed, if the page still says that."""
        name = await self._find(id_, sealed)
        row = self._shelf.row(*name) if name is not None else None
        content = _content_of_row(row) if row is not None else None
        return content if content is not None and blake3(content).digest() == body_hash else None

    async def count(self) -> int:
        """How many pages members can ask for."""
        return len(await self._all_names())

    async def _content_of(self, held: HeldPage) -> bytes | None:
        """The content of the page as it lies in the store, if that is the page that memory knows."""
        row = self._shelf.row(held.index, held.project)
        content = _content_of_row(row) if row is not None else None
        if content is None or len(content) > PAGE_SIZE_BYTES_MAX:
            return None
        version = GONE if content == _GONE else await self._threads.run(_version_of, content)
        return content if version == held.version else None

    async def _find(self, id_: str, sealed: bool) -> tuple[Index, str] | None:
        found = (await self._all_names()).get(bytes.fromhex(id_))
        if found is None or (is_sealed(found[0]) and not sealed):
            return None  # private ones look like unknown ones
        return found

    async def _all_names(self) -> Mapping[bytes, tuple[Index, str]]:
        """The pages that the store has, by their ids; read once, and kept by `_note_kept`."""
        async with self._reading:
            for number, key in enumerate(self._store.keys("pages") if not self._names_read else ()):
                index_key, _, project = key.partition("/")
                if index_key in self._indexes and is_normalized(project):
                    self._note_kept(self._indexes[index_key], project)
                if number % NAMES_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            self._names_read = True
        return self._names

    def _note_kept(self, index: Index, project: str) -> None:
        if index.key in self._indexes:
            self._names[self._id(index, project)] = index, project

    def _id(self, index: Index, project: str) -> bytes:
        return bytes.fromhex(self._claims.id_of(subject_of(index, project)))


def _content_of_row(row: bytes) -> bytes | None:
    """The content that is signed, out of a row of the store."""
    try:
        record = checked_record(frames.decode(row))
    except (P2pcdnError, KeyError, TypeError, ValueError):
        return None
    if record.get("gone"):
        return _GONE
    return frames.encode(
        {
            "body": record["body"],
            "serial": record["serial"] if record.get("claim") is None else record.get("signed_serial"),
            "type": record["type"],
            # What stands behind the path of a URL may be a key to it, and no link is relative to that.
            "url": record["url"].partition("#")[0].partition("?")[0],
        }
    )


def _record_of(content: bytes) -> dict[str, Any]:
    """The record that a content describes, without what its claim says. Raises RemoteProtocolError."""
    fields = frames.decode(content)
    if fields == {"gone": True}:
        return {"gone": True}
    if not isinstance(fields, Mapping) or set(fields) != set(_FIELDS):
        raise RemoteProtocolError("its fields are not those of a page")
    if wrong := [name for name, kind in _FIELDS.items() if not isinstance(fields[name], kind)]:
        raise RemoteProtocolError(f"{', '.join(wrong)} of it are not what they should be")
    if not fields["url"].startswith(("https://", "http://")):
        raise RemoteProtocolError("its URL is none that leads to an index")
    # Its validators are not ours: were they taken, a 304 would confirm a body that our upstream never gave.
    known = {"body": fields["body"], "type": fields["type"], "url": fields["url"], "signed_serial": fields["serial"]}
    return {**known, "etag": None, "last_modified": None, "freshness": [0.0, 0.0]}


_FIELDS: Mapping[str, Any] = {"body": bytes, "serial": int | None, "type": str, "url": str}


def _version_of(content: bytes) -> str:
    try:
        return str(blake3(unpacked(frames.decode(content)["body"])).hexdigest(length=16))
    except (P2pcdnError, ValueError, zlib.error):
        return ""
