"""What a project wants, in the words in which its node is asked; and the answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.project.pyproject import Project, head_and_marker, normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.client import Client
    from p2pcdn_shim.zephyr.configuration.indexes import Index


_WHO = r"\s*(?P<name>[A-Za-z0-9._-]+)\s*(\[(?P<extras>[^\]]*)\])?\s*"
# A requirement of PEP 508 that names no URL.
_NAMED = re.compile(_WHO + r"(\(?[<>=!~][^;@]*)?(;(?P<marker>.*))?", re.DOTALL)
# One that does (a marker stands behind a blank, for a semicolon is a sign of URLs, too).
_AT_URL = re.compile(_WHO + r"@\s*(?P<url>\S+)\s*(\s;(?P<marker>.*))?", re.DOTALL)


class Locked(Value):
    """A lock as the node gave it. again: it stood there from before, for nothing that it depends on has changed."""

    text: str
    packages: int
    warnings: tuple[str, ...]
    again: bool


def question_of(project: Project, config: Config) -> dict[str, Any]:
    """What `p2pcdn/lock/question.py` calls a question: everything that a project's lock depends on, but the indexes."""
    return {
        **options_of(config),
        "requires_python": project.requires_python or "",
        "requirements": own_extras_put_in(project, project.dependencies),
        "extras": {name: own_extras_put_in(project, texts) for name, texts in project.extras.items()},
        "groups": {name: own_extras_put_in(project, texts) for name, texts in project.groups.items()},
        "environments": list(config.environments),
        "sources": sources_of(config),
        # One that is no package is not installed: who needs that name needs what an index has.
        "itself": normalize(project.name) if project.is_package and project.name is not None else "",
    }


def options_of(config: Config) -> dict[str, Any]:
    """How versions are chosen."""
    return {
        "constraints": list(config.constraints),
        "overrides": list(config.overrides),
        "prefer": config.prefer,
        "prereleases": "allow" if config.prerelease else "if-necessary",
        "exclude_newer": config.exclude_newer,
        "only_binary": list(config.only_binary),
        "no_binary": list(config.no_binary),
        "editable": [normalize(name) for name in config.editable],
    }


def sources_named(config: Config) -> dict[str, Any]:
    """Where packages may come from, in the node's words, and whether anybody is to be asked. Raises UsageError."""
    named = {"indexes": indexes_named(config), "trusted_hosts": list(config.trusted_host)}
    return {**named, "variables": gits_variables(), **({"offline": True} if config.offline else {})}


def gits_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What git and ssh are told by variables, where the node may have been started without this user's session."""
    pattern = r"(GIT|SSH)_\w+|PATH|HOME|XDG_CONFIG_HOME|((https?|all|no)_proxy)"
    return {name: value for name, value in environ.items() if re.fullmatch(pattern, name, re.IGNORECASE)}


def indexes_named(config: Config) -> list[dict[str, Any]]:
    """The indexes that the settings name, in the node's words; none: it asks its own. Raises UsageError."""
    if not (config.index_url or config.index or config.extra_index_url or config.find_links or config.no_index):
        return []
    from p2pcdn_shim.zephyr.configuration.indexes import indexes_of

    return [_index_row(one) for one in indexes_of(config)]


def _index_row(one: Index) -> dict[str, Any]:
    if not one.url:
        return {"own": True}
    known = one.credentials
    username, password = (known.username, known.password) if known is not None else (None, None)
    row = {"url": one.url, "username": username, "password": password, "projects": list(one.projects)}
    return row | {name: True for name in ("explicit", "flat") if getattr(one, name)}


def sources_of(config: Config) -> dict[str, list[str]]:
    """By project: the URL of the index that it is pinned to. Raises UsageError."""
    if not config.sources:
        return {}
    from p2pcdn_shim.zephyr.configuration.indexes import indexes_of

    return {project: [one.url] for one in indexes_of(config) for project in one.projects}


