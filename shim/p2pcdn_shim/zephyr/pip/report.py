"""What was, or would be, installed, as JSON (pip's installation report, version 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from p2pcdn_shim.zephyr.pip.direct_urls import direct_url_of
from p2pcdn_shim.zephyr.pip.outcome import Chosen
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Core metadata fields that may stand there several times.
_MULTIPLE = frozenset(
    {
        *("dynamic", "platform", "supported_platform", "classifier", "license_file", "requires_dist", "provides_extra"),
        *("provides_dist", "obsoletes_dist", "requires_external", "project_url", "requires", "provides", "obsoletes"),
        *("import_name", "import_namespace"),
    }
)


def report(chosen: Sequence[Chosen], markers: Mapping[str, str], version: str) -> dict[str, Any]:
    return {
        "version": "1",
        "pip_version": version,
        "install": [_row(one) for one in chosen],
        "environment": dict(markers),
    }


def write(told: dict[str, Any], file: str, say: Any) -> None:
    text = json.dumps(told, indent=2, ensure_ascii=False)
    if file == "-":
        say(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def _row(one: Chosen) -> dict[str, Any]:
    prepared = one.prepared
    assert prepared is not None
    row: dict[str, Any] = {
        "download_info": direct_url_of(prepared),
        "is_direct": one.direct,
        "is_yanked": bool(one.link is not None and one.link.yanked is not None),
        "requested": one.ask is not None,
        "metadata": metadata_json(HeaderParser().parsestr(prepared.metadata)),
    }
    if one.link is not None and not one.direct and one.link.hashes.get("sha256") and not prepared.path:
        hashes = {"hash": f"sha256={one.link.hashes['sha256']}", "hashes": {"sha256": one.link.hashes["sha256"]}}
        row["download_info"]["archive_info"] = hashes
    if one.ask is not None and one.ask.extras:
        row["requested_extras"] = sorted(one.ask.extras)
    return row


def metadata_json(message: Message) -> dict[str, Any]:
    """Core metadata as JSON (PEP 566)."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(message.keys()):
        key = name.lower().replace("-", "_")
        values = [str(value) for value in message.get_all(name) or ()]
        if key in _MULTIPLE:
            found[key] = values
        elif key == "keywords":
            found[key] = values[0].split(",") if "," in values[0] else values[0].split()
        else:
            found[key] = values[0]
    text = message.get_payload()
    if isinstance(text, str) and text.strip():
        found["description"] = text
    return found
