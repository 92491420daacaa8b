"""Where a requirement or a marker stands that the node could not read: whoever wrote it is told file and line."""

from __future__ import annotations

import re

from p2pcdn_shim.client import NodeRefused
from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.configuration.config_files import read_text
from p2pcdn_shim.zephyr.errors import UsageError

# The settings whose values the node alone can read.
_READ_BY_THE_NODE = ("constraints", "overrides", "environments")


def with_its_place(config: Config, error: NodeRefused) -> Exception:
    """What the node cannot read, with the setting or the line of pyproject.toml in which it stands, if it does."""
    wrong = re.search(r"(['\"])(.+)\1 is not ", str(error))
    if wrong is None or error.problem.get("title") != "Not a requirement":
        return error
    place = _in_settings(config, wrong[2]) or _in_project(config, wrong[2])
    return UsageError(f"{place}: {str(error).removesuffix('.')}.") if place else error


def _in_settings(config: Config, text: str) -> str:
    """Elsewhere than in the project's file, whose lines are looked at one by one."""
    for key in _READ_BY_THE_NODE:
        kind, _, place = config.origin(key).partition(" ")
        if not any(text in one for one in getattr(config, key)):
            continue
        if kind != "file":
            return place
        if not (config.project_file and place.startswith(f"{config.project_file}, ")):
            return f"{place}: {key}"
    return ""


def _in_project(config: Config, text: str) -> str:
    if config.project_file is not None:
        for number, line in enumerate((read_text(config.project_file) or "").splitlines(), 1):
            if text in line:
                return f"{config.project_file}, line {number}"
    return ""
