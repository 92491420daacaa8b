"""How facts about packages are said: sets of versions as specifiers, incompatibilities as clauses of a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from p2pcdn.resolve import term
from p2pcdn.resolve.incompatibility import Asked, Closed, Depends, Incompatibility, SameVersion, Unusable
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import ONLY_YOU, View, parts_of
from p2pcdn.resolve.requirement import parse

# More pieces than this, and nobody reads them: then the ends are named, and how many versions lie between.
RUNS_MAX = 3
REASONS_MAX = 3
_SECRETS = re.compile(r"(https?://)[^/@\s]+@")


class Asker(NamedTuple):
    """Whose requirements they are, in words."""

    requires: str
    requirements: str


YOU = Asker("you require", "your requirements")
A_BUILD = Asker("its build requires", "what it requires")


class Wording:
    """Says what one view of projects knows."""

    def __init__(self, view: View, asker: Asker = YOU) -> None:
        self._view = view
        self._asker = asker

    @property
    def nothing_fits(self) -> str:
        return f"{self._asker.requirements} cannot all be met"

    def fact(self, one: Incompatibility) -> str:
        """An incompatibility that was not derived, as a clause; "" for what needs no saying."""
        cause = one.cause
        if isinstance(cause, Asked):
            who = "your constraints say" if cause.constrains else self._asker.requires
            said = f"{who} {shown(cause.requirement)}"
            return said if one.terms else f"{said} ({self._none_of(parts_of(cause.package)[0])})"
        if isinstance(cause, Depends):
            needs = shown(cause.requirement).partition(";")[0].strip()
            needs = needs or f"some versions of {self.those(cause.child, cause.needed)}"
            said = f"{self.those(cause.parent, one.terms[cause.parent])} depends on {needs}"
            if parts_of(cause.child)[0] in self._view.overrides:
                said = f"{said}, as your overrides say"
            if cause.needed:
                return said
            named_url = parse(cause.requirement).url
            return f"{said} ({ONLY_YOU if named_url else self._none_of(parts_of(cause.child)[0])})"
        if isinstance(cause, Unusable):
            return self._useless(cause.package, one.terms[cause.package])
        if isinstance(cause, Closed):
            return self._shut(cause.package, one.terms[cause.package])
        assert isinstance(cause, SameVersion)
        return ""

    def conclusion(self, one: Incompatibility) -> str:
        """What a derived incompatibility comes to."""
        there = [self.those(package, bits) for package, bits in one.terms.items() if term.is_positive(bits)]
        needed = [self.those(package, ~bits) for package, bits in one.terms.items() if not term.is_positive(bits)]
        if not there and not needed:
            return self.nothing_fits
        if not there:
            return f"{_either(needed)} is needed"
        if not needed:
            return f"{_both(there)} cannot be used" + (" together" if len(there) > 1 else "")
        return f"{_both(there)} {'needs' if len(there) == 1 else 'together need'} {_either(needed)}"

    def those(self, package: str, versions: int) -> str:
        """A package in these versions, as one would write it in a requirement: `flask>=2,<3`, `flask` for all."""
        project = self._project(package)
        bits = versions & project.versions.all
        if not bits:
            return package
        # Versions that nobody would choose make no gap, and are not named beside others.
        ignored = project.prereleases | project.yanked | project.useless
        bits = bits & ~ignored or bits
        ignored &= ~bits
        pieces = [self._run(project, start, stop, ignored) for start, stop in term.runs(bits | ignored)]
        said = [piece for piece in pieces if piece is not None]
        if len(said) > RUNS_MAX:
            low, high = project.versions.ordered[term.lowest(bits)], project.versions.ordered[term.highest(bits)]
            return f"{package} ({bits.bit_count()} versions from {low} to {high})"
        return " or ".join(package + piece for piece in said)

    def _run(self, project: Project, start: int, stop: int, ignored: int) -> str | None:
        """One run of versions; None where it holds only ignored ones."""
        real = term.versions(start, stop) & ~ignored
        if not real:
            return None
        ordered = project.versions.ordered
        if real.bit_count() == 1 and (start > 0 or stop < len(ordered)):
            return f"=={ordered[term.lowest(real)]}"
        from_, to = "", ""
        if start > 0:
            from_ = f">={ordered[term.lowest(real)]}"
        if stop < len(ordered):
            to = f"<{ordered[stop]}"
        return ",".join(filter(None, (from_, to)))

    def _none_of(self, name: str) -> str:
        """Why no version is in an empty set of them."""
        project = self._project(name)
        if project.missing:
            return _as_clause(project.missing)
        if not project.versions.ordered:
            return f"{name} has no versions"
        return f"there is no such version; the newest is {project.versions.ordered[-1]}"

    def _useless(self, package: str, versions: int) -> str:
        project = self._project(package)
        if not versions & project.versions.all:
            return "" if project.versions.ordered else self._none_of(project.name)
        # By the beginning of the reason; the details (which wheels there are) are those of the newest version.
        reasons: dict[str, tuple[str, int]] = {}
        for index in term.downwards(versions & project.versions.all):
            reason = project.why_not(index)
            first, bits = reasons.get(reason.partition(";")[0], (reason, 0))
            reasons[reason.partition(";")[0]] = first, bits | term.version(index)
        said = [f"{self.those(package, bits)} {reason}" for reason, bits in reasons.values()]
        if len(said) > REASONS_MAX:
            said[REASONS_MAX - 1 :] = [f"{len(said) - REASONS_MAX + 1} more reasons rule out the others"]
        return " and ".join(said)

    def _shut(self, package: str, versions: int) -> str:
        project = self._project(package)
        usable = term.of_versions(
            index for index in term.upwards(versions & project.versions.all) if not project.why_not(index)
        )
        said = []
        for bits, what in ((usable & ~project.yanked, "asks for"), (usable & project.yanked, "pins")):
            if bits:
                kind = "pre-releases" if what == "asks for" else "yanked versions"
                few = f" ({self.those(package, bits)})" if bits.bit_count() <= RUNS_MAX else ""
                said.append(f"nobody {what} {kind} of {package}{few}")
        return enumerated(said)

    def _project(self, package: str) -> Project:
        return self._view.known(parts_of(package)[0])


def shown(requirement: str) -> str:
    """A requirement as it may be said: a direct URL without user name and password; the `git@` of ssh is no secret."""
    return _SECRETS.sub(r"\1", requirement) if "://" in requirement else requirement


def enumerated(clauses: Iterable[str]) -> str:
    """The clauses with commas and a last "and"."""
    *first, last = clauses
    return f"{', '.join(first)} and {last}" if first else last


def _both(things: list[str]) -> str:
    return enumerated(things)


def _as_clause(sentence: str) -> str:
    """A sentence as it stands within another one. A word in capitals, or a name, stays as it is."""
    first = sentence.split(" ", 1)[0]
    return (sentence[:1].lower() if first.istitle() else sentence[:1]) + sentence[1:].rstrip(".")


def _either(things: list[str]) -> str:
    return " or ".join(things)
