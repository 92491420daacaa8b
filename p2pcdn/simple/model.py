"""What a project page says: the files of one project, each as its index described it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pcdn.digest import Sha256

# numpy and the largest nightly indexes list some ten thousand files; fifty times that is no page for an installer.
FILES_MAX = 500_000


@dataclass(frozen=True, slots=True)
class File:
    """One file that a page lists (PEP 691, "Project Detail").

    filename: safe as the last segment of a path (`names.is_file_name`).
    url: where the index has it: absolute, ASCII, http or https (file too where the page itself is one), no fragment.
    sha256: None where the index gives none.
    size_bytes: None where the index gives none (PEP 700).
    core_metadata: the sha256 of the core metadata file beside this one (PEP 658, 714); True where the index has one but
        gives no sha256 of it; False where it has none or says nothing.
    yanked: the reason, True without one, False where it is not yanked (PEP 592).
    upload_time: ISO 8601, as the index wrote it (PEP 700).
    raw: the file's JSON form, unknown keys and all; for a page that was HTML, what the link said, as JSON would say it.
    """

    filename: str
    url: str
    sha256: Sha256 | None
    size_bytes: int | None
    core_metadata: Sha256 | bool
    yanked: bool | str
    requires_python: str | None
    upload_time: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """The page of one project.

    raw: the page's JSON form without `files`: at least `meta` and `name`, and whatever else the index said.
    left_out: how many files were dropped because their name, URL or hash is not safe to pass on.
    """

    project: str
    files: Sequence[File]
    raw: Mapping[str, Any]
    left_out: int = 0
