"""What uv's locks install in an environment: read out of the snapshots of its tests. Pure."""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.markers import Marker

# A test of uv: the scenario that it serves, its exit code, and, where there is a lock, the text of that.
_TEST = re.compile(r'PackseServer::new\(\s*"[^"]*?([^/"]+)\.toml",?\s*\);(.*?)(?=\n#\[test\]|\Z)', re.DOTALL)
_LOCK = re.compile(r'assert_snapshot!\(\s*lock, @r(#+)"\n(.*?)"\1', re.DOTALL)
ROOT = "project"


def locks_of(source: str) -> Mapping[str, dict[str, Any] | None]:
    """The locks by the file name of their scenario; None where uv finds none. source: of the Rust file."""
    found: dict[str, dict[str, Any] | None] = {}
    for name, test in _TEST.findall(source):
        lock = _LOCK.search(test)
        found[name] = tomllib.loads(textwrap.dedent(lock[2])) if lock else None
    return found


def installed(lock: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """The versions that a lock of uv's installs there, by project: a walk from the project along what holds."""
    packages = [one for one in lock["package"] if _holds_any(one.get("resolution-markers", ()), environment)]
    found: dict[str, str] = {}
    seen = set()
    ahead = [(one, "") for one in packages if one["name"] == ROOT]
    while ahead:
        package, extra = ahead.pop()
        if (package["name"], package["version"], extra) in seen:
            continue
        seen.add((package["name"], package["version"], extra))
        if package["name"] != ROOT:
            found[package["name"]] = package["version"]
        for needed in _needed(package, extra):
            if _holds(needed.get("marker"), environment):
                ahead += _followed(needed, packages)
    return found


def _needed(package: Mapping[str, Any], extra: str) -> list[dict[str, Any]]:
    several = package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
    return list(several)


def _followed(needed: Mapping[str, Any], packages: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str]]:
    for package in packages:
        if package["name"] == needed["name"] and needed.get("version", package["version"]) == package["version"]:
            for extra in ("", *needed.get("extra", ())):
                yield package, extra


def _holds_any(markers: list[str], environment: Mapping[str, str]) -> bool:
    return not markers or any(_holds(marker, environment) for marker in markers)


def _holds(marker: str | None, environment: Mapping[str, str]) -> bool:
    return marker is None or Marker(marker).evaluate({**environment, "extra": ""})
