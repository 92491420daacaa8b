"""Small worlds to resolve in: tables and metadata out of a short notation, and a resolver that is fed from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from p2pcdn.resolve import Knowledge, Metadata, Need, Release, Resolver, Solution, Source, Table, Target, Wanted

LINUX_311 = Target.of(
    {
        "implementation_name": "cpython",
        "implementation_version": "3.11.7",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6.1",
        "platform_system": "Linux",
        "platform_version": "#1 SMP",
        "python_full_version": "3.11.7",
        "python_version": "3.11",
        "sys_platform": "linux",
    },
    ("cp311-cp311-manylinux_2_17_x86_64", "py3-none-any"),
)


@dataclass
class Universe:
    """Everything that can be learned; what was asked for is remembered."""

    tables: dict[str, Table] = field(default_factory=dict)
    metadata: dict[Source, Metadata] = field(default_factory=dict)
    asked: list[Need] = field(default_factory=list)

    def add(self, project: str, version: str, *requires: str, extras: Iterable[str] = (), **release: object) -> None:
        """One version. release: fields of `Release`; it has an sdist unless something else is said."""
        known = self.tables.get(project, Table(project, index="here"))
        one = replace(Release(version, sdist=True), **release)  # type: ignore[arg-type]  # whatever the test says
        self.tables[project] = replace(known, releases=(*known.releases, one))
        source = Source(project, version)
        self.metadata[source] = Metadata(source, version, requires, tuple(extras), one.requires_python)

    def add_url(self, project: str, url: str, version: str, *requires: str) -> None:
        source = Source(project, url=url)
        self.metadata[source] = Metadata(source, version, requires)

    def table(self, name: str) -> Table:
        return self.tables.get(name, Table(name, missing=f"there is no project {name}"))

    def solve(
        self,
        wanted: Wanted | Iterable[str],
        target: Target = LINUX_311,
        *,
        likely: bool = False,
        knowledge: Knowledge | None = None,
    ) -> Solution:
        """Feeds a resolver what it needs, and (likely) what it may need. knowledge: what it knows before.

        Raises NoSolution.
        """
        if not isinstance(wanted, Wanted):
            wanted = Wanted(tuple(wanted))
        resolver = Resolver(wanted, target, knowledge)
        while isinstance(answer := resolver.step(), Need):
            self.asked.append(answer)
            names = answer.tables + (answer.likely_tables if likely else ())
            sources = answer.metadata + (answer.likely_metadata if likely else ())
            resolver.learn([self.table(name) for name in names], [self.metadata[source] for source in sources])
        return answer


def keys_of(sources: Iterable[Source]) -> dict[str, list[str]]:
    """By project, as a search names what it has looked at."""
    found: dict[str, list[str]] = {}
    for one in sources:
        found.setdefault(one.project, []).append(one.key)
    return found


def universe(packages: Mapping[str, Mapping[str, Iterable[str]]]) -> Universe:
    """{"flask": {"2.0": ["werkzeug>=2"]}}; an extra is a key of its own, "flask[async]", with the same versions."""
    found = Universe()
    for name, versions in packages.items():
        for version, requires in versions.items():
            if "[" not in name:
                more = {n.partition("[")[2][:-1]: v for n, v in packages.items() if n.startswith(f"{name}[")}
                conditional = [f'{one}; extra == "{extra}"' for extra, v in more.items() for one in v.get(version, ())]
                found.add(name, version, *requires, *conditional, extras=more)
    return found


def pins(solution: Solution) -> dict[str, str]:
    return {pin.project: pin.version for pin in solution.pins}
