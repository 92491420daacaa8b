"""The process that the kill sweep kills: python sweep_victim.py ACTION ROOT PLAN SOURCES…, in a room of its own."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["P2PCDN_SWEEP_PATH"])
sys.path.insert(1, os.environ["P2PCDN_SWEEP_PATH"] + "/shim")

from p2pcdn.envs import parts, swap
from p2pcdn.envs.generations import Environment
from p2pcdn.envs.install import Source, one_by_one
from p2pcdn.envs.plan import Plan


def main(action: str, root: str, plan: str, *sources: str) -> None:
    if action == "two-steps":
        swap.exchange = no_exchange
    side_by_side = one_by_one
    if action == "side-by-side":
        from p2pcdn_shim.zephyr.machine.side_by_side import side_by_side

        parts.FILES_A_PART = 1
    decoded = Plan.decode(Path(plan).read_bytes())
    whole = action != "piecewise"
    with Environment(root, command="victim", now_s=2.0, whole=whole).locked(wait=print) as environment:
        if action == "rollback":
            environment.rollback()
        else:
            trees = [Source(tree) for tree in sources]
            environment.sync(decoded, trees, python=f"{root}/bin/python", side_by_side=side_by_side)
        environment.retire(1)
        environment.sweep()


def no_exchange(one: str, other: str) -> None:
    """A system without renameat2."""
    raise OSError(errno.ENOSYS, "no such call", one)


if __name__ == "__main__":
    main(*sys.argv[1:])
