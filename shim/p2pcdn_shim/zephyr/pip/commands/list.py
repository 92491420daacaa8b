"""List installed packages, including editables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.selection import pinned, selected, without
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

USAGE = "\n  %prog [options]"


class Latest(Value):
    """The newest version that an index has, and what kind of file it is."""

    version: str
    kind: str


def run(run: Run) -> int:
    options = run.options
    if options.outdated and options.uptodate:
        raise PipError("Options --outdated and --uptodate cannot be combined.")
    if options.outdated and options.list_format == "freeze":
        raise PipError("List format 'freeze' cannot be used with the --outdated option.")
    found = selected(run.target, run.voice, options)
    if options.editable:
        found = [one for one in found if one.is_editable]
    if not options.include_editable:
        found = [one for one in found if not one.is_editable]
    if options.not_required:
        needed = {
            normalize(requirement.name) for one in found for requirement in one.requires(run.target.probe.markers)
        }
        found = [one for one in found if one.project not in needed]
    found = without(found, options.excludes)
    latest: dict[str, Latest] = {}
    if options.outdated or options.uptodate:
        latest = latest_of(run, found)
        found = [one for one in found if one.project in latest and _wanted(one, latest[one.project], options.outdated)]
    for line in _formatted(found, latest if options.outdated else {}, options):
        run.voice.answer(line)
    return 0


def latest_of(run: Run, found: Sequence[Distribution]) -> dict[str, Latest]:
    """What the indexes have of these, by project; without those of which they have nothing."""
    from p2pcdn_shim.zephyr.pip.job import Job

    finder = Job(run).finder
    latest = {}
    for one in found:
        best = finder.latest(one.project, prereleases=run.options.pre)
        if best is not None:
            latest[one.project] = Latest(str(best.version), "wheel" if best.link.is_wheel else "sdist")
    return latest


def _wanted(one: Distribution, latest: Latest, outdated: bool) -> bool:
    from packaging.version import Version

    if one.version is None:
        return outdated
    return Version(latest.version) > one.version if outdated else Version(latest.version) == one.version


def _formatted(found: Sequence[Distribution], latest: dict[str, Latest], options: Any) -> Iterator[str]:
    if options.list_format == "json":
        yield json.dumps([_row(one, latest.get(one.project), options) for one in found])
    elif options.list_format == "freeze":
        yield from (f"{pinned(one)} ({one.location})" if options.verbose else pinned(one) for one in found)
    elif found:
        yield from _columns(found, latest, options)


def _row(one: Distribution, latest: Latest | None, options: Any) -> dict[str, str]:
    row = {"name": one.name, "version": str(one.version) if one.version is not None else one.version_text}
    if options.verbose:
        row |= {"location": str(one.location), "installer": one.installer}
    if latest is not None:
        row |= {"latest_version": latest.version, "latest_filetype": latest.kind}
    if one.editable_location:
        row["editable_project_location"] = one.editable_location
    return row


def _columns(found: Sequence[Distribution], latest: dict[str, Latest], options: Any) -> Iterator[str]:
    columns = {"Package": [one.name for one in found], "Version": [one.version_text for one in found]}
    if latest:
        columns["Latest"] = [latest[one.project].version for one in found]
        columns["Type"] = [latest[one.project].kind for one in found]
    builds = [_build(one) for one in found]
    if any(builds):
        columns["Build"] = builds
    if any(one.is_editable for one in found):
        columns["Editable project location"] = [one.editable_location or "" for one in found]
    if options.verbose:
        columns["Location"] = [str(one.location) for one in found]
        columns["Installer"] = [one.installer for one in found]
    widths = [max(len(name), *map(len, values)) for name, values in columns.items()]
    rows = [list(columns), ["-" * width for width in widths], *map(list, zip(*columns.values(), strict=True))]
    for row in rows:
        yield " ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _build(one: Distribution) -> str:
    lines = [line for line in (one.read("WHEEL") or "").splitlines() if line.startswith("Build:")]
    return lines[0].partition(":")[2].strip() if lines else ""
