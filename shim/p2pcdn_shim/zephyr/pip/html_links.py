"""The links of an HTML page that lists archives: an index's page, or any other that was given with --find-links."""

from __future__ import annotations

from contextlib import suppress
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urljoin

from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.link import Link, link_at, percent_encoded
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The largest indexes list some ten thousand files.
LINKS_MAX = 500_000


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.anchors: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "base" and not self.base:
            self.base = named.get("href") or ""
        elif tag == "a" and len(self.anchors) < LINKS_MAX:
            self.anchors.append(named)


def links_of(text: str, page: str) -> Iterator[Link]:
    """page: the URL of the page itself."""
    parser = _Anchors()
    parser.feed(text)
    base = urljoin(page, parser.base) if parser.base else page
    for anchor in parser.anchors:
        href = anchor.get("href")
        if href:
            with suppress(ValueError, PipError):  # one that cannot be read leads nowhere; the others do
                yield _link(href, anchor, base, page)


def _link(href: str, anchor: Mapping[str, str | None], base: str, page: str) -> Link:
    found = link_at(percent_encoded(urljoin(base, href.strip())), page=page)
    return Link(
        found.url,
        found.hashes,
        page,
        unescape(anchor.get("data-requires-python") or ""),
        anchor.get("data-yanked") if "data-yanked" not in anchor else (unescape(anchor["data-yanked"] or "")),
        "",
        _metadata(anchor),
    )


def _metadata(anchor: Mapping[str, str | None]) -> Mapping[str, str] | None:
    """PEP 714: the newer key first; "true" without a hash."""
    for key in ("data-core-metadata", "data-dist-info-metadata"):
        if key in anchor:
            value = anchor[key] or "true"
            if value == "false":
                return None
            name, sign, digest = value.partition("=")
            return {name: digest} if sign else {}
    return None
