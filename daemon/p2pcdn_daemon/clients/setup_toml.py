"""The settings of uv, pdm and poetry, which are TOML: edited by tomlkit, so that comments and order stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit, urlunsplit

import tomlkit
import tomlkit.items
from tomlkit.exceptions import TOMLKitError

from p2pcdn_daemon.clients.client_config import ClientIndexes, leads_to, make_found, user_directory, uv_indexes
from p2pcdn_daemon.clients.installer import User, addresses
from p2pcdn_daemon.configuration.config import ConfigError

# What our source is called in a poetry project.
SOURCE_NAME = "p2pcdn"


class Uv:
    def path(self, user: User, project: Path | None) -> Path:
        return user_directory(user.environ) / "uv" / "uv.toml"

    def point(self, text: str, index_url: str, user: User) -> str:
        settings = _toml(text, "uv.toml")
        places = _uv_places(settings)
        for table, key in places:
            table[key] = index_url
        if not any(key == "url" for _, key in places):
            if "index" not in settings:
                settings.append("index", tomlkit.aot())
            indexes: Any = settings["index"]
            table = tomlkit.table() if isinstance(indexes, tomlkit.items.AoT) else tomlkit.inline_table()
            table.append("url", index_url)
            table.append("default", True)
            indexes.append(table)
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings, earlier = _toml(text, "uv.toml"), _toml(before, "uv.toml")
        old = {key: str(table[key]) for table, key in reversed(_uv_places(earlier))}
        for table, key in _uv_places(settings):
            if table[key] != index_url:
                continue
            if key in old:
                table[key] = old[key]
            elif key == "url":
                cast(Any, settings["index"]).remove(table)
            else:
                table.remove(key)
        if "index" in settings and not settings["index"]:
            settings.remove("index")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        places = _uv_places(_toml(text, "uv.toml"))
        return bool(places) and all(table[key] == index_url for table, key in places)

    def indexes(self, text: str, user: User) -> ClientIndexes:
        return uv_indexes(user.environ, etc=user.etc)

    def notes(self, text: str, index_url: str, user: User) -> list[str]:
        now = uv_indexes(user.environ, etc=user.etc)
        notes = []
        first = now.defaults[0] if now.defaults else None
        if first is not None and not leads_to(first.url, addresses(index_url)):
            notes.append(f"uv still uses another index: {first.origin} names it, and that wins over this file.")
        if now.extras:
            notes.append(
                f"uv also asks the index of {now.extras[0].origin}, past this node and before it. Make it an upstream "
                "of the node and remove it there to have its packages kept and shared."
            )
        notes.append("A uv.lock that another index made keeps its own URLs: `uv sync --frozen` goes past this node.")
        notes.append("One that is made now names this node: do not commit it.")
        return notes


def _uv_places(settings: tomlkit.TOMLDocument) -> list[tuple[Any, str]]:
    """Every place that names the default index: tables and keys."""
    tables = settings.get("index")
    places: list[tuple[Any, str]] = [
        (table, "url")
        for table in (tables if isinstance(tables, list) else [])
        if table.get("default") and "url" in table
    ]
    pip = settings.get("pip")
    return places + [(part, "index-url") for part in (settings, pip) if isinstance(part, dict) and "index-url" in part]


class Pdm:
    def path(self, user: User, project: Path | None) -> Path:
        named = user.environ.get("PDM_CONFIG_FILE")
        return Path(named) if named else user_directory(user.environ) / "pdm" / "config.toml"

    def point(self, text: str, index_url: str, user: User) -> str:
        settings = _toml(text, "pdm's config.toml")
        if "pypi" not in settings:
            settings.append("pypi", tomlkit.table())
        cast(Any, settings["pypi"])["url"] = index_url
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings, old = _toml(text, "pdm's config.toml"), _pdm_pypi(_toml(before, "pdm's config.toml")).get("url")
        pypi: Any = settings["pypi"]
        if old is not None:
            pypi["url"] = old
        else:
            pypi.remove("url")
            if not pypi:
                settings.remove("pypi")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        return _pdm_pypi(_toml(text, "pdm's config.toml")).get("url") == index_url

    def indexes(self, text: str, user: User) -> ClientIndexes:
        pypi = _pdm_pypi(_toml(text, "pdm's config.toml"))
        url = pypi.get("url")
        if not isinstance(url, str):
            return ClientIndexes((), (), before_default=False)
        found = make_found(_with_user(url, pypi.get("username"), pypi.get("password")), "pdm's config.toml")
        return ClientIndexes((found,) if found else (), (), before_default=False)

    def notes(self, text: str, index_url: str, user: User) -> list[str]:
        if user.environ.get("PDM_PYPI_URL") not in (None, index_url):
            return ["pdm still uses another index: PDM_PYPI_URL names it, and that wins over this file."]
        return ["A project whose [[tool.pdm.source]] is called pypi keeps its own index."]


def _pdm_pypi(settings: tomlkit.TOMLDocument) -> Mapping[str, Any]:
    pypi = settings.get("pypi")
    return pypi if isinstance(pypi, dict) else {}


def _with_user(url: str, username: object, password: object) -> str:
    parts = urlsplit(url)
    if not isinstance(username, str) or "@" in parts.netloc:
        return url
    user = quote(username, safe="") + (":" + quote(password, safe="") if isinstance(password, str) else "")
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))


class Poetry:
    """poetry has no index for all projects, so the project gets a source; beside a primary one PyPI is left out."""

    def path(self, user: User, project: Path | None) -> Path:
        path = (project or Path.cwd()) / "pyproject.toml"
        if not path.is_file():
            raise ConfigError(
                f"There is no {path}: poetry has no index for all projects, so name a project's directory."
            )
        return path

    def point(self, text: str, index_url: str, user: User) -> str:
        settings = _toml(text, "pyproject.toml")
        for source in _poetry_sources(settings):
            # Named PyPI and primary, it would be asked beside us; explicit, it is there for packages pinned to it.
            if str(source.get("name", "")).lower() == "pypi" and source.get("priority", "primary") == "primary":
                source["priority"] = "explicit"
        tool = settings.setdefault("tool", tomlkit.table(is_super_table=True))
        poetry = cast(Any, tool).setdefault("poetry", tomlkit.table(is_super_table=True))
        if "source" not in poetry:
            poetry.append("source", tomlkit.aot())
        source = tomlkit.table()
        source.append("name", SOURCE_NAME)
        source.append("url", index_url)
        source.append("priority", "primary")
        poetry["source"].append(source)
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings = _toml(text, "pyproject.toml")
        earlier = {str(source.get("name", "")): source for source in _poetry_sources(_toml(before, "pyproject.toml"))}
        sources = _poetry_sources(settings)
        for source in list(sources):
            old = earlier.get(str(source.get("name", "")))
            if source.get("name") == SOURCE_NAME:
                sources.remove(source)
            elif old is not None and source.get("priority") == "explicit" and str(source["name"]).lower() == "pypi":
                if "priority" in old:
                    source["priority"] = str(old["priority"])
                else:
                    source.remove("priority")
        if not sources:
            cast(Any, settings["tool"])["poetry"].remove("source")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        return any(
            source.get("name") == SOURCE_NAME and source.get("url") == index_url
            for source in _poetry_sources(_toml(text, "pyproject.toml"))
        )

    def indexes(self, text: str, user: User) -> ClientIndexes:
        # A project's sources are the project's: they stay where they are, and no other project shall get them.
        return ClientIndexes((), (), before_default=False)

    def notes(self, text: str, index_url: str, user: User) -> list[str]:
        others = [
            str(source.get("name"))
            for source in _poetry_sources(_toml(text, "pyproject.toml"))
            if source.get("name") != SOURCE_NAME and source.get("priority", "primary") == "primary"
        ]
        notes = [
            "Run `poetry lock` next: poetry.lock names the source of each package. Commit neither this change nor that."
        ]
        if others:
            notes.append(f"poetry also asks the project's own source {others[0]}, past this node.")
        return notes


def _poetry_sources(settings: tomlkit.TOMLDocument) -> Any:
    node: Any = settings
    for key in ("tool", "poetry", "source"):
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, list) else []


def _toml(text: str, what: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"{what} cannot be read: {error}") from error
