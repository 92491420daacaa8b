"""Requirements by direct URL: as they are typed (a path, a URL), and as an environment remembers them (PEP 610)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.urls import without_secrets
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project import project_edit
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from packaging.requirements import Requirement

    from p2pcdn.envs.plan import Plan
    from p2pcdn_shim.zephyr.command_line.call import Call

# What a file is called that is meant where no slash stands in front of it. A project may have such a name, too.
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_LISTS = (".txt", ".in")


def typed(texts: Iterable[str], call: Call) -> list[str]:
    """Requirements of PEP 508; a path or a URL gets the name of what is behind it. Raises UsageError, NodeRefused."""
    return [typed_at(text, call.directory, partial(name_at, call)) for text in texts]


def typed_with_editables(call: Call) -> tuple[list[str], list[str]]:
    """What was typed as requirements and with -e, as requirements; and the projects of the latter.

    Raises UsageError, NodeRefused.
    """
    options = call.options
    if not options.requirements and not options.editables:
        raise UsageError("Nothing was named: give requirements, such as flask, or -e with a directory or a repository.")
    places = [f"./{text}" if (call.directory / text).is_dir() and text[:1] not in ("", ".", "/") else text
              for text in options.editables]  # fmt: skip
    editables = typed(places, call)
    for text in editables:
        if project_edit.parse_requirement(text).url is None:
            raise UsageError(f"{text[:100]!r} is neither a directory nor a repository, so it cannot be editable.")
    names = [normalize(project_edit.parse_requirement(text).name) for text in editables]
    return [*typed(options.requirements, call), *editables], names


def name_at(call: Call, url: str) -> str:
    """The normalized project of what stands at a URL, which the node looks at. Raises NodeRefused."""
    from p2pcdn_shim.zephyr.environment.interpreter import some_interpreter

    what = without_secrets(re.split("[?#]", url, maxsplit=1)[0].rstrip("/")).rpartition("/")[2]
    with call.node() as client, Progress(call.voice, f"Looking at {what}", at_once=True):
        return str(client.post("/v1/name", {"url": url, **some_interpreter(call)})["name"])


def typed_at(text: str, directory: Path, ask: Callable[[str], str] | None = None) -> str:
    """The same of one, where relative paths begin at a directory. ask: gives the name where it cannot be told."""
    try:
        parsed = project_edit.parse_requirement(text)
    except UsageError:
        if "/" not in text and not text.startswith("."):
            raise
        return _at_place(text, directory, ask)
    _refuse_version(text, parsed)
    if text.endswith((*_ARCHIVES, *_LISTS)) and (directory / text).is_file():
        if text.endswith(_LISTS):
            from p2pcdn_shim.zephyr.command_line.parser import OF_A_FILE

            raise UsageError(f"{text!r} is a file: {OF_A_FILE}.")
        return _at_place(f"./{text}", directory, ask)
    return text


def _at_place(text: str, directory: Path, ask: Callable[[str], str] | None) -> str:
    from p2pcdn_shim.zephyr.project.importers.requirements import requirement_of
    from p2pcdn_shim.zephyr.project.requirements_txt import Line

    return requirement_of(Line(text, "What was typed", directory), ask)


def _refuse_version(text: str, parsed: Requirement) -> None:
    """What poetry takes, `pandas@^2`: behind an @ stands a URL (PEP 508). Raises UsageError."""
    behind = parsed.url or ""
    if not re.fullmatch(r"[\^~<>=!]*[0-9*][\w.*+!]*|latest", behind):
        return
    from p2pcdn_shim.zephyr.project.importers.poetry_versions import specifier_of

    parsed.url = None
    try:
        meant = f" Did you mean '{parsed}{specifier_of(behind)[0] if behind != 'latest' else ''}'?"
    except ValueError:
        meant = ""
    raise UsageError(f"{text[:100]!r} is no requirement: behind the @ a URL is expected.{meant}")


def remembered(plan: Plan) -> dict[str, str]:
    """By normalized project: the requirement that brings again what no index gave."""
    return {project: f"{project} @ {_url(told)}" for project, told in _direct_urls(plan)}


def remembered_editables(plan: Plan) -> list[str]:
    """The normalized projects that were installed editable."""
    return [project for project, told in _direct_urls(plan) if told.get("dir_info", {}).get("editable")]


def _direct_urls(plan: Plan) -> Iterator[tuple[str, dict[str, Any]]]:
    for write in plan.writes:
        folder, _, name = write.path.rpartition("/")
        if name == "direct_url.json":
            yield normalize(folder.rpartition("/")[2].partition("-")[0]), json.loads(write.text)


def _url(told: dict[str, Any]) -> str:
    url, marks = str(told["url"]), []
    if "vcs_info" in told:
        url = f"{told['vcs_info']['vcs']}+{url}@{told['vcs_info']['commit_id']}"
    elif sha256 := told.get("archive_info", {}).get("hashes", {}).get("sha256"):
        marks.append(f"sha256={sha256}")
    if "subdirectory" in told:
        marks.append(f"subdirectory={told['subdirectory']}")
    return f"{url}#{'&'.join(marks)}" if marks else url
