"""pylock.toml (PEP 751): read and checked. What is wrong with one is said with the file and the key."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from p2pcdn.envs.errors import BadLock
from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Vcs, name_at
from p2pcdn.names import is_normalized, normalize_project

T = TypeVar("T")
V = TypeVar("V")

# A lock of 1,000 packages with 100 wheels each has some 30 MB.
LOCK_SIZE_BYTES_MAX = 64 * 1024 * 1024
# The version that this code knows (PEP 751, "lock-version").
LOCK_VERSION = (1, 0)
# `pylock.toml`, or `pylock.<name>.toml` with a name without dots (PEP 751, "File name").
_FILE_NAME = re.compile(r"pylock(\.[^.]+)?\.toml")
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)


def read_lock(content: bytes, filename: str) -> Lock:
    """filename: how messages call it. Raises BadLock."""
    if len(content) > LOCK_SIZE_BYTES_MAX:
        raise BadLock(f"{filename} has more than {LOCK_SIZE_BYTES_MAX} bytes; that is no lock.")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadLock(f"{filename} is not TOML: {error}.") from error
    except RecursionError as error:
        raise BadLock(f"{filename} is nested too deeply.") from error
    return _lock(_Table(filename, "", table))


def is_lock_name(filename: str) -> bool:
    return _FILE_NAME.fullmatch(filename) is not None


def inputs_hash(inputs: Mapping[str, Any]) -> str:
    """Names what a lock was made of (requirements, options): the same for the same JSON, whatever the order of its
    keys.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_stale(lock: Lock, inputs: Mapping[str, Any]) -> bool:
    """Whether the lock was made of something else, or by a program that did not say of what."""
    own = lock.tool.get("zephyr")
    return not isinstance(own, Mapping) or own.get("inputs") != inputs_hash(inputs)


class _Table:
    """A table of the file, which knows its key: `packages[3].wheels[0]`."""

    def __init__(self, filename: str, key: str, table: Mapping[str, Any]) -> None:
        self.filename = filename
        self.key = key
        self._table = table

    def get(self, key: str, kind: type[T]) -> T:
        value = self.maybe(key, kind)
        if value is None:
            self.bad(key, "is missing")
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        value = self._table.get(key)
        # bool is an int to Python, and not to TOML.
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            self.bad(key, f"must be {_KINDS[kind]}, and is {str(value)[:80]!r}")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        values: list[Any] = self.maybe(key, list) or []
        for at, value in enumerate(values):
            if not isinstance(value, str):
                self.bad(f"{key}[{at}]", f"must be a string, and is {str(value)[:80]!r}")
        return tuple(values)

    def table(self, key: str, read: Callable[[_Table], V]) -> V | None:
        value = self.maybe(key, dict)
        return None if value is None else read(_Table(self.filename, self._path(key), value))

    def tables(self, key: str) -> Iterator[_Table]:
        values: list[Any] = self.maybe(key, list) or []
        for at, value in enumerate(values):
            if not isinstance(value, dict):
                self.bad(f"{key}[{at}]", f"must be a table, and is {str(value)[:80]!r}")
            yield _Table(self.filename, self._path(f"{key}[{at}]"), value)

    def raw(self) -> Mapping[str, Any]:
        return self._table

    def bad(self, key: str, why: str) -> NoReturn:
        raise BadLock(f"{self.filename}: {self._path(key)} {why}.")

    def _path(self, key: str) -> str:
        return f"{self.key}.{key}" if self.key and key else self.key or key


_KINDS = {str: "a string", int: "an integer", bool: "true or false", list: "an array", dict: "a table"}
_KINDS[datetime] = "a date with a time"


def _lock(table: _Table) -> Lock:
    notes = _lock_version(table)
    environments = table.strings("environments")
    for at, marker in enumerate(environments):
        _check(table, f"environments[{at}]", Marker, marker)
    extras = table.strings("extras")
    for at, extra in enumerate(extras):
        _check(table, f"extras[{at}]", normalize_project, extra)
    if "packages" not in table.raw():
        table.bad("packages", "is missing")
    return Lock(
        created_by=table.get("created-by", str),
        packages=tuple(_package(one) for one in table.tables("packages")),
        environments=environments,
        requires_python=_specifier(table),
        extras=extras,
        dependency_groups=table.strings("dependency-groups"),
        default_groups=table.strings("default-groups"),
        tool=table.maybe("tool", dict) or {},
        lock_version=table.get("lock-version", str),
        notes=notes,
    )


def _lock_version(table: _Table) -> tuple[str, ...]:
    text = table.get("lock-version", str)
    match = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", text, re.ASCII)
    if match is None:
        table.bad("lock-version", f"is no version: {text[:40]!r}")
    major, minor = int(match[1]), int(match[2])
    if major != LOCK_VERSION[0]:
        table.bad("lock-version", f"is {text}, and this program reads 1.0: another version of it is needed")
    if minor > LOCK_VERSION[1]:
        return (f"{table.filename} has the newer lock-version {text}; what 1.0 does not know was ignored.",)
    return ()


