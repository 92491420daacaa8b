"""Brings cases that others wrote to this machine: python -m tests.resolve.fetch_snapshots

resolvelib's (with snapshots of the index of 2020) and packse's scenarios are their public repositories', and stay out
of ours. Without them the tests that need them are skipped.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.wheels import kept_directory

# Where they are, and the folder in which they stand there.
REPOSITORIES = {
    "resolvelib": ("https://github.com/sarugaku/resolvelib", "tests/functional/python/inputs"),
    "packse": ("https://github.com/astral-sh/packse", "scenarios"),
}


def snapshots(name: str) -> Path:
    """Where the cases of a repository are kept."""
    return kept_directory() / name


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name, (repository, _) in REPOSITORIES.items():
        options.add_argument(f"--{name}", default=repository, help="a URL, or the directory of a clone")
    chosen = vars(options.parse_args())
    for name, (_, folder) in REPOSITORIES.items():
        with tempfile.TemporaryDirectory() as scratch:
            clone = Path(scratch) / name
            subprocess.run(["git", "clone", "-q", chosen[name], clone], check=True)
            shutil.copytree(clone / folder, snapshots(name), dirs_exist_ok=True)
        print(f"{name}: {snapshots(name)}")


if __name__ == "__main__":
    main()
