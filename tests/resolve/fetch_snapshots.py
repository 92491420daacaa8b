"""Brings resolvelib's cases to this machine: python -m tests.resolve.fetch_snapshots [--source REPOSITORY]

They are the public repository's, with snapshots of the index of 2020, and stay out of ours. Without them the tests that
need them are skipped.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.wheels import kept_directory

REPOSITORY = "https://github.com/sarugaku/resolvelib"
INPUTS = "tests/functional/python/inputs"


def snapshots() -> Path:
    """Where they are kept: `case/NAME.json` and `index/NAME.json`."""
    return kept_directory() / "resolvelib"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--source", default=REPOSITORY, help="a URL, or the directory of a clone")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "resolvelib"
        subprocess.run(["git", "clone", "-q", "--depth", "1", chosen.source, clone], check=True)
        shutil.copytree(clone / INPUTS, snapshots(), dirs_exist_ok=True)
    print(f"{len(list((snapshots() / 'case').glob('*.json')))} cases in {snapshots()}")


if __name__ == "__main__":
    main()
