"""Brings suites that others wrote to this machine, at the commit of their manifest: python -m tests.conformance.fetch

They are their public repositories', and stay out of ours.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tests.bench.wheels import kept_directory

MANIFEST = Path(__file__).with_name("packse.toml")


def manifest() -> dict[str, Any]:
    return tomllib.loads(MANIFEST.read_text())


def kept() -> Path:
    """Where the suite is once it was fetched, as its repository has it."""
    return kept_directory() / f"packse-{manifest()['source']['commit'][:12]}"


def main() -> None:
    source = manifest()["source"]
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--packse", default=source["repository"], help="a URL, or the directory of a clone")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        _git("init", "-q", "--bare", clone)
        _git("-C", clone, "fetch", "-q", "--depth=1", chosen.packse, source["commit"])
        archive = Path(scratch) / "files.tar"
        _git("-C", clone, "archive", "-o", archive, source["commit"], source["scenarios"], source["locks"])
        with tarfile.open(archive) as files:
            files.extractall(kept(), filter="data")
    print(kept())


def _git(*words: str | Path) -> None:
    subprocess.run(["git", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
