"""Whether an environment still has what zephyr put there: another program may have changed it, or moved it."""

from __future__ import annotations

import os

from p2pcdn.envs.places import names, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def held_plan(root: str, site: str, *, exact: bool) -> tuple[str, str]:
    """The plan that the environment holds, by its digest and its content; "" for none, where others have taken
    something of it away, and where it was moved.

    exact: also where they have put distributions there that a sync takes out again. Looked at are the names of the
    .dist-info directories, as pip and uv do: whoever edits a file within a package is on his own.
    """
    state = state_of(root)
    held, ours = (str(state.get("plan", "")), str(state.get("content", ""))), state.get("distributions")
    if _came_from(root, state):
        return "", ""
    if not isinstance(ours, list) or os.path.islink(f"{root}/{site}"):
        return held  # made by an older zephyr; or a tree of the store, which nobody changes
    there = {name for name in names(f"{root}/{site}") if name.endswith(".dist-info")}
    if not there.issuperset(ours) or (exact and _would_go(f"{root}/{site}", there.difference(ours))):
        return "", ""
    return held


def came_from(root: str) -> str:
    """Where an environment lay when it was made: its scripts name their interpreter there. "" where it still does."""
    return _came_from(root, state_of(root))


def _came_from(root: str, state: Mapping[str, Any]) -> str:
    place = state.get("root")  # none of an older zephyr
    return place if isinstance(place, str) and place != os.path.realpath(root) else ""


def _would_go(directory: str, others: Iterable[str]) -> bool:
    found = [name for name in others if os.path.exists(f"{directory}/{name}/METADATA")]
    if not found:
        return False
    from p2pcdn.envs.carried import TOOLS, named_by, normalized

    return any(normalized(named_by(name)[0]) not in TOOLS for name in found)
