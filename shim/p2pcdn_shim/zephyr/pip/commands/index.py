"""Inspect information available from package indexes: `versions <package>`."""

from __future__ import annotations

import json

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import EXIT_NOTHING_FOUND, DistributionNotFound, PipError
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.selection import environment_of

USAGE = "\n  %prog versions <package>"


def run(run: Run) -> int:
    if not run.words or run.words[0] != "versions":
        run.voice.error("Need an action (versions) to perform.")
        return 1
    if len(run.words) != 2:
        raise PipError("You need to specify exactly one argument")
    run.options.upgrade = True  # what there is now, and not some minutes ago
    job = Job(run)
    project = normalize(run.words[1])
    found = job.finder.candidates(project)
    control = run.options.release_control
    if control is None or not control.in_first(project):
        found = [one for one in found if not one.version.is_prerelease]
    versions = sorted({one.version for one in found}, reverse=True)
    if not versions:
        raise DistributionNotFound(run.words[1], code=EXIT_NOTHING_FOUND)
    installed = environment_of(run.target, run.voice).get(project)
    if run.options.json:
        told = {"name": run.words[1], "versions": [str(one) for one in versions], "latest": str(versions[0])}
        if installed is not None:
            told["installed_version"] = installed.version_text
        run.voice.answer(json.dumps(told))
        return 0
    run.voice.answer(f"{run.words[1]} ({versions[0]})")
    run.voice.answer(f"Available versions: {', '.join(map(str, versions))}")
    if installed is not None:
        run.voice.answer(f"  INSTALLED: {installed.version_text}")
        run.voice.answer(f"  LATEST:    {versions[0]}")
    return 0
