"""Why there is no wheel: half a sentence where it is found out, a whole one with the build's output where it leaves."""

from __future__ import annotations

from p2pcdn.build.log import BuildLog
from p2pcdn.errors import BuildFailed


class Unbuilt(Exception):
    """The half that follows "NAME could not be built:". It never leaves the room."""


def whole_sentence(name: str, why: Unbuilt | OSError, log: BuildLog) -> BuildFailed:
    """What the caller of a build is told."""
    half = f"{why.strerror} ({why.filename})" if isinstance(why, OSError) and why.filename else str(why)
    output = log.last_lines()
    where = f" What it wrote is in {log.path}." if output else ""
    return BuildFailed(f"{name} could not be built: {half}.{where}", output=output, log=log.path)
