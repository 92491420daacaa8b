"""Whether real projects get the versions that uv gives them: python -m benchmarks.resolve_campaign

Each line of resolve_campaign.txt is one environment. What differs is named; an environment that only one of the two can
solve is told with its report. It needs the network, and some minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.markers import default_environment
from packaging.tags import sys_tags

from benchmarks.resolve import pins_of, shelf_directory
from benchmarks.resolve_fetch import Fetcher
from benchmarks.resolve_once import resolve
from benchmarks.resolve_shelf import Shelf
from p2pcdn.resolve import NoSolution, Target, Wanted
from tests.bench.clients import tool

ENVIRONMENTS = Path(__file__).with_suffix(".txt")
UV_TIME_S_MAX = 300.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="only the lines that contain this")
    chosen = options.parse_args()
    shelf = Shelf(shelf_directory())
    shelf.keep_target(Target.of(default_environment(), tuple(map(str, sys_tags()))))
    fetcher = Fetcher(shelf)
    counts = {"same": 0, "different": 0}
    for line in ENVIRONMENTS.read_text().splitlines():
        if line and not line.startswith("#") and chosen.only in line:
            difference = _difference(tuple(line.split(" & ")), shelf, fetcher)
            counts["different" if difference else "same"] += 1
            print(f"{line}: {difference or 'the same'}", flush=True)
    print(f"{counts['same']} the same, {counts['different']} not")


def _difference(requirements: tuple[str, ...], shelf: Shelf, fetcher: Fetcher) -> str:
    ours: Mapping[str, str] | str
    try:
        solution, _ = resolve(Wanted(requirements), shelf, fetcher.fetch)
        ours = {pin.project: pin.version for pin in solution.pins}
    except NoSolution as none:
        ours = str(none)
    theirs = _by_uv(requirements)
    if isinstance(ours, str) or isinstance(theirs, str):
        both = isinstance(ours, str) and isinstance(theirs, str)
        return "" if both else f"\n    ours: {ours}\n    uv's: {theirs}"
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return ", ".join(f"{name} {ours.get(name)}, not {theirs.get(name)}" for name in names)


def _by_uv(requirements: tuple[str, ...]) -> Mapping[str, str] | str:
    """Its pins, or its report."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = Path(scratch) / "requirements.in"
        asked.write_text("\n".join(requirements) + "\n")
        command = [str(tool("uv").command), "pip", "compile", "-q", "--no-header", "--no-annotate"]
        done = subprocess.run(
            [*command, "--python", sys.executable, str(asked)],
            capture_output=True,
            text=True,
            timeout=UV_TIME_S_MAX,
            check=False,
        )
    return dict(pins_of(done.stdout)) if done.returncode == 0 else done.stderr


if __name__ == "__main__":
    main()
