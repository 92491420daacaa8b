"""direct_url.json: where something came from that no index gave (PEP 610)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2pcdn.envs.model import Directory, LockedFile, LockedPackage, Vcs
from p2pcdn.envs.pylock_text import without_credentials


def direct_url(package: LockedPackage, base: Path) -> str | None:
    """Its text, the same for the same package; None for what an index gave. base: the directory of the lock."""
    if package.vcs is not None:
        value = _vcs(package.vcs, base)
    elif package.directory is not None:
        value = _directory(package.directory, base)
    elif package.archive is not None:
        value = _archive(package.archive, base)
    else:
        return None
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _vcs(vcs: Vcs, base: Path) -> dict[str, Any]:
    # The words of the two specifications differ: "type" here is "vcs" there.
    told = {"vcs": vcs.type, "commit_id": vcs.commit_id, "requested_revision": vcs.requested_revision}
    known = {key: value for key, value in told.items() if value is not None}
    return _with_subdirectory({"url": _url(vcs.url, vcs.path, base), "vcs_info": known}, vcs.subdirectory)


def _directory(directory: Directory, base: Path) -> dict[str, Any]:
    value = {"url": _url(None, directory.path, base), "dir_info": {"editable": True} if directory.editable else {}}
    return _with_subdirectory(value, directory.subdirectory)


def _archive(archive: LockedFile, base: Path) -> dict[str, Any]:
    value = {"url": _url(archive.url, archive.path, base), "archive_info": {"hashes": dict(archive.hashes)}}
    return _with_subdirectory(value, archive.subdirectory)


def _with_subdirectory(value: dict[str, Any], subdirectory: str | None) -> dict[str, Any]:
    return value if subdirectory is None else {**value, "subdirectory": subdirectory}


def _url(url: str | None, path: str | None, base: Path) -> str:
    return without_credentials(url) if url is not None else (base / (path or "")).resolve().as_uri()
