"""Calls a hook of a build backend in a cell, and takes its answer, which is a stranger's word."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from p2pcdn.build.cell import Cell, surroundings
from p2pcdn.build.failure import Unbuilt
from p2pcdn.build.key import Options
from p2pcdn.build.log import BuildLog, shortened
from p2pcdn.build.project import BuildSystem
from p2pcdn.build.seams import Environment
from p2pcdn.build.source import NO_SOURCES
from p2pcdn.names import is_file_name
from p2pcdn.sandbox.run import Outcome, how_it_ended
from p2pcdn.sandbox.spec import MIB, Limits
from p2pcdn.sizes import format_size
from p2pcdn.world import Threads

Hook = Literal[
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "build_sdist",
    "build_wheel",
    "build_editable",
    "convert_egg",
]

_PROGRAM = Path(__file__).with_name("hook_program.py")
# The line of JSON in front of a file; two hundred requirements have some 20 KiB.
HEAD_SIZE_BYTES_MAX = 1 * MIB
# The largest wheels on PyPI have 1 GiB, and none of them was built at an install.
WHEEL_SIZE_BYTES_MAX = 1024 * MIB
# Of why a hook failed; the whole of it stands in the log.
SENTENCE_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Ask:
    """Everything that a hook needs. answer: where the file that it makes is written, outside of the cell."""

    hook: Hook
    system: BuildSystem
    environment: Environment
    options: Options
    answer: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """value: a list that the hook gave. name: of the file that it made. missing: the backend has no such hook."""

    value: tuple[str, ...] = ()
    name: str | None = None
    missing: bool = False


async def call(cell: Cell, ask: Ask, limits: Limits, log: BuildLog, threads: Threads) -> Answer:
    """Raises Unbuilt: the half of a sentence that the caller begins with the name of what is built."""
    argv = [str(ask.environment.python), "-I", "-B", "-u", "-c", await threads.run(_PROGRAM.read_text, "utf-8")]
    environment = surroundings(ask.options, ask.environment, cell.places)
    with await threads.run(ask.answer.open, "wb") as file:
        reader = _Reader(file, threads)
        outcome = await cell.run(argv, environment, json.dumps(_given(cell, ask)).encode(), reader.take, log.write)
        head = reader.head()
    if head is None or outcome.code != 0 or outcome.broke not in (None, "left_running"):
        raise Unbuilt(f"{ask.hook} of its backend {ask.system.backend} {how_it_ended(outcome, limits)}")
    return _checked(ask, head, reader.size_bytes, outcome)


def _given(cell: Cell, ask: Ask) -> dict[str, object]:
    return {
        "hook": ask.hook,
        "copy_from": cell.places.copy_from,
        "source": cell.places.source,
        "out": cell.places.out,
        "no_sources": NO_SOURCES,
        "subdirectory": ask.options.subdirectory,
        "backend": ask.system.backend,
        "backend_path": list(ask.system.backend_path),
        "settings": dict(ask.options.settings),
    }


def _checked(ask: Ask, head: dict[str, Any], size_bytes: int, outcome: Outcome) -> Answer:
    if "refused" in head:
        raise Unbuilt(_sentence(head["refused"]))
    if "failed" in head:
        raise Unbuilt(f"{ask.hook} of its backend {ask.system.backend} failed: {_sentence(head['failed'])}")
    if head.get("missing") is True:
        return Answer(missing=True)
    value, name = head.get("value"), head.get("name")
    if isinstance(value, list) and all(isinstance(one, str) for one in value) and not size_bytes:
        return Answer(value=tuple(value))
    if isinstance(name, str) and is_file_name(name) and head.get("size") == size_bytes:
        return Answer(name=name)
    raise Unbuilt(f"{ask.hook} of its backend {ask.system.backend} gave an answer that is none")


def _sentence(said: object) -> str:
    """A stranger's words, on one line, and not many."""
    shown = shortened(str(said).rstrip("."), SENTENCE_LENGTH_MAX)
    return "".join(letter if letter.isprintable() else " " for letter in shown)


class _Reader:
    """Takes an answer as it comes: its head into memory, the file that follows to the disk."""

    def __init__(self, file: IO[bytes], threads: Threads) -> None:
        self.size_bytes = 0
        self._head = bytearray()
        self._in_file = False
        self._file = file
        self._threads = threads

    async def take(self, part: bytes) -> None:
        """Raises Unbuilt for a head or a file that is too long."""
        if not self._in_file:
            before, newline, part = part.partition(b"\n")
            self._head += before
            self._in_file = bool(newline)
            if len(self._head) > HEAD_SIZE_BYTES_MAX:
                raise Unbuilt(f"its backend answered with more than {format_size(HEAD_SIZE_BYTES_MAX)} of JSON")
        self.size_bytes += len(part)
        if self.size_bytes > WHEEL_SIZE_BYTES_MAX:
            raise Unbuilt(f"its wheel has more than {format_size(WHEEL_SIZE_BYTES_MAX)}")
        if part:
            await self._threads.run(self._file.write, part)

    def head(self) -> dict[str, Any] | None:
        """None where there was no whole line, or it is no JSON object."""
        try:
            head = json.loads(self._head) if self._in_file else None
        except (ValueError, RecursionError):
            return None
        return head if isinstance(head, dict) else None
