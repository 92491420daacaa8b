"""`python -m fuzz [TARGET]... [--seconds N] [--corpus DIR]`: coverage-guided fuzzing with atheris, for a bounded time.

Each target runs in a process of its own. What makes one fail is kept as `crash-…` in the corpus' directory, and the
command that replays it is printed. Without atheris (`pip install atheris`) it says so and ends with 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = ("peer-port", "guarded-port", "member-port", "answer", "meeting", "body", "multicast")
# What is searched for new branches.
INSTRUMENTED = ["p2pcdn", "p2pcdn_daemon", "cbor2", "fuzz"]
# No target's door takes more than some kilobytes before it refuses; longer inputs only slow the search.
INPUT_SIZE_BYTES_MAX = 4096
# One input of these takes a millisecond; whatever takes seconds is a finding.
INPUT_TIME_S = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--corpus", type=Path, help="where interesting inputs are kept from run to run")
    parser.add_argument("--replay", type=Path, help="runs one input once, without atheris")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    names = chosen.targets or list(TARGETS)
    for name in names:
        if name not in TARGETS:
            parser.error(f"{name!r} is no target; there are {', '.join(TARGETS)}")
    if chosen.replay is not None:
        from fuzz import targets

        for name in names:
            targets.TARGETS[name](chosen.replay.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (`pip install atheris`); tests/fuzz/ fuzzes without it")
        return 0
    with tempfile.TemporaryDirectory(prefix="p2pcdn-fuzz-") as scratch:
        corpus = chosen.corpus or Path(scratch)
        if chosen.here:
            return _fuzz(names[0], corpus, chosen.seconds)
        return max(_in_a_process(name, corpus, chosen.seconds) for name in names)


def _in_a_process(name: str, corpus: Path, seconds: int) -> int:
    """libFuzzer ends its process; so each target has one."""
    directory = corpus / name
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz", name, "--here", "--seconds", str(seconds), "--corpus", str(directory)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    last = [line for line in run.stderr.splitlines() if line.startswith(("#", "Done"))][-1:]
    print(f"{name}: {'ok' if run.returncode == 0 else 'FAILED'} {' '.join(last)}", flush=True)
    if run.returncode != 0:
        print(run.stderr[-6000:], file=sys.stderr)
        print(f"replay: python -m fuzz {name} --replay {directory}/crash-…", file=sys.stderr)
    return min(run.returncode, 1)


def _fuzz(name: str, corpus: Path, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.targets import TARGETS as targets
        from fuzz.targets import seeds
    for number, content in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(content)
    target = targets[name]
    for content in seeds(name):
        target(content)  # also makes what is made once
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_SIZE_BYTES_MAX}",
            f"-timeout={INPUT_TIME_S}",
            f"-artifact_prefix={corpus}/",
            "-rss_limit_mb=2048",
            str(corpus),
        ],
        target,
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
