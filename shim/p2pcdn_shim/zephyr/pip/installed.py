"""What is installed in an environment, read from its directories: .dist-info, .egg-info, .egg-link."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from configparser import Error as ParserError
from configparser import RawConfigParser
from email.message import Message
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from packaging.requirements import Requirement
    from packaging.version import Version

# Part of Python itself, whatever says so.
NOT_PACKAGES = ("python", "wsgiref", "argparse")
_NAME = re.compile(r"([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])", re.IGNORECASE)


class Distribution:
    """One installed project. info: its .dist-info or .egg-info, a directory or a file. location: what lies on sys.path.

    link: the .egg-link that leads to it, of a project that `setup.py develop` put there.
    """

    def __init__(self, info: Path, location: Path, link: Path | None = None) -> None:
        self.info = info
        self.location = location
        self.link = link

    @cached_property
    def metadata(self) -> Message:
        text = self.read("METADATA") or self.read("PKG-INFO") or ""
        if self.info.is_file():
            text = self.info.read_text(encoding="utf-8", errors="surrogateescape")
        return HeaderParser().parsestr(text)

    @cached_property
    def name(self) -> str:
        """As it calls itself."""
        return str(self.metadata["Name"] or self._stem[0])

    @cached_property
    def project(self) -> str:
        """Normalized."""
        return normalize(self._stem[0] if self.info.name.endswith(".dist-info") and self._stem[0] else self.name)

    @cached_property
    def version_text(self) -> str:
        return str(self.metadata["Version"] or self._stem[1] or "")

    @cached_property
    def version(self) -> Version | None:
        """None for one that is no version (PEP 440)."""
        from packaging.version import InvalidVersion, Version

        try:
            return Version(self.version_text)
        except InvalidVersion:
            return None

    @property
    def _stem(self) -> tuple[str, str]:
        stem = self.info.name.rpartition(".")[0]
        if self.info.name.endswith(".egg-info"):
            stem = re.sub(r"-py\d+(\.\d+)?.*$", "", stem)
        name, _, version = stem.partition("-")
        return name, version

    def read(self, name: str) -> str | None:
        """The text of a file of its metadata; None where there is none."""
        try:
            return (self.info / name).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None

    @cached_property
    def direct_url(self) -> dict[str, Any] | None:
        """PEP 610."""
        text = self.read("direct_url.json")
        try:
            found = json.loads(text) if text else None
        except ValueError:
            return None
        return found if isinstance(found, dict) and _is_whole(found) else None

    @property
    def installer(self) -> str:
        """The first line of INSTALLER."""
        lines = [line for line in (self.read("INSTALLER") or "").splitlines() if line.strip()]
        # One that is no text says nothing.
        return lines[0].strip() if lines and lines[0].isprintable() else ""

    @property
    def requested(self) -> bool:
        return self.info.is_dir() and (self.info / "REQUESTED").exists()

    @cached_property
    def editable_location(self) -> str | None:
        """The directory of the project, of one that is installed so that its sources stay in use."""
        direct = self.direct_url
        if direct is not None and (direct.get("dir_info") or {}).get("editable"):
            return unquote(urlsplit(direct["url"]).path)
        return str(self.location) if self.link is not None else None

    @property
    def is_editable(self) -> bool:
        return self.editable_location is not None

    @property
    def where(self) -> Path:
        """What is installed: the directory of the package, or of the link to it."""
        return self.link.parent if self.link is not None else self.location

    @property
    def is_in_memory(self) -> bool:
        """Whether it lies nowhere."""
        return False

    def is_below(self, directory: str) -> bool:
        return _is_below(self.where, directory)

    def requires(self, markers: Mapping[str, str], *, extra: str = "", strict: bool = False) -> list[Requirement]:
        """What it needs in an environment with these markers, without extras or with one; what is no requirement is
        left out.

        strict: raises ValueError for such a one.
        """
        from packaging.requirements import InvalidRequirement, Requirement

        found = []
        for text in self.requires_texts:
            try:
                one = Requirement(text.strip())
            except InvalidRequirement:
                if strict:
                    raise
                continue
            if one.marker is None or one.marker.evaluate({**markers, "extra": extra}):
                found.append(one)
        return found

    @property
    def requires_texts(self) -> list[str]:
        lines = self.metadata.get_all("Requires-Dist")
        return [str(line) for line in lines] if lines else list(_egg_requires(self.read("requires.txt") or ""))

    @property
    def extras(self) -> list[str]:
        found = [str(one) for one in self.metadata.get_all("Provides-Extra") or ()]
        return found or [line[1:-1].partition(":")[0] for line in (self.read("requires.txt") or "").splitlines()
                         if line.startswith("[") and line[1:2] != ":"]  # fmt: skip

    def entry_points(self) -> Iterator[tuple[str, str]]:
        """(section, name) of entry_points.txt."""
        parser = RawConfigParser(delimiters=("=",), strict=False)
        parser.optionxform = str  # type: ignore[method-assign, assignment]  # names keep their case
        try:
            parser.read_string(self.read("entry_points.txt") or "")
        except ParserError:
            return
        for section in parser.sections():
            yield from ((section, name) for name in parser.options(section))

    def record(self) -> list[str] | None:
        """The paths of RECORD, as they are written there; None without one, and for one that cannot be read."""
        text = self.read("RECORD")
        try:
            return None if text is None else [row[0] for row in csv.reader(text.splitlines()) if row]
        except csv.Error:
            return None

    def declared_files(self) -> list[str] | None:
        """Its files, relative to `location` where they lie below it; None where nobody says."""
        recorded = self.record()
        if recorded is not None:
            return recorded
        text = self.read("installed-files.txt")
        if text is None:
            return None
        found = []
        for line in filter(None, text.splitlines()):
            path = os.path.normpath(self.info / line)
            found.append(os.path.relpath(path, self.location))
        return found


class InMemory(Distribution):
    """One of which only the METADATA is known: it is yet to come, or an import hook of the interpreter speaks of it."""

    def __init__(self, text: str) -> None:
        super().__init__(Path(os.devnull), Path("<memory>"))
        self._text = text

    @property
    def is_in_memory(self) -> bool:
        return True

    def is_below(self, directory: str) -> bool:
        return False

    def read(self, name: str) -> str | None:
        return self._text if name == "METADATA" else None


class Environment:
    """All that is installed in some directories; the first of a name counts, as for Python.

    invented: the METADATA of what lies in none of them, but an import hook says that it is there.
    """

    def __init__(self, path: Iterable[str], invented: Iterable[str] = ()) -> None:
        self.path = list(dict.fromkeys(path))
        self._invented = tuple(invented)
        # (name, location) of what is there under a name that no project can have.
        self.invalid: list[tuple[str, str]] = []

    @cached_property
    def all(self) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for directory in self.path:
            self._gather(distributions_in(Path(directory)), found)
        self._gather(map(InMemory, self._invented), found)
        return found

    def _gather(self, ones: Iterable[Distribution], found: dict[str, Distribution]) -> None:
        for one in ones:
            if not _NAME.fullmatch(one.project):
                self.invalid.append((one.project, str(one.location)))
            elif one.project not in found:
                found[one.project] = one
            elif (
                found[one.project].link is None and one.link is not None and one.location == found[one.project].location
            ):
                found[one.project] = one  # the same, and how it came to be there

    def get(self, name: str) -> Distribution | None:
        return self.all.get(normalize(name))

    def packages(self) -> list[Distribution]:
        """Without what is part of Python, by name."""
        return [self.all[name] for name in sorted(self.all) if name not in NOT_PACKAGES]


def distributions_in(directory: Path) -> Iterator[Distribution]:
    """Of one directory of sys.path."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - many names, and of most no more is asked
    except (OSError, ValueError):  # or a name that no path can have
        return
    if directory.name.endswith(".egg") and "EGG-INFO" in names:
        yield Distribution(directory / "EGG-INFO", directory)
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            yield Distribution(directory / name, directory)
    for name in names:
        if name.endswith(".egg-link"):
            yield from _linked(directory / name)


