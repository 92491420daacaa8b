"""Former states of an environment, of which there are too many, go while nobody waits: in a process of their own."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from p2pcdn.envs.generations import Environment


def start(place: Path, kept: int) -> None:
    """After the user was told that all is done, for removing takes as long as an install. kept: so many stay."""
    if not Environment(str(place), command="", now_s=0.0).has_too_much(kept):
        return
    from subprocess import DEVNULL, Popen

    with suppress(OSError):  # the next command tries again
        Popen(
            [sys.executable, "-P", "-m", "p2pcdn_shim.zephyr.environment.sweeping", str(place), str(kept)],
            stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, cwd=os.sep,
        )  # fmt: skip


def main(place: str, kept: str) -> None:
    environment = Environment(place, command="zephyr, tidying up", now_s=time.time())
    with environment.locked(wait=lambda sentence: None):
        environment.retire(int(kept))
    environment.sweep()


if __name__ == "__main__":
    main(*sys.argv[1:])
