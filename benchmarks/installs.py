"""Warm installs of 47 wheels through a node, against the same files behind nginx: python -m benchmarks.installs"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.anchors import nginx_static
from benchmarks.compare import alternate, report
from tests.bench.clients import Workplace, tool
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import real_wheels

GOAL = "at most x1.05"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="", help="only the cases whose name contains this")
    chosen = options.parse_args()
    real = real_wheels()
    print(
        f"{len(real.files)} wheels, {sum(len(one.content) for one in real.files) / 1e6:.1f} MB; {chosen.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with (
            FaultyUpstream(real.files) as upstream,
            RunningNode(directory / "node", upstreams=[upstream]) as node,
            nginx_static(directory / "nginx", real.files) as nginx,
        ):
            user = Installs(directory / "user", real.top)
            urls = {"nginx": nginx.url, "p2pcdn": node.index_url}
            for title, case in user.cases().items():
                if chosen.only in title:
                    runs = {name: (lambda url=url, case=case: case(url)) for name, url in urls.items()}
                    report(title, "s", alternate(runs, chosen.rounds), "nginx", GOAL)
            print(f"\nupstream GETs of files: {len(upstream.file_gets())} for {len(real.files)} files")


class Installs:
    """One user, many fresh targets. Each case takes an index URL and returns seconds."""

    def __init__(self, directory: Path, top: tuple[str, ...]) -> None:
        self._place = Workplace(directory)
        self._top = top
        self._numbers = itertools.count()
        self._uv = tool("uv").command
        self._pip = tool("pip-new").command
        self._requirements = directory / "requirements.in"
        self._requirements.write_text("\n".join(top))

    def cases(self) -> dict[str, Callable[[str], float]]:
        return {
            "uv pip install, fresh": self.uv_fresh,
            "uv pip compile (resolution only)": self.uv_resolution,
            "uv pip install --refresh, its own files kept": self.uv_refresh,
            "pip download, fresh": self.pip_download,
            "pip install, fresh": self.pip_fresh,
        }

    def uv_fresh(self, url: str) -> float:
        with _Fresh(self._target()) as target:
            install = [self._uv, "pip", "install", "--no-cache", "--default-index", url, "--target", target]
            return self._seconds(*install, *self._top)

    def uv_resolution(self, url: str) -> float:
        return self._seconds(self._uv, "pip", "compile", "--no-cache", "--default-index", url, "-q", self._requirements)

    def uv_refresh(self, url: str) -> float:
        with _Fresh(self._target()) as target:
            kept = self._place.directory / f"uv-{url.split(':')[2].split('/')[0]}"
            install = [self._uv, "pip", "install", "--refresh", "--cache-dir", kept, "--default-index", url]
            return self._seconds(*install, "--target", target, *self._top)

    def pip_download(self, url: str) -> float:
        with _Fresh(self._target()) as target:
            download = [self._pip, "download", "--no-cache-dir", "-q", "--index-url", url, "--dest", target]
            return self._seconds(*download, *self._top)

    def pip_fresh(self, url: str) -> float:
        with _Fresh(self._target()) as target:
            install = [self._pip, "install", "--no-cache-dir", "-q", "--no-compile", "--index-url", url]
            return self._seconds(*install, "--target", target, *self._top)

    def _target(self) -> Path:
        return self._place.directory / f"target{next(self._numbers)}"

    def _seconds(self, *command: str | Path) -> float:
        began_s = time.perf_counter()
        done = self._place.run(*command, timeout_s=600)
        spent_s = time.perf_counter() - began_s
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, str(command[0]), done.stdout, done.stderr)
        return spent_s


class _Fresh:
    """A directory that is gone afterwards; removing it is not measured."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Path:
        return self._directory

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


if __name__ == "__main__":
    main()
