"""What a member of a source archive may be called, and what it may be (PEP 721's rules, and narrower). Pure."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from p2pcdn.errors import Refused

Kind = Literal["file", "directory", "symlink", "hardlink"]

# The longest source trees on PyPI have some 30,000 files.
MEMBERS_MAX = 200_000
# Linux's own limits are 255 bytes a name and 4,096 a path, of which the workshop's needs a part.
NAME_SIZE_BYTES_MAX = 255
PATH_SIZE_BYTES_MAX = 3072


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. path: checked, relative, without "." and "..". target: of a link, as it stands in the archive."""

    path: str
    kind: Kind
    target: str = ""


def safe_path(name: str) -> str:
    """The path of a member inside its tree; "" for the tree itself. Raises Refused for a name that could lead out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise Refused(f"its member {name!r} would be written outside of its directory")
    for part in parts:
        if "\\" in part or any(unicodedata.category(letter) == "Cc" for letter in part):
            raise Refused(f"its member {name!r} has a name that no file may have")
        if len(_encoded(part, name)) > NAME_SIZE_BYTES_MAX:
            raise Refused(f"its member {name[:80]!r}… has too long a name")
    path = "/".join(parts)
    if len(path.encode()) > PATH_SIZE_BYTES_MAX:
        raise Refused(f"its member {name[:80]!r}… has too long a path")
    return path


def check_together(members: Iterable[Member]) -> None:
    """Raises Refused where two members would be one, or one would be written through another.

    Names that differ in case or in the form of an accent are one name on the disks of other systems.
    """
    seen: dict[str, Member] = {}
    for member in members:
        folded = _folded(member.path)
        former = seen.get(folded)
        if former is not None and not (former.kind == member.kind == "directory" and former.path == member.path):
            raise Refused(f"two of its members would be one file: {former.path!r} and {member.path!r}")
        seen[folded] = member
        if len(seen) > MEMBERS_MAX:
            raise Refused(f"it has more than {MEMBERS_MAX:,} members")
    for member in seen.values():
        _check_parents(member, seen)
        if member.kind == "symlink":
            check_symlink(member)


def check_symlink(member: Member) -> None:
    """Raises Refused unless the link leads to a place inside the tree.

    ".." may only stand first: behind a name that is a link itself it would lead elsewhere than it reads.
    """
    steps = [step for step in member.target.split("/") if step not in ("", ".")]
    ups = 0
    while ups < len(steps) and steps[ups] == "..":
        ups += 1
    leads_out = member.target.startswith("/") or ".." in steps[ups:] or ups > member.path.count("/")
    if leads_out or not member.target or "\\" in member.target or "\0" in member.target:
        raise Refused(f"its link {member.path!r} leads outside of its directory, to {member.target!r}")


def _check_parents(member: Member, seen: dict[str, Member]) -> None:
    parent = posixpath.dirname(member.path)
    while parent:
        above = seen.get(_folded(parent))
        if above is not None and (above.kind != "directory" or above.path != parent):
            raise Refused(f"its member {member.path!r} would be written through {above.path!r}, which is no directory")
        parent = posixpath.dirname(parent)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _encoded(part: str, name: str) -> bytes:
    try:
        return part.encode()
    except UnicodeEncodeError:
        raise Refused(f"its member {name!r} has a name that is not UTF-8") from None
