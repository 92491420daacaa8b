"""Tables that others could fill: what was put in first is forgotten first."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any


def forget_oldest(table: MutableMapping[Any, Any], most: int) -> None:
    """Keeps at most so many rows. A dict's oldest row is the one that was put in first, or moved to its end first."""
    while len(table) > most:
        del table[next(iter(table))]
