"""What a question came to, as members tell each other: versions for each target, and the pages that were read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import packaging
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.names import is_normalized
from p2pcdn.resolve import Target, to_plain

# Larger environments resolve themselves.
PROJECTS_MAX = 512
# boto3 with an old urllib3 looks at three thousand. How many of them are fetched at most for a word, `room.py` says.
VERSIONS_MAX = 4096
TARGETS_MAX = 128
# A version of PyPI has up to some hundred characters.
VERSION_SIZE_MAX = 200

MACHINE_SIZE_BYTES = 16

# The variables of PEP 508 in which the machines of a room agree.
_KIND = frozenset(
    {
        "implementation_name",
        "os_name",
        "platform_machine",
        "platform_python_implementation",
        "platform_system",
        "python_version",
        "sys_platform",
    }
)
_SUBJECT_CONTEXT = "p2pcdn 2026 resolution v4"

# (project, version), sorted.
Choice = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """choices: for each target, in the order of the question's matrix, (project, version), sorted; None where there are
    none for want of files.

    looked_at: what else a resolution has to know of (`Resolver.looked_at`), in any order; of one that was decoded all
    that is named, sorted.
    pages: (URL of the index, version of the page) of each project whose table it has to know.
    machine: see `machine_of`.
    """

    choices: tuple[Choice | None, ...]
    pages: Mapping[str, tuple[str, str]]
    machine: bytes
    looked_at: Sequence[tuple[str, str]] = ()

    @property
    def packages(self) -> list[tuple[str, str]]:
        """All that are named, each once, sorted."""
        return sorted({*self.looked_at}.union(*(chosen for chosen in self.choices if chosen is not None)))

    def encode(self) -> bytes:
        """Raises ValueError for one that would be taken by nobody."""
        packages = self.packages
        if len(self.pages) > PROJECTS_MAX or len(packages) > VERSIONS_MAX or len(self.choices) > TARGETS_MAX:
            raise ValueError("it is larger than members take")
        place = {package: at for at, package in enumerate(packages)}
        versions: dict[str, list[str]] = {project: [] for project in self.pages}
        for project, version in packages:
            versions[project].append(version)
        return frames.encode(
            {
                "machine": self.machine,
                "projects": [[project, *self.pages[project], versions[project]] for project in sorted(self.pages)],
                "targets": [
                    None if chosen is None else sorted(place[package] for package in chosen) for chosen in self.choices
                ],
            }
        )

    @classmethod
    def decode(cls, content: bytes) -> Certificate:
        """Raises RemoteProtocolError for anything that `encode` would not write."""
        fields = frames.decode(content)
        if not isinstance(fields, Mapping) or fields.keys() != {"machine", "projects", "targets"}:
            raise RemoteProtocolError("its fields are not those of a resolution")
        rows = _rows(fields["projects"])
        packages = [(project, version) for project, _, _, versions in rows for version in versions]
        if len(packages) > VERSIONS_MAX:
            raise RemoteProtocolError("it names more versions than members look at")
        targets = fields["targets"]
        if not isinstance(targets, list) or not 0 < len(targets) <= TARGETS_MAX:
            raise RemoteProtocolError("it is for no targets")
        if not isinstance(fields["machine"], bytes) or len(fields["machine"]) != MACHINE_SIZE_BYTES:
            raise RemoteProtocolError("it is of no machine")
        choices = tuple(
            None if target is None else tuple(packages[at] for at in _places(target, packages)) for target in targets
        )
        pages = {project: (index, version) for project, index, version, _ in rows}
        return cls(choices, pages, fields["machine"], tuple(packages))


def _rows(value: object) -> list[tuple[str, str, str, list[str]]]:
    """[project, URL of the index, version of the page, [versions]], each sorted by its first, nothing twice."""
    if not isinstance(value, list) or len(value) > PROJECTS_MAX:
        raise RemoteProtocolError("it has no list of projects, or a longer one than environments have")
    for row in value:
        if not (isinstance(row, list) and len(row) == 4 and isinstance(row[3], list)):
            raise RemoteProtocolError("its projects are none")
        if {*map(type, row[:3]), *map(type, row[3])} != {str} or not is_normalized(row[0]):
            raise RemoteProtocolError("its projects are none")
        if row[3] != sorted(set(row[3])) or max(map(len, row[3]), default=0) > VERSION_SIZE_MAX:
            raise RemoteProtocolError("its versions are none")
    projects = [row[0] for row in value]
    if projects != sorted(set(projects)):
        raise RemoteProtocolError("it is not as a member writes one")
    return value


def _places(value: object, packages: Sequence[Any]) -> list[int]:
    if not isinstance(value, list) or len(value) > len(packages):
        raise RemoteProtocolError("it chooses no packages")
    if not all(type(at) is int and 0 <= at < len(packages) for at in value) or value != sorted(set(value)):
        raise RemoteProtocolError("it chooses packages that it does not name")
    return value


def subject_of(question: str, targets: Sequence[Target], indexes: Sequence[str], version: str) -> bytes:
    """What a certificate is about: equal where equal pages mostly lead to equal versions.

    question: its digest, with what was locked before. indexes: their URLs, in order. version: of p2pcdn. That of
    packaging is part of it, too, for it says what versions and markers mean. Of the targets only what tells kinds of
    machines apart: whether the versions fit this very one is found out when they are confirmed.
    """
    kinds = [[[name, value] for name, value in target.environment if name in _KIND] for target in targets]
    name = frames.encode([question, kinds, list(indexes), version, packaging.__version__])
    return bytes(blake3(name, derive_key_context=_SUBJECT_CONTEXT).digest())


# Those of the locks that are made just now: 24 targets have some twenty thousand tags.
@lru_cache(maxsize=8)
def machine_of(targets: tuple[Target, ...]) -> bytes:
    """Names the targets with everything that markers and tags can tell of them, a kernel's release for example."""
    plain = [_listed(to_plain(target)) for target in targets]
    return bytes(blake3(frames.encode(plain)).digest(MACHINE_SIZE_BYTES))


def _listed(plain: Any) -> Any:
    return [_listed(part) for part in plain] if isinstance(plain, tuple) else plain
