"""Pages given to the members of a group: what they ask, where a node keeps what it may say, and the answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from p2pcdn.http1 import Request, Response
from p2pcdn.swarm.wire.messages import CBOR_TYPE

_CLAIM = re.compile(r"/v1/page/([0-9a-f]{64})", re.ASCII)
_PAGE = re.compile(r"/v1/page/([0-9a-f]{64})/([0-9a-f]{64})", re.ASCII)
# The header in which a claim comes with the size of its page: so much room is made for it, and no more.
PAGE_SIZE = "page-size"
_NOT_HELD = Response(404)
_CBOR = (("content-type", CBOR_TYPE),)


@dataclass(frozen=True, slots=True)
class AskClaim:
    """What do you know to have been said of this page? id: see `Claims.id_of`."""

    id: str

    def target(self) -> str:
        return f"/v1/page/{self.id}"


@dataclass(frozen=True, slots=True)
class AskPage:
    """Give me the page of which that was said. body_hash: 64 hexadecimal digits."""

    id: str
    body_hash: str

    def target(self) -> str:
        return f"/v1/page/{self.id}/{self.body_hash}"


@dataclass(frozen=True, slots=True)
class Word:
    """An encoded claim, and the size of the content that it is about."""

    encoded: bytes
    size_bytes: int


class Source(Protocol):
    """The pages of this node. sealed: whether only that member can read the answer; private pages are given so only."""

    async def claim(self, id_: str, *, sealed: bool) -> Word | None:
        """The claim about a page, ours or the one it came by; None where there is none to give."""
        ...

    async def content(self, id_: str, body_hash: bytes, *, sealed: bool) -> bytes | None:
        """The content that was signed, if the page still is that one."""
        ...

    async def count(self) -> int:
        """How many pages members can ask for."""
        ...


def answer_about_page(source: Source, request: Request, *, sealed: bool) -> Awaitable[Response] | None:
    """The answer to a member's question about pages; None where it asks for something else. sealed: see `Source`."""
    if match := _CLAIM.fullmatch(request.path):
        return _word_given(source.claim(match[1], sealed=sealed))
    if match := _PAGE.fullmatch(request.path):
        return _page_given(source.content(match[1], bytes.fromhex(match[2]), sealed=sealed))
    return None


async def _word_given(finding: Awaitable[Word | None]) -> Response:
    word = await finding
    return _NOT_HELD if word is None else Response(200, (*_CBOR, (PAGE_SIZE, str(word.size_bytes))), word.encoded)


async def _page_given(finding: Awaitable[bytes | None]) -> Response:
    content = await finding
    return _NOT_HELD if content is None else Response(200, _CBOR, content)
