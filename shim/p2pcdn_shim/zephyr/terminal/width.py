"""How wide the terminal is, and what of many short pieces fits into its lines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

# Of a terminal that does not say how wide it is.
COLUMNS_USUAL = 80


def columns_of(stream: TextIO) -> int:
    """So many letters has a line of the terminal that a stream goes to."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS_USUAL
    except (OSError, ValueError):
        return COLUMNS_USUAL


def lines_of(pieces: Iterable[str], between: str, indent: str, columns: int) -> Iterator[str]:
    """The pieces in as few lines as they fit into; one that is longer than a line has one for itself."""
    line = ""
    for piece in pieces:
        longer = f"{line}{between}{piece}" if line else indent + piece
        if line and len(longer) + len(between.rstrip()) > columns:
            yield line + between.rstrip()
            longer = indent + piece
        line = longer
    if line:
        yield line