def own_extras_put_in(project: Project, texts: Iterable[str]) -> list[str]:
    """The requirements, with what the project's own name stands for in its extras and groups: for what `project[extra]`
    requires, and alone for what the project does.

    No index is asked for that name, however it is written: whoever has it there is somebody else.
    """
    found: dict[str, None] = {}
    # Extras, each with the markers under which it is wanted; without any, it is wanted everywhere.
    seen: set[tuple[str, frozenset[str]]] = set()

    def put_in(texts: Iterable[str], where: tuple[str, ...]) -> None:
        for text in texts:
            own = _own_name(project, text)
            if own is None:
                found[_only_where(text, where)] = None
                continue
            marker = (own["marker"] or "").strip()
            within = where if not marker or marker in where else (*where, marker)
            for extra in _extras_in(own):
                if seen.isdisjoint({(extra, frozenset()), (extra, frozenset(within))}):
                    seen.add((extra, frozenset(within)))
                    put_in(project.extras.get(extra, ()) if extra else project.dependencies, within)

    put_in(texts, ())
    return [*found]


def lacking_own_extras(project: Project) -> list[str]:
    """The extras that the project names of itself and does not have."""
    lists = [project.dependencies, *project.extras.values(), *project.groups.values()]
    named = [own for texts in lists for text in texts if (own := _own_name(project, text)) is not None]
    asked = dict.fromkeys(extra for own in named for extra in _extras_in(own) if extra)
    return [extra for extra in asked if extra not in project.extras]


def _own_name(project: Project, text: str) -> re.Match[str] | None:
    """A requirement of the project itself, by its name or the way to its directory, taken apart; None for another."""
    own = _NAMED.fullmatch(text)
    if own is None and "@" in text:
        at_url = _AT_URL.fullmatch(text)
        own = at_url if at_url and at_url["url"].rstrip("/") == project.file.parent.as_uri() else None
    is_own = own is not None and project.name is not None and normalize(own["name"]) == normalize(project.name)
    return own if is_own else None


def _extras_in(own: re.Match[str]) -> list[str]:
    """Normalized; "" for the project without one."""
    return [normalize(word.strip()) for word in (own["extras"] or "").split(",")]


def _only_where(requirement: str, markers: Sequence[str]) -> str:
    """The requirement, where these markers hold as well."""
    if not markers:
        return requirement
    head, before = head_and_marker(requirement)
    every = [*([before] if before else []), *markers]
    return f"{head} ; {' and '.join(f'({one})' for one in every) if len(every) > 1 else every[0]}"


def ask_lock(
    client: Client,
    question: Mapping[str, Any],
    builder: Mapping[str, Any],
    former: str | None = None,
    upgrade: bool | Sequence[str] = (),
) -> Locked:
    """A lock for every environment of the project. Raises NodeRefused, whose sentence is the report.

    builder: the interpreter that builds what has no metadata otherwise (`interpreter_of`); empty: it is not built.
    """
    again = upgrade if upgrade is True else list(upgrade or ())
    return _locked(client, "/v1/lock", {"question": question, "former": former, "upgrade": again, **builder})


def ask_resolve(
    client: Client,
    question: Mapping[str, Any],
    interpreter: Mapping[str, Any],
    preferences: Sequence[tuple[str, str]] = (),
    *,
    upgrade: bool = False,
) -> Locked:
    """A lock for one interpreter (`interpreter_of`). upgrade: what is new is wanted, and indexes are asked for it.

    Raises NodeRefused.
    """
    kept = [] if upgrade else [list(pair) for pair in preferences]
    asked = {"question": question, "preferences": kept, "upgrade": upgrade or [], **interpreter}
    return _locked(client, "/v1/resolve", asked)


def _locked(client: Client, target: str, asked: Mapping[str, Any]) -> Locked:
    from p2pcdn_shim.client import NodeRefused

    try:
        answer = client.post(target, asked)
    except NodeRefused as error:
        if not asked.get("offline"):
            raise
        told = f"{str(error).rstrip()} Offline, only what is in the node's store was looked at."
        raise NodeRefused(told, status=error.status, problem=error.problem) from error
    return Locked(answer["lock"], answer["packages"], tuple(answer["warnings"]), answer["again"])
