"""Uninstall packages. What no RECORD and no other list names is left where it is."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcdn_shim.zephyr.pip.change import Change
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.files import Reader
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.link import is_archive
from p2pcdn_shim.zephyr.pip.managed import check_managed
from p2pcdn_shim.zephyr.pip.selection import environment_of, is_local
from p2pcdn_shim.zephyr.pip.uninstalling import Removal, put_away, removal_of, show

USAGE = "\n  %prog [options] <package> ...\n  %prog [options] -r <requirements file> ..."


def run(run: Run) -> int:
    names = _names(run)
    check_managed(run.target, allowed=run.options.override_externally_managed)
    environment = environment_of(run.target, run.voice)
    for project, name in names.items():
        one = environment.get(project)
        if one is None:
            run.voice.warn(f"Skipping {name} as it is not installed.")
        elif _may(run, one):
            remove(run, one)
    return 0


def _names(run: Run) -> dict[str, str]:
    """By project, as they were given."""
    from packaging.requirements import InvalidRequirement, Requirement

    found: dict[str, str] = {}
    for word in run.words:
        try:
            if os.sep in word or is_archive(word):
                raise InvalidRequirement(word)
            found[normalize(Requirement(word).name)] = word
        except InvalidRequirement:
            run.voice.warn(f"Invalid requirement: {word!r} ignored - the uninstall command expects named requirements.")
    for file in run.options.requirements:
        for ask in _reader(run).asks(file):
            if ask.project:
                found[ask.project] = ask.requirement.name if ask.requirement is not None else ask.project
    if not found:
        raise PipError('You must give at least one requirement to uninstall (see "pip help uninstall")')
    return found


def _reader(run: Run) -> Reader:
    from p2pcdn_shim.zephyr.pip.cli import command_parser
    from p2pcdn_shim.zephyr.pip.job import Job

    defaults = command_parser("install", None).get_default_values()
    for name, value in vars(run.options).items():
        setattr(defaults, name, value)
    from p2pcdn_shim.zephyr.pip.controls import Control

    defaults.format_control = Control()
    job = Job.__new__(Job)
    job.run, job.options, job.voice, job.target = run, defaults, run.voice, run.target
    return Reader(defaults, run.voice, job.web)


def _may(run: Run, one: Distribution) -> bool:
    """Whether it is the environment's own to take away."""
    if not is_local(run.target, one) and not one.is_below(run.target.user_site):
        run.voice.info(f"Not uninstalling {one.project} at {one.where}, outside environment {run.target.prefix}")
        run.voice.info(f"Can't uninstall {one.name!r}. No files were found to uninstall.")
        return False
    return True


def remove(run: Run, one: Distribution) -> None:
    run.voice.info(f"Found existing installation: {one.name} {one.version_text}")
    removal = removal_of(one, run.target)
    run.voice.info(f"Uninstalling {one.name}-{one.version_text}:")
    with run.voice.indented():
        if not run.options.yes and not _asked(run, removal):
            return
        where = one.where if str(one.where) not in removal.paths else one.where.parent
        with Change(Path(where), run.voice.info) as change:
            if not one.info.exists():
                raise PipError(f"{one.name} was changed by another command meanwhile. Nothing of it was uninstalled.")
            put_away(change, removal, run.voice)
            change.commit()
        run.voice.info(f"Successfully uninstalled {one.name}-{one.version_text}")


def _asked(run: Run, removal: Removal) -> bool:
    show(removal, run.voice)
    while True:
        try:
            answer = input("Proceed (Y/n)? ").strip().lower()
        except EOFError:
            raise PipError(
                "Nobody is there to answer; --yes uninstalls without a question. Nothing was changed."
            ) from None
        if answer in ("", "y"):
            return True
        if answer == "n":
            return False
        print(f"Your response ({answer!r}) was not one of the expected responses: y, n, ")
