"""With which extras the packages of an environment were asked for: nobody notes it, but what they brought is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.project.pyproject import normalize


def extras_held(
    site: Path, markers: Mapping[str, str], projects: Iterable[str], requested: Iterable[str]
) -> dict[str, list[str]]:
    """By project that was asked for: the extras without which something would be there that nobody needs.

    site: the directory of packages. projects: what zephyr put there; all names are normalized.
    """
    held = set(projects)
    found = {one.project: one for one in map(_distribution, site.glob("*.dist-info")) if one.project in held}
    return _Search(found, markers, [name for name in requested if name in found]).run()


def _distribution(info: Path) -> Distribution:
    return Distribution(info, info.parent)


class _Search:
    """Used once."""

    def __init__(self, found: Mapping[str, Distribution], markers: Mapping[str, str], requested: list[str]) -> None:
        self._found = found
        self._markers = markers
        self._requested = requested
        # Projects with an extra, or with "", that somebody needs.
        self._needed: set[tuple[str, str]] = set()

    def run(self) -> dict[str, list[str]]:
        extras: dict[str, list[str]] = {}
        for name in self._requested:
            self._need(name, "")
        if not self._orphans():
            return {}
        # The smallest first: an extra "all" explains what "tls" does, too, and would bring more.
        for _, name, extra in sorted(self._choices()):
            by_it = set(self._needs(name, extra))
            there = all(project in self._found for project, _ in by_it)
            if there and not self._orphans().isdisjoint(project for project, _ in by_it):
                extras.setdefault(name, []).append(extra)
                self._need(name, extra)
        return extras

    def _orphans(self) -> set[str]:
        return self._found.keys() - {project for project, _ in self._needed}

    def _choices(self) -> Iterator[tuple[int, str, str]]:
        for name in self._requested:
            for extra in map(normalize, self._found[name].extras):
                yield len(set(self._needs(name, extra))), name, extra

    def _need(self, name: str, extra: str) -> None:
        ahead = [(name, extra)]
        while ahead:
            one = ahead.pop()
            if one not in self._needed and one[0] in self._found:
                self._needed.add(one)
                ahead += self._needs(*one)

    def _needs(self, name: str, extra: str) -> Iterator[tuple[str, str]]:
        """What a project requires with an extra; the project itself among it, where that names another extra of it."""
        for one in self._found[name].requires(self._markers, extra=extra):
            yield normalize(one.name), ""
            yield from ((normalize(one.name), normalize(other)) for other in one.extras)