def _package(table: _Table) -> LockedPackage:
    name = table.get("name", str)
    if not is_normalized(name):
        table.bad("name", f"must be a normalized project name, and is {name[:80]!r}")
    version = table.maybe("version", str)
    if version is not None:
        _check(table, "version", Version, version)
    marker = table.maybe("marker", str)
    if marker is not None:
        _check(table, "marker", Marker, marker)
    package = LockedPackage(
        name=name,
        version=version,
        marker=marker,
        requires_python=_specifier(table),
        dependencies=tuple(one.raw() for one in table.tables("dependencies")),
        index=table.maybe("index", str),
        vcs=table.table("vcs", _vcs),
        directory=table.table("directory", _directory),
        archive=table.table("archive", _archive),
        sdist=table.table("sdist", lambda one: _sdist(one, name)),
        wheels=tuple(_wheel(one, name, version) for one in table.tables("wheels")),
        attestation_identities=tuple(_identity(one) for one in table.tables("attestation-identities")),
        tool=table.maybe("tool", dict) or {},
    )
    _check_sources(table, package)
    return package


def _check_sources(table: _Table, package: LockedPackage) -> None:
    files = package.sdist or package.wheels or None
    kinds = [one for one in (package.vcs, package.directory, package.archive, files) if one is not None]
    if len(kinds) != 1:
        found = "has several sources" if kinds else "has no source"
        table.bad("", f"({package.name}) {found}; it needs one of vcs, directory, archive, or an sdist and wheels")


def _vcs(table: _Table) -> Vcs:
    return Vcs(
        type=table.get("type", str),
        commit_id=table.get("commit-id", str),
        requested_revision=table.maybe("requested-revision", str),
        subdirectory=table.maybe("subdirectory", str),
        **_place(table),
    )


def _directory(table: _Table) -> Directory:
    return Directory(
        path=table.get("path", str),
        editable=table.maybe("editable", bool) or False,
        subdirectory=table.maybe("subdirectory", str),
    )


def _archive(table: _Table) -> LockedFile:
    return replace(_file(table), subdirectory=table.maybe("subdirectory", str))


def _file(table: _Table) -> LockedFile:
    place = _place(table)
    size = table.maybe("size", int)
    if size is not None and size < 0:
        table.bad("size", "must not be negative")
    uploaded = table.maybe("upload-time", datetime)
    if uploaded is not None and uploaded.utcoffset():
        table.bad("upload-time", "must be in UTC")
    return LockedFile(
        name=table.maybe("name", str) or name_at(place["url"] or place["path"] or ""),
        hashes=_hashes(table),
        size_bytes=size,
        upload_time=uploaded,
        **place,
    )


def _sdist(table: _Table, name: str) -> LockedFile:
    file = _file(table)
    try:
        named, _ = parse_sdist_filename(file.name)
    except InvalidSdistFilename:
        # Old sdists have names of every kind (`.tar.bz2`, a hyphen too many): their hash says what they are.
        return file
    if named != name and not file.name.lower().startswith(name.replace("-", "_")):
        table.bad("name", f"is the sdist of another project than {name}: {file.name}")
    return file


def _wheel(table: _Table, name: str, version: str | None) -> LockedFile:
    file = _file(table)
    try:
        named, number, _, _ = parse_wheel_filename(file.name)
    except InvalidWheelFilename as error:
        table.bad("name", f"is no wheel's: {error}")
    if named != name or (version is not None and number != Version(version)):
        table.bad("name", f"is not a wheel of {name} {version or ''}: {file.name}".replace(" :", ":"))
    return file


def _hashes(table: _Table) -> dict[str, str]:
    hashes = table.get("hashes", dict)
    if not hashes:
        table.bad("hashes", "must name at least one")
    for algorithm, digest in hashes.items():
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            table.bad(f"hashes.{algorithm}", f"must be hexadecimal digits, and is {str(digest)[:80]!r}")
    if "sha256" in hashes and len(hashes["sha256"]) != 64:
        table.bad("hashes.sha256", "must have 64 digits")
    return {algorithm: digest.lower() for algorithm, digest in hashes.items()}


def _identity(table: _Table) -> Mapping[str, Any]:
    table.get("kind", str)
    return table.raw()


def _place(table: _Table) -> dict[str, str | None]:
    place: dict[str, str | None] = {key: table.maybe(key, str) for key in ("url", "path")}
    if place["url"] is None and place["path"] is None:
        table.bad("url", "is missing, and path too")
    return place


def _specifier(table: _Table) -> str | None:
    text = table.maybe("requires-python", str)
    if text is not None:
        _check(table, "requires-python", SpecifierSet, text)
    return text


def _check(table: _Table, key: str, parse: Any, text: str) -> None:
    try:
        parse(text)
    except (InvalidMarker, InvalidSpecifier, InvalidVersion, ValueError) as error:
        table.bad(key, f"is {text[:80]!r}, which cannot be read ({str(error).splitlines()[0]})")
