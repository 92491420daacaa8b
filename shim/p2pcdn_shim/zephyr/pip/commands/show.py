"""Show information about one or more installed packages."""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.describing import described
from p2pcdn_shim.zephyr.pip.selection import environment_of

USAGE = "\n  %prog [options] <package> ..."


def run(run: Run) -> int:
    if not run.words:
        run.voice.warn("ERROR: Please provide a package name or names.")
        return 1
    environment = environment_of(run.target, run.voice)
    missing = sorted(name for name in run.words if environment.get(name) is None)
    if missing:
        run.voice.warn(f"Package(s) not found: {', '.join(missing)}")
    found = [one for name in run.words if (one := environment.get(normalize(name))) is not None]
    for at, one in enumerate(found):
        if at:
            run.voice.answer("---")
        for line in described(
            one, environment, run.target.probe.markers, files=run.options.files, verbose=run.options.verbose > 0
        ):
            run.voice.answer(line)
    return 0 if found else 1
