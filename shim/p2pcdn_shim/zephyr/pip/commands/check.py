"""Verify installed packages have compatible dependencies."""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.checking import packages_of, problems, unsupported
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.selection import environment_of

USAGE = "\n  %prog [options]"


def run(run: Run) -> int:
    found = environment_of(run.target, run.voice).packages()
    packages, broken = packages_of(found, run.target.probe.markers, run.voice.warn)
    wrong = [str(one) for one in problems(packages)]
    wrong += [
        f"{one.name} {one.version} is not supported on this platform"
        for one in unsupported(found, run.target.probe.tags)
    ]
    for line in wrong:
        run.voice.answer(line)
    if wrong or broken:
        return 1
    run.voice.answer("No broken requirements found.")
    return 0
