"""Fills the node by letting the user's own pip download through it, into a directory that is thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2pcdn.sizes import format_size
from p2pcdn_daemon.clients.environment import index_environment
from p2pcdn_daemon.clients.interpreter import with_pip
from p2pcdn_daemon.commands.control import Control
from p2pcdn_daemon.commands.status_text import METADATA_ENDING

# What would let pip take a file from elsewhere than from the node, or leave the node unasked.
_ELSEWHERE = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CACHE_DIR", "PIP_DEST", "PIP_TARGET")
# Names in the last line; more of them would hide the sum.
NAMES_SHOWN_MAX = 12


def prefetch(node: Control, index_url: str, wanted: Sequence[str], *, python: str | None) -> bool:
    """Runs `pip download` for what is wanted, then says what the node holds that it did not hold before.

    Whether pip succeeded. Raises ConfigError where no interpreter has pip.
    """
    interpreter = with_pip(python)
    before = _held(node)
    with tempfile.TemporaryDirectory(prefix="p2pcdn-prefetch-") as directory:
        command = [interpreter, "-m", "pip", "download", "--no-cache-dir", "--dest", directory, *wanted]
        succeeded = subprocess.run(command, env=pip_environment(index_url, os.environ), check=False).returncode == 0
        files = sum(1 for _ in Path(directory).iterdir())
    held = _held(node)
    if succeeded or held.keys() - before.keys():
        print(_held_now(before, held, files))
    if not succeeded:
        print(
            "p2pcdn: pip did not get everything; what it says stands above, and what it got is held.", file=sys.stderr
        )
    return succeeded


def pip_environment(index_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which pip takes every file from the node, and still knows the user's other wishes."""
    kept = {name: value for name, value in environ.items() if name not in _ELSEWHERE}
    return index_environment(index_url, kept) | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _held(node: Control) -> dict[str, tuple[str, int]]:
    """By digest: the name and size of each file that somebody could ask for by its name."""
    blobs = node.get("/v1/blobs")["blobs"]
    files = (blob for blob in blobs if not str(blob["filename"]).endswith(METADATA_ENDING))
    return {str(blob["blob"]): (str(blob["filename"]), int(blob["size_bytes"])) for blob in files}


def _held_now(before: Mapping[str, object], after: Mapping[str, tuple[str, int]], files: int) -> str:
    new = sorted(held for digest, held in after.items() if digest not in before)
    total = format_size(sum(size for _, size in after.values()))
    if not new:
        wanted = "the file" if files == 1 else f"all {files} files"
        return f"The node held {wanted} already; it holds {len(after)} files, {total}."
    names = ", ".join(name for name, _ in new[:NAMES_SHOWN_MAX]) + (", …" if len(new) > NAMES_SHOWN_MAX else "")
    size = format_size(sum(size for _, size in new))
    more = "1 file" if len(new) == 1 else f"{len(new)} files"
    return f"The node now holds {more} more, {size}: {names}. In all it holds {len(after)} files, {total}."
