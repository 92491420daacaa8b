"""Fifty popular packages through a node, twice, the second time without an upstream: python -m benchmarks.popular

Each is downloaded with all that it needs by a real pip (`pip download`, no cache of its own) from the configured index.
Then the node is restarted where the upstream cannot be reached, and the same is asked again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pcdn_daemon.clients.client_config import pypi
from tests.bench.clients import tool
from tests.bench.node import RunningNode

# Fifty of the most downloaded projects of PyPI as known in November 2026, without those that bring gigabytes for GPUs.
PROJECTS = (
    "boto3",
    "botocore",
    "requests",
    "urllib3",
    "setuptools",
    "certifi",
    "idna",
    "charset-normalizer",
    "typing-extensions",
    "packaging",
    "python-dateutil",
    "s3transfer",
    "pyyaml",
    "six",
    "numpy",
    "aiobotocore",
    "cryptography",
    "cffi",
    "pip",
    "pydantic",
    "pandas",
    "attrs",
    "click",
    "fsspec",
    "jmespath",
    "markupsafe",
    "jinja2",
    "pytz",
    "rsa",
    "pyasn1",
    "grpcio",
    "protobuf",
    "wheel",
    "google-auth",
    "google-api-core",
    "awscli",
    "scipy",
    "pyarrow",
    "pillow",
    "sqlalchemy",
    "fastapi",
    "django",
    "flask",
    "rich",
    "pytest",
    "scikit-learn",
    "matplotlib",
    "aiohttp",
    "jupyterlab",
    "black",
)
DOWNLOAD_TIME_S_MAX = 300.0
# Nobody listens there: what the node asks of its upstream fails as if the wire were cut.
NO_WIRE = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}


@dataclass(frozen=True, slots=True)
class Round:
    """What one walk through the list gave. failed: project and pip's last line."""

    files: int
    size_bytes: int
    time_s: float
    failed: list[tuple[str, str]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("projects", nargs="*", default=PROJECTS)
    options.add_argument("--index", default=None, help="the upstream; PyPI where none is given")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        upstream = chosen.index or pypi().url
        with RunningNode(Path(scratch) / "node", upstreams=[upstream]) as node:
            first = walk(node, chosen.projects, Path(scratch))
            counted = node.status()
        _say("first", first, counted)
        directory = Path(scratch) / "node"
        with RunningNode(directory, upstreams=[upstream], environment=NO_WIRE) as node:
            second = walk(node, chosen.projects, Path(scratch))
            counted = node.status()
        _say("second, upstream cut off", second, counted)
    sys.exit(1 if first.failed or second.failed else 0)


def walk(node: RunningNode, projects: Sequence[str], scratch: Path) -> Round:
    """Downloads every project into a fresh directory, one after another."""
    files, size_bytes, failed = 0, 0, []
    began_s = time.monotonic()
    for project in projects:
        with tempfile.TemporaryDirectory(dir=scratch) as target:
            error = download(node, project, Path(target))
            if error is not None:
                failed.append((project, error))
            sizes = [path.stat().st_size for path in Path(target).iterdir()]
            files, size_bytes = files + len(sizes), size_bytes + sum(sizes)
    return Round(files, size_bytes, time.monotonic() - began_s, failed)


def download(node: RunningNode, project: str, target: Path) -> str | None:
    """None, or pip's last words."""
    command = [tool("pip-new").command, "download", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--index-url", node.index_url, "--dest", target, project]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    clean["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=DOWNLOAD_TIME_S_MAX, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


def _say(name: str, walked: Round, counted: dict[str, dict[str, int]]) -> None:
    moved = counted["bytes"]
    print(f"{name}: {walked.files} files, {walked.size_bytes / 1e6:.1f} MB in {walked.time_s:.0f} s")
    print(f"  served {moved['served'] / 1e6:.1f} MB; from the store {moved['from_store'] / 1e6:.1f} MB")
    print(
        f"  upstream: {counted['upstream_file_requests']} file requests, {moved['from_upstream'] / 1e6:.1f} MB of files"
    )
    for project, error in walked.failed:
        print(f"  FAILED {project}: {error}")


if __name__ == "__main__":
    main()
