"""The HTML form of a page (PEP 503 with 592, 629, 658, 714, 740, 792; frozen by PEP 833), read into the JSON form."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin

from packaging.version import InvalidVersion, Version

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.names import normalize_project
from p2pcdn.simple.links import absolute_url
from p2pcdn.simple.model import FILES_MAX

# Kinds of file that an installer has ever taken from an index; a link to anything else is a file only if it has a hash.
FILE_ENDINGS = (".whl", ".egg", ".exe", ".msi", ".rpm", ".dmg", ".deb", ".zip", ".tgz", ".tar", ".tar.gz", ".tar.bz2",
                ".tar.xz", ".tar.Z")  # fmt: skip

# PEP 503: any hash that hashlib always has, except those whose length the digest does not tell.
_HASHES = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
_DIGEST = re.compile(r"[0-9A-Fa-f]+", re.ASCII)

# HTML of an index is one of these; refusing the rest keeps odd codecs (utf-7, escapes) away from what we did not write.
_CHARSETS = {"utf-8": "utf-8-sig", "ascii": "ascii", "iso8859-1": "cp1252", "cp1252": "cp1252", "utf-16": "utf-16"}
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
# HTML says that the charset stands within the first 1024 bytes.
_META_CHARSET_WITHIN_BYTES = 1024

# What a login or error page has, and a list of files does not.
_PORTAL_TAGS = frozenset({"form", "input", "button", "script", "iframe", "frame", "embed", "object"})
_METAS_MAX = 64
# The listing of an empty directory has a way up and links to sort by; a thousand links without a file are none.
_LINKS_WITHOUT_FILE_MAX = 1000


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """files and raw: as PEP 691 would say it. version: what the page says of itself (PEP 629). left_out: links to files
    whose URL or name is not safe."""

    files: list[dict[str, Any]]
    raw: dict[str, Any]
    version: str
    left_out: int


def read_html(content: bytes, charset: str | None, url: str, project: str) -> HtmlPage:
    """Reads a project page; the arguments and errors are those of `parse_page`.

    A page without files counts as the page of a project without files only if it says pypi:repository-version, or if it
    is HTML (a doctype or an <html>) without forms, scripts, frames and refreshes, whose links, if any, lead only to the
    page itself, its directory or the one above, as the links of a directory listing do. Anything else is what a portal
    or a front server says in the index's place, and raises RemoteProtocolError.
    """
    seen = _Reader()
    try:
        seen.feed(_text(content, charset, url))
    except AssertionError as error:  # html.parser asserts on a marked section that it does not know
        raise RemoteProtocolError(f"{url}: not HTML: {error}") from error
    if "<a" in seen.rawdata.lower():
        raise RemoteProtocolError(f"{url}: the page is cut off within a link")
    if len(seen.links) > FILES_MAX:
        raise RemoteProtocolError(f"{url}: has more than {FILES_MAX} links")
    base = _base(url, seen.base)
    files = []
    left_out = 0
    others = []
    for link in seen.links:
        href = link["href"] or ""
        if (file := _file(base, href, link)) is not None:
            files.append(file)
        elif _looks_like_file(href):
            left_out += 1
        else:
            others.append(href)
    version = seen.metas.get("pypi:repository-version")
    if not (files or left_out or version is not None or _is_empty_listing(seen, base, others)):
        raise RemoteProtocolError(f"{url}: an HTML page that is no project page")
    return HtmlPage(files, _raw(project, files, seen.metas), "1.0" if version is None else version, left_out)


class _Reader(HTMLParser):
    """Collects links and metas. Only `feed` is used, never `close`: html.parser is quadratic in what is unfinished."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[dict[str, str | None]] = []
        self.metas: dict[str, str] = {}
        self.base: str | None = None
        self.is_html = False
        self.is_portal = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            # HTML: of an attribute that stands twice the first counts.
            link = dict(reversed(attrs))
            if link.get("href") is not None:
                self.links.append(link)
        elif tag == "meta":
            self._meta(dict(reversed(attrs)))
        elif tag == "base":
            self.base = self.base if self.base is not None else dict(reversed(attrs)).get("href")
        elif tag == "html":
            self.is_html = True
        elif tag in _PORTAL_TAGS:
            self.is_portal = True

    def handle_decl(self, decl: str) -> None:
        self.is_html = (
            self.is_html or decl.lower().split() == ["doctype", "html"] or decl.lower()[:13] == "doctype html "
        )

    def updatepos(self, i: int, j: int) -> int:
        return j  # nobody asks for line numbers, and counting them takes a fifth of the time

    def _meta(self, attributes: dict[str, str | None]) -> None:
        name, text = (attributes.get("name") or "").lower(), attributes.get("content")
        if name.startswith("pypi:") and text is not None and len(self.metas) < _METAS_MAX:
            self.metas.setdefault(name, text)
        elif (attributes.get("http-equiv") or "").lower() == "refresh":
            self.is_portal = True


