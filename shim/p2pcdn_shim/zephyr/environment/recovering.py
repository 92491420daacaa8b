"""What a killed command left beside an environment, or a killed sweeper, goes with the next command, also where that
has nothing to change.
"""

from __future__ import annotations

from pathlib import Path

from p2pcdn.envs.places import Places
from p2pcdn_shim.zephyr.command_line.call import Call


def recover(call: Call, place: Path) -> bool:
    """Cleans up, unless somebody is at work there; whether all is clean now. Nothing is waited for."""
    beside = Places(str(place))
    if not beside.is_littered():
        if beside.trashed():
            from p2pcdn_shim.zephyr.environment import sweeping

            sweeping.start(place, call.config.generations)
        return True
    import time

    from p2pcdn.envs.errors import CannotInstall
    from p2pcdn.envs.generations import Environment
    from p2pcdn.envs.lock_file import Busy, do_not_wait
    from p2pcdn_shim.zephyr.environment import sweeping

    try:
        with Environment(str(place), command=call.command, now_s=time.time()).locked(wait=do_not_wait):
            pass
    except (Busy, CannotInstall):  # it is being made, or is another user's
        return False
    sweeping.start(place, call.config.generations)
    return True
