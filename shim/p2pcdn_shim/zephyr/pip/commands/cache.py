"""Inspect and manage what `zephyr pip` keeps: dir, info, list, remove, purge. Built wheels are the node's to keep."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_shim.zephyr import platforms
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.errors import PipError

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
        run.voice.answer(f"Cache of zephyr: {directory}\nBuilt wheels are kept by the node; see `p2pcdn status`.")
    elif action == "list":
        run.voice.answer("No locally built wheels cached.")
    else:
        run.voice.warn("No matching packages" + (f' for pattern "{words[0]}"' if words else ""))
        run.voice.answer("Files removed: 0 (0 bytes)\nDirectories removed: 0")
    return 0
