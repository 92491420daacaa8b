"""Sizes and durations as people write and read them: "20GB", "30d", "1.2 GB", "3 h 20 min"."""

from __future__ import annotations

import re

_SIZE_UNITS = {
    "": 1, "B": 1,
    "K": 10**3, "KB": 10**3, "KIB": 2**10,
    "M": 10**6, "MB": 10**6, "MIB": 2**20,
    "G": 10**9, "GB": 10**9, "GIB": 2**30,
    "T": 10**12, "TB": 10**12, "TIB": 2**40,
}  # fmt: skip
_DURATION_UNITS_S = {"": 1, "S": 1, "MIN": 60, "M": 60, "H": 3600, "D": 86_400, "W": 7 * 86_400}
# More digits than any disk or life has; a longer number is a slip of the keyboard.
_QUANTITY = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes: "20GB" (10^9), "20GiB" (2^30), "500M", "4096". Raises ValueError with a sentence."""
    return int(_parse(text, _SIZE_UNITS, "a size such as 20GB, 500MiB or 4096"))


def parse_duration(text: str) -> float:
    """Seconds: "30d", "12h", "15min", "90s", "2w". Raises ValueError with a sentence."""
    return _parse(text, _DURATION_UNITS_S, "a duration such as 30d, 12h or 90s")


def _parse(text: str, units: dict[str, int], what: str) -> float:
    match = _QUANTITY.fullmatch(text)
    unit = units.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text[:60]!r} is not {what}.")
    return float(match[1]) * unit if "." in match[1] else int(match[1]) * unit


def format_duration(seconds: float) -> str:
    """The two largest units: "45 s", "3 min 5 s", "2 d 4 h"."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size_s in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size_s)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])
