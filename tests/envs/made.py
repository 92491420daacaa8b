"""Wheels made in the tests: good ones, and ones that are wrong in a chosen way."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {purelib}\nTag: py3-none-any\n"


@dataclass(frozen=True)
class MadeWheel:
    """A wheel to be: files by path, without its dist-info. `record` replaces the RECORD that is right."""

    files: Mapping[str, bytes]
    project: str = "demo"
    version: str = "1.0"
    purelib: bool = True
    entry_points: str = ""
    wheel: str = WHEEL
    metadata: str | None = None
    record: str | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    # Written as they are, after the others: also twice, also under names that no wheel has.
    more: Sequence[tuple[str, bytes]] = ()
    method: int = zipfile.ZIP_DEFLATED

    @property
    def stem(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}"

    @property
    def filename(self) -> str:
        return f"{self.stem}-py3-none-any.whl"

    def members(self) -> dict[str, bytes]:
        info = f"{self.stem}.dist-info"
        metadata = self.metadata or f"Metadata-Version: 2.1\nName: {self.project}\nVersion: {self.version}\n"
        members = {
            **self.files,
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": self.wheel.format(purelib=str(self.purelib).lower()).encode(),
        }
        if self.entry_points:
            members[f"{info}/entry_points.txt"] = self.entry_points.encode()
        record = right_record({**members, **dict(self.more)}, f"{info}/RECORD") if self.record is None else self.record
        return {**members, f"{info}/RECORD": record.encode()}

    def content(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", self.method) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile does not like a name twice
            for name, content in [*self.members().items(), *self.more]:
                member = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
                member.compress_type = self.method
                member.external_attr = self.modes.get(name, stat.S_IFREG | 0o644) << 16
                archive.writestr(member, content)
        return buffer.getvalue()

    def write(self, directory: Path) -> Path:
        path = directory / self.filename
        path.write_bytes(self.content())
        return path


def right_record(members: Mapping[str, bytes], record: str) -> str:
    rows = [f"{quoted(name)},sha256={digest(content)},{len(content)}" for name, content in members.items()]
    return "\n".join([*rows, f"{record},,", ""])


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def files_below(directory: Path) -> dict[str, bytes]:
    """Every file by its path; links as what they point to."""
    return {
        str(path.relative_to(directory)): path.readlink().as_posix().encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
