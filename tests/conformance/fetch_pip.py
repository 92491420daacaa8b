"""Brings pip's test-suite to this machine, at the commit of the manifest: python -m tests.conformance.fetch_pip

Its sources come from pip's public repository (`--repository` takes a clone or a bare git directory, too), what its
tests need from the configured package index. Nothing of it stands in our repository.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.bench.wheels import kept_directory
from tests.conformance.manifest import read_manifest


def suite_directory() -> Path:
    """Where the suite is kept: `pip` (its sources) and `venv` (what runs it)."""
    return kept_directory() / "pip-suite"


def main() -> None:
    manifest = read_manifest()
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repository", default=manifest.repository, help="a URL, a clone, or a bare git directory")
    options.add_argument("--to", type=Path, default=suite_directory(), help="where it is kept (%(default)s)")
    chosen = options.parse_args()
    fetch(chosen.repository, manifest.commit, chosen.to)
    print(f"pip's suite at {manifest.commit[:12]}: {chosen.to}")


def fetch(repository: str, commit: str, directory: Path) -> None:
    """Makes the directory hold the suite at that commit, ready to run. Raises CalledProcessError."""
    sources, python = directory / "pip", directory / "venv" / "bin" / "python"
    if not sources.is_dir():
        _run("git", "clone", "-q", "--no-checkout", repository, sources)
    _run("git", "-C", sources, "checkout", "-q", "--force", commit)
    if not python.exists():
        _run(sys.executable, "-m", "venv", directory / "venv")
    # `--group` came with pip 25.1; what this Python brings may be older.
    _run(python, "-m", "pip", "install", "-q", "--upgrade", "pip")
    _run(python, "-m", "pip", "install", "-q", "--group", f"{sources}/pyproject.toml:test", "-e", sources)
    wheels = sources / "tests" / "data" / "common_wheels"
    _run(python, "-m", "pip", "wheel", "-q", "-w", wheels, "--group", f"{sources}/pyproject.toml:test-common-wheels")


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    main()
