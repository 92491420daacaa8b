"""What small TOML files say, kept as JSON under their text: a tenth of many a command was loading tomllib."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping

from p2pcdn_shim.zephyr.settled import cache_place
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Texts that are remembered, each in a file of its own; where two share a place, the later one has it.
PLACES = 256
# Nearly every pyproject.toml is shorter; what takes long to parse may as well take tomllib to load.
TEXT_LENGTH_MAX = 64 * 1024


def recall(text: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """The tables that this very text was parsed to before; None where it was not, or JSON has no words for them."""
    try:
        with open(_place(text, environ), encoding="utf-8") as file:
            record = json.loads(file.read())
        return dict(record["tables"]) if record["text"] == text else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep(text: str, tables: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """Remembers what a text was parsed to. A cache that cannot be written costs time and nothing else."""
    if len(text) > TEXT_LENGTH_MAX:
        return
    place = _place(text, environ)
    beside = f"{place}.{os.getpid()}"
    try:
        record = json.dumps({"text": text, "tables": tables}, allow_nan=False)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(beside, "w", encoding="utf-8") as file:
            file.write(record)
        os.replace(beside, place)
    except (OSError, ValueError, TypeError, RecursionError):  # days and times of TOML are nothing that JSON knows
        return


def _place(text: str, environ: Mapping[str, str]) -> str:
    return f"{cache_place(environ)}/parsed/{zlib.crc32(text.encode()) % PLACES}.json"
