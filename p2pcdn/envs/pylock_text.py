"""A lock as text: the same bytes for the same lock, one file a line, keys in the order of PEP 751."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from packaging.version import Version

from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Vcs

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_TO_ESCAPE = re.compile(r'[\x00-\x1f"\\\x7f]')
# What nearly all URLs look like: there is nothing in them to leave out.
_BARE_URL = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]+)?/[^#@?\s]*", re.ASCII)


def write_lock(lock: Lock) -> bytes:
    """Packages are sorted by name, version and marker; wheels by name. URLs lose their credentials."""
    return "".join(_lines(lock)).encode()


def without_credentials(url: str) -> str:
    """What of an index's or a file's URL may stand in a lock: host in lower case, no user, no password, no fragment."""
    if _BARE_URL.fullmatch(url):
        return url
    parts = urlsplit(url)
    if not parts.hostname:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = f"{host}:{parts.port}" if parts.port is not None else host
    # ssh knows its user by name, and without a password: git@host.
    if parts.username and not parts.password and "ssh" in parts.scheme:
        netloc = f"{parts.username}@{netloc}"
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


def _lines(lock: Lock) -> Iterator[str]:
    yield f"lock-version = {_value(lock.lock_version)}\n"
    if lock.environments:
        yield f"environments = {_array(lock.environments)}\n"
    if lock.requires_python is not None:
        yield f"requires-python = {_value(lock.requires_python)}\n"
    for key, names in (
        ("extras", lock.extras),
        ("dependency-groups", lock.dependency_groups),
        ("default-groups", lock.default_groups),
    ):
        if names:
            yield f"{key} = {_value(sorted(names))}\n"
    yield f"created-by = {_value(lock.created_by)}\n"
    if not lock.packages:
        yield "packages = []\n"
    for package in _in_order(lock.packages):
        yield "\n[[packages]]\n"
        yield from (f"{key} = {text}\n" for key, text in _package(package))
    for name in sorted(lock.tool):
        yield from _tool(name, lock.tool[name])


def _in_order(packages: Sequence[LockedPackage]) -> list[LockedPackage]:
    """Nearly all names are there once, and need no more than that."""
    often = Counter(package.name for package in packages)
    return sorted(packages, key=lambda package: _order(package) if often[package.name] > 1 else (package.name,))


def _order(package: LockedPackage) -> tuple[Any, ...]:
    version = (Version(package.version), package.version) if package.version is not None else (Version("0"), "")
    return package.name, *version, package.marker or "", repr(package)


def _package(package: LockedPackage) -> Iterator[tuple[str, str]]:
    for key, text in (
        ("name", package.name),
        ("version", package.version),
        ("marker", package.marker),
        ("requires-python", package.requires_python),
    ):
        if text is not None:
            yield key, _value(text)
    if package.dependencies:
        yield "dependencies", _array(sorted(package.dependencies, key=_value))
    if package.index is not None:
        yield "index", _value(without_credentials(package.index))
    if package.vcs is not None:
        yield "vcs", _value(_vcs(package.vcs))
    if package.directory is not None:
        yield "directory", _value(_directory(package.directory))
    if package.archive is not None:
        yield "archive", _file(package.archive, named=False)
    if package.sdist is not None:
        yield "sdist", _file(package.sdist)
    if package.wheels:
        yield "wheels", _lined(map(_file, sorted(package.wheels, key=lambda one: (one.name, one.place))))
    if package.attestation_identities:
        yield "attestation-identities", _array(package.attestation_identities)
    if package.tool:
        yield "tool", _value(package.tool)


def _file(file: LockedFile, *, named: bool = True) -> str:
    """Written here and not by way of a table: there are more files in a lock than anything else."""
    parts = [f"name = {_text(file.name)}"] if named else []
    if file.upload_time is not None:
        parts.append(f"upload-time = {_moment(file.upload_time)}")
    if file.url is not None:
        parts.append(f"url = {_text(without_credentials(file.url))}")
    if file.path is not None:
        parts.append(f"path = {_text(file.path)}")
    if file.size_bytes is not None:
        parts.append(f"size = {file.size_bytes}")
    parts.append(f"hashes = {_table(dict(sorted(file.hashes.items())))}")
    if file.subdirectory is not None:
        parts.append(f"subdirectory = {_text(file.subdirectory)}")
    return f"{{{', '.join(parts)}}}"


def _vcs(vcs: Vcs) -> dict[str, Any]:
    return _without_none(
        {
            "type": vcs.type,
            "url": vcs.url if vcs.url is None else without_credentials(vcs.url),
            "path": vcs.path,
            "requested-revision": vcs.requested_revision,
            "commit-id": vcs.commit_id,
            "subdirectory": vcs.subdirectory,
        }
    )


def _directory(directory: Directory) -> dict[str, Any]:
    editable = True if directory.editable else None
    return _without_none({"path": directory.path, "editable": editable, "subdirectory": directory.subdirectory})


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _tool(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"\n[tool]\n{_key(name)} = {_value(value)}\n"
        return
    yield f"\n[tool.{_key(name)}]\n"
    for key in sorted(value):
        yield f"{_key(key)} = {_array(value[key]) if _is_long(value[key]) else _value(value[key])}\n"


def _is_long(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 1


def _array(values: Sequence[Any]) -> str:
    return _lined(map(_value, values))


def _lined(texts: Iterable[str]) -> str:
    """One value a line: what changes in a lock is then one line of a diff."""
    return "[\n" + "".join([f"    {text},\n" for text in texts]) + "]"


def _text(text: str) -> str:
    return f'"{_TO_ESCAPE.sub(_escaped, text)}"' if _TO_ESCAPE.search(text) else f'"{text}"'


def _value(value: Any) -> str:
    """What there is most of in a lock stands first."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _table(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join([_value(one) for one in value])}]"
    if isinstance(value, Mapping):
        return _table(value)
    return str(value)  # dates and times of day, in tables of other tools


def _table(table: Mapping[str, Any]) -> str:
    inner = ", ".join([f"{_key(key)} = {_value(one)}" for key, one in table.items()])
    return f"{{{inner}}}"


def _moment(moment: datetime) -> str:
    utc = moment if moment.tzinfo is UTC else _in_utc(moment)
    return utc.isoformat().replace("+00:00", "Z")


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Nearly all are PEP 751's own, of which there are some twenty.
@lru_cache(maxsize=256)
def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"
