"""A place for `zephyr pip` to work in: an environment, a directory of wheels, a user who has nothing else."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.shim.zephyr import environment

COMMAND = (sys.executable, "-c", "from p2pcdn_shim.zephyr.cli import main; main()", "pip")


class Site:
    """An environment, a directory of wheels, and `zephyr pip` on both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.venv = directory / "venv"
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        self.packages = next(self.venv.glob("lib/*/site-packages"))

    def wheel(
        self,
        name: str,
        version: str,
        *,
        needs: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        lie: bool = False,
    ) -> Path:
        """A wheel; lie: its RECORD has another hash of its module."""
        module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Requires-Dist: {one}" for one in needs),
        ]
        content = {f"{module}.py": f"version = {version!r}\n", **(files or {})}
        content[f"{info}/METADATA"] = "\n".join(metadata) + "\n"
        content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        rows = [
            f"{path},sha256={_urlsafe(text if not lie else text + '!')},{len(text)}" for path, text in content.items()
        ]
        content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
        file = self.wheels / f"{module}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as archive:
            for path, text in content.items():
                archive.writestr(path, text)
        return file

    def pip(self, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        run = subprocess.run(
            [*COMMAND, "--python", str(self.venv), *words],
            env=environment(self.directory, **variables),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == code, (run.stdout, run.stderr)
        return run

    def install(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.pip("install", "--no-index", "-f", str(self.wheels), "--no-compile", *words, code=code)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.venv)) for path in self.venv.rglob("*") if path.is_file()}


def _urlsafe(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
