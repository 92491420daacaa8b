"""Distributions to serve: valid wheels and sdists made on the spot, and a pinned list of real ones."""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import io
import os
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import platformdirs

REAL_WHEELS = Path(__file__).with_name("real_wheels.txt")
# One cold download of the whole list over a slow line; after that the list is kept between runs.
DOWNLOAD_TIME_S_MAX = 180.0
NOISE_STEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Distribution:
    """One file as an index would hold it; metadata is None for sdists and for files that are no wheel."""

    filename: str
    project: str
    version: str
    content: bytes = field(repr=False)
    metadata: bytes | None = field(default=None, repr=False)
    requires_python: str | None = None
    yanked: str | None = None

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def make_wheel(
    project: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    size_bytes: int = 0,
    seed: int = 0,
    yanked: str | None = None,
) -> Distribution:
    """A wheel that installers accept, with `size_bytes` of noise in it; `import PROJECT` gives its `version`."""
    module = project.lower().replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    metadata = _metadata(project, version, requires, requires_python)
    members = {
        f"{module}/__init__.py": f'version = "{version}"\n'.encode(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: p2pcdn tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if size_bytes:
        members[f"{module}/noise.bin"] = _noise(f"{project} {version} {seed}", size_bytes)
    record = f"{info}/RECORD"
    members[record] = _record(members, record)
    return Distribution(
        filename=f"{module}-{version}-py3-none-any.whl",
        project=project,
        version=version,
        content=_zip(members),
        metadata=metadata,
        requires_python=requires_python,
        yanked=yanked,
    )


def backend_of(wheel: Distribution) -> str:
    """A build backend that has only this wheel to give."""
    return (
        "import base64, pathlib\n"
        f"WHEEL = {base64.b64encode(wheel.content)!r}\n"
        "def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):\n"
        f"    (pathlib.Path(wheel_directory) / {wheel.filename!r}).write_bytes(base64.b64decode(WHEEL))\n"
        f"    return {wheel.filename!r}\n"
    )


def make_sdist(project: str, version: str = "1.0") -> Distribution:
    """A source distribution whose build backend lies inside it, so that building it needs no network."""
    module = project.lower().replace("-", "_")
    stem = f"{module}-{version}"
    backend = backend_of(make_wheel(project, version))
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    members = {
        f"{stem}/PKG-INFO": _metadata(project, version, (), None),
        f"{stem}/pyproject.toml": pyproject.encode(),
        f"{stem}/backend.py": backend.encode(),
    }
    return Distribution(f"{stem}.tar.gz", project, version, _tar_gz(members))


def read_wheel(path: Path) -> Distribution:
    """A wheel file of the real world."""
    content = path.read_bytes()
    project, version = path.name.split("-")[:2]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(
            name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        )
        metadata = archive.read(name)
    requires_python = next(
        (
            line.partition(b":")[2].strip().decode()
            for line in metadata.splitlines()
            if line[:16].lower() == b"requires-python:"
        ),
        None,
    )
    return Distribution(path.name, project.replace("_", "-"), version, content, metadata, requires_python)


@dataclass(frozen=True)
class RealWheels:
    """The pinned list as it is here. `why_made` says why made wheels stand in; None where these are the real ones.

    top: what to ask an installer for so that it takes every file of the list.
    """

    files: tuple[Distribution, ...]
    top: tuple[str, ...]
    why_made: str | None


@cache
def real_wheels() -> RealWheels:
    """The wheels of `real_wheels.txt`, downloaded once from the configured index; made ones where there is none."""
    directory = kept_directory() / f"wheels-{hashlib.sha256(REAL_WHEELS.read_bytes()).hexdigest()[:16]}"
    pins = _pins()
    with one_at_a_time(directory):
        why = None if _complete(directory, len(pins)) else _download(directory)
    if why is None:
        files = tuple(read_wheel(path) for path in sorted(directory.glob("*.whl")))
        return RealWheels(files, tuple(pins), None)
    print(f"tests/bench: made wheels stand in for the real ones: {why}", file=sys.stderr)
    return RealWheels(tuple(_stand_ins(pins)), tuple(pins), why)


def kept_directory() -> Path:
    """Where what the tests download is kept between runs: real wheels, clients' environments."""
    directory = Path(os.environ.get("P2PCDN_TEST_KEEP") or platformdirs.user_cache_path("p2pcdn-tests"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Of all who would fill this directory, in other processes too."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pins() -> list[str]:
    return [line.split()[0] for line in REAL_WHEELS.read_text().splitlines() if line and not line.startswith("#")]


def _complete(directory: Path, count: int) -> bool:
    return len(list(directory.glob("*.whl"))) == count


def _download(directory: Path) -> str | None:
    """Returns why it failed, in one line."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    command += ["--requirement", str(REAL_WHEELS), "--dest", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIME_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return f"pip download took longer than {DOWNLOAD_TIME_S_MAX:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip download failed"])[-1]
    return None


def _stand_ins(pins: Sequence[str]) -> list[Distribution]:
    """As many wheels as the list has, of sizes like theirs: 20 KB to 1.2 MB."""
    made = []
    for position, pin in enumerate(pins):
        project, _, version = pin.partition("==")
        made.append(make_wheel(project, version, size_bytes=20_000 + (position * 37 % 60) * 20_000))
    return made


def _noise(seed: str, size_bytes: int) -> bytes:
    dice = random.Random(seed)
    # No integer is large enough for 256 MiB at once; the first step alone is all of what is smaller.
    steps = range(0, size_bytes, NOISE_STEP_BYTES)
    return b"".join(dice.randbytes(min(NOISE_STEP_BYTES, size_bytes - start)) for start in steps)


def _metadata(project: str, version: str, requires: Sequence[str], requires_python: str | None) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {project}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    extras = re.findall(r"""extra == ['"]([^'"]+)""", " ".join(requires))
    lines += [f"Provides-Extra: {extra}" for extra in dict.fromkeys(extras)]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    return ("\n".join(lines) + "\n").encode()


def _record(members: dict[str, bytes], record: str) -> bytes:
    rows = []
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*rows, f"{record},,", ""]).encode()


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            # A fixed time, so that the same arguments give the same bytes and the same hash.
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _tar_gz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)
