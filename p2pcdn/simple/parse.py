"""A page as an index sent it, JSON or HTML, becomes a `ProjectPage`; the JSON half stands here (PEP 691, 700, 714)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.message import Message
from typing import Any, NoReturn

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.simple.described import DescribedFiles, check_depth, kept_of
from p2pcdn.simple.model import FILES_MAX, ProjectPage
from p2pcdn.simple.parse_html import read_html

_VERSION = re.compile(r"([0-9]{1,9})\.[0-9]{1,9}", re.ASCII)


def parse_page(content: bytes, content_type: str, url: str, project: str) -> ProjectPage:
    """Reads the page of `project`.

    content: the whole page, already bounded in size and out of its content coding.
    content_type: the header's value; "" where there was none (a directory's page), then the first character decides.
    url: the page's own, after redirects.

    A file whose name, URL or sha256 is not safe to pass on is left out and counted in `left_out`. Raises
    RemoteProtocolError for what is no project page: another content type, JSON of another shape or of api-version 2
    (PEP 629), text in another encoding than it says, a captive portal's page, more than `FILES_MAX` files.
    """
    media_type, charset = _content_type(content_type, content)
    if media_type in ("application/vnd.pypi.simple.v1+json", "application/json"):
        return _from_json(content, url, project)
    if media_type in ("application/vnd.pypi.simple.v1+html", "text/html", "application/xhtml+xml"):
        page = read_html(content, charset, url, project)
        check_version(page.version)
        return _page(project, page.files, page.raw, url, page.left_out)
    raise RemoteProtocolError(f"{url}: content type {content_type[:80]!r} is no project page")


def check_version(version: object) -> None:
    """Raises RemoteProtocolError unless we can read pages of this version (PEP 629: any 1.x)."""
    match = _VERSION.fullmatch(str(version))
    if match is None:
        raise RemoteProtocolError(f"api-version {str(version)[:40]!r} is no version")
    if int(match[1]) != 1:
        raise RemoteProtocolError(f"api-version {match[0]} is not one that this release reads (1.x)")


def _content_type(header: str, content: bytes) -> tuple[str, str | None]:
    if not header.strip():
        return ("application/json" if content.lstrip()[:1] == b"{" else "text/html"), None
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    charset = message.get_param("charset")
    return header.split(";", 1)[0].strip().lower(), charset if isinstance(charset, str) else None


def _from_json(content: bytes, url: str, project: str) -> ProjectPage:
    page = _decode(content, url)
    if not isinstance(page, dict):
        raise RemoteProtocolError(f"{url}: the page is no JSON object")
    files = page.pop("files", None)
    if not isinstance(files, list):
        raise RemoteProtocolError(f"{url}: the page has no list of files")
    meta = page.get("meta", {})
    if not isinstance(meta, dict):
        raise RemoteProtocolError(f"{url}: `meta` is no object")
    # Some static indexes leave `meta` out; 1.0 demands nothing that such a page could lack.
    version = meta.get("api-version", "1.0")
    check_version(version)
    check_depth(page, url)
    raw = {"meta": {**meta, "api-version": str(version)}, "name": project} | {
        key: value for key, value in page.items() if key != "meta"
    }
    return _page(project, files, raw, url, 0)


def _decode(content: bytes, url: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError, MemoryError) as error:
        raise RemoteProtocolError(f"{url}: not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _page(project: str, described: list[Any], raw: Mapping[str, Any], url: str, left_out: int) -> ProjectPage:
    if len(described) > FILES_MAX:
        raise RemoteProtocolError(f"{url}: lists more than {FILES_MAX} files")
    kept = kept_of(described, url)
    return ProjectPage(project, DescribedFiles(kept) if kept else (), raw, left_out + len(described) - len(kept))
