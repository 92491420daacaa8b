"""Names as the index writes them: the normalized project name, and the project that a file name belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator

# PEP 508: letters, digits, ".", "-", "_"; begins and ends with a letter or digit. PyPI's longest name has 80 odd.
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_RUNS = re.compile(r"[-_.]+")
_SDIST_ENDINGS = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar.Z", ".tar")


def normalize_project(name: str) -> str:
    """The normalized name (PEP 503). Raises ValueError where `name` is not a project name (PEP 508)."""
    if not _PROJECT.fullmatch(name):
        raise ValueError(f"not a project name: {name[:80]!r}")
    return _RUNS.sub("-", name).lower()


def is_normalized(name: str) -> bool:
    """Whether it is a project name in its normalized form."""
    return name in _valid(name)


def projects_of(filename: str) -> Iterator[str]:
    """The normalized projects that a file of this name may belong to, the likeliest first.

    A wheel names its project exactly (PEP 427). The name of an old sdist may be cut at any hyphen: `a-b-1.0.tar.gz`
    is `a-b` 1.0 or `a` b-1.0. No project at all for a name that follows neither form.
    """
    if filename.endswith((".whl", ".egg")):
        yield from _valid(filename.split("-", 1)[0])
        return
    if filename.endswith((".exe", ".msi", ".rpm", ".dmg", ".deb")):
        stem = filename.rsplit(".", 1)[0]
    else:
        stem = next((filename.removesuffix(end) for end in _SDIST_ENDINGS if filename.endswith(end)), "")
    cuts = [cut.start() for cut in re.finditer("-", stem)]
    versions_first = sorted(cuts, key=lambda cut: (not stem[cut + 1 : cut + 2].isdigit(), -cut))
    for cut in versions_first:
        yield from _valid(stem[:cut])


def is_file_name(name: str) -> bool:
    """Whether a name is safe as the last segment of a path and in a header: no separator, no control character."""
    return (
        0 < len(name) <= 255 and name not in (".", "..") and name.isprintable() and "/" not in name and "\\" not in name
    )


def _valid(name: str) -> Iterator[str]:
    try:
        yield normalize_project(name)
    except ValueError:
        return
