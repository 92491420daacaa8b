"""Lock packages and all that they need, for this environment, into a pylock.toml (PEP 751)."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.commands import install
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.lock_text import lock_text
from p2pcdn_shim.zephyr.pip.locked import is_lock
from p2pcdn_shim.zephyr.pip.making import Maker
from p2pcdn_shim.zephyr.pip.outcome import Policy

USAGE = "\n  %prog [options] [-e] <local project path> ...\n  %prog [options] <requirement specifier> ..."


def run(run: Run) -> int:
    options = run.options
    run.voice.warn(
        "pip lock is currently an experimental command. It may be removed/changed in a future release without prior"
        " warning."
    )
    install.check_only_dependencies(run)
    job = Job(run)
    asks = job.read(run.words)
    job.finder.announce()
    maker = Maker(job)
    outcome = maker.chosen(asks, Policy(dependencies=not options.ignore_dependencies, ignore_installed=True))
    if options.only_dependencies:
        outcome = install.only_dependencies(outcome)
    base = Path.cwd() if options.output_file == "-" else Path(options.output_file).absolute().parent
    text = lock_text(maker, outcome, base)
    if options.output_file == "-":
        run.voice.answer(text)
        return 0
    if not is_lock(options.output_file):
        run.voice.warn(f"{options.output_file} is not a valid lock file name.")
    Path(options.output_file).write_text(text, encoding="utf-8")
    return 0
