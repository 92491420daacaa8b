"""Output installed packages in requirements format, sorted by name."""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.freezing import freeze
from p2pcdn_shim.zephyr.pip.selection import selected

USAGE = "\n  %prog [options]"
# What makes packages and is none that a project asks for; setuptools and wheel left Python's own set in 3.12.
_TOOLS = {"pip"}
_TOOLS_UNTIL_3_11 = {"setuptools", "wheel", "distribute"}


def run(run: Run) -> int:
    skip = set() if run.options.freeze_all else tools(run.target.version)
    skip |= {normalize(name) for name in run.options.excludes or ()}
    found = [
        one
        for one in selected(run.target, run.voice, run.options)
        if not (run.options.exclude_editable and one.is_editable)
    ]
    for line in freeze(found, run.options.requirements, skip, run.voice.info, run.voice.warn):
        run.voice.answer(line)
    return 0


def tools(version: str) -> set[str]:
    """What is left out without --all, for a Python version."""
    old = tuple(int(part) for part in version.split(".")[:2]) < (3, 12)
    return _TOOLS | (_TOOLS_UNTIL_3_11 if old else set())