def _text(content: bytes, charset: str | None, url: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    elif content.startswith(codecs.BOM_UTF8):
        charset = "utf-8"
    elif charset is None and (match := _META_CHARSET.search(content[:_META_CHARSET_WITHIN_BYTES])):
        charset = match[1].decode("ascii")
    try:
        codec = _CHARSETS[codecs.lookup(charset or "utf-8").name]
        return content.decode(codec)
    except (LookupError, ValueError) as error:
        raise RemoteProtocolError(f"{url}: not text in {(charset or 'utf-8')[:40]!r}: {error}") from error


def _base(url: str, base: str | None) -> str:
    if base is None:
        return url
    return absolute_url(url, base) or url


def _file(base: str, href: str, link: dict[str, str | None]) -> dict[str, Any] | None:
    """The link as PEP 691 describes a file; None where it is not one, or leads where we do not follow."""
    url = absolute_url(base, href)
    if url is None:
        return None
    hashes = _hashes(href)
    filename = _filename(url)
    if filename is None or not (hashes or filename.endswith(FILE_ENDINGS)):
        return None
    file: dict[str, Any] = {"filename": filename, "url": url, "hashes": hashes}
    if (requires_python := link.get("data-requires-python")) is not None:
        file["requires-python"] = requires_python
    if (metadata := link.get("data-core-metadata", link.get("data-dist-info-metadata"))) is not None:
        file["core-metadata"] = _metadata(metadata)
    if "data-yanked" in link:
        file["yanked"] = link["data-yanked"] or True
    if (signed := (link.get("data-gpg-sig") or "").lower()) in ("true", "false"):
        file["gpg-sig"] = signed == "true"
    if provenance := link.get("data-provenance"):
        file["provenance"] = provenance
    return file


def _hashes(href: str) -> dict[str, str]:
    """The hashes of a fragment: `sha256=…`; pip also reads `egg=…&sha256=…`."""
    _, _, fragment = href.partition("#")
    if not fragment:
        return {}
    pairs = (part.partition("=")[::2] for part in fragment.strip().split("&"))
    return {name: digest for name, digest in pairs if name in _HASHES and digest}


def _filename(url: str) -> str | None:
    """The last segment of the path, decoded, as installers do it; the text of a link is decoration."""
    segment = url.partition("?")[0].rpartition("/")[2]
    try:
        return unquote(segment, errors="strict") or None
    except UnicodeDecodeError:
        return None


def _metadata(text: str) -> bool | dict[str, str]:
    """PEP 714: `sha256=…`, or `true`."""
    name, _, digest = text.strip().partition("=")
    if name in _HASHES and _DIGEST.fullmatch(digest):
        return {name: digest}
    return text.strip().lower() == "true"


def _looks_like_file(href: str) -> bool:
    return unquote(href.partition("#")[0].partition("?")[0]).strip().endswith(FILE_ENDINGS)


def _is_empty_listing(seen: _Reader, base: str, links: list[str]) -> bool:
    if not seen.is_html or seen.is_portal or len(links) > _LINKS_WITHOUT_FILE_MAX:
        return False
    try:
        near = {urljoin(base, step).partition("?")[0] for step in ("", ".", "..")}
        return all(urljoin(base, link.strip()).partition("#")[0].partition("?")[0] in near for link in links)
    except ValueError:
        return False


def _raw(project: str, files: list[dict[str, Any]], metas: dict[str, str]) -> dict[str, Any]:
    # PEP 700 demands sizes from 1.1 on, and HTML has none; so the page is 1.0, whatever the HTML called itself.
    raw: dict[str, Any] = {"meta": {"api-version": "1.0"}, "name": project}
    if status := metas.get("pypi:project-status"):
        raw["project-status"] = {"status": status}
        if reason := metas.get("pypi:project-status-reason"):
            raw["project-status"]["reason"] = reason
    if (versions := versions_of(project, (file["filename"] for file in files))) is not None:
        raw["versions"] = versions
    return raw


def versions_of(project: str, filenames: Iterable[str]) -> list[str] | None:
    """The versions that these files are of, in order (PEP 700); None where one file does not tell."""
    pairs = {_name_and_version(filename) for filename in filenames}
    try:
        if {normalize_project(name) for name in {name for name, _ in pairs}} - {project}:
            return None
        # Of two spellings of one version the first counts, in an order that does not depend on the set's.
        versions = {Version(version) for version in sorted({version for _, version in pairs})}
    except (ValueError, InvalidVersion):
        return None
    return [str(version) for version in sorted(versions)]


def _name_and_version(filename: str) -> tuple[str, str]:
    if filename.endswith((".whl", ".egg")):
        name, _, rest = filename.partition("-")
        return name, rest.partition("-")[0].removesuffix(".egg")
    for ending in (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar.Z", ".tar"):
        if filename.endswith(ending):
            name, _, version = filename.removesuffix(ending).rpartition("-")
            return name, version
    return "", ""
