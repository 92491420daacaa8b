"""The most used packages, each installed by zephyr into a fresh environment and imported: see `--help`.

    python -m tests.conformance.campaign --packages 200

What was seen is kept as it goes: the same command goes on where an interrupted one stopped. Failures are asked of the
user's own pip, too, so that the table can tell what is zephyr's and what is the package's. It needs the network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from p2pcdn_daemon.clients.client_config import pypi
from tests.bench.clients import tool
from tests.bench.node import RunningNode
from tests.bench.wheels import kept_directory
from tests.conformance.results import Journal, Row, share_failed, short, summary, table

HERE = Path(__file__).parent
POPULAR = HERE / "popular.toml"
RESULTS = HERE / "popular_results.toml"
IMPORT_SCRIPT = HERE / "import_script.py"
# The goal: of 200 projects at most one.
FAILED_SHARE_MAX = 0.005
# A large package over a slow line, or one that compiles C++.
INSTALL_TIME_S_MAX = 600.0
IMPORT_TIME_S_MAX = 120.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("projects", nargs="*", help="only these, instead of the first ones of popular.toml")
    options.add_argument("--packages", type=int, default=200, metavar="N", help="how many of popular.toml")
    options.add_argument("--index", default=None, metavar="URL", help="the upstream; PyPI where none is given")
    options.add_argument("--keep", type=Path, default=None, metavar="DIR", help="where results and the store are kept")
    options.add_argument("--fresh", action="store_true", help="begins anew; the store stays")
    options.add_argument("--again", action="store_true", help="tries anew what failed")
    options.add_argument("--write", action="store_true", help=f"writes {RESULTS.name}")
    chosen = options.parse_args()
    listed = tomllib.loads(POPULAR.read_text())
    projects = chosen.projects or listed["projects"]["names"][: chosen.packages]
    keep = chosen.keep or kept_directory() / f"campaign-{sys.version_info[0]}.{sys.version_info[1]}"
    keep.mkdir(parents=True, exist_ok=True)
    journal = Journal(keep / "results.jsonl")
    if chosen.fresh:
        journal.forget()
    rows = walk(projects, journal, keep, chosen.index, again=chosen.again, modules=listed["modules"])
    known = listed["known"]
    print(summary(rows))
    if chosen.write:
        RESULTS.write_text(table(rows, known, "PyPI" if chosen.index is None else "another one"))
        print(f"{RESULTS} is written")
    sys.exit(1 if share_failed(rows, known) > FAILED_SHARE_MAX else 0)


def walk(
    projects: Sequence[str],
    journal: Journal,
    keep: Path,
    index: str | None,
    *,
    again: bool = False,
    modules: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Row]:
    """One project after another, those that the journal has passed over; the rows of all.

    index: None for PyPI. again: those that failed are not passed over. modules: what to import of a project, where
    that is not all that its RECORD names.
    """
    done = {project: row for project, row in journal.rows().items() if not (again and row.failed)}
    left = [project for project in projects if project not in done]
    if left:
        with RunningNode(keep / "node", upstreams=[index or pypi().url]) as node:
            campaign = Campaign(node, keep, () if index is None else ("--isolated", "--index-url", index), modules)
            for number, project in enumerate(left, len(projects) - len(left) + 1):
                row = campaign.tried(project)
                journal.add(row)
                done[project] = row
                _tell(row, number, len(projects))
    return [done[project] for project in projects]


class Campaign:
    """One node, and a fresh directory for each project below `keep`, removed when the project is done.

    pip_options: how pip asks the same index without us; none for the user's own configuration.
    """

    def __init__(
        self, node: RunningNode, keep: Path, pip_options: Sequence[str], modules: Mapping[str, Sequence[str]]
    ) -> None:
        self._node = node
        self._keep = keep
        self._pip_options = pip_options
        self._modules = modules

    def tried(self, project: str) -> Row:
        """Installed and imported by zephyr; where that fails, by pip."""
        row = self._by(project, self._zephyr)
        if not row.failed:
            return row
        theirs = self._by(project, self._pip)
        same = theirs.failed == row.failed and (row.failed == "install" or theirs.reason == row.reason)
        return replace(row, pip="the same" if same else "works" if not theirs.failed else f"other: {theirs.reason}")

    def _by(self, project: str, install: Callable[[str, Path], Row]) -> Row:
        place = self._keep / "place"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        began_s = time.monotonic()
        try:
            row = install(project, place)
            row = replace(row, install_s=round(time.monotonic() - began_s, 2))
            return row if row.failed else self._imported(row, place)
        except subprocess.TimeoutExpired as slow:
            step = "import" if str(IMPORT_SCRIPT) in slow.cmd else "install"
            return Row(project, failed=step, reason=f"took longer than {slow.timeout:.0f} s")
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _zephyr(self, project: str, place: Path) -> Row:
        done = self._run_zephyr(place, "install", "--venv", str(place / ".venv"), project)
        if done.returncode:
            return Row(project, failed="install", reason=short(done.stderr))
        return Row(project, packages=json.loads(done.stdout)["packages"])

    def _pip(self, project: str, place: Path) -> Row:
        venv.create(place / ".venv", with_pip=False, symlinks=True)
        pip, python = tool("pip-new").command, place / ".venv" / "bin" / "python"
        words = ["install", "--no-compile", "--quiet", *self._pip_options, project]
        done = _run([pip, "--python", python, *words], place, os.environ)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return Row(project, failed="install", reason=short(lines[-1] if lines else done.stderr))
        return Row(project)

    def _run_zephyr(self, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
        environment = self._node.variables() | {
            "P2PCDN_CONTROL_SOCKET": str(self._node.control_socket),
            "ZEPHYR_CACHE_DIR": str(self._keep / "zephyr"),
            "ZEPHYR_PYTHON": sys.executable,
        }
        return _run([sys.executable, "-m", "p2pcdn_shim.zephyr", "--json", *words], place, environment)

    def _imported(self, row: Row, place: Path) -> Row:
        # Nothing is written beside the links: they are the store's files.
        python = place / ".venv" / "bin" / "python"
        meant = self._modules.get(row.project, ())
        home = {"HOME": str(place), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        done = _run([python, "-I", "-B", IMPORT_SCRIPT, row.project, *meant], place, home, time_s_max=IMPORT_TIME_S_MAX)
        try:
            told = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            said = short(done.stderr) or f"the interpreter ended with {done.returncode}"
            return replace(row, failed="import", reason=said)
        faults = [f"{module}: {fault}" for module, fault in told["modules"].items() if fault is not None]
        return replace(
            row,
            version=told["version"],
            modules=tuple(told["modules"]),
            failed="import" if faults else "",
            reason=short("; ".join(faults)),
        )


def _run(
    command: Sequence[str | Path],
    place: Path,
    environment: Mapping[str, str],
    time_s_max: float = INSTALL_TIME_S_MAX,
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, timeout=time_s_max, check=False
    )


def _tell(row: Row, number: int, of: int) -> None:
    said = f"FAILED to {row.failed} (pip: {row.pip}): {row.reason}" if row.failed else f"{', '.join(row.modules)}"
    print(f"[{number:>3}/{of}] {row.project} {row.version} {row.install_s:.1f} s: {said}", flush=True)


if __name__ == "__main__":
    main()
