"""What small TOML files say, kept as JSON under their text: a tenth of many a command was loading tomllib."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from p2pcdn_shim.zephyr.settled import cache_place, place_number, read, write
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Texts that are remembered, each in a file of its own; where two share a place, the later one has it.
PLACES = 256
# Nearly every pyproject.toml is shorter; what takes long to parse may as well take tomllib to load.
TEXT_LENGTH_MAX = 64 * 1024
# Before the host of a URL: perhaps a password, and those are in one file only.
_LOGIN = re.compile(r"://[^\s/\"']*@")


def recall(text: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """The tables that this very text was parsed to before; None where it was not, or JSON has no words for them."""
    try:
        record = json.loads(read(_place(text, environ)))
        return dict(record["tables"]) if record["text"] == text else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep(text: str, tables: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """Remembers what a text was parsed to. A cache that cannot be written costs time and nothing else."""
    if len(text) > TEXT_LENGTH_MAX or _LOGIN.search(text):
        return
    try:
        write(_place(text, environ), json.dumps({"text": text, "tables": tables}, allow_nan=False))
    except (OSError, ValueError, TypeError, RecursionError):  # days and times of TOML are nothing that JSON knows
        return


def _place(text: str, environ: Mapping[str, str]) -> str:
    return f"{cache_place(environ)}/parsed/{place_number(text, PLACES)}.json"
