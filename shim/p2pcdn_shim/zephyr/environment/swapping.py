"""What carries a plan out: links it into the next generation of an environment, which is swapped in.

Loaded while the node looks for the plan (`meanwhile`): here stands all that only who changes an environment needs.
"""

from __future__ import annotations

import time

import p2pcdn.envs.scripts  # noqa: F401 - nearly every plan has some
from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.generations import Environment
from p2pcdn.envs.held import came_from
from p2pcdn.envs.install import Source
from p2pcdn.envs.plan import Plan
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.errors import ChangedMeanwhile, ZephyrError
from p2pcdn_shim.zephyr.machine.side_by_side import side_by_side
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from p2pcdn.envs.generations import Outcome
    from p2pcdn.envs.install import LinkMode
    from p2pcdn_shim.zephyr.command_line.call import Call
    from p2pcdn_shim.zephyr.interpreters.probes import Probe


def swap(
    call: Call,
    place: Path,
    interpreter: Probe,
    encoded: bytes,
    ready: dict[str, Any],
    *,
    link_mode: LinkMode,
    exact: bool,
    on_top_of: str | None,
    held: Callable[[], str],
) -> Outcome | None:
    """Links the plan into a new generation; None where another zephyr did so meanwhile.

    Raises ZephyrError, and of these ChangedMeanwhile. ready: what the node says of the plan. on_top_of: the digest that
    this was chosen for; None: it does not matter. held: gives the digest of what the environment holds.
    """
    wheels: Sequence[dict[str, str]] = ready["wheels"]
    plan = Plan.decode(encoded, ready["digest"], ready["content"])
    sources = [Source(one["tree"], one["bytecode"]) for one in wheels]
    provenance = {
        planned.project: {
            "index": one["index"], "file": one["filename"], "sha256": one["sha256"], "from": one["came_from"],
            **({"attested": one["attested"]} if one["attested"] else {}),
        }
        for planned, one in zip(plan.wheels, wheels, strict=True)
    }  # fmt: skip
    if venv.read_settings(place) is None:
        venv.check_place(place)  # before anything is laid beside it
    try:
        with Environment(str(place), command=call.command, now_s=time.time()).locked(
            wait=call.voice.note
        ) as environment:
            if on_top_of not in (None, environment.plan_digest()):
                raise ChangedMeanwhile(f"Another command has changed {place} meanwhile; this one changed nothing.")
            is_new = venv.read_settings(place) is None
            if is_new:
                venv.create(place, interpreter)
            elif held() == ready["digest"]:
                return None
            was_moved = came_from(str(place)) != ""
            try:
                outcome = environment.sync(
                    plan,
                    sources,
                    python=str(venv.open_environment(place).python),
                    link_mode=link_mode,
                    site_tree=ready["site"],
                    side_by_side=side_by_side,
                    exact=exact,
                    provenance=provenance,
                )
            except BaseException:
                if is_new and not environment.plan_digest():
                    venv.remove(place)  # as it was: not there
                raise
            if was_moved:
                venv.name_place(place)
            return outcome
    except CannotInstall as error:
        raise ZephyrError(str(error)) from error
