"""What a question came to, as members tell each other: versions for each target, and the pages that were read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import lt
from typing import Any

import packaging
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.names import is_normalized
from p2pcdn.resolve import Keys, Target, to_plain
from p2pcdn.swarm.group.resolutions import CONTENT_SIZE_BYTES_MAX

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
_SUBJECT_CONTEXT = "p2pcdn 2026 resolution v5"

# (project, version), sorted.
Choice = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """choices: for each target, in the order of the question's matrix, (project, version), sorted; None where there are
    none for want of files.

    looked_at: what else a resolution has to know of (`Resolver.looked_at`), by project, in any order; of one that was
    decoded all that is named, sorted.
    pages: (URL of the index, version of the page) of each project whose table it has to know.
    machine: see `machine_of`.
    """

    choices: tuple[Choice | None, ...]
    pages: Mapping[str, tuple[str, str]]
    machine: bytes
    looked_at: Keys = field(default_factory=dict)

    def encode(self) -> bytes:
        """Raises ValueError for one that would be taken by nobody."""
        named = {project: {*self.looked_at.get(project, ())} for project in sorted(self.pages)}
        for project, version in chain.from_iterable(filter(None, self.choices)):
            named[project].add(version)
        place = {package: at for at, package in enumerate((one, each) for one in named for each in sorted(named[one]))}
        content = frames.encode(
            {
                "machine": self.machine,
                "projects": [[one, *self.pages[one], "\n".join(sorted(each))] for one, each in named.items()],
                "targets": [
                    None if chosen is None else sorted(place[package] for package in chosen) for chosen in self.choices
                ],
            }
        )
        is_taken = (
            len(self.pages) <= PROJECTS_MAX
            and len(place) <= VERSIONS_MAX
            and len(self.choices) <= TARGETS_MAX
            and max((len(version) for _, version in place), default=0) <= VERSION_SIZE_MAX
            and len(content) <= CONTENT_SIZE_BYTES_MAX
        )
        if not is_taken:
            raise ValueError("it is larger than members take")
        return content

    @classmethod
    def decode(cls, content: bytes) -> Certificate:
        """Raises RemoteProtocolError for anything that `encode` would not write."""
        fields = frames.decode(content)
        if not isinstance(fields, Mapping) or fields.keys() != {"machine", "projects", "targets"}:
            raise RemoteProtocolError("its fields are not those of a resolution")
        rows = _rows(fields["projects"])
        looked_at = {project: _versions(text) for project, _, _, text in rows}
        count = sum(map(len, looked_at.values()))
        if count > VERSIONS_MAX:
            raise RemoteProtocolError("it names more versions than members look at")
        targets = fields["targets"]
        if not isinstance(targets, list) or not 0 < len(targets) <= TARGETS_MAX:
            raise RemoteProtocolError("it is for no targets")
        if not isinstance(fields["machine"], bytes) or len(fields["machine"]) != MACHINE_SIZE_BYTES:
            raise RemoteProtocolError("it is of no machine")
        packages = [(project, version) for project, versions in looked_at.items() for version in versions]
        choices = tuple(
            None if target is None else tuple([packages[at] for at in _places(target, count)]) for target in targets
        )
        pages = {project: (index, version) for project, index, version, _ in rows}
        return cls(choices, pages, fields["machine"], looked_at)


def _rows(value: object) -> list[tuple[str, str, str, str]]:
    """[project, URL of the index, version of the page, a line for each version], sorted, nothing twice."""
    if not isinstance(value, list) or len(value) > PROJECTS_MAX:
        raise RemoteProtocolError("it has no list of projects, or a longer one than environments have")
    for row in value:
        if not (isinstance(row, list) and [*map(type, row)] == [str] * 4 and is_normalized(row[0])):
            raise RemoteProtocolError("its projects are none")
    projects = [row[0] for row in value]
    if projects != sorted(set(projects)):
        raise RemoteProtocolError("it is not as a member writes one")
    return value


def _versions(text: str) -> list[str]:
    versions = text.split("\n") if text else []
    if not all(map(lt, versions, versions[1:])) or max(map(len, versions), default=0) > VERSION_SIZE_MAX:
        raise RemoteProtocolError("its versions are none")
    return versions


def _places(value: object, count: int) -> list[int]:
    if not isinstance(value, list) or len(value) > count:
        raise RemoteProtocolError("it chooses no packages")
    if not all(type(at) is int and 0 <= at < count for at in value) or value != sorted(set(value)):
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
