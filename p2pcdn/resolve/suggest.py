"""One thing to try where there is no solution: a newer Python, a pre-release, a requirement to loosen."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from packaging.version import Version

from p2pcdn.resolve import term
from p2pcdn.resolve.incompatibility import Asked, Closed, Depends, Incompatibility, Unusable
from p2pcdn.resolve.judge import Judgement
from p2pcdn.resolve.model import Need, Release, Solution, Target, Wanted
from p2pcdn.resolve.python import View, parts_of
from p2pcdn.resolve.requirement import parse
from p2pcdn.resolve.resolution import Impatient
from p2pcdn.resolve.wording import shown

# Solves something else, for a while: yields what it needs; a solution, None where it is as bad, or that it gave up.
Attempt = Callable[[Wanted], Generator[Need, None, Solution | Impatient | None]]

# The minor versions of Python 3 that somebody may have.
PYTHON_MINORS = range(8, 20)
# More patch releases than any of them has had.
PATCHES_MAX = 40
# Each attempt may take as long as a short resolution.
ATTEMPTS_MAX = 4


def suggestion(
    facts: list[Incompatibility], view: View, wanted: Wanted, attempt: Attempt
) -> Generator[Need, None, str]:
    """A sentence, or "" where nothing comes to mind. Yields what it needs to be sure."""
    if plain := _spelling(facts, view) or _python(facts, view, wanted):
        return plain
    if permission := (yield from _permission(facts, view, wanted, attempt)):
        return permission
    if bound := (yield from _loosen(facts, wanted, attempt)):
        return bound
    return _age(facts, view, wanted) or _override(facts, view) or _mend(facts, view)


def _age(facts: list[Incompatibility], view: View, wanted: Wanted) -> str:
    """Where something would do that came too late, or nobody knows when."""
    if wanted.exclude_newer is None:
        return ""
    ageless = Judgement(replace(wanted, exclude_newer=None), view.target)
    for one in facts:
        for releases in _releases(one, view) if isinstance(one.cause, Unusable) else ():
            if usable := [(project, release) for project, release in releases if not ageless(project, release)]:
                project, oldest = usable[-1]
                if not oldest.upload_time:
                    return f"Choose without exclude-newer: the index does not say when {project} was uploaded."
                return f"Choose a later exclude-newer: {project} {oldest.version} is of {oldest.upload_time}."
    return ""


def _override(facts: list[Incompatibility], view: View) -> str:
    """Where what the user put in the place of a requirement stands in the way."""
    for one in facts:
        if isinstance(one.cause, Depends) and (project := parts_of(one.cause.child)[0]) in view.overrides:
            return f"Change or remove your override {', '.join(shown(one.text) for one in view.overrides[project])}."
    return ""


def _mend(facts: list[Incompatibility], view: View) -> str:
    """Where all that there is of a project is broken."""
    for one in facts:
        for package in one.terms if isinstance(one.cause, Unusable) else ():
            project = view.known(parts_of(package)[0])
            if project.versions.ordered and not any(source.url for source in project.sources):
                return f"Only its authors can mend {project.name}; without it the rest may fit."
    return ""


def _permission(
    facts: list[Incompatibility], view: View, wanted: Wanted, attempt: Attempt
) -> Generator[Need, None, str]:
    """To take pre-releases of a project, or a yanked version, where everything else then fits."""
    for one in facts:
        if not isinstance(one.cause, Closed):
            continue
        project = view.known(one.cause.package)
        index = project.first_usable(one.terms[project.name])
        if index is None:
            continue
        named = f"{project.name}=={project.versions.ordered[index]}"
        if project.yanked & term.version(index):
            if isinstance((yield from attempt(replace(wanted, requirements=(*wanted.requirements, named)))), Solution):
                why = f" ({reason})" if (reason := project.releases[index].yanked) else ""
                return f"Require {named} if you want it although it is yanked{why}."
        else:
            allowed = replace(wanted, prerelease_projects=(*wanted.prerelease_projects, project.name))
            if isinstance((yield from attempt(allowed)), Solution):
                return f"Allow pre-releases of {project.name}, or require one: {named}."
    return ""


def _spelling(facts: list[Incompatibility], view: View) -> str:
    for one in facts:
        for package in one.terms:
            project = view.project(parts_of(package)[0])
            if isinstance(one.cause, Unusable) and project is not None and project.missing and not project.index:
                return f"Look at how {project.name} is written, and at your indexes."
    return ""


def _python(facts: list[Incompatibility], view: View, wanted: Wanted) -> str:
    """The Python nearest to this one that can use what this one cannot."""
    mine = view.judgement.python
    barred = [releases for one in facts if isinstance(one.cause, Unusable) for releases in _releases(one, view)]
    # What this Python does not bar, no other one helps: a broken wheel, a repository that is not there.
    if not barred or mine.major != 3 or any(_any_usable(releases, view.judgement) for releases in barred):
        return ""
    or_else = f"or let {_names(facts)} be of another version"
    for micro in range(mine.micro + 1, PATCHES_MAX) if view.target.and_later else ():
        judge = Judgement(wanted, _with_python(view.target, mine, mine.minor, micro))
        if all(_any_usable(releases, judge) for releases in barred):
            return f"Say requires-python >=3.{mine.minor}.{micro} where nobody has an older one, {or_else}."
    for minor in sorted(PYTHON_MINORS, key=lambda minor: (abs(minor - mine.minor), -minor)):
        judge = Judgement(wanted, _with_python(view.target, mine, minor))
        if minor != mine.minor and all(_any_usable(releases, judge) for releases in barred):
            newer = "newer" if minor > mine.minor else "older"
            return f"Choose Python 3.{minor} or {newer}, {or_else}."
    return ""


def _releases(one: Incompatibility, view: View) -> Iterator[list[tuple[str, Release]]]:
    """(project, release) of what is unusable; nothing where there is nothing."""
    for package, versions in one.terms.items():
        project = view.known(parts_of(package)[0])
        found = [(project.name, project.releases[i]) for i in term.downwards(versions & project.versions.all)]
        if found:
            yield found


def _with_python(target: Target, mine: Version, minor: int, micro: int = 99) -> Target:
    """The same machine with another Python: some late patch release, because ">=3.10.2" means 3.10 to a human."""
    other = {"python_full_version": f"3.{minor}.{micro}", "python_version": f"3.{minor}"}
    tags = target.tags and tuple(tag.replace(f"cp3{mine.minor}", f"cp3{minor}") for tag in target.tags)
    return Target.of(dict(target.environment) | other, tags, and_later=target.and_later)


def _any_usable(releases: list[tuple[str, Release]], judge: Judgement) -> bool:
    return any(not judge(project, release) for project, release in releases)


def _names(facts: list[Incompatibility]) -> str:
    return next(parts_of(package)[0] for one in facts if isinstance(one.cause, Unusable) for package in one.terms)


def _loosen(facts: list[Incompatibility], wanted: Wanted, attempt: Attempt) -> Generator[Need, None, str]:
    """The first of the user's words in the proof without which the rest can be solved."""
    narrow = [text for text in asked(facts, wanted) if parse(text).specifiers]
    open_ends = []
    for text in narrow[:ATTEMPTS_MAX]:
        outcome = yield from attempt(_without(wanted, text))
        if isinstance(outcome, Solution):
            name = parse(text).project
            version = next((pin.version for pin in outcome.pins if pin.project == name), None)
            return f"Loosen {text}: {f'with {name} {version}' if version else 'without it'} the rest can be met."
        if outcome is not None:
            open_ends.append(text)
    return f"Perhaps loosen {' or '.join(open_ends)}." if open_ends else ""


def asked(facts: list[Incompatibility], wanted: Wanted) -> list[str]:
    """The user's words that the proof stands on, in the order in which he said them."""
    said = {one.cause.requirement for one in facts if isinstance(one.cause, Asked)}
    words = [text.strip() for text in (*wanted.requirements, *wanted.constraints, *wanted.overrides)]
    return [text for text in dict.fromkeys(words) if text in said]


def _without(wanted: Wanted, text: str) -> Wanted:
    """The same with nothing said about the version of this requirement's project by this text."""

    def loosened(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_bare(other) if other.strip() == text else other for other in texts)

    return replace(
        wanted,
        requirements=loosened(wanted.requirements),
        overrides=loosened(wanted.overrides),
        constraints=tuple(other for other in wanted.constraints if other.strip() != text),
    )


def _bare(text: str) -> str:
    one = parse(text)
    extras = f"[{','.join(one.extras)}]" if one.extras else ""
    return f"{one.project}{extras}" + (f"; {one.marker}" if one.marker else "")
