"""Why no versions fit together, in the sentences that pip's users look for, with the solver's own proof behind -v."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pcdn.resolve import NoSolution
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import DistributionNotFound, PipError
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.judge import allows
from p2pcdn_shim.zephyr.pip.link import link_at
from p2pcdn_shim.zephyr.pip.universe import Universe
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_ADVICE = (
    "\nTo fix this you could try to:\n1. loosen the range of package versions you've specified\n2. remove package"
    " versions to allow pip to attempt to solve the dependency"
    " conflict\n"
)


class Statement(Value):
    """Who requires what. parent: "" for the user."""

    text: str
    parent: str
    version: str
    requirement: Requirement

    @property
    def project(self) -> str:
        return normalize(self.requirement.name)


def explain(job: Job, universe: Universe, constraints: Mapping[str, list[str]], failed: NoSolution) -> PipError:
    """What to raise; what goes before it is said already."""
    for sentence in failed.sentences:
        job.voice.detail(sentence)
    statements = list(_statements(universe))
    if (python := _wrong_python(job, universe, statements)) is not None:
        return python
    several = [one.project for one in statements]
    for one in statements:
        if (
            (several.count(one.project) == 1 or one.project in job.locked)
            and not one.requirement.url
            and one.project not in constraints
            and not _fitting(one, universe)
        ):
            return _nothing_found(job, universe, one)
    return _conflict(job, universe, statements, constraints, failed)


def _statements(universe: Universe) -> Sequence[Statement]:
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for text, parent, version in dict.fromkeys(universe.statements):
        try:
            found.append(Statement(text, parent, version, Requirement(text)))
        except InvalidRequirement:
            continue
    return sorted(found, key=lambda one: bool(one.parent))


def _fitting(one: Statement, universe: Universe) -> bool:
    """Whether any version does: a yanked one only where it is named (PEP 592)."""
    held = universe.held.get(one.project)
    versions = [str(held.version)] if held is not None and held.version is not None else []
    pins = any(
        specifier.operator in ("==", "===") and not specifier.version.endswith(".*")
        for specifier in one.requirement.specifier
    )
    for version in universe.versions(one.project):
        candidate = universe.candidate(one.project, version)
        if pins or (candidate is not None and candidate.link.yanked is None):
            versions.append(version)
    return any(True for _ in one.requirement.specifier.filter(versions))


def _wrong_python(job: Job, universe: Universe, statements: Sequence[Statement]) -> PipError | None:
    if job.requires_python is None:
        return None
    for source, prepared in universe.prepared.items():
        lines = (line for line in prepared.metadata.splitlines() if line.lower().startswith("requires-python:"))
        needed = next(lines, "").partition(":")[2].strip()
        if needed and not allows(needed, job.python):
            project = source.project
            asked = next((one for one in statements if one.project == project), None)
            name = asked.requirement.name if asked is not None else project
            return PipError(f"Package {name!r} requires a different Python: {job.python} not in {needed!r}")
    return None


def _nothing_found(job: Job, universe: Universe, one: Statement) -> PipError:
    shown = f"{one.text} (from {one.parent})" if one.parent else one.text
    if one.project in job.locked:
        return _against_the_lock(job, universe, one, shown)
    candidates = [universe.candidate(one.project, version) for version in universe.versions(one.project)]
    versions = [str(c.version) for c in candidates if c is not None and c.link.yanked is None]
    yanked = [str(c.version) for c in candidates if c is not None and c.link.yanked is not None]
    pythons = job.finder.judge.other_pythons.get(one.project)
    if yanked:
        job.voice.error(f"Ignored the following yanked versions: {', '.join(yanked)}")
    if pythons:
        job.voice.error(
            f"Ignored the following versions that require a different python version: {'; '.join(sorted(pythons))}"
        )
    releases = job.finder.rules.releases
    kind = "version"
    if releases is not None:
        kind = "final version" if releases.in_second(one.project) else kind
    job.voice.error(
        f"Could not find a {kind} that satisfies the requirement {shown} (from versions:"
        f" {', '.join(versions) or 'none'})"
    )
    if one.text == "requirements.txt":
        job.voice.info(
            'HINT: You are attempting to install a package literally named "requirements.txt" (which cannot'
            " exist). Consider using the '-r' flag to install the packages listed in requirements.txt"
        )
    return DistributionNotFound(one.text)


def _against_the_lock(job: Job, universe: Universe, one: Statement, shown: str) -> PipError:
    versions = ", ".join(universe.versions(one.project))
    job.voice.error(
        f"The requirement {shown} is not compatible with version {versions} specified in a provided lock file"
    )
    return DistributionNotFound(one.text)


def _conflict(
    job: Job,
    universe: Universe,
    statements: Sequence[Statement],
    constraints: Mapping[str, list[str]],
    failed: NoSolution,
) -> PipError:
    causes = _causes(universe, statements, constraints)
    who = dict.fromkeys(f"{one.parent}=={one.version}" if one.parent else _named(one, universe) for one in causes)
    names = sorted(who)
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "these packages"
    job.voice.error(f"Cannot install {joined} because these package versions have conflicting dependencies.")
    lines = ["\nThe conflict is caused by:"]
    for one in causes:
        before = f"{one.parent} {one.version} depends on" if one.parent else "The user requested"
        lines.append(f"    {before} {one.text if one.parent else _named(one, universe)}")
    for project in dict.fromkeys(one.project for one in causes):
        for specifier in constraints.get(project, ()):
            lines.append(f"    The user requested (constraint) {project}{specifier}")
    nowhere = sorted({one.project for one in causes if not one.requirement.url and not universe.versions(one.project)})
    if nowhere:
        lines.append(
            "\nAdditionally, some packages in these conflicts have no matching distributions available for your"
            " environment:"
        )
        lines += [f"    {project}" for project in nowhere]
    # What a build needs is told where its errors are.
    tell = job.voice.plain_error if job.voice.nested else job.voice.info
    tell("\n".join(lines) + "\n" + _ADVICE)
    return PipError("ResolutionImpossible: no versions of these packages fit together; see above.")


def _causes(
    universe: Universe, statements: Sequence[Statement], constraints: Mapping[str, list[str]]
) -> list[Statement]:
    """What is said of the project of which no version does for all."""
    by_project: dict[str, list[Statement]] = {}
    for one in statements:
        by_project.setdefault(one.project, []).append(one)
    for project, several in by_project.items():
        if any(one.requirement.url for one in several):
            if len({str(one.requirement) for one in several}) > 1:
                return several
            continue
        versions: list[str] = universe.versions(project)
        for one in several:
            versions = list(one.requirement.specifier.filter(versions, prereleases=True))
        if not versions and len(several) > 1:
            return several
    return [one for one in statements if one.project in constraints] or list(statements)


def _named(one: Statement, universe: Universe) -> str:
    """As the user wrote it; what he named by a place is called by its name and version."""
    for source, prepared in universe.prepared.items():
        if one.requirement.url and source.url == link_at(one.requirement.url).same:
            lines = (line for line in prepared.metadata.splitlines() if line.lower().startswith("version:"))
            return f"{one.requirement.name} {next(lines, '').partition(':')[2].strip()}"
    return one.text
