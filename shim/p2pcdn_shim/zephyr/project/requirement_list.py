"""Requirements that stand in one word, with commas between them: `numpy>=1,<2,flask[async,dotenv]` are two."""

from __future__ import annotations

import re

_BEGINNING = re.compile(r"\s*([A-Za-z0-9./]|~/|$)")


def split(text: str) -> list[str]:
    """A comma begins another requirement where a name or a path follows, outside of brackets and quotes.

    What names a URL or has a marker is one requirement: in those, commas mean something else.
    """
    if ";" in text or "://" in text or "@" in text:
        return [text.strip()]
    parts, depth = [""], 0
    for at, sign in enumerate(text):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0 and _BEGINNING.match(text, at + 1):
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]
