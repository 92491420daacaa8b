"""A `ProjectPage` written for clients, as JSON (PEP 691) or HTML (PEP 503, in the form frozen by PEP 833)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from p2pcdn.digest import Sha256
from p2pcdn.simple.described import METADATA_KEYS
from p2pcdn.simple.model import File, ProjectPage

Link = Callable[[File], str]
MadeMetadata = Callable[[File], Sha256 | None]

# PEP 833: HTML stays what it was at 1.4; later versions exist in JSON only.
_HTML_MINOR_MAX = 4

# A link has room for one hash; the one that everybody checks first, then the stronger before the weaker.
_HASH_ORDER = ("sha256", "sha512", "sha384", "blake2b", "blake2s", "sha3_256", "sha224", "sha1", "md5")
_DIGEST = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


def render_json(page: ProjectPage, link: Link, made_metadata: MadeMetadata) -> bytes:
    """The page as JSON: what the index said, except where files are and which have core metadata.

    link: where a client gets a file from us. made_metadata: the sha256 of core metadata that we have made ourselves for
    a file whose index has none, or names none by sha256; clients fail hard on metadata that differs from its hash, so
    none is advertised without.
    """
    files = [_json_file(file, link(file), made_metadata) for file in page.files]
    return json.dumps({**page.raw, "files": files}, separators=(",", ":"), allow_nan=False).encode("ascii")


def render_html(page: ProjectPage, link: Link, made_metadata: MadeMetadata) -> bytes:
    """The page as HTML; the arguments are those of `render_json`."""
    title = escape(f"Links for {page.project}")
    lines = [
        "<!DOCTYPE html>",
        "<html>",
        "<head>",
        f'<meta name="pypi:repository-version" content="{_html_version(page.raw)}">',
        *_status_metas(page.raw),
        f"<title>{title}</title>",
        "</head>",
        "<body>",
        f"<h1>{title}</h1>",
        *[_anchor(file, link(file), made_metadata) for file in page.files],
        "</body>",
        "</html>",
        "",
    ]
    # A lone surrogate can come in by a JSON escape and has no encoding; a reader sees a question mark.
    return "\n".join(lines).encode("utf-8", errors="replace")


def _json_file(file: File, url: str, made_metadata: MadeMetadata) -> dict[str, Any]:
    raw = {**file.raw, "url": url}
    said = next((key for key in METADATA_KEYS if key in raw), None)
    if isinstance(file.core_metadata, Sha256):
        value = raw[said] if said else {"sha256": file.core_metadata}
    elif made := made_metadata(file):
        value = {"sha256": made}
    elif said and raw[said] is False:
        return raw
    else:
        for key in METADATA_KEYS:
            raw.pop(key, None)
        return raw
    raw["core-metadata"] = value
    # PEP 714: an older key must say the same; none is added.
    for key in METADATA_KEYS[1:]:
        if key in raw:
            raw[key] = value
    return raw


def _html_version(raw: Mapping[str, Any]) -> str:
    minor = raw["meta"]["api-version"].partition(".")[2]
    return f"1.{min(int(minor), _HTML_MINOR_MAX)}"


def _status_metas(raw: Mapping[str, Any]) -> list[str]:
    """PEP 792."""
    status = raw.get("project-status")
    if not isinstance(status, Mapping) or not isinstance(status.get("status"), str):
        return []
    metas = [f'<meta name="pypi:project-status" content="{escape(status["status"])}">']
    if isinstance(status.get("reason"), str):
        metas.append(f'<meta name="pypi:project-status-reason" content="{escape(status["reason"])}">')
    return metas


def _anchor(file: File, url: str, made_metadata: MadeMetadata) -> str:
    attributes = [f'href="{escape(url)}{_fragment(file)}"']
    if file.requires_python is not None:
        attributes.append(f'data-requires-python="{escape(file.requires_python)}"')
    if metadata := file.core_metadata if isinstance(file.core_metadata, Sha256) else made_metadata(file):
        attributes.append(f'data-dist-info-metadata="sha256={metadata}" data-core-metadata="sha256={metadata}"')
    if file.yanked is not False:
        attributes.append(f'data-yanked="{escape(file.yanked) if isinstance(file.yanked, str) else ""}"')
    if isinstance(signed := file.raw.get("gpg-sig"), bool):
        attributes.append(f'data-gpg-sig="{str(signed).lower()}"')
    if isinstance(provenance := file.raw.get("provenance"), str):
        attributes.append(f'data-provenance="{escape(provenance)}"')
    return f"<a {' '.join(attributes)}>{escape(file.filename)}</a><br>"


def _fragment(file: File) -> str:
    if file.sha256 is not None:
        return f"#sha256={file.sha256}"
    hashes = file.raw.get("hashes")
    if not isinstance(hashes, Mapping):
        return ""
    for name in _HASH_ORDER:
        digest = hashes.get(name)
        if isinstance(digest, str) and _DIGEST.fullmatch(digest):
            return f"#{name}={digest}"
    return ""
