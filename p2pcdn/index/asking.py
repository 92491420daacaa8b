"""One question to an upstream for a project page, and its answer as bytes: conditions, limits, what is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from p2pcdn.answers import refusal
from p2pcdn.counters import Counters
from p2pcdn.errors import NotFound, Refused, RemoteProtocolError, Unavailable
from p2pcdn.index.freshness import freshness_of
from p2pcdn.index.heaps import Answer
from p2pcdn.index.held import HeldPage
from p2pcdn.index.shelf import PAGE_SIZE_BYTES_MAX
from p2pcdn.world import Index, Upstream

# From the first word to the last byte. The largest pages come in this time at 100 kB/s; one that drips is no page, and
# everybody who asks for it waits for the same answer.
PAGE_TIME_S = 300.0

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, slots=True)
class PageQuestions:
    """Asks an upstream. Holds nothing between two questions."""

    upstream: Upstream
    counters: Counters

    async def ask(self, index: Index, project: str, held: HeldPage | None) -> Answer | None:
        """One request; None where the index says that there is no such page. held: what need not come again.

        Raises Unavailable, Refused, RemoteProtocolError.
        """
        headers = {"accept": _ACCEPT, "accept-encoding": "gzip", **_conditions(held)}
        self.counters.upstream_page_requests += 1
        with trio.move_on_after(PAGE_TIME_S):
            return await self._answer(index, project, held, headers)
        raise Unavailable(f"The page of {project} at {index.url} did not come within {PAGE_TIME_S:.0f} s.")

    async def _answer(
        self, index: Index, project: str, held: HeldPage | None, headers: Mapping[str, str]
    ) -> Answer | None:
        async with self.upstream.get(index, index.page_url(project), headers) as response:
            error = refusal(response.status, response.headers, response.url)
            if isinstance(error, NotFound) or response.status in index.absent:
                return None
            if error is not None:
                raise error
            fresh = freshness_of(response.headers)
            unchanged = held is not None and response.status == 304 and bool(_conditions(held))
            if response.status != 200 and not unchanged:
                raise RemoteProtocolError(f"{response.url} answered {response.status}, which nobody asked for.")
            if held is not None and unchanged:
                # A field that a 304 leaves out stays what it was (RFC 9111, section 3.2).
                fresh = fresh if "cache-control" in response.headers else held.freshness
                return Answer(b"", dict(response.headers), response.url, fresh, unchanged=True)
            body = await self._read(index, project, response.body)
        return Answer(body, dict(response.headers), response.url, fresh)

    async def _read(self, index: Index, project: str, body: AsyncIterator[bytes]) -> bytes:
        content = bytearray()
        async for chunk in body:
            content += chunk
            self.counters.page_bytes[index.label] += len(chunk)
            if len(content) > PAGE_SIZE_BYTES_MAX:
                raise Refused(
                    f"The page of {project} at {index.url} is larger than {PAGE_SIZE_BYTES_MAX >> 20} MiB; it was cut."
                )
        return bytes(content)


def record_of(answer: Answer, checked_at: float) -> dict[str, Any]:
    """What is kept of a page beside its body; see `PageShelf.parsed`."""
    headers, fresh = answer.headers, answer.fresh
    serial = headers.get("x-pypi-last-serial", "")
    return {
        "body": answer.body,
        "type": headers.get("content-type", ""),
        "url": answer.url,
        "etag": _validator(headers, "etag"),
        "last_modified": _validator(headers, "last-modified"),
        "serial": int(serial) if serial.isascii() and serial.isdigit() and len(serial) < 18 else None,
        "checked_at": checked_at,
        "freshness": [fresh.fresh_s, fresh.stale_while_revalidate_s],
    }


def _validator(headers: Mapping[str, str], name: str) -> str | None:
    """A field that we may send back; one with other letters could not be sent, and would count as absent."""
    value = headers.get(name)
    return value if value is not None and value.isascii() and value.isprintable() else None


def _conditions(held: HeldPage | None) -> dict[str, str]:
    """The validators of the page we have (RFC 9110, section 13.1)."""
    if held is None or held.page is None:
        return {}
    if held.etag:
        return {"if-none-match": held.etag}
    return {"if-modified-since": held.last_modified} if held.last_modified else {}
