"""Requirements by direct URL: as they are typed (a path, a URL), and as an environment remembers them (PEP 610)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from p2pcdn_shim.zephyr import project_edit
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from p2pcdn.envs.plan import Plan
    from p2pcdn_shim.zephyr.call import Call


def typed(texts: Iterable[str], call: Call) -> list[str]:
    """Requirements of PEP 508; a path or a URL gets the name of what is behind it. Raises UsageError, NodeRefused."""
    return [typed_at(text, call.directory, partial(name_at, call)) for text in texts]


def name_at(call: Call, url: str) -> str:
    """The normalized project of what stands at a URL, which the node looks at. Raises NodeRefused."""
    from p2pcdn_shim.zephyr.syncing import some_interpreter

    with call.node() as client:
        return str(client.post("/v1/name", {"url": url, **some_interpreter(call)})["name"])


def typed_at(text: str, directory: Path, ask: Callable[[str], str] | None = None) -> str:
    """The same of one, where relative paths begin at a directory. ask: gives the name where it cannot be told."""
    try:
        project_edit.parse_requirement(text)
    except UsageError:
        if "/" not in text and not text.startswith("."):
            raise
        from p2pcdn_shim.zephyr.importers.requirements import requirement_of
        from p2pcdn_shim.zephyr.requirements_txt import Line

        return requirement_of(Line(text, "What was typed", directory), [], ask)
    return text


def remembered(plan: Plan) -> dict[str, str]:
    """By normalized project: the requirement that brings again what no index gave."""
    found: dict[str, str] = {}
    for write in plan.writes:
        folder, _, name = write.path.rpartition("/")
        if name == "direct_url.json":
            project = normalize(folder.rpartition("/")[2].partition("-")[0])
            found[project] = f"{project} @ {_url(json.loads(write.text))}"
    return found


def _url(told: dict[str, Any]) -> str:
    url, marks = str(told["url"]), []
    if "vcs_info" in told:
        url = f"{told['vcs_info']['vcs']}+{url}@{told['vcs_info']['commit_id']}"
    elif sha256 := told.get("archive_info", {}).get("hashes", {}).get("sha256"):
        marks.append(f"sha256={sha256}")
    if "subdirectory" in told:
        marks.append(f"subdirectory={told['subdirectory']}")
    return f"{url}#{'&'.join(marks)}" if marks else url
