"""Source archives, wheels, environments and a shelf, made the simple way, without a resolver and a store."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from p2pcdn.build import Environment, Sdist
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound

PYPROJECT = '[build-system]\nrequires = ["tiny"]\nbuild-backend = "tiny"\n'

# A backend of thirty lines: it packs what lies in src/, after running build.py, which may do what it likes.
TINY = """
import os, pathlib, zipfile

def get_requires_for_build_wheel(settings=None):
    path = pathlib.Path("requires.txt")
    return path.read_text().split() if path.exists() else []

def build_wheel(directory, settings=None, metadata=None):
    if os.path.exists("build.py"):
        exec(compile(open("build.py").read(), "build.py", "exec"), {"settings": settings})
    name, version = open("name.txt").read().split()
    filename = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, filename), "w") as wheel:
        info = f"{name}-{version}.dist-info"
        when = (1980, 1, 1, 0, 0, 0)
        for path in sorted(pathlib.Path("src").rglob("*.*")):
            wheel.writestr(zipfile.ZipInfo(str(path.relative_to("src")), when), path.read_bytes())
        metadata = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
        wheel.writestr(zipfile.ZipInfo(info + "/METADATA", when), metadata)
        tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(zipfile.ZipInfo(info + "/WHEEL", when), tags)
        wheel.writestr(zipfile.ZipInfo(info + "/RECORD", when), "")
    return filename
"""
EDITABLE = """
def build_editable(directory, settings=None, metadata=None):
    import os
    open("built-in-place.txt", "w").write(os.getcwd())
    return build_wheel(directory, settings)
"""
PREPARE = """
def prepare_metadata_for_build_wheel(directory, settings=None):
    import os
    os.mkdir(os.path.join(directory, "demo-1.0.dist-info"))
    open(os.path.join(directory, "demo-1.0.dist-info", "METADATA"), "w").write("Name: demo, unbuilt\\n")
    return "demo-1.0.dist-info"
"""


def sdist(place: Path, files: Mapping[str, str | bytes], name: str = "demo", version: str = "1.0") -> Sdist:
    """An sdist (PEP 625) of these files; name.txt, pyproject.toml and one module are there unless they are given."""
    whole = {"name.txt": f"{name} {version}", "pyproject.toml": PYPROJECT, f"src/{name}.py": "ANSWER = 42\n", **files}
    path = place / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, content in whole.items():
            member = tarfile.TarInfo(f"{name}-{version}/{inner}")
            content = content.encode() if isinstance(content, str) else content
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return Sdist(path, Sha256.of(path.read_bytes()))


def wheel(place: Path, name: str, files: Mapping[str, str], version: str = "1.0") -> Path:
    """A wheel with these files."""
    path, info = place / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    whole = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    whole[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{inner},{_record_hash(content)},{len(content)}\n" for inner, content in whole.items())
    with zipfile.ZipFile(path, "w") as archive:
        for inner, content in {**whole, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(inner, content)
    return path


def _record_hash(content: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


@dataclass
class LocalWheels:
    """A `MakeEnvironment` out of a directory of wheels: the newest that fits, and what it requires; no network."""

    wheels: Path
    place: Path
    asked: list[tuple[str, ...]] = field(default_factory=list)
    also: tuple[Path, ...] = ()

    async def __call__(self, requirements: tuple[str, ...], python: Path) -> Environment:
        self.asked.append(requirements)
        return await trio.to_thread.run_sync(self._make, requirements, python)

    def _make(self, requirements: Sequence[str], python: Path) -> Environment:
        directory = self.place / f"environment-{len(self.asked)}-{id(requirements)}"
        environment = _bare_environment(directory, python)
        site = next((directory / "lib").glob("python3*")) / "site-packages"
        chosen: dict[str, Path] = {}
        ahead = [Requirement(text) for text in requirements]
        while ahead:
            requirement = ahead.pop()
            name = canonicalize_name(requirement.name)
            if name not in chosen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                chosen[name] = self._best(requirement)
                ahead += _requires(chosen[name])
        for path in chosen.values():
            with zipfile.ZipFile(path) as archive:
                archive.extractall(site)
        pins = tuple(sorted("==".join(map(str, parse_wheel_filename(path.name)[:2])) for path in chosen.values()))
        return Environment(directory, environment, pins, self.also)

    def _best(self, requirement: Requirement) -> Path:
        fitting = [
            (version, path)
            for path in self.wheels.glob("*.whl")
            for name, version in [parse_wheel_filename(path.name)[:2]]
            if name == canonicalize_name(requirement.name) and version in requirement.specifier
        ]
        if not fitting:
            raise NotFound(f"there is no wheel for {requirement}")
        return max(fitting)[1]


def _requires(path: Path) -> list[Requirement]:
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    return [Requirement(line.partition(":")[2].strip()) for line in lines if line.startswith("Requires-Dist:")]


def _bare_environment(directory: Path, python: Path) -> Path:
    """The interpreter that is asked for is the one that runs the tests, or another: a venv is two links and a file."""
    real = Path(os.path.realpath(python))
    version = real.name.removeprefix("python") or "3"
    (directory / "bin").mkdir(parents=True)
    for name in ("python", "python3"):
        (directory / "bin" / name).symlink_to(real)
    (directory / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
    (directory / "pyvenv.cfg").write_text(f"home = {real.parent}\ninclude-system-site-packages = false\n")
    return directory / "bin" / "python"


@dataclass
class DirectoryShelf:
    """A `Shelf` that is a directory a key."""

    directory: Path

    async def find(self, key: Sha256) -> Path | None:
        return await trio.to_thread.run_sync(self._find, key)

    def _find(self, key: Sha256) -> Path | None:
        return next((self.directory / key).glob("*.whl"), None)

    async def keep(self, key: Sha256, wheel: Path) -> Path:
        return await trio.to_thread.run_sync(self._keep, key, wheel)

    def _keep(self, key: Sha256, wheel: Path) -> Path:
        (self.directory / key).mkdir(parents=True, exist_ok=True)
        return wheel.rename(self.directory / key / wheel.name)
