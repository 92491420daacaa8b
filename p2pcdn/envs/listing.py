"""What an unpacked wheel holds: one line a file, and what its dist-info says. The node keeps it beside the tree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

# Where a file of a wheel goes (PEP 427 and "Binary distribution format", the .data directory). "root" is purelib or
# platlib.
Part = Literal["root", "purelib", "platlib", "headers", "scripts", "data"]
# How a script is to be written: linked as it is, or with `#!python` replaced by the environment's interpreter.
Shebang = Literal["", "python", "pythonw"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the tree.

    path: where it lies in the tree, and lay in the archive. part, place: which scheme directory it goes to, and where
    below it. sha256: urlsafe base64 without padding, as RECORD has it. shebang: what its first line asks for, of
    scripts only.
    """

    path: str
    size_bytes: int
    sha256: str
    executable: bool = False
    part: Part = "root"
    place: str = ""
    shebang: Shebang = ""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A command that the installer makes: `name`, which calls `attribute` of `module` ("a.b", "c.d")."""

    name: str
    module: str
    attribute: str
    gui: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A wheel's tree, verified against its RECORD. Entries are sorted by path; RECORD itself is not among them.

    project, version: as METADATA has them. info: the name of the .dist-info directory. purelib: Root-Is-Purelib.
    notes: sentences for the user (a newer minor Wheel-Version, byte code that was left out).
    """

    project: str
    version: str
    info: str
    purelib: bool
    tags: tuple[str, ...]
    entries: tuple[Entry, ...]
    entry_points: tuple[EntryPoint, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def has_data(self) -> bool:
        """Whether any file goes elsewhere than into the root: then RECORD's paths depend on the scheme."""
        return any(entry.part != "root" for entry in self.entries)

    def startup_files(self) -> tuple[str, ...]:
        """The files that run code at each start of the interpreter: what an audit wants to know."""
        names = ("sitecustomize.py", "usercustomize.py")
        at_root = (entry.place for entry in self.entries if entry.part in ("root", "purelib", "platlib"))
        return tuple(place for place in at_root if "/" not in place and (place.endswith(".pth") or place in names))

    def encode(self) -> bytes:
        """The same bytes for the same listing: columns of JSON, most of them short."""
        entries = self.entries
        value = {
            "format": FORMAT,
            "project": self.project,
            "version": self.version,
            "info": self.info,
            "purelib": self.purelib,
            "tags": self.tags,
            "paths": [entry.path for entry in entries],
            "sizes": [entry.size_bytes for entry in entries],
            "sha256": [entry.sha256 for entry in entries],
            "executable": [at for at, entry in enumerate(entries) if entry.executable],
            "placed": [[at, e.part, e.place, e.shebang] for at, e in enumerate(entries) if e.part != "root"],
            "entry_points": [[e.name, e.module, e.attribute, e.gui] for e in self.entry_points],
            "notes": self.notes,
        }
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> Listing:
        """Raises ValueError for what this version did not write."""
        value = json.loads(content)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError("not a listing of this format")
        placed = {at: (part, place, shebang) for at, part, place, shebang in value["placed"]}
        executable = frozenset(value["executable"])
        rows = enumerate(zip(value["paths"], value["sizes"], value["sha256"], strict=True))
        return cls(
            project=value["project"],
            version=value["version"],
            info=value["info"],
            purelib=value["purelib"],
            tags=tuple(value["tags"]),
            entries=tuple(
                Entry(path, size, digest, at in executable, *placed.get(at, ("root", path, "")))
                for at, (path, size, digest) in rows
            ),
            entry_points=tuple(EntryPoint(*row) for row in value["entry_points"]),
            notes=tuple(value["notes"]),
        )
