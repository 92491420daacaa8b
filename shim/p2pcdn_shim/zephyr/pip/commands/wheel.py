"""Build wheels of requirements and of all that they need, into a directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.commands import install
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.making import Maker, name_of
from p2pcdn_shim.zephyr.pip.outcome import Policy
from p2pcdn_shim.zephyr.pip.sources import displayed

USAGE = "\n  %prog [options] <requirement specifier> ...\n  %prog [options] -r <requirements file> ..."


def run(run: Run) -> int:
    options = run.options
    install.check_only_dependencies(run)
    install.check_build(run)
    job = Job(run)
    asks = job.read(run.words)
    directory = Path(options.wheel_dir).absolute()
    job.finder.announce()
    maker = Maker(job)
    outcome = maker.chosen(asks, Policy(dependencies=not options.ignore_dependencies, ignore_installed=True))
    if options.only_dependencies:
        outcome = install.only_dependencies(outcome)
    directory.mkdir(parents=True, exist_ok=True)
    wheels = maker.wheels(outcome.changes)
    failed = []
    for one in outcome.changes:
        wheel = wheels[one.project]
        place = directory / wheel.name
        try:
            if place.is_dir():
                raise IsADirectoryError(21, "Is a directory", str(place))
            shutil.copyfile(wheel, place)
        except OSError as error:
            run.voice.warn(f"Failed to copy built wheel {wheel} to {directory}: {error}")
            failed.append(name_of(one))
            continue
        assert one.prepared is not None
        if one.prepared.link.is_wheel:
            run.voice.info(f"Saved {displayed(place)}")
    if failed:
        raise PipError(f"Failed to copy built wheels for one or more packages: {', '.join(failed)}")
    return 0
