"""An incompatibility: terms that cannot all hold, and why not.

Everything the solver knows is one of these. "a 1 needs b>=2" says that `a is 1` and `b is not >=2` cannot both hold;
"you require b<2", that `b is not <2` cannot hold.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """The user requires it, or (constrains) narrows it."""

    package: str
    requirement: str
    constrains: bool = False


@dataclass(frozen=True, slots=True)
class Depends:
    """The parent's versions of these terms require the child to be in `needed`."""

    parent: str
    child: str
    needed: int
    requirement: str


@dataclass(frozen=True, slots=True)
class SameVersion:
    """An extra's package has the version of its project."""

    extra: str
    project: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """None of the versions can be used; the package's view says why of each."""

    package: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Of what fits, all are pre-releases or yanked, and nobody asks for such."""

    package: str


@dataclass(frozen=True, slots=True)
class Derived:
    """It follows from two others."""

    left: Incompatibility
    right: Incompatibility


Cause = Asked | Depends | SameVersion | Unusable | Closed | Derived


@dataclass(slots=True, eq=False)
class Incompatibility:
    """terms: by package, none of them ANYTHING. Without terms it says that there is no solution."""

    terms: dict[str, int]
    cause: Cause

    def resolved_with(self, other: Incompatibility, package: str) -> Incompatibility:
        """What follows for the other packages, whatever this one is (the rule of resolution).

        Where one of `left` and `right` holds for the package, the rest of both cannot hold.
        """
        terms = dict(self.terms)
        for name, term in other.terms.items():
            mine = terms.get(name)
            if mine is None:
                terms[name] = term
            elif name == package:
                terms[name] = mine | term
            else:
                terms[name] = mine & term
        if terms[package] == -1:
            del terms[package]
        return Incompatibility(terms, Derived(self, other))
