"""The answer to a long work: its progress, drawn while the node is at it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.client import Client
    from p2pcdn_shim.zephyr.terminal.voice import Voice


def long_answer(
    client: Client,
    voice: Voice,
    target: str,
    question: dict[str, Any],
    doing: str,
    key: str,
    unbuilt: str,
    meanwhile: Callable[[], None] | None = None,
    *,
    at_once: bool = False,
) -> tuple[Any, bytes | None]:
    """What the node says under `key` when a long work is done, and the line after it, if there is one.

    Progress is drawn; at_once: before the node says anything. unbuilt: what is true where a build has failed.
    meanwhile: called once while the node is at work.
    Raises NodeRefused.
    """
    import json

    from p2pcdn_shim.client import NodeRefused

    found: Any = None
    more: bytes | None = None
    with Progress(voice, doing, at_once=at_once) as progress:
        for line in client.raw_lines(target, question, meanwhile=meanwhile):
            if found is not None:
                more = line
                continue
            said = json.loads(line)
            if "progress" in said:
                step = said["progress"]
                if step.get("building"):
                    progress.now("Building", step["building"])
                else:
                    progress.show(step["done"], step["of"], step["what"])
            elif "error" in said:
                why = said["error"]["detail"]
                if said["error"]["title"] == "The build failed":
                    why = f"{why} {unbuilt}"
                raise NodeRefused(why, status=said["error"]["status"], problem=said["error"])
            else:
                found = said[key]
    if found is None:
        raise NodeRefused("The node ended its answer early; what was fetched is kept, so ask again.")
    return found, more
