"""Files of the user's that zephyr writes: whole or not at all, with the mode that they had."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.errors import ZephyrError


def write_text(file: Path, text: str) -> None:
    """Puts the text in the file's place; a link stays one. Raises ZephyrError, and the file is as it was."""
    write_texts({file: text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """The same of several: none is put in its place before all are written. Raises ZephyrError."""
    ready: list[tuple[Path, Path]] = []
    file = Path()
    try:
        for file, text in texts.items():
            place = Path(os.path.realpath(file))
            beside = place.with_name(f".{place.name}.{os.getpid()}")
            ready.append((beside, place))
            _write_beside(beside, place, text)
        for beside, place in ready:
            beside.replace(place)
    except OSError as error:
        for beside, _ in ready:
            beside.unlink(missing_ok=True)
        raise ZephyrError(f"{file} cannot be written: {error.strerror or error}; it is as it was.") from error


def _write_beside(beside: Path, place: Path, text: str) -> None:
    with beside.open("x", encoding="utf-8", newline="") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    if place.exists():
        beside.chmod(place.stat().st_mode & 0o7777)
