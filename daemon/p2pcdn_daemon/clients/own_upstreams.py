"""After `p2pcdn setup pip` pip names us: what it named before goes into our configuration, to stay our upstream."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2pcdn_daemon.clients.client_config import FoundUpstream
from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.urls import without_credentials


def keep(config: Config, found: Sequence[FoundUpstream], status: Mapping[str, Any]) -> list[str]:
    """Adds upstreams to the configuration file where none is configured; returns the lines that say so.

    found: may have credentials in them, so that the file becomes readable by its owner only. status: of the running
    node. Raises ConfigError.
    """
    urls = [one.url_with_credentials for one in found]
    if not urls or config.source("upstream") != "default":
        return []
    # A link stays one; a device such as /dev/null is nothing to put in place of.
    path = (config.file or places.default_config_file()).resolve()
    if path.exists() and not path.is_file():
        return [f"Name {', '.join(map(without_credentials, urls))} with --upstream: {path} cannot hold it."]
    tables = "".join(map(_table, found))
    try:
        _append(path, tables)
    except OSError as error:
        raise ConfigError(f"The upstreams could not be kept in {path}: {error.strerror}.") from error
    shown = [without_credentials(url) for url in urls]
    lines = [f"{path}: {', '.join(shown)} stays the node's upstream."]
    used = {str(index.get("url", "")).rstrip("/") for index in status.get("indexes", [])}
    if any(url.rstrip("/") not in used for url in shown):
        lines.append("Restart the node so that it takes that upstream.")
    return lines


def _table(one: FoundUpstream) -> str:
    """With all that the installer knew of it: its name leads to credentials, its codes say what it does not have."""
    name = f"name = {json.dumps(one.name, ensure_ascii=False)}\n" if one.name else ""
    codes = f"ignore-error-codes = {sorted(one.ignore_error_codes)}\n" if one.ignore_error_codes else ""
    return f"\n[[upstream]]\nurl = {json.dumps(one.url_with_credentials, ensure_ascii=False)}\n{name}{codes}"


def _append(path: Path, tables: str) -> None:
    """The file with the tables at its end, where TOML allows them; whole at any moment, mode 0600."""
    before = ""
    with suppress(FileNotFoundError):
        before = path.read_text(encoding="utf-8")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(before + ("\n" if before and not before.endswith("\n") else "") + tables)
        file.flush()
        os.fsync(descriptor)
    beside.rename(path)
