"""The process that the kill sweep kills: python sweep_victim.py ACTION ROOT PLAN SOURCES…, in a room of its own."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["P2PCDN_SWEEP_PATH"])

from p2pcdn.envs import generations, swap
from p2pcdn.envs.generations import Environment
from p2pcdn.envs.install import Source
from p2pcdn.envs.plan import Plan


def main(action: str, root: str, plan: str, *sources: str) -> None:
    # So that `clean` has something to remove.
    generations.GENERATIONS_KEPT = 1
    if action == "two-steps":
        swap.exchange = no_exchange
    decoded = Plan.decode(Path(plan).read_bytes())
    whole = action != "piecewise"
    with Environment(root, command="victim", now_s=2.0, whole=whole).locked(wait=print) as environment:
        if action == "rollback":
            environment.rollback()
        else:
            environment.sync(decoded, [Source(tree) for tree in sources], python=f"{root}/bin/python")
        environment.clean()


def no_exchange(one: str, other: str) -> None:
    """A system without renameat2."""
    raise OSError(errno.ENOSYS, "no such call", one)


if __name__ == "__main__":
    main(*sys.argv[1:])