def _linked(link: Path) -> Iterator[Distribution]:
    try:
        lines = link.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    if lines and (where := Path(lines[0].strip())).is_dir():
        for info in sorted(where.glob("*.egg-info")):
            yield Distribution(info, where, link)


def _is_whole(direct: dict[str, Any]) -> bool:
    """Whether a direct_url.json has what is read of it, in the right types (PEP 610)."""
    tables = [direct.get(name, {}) for name in ("dir_info", "vcs_info", "archive_info")]
    if not isinstance(direct.get("url"), str) or not all(isinstance(one, dict) for one in tables):
        return False
    vcs = "vcs_info" not in direct or all(isinstance(tables[1].get(name), str) for name in ("vcs", "commit_id"))
    return vcs and isinstance(tables[2].get("hashes") or {}, dict)


def _is_below(path: Path, directory: str) -> bool:
    real = os.path.realpath(path)
    root = os.path.realpath(directory)
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _egg_requires(text: str) -> Iterator[str]:
    """requires.txt of an egg, as requirements with markers."""
    extra = marker = ""
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            extra, _, marker = line[1:-1].partition(":")
            continue
        parts = [f"({marker})"] if marker else []
        parts += [f'extra == "{extra}"'] if extra else []
        yield f"{line} ; {' and '.join(parts)}" if parts else line
