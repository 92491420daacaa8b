"""Provenance objects (PEP 740): fetched where an index has them, and the publishers that they name, unverified."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pcdn import frames
from p2pcdn.answers import refusal
from p2pcdn.errors import NotFound, Refused, StoreStopped, Unavailable
from p2pcdn.fetch import Wanted
from p2pcdn.simple import File, absolute_url
from p2pcdn.store import Store
from p2pcdn.world import Index, Upstream

log = logging.getLogger(__name__)

# An attestation has some 10 KB; a file has one of each of its publishers.
PROVENANCE_SIZE_BYTES_MAX = 2 * 1024 * 1024
# Of one file; and of what each says of itself, which goes into locks.
PUBLISHERS_MAX = 16
PUBLISHER_SIZE_BYTES_MAX = 4096
_ACCEPT = {"accept": "application/vnd.pypi.integrity.v1+json"}


@dataclass(slots=True)
class Provenances:
    """Used by one trio loop. Publishers are kept by the index that names them and the file's hash: what was attested
    once stays so.
    """

    store: Store
    upstream: Upstream

    async def content(self, index: Index, url: str, filename: str) -> bytes | None:
        """The object at a page's link; None where there is none. Raises Unavailable, Refused."""
        async with self.upstream.get(index, url, _ACCEPT) as response:
            error = refusal(response.status, response.headers, response.url)
            if isinstance(error, NotFound):
                return None
            if error is not None:
                raise error
            content = bytearray()
            async for part in response.body:
                content += part
                if len(content) > PROVENANCE_SIZE_BYTES_MAX:
                    raise Refused(f"The provenance of {filename} has more than {PROVENANCE_SIZE_BYTES_MAX >> 20} MiB.")
        return bytes(content)

    async def publishers(self, wanted: Wanted) -> Sequence[Mapping[str, Any]]:
        """Who published a file, as its index says it: "publisher" of each bundle, without what is null.

        Nothing is verified; that is for who installs. Raises Unavailable, Refused.
        """
        link = link_of(wanted.index, wanted.file)
        if link is None or wanted.file.sha256 is None:
            return ()
        key = f"published/{wanted.index.key}/{wanted.file.sha256}"
        octets = self.store.value("environments", key)
        if octets is not None:
            found: list[Mapping[str, Any]] = frames.decode_own(octets)
            return found
        content = await self.content(wanted.index, link, wanted.file.filename)
        if content is None:
            return ()  # the page says that there is one: it may come yet
        said = publishers_in(content)
        await self._keep(key, frames.encode(said))
        return said

    async def _keep(self, key: str, octets: bytes) -> None:
        try:
            await self.store.change(values={("environments", key): octets})
        except StoreStopped as error:
            log.info("who published a file is asked again the next time: %s", error)


def link_of(index: Index, file: File) -> str | None:
    """Where the index has the provenance of a file that it lists (PEP 740, "provenance")."""
    link = file.raw.get("provenance")
    return absolute_url(index.url, link) if isinstance(link, str) else None


def publishers_in(content: bytes) -> list[dict[str, Any]]:
    """The publishers of a provenance object, sorted, each once. Raises Unavailable for what is none."""
    try:
        bundles = json.loads(content)["attestation_bundles"]
        rows = [_said(bundle["publisher"]) for bundle in bundles[:PUBLISHERS_MAX]]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Unavailable(f"the index says of a file's publisher what cannot be read ({error})") from error
    texts = dict.fromkeys(json.dumps(row, sort_keys=True) for row in rows)
    return [json.loads(text) for text in sorted(texts)]


def _said(publisher: Mapping[str, Any]) -> dict[str, Any]:
    """Its keys as they are (PEP 751, "packages.attestation-identities"), the kind first. TOML has no null, and its
    numbers have 64 bits.
    """
    said = {
        str(key): value
        for key, value in sorted(publisher.items())
        if isinstance(value, str) or (isinstance(value, bool | int) and abs(value) < 2**63)
    }
    kind = said.pop("kind")
    text = json.dumps(publisher, ensure_ascii=False)
    if not isinstance(kind, str) or len(text.encode()) > PUBLISHER_SIZE_BYTES_MAX:  # half a character is a ValueError
        raise ValueError("a publisher has a kind, and few words")
    return {"kind": kind, **said}
