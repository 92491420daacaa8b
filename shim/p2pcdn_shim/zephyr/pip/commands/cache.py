"""Inspect and manage what `zephyr pip` keeps: dir, info, list, remove, purge."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.wheel_cache import WheelCache

USAGE = "\n  %prog dir|info|list [<pattern>]|remove <pattern>|purge"


def run(run: Run) -> int:
    actions = {"dir": 0, "info": 0, "list": 1, "remove": 1, "purge": 0}
    if run.options.cache_dir is False:
        raise PipError("pip cache commands can not function since cache is disabled.")
    if not run.words or run.words[0] not in actions:
        raise PipError(f"Need an action ({', '.join(sorted(actions))}) to perform.")
    action, words = run.words[0], run.words[1:]
    if len(words) > actions[action]:
        raise PipError("Too many arguments")
    if action == "remove" and not words:
        raise PipError("Please provide a pattern")
    directory = Path(run.options.cache_dir or platforms.cache_directory())
    if action == "dir":
        run.voice.answer(str(directory))
    elif action == "info":
        number = len(_matching(directory, "*"))
        run.voice.answer(
            f"Cache of zephyr: {directory}\nNumber of locally built wheels: {number}\nWhat was fetched is kept by the"
            " node; see `p2pcdn status`."
        )
    elif action == "list":
        run.voice.answer(_listed(_matching(directory, *(words or ["*"])), run.options.cache_format == "abspath"))
    else:
        _remove(run, directory, words[0] if words else "*")
    return 0


def _listed(found: list[Path], as_paths: bool) -> str:
    if as_paths:
        return "\n".join(sorted(map(str, found)))
    lines = sorted(f" - {one.name} ({one.stat().st_size} bytes)" for one in found)
    return "\n".join(["Cache contents:\n", *lines]) if lines else "No locally built wheels cached."


def _matching(directory: Path, pattern: str) -> list[Path]:
    """As for pip: a pattern without a hyphen is a name, and one with a hyphen a name and the beginning of a version."""
    whole = pattern + ("*.whl" if "-" in pattern else "-*.whl")
    return [one for one in WheelCache(directory / "pip-wheels").wheels() if fnmatch(one.name, whole)]


def _remove(run: Run, directory: Path, pattern: str) -> None:
    found = _matching(directory, pattern)
    if not found:
        run.voice.warn("No matching packages" + (f' for pattern "{pattern}"' if pattern != "*" else ""))
    size, directories = 0, 0
    for one in found:
        size += one.stat().st_size
        one.unlink()
        if not any(one.parent.iterdir()):
            one.parent.rmdir()
            directories += 1
    run.voice.answer(f"Files removed: {len(found)} ({size} bytes)\nDirectories removed: {directories}")
