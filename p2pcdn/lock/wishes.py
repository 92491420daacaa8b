"""A question as the node's side knows it: checked, with what was locked before, and as a resolver wants to hear it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from p2pcdn.envs.pylock import read_lock
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.lock import question as asked
from p2pcdn.lock.merge import PROJECT, Root
from p2pcdn.resolve import Prefer, Prereleases, Solution, Target, Wanted


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted, and of what was locked before. fields: as `question.complete` gives them.

    former: (project, version) that are kept where they fit. markers: of those that were not for all environments.
    commits: of repositories, by URL and revision or "". published: who published a project's version, as the former
    lock has it. upgrades: all projects (True), or those of which somebody wants to have what is new.
    """

    fields: Mapping[str, Any]
    former: tuple[tuple[str, str], ...] = ()
    markers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    commits: Mapping[tuple[str, str], str] = field(default_factory=dict)
    published: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    upgrades: bool | frozenset[str] = False

    @property
    def roots(self) -> dict[Root, Sequence[str]]:
        return {
            PROJECT: self.fields["requirements"],
            **{Root("extra", name): texts for name, texts in self.fields["extras"].items()},
            **{Root("group", name): texts for name, texts in self.fields["groups"].items()},
        }

    @property
    def wanted(self) -> Wanted:
        told: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.fields.items()
            if name not in _OF_THE_LOCK
        }
        if itself := self.fields["itself"]:
            # A marker that holds nowhere takes away what its test tools, say, require of it: an index's would come.
            told["overrides"] = (*told["overrides"], f"{itself} ; python_version < '0'")
        every = dict.fromkeys(text for texts in self.roots.values() for text in texts)
        return Wanted(tuple(every), preferences=self.former, **told)

    def digest(self, *more: str) -> str:
        """Names the question with what was locked before, and what else its answer depends on."""
        kept = (f"{name}=={version}{self.markers.get((name, version), '')}" for name, version in self.former)
        parts = [asked.digest(self.fields), *kept, *more]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def preferring(question: Question, target: Target, found: Iterable[Solution]) -> Wanted:
    """What is wanted there, with what other targets got before as preferences: so a lock forks only where it must.

    First comes what the former lock had for this very target: a version for old Pythons often fits new ones, too, and
    nobody wants to go back to it. Where the lowest versions of direct requirements are wanted, it must fork where a
    project is direct for one of the two only: else its version there would be the wrong end of what fits.
    """
    wanted = question.wanted
    preferences = dict.fromkeys((*_had_by(question, target), *wanted.preferences))
    direct = _direct(wanted, target) if wanted.prefer == "lowest-direct" else None
    for solution in {id(solution): solution for solution in found}.values():  # most targets share one
        there = {edge.child for edge in solution.edges if not edge.parent}
        for pin in solution.pins:
            if not pin.url and (direct is None or (pin.project in direct) == (pin.project in there)):
                preferences[pin.project, pin.version] = None
    return replace(wanted, preferences=tuple(preferences))


def _had_by(question: Question, target: Target) -> list[tuple[str, str]]:
    """What the former lock had for this target."""
    extras, groups = frozenset(question.fields["extras"]), frozenset(question.fields["groups"])
    environment: dict[str, str | frozenset[str]] = dict(target.environment)
    environment |= {"extras": extras, "dependency_groups": groups}
    holds = {text: _holds(text, environment) for text in dict.fromkeys(question.markers.values())}
    return [pair for pair in question.former if holds.get(question.markers.get(pair, ""), True)]


def _holds(marker: str, environment: Mapping[str, str | frozenset[str]]) -> bool:
    """What makes no sense in a lock holds nowhere: it may be another program's, and no new lock fails for that."""
    try:
        return Marker(marker).evaluate(environment, context="lock_file")
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False


def _direct(wanted: Wanted, target: Target) -> set[str]:
    """The projects that the user requires there; what is no requirement, or no marker, the resolver says."""
    environment = {**dict(target.environment), "extra": ""}
    found: set[str] = set()
    for text in wanted.requirements:
        with suppress(InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate(environment):
                found.add(canonicalize_name(one.name))
    return found


def parse_question(value: Mapping[str, Any], *, former: str | None = None, upgrade: object = ()) -> Question:
    """A question as JSON said it. former: the lock of before; upgrade: True, or the projects that are not kept of it.

    Raises RemoteProtocolError for another shape, BadLock for a former lock that is none.
    """
    for name, default in asked.DEFAULTS.items():
        given = value.get(name, default)
        if not _fits(given, default):
            raise RemoteProtocolError(f"{name} is not what it should be.")
    for name, choices in _CHOICES.items():
        if value.get(name, choices[0]) not in choices:
            raise RemoteProtocolError(f"{name} is none of {', '.join(choices)}.")
    if unknown := sorted(set(value) - set(asked.DEFAULTS)):
        raise RemoteProtocolError(f"A question has no {', '.join(unknown)}.")
    before = None if former is None or upgrade is True else read_lock(former.encode(), "The former lock")
    dropped = frozenset(upgrade) if isinstance(upgrade, list) else frozenset()
    kept = [one for one in before.packages if one.name not in dropped] if before is not None else []
    return Question(
        asked.complete(value),
        former=tuple((one.name, one.version) for one in kept if one.version is not None),
        markers={
            (one.name, one.version): one.marker for one in kept if one.version is not None and one.marker is not None
        },
        commits={
            (one.vcs.url, one.vcs.requested_revision or ""): one.vcs.commit_id
            for one in kept
            if one.vcs is not None and one.vcs.url is not None
        },
        published={
            (one.name, one.version): one.attestation_identities
            for one in kept
            if one.version is not None and one.attestation_identities
        },
        upgrades=upgrade is True or dropped,
    )


# What no resolver hears of.
_OF_THE_LOCK = frozenset(
    {"requirements", "extras", "groups", "requires_python", "environments", "sources", "editable", "itself"}
)
_CHOICES: Mapping[str, tuple[str, ...]] = {"prefer": get_args(Prefer), "prereleases": get_args(Prereleases)}


def _fits(given: object, default: object) -> bool:
    if isinstance(default, dict):
        return isinstance(given, dict) and all(_fits(texts, []) for texts in given.values())
    if isinstance(default, list):
        return isinstance(given, list) and all(isinstance(text, str) for text in given)
    return isinstance(given, str) or (default is None and given is None)
