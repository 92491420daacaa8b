"""What was asked for: a name with versions, a path, a URL, an editable project; as typed, or as a line of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.link import VCS, Link, is_archive, is_url, link_at, link_to_path
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

    from p2pcdn_shim.zephyr.pip.voice import PipVoice

    Settings = Mapping[str, str | list[str]]

_OPERATORS = ("~=", "==", "!=", "<=", ">=", "<", ">", "===")


class Ask(Value):
    """One requirement. requirement: its name and versions; None for a place whose name is not known yet.

    link: where it is, for one that names a place. origin: whose it is, as pip writes it ("-r file (line 3)"); "" for
    the command line. hashes: the digests that do, by algorithm. user: the user named it, on the command line or in a
    file of his.
    """

    text: str
    requirement: Requirement | None
    link: Link | None = None
    marker: Marker | None = None
    extras: tuple[str, ...] = ()
    editable: bool = False
    constraint: bool = False
    origin: str = ""
    hashes: Mapping[str, tuple[str, ...]] = {}
    settings: Mapping[str, str | list[str]] = {}
    user: bool = True

    @property
    def project(self) -> str:
        """Normalized; "" where it is not known yet."""
        return normalize(self.requirement.name) if self.requirement is not None else ""

    @property
    def shown(self) -> str:
        """As pip writes it in its messages."""
        if self.requirement is not None:
            text = str(_without_marker(self.requirement))
            return f"{text} from {self.link.url}" if self.link is not None and "@" not in text else text
        return self.link.url if self.link is not None else self.text

    def applies(self, environment: Mapping[str, str], extras: Iterable[str] = ("",)) -> bool:
        """Whether its marker holds."""
        marker = self.marker or (self.requirement.marker if self.requirement is not None else None)
        return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in (*extras, ""))


def _without_marker(requirement: Requirement) -> Requirement:
    from packaging.requirements import Requirement

    copy = Requirement(str(requirement))
    copy.marker = None
    return copy


def ask_of(
    text: str,
    voice: PipVoice,
    *,
    origin: str = "",
    source: str = "",
    constraint: bool = False,
    hashes: Mapping[str, tuple[str, ...]] | None = None,
    settings: Settings | None = None,
) -> Ask:
    """A requirement as typed. source: the line of the file that it stands in, for errors. Raises PipError."""
    from packaging.markers import InvalidMarker, Marker

    name, sign, marker_text = text.partition("; " if is_url(text) else ";")
    name = name.strip()
    try:
        marker = Marker(marker_text.strip()) if sign and marker_text.strip() else None
    except InvalidMarker as error:
        raise PipError(f"Invalid requirement: {name!r}: {error}") from error
    link, extras = _place(name, voice)
    link = _absolute(link)
    requirement: Requirement | None
    if link is None:
        requirement = _parsed(name, source)
    elif link.is_wheel:
        requirement = _of_wheel(link)
    else:
        egg, _ = link.egg
        requirement = _parsed(link.fragment["egg"], source) if egg else None
    if link is None and requirement is not None and requirement.url:
        link = link_at(requirement.url)
        requirement, marker = _plain(requirement), requirement.marker or marker
    if requirement is not None:
        extras = tuple(sorted({*extras, *requirement.extras}))
    return Ask(text, requirement, link, marker, extras, False, constraint, origin, hashes or {}, settings or {})


def editable_ask(text: str, *, origin: str = "", constraint: bool = False, settings: Settings | None = None) -> Ask:
    """What was given with -e. Raises PipError."""
    if constraint:
        raise PipError("Editable requirements are not allowed as constraints")
    url, requirement, marker, extras = text, None, None, ()  # type: tuple[str, Requirement | None, Marker | None, tuple[str, ...]]
    named = _named_url(text)
    if named is not None:
        assert named.url is not None
        url, requirement, marker, extras = named.url, _plain(named), named.marker, tuple(sorted(named.extras))
    else:
        path, extras = split_extras(text)
        if Path(path).is_dir():
            url = link_to_path(path).url
        elif text.partition(":")[0].lower() in VCS:
            url = f"{text.partition(':')[0]}+{text}"
    link = _absolute(link_at(url))
    assert link is not None
    if not link.is_vcs and not link.is_file:
        raise PipError(
            f"{text} is not a valid editable requirement. It should either be a path to a local project or a VCS URL "
            "(beginning with git+ssh, git+https, git+file)."
        )
    egg, more = link.egg
    if requirement is None and egg:
        requirement = _parsed(link.fragment["egg"], "")
        extras = tuple(sorted({*extras, *more}))
    if requirement is None and not link.is_file:
        raise PipError(
            f"Could not detect requirement name for '{text}', please specify one with your_package_name @ URL"
        )
    return Ask(text, requirement, link, marker, extras, True, False, origin, {}, settings or {})


def dependency(text: str, origin: str) -> Ask:
    """A requirement of a package or of a group. Raises PipError."""
    requirement = _parsed(text, "")
    link = link_at(requirement.url) if requirement.url else None
    extras = tuple(sorted(requirement.extras))
    if link is not None:
        return Ask(text, _plain(requirement), link, requirement.marker, extras, origin=origin)
    return Ask(text, requirement, None, None, extras, origin=origin)


def _absolute(link: Link | None) -> Link | None:
    """A file: URL without ways back, and from the root of the disk."""
    if link is None or not link.is_file or (link.path.is_absolute() and "../" not in link.plain):
        return link
    _, sign, fragment = link.url.partition("#")
    return link_at(link_to_path(os.path.normpath(link.path)).url + sign + fragment)


def _plain(requirement: Requirement) -> Requirement:
    """Its name and extras."""
    from packaging.requirements import Requirement

    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return Requirement(f"{requirement.name}{extras}")


def _named_url(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return None
    return found if found.url else None


def split_extras(text: str) -> tuple[str, tuple[str, ...]]:
    match = re.fullmatch(r"(.+)(\[[^\]]+\])", text)
    if match is None:
        return text, ()
    return match[1].rstrip(), tuple(sorted(one.strip().lower() for one in match[2][1:-1].split(",") if one.strip()))


def _place(name: str, voice: PipVoice) -> tuple[Link | None, tuple[str, ...]]:
    if is_url(name):
        return link_at(name), ()
    path, extras = split_extras(os.path.normpath(os.path.abspath(name)))  # noqa: PTH100
    looks = os.sep in name or name.startswith(".")
    if looks and Path(path).is_dir():
        if not any((Path(path) / one).is_file() for one in ("setup.py", "pyproject.toml")):
            raise PipError(f"Directory {name!r} is not installable. Neither 'setup.py' nor 'pyproject.toml' found.")
        return link_to_path(path), extras
    if not is_archive(path):
        return None, ()
    if not Path(path).is_file():
        head, at, _ = name.partition("@")
        if at and not (os.sep in head or head.startswith(".")):
            return None, ()
        voice.warn(f"Requirement {name!r} looks like a filename, but the file does not exist")
    return link_to_path(path), extras


def _of_wheel(link: Link) -> Requirement:
    from packaging.requirements import Requirement
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(link.filename)
    except InvalidWheelFilename as error:
        raise PipError(f"Invalid wheel filename: {error}") from error
    return Requirement(f"{name}=={version}")


def _parsed(text: str, source: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        hint = ""
        if os.sep in text:
            hint = f"\nHint: It looks like a path.{_about(text)}"
        elif "=" in text and not any(one in text for one in _OPERATORS):
            hint = "\nHint: = is not a valid operator. Did you mean == ?"
        where = f" (from {source})" if source else ""
        raise PipError(f"Invalid requirement: {text!r}: {error}{where}{hint}") from error


def _about(path: str) -> str:
    """What may have been meant by a path that is no project."""
    if not Path(path).exists():
        return f" File '{path}' does not exist."
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        lines = Path(path).read_text(encoding="utf-8", errors="ignore").splitlines()
        first = next((line.strip() for line in lines if line.strip() and not line.strip().startswith("#")), "")
        Requirement(first.partition(" #")[0])
    except (OSError, InvalidRequirement):
        return " The path does exist. "
    return (
        f" The path does exist. The argument you provided ({path}) appears to be a requirements file. If that is the "
        "case, use the '-r' flag to install the packages specified within it."
    )
