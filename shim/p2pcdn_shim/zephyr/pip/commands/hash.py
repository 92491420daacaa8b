"""Compute a hash of a local package archive, for a requirements file with --hash."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from p2pcdn_shim.zephyr.pip.cli import Run, command_parser
from p2pcdn_shim.zephyr.pip.errors import PipError

USAGE = "\n  %prog [options] <file> ..."


def run(run: Run) -> int:
    if not run.words:
        command_parser("hash", None).print_usage(sys.stderr)
        return 1
    for word in run.words:
        try:
            with Path(word).open("rb") as file:
                digest = hashlib.file_digest(file, run.options.algorithm).hexdigest()
        except OSError as error:
            raise PipError(f"{word} cannot be read: {error.strerror or error}") from error
        run.voice.answer(f"{word}:\n--hash={run.options.algorithm}:{digest}")
    return 0
