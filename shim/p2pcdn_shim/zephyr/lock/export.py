"""pylock.toml (PEP 751) as a requirements file, as well as such a file can say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config_files import parse_toml, read_text
from p2pcdn_shim.zephyr.configuration.urls import path_url
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.marker_text import left_of
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def requirements_of(lock: Path, extras: Iterable[str], groups: Iterable[str], *, hashes: bool) -> list[str]:
    """Its packages, one a line. A marker that asks for extras and groups is decided here: pip knows neither.

    Raises UsageError.
    """
    whole = parse_toml(read_text(lock) or "", lock)
    if str(whole.get("lock-version", "")).split(".")[0] != "1":
        raise UsageError(f"{lock} is no lock of version 1 (PEP 751).")
    known = {"extras": whole.get("extras", []), "dependency-groups": whole.get("dependency-groups", [])}
    chosen = {"extras": set(extras), "dependency_groups": set(groups) | set(whole.get("default-groups", []))}
    for kind, wanted in (("extras", chosen["extras"]), ("dependency-groups", set(groups))):
        if missing := sorted(wanted - set(known[kind])):
            raise UsageError(f"{lock} was made without {', '.join(missing)}; lock again with it.")
    return [line for package in whole.get("packages", ()) for line in _lines(package, chosen, lock, hashes=hashes)]


def _lines(package: Mapping[str, Any], chosen: Mapping[str, set[str]], lock: Path, *, hashes: bool) -> Iterator[str]:
    marker = _marker(package.get("marker"), chosen, lock)
    if marker is False:
        return
    line = f"{package['name']}{_place(package, lock)}{f' ; {marker}' if isinstance(marker, str) else ''}"
    digests = sorted(_digests(package)) if hashes and "version" in package and "directory" not in package else []
    yield " \\\n    ".join([line, *(f"--hash={one}" for one in digests)])


def _place(package: Mapping[str, Any], lock: Path) -> str:
    if vcs := package.get("vcs"):
        inside = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
        url = vcs.get("url") or path_url(lock.parent, vcs["path"])
        return f" @ {vcs['type']}+{url}@{vcs['commit-id']}{inside}"
    for kind in ("archive", "directory"):
        if source := package.get(kind):
            inside = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
            return f" @ {source.get('url') or path_url(lock.parent, source['path'])}{inside}"
    return f"=={package['version']}"


def _digests(package: Mapping[str, Any]) -> set[str]:
    files = [*package.get("wheels", ()), *(package[kind] for kind in ("sdist", "archive") if kind in package)]
    return {f"sha256:{one['hashes']['sha256']}" for one in files if "sha256" in one.get("hashes", {})}


def _marker(text: str | None, chosen: Mapping[str, set[str]], lock: Path) -> str | bool:
    """What is left of a marker when its extras and groups are decided: text, True for always, False for never."""
    if text is None:
        return True

    def decide(left: str, operator: str, right: str) -> bool | None:
        if right not in chosen:
            return None
        return (left.strip("\"'") in chosen[right]) == (operator == "in")

    try:
        return left_of(text, decide)
    except ValueError as error:
        raise UsageError(f"{lock}: {error}.") from error
