"""Runs pip's own functional tests against `zephyr pip`: python -m tests.conformance.pip

`python -m tests.conformance.fetch_pip` brings the suite first. What counts stands in pip.toml. One node runs for all
tests. Outcomes are added to a file as they come; `--resume` goes on where a run was stopped, `--again` runs only what
failed in it. Pip's suite is not made for root, nor are builds in a source tree of root's: run it as a user.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.bench.node import RunningNode
from tests.conformance.fetch_pip import suite_directory
from tests.conformance.manifest import Manifest, read_manifest

HERE = Path(__file__).parent
# The goal: this part of what counts.
GOAL = 0.95


@dataclass(frozen=True)
class Outcome:
    """What became of one test. outcome: passed, failed or skipped. why: the end of pytest's report."""

    outcome: str
    why: str = ""


def main() -> int:
    chosen = _options()
    manifest = read_manifest()
    chosen.work.mkdir(parents=True, exist_ok=True)
    results = chosen.work / "results.jsonl"
    if not chosen.resume and not chosen.again:
        results.unlink(missing_ok=True)
    counted = [one for one in collected(chosen.suite) if counts(manifest, one)]
    wanted = [one for one in counted if any(fnmatchcase(_short(one), f"*{glob}*") for glob in chosen.only or ["*"])]
    known = read_results(results)
    if chosen.resume:
        wanted = [one for one in wanted if one not in known]
    elif chosen.again:
        wanted = [one for one in wanted if one not in known or known[one].outcome == "failed"]
    if wanted:
        run(chosen, wanted, results)
    told = table(manifest, counted, read_results(results))
    print(told)
    write_failures(chosen.work / "failures.md", counted, read_results(results))
    return 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--suite", type=Path, default=suite_directory(), help="where fetch_pip put it (%(default)s)")
    options.add_argument("--work", type=Path, default=suite_directory() / "run", help="results, logs, scratch")
    options.add_argument("-n", type=int, default=2, help="tests at once")
    options.add_argument("--only", nargs="*", metavar="GLOB", help="only tests whose name has one of these in it")
    options.add_argument("--resume", action="store_true", help="goes on with a run that was stopped")
    options.add_argument("--again", action="store_true", help="runs only what failed, or did not run, the last time")
    options.add_argument("--test-time-s", type=int, default=300, help="a test that takes longer has failed")
    options.add_argument("--time-s", type=float, default=4 * 3600.0, help="the whole run ends after so long")
    return options.parse_args()


def collected(suite: Path) -> list[str]:
    """The ids of all functional tests, as pytest names them."""
    asked = [_python(suite), "-m", "pytest", "tests/functional", "--collect-only", "-q"]
    done = subprocess.run(asked, cwd=suite / "pip", capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("tests/functional/") and "::" in line]


def counts(manifest: Manifest, test: str) -> bool:
    """Whether a test is in. Raises LookupError for one of a file that the manifest does not know."""
    path, _, name = test.partition("::")
    file = manifest.file(path.rpartition("/")[2])
    if file is None:
        raise LookupError(f"{path} is not in the manifest; it was frozen for {manifest.commit[:12]}")
    return file.why_out(name) is None


def run(chosen: argparse.Namespace, wanted: Sequence[str], results: Path) -> None:
    """Runs these tests, file by file, so that files are neighbours in the results."""
    with RunningNode(_fresh(chosen.work), upstreams=["http://127.0.0.1:9/simple"]) as node:
        deadline_s = time.monotonic() + chosen.time_s
        told = {
            "command": [sys.executable, "-m", "p2pcdn_shim.zephyr", "pip"],
            "tests": list(wanted),
            "results": str(results.absolute()),
            "test_time_s": chosen.test_time_s,
        }
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PIP_")},
            "SUITE_PLUG": json.dumps(told),
            "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
            "PYTHONPATH": str(HERE / "plug"),
        }
        files = sorted({one.partition("::")[0] for one in wanted})
        words = [_python(chosen.suite), "-m", "pytest", "-p", "pip_plug", "-q", "--tb=short", "-p", "no:cacheprovider"]
        words += [
            "--no-header",
            "-o",
            "addopts=--strict-markers",
            *(["-n", str(chosen.n)] if chosen.n > 1 else []),
            *files,
        ]
        with (chosen.work / "pytest.log").open("wb") as log:
            _run_for(words, chosen.suite / "pip", environ, log.fileno(), deadline_s)


def _fresh(work: Path) -> Path:
    directory = work / f"node-{os.getpid()}"
    directory.mkdir()
    return directory


def _run_for(words: Sequence[str], cwd: Path, environ: Mapping[str, str], log: int, deadline_s: float) -> None:
    """In a process group of its own, which is ended with the run."""
    with subprocess.Popen(words, cwd=cwd, env=environ, stdout=log, stderr=log, start_new_session=True) as suite:
        try:
            suite.wait(max(1.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            print("The time is over; `--resume` goes on.", file=sys.stderr)
        finally:
            if suite.poll() is None:
                os.killpg(suite.pid, signal.SIGTERM)


def read_results(file: Path) -> dict[str, Outcome]:
    """By test; a later line counts, but a failed teardown does not become anything else."""
    known: dict[str, Outcome] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        row = json.loads(line)
        known[row["test"]] = Outcome(row["outcome"], row["why"])
    return known


def table(manifest: Manifest, counted: Sequence[str], known: Mapping[str, Outcome]) -> str:
    """The counts, file by file and for all."""
    lines = [f"{'':36}{'in':>6}{'passed':>8}{'failed':>8}{'skipped':>9}{'not run':>9}{'excluded':>10}"]
    for file in manifest.files:
        mine = [one for one in counted if _short(one).startswith(f"{file.name}::")]
        if mine:
            lines.append(_row(file.name, mine, known, file.collected - file.counted))
    lines.append(_row("all", counted, known, manifest.collected - manifest.counted))
    passed = sum(1 for one in counted if known.get(one, Outcome("")).outcome == "passed")
    able = len(counted) - sum(1 for one in counted if known.get(one, Outcome("")).outcome == "skipped")
    lines.append(f"{passed} of {able} that could run passed: {passed / max(able, 1):.1%} (goal {GOAL:.0%})")
    return "\n".join(lines)


def _row(name: str, mine: Iterable[str], known: Mapping[str, Outcome], excluded: int) -> str:
    outcomes = [known[one].outcome if one in known else "" for one in mine]
    numbers = [outcomes.count(kind) for kind in ("passed", "failed", "skipped", "")]
    passed, failed, skipped, not_run = numbers
    return f"{name:36}{len(outcomes):>6}{passed:>8}{failed:>8}{skipped:>9}{not_run:>9}{excluded:>10}"


def write_failures(file: Path, counted: Sequence[str], known: Mapping[str, Outcome]) -> None:
    """What failed, each with the line that says most."""
    rows = [
        f"| `{_short(one)}` | {_last_words(known[one].why)} |"
        for one in counted
        if one in known and known[one].outcome == "failed"
    ]
    file.write_text("\n".join(["| test | why |", "|---|---|", *rows, ""]), encoding="utf-8")


def _last_words(why: str) -> str:
    lines = [line.strip() for line in why.splitlines() if line.startswith("E ")] or why.splitlines()[-1:] or [""]
    return lines[0].removeprefix("E ").strip().replace("|", "\\|")[:200]


def _short(test: str) -> str:
    return test.removeprefix("tests/functional/")


def _python(suite: Path) -> str:
    return str(suite / "venv" / "bin" / "python")


if __name__ == "__main__":
    sys.exit(main())
