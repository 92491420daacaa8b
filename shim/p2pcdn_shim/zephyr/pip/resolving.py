"""Which versions: what was asked for and what is installed, brought before the house's own solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pcdn.resolve import ALL_PROJECTS, BadRequirement, Knowledge, NoSolution, Pin, Resolver, Solution, Target, Wanted
from p2pcdn_shim.zephyr.pip import hashing
from p2pcdn_shim.zephyr.pip.asked import Ask
from p2pcdn_shim.zephyr.pip.claims import name_of
from p2pcdn_shim.zephyr.pip.conflict import explain
from p2pcdn_shim.zephyr.pip.controls import ALL, normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Outcome, Policy, dependencies_first
from p2pcdn_shim.zephyr.pip.sources import Prepared, Sources
from p2pcdn_shim.zephyr.pip.universe import NamesUrl, Universe


def resolve(job: Job, sources: Sources, asks: Sequence[Ask], policy: Policy) -> Outcome:
    """Raises PipError, with everything said that pip's users look for."""
    return _Resolution(job, sources, policy).run(asks)


class _Resolution:
    def __init__(self, job: Job, sources: Sources, policy: Policy) -> None:
        self._job = job
        self._sources = sources
        self._policy = policy
        self._known_urls: set[str] = set()
        self._roots: dict[str, Ask] = {}
        self._constrained: dict[str, list[str]] = {}

    def run(self, asks: Sequence[Ask]) -> Outcome:
        universe = self._universe()
        universe.roots, universe.constrained = self._roots, self._constrained
        universe.closed = {name for name in universe.held if not self._policy.upgrade}
        constraints = self._constraints([one for one in asks if one.constraint], universe)
        roots = self._root_texts([one for one in asks if not one.constraint], universe)
        while True:
            try:
                solution = self._solve(roots, [*constraints, *sorted(self._known_urls)], universe)
                break
            except NamesUrl as found:
                self._known_urls.add(found.text)
        return self._outcome(solution, universe)

    def _universe(self) -> Universe:
        policy = self._policy
        held: Mapping[str, Distribution] = {}
        if not (policy.ignore_installed or policy.force_reinstall):
            held = self._job.environment.all
        return Universe(self._job, self._sources, held, dependencies=policy.dependencies, known_urls=self._known_urls)

    # -- what is wanted -----------------------------------------------------------------------------------------------

    def _constraints(self, asks: Sequence[Ask], universe: Universe) -> list[str]:
        texts = []
        for one in asks:
            if not one.project:
                raise PipError("Unnamed requirements are not allowed as constraints")
            if one.extras:
                raise PipError("Constraints cannot have extras")
            if not one.applies(self._job.markers):
                continue
            assert one.requirement is not None
            self._allow(one)
            if one.link is not None:
                self._constrained.setdefault(one.project, []).append(f" @ {one.link.url}")
                texts.append(f"{one.project} @ {universe.name_place(one.project, one.link, one)}")
            else:
                texts.append(f"{one.project}{one.requirement.specifier}")
                self._constrained.setdefault(one.project, []).append(str(one.requirement.specifier))
        return texts

    def _root_texts(self, asks: Sequence[Ask], universe: Universe) -> list[str]:
        texts = []
        for one in asks:
            if not one.applies(self._job.markers):
                marker = one.marker or (one.requirement.marker if one.requirement is not None else None)
                name = one.requirement.name if one.requirement is not None else one.text
                self._job.voice.info(f"Ignoring {name}: markers '{marker}' don't match your environment")
                continue
            if one.link is None:
                assert one.requirement is not None
                named = one
                place = f"{one.requirement.specifier}"
            else:
                self._check_supported(one)
                named = self._named(one, universe)
                assert named.link is not None
                place = f" @ {universe.name_place(named.project, named.link, named)}"
            self._allow(named)
            self._note(named, universe)
            extras = f"[{','.join(named.extras)}]" if named.extras else ""
            texts.append(f"{named.project}{extras}{place}")
        return texts

    def _note(self, one: Ask, universe: Universe) -> None:
        universe.origins.setdefault(one.project, (one.shown if one.link is None else str(one.requirement), one.origin))
        universe.statements.append(
            (str(one.requirement) if one.link is None else f"{one.project} @ {one.link.url}", "", "")
        )
        universe.extras.setdefault(one.project, set()).update(map(normalize, one.extras))
        known = self._roots.get(one.project)
        if known is None or (one.link is not None and (known.link is None or one.editable)):
            self._roots[one.project] = one

    def _named(self, one: Ask, universe: Universe) -> Ask:
        """A place whose name is not known: it is asked, and says it itself."""
        assert one.link is not None
        if one.project:
            return one
        from packaging.requirements import Requirement

        prepared = universe.prepare_place(one.link, one, "")
        name = name_of(prepared.metadata) or "UNKNOWN"
        extras = f"[{','.join(one.extras)}]" if one.extras else ""
        return one.but(requirement=Requirement(f"{name}{extras}"))

    def _check_supported(self, one: Ask) -> None:
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        assert one.link is not None
        if not one.link.is_wheel:
            return
        try:
            tags = parse_wheel_filename(one.link.filename)[3]
        except InvalidWheelFilename as error:
            raise PipError(str(error)) from error
        if frozenset(map(str, tags)).isdisjoint(self._job.tags):
            raise PipError(f"{one.link.filename} is not a supported wheel on this platform.")

    def _allow(self, one: Ask) -> None:
        """The hashes of a requirement, and of the constraints on it: what all of them allow."""
        if not one.hashes:
            return
        given = {name: frozenset(digests) for name, digests in one.hashes.items()}
        known = self._job.hashes.get(one.project, {})
        self._job.hashes[one.project] = dict(hashing.intersected(known, given))

    # -- solving ------------------------------------------------------------------------------------------------------

    def _wanted(self, roots: Sequence[str], constraints: Sequence[str], universe: Universe) -> Wanted:
        control = getattr(self._job.options, "release_control", None)
        allowed = control.first if control is not None else set()
        preferences = [
            (name, str(one.version))
            for name, one in universe.held.items()
            if one.version is not None and not self._may_rise(name)
        ]
        preferred = [name for name, text in preferences if universe.held[name].version is not None
                     and universe.held[name].version.is_prerelease]  # type: ignore[union-attr]  # fmt: skip
        return Wanted(
            tuple(roots),
            constraints=tuple(constraints),
            prereleases="allow" if ALL in allowed else "if-necessary",
            prerelease_projects=(*(name for name in allowed if name != ALL_PROJECTS), *preferred),
            preferences=tuple(preferences),
        )

    def _may_rise(self, project: str) -> bool:
        return self._policy.upgrade and (self._policy.eager or project in self._roots)

    def _solve(self, roots: Sequence[str], constraints: Sequence[str], universe: Universe) -> Solution:
        try:
            solution = self._search(self._wanted(roots, constraints, universe), universe)
            if unmet := universe.unmet():
                universe.closed.difference_update(unmet)
                return self._solve(roots, constraints, universe)
            return solution
        except NoSolution as failed:
            if universe.closed:
                universe.closed.difference_update(universe.unmet() or set(universe.closed))
                return self._solve(roots, constraints, universe)
            if universe.binary_first:  # then sources count, too
                universe.binary_first = False
                return self._solve(roots, constraints, universe)
            raise explain(self._job, universe, self._constrained, failed) from failed
        except BadRequirement as error:
            raise PipError(str(error)) from error

    def _search(self, wanted: Wanted, universe: Universe) -> Solution:
        python = self._job.python
        environment = {**self._job.markers, "python_full_version": python if python.count(".") > 1 else f"{python}.0"}
        markers = {**environment, "python_full_version": self._job.markers["python_full_version"]}
        knowledge = Knowledge()
        resolver = Resolver(wanted, _target(markers, environment["python_full_version"]), knowledge, advises=False)
        while not isinstance(answer := resolver.step(), Solution):
            for project in answer.tables:
                resolver.learn([universe.table(project)])
            for source in answer.metadata:
                resolver.learn((), [universe.metadata(source)])
        return answer

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _outcome(self, solution: Solution, universe: Universe) -> Outcome:
        chosen = {pin.project: self._chosen(pin, universe) for pin in solution.pins}
        self._warn_of_extras(solution, universe)
        edges = tuple(dict.fromkeys((edge.parent, edge.child) for edge in solution.edges))
        order = [chosen[name] for name in dependencies_first(edges, chosen)]
        for one in order:
            self._tell(one)
        return Outcome(tuple(order), edges, tuple(universe.origins))

    def _chosen(self, pin: Pin, universe: Universe) -> Chosen:
        ask = self._roots.get(pin.project)
        shown, origin = universe.origins.get(pin.project, (pin.project, ""))
        former = None if self._policy.ignore_installed else self._job.environment.get(pin.project)
        held = universe.is_held(pin.source)
        if held is not None:
            return Chosen(pin.project, pin.version, pin.extras, ask, origin, shown, False, installed=held)
        prepared = universe.prepared[pin.source]
        link = prepared.link
        direct = bool(pin.url)
        stays = former is not None and not self._reinstalls(former, pin, prepared)
        kept = former if stays else None
        return Chosen(pin.project, pin.version, pin.extras, ask, origin, shown, direct, link, prepared, kept, former)

    def _reinstalls(self, former: Distribution, pin: Pin, prepared: Prepared) -> bool:
        if self._policy.force_reinstall or former.version is None or str(former.version) != pin.version:
            return True
        if prepared.editable or former.is_editable:
            return True
        if not pin.url:
            return False
        if prepared.link.is_file:
            if not prepared.link.is_wheel:
                return True
            self._job.voice.info(
                f"{pin.project} is already installed with the same version as the provided wheel. Use"
                f" --force-reinstall to force an installation of the wheel."
            )
        return False

    def _tell(self, one: Chosen) -> None:
        if one.installed is not None and one.prepared is None:
            whence = f" (from {one.origin})" if one.origin else ""
            where = f" in {one.installed.location}" if str(one.installed.location) else ""
            extras = f"{one.shown}"
            self._job.voice.info(f"Requirement already satisfied: {extras}{where}{whence} ({one.version})")
        elif one.link is not None and one.link.yanked is not None and not one.direct:
            reason = one.link.yanked or "<none given>"
            self._job.voice.warn(
                f"The candidate selected for download or install is a yanked version: {one.project!r} candidate"
                f" (version "
                f"{one.version} at {one.link.url} (from {one.link.page}))\nReason for being yanked: {reason}"
            )

    def _warn_of_extras(self, solution: Solution, universe: Universe) -> None:
        for sentence in solution.warnings:
            head, _, rest = sentence.partition(" has no extra ")
            self._job.voice.warn(f"{head} does not provide the extra {rest.partition(';')[0]}")


def _target(markers: Mapping[str, str], python: str) -> Target:
    """The interpreter for the solver: markers are the target's, and Requires-Python is held against `python`."""
    return Target.of({**markers, "python_full_version": python})
